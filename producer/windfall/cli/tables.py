"""Tables on the command line: from flags to requests, and from answers to the table with its new columns."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from windfall.cli.files import refuse_same_file
from windfall.cli.screen.console import note, say
from windfall.errors import ConfigError, InvalidRequest
from windfall.formats.matching import Key, key_of_row
from windfall.formats.tables import AnswerColumns, Question, TableKind, Template, kind_of, open_table, write_table
from windfall.formats.tables.answers_by_row import AnswersByRow
from windfall.formats.tables.conditions import SqlCondition
from windfall.formats.tables.table_rows import TableRows
from windfall.formats.tables.writing import Filled
from windfall.request import CompletionRequest

_SHOWN: Final = 3  # prompts of a dry run
_LARGEST_TEXT: Final = 10 * 2**20  # bytes of a prompt or schema in a file
_BYTES_A_TOKEN: Final = 4  # a rule of thumb for English text


@dataclass(frozen=True, slots=True)
class TableFlags:
    """The flags as given."""

    prompt: str
    system: str | None
    column: str
    choices: str | None
    schema: Path | None
    temperature: float
    max_tokens: int | None
    where: str | None
    limit: int | None
    kind: TableKind | None
    encoding: str


@dataclass(frozen=True, slots=True)
class TableJob:
    """A table to be filled: what is asked about its rows, and where its answers and the new table go."""

    rows: TableRows
    output: Path
    count: int  #: rows of the table, up to the limit
    flags: TableFlags

    @property
    def identity(self) -> tuple[object, ...]:
        """What distinguishes this job from others about the same file."""
        question = self.rows.question
        system = question.system.text if question.system else ""
        return (question.prompt.text, system, repr(question.answer), repr(question.body), repr(self.flags))

    @property
    def answers(self) -> Path:
        """The file that the answers are written to as they come; it is what a repeated command continues with."""
        return self.output.with_name(f"{self.output.name}.answers.jsonl")

    def write(self, key: Key) -> Filled:
        """Write the table with the answers that there are."""
        with AnswersByRow(self.answers, key_of_row, key) as answers:
            return write_table(self.rows, answers, self.output, kind_of(self.output))

    def conclude(self, key: Key) -> Filled:
        """Write the table, and say what it holds."""
        filled = self.write(key)
        failed = f", {filled.failed:,} of them failed; the first: {filled.first_error}" if filled.failed else ""
        note(f"{filled.rows:,} rows are in {self.output}{failed}")
        return filled


def table_job(
    source: Path, output: Path | None, flags: TableFlags, body: dict[str, Any], max_row_bytes: int
) -> TableJob:
    """The job of these flags, after the table was read once. Raises `ConfigError` and `InvalidRequest`."""
    if output is None or str(output) == "-":
        raise ConfigError("a table needs a file for its answers: -o OUT, such as -o out.csv")
    refuse_same_file(source, output)
    kind_of(output)
    table = open_table(source, told=flags.kind, encoding=flags.encoding, max_row_bytes=max_row_bytes)
    question = _question(flags, body)
    question.check(table.columns)
    where = SqlCondition(flags.where, table) if flags.where else None
    rows = TableRows(table, question, max_row_bytes, flags.limit, where)
    job = TableJob(rows, output, rows.check(), flags)
    if output.exists() and not job.answers.exists():
        raise ConfigError(
            f"{output} exists, and was not written by this command (there is no {job.answers.name} beside it); name "
            "another file, or move this one"
        )
    return job


def show_prompts(job: TableJob) -> None:
    """Print what would be asked."""
    asked, size = 0, 0
    for row in job.rows.rows():
        if isinstance(row, CompletionRequest):
            size += sum(len(message.text().encode()) for message in row.messages)
        asked += 1
    for number, row in enumerate(itertools.islice(job.rows.rows(), _SHOWN), 1):
        say(f"--- {number} ---")
        if not isinstance(row, CompletionRequest):
            say(f"(cannot run: {row.error})")
            continue
        for message in row.messages:
            say(f"{message.role}: {message.text()}")
    say("---")
    say(
        f"{asked:,} of {job.count:,} rows would be asked about, with about {size // _BYTES_A_TOKEN:,} tokens of prompts"
    )


def _question(flags: TableFlags, body: dict[str, Any]) -> Question:
    if flags.choices is not None and flags.schema is not None:
        raise ConfigError("--choices and --schema exclude each other; a choice in a schema is an enum")
    if flags.schema is not None:
        answer = AnswerColumns.of_schema(_read(flags.schema, "--schema"), flags.column)
    else:
        choices = tuple(each.strip() for each in (flags.choices or "").split(",") if each.strip())
        if flags.choices is not None and not choices:
            raise ConfigError("--choices names none; separate them with commas: --choices positive,negative")
        answer = AnswerColumns.text(flags.column, choices)
    system = Template(_text(flags.system, "--system")) if flags.system else None
    limits = {} if flags.max_tokens is None else {"max_tokens": flags.max_tokens}
    return Question(
        Template(_text(flags.prompt, "--prompt")), answer, system, body | {"temperature": flags.temperature} | limits
    )


def _text(given: str, flag: str) -> str:
    return _read(Path(given[1:]), flag) if given.startswith("@") else given


def _read(path: Path, flag: str) -> str:
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise InvalidRequest(f"{path} is too large for {flag}: more than {_LARGEST_TEXT // 2**20} MiB")
        return path.read_text("utf-8").removesuffix("\n")
    except FileNotFoundError:
        raise InvalidRequest(f"no such file for {flag}: {path}") from None
    except OSError as exc:
        raise InvalidRequest(f"cannot read {path} for {flag}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not UTF-8") from None


def note_copies(count: int) -> None:
    """Say how many rows were not asked, because another row asks the same."""
    note(
        "1 row asks what another asks, and has a copy of its answer"
        if count == 1
        else f"{count:,} rows ask what another asks, and have a copy of its answer"
    )


def refuse_table_without_prompt(source: Path) -> None:
    """Raise `ConfigError` for a table that nothing is asked about."""
    with suppress(InvalidRequest):
        if kind_of(source) is not TableKind.JSONL and source.exists():
            raise ConfigError(
                f"{source} is a table, not a file of requests; ask something about each of its rows, such as "
                "--prompt 'Is this a complaint? {COLUMN}'"
            )


def refuse_table_flags(**given: object) -> None:
    """Raise `ConfigError` for flags that mean nothing without --prompt."""
    for name, value in given.items():
        if value not in (None, False, "answer"):
            raise ConfigError(f"--{name.replace('_', '-')} is for tables; ask something about each row with --prompt")
