"""The bundled demo model: tiny, but really trained, for `windfall demo` and for tests of the engine.

It knows the tasks in `tasks.py` and nothing else. Its answers stay right with a system prompt of up to about 300 bytes.
Its context is 4,096 tokens, but far into it, and to other questions, it answers nonsense.
"""

from pathlib import Path
from typing import Final

__all__ = ["MODEL_PATH"]

#: The folder that `mlx_lm.load` takes.
MODEL_PATH: Final = Path(__file__).parent / "model"
