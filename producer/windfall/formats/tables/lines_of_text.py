"""Opening text tables: compressed or not, in any encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from windfall.errors import InvalidRequest
from windfall.formats.tables.kind import packing
from windfall.runtime.extras import how_to_install

_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_encoding(encoding: str) -> str:
    """The encoding's normal name. Raises `InvalidRequest` for one that does not exist."""
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise InvalidRequest(f"there is no encoding {encoding!r}; common ones are utf-8, latin-1 and utf-16") from None


@contextmanager
def opened_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """The text of a file, unpacked. A byte-order mark is skipped; line endings stay as they are.

    Raises `InvalidRequest`, also while it is read: for a file cut off, not compressed, or in another encoding.
    """
    try:
        with opened_bytes(path) as raw:
            name = "utf-8-sig" if encoding == "utf-8" else encoding
            with io.TextIOWrapper(cast("io.BufferedReader", raw), encoding=name, newline="") as text:
                yield text
    except UnicodeDecodeError as exc:
        raise InvalidRequest(
            f"{path} is not {encoding}: it has the byte 0x{exc.object[exc.start]:02x} where none can stand; "
            "name its encoding, such as --encoding latin-1"
        ) from None


@contextmanager
def opened_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked as its ending says. Raises `InvalidRequest` where they cannot be."""
    with readable(path), path.open("rb") as file:
        head = file.peek(4)[:4]
        if not packing(path):
            if head.startswith(_GZIP):
                raise InvalidRequest(f"{path} is compressed with gzip; rename it to {path}.gz")
            yield file
        elif packing(path) == ".gz":
            if not head.startswith(_GZIP):
                raise InvalidRequest(f"{path} is not compressed with gzip, as its name says; rename it")
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("IO[bytes]", io.BufferedReader(unpacked, 1 << 16))
        else:
            with _zstd(path).open(path, "rb") as unpacked:
                yield io.BufferedReader(unpacked, 1 << 16)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading this file into an `InvalidRequest`."""
    try:
        yield
    except FileNotFoundError:
        raise InvalidRequest(f"no such file: {path}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise InvalidRequest(f"{path} is cut off or damaged: {exc}") from None
    except (IsADirectoryError, PermissionError) as exc:
        raise InvalidRequest(f"cannot read {path}: {exc.strerror}") from None


def _zstd(path: Path) -> Any:
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise InvalidRequest(f"reading {path} needs the tables extra: {how_to_install('tables')}") from None
    return zstandard


def refuse_utf16(path: Path, encoding: str) -> None:
    """Raise `InvalidRequest` for UTF-16 that is to be read as something else."""
    with opened_bytes(path) as file:
        head = file.read(400)
    if encoding.startswith(("utf-16", "utf-32")):
        return
    if head.startswith(_UTF_16) or head.count(b"\0") > len(head) // 4:
        raise InvalidRequest(f"{path} is UTF-16; add --encoding utf-16")
