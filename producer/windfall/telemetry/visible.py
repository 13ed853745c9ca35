"""Foreign text for a terminal: what would move its cursor, change its title or turn its lines round is written out.

That is control characters (ESC and the one-byte forms of C1 among them), the marks that set a text's direction, and
what only some readers take for the end of a line. Others that show nothing by themselves are part of words and emoji.
"""

from __future__ import annotations

import logging
import re
from typing import Final

_HARMFUL: Final = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_HARMFUL}]")
_IN_JSON: Final = re.compile(rf"[{_HARMFUL}]")
#: The same in UTF-8, where text has no surrogates.
_IN_BYTES: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def visible(text: str) -> str:
    """The text, in which line ends and tabs stay what they are."""
    return _IN_TEXT.sub(lambda found: repr(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    """The same JSON, as JSON escapes it."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible_json_bytes(line: bytes) -> bytes:
    """The same for JSON in UTF-8."""
    return _IN_BYTES.sub(lambda found: f"\\u{ord(found[0].decode()):04x}".encode(), line)


class VisibleFormatter(logging.Formatter):
    """Records as lines for a person."""

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter` has it."""
        return visible(super().format(record))
