"""The bundled demo model: tiny, really trained, for `windfall demo` and for tests of the engine."""

from pathlib import Path
from typing import Final

__all__ = ["MODEL_PATH"]

MODEL_PATH: Final = Path(__file__).parent / "model"
"""The folder that `mlx_lm.load` takes."""
