"""Writing compressed files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from windfall.errors import InvalidRequest
from windfall.formats.tables.kind import packing
from windfall.runtime.extras import how_to_install


@contextmanager
def packed_for_writing(path: Path, target: Path) -> Iterator[IO[bytes]]:
    """Write to `path` as the ending of `target` says."""
    with path.open("wb") as file:
        match packing(target):
            case ".gz":
                with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                    yield cast("IO[bytes]", packed)
            case ".zst":
                try:
                    import zstandard  # noqa: PLC0415 - an extra
                except ModuleNotFoundError:
                    raise InvalidRequest(
                        f"writing {target} needs the tables extra: {how_to_install('tables')}"
                    ) from None
                with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
                    yield cast("IO[bytes]", packed)
            case _:
                yield file
