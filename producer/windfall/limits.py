"""Limits of a producer, so that one wrong file cannot fill the shared Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from windfall.errors import InvalidRequest

#: The default of the setting `max_row_bytes`.
MAX_ROW_BYTES: Final = 8 << 20
#: The default of the setting `max_batch_rows`.
MAX_BATCH_ROWS: Final = 10_000_000
#: The default of the setting `max_metadata_bytes`.
MAX_METADATA_BYTES: Final = 16 << 10


#: Bytes of a job besides its row: arq's fields, and the trace context.
ENVELOPE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a row, rows of a batch, and bytes of a batch's metadata as JSON. Each is a setting of the same name."""

    row_bytes: int = MAX_ROW_BYTES
    batch_rows: int = MAX_BATCH_ROWS
    metadata_bytes: int = MAX_METADATA_BYTES

    def checked_metadata(self, metadata: Mapping[str, str] | None) -> str:
        """A batch's metadata as JSON. Raises `InvalidRequest` if it is too large."""
        data = json.dumps(dict(metadata or {}))
        if len(data) > self.metadata_bytes:
            raise InvalidRequest(
                f"the metadata of the batch takes {len(data):,} bytes; "
                f"the limit is {size(self.metadata_bytes)} (setting max_metadata_bytes)",
                field="metadata",
            )
        return data

    def too_large(self, row_bytes: int) -> InvalidRequest | None:
        """Why a row of this size is rejected, or None."""
        if row_bytes <= self.row_bytes:
            return None
        return InvalidRequest(f"the row is larger than {size(self.row_bytes)} (setting max_row_bytes)")


#: The default limits.
DEFAULT_LIMITS: Final = Limits()


def size(number: int) -> str:
    """A number of bytes in words."""
    return f"{number >> 20} MiB" if number >= 1 << 20 and not number % (1 << 20) else f"{number:,} bytes"
