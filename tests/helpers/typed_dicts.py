"""Bodies made mechanically of an SDK's TypedDicts: the least one, and one for each field and variant."""

from __future__ import annotations

import io
import os
import types
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

#: What stands for a value of a plain type.
PLAIN: dict[Any, Any] = {str: "text", int: 3, float: 0.5, bool: True, object: "text", Any: "text"}
#: What no JSON file can hold.
_NO_JSON = (io.IOBase, os.PathLike)


def least(kind: Any) -> Any:
    """The least value of this type: only required fields, the first member of a union, one item of a list."""
    return next(variants(kind, deep=False))


def variants(kind: Any, *, deep: bool = True, within: tuple[Any, ...] = ()) -> Iterator[Any]:
    """A value for every variant of this type; if not `deep`, the least one alone."""
    kind = _bare(kind)
    origin, args = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        yield from _objects(kind, deep=deep, within=within)
    elif kind is type(None):
        yield None
    elif origin is Literal:
        yield from args if deep else args[:1]
    elif origin in (Union, types.UnionType):
        members = [member for member in args if _is_json(_bare(member))]
        for member in members if deep else members[:1]:
            yield from variants(member, deep=deep, within=within)
    elif origin is dict:
        yield from ({"1": value} for value in variants(args[1], deep=deep, within=within))
    elif kind in PLAIN:
        yield PLAIN[kind]
    elif kind in (dict, list):
        yield kind()
    elif args:  # Iterable, Sequence, List
        yield from ([value] for value in variants(args[0], deep=deep, within=within))
    else:
        raise TypeError(f"no value is known for {kind!r}")


def _objects(kind: Any, *, deep: bool, within: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    fields: dict[str, Any] = get_type_hints(kind, include_extras=True)
    base = {name: least(hint) for name, hint in fields.items() if _origin(hint) is Required}
    yield base
    if not deep or kind in within:
        return
    for name, hint in fields.items():
        for value in variants(hint, within=(*within, kind)):
            if base.get(name, ...) != value:
                yield base | {name: value}


def _origin(hint: Any) -> Any:
    return get_origin(hint)


def _bare(kind: Any) -> Any:
    while (
        get_origin(kind) in (Required, NotRequired) or hasattr(kind, "__metadata__") or isinstance(kind, TypeAliasType)
    ):
        kind = kind.__value__ if isinstance(kind, TypeAliasType) else get_args(kind)[0]
    return kind


def _is_json(kind: Any) -> bool:
    """Not a file, a path, or an SDK's model of an answer."""
    origin = get_origin(kind)
    if origin is not None:
        return origin not in _NO_JSON and "IO" not in str(origin)
    return is_typeddict(kind) or not (
        isinstance(kind, type) and (issubclass(kind, _NO_JSON) or hasattr(kind, "model_dump"))
    )
