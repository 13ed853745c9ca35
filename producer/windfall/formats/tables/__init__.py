"""Tables: CSV, TSV, JSONL of objects and Parquet, whose rows become requests and whose answers become columns.

`open_table` reads one, `Question` makes a request of each row, `AnswerColumns` makes values of each answer, and
`write_table` writes the same table with these as additional columns. CSV, TSV and JSONL are read line by line with the
standard library, so that every value is written back as it stood; Parquet needs Polars (the extra `tables`).
"""

from windfall.formats.tables.answer_columns import AnswerColumns
from windfall.formats.tables.kind import TableKind, kind_of
from windfall.formats.tables.opening import open_table
from windfall.formats.tables.question import Question
from windfall.formats.tables.table import Table
from windfall.formats.tables.template import Template
from windfall.formats.tables.writing import write_table

__all__ = ["AnswerColumns", "Question", "Table", "TableKind", "Template", "kind_of", "open_table", "write_table"]
