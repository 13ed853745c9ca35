"""An input file -> rows, one at a time, in memory that does not grow with the file.

All that is kept of a row is a 64-bit hash of its `custom_id` (see digests.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from pydantic import ValidationError
from pydantic_core import from_json

from windfall.errors import InvalidRequest
from windfall.fields import without_empty_refused
from windfall.formats import anthropic_batch, openai_batch
from windfall.formats.digests import Digests
from windfall.formats.explain import explain, vocabulary
from windfall.formats.lines import split_lines
from windfall.formats.overrides import NO_OVERRIDES, Overrides
from windfall.limits import MAX_ROW_BYTES, size
from windfall.request import CompletionRequest
from windfall.row import InvalidRow, Row

_WORDS: Final = vocabulary(CompletionRequest)
_LONGEST_ID: Final = 512


def read_rows(
    stream: BinaryIO,
    *,
    name: str = "the input",
    overrides: Overrides = NO_OVERRIDES,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> Iterator[Row]:
    """Every row of a JSONL file: OpenAI Batch lines, Anthropic batch lines and bare bodies, mixed as they come.

    A row that cannot run comes as an `InvalidRow`, and reading goes on. A row without a `custom_id` is called
    `row-<line>`, and so is one whose `custom_id` an earlier row has: no two rows share one. Raises `InvalidRequest` at
    the end of a file that had no row at all.
    """
    taken = _Ids()
    empty = True
    for line, data in split_lines(stream, max_row_bytes):
        empty = False
        yield _row(line, data, overrides, max_row_bytes, taken)
    if empty:
        raise InvalidRequest(f"{name} is empty")


class _Ids:
    """The custom ids that were given so far."""

    def __init__(self) -> None:
        self._taken = Digests()

    def take(self, custom_id: str) -> bool:
        """Whether it was free."""
        return self._taken.add(custom_id)

    def make(self, line: int) -> str:
        """A free one for the row of this line; the same for the same file."""
        made = f"row-{line}"
        while not self.take(made):
            made += "-again"
        return made


def _row(line: int, data: bytes | None, overrides: Overrides, limit: int, taken: _Ids) -> Row:
    custom_id = None
    try:
        row = _parsed(data, limit)
        custom_id = _custom_id(row, taken) or taken.make(line)
        return _request(row, custom_id, overrides)
    except InvalidRequest as exc:
        error = InvalidRequest(exc.reason, line=line, field=exc.field)
        return InvalidRow(custom_id or taken.make(line), line, error)


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


def _custom_id(row: dict[str, Any], taken: _Ids) -> str | None:
    """The row's own id, if it has one. Raises `InvalidRequest` for one that cannot be used."""
    holder = row
    if "custom_id" not in row and isinstance(row.get("body"), dict):
        holder = row["body"]
    custom_id = holder.get("custom_id")
    if custom_id is None:
        holder.pop("custom_id", None)
        return None
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _LONGEST_ID:
        raise InvalidRequest(f"must be a text of 1 to {_LONGEST_ID} characters", field="custom_id")
    if not taken.take(custom_id):
        raise InvalidRequest(f"{_short(custom_id)} is the custom_id of an earlier row, too", field="custom_id")
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
        return CompletionRequest.model_validate(body)
    except ValidationError as exc:
        error = explain(exc, body, _WORDS, prefix)
    if error.field == f"{prefix}model" and "model" not in body:
        error = InvalidRequest("is missing; name one in the row or with --model", field=error.field)
    raise error


def _short(custom_id: str) -> str:
    return repr(custom_id if len(custom_id) <= 64 else custom_id[:61] + "…")
