"""The bundled demo model: tiny, really trained, for `windfall demo` and for tests of the engine.

It knows the tasks of `tasks.py` and nothing else. Answers stay right behind a system prompt of up to some 300 bytes;
its context is 4,096 tokens, but far into it, and to other questions, it answers nonsense.
"""

from pathlib import Path
from typing import Final

__all__ = ["MODEL_PATH"]

MODEL_PATH: Final = Path(__file__).parent / "model"
"""The folder that `mlx_lm.load` takes."""
