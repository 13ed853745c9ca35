"""A Lua script as Redis knows it: its text, and the digest by which it is called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import Self


@dataclass(frozen=True, slots=True)
class LuaScript:
    """The whole text of a script, and the digest that Redis gives it."""

    text: str = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)

    @classmethod
    def read(cls, folder: Traversable, *names: str, before: str = "") -> Self:
        """The files `<name>.lua` of a folder, one after the other, as one script with `before` at its head."""
        return cls(before + "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names))
