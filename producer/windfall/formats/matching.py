"""Which answers of an output file belong to which rows of an input file, where either may have changed meanwhile.

An answer is a row's when both its `custom_id` and its fingerprint are the row's. A row that has no `custom_id` is named
after its line, so its name says nothing once a row was put in front: of the answers that are left over under such
names, the row takes one with its fingerprint, and the answer is renamed after it. Of n equal rows each takes one.
Nothing is ever matched by name or place alone: an answer without a fingerprint, from an earlier version, belongs to no
row.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from windfall.errors import RequestRejected
from windfall.fingerprint import fingerprint
from windfall.formats.digests import Digests
from windfall.row import InvalidRow, Row

#: A row of an output file, as an object.
Line = dict[str, Any]

_BY_LINE: Final = re.compile(r"row-\d+(-again)*")
_SIMULATED: Final = "simulated"


#: What an answer is matched by: its name, and what it answers.
Key = Callable[[Line], str]


@dataclass(slots=True)
class Matched:
    """What was found. `names` and `replaced` are by the keys of the answers left over."""

    key: Key
    reused: int = 0  #: rows that have their answer
    changed: int = 0  #: rows whose name has the answer to something else
    new: int = 0  #: rows without any
    strays: int = 0  #: answers that belong to no row, and stay
    unknown: int = 0  #: answers without a fingerprint among those that are replaced
    names: dict[str, str] = field(default_factory=dict)  #: the new name of an answer whose row has moved
    replaced: set[str] = field(default_factory=set)  #: answers under the name of a row that is not theirs

    def applied_to(self, line: Line) -> Line | None:
        """The answer under its row's name, or None where it has to make room."""
        key = self.key(line)
        if key in self.replaced:
            return None
        return line | {"custom_id": self.names[key]} if key in self.names else line


def key_of_row(row: Row) -> str:
    """What an answer to this row has as its key."""
    return f"{row.custom_id}\0{_content(row)}"


def key_of_line(line: Line) -> str:
    """The key of an answer, whatever gave it."""
    return f"{line['custom_id']}\0{_answered(line)}"


def key_of_real_line(line: Line) -> str:
    """The key of an answer that a model gave; what was simulated answers nothing."""
    ours = line.get("windfall")
    simulated = isinstance(ours, dict) and ours.get("backend") == _SIMULATED
    return key_of_line(line | {"windfall": None} if simulated else line)


def match(lines: Callable[[], Iterable[Line]], rows: Callable[[], Iterator[Row]], key: Key) -> Matched:
    """Compare them. Both are read twice, in memory that grows with the answers left over and hardly with the files."""
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
    """By what they answer: the answers left over whose names only tell where their rows once stood, the first last."""
    free: dict[str, list[str]] = defaultdict(list)
    for key, name in reversed(left.items()):
        if _BY_LINE.fullmatch(name) and not key.endswith("\0"):
            free[key.removeprefix(f"{name}\0")].append(key)
    return free


def _content(row: Row) -> str:
    """A row that cannot run is answered with why: that is all that tells one from another."""
    return str(row.error) if isinstance(row, InvalidRow) else fingerprint(row)


def _answered(line: Line) -> str:
    """What a line answers, as `_content` has it; empty where that cannot be told."""
    ours, error = line.get("windfall"), line.get("error")
    found = ours.get("fingerprint") if isinstance(ours, dict) else None
    if not found and isinstance(error, dict) and error.get("code") == RequestRejected.type:
        found = error.get("message")
    return found if isinstance(found, str) else ""
