"""Addresses as people may read them, and errors that pass."""

from __future__ import annotations

import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from windfall.connection import is_passing, redact


@pytest.mark.parametrize(
    "url",
    [
        "redis://:S3CRET@host:6379",
        "redis://ann:S3CRET@host:6379/1",
        "redis://host?password=S3CRET&db=1",
        "redis+sentinel://:S3CRET@a:1,b:2/mymaster?sentinel_password=S3CRET",
    ],
)
def test_no_password_is_readable_wherever_it_stands_in_an_address(url: str) -> None:
    assert "S3CRET" not in redact(url)
    assert "***" in redact(url)


def test_an_address_without_a_password_is_left_as_it_is() -> None:
    assert redact("redis://host:6379/2?ssl_cert_reqs=none") == "redis://host:6379/2?ssl_cert_reqs=none"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OutOfMemoryError("command not allowed"), True),
        (ReadOnlyError("You can't write against a read only replica"), True),
        (ResponseError("Error running script: -OOM command not allowed"), True),
        (ResponseError("MISCONF Errors writing to the AOF file"), True),
        (ResponseError("no such lane: BEDROOM"), False),
        (ResponseError("Error running script: attempt to index a nil value"), False),
        (ValueError("OOM"), False),
    ],
)
def test_only_what_passes_is_tried_again(error: Exception, *, passes: bool) -> None:
    assert is_passing(error) is passes
