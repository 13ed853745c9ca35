"""JSONL files: rows in, output lines out.

`read_rows` takes OpenAI Batch lines, Anthropic batch lines and bare bodies, told apart line by line;
`output_line` writes OpenAI Batch output lines; `OutputFile` keeps a file of those and knows which rows it has.
"""

from windfall.formats.output_file import OutputFile
from windfall.formats.output_line import output_line
from windfall.formats.overrides import Overrides
from windfall.formats.reader import read_rows

__all__ = ["OutputFile", "Overrides", "output_line", "read_rows"]
