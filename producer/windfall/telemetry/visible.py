"""Making foreign text safe for a terminal: anything that moves its cursor or reorders its text is escaped.

Escaped are control characters (including ESC and the one-byte forms of C1), marks that set the direction of text, and
characters that only some readers treat as line ends. Other invisible characters are parts of words and emoji.
"""

from __future__ import annotations

import logging
import re
from typing import Final

_HARMFUL: Final = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_HARMFUL}]")
_IN_JSON: Final = re.compile(rf"[{_HARMFUL}]")
#: The same in UTF-8, in which text has no surrogates.
_IN_BYTES: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def visible(text: str) -> str:
    """The text, with line ends and tabs unchanged."""
    return _IN_TEXT.sub(lambda found: repr(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    """The same for JSON text, with JSON's escapes."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible_json_bytes(line: bytes) -> bytes:
    """The same for JSON in UTF-8."""
    return _IN_BYTES.sub(lambda found: f"\\u{ord(found[0].decode()):04x}".encode(), line)


class VisibleFormatter(logging.Formatter):
    """Formats records as lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as `logging.Formatter` does, then escape it."""
        return visible(super().format(record))
