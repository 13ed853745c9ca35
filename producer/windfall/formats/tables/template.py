"""Prompts with `{column}` in them."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from string import Formatter
from typing import Any, Final

from windfall.errors import InvalidRequest
from windfall.formats.tables.table import Record

_MOST_NAMED: Final = 12  # columns that an error message lists


class Template:
    """A text with `{column}` or, with a format specification, `{column:.2f}`; `{{` and `}}` are braces.

    Only columns can be named: `{a.b}` and `{a[0]}` mean the columns of these names, and never a part of a value.
    Raises `InvalidRequest` if it cannot be parsed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[tuple[str, str | None, str]] = []
        try:
            for literal, name, spec, conversion in Formatter().parse(text):
                if conversion or "{" in (spec or ""):
                    raise InvalidRequest(f"the prompt has {{{name}!{conversion or spec}}}, which is not {{column}}")
                self._parts.append((literal, name, spec or ""))
        except ValueError as exc:
            raise InvalidRequest(
                f"the prompt is not a template: {exc}; write {{{{ and }}}} for braces that are not a column's"
            ) from None
        self.columns = frozenset(name for _, name, _ in self._parts if name is not None)

    def check(self, columns: Collection[str]) -> None:
        """Raise `InvalidRequest` if it names a column that is not among these; names the nearest one."""
        for name in sorted(self.columns.difference(columns)):
            listed = ", ".join(sorted(columns)[:_MOST_NAMED]) + (", …" if len(columns) > _MOST_NAMED else "")
            if not name:
                raise InvalidRequest(f"the prompt has {{}} without a column's name; the columns are {listed}")
            near = difflib.get_close_matches(name, columns, 1) or [
                column for column in columns if column.casefold() == name.casefold()
            ]
            meant = f"did you mean {{{near[0]}}}? The" if near else "the"
            raise InvalidRequest(f"there is no column {name!r} for the prompt; {meant} columns are {listed}")

    def render(self, record: Record) -> str:
        """The text for a row; a missing value is empty. Raises `InvalidRequest` if a value does not fit its format."""
        return "".join(
            literal if name is None else literal + _shown(record.get(name), spec, name)
            for literal, name, spec in self._parts
        )


def _shown(value: Any, spec: str, name: str) -> str:
    if value is None:
        return ""
    if not spec:
        return value if isinstance(value, str) else str(value)
    try:
        return format(value, spec)
    except (ValueError, TypeError) as exc:
        number = _number(value)
        if number is None:
            raise InvalidRequest(f"cannot be written as {{{name}:{spec}}}: {exc}", field=name) from None
        try:
            return format(number, spec)
        except ValueError:
            raise InvalidRequest(f"cannot be written as {{{name}:{spec}}}: {exc}", field=name) from None


def _number(value: Any) -> int | float | None:
    """The number that a text column holds: CSV has nothing but text."""
    if not isinstance(value, str):
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return None
