"""The Lua scripts of the guards, one file each; Redis runs them like the steps of the queue (`windfall.scripts`)."""

from __future__ import annotations

from importlib.resources import files

from windfall.scripts.lua_script import LuaScript


def guard_script(*names: str) -> LuaScript:
    """The files of these names, one after the other, as one script."""
    return LuaScript.read(files(__name__), *names)
