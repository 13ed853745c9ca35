"""An input file -> rows, one at a time, in nearly constant memory.

Only a 64-bit hash of each row's `custom_id` is kept (see digests.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from windfall.errors import InvalidRequest
from windfall.explain import explain, vocabulary
from windfall.fields import without_empty_refused
from windfall.formats import anthropic_batch, openai_batch
from windfall.formats.digests import Digests
from windfall.formats.lines import split_lines
from windfall.formats.looks_like import HEAD_BYTES, looks_like
from windfall.formats.overrides import NO_OVERRIDES, Overrides
from windfall.limits import MAX_ROW_BYTES, size
from windfall.placement import check_placement
from windfall.request import CompletionRequest
from windfall.row import InvalidRow, Row

_WORDS: Final = vocabulary(CompletionRequest)
_LONGEST_ID: Final = 512
_LONGEST_SHOWN: Final = 64


#: Why a row without a model cannot run.
NO_MODEL: Final = "is missing; name one in the row or with --model"
#: If this many lines at the beginning of a file are not JSON objects, it is not a JSONL file.
_TOO_MANY: Final = 10


def read_rows(
    stream: BinaryIO,
    *,
    name: str = "the input",
    overrides: Overrides = NO_OVERRIDES,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> Iterator[Row]:
    """Every row of a JSONL file: OpenAI Batch lines, Anthropic batch lines and bare bodies, mixed as they come.

    A row that cannot run is yielded as an `InvalidRow`, and reading continues. A row without a `custom_id` is called
    `row-<line>`. An integer `custom_id` becomes its digits. A row whose `custom_id` is unusable, or already taken by an
    earlier row, is called `<custom_id> (line <line>)` and does not run, so that no two rows share a name. Raises
    `InvalidRequest` at the end of an empty file, and for a file of another type: its first ten lines are not JSON
    objects, or it has fewer lines, none is a JSON object, and its type is recognized.
    """
    head = _Head(stream)
    taken = _Ids()
    empty = True
    held: list[Row] | None = []  # the rows so far, while no line was a JSON object
    for line, data in split_lines(head, max_row_bytes):
        empty = False
        try:
            row = _row(line, _parsed(data, max_row_bytes), overrides, taken)
        except InvalidRequest as exc:
            row = _invalid(taken.make(line), line, exc)
            if held is not None:
                held.append(row)
                if len(held) == _TOO_MANY:
                    raise _something_else(name, held, looks_like(head.seen)) from None
                continue
        if held:
            yield from held
        held = None
        yield row
    if empty:
        raise InvalidRequest(f"{name} is empty")
    if held:
        if what := looks_like(head.seen):
            raise _something_else(name, held, what)
        yield from held


def _something_else(name: str, held: list[Row], what: str | None) -> InvalidRequest:
    shown = "IN" if " " in name or name == "stdin" else name
    if what is None:
        lines = f"its first {len(held)} lines are"
        first = held[0].error if isinstance(held[0], InvalidRow) else ""
        return InvalidRequest(f"{name} is not JSON Lines: {lines} not JSON objects ({first})")
    return InvalidRequest(f"{name} is not JSON Lines; it looks like {what.replace('FILE', shown)}")


class _Head:
    """A stream whose beginning is remembered."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seen = b""

    def readline(self, size: int) -> bytes:
        """The next line, or at most `limit` bytes of it."""
        data = self._stream.readline(size)
        if len(self.seen) < HEAD_BYTES:
            self.seen += data[: HEAD_BYTES - len(self.seen)]
        return data


class _Ids:
    """The custom ids used so far."""

    def __init__(self) -> None:
        self._taken = Digests()

    def take(self, custom_id: str) -> bool:
        """Take an id; False if it was already taken."""
        return self._taken.add(custom_id)

    def make(self, line: int, instead_of: object = None) -> str:
        """A free id for the row on this line; deterministic for a given file."""
        made = f"row-{line}"
        if instead_of not in (None, ""):
            shown = instead_of if isinstance(instead_of, str) else to_json(instead_of).decode()
            made = f"{shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + '…'} (line {line})"
        while not self.take(made):
            made += "-again"
        return made


