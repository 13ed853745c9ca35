"""Makes a model exact and fast where MLX runs on the processor instead of a GPU."""

# mypy: disable-error-code="no-untyped-call"
# mlx is only partly typed.

from __future__ import annotations

from typing import Any, Final

import mlx.core as mx
from mlx.nn.layers.linear import Linear
from mlx.utils import tree_flatten

#: Tokens. Attention computes the full square of a step, including the half that the causal mask discards.
PREFILL_STEP: Final = 128

_HALF: Final = (mx.float16, mx.bfloat16)


def suit_processor(module: Any) -> None:
    """Change the model's weights in place: to single precision, in the layout that BLAS multiplies fastest.

    On a processor, half precision is slower, and closer to ties that the shape of a batch could decide.
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
    """The same matrix, stored column by column.

    A linear layer multiplies by the transpose. BLAS does that with dot products, which the reference implementation in
    MLX's wheels for Linux computes one number at a time; with this layout it processes whole rows.
    """
    return mx.contiguous(weight.T).T
