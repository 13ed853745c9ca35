"""The flags of `run` and `submit` for tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from windfall.formats.tables import TableKind

Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt", metavar="TEXT", show_default=False, rich_help_panel="Tables",
        help="Ask this about every row of a table (CSV, TSV, JSONL of objects, Parquet); {column} is replaced by the "
        "row's value. @FILE reads it from a file.",
    ),
]  # fmt: skip
System = Annotated[
    str | None,
    typer.Option(
        "--system", metavar="TEXT", show_default=False, rich_help_panel="Tables",
        help="A system prompt for every row, also with {column}, or @FILE.",
    ),
]  # fmt: skip
Column = Annotated[
    str, typer.Option("--column", metavar="NAME", help="The column for the answers.", rich_help_panel="Tables")
]
Choices = Annotated[
    str | None,
    typer.Option(
        "--choices", metavar="A,B,C", show_default=False, rich_help_panel="Tables",
        help="The answer has to be one of these; any other is a failed row.",
    ),
]  # fmt: skip
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema", metavar="FILE", show_default=False, rich_help_panel="Tables",
        help="A JSON Schema of an object: each of its properties becomes a column.",
    ),
]  # fmt: skip
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", min=0, max=2, metavar="T", rich_help_panel="Tables",
        help="At 0 the same text gets the same answer, and is asked only once.",
    ),
]  # fmt: skip
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", min=1, metavar="N", show_default=False, rich_help_panel="Tables",
        help="The most tokens of an answer [what the model allows].",
    ),
]  # fmt: skip
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="SQL", show_default=False, rich_help_panel="Tables",
        help='Ask only about rows that meet this, such as "stars < 3"; the others keep an empty value.',
    ),
]  # fmt: skip
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, metavar="N", show_default=False, rich_help_panel="Tables",
        help="Take only the first N rows, to try a prompt; without it, the same command does the rest.",
    ),
]  # fmt: skip
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", rich_help_panel="Tables", help="Show three of the prompts, and ask nothing."),
]  # fmt: skip
Kind = Annotated[
    TableKind | None,
    typer.Option(
        "--format", show_default=False, rich_help_panel="Tables", help="The kind of table, if its name does not say."
    ),
]  # fmt: skip
Encoding = Annotated[
    str, typer.Option("--encoding", metavar="NAME", rich_help_panel="Tables", help="The encoding of a CSV or TSV file.")
]
Reuse = Annotated[
    bool,
    typer.Option(
        "--reuse",
        help="Run equal requests once, even if they are not deterministic; without it, only those at temperature 0 or "
        "with a seed.",
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Run every row again; the answers so far are moved to a file beside them.")
]