def _row(line: int, row: dict[str, Any], overrides: Overrides, taken: _Ids) -> Row:
    custom_id = None
    try:
        custom_id = _custom_id(row, taken, line)
        return _request(row, custom_id, overrides)
    except _Unusable as exc:
        return _invalid(exc.custom_id, line, exc)
    except InvalidRequest as exc:
        return _invalid(custom_id or taken.make(line), line, exc)


def _invalid(custom_id: str, line: int, exc: InvalidRequest) -> InvalidRow:
    return InvalidRow(custom_id, line, InvalidRequest(exc.reason, line=line, field=exc.field))


class _Unusable(InvalidRequest):
    """A row whose `custom_id` cannot be used; `custom_id` is the replacement."""

    def __init__(self, reason: str, custom_id: str) -> None:
        super().__init__(reason, field="custom_id")
        self.custom_id = custom_id


def _parsed(data: bytes | None, limit: int) -> dict[str, Any]:
    if data is None:
        raise InvalidRequest(f"the row is larger than {size(limit)} (setting max_row_bytes)")
    try:
        row = from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidRequest(_why_no_json(data, exc)) from None  # the cause may quote the row
    if not isinstance(row, dict):
        raise InvalidRequest("a row must be a JSON object")
    return row


def _why_no_json(data: bytes, exc: ValueError) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: byte {wrong.start + 1} of the line is 0x{data[wrong.start]:02x}"
    return "not valid JSON: " + str(exc).replace("at line 1 column", "at column")


def _custom_id(row: dict[str, Any], taken: _Ids, line: int) -> str:
    """The row's own id, or a generated one. Raises `_Unusable` for an id that cannot be used."""
    holder = row
    if "custom_id" not in row and isinstance(row.get("body"), dict):
        holder = row["body"]
    custom_id = holder.get("custom_id")
    if custom_id is None:
        holder.pop("custom_id", None)
        return taken.make(line)
    if isinstance(custom_id, int) and not isinstance(custom_id, bool):
        custom_id = holder["custom_id"] = str(custom_id)
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _LONGEST_ID:
        made = taken.make(line, custom_id)
        raise _Unusable(f"must be a string of 1 to {_LONGEST_ID} characters; the result calls this row {made!r}", made)
    if not taken.take(custom_id):
        made = taken.make(line, custom_id)
        raise _Unusable(f"{_short(custom_id)} is already the custom_id of an earlier row", made)
    return custom_id


def _request(row: dict[str, Any], custom_id: str, overrides: Overrides) -> CompletionRequest:
    if anthropic_batch.is_anthropic_line(row):
        body, prefix = anthropic_batch.unwrap(row), "params."
    elif openai_batch.is_openai_line(row):
        body, prefix = openai_batch.unwrap(row), "body."
    else:
        body, prefix = row, ""
    body = overrides.applied_to(without_empty_refused(body)) | {"custom_id": custom_id}
    if body.get("model") is None:
        body.pop("model", None)
    try:
        request = CompletionRequest.model_validate(body)
    except ValidationError as exc:
        error = explain(exc, body, _WORDS, prefix)
    else:
        _check_placement(request, prefix)
        return request
    if error.field == f"{prefix}model" and "model" not in body:
        error = InvalidRequest(NO_MODEL, field=error.field)
    raise error


def _check_placement(request: CompletionRequest, prefix: str) -> None:
    try:
        check_placement(request)
    except InvalidRequest as exc:
        raise InvalidRequest(exc.reason, field=prefix + (exc.field or "").removeprefix("anthropic.")) from None


def _short(custom_id: str) -> str:
    return repr(custom_id if len(custom_id) <= _LONGEST_SHOWN else custom_id[: _LONGEST_SHOWN - 3] + "…")
