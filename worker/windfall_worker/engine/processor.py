"""What makes a model exact and fast where MLX runs on the processor and not on a GPU."""

# mypy: disable-error-code="no-untyped-call"
# mlx is typed in parts.

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
from mlx.nn.layers.linear import Linear
from mlx.utils import tree_flatten

PREFILL_STEP: Final = 128
"""Tokens. Attention computes the whole square of a step, the half that the causal mask throws away too."""

_HALF: Final = (mx.float16, mx.bfloat16)


def suit_processor(module: Any) -> None:
    """Change the model's weights in place: single precision, and laid out as BLAS multiplies fastest.

    Half precision is slower than single there, and nearer to ties that a batch's shape could decide.
    """
    parameters: Any = tree_flatten(module.parameters())
    module.load_weights(
        [(name, value.astype(mx.float32)) for name, value in parameters if value.dtype in _HALF],
        strict=False,
    )
    for layer in module.modules():
        if type(layer) is Linear:
            layer.weight = _columns_first(layer.weight)
    mx.eval(module.parameters())


def _columns_first(weight: mx.array) -> mx.array:
    """The same matrix in memory column by column.

    A linear layer multiplies by the transpose. BLAS does that by dot products, which the reference implementation in
    MLX' wheels for Linux does one number at a time; of this layout it takes whole rows.
    """
    return mx.contiguous(weight.T).T
