"""Addresses as people may read them, and errors that pass."""

from __future__ import annotations

import pytest
from redis.exceptions import ClusterDownError, NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from windfall.broker.connection import connect, is_passing, redact, without_passwords
from windfall.errors import BrokerUnavailable, ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "redis://:S3CRET@host:6379",
        "redis://ann:S3CRET@host:6379/1",
        "redis://host?password=S3CRET&db=1",
        "redis://:S3/CRET@localhost:6391",
        "redis:/:S3CRET@localhost:6390",
        ":S3CRET@localhost:6390",
        "redis://:S3[CRET@localhost:6390",
        "redis+sentinel://:S3CRET@a:1,b:2/mymaster?sentinel_password=S3CRET",
    ],
)
def test_no_password_is_readable_wherever_it_stands_in_an_address(url: str) -> None:
    assert "CRET" not in redact(url)
    assert "***" in redact(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:S3CRET@host:1/0", "redis://:***@host:1/0"),
        ("redis://user:S3CRET@host", "redis://user:***@host"),
        ("rediss://u:a:S3CRET@h", "rediss://u:***@h"),
        ("redis://:p@S3CRET@host", "redis://:***@host"),
        ("redis://:S3/CRET@host", "redis://***@host"),
        ("redis://host?password=S3CRET&db=1", "redis://host?password=***&db=1"),
        ("redis+sentinel://a:1,b:2/m?sentinel_password=S3CRET", "redis+sentinel://a:1,b:2/m?sentinel_password=***"),
        ("redis://:S3CRET@a,redis://:CRET@b", "redis://:***@a,redis://:***@b"),
        ("https://host/a?b=c#d", "https://host/a?b=c#d"),
    ],
)
def test_no_password_of_an_address_in_a_text_is_readable(url: str, shown: str) -> None:
    assert without_passwords(f"Redis at {url} cannot be reached") == f"Redis at {shown} cannot be reached"


def test_a_long_text_is_looked_through_in_no_time() -> None:
    text = "http://h/" + "a" * 1_000_000
    assert without_passwords(text) == text


def test_an_address_without_a_password_is_left_as_it_is() -> None:
    assert redact("redis://host:6379/2?ssl_cert_reqs=none") == "redis://host:6379/2?ssl_cert_reqs=none"


@pytest.mark.parametrize(
    "url", ["redis://:S3/CRET@localhost:1", "redis:/:CRET@h", ":CRET@h:1", "http://h", "redis://:[CRET@h"]
)
async def test_an_address_that_is_none_is_refused_in_one_sentence_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a Redis URL") as caught:
        await connect(url)
    assert "CRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://[::1]:1/0", "redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/my-master"])
async def test_an_address_where_nobody_answers_is_an_outage_and_no_mistake(url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        await connect(url)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OutOfMemoryError("command not allowed"), True),
        (ReadOnlyError("You can't write against a read only replica"), True),
        (ResponseError("Error running script: -OOM command not allowed"), True),
        (ResponseError("MISCONF Errors writing to the AOF file"), True),
        (NoScriptError("No matching script"), True),
        (ClusterDownError("Hash slot not served"), True),  # type: ignore[no-untyped-call]  # redis-py's has no types
        (ResponseError("CLUSTERDOWN The cluster is down"), True),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (ResponseError("Error running script (call to f_1): @user_script:5: -BUSY Redis is busy"), True),
        (ResponseError("Command # 1 (SET k v) of pipeline caused error: ('MISCONF Errors writing',)"), True),
        (ResponseError("Command # 1 (SET OOM v) of pipeline caused error: ('WRONGTYPE Operation',)"), False),
        (ResponseError("BUSYGROUP Consumer Group name already exists"), False),
        (ResponseError("no such lane: BUSY"), False),
        (ResponseError("no such lane: llama-OOM"), False),
        (ResponseError("no such lane: BEDROOM"), False),
        (ResponseError("Error running script: attempt to index a nil value"), False),
        (ValueError("OOM"), False),
    ],
)
def test_only_what_passes_is_tried_again(error: Exception, *, passes: bool) -> None:
    assert is_passing(error) is passes
