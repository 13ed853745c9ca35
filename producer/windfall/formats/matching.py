"""Matching the answers of an output file to the rows of an input file, either of which may have changed.

An answer belongs to a row if both its `custom_id` and its fingerprint match. A row without a `custom_id` is named after
its line, so its name means nothing once a row was inserted before it: among the unmatched answers with such names, the
row takes one with its fingerprint, and the answer is renamed. Each of n equal rows takes one. Nothing is ever matched
by name or position alone: an answer without a fingerprint, from an earlier version, belongs to no row.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from windfall.fingerprint import fingerprint
from windfall.formats.digests import Digests
from windfall.formats.output_file import answered
from windfall.row import InvalidRow, Row

#: A row of an output file, as an object.
Line = dict[str, Any]

_BY_LINE: Final = re.compile(r"row-\d+(-again)*")
_SIMULATED: Final = "simulated"


#: The key that answers are matched by: the name, and the fingerprint of the request.
Key = Callable[[Line], str]


@dataclass(slots=True)
class Matched:
    """The outcome. `names` and `replaced` contain the keys of unmatched answers."""

    key: Key
    reused: int = 0  #: rows that have their answer
    changed: int = 0  #: rows whose name has an answer to a different request
    new: int = 0  #: rows without an answer
    strays: int = 0  #: answers that belong to no row, and stay
    unknown: int = 0  #: answers without a fingerprint among those that are replaced
    names: dict[str, str] = field(default_factory=dict)  #: the new names of answers whose rows have moved
    replaced: set[str] = field(default_factory=set)  #: answers under the name of a row that is not theirs

    def applied_to(self, line: Line) -> Line | None:
        """The answer under its row's name, or None if it has to be removed."""
        key = self.key(line)
        if key in self.replaced:
            return None
        return line | {"custom_id": self.names[key]} if key in self.names else line


def key_of_row(row: Row) -> str:
    """The key of an answer to this row."""
    return f"{row.custom_id}\0{_content(row)}"


def key_of_line(line: Line) -> str:
    """The key of an answer, whatever gave it."""
    return f"{line['custom_id']}\0{answered(line)}"


def key_of_real_line(line: Line) -> str:
    """The key of a model's answer; simulated ones answer nothing."""
    ours = line.get("windfall")
    simulated = isinstance(ours, dict) and ours.get("backend") == _SIMULATED
    return key_of_line(line | {"windfall": None} if simulated else line)


def match(lines: Callable[[], Iterable[Line]], rows: Callable[[], Iterator[Row]], key: Key) -> Matched:
    """Compare them. Both are read twice; memory grows with the number of unmatched answers, hardly with the files."""
    there, taken = Digests(), Digests()
    for line in lines():
        there.add(key(line))
    found = Matched(key)
    for row in rows():
        wanted = key_of_row(row)
        if wanted in there:
            taken.add(wanted)
            found.reused += 1
        else:
            found.new += 1
    left = {left_over: line["custom_id"] for line in lines() if (left_over := key(line)) not in taken}
    if left:
        _match_left(found, left, rows(), taken)
    return found


def _match_left(found: Matched, left: dict[str, str], rows: Iterator[Row], taken: Digests) -> None:
    free, names = _free(left), set(left.values())
    met, unanswered = set(), set()
    for row in rows:
        name = str(row.custom_id)
        met |= {name} & names
        if key_of_row(row) in taken:
            continue
        if _BY_LINE.fullmatch(name) and free.get(_content(row)):
            found.names[free[_content(row)].pop()] = name
            found.reused += 1
            found.new -= 1
        elif name in names:
            unanswered.add(name)
    rest = {key: name for key, name in left.items() if key not in found.names}
    found.replaced = {key for key, name in rest.items() if name in met}
    found.strays = len(rest) - len(found.replaced)
    found.unknown = sum(key.endswith("\0") for key in found.replaced)
    found.changed = len(unanswered & {rest[key] for key in found.replaced})
    found.new -= found.changed


def _free(left: dict[str, str]) -> dict[str, list[str]]:
    """Unmatched answers that are named after a line, by the fingerprint of their request, the first one last."""
    free: dict[str, list[str]] = defaultdict(list)
    for key, name in reversed(left.items()):
        if _BY_LINE.fullmatch(name) and not key.endswith("\0"):
            free[key.removeprefix(f"{name}\0")].append(key)
    return free


def _content(row: Row) -> str:
    """The content of an invalid row: its error, which is all that distinguishes one from another."""
    return str(row.error) if isinstance(row, InvalidRow) else fingerprint(row)
