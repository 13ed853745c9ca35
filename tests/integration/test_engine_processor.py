"""What is done to a model for the processor changes its layout in memory, and not what it says."""

# mypy: disable-error-code="no-untyped-call"
# mlx-lm is typed in parts.

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.nn.layers.linear import Linear
from mlx_lm.utils import load

from helpers.models import build_model
from windfall_worker.engine.processor import suit_processor


def loaded(folder: Path) -> Any:
    model: Any = load(str(folder))
    return model[0]


def test_a_model_suited_to_the_processor_gives_the_same_logits(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "model")
    plain, suited = loaded(folder), loaded(folder)
    suit_processor(suited)
    prompt = mx.array([[1, 2, 3, 5, 8, 13, 21, 34]])
    assert mx.allclose(plain(prompt), suited(prompt), rtol=1e-4, atol=1e-5).item()


def test_a_model_suited_to_the_processor_has_weights_in_single_precision_alone(tmp_path: Path) -> None:
    model = loaded(build_model(tmp_path / "model"))
    model.set_dtype(mx.float16)
    suit_processor(model)
    layers = [layer for layer in model.modules() if type(layer) is Linear]
    assert layers
    assert {layer.weight.dtype for layer in layers} == {mx.float32}
