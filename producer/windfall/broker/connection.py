"""Connecting to Redis, and explaining in one sentence why it failed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from arq import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from windfall.broker.broker_connection import Demoted, TurnedAway, follow_the_master
from windfall.broker.sentinel import close_sentinels, is_sentinel, sentinel_pool
from windfall.errors import BrokerDenied, BrokerError, BrokerFull, BrokerUnavailable, ConfigError
from windfall.wire import job_deserializer, job_serializer

#: Seconds after which an unanswered command counts as an outage: a pulled cable sends no error.
_ANSWER_WITHIN: Final = 10.0

#: Errors which mean that Redis is unavailable and may come back.
OUTAGE: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError, asyncio.TimeoutError)

#: Every way in which a call to Redis fails: it is unavailable, or it refuses the call.
REDIS_ERRORS: Final = (RedisError, *OUTAGE)

_DENIALS: Final = (AuthenticationError, AuthorizationError, NoPermissionError)

# Answers of a Redis that is there but cannot serve now: full memory, a full disk, a replica during a failover, a start,
# a script that a restart has made it forget once more. redis-py has classes for some, whose texts lack the code.
# Elsewhere the code stands at the beginning of the text or of what redis-py quotes of it in a pipeline; Redis 6.2 has a
# script's behind a dash in the middle. Nowhere else is it looked for: a text may quote names that people chose.
_PASSING_CLASSES: Final = (
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_CODES: Final = "BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN"
_PASSING: Final = re.compile(rf"(^|\W-|caused error: \W*)({_CODES})\b")

_ADDRESS: Final = re.compile(
    r"unix://([^/]*@)?/[^?]|rediss?://([^/]*@)?(\[[0-9a-fA-F:.]+\]|[^/@:]+)(:\d+)?(/\w*)?(\?|$)"
)


_SCHEME: Final = r"[a-z][a-z0-9+.-]{0,20}://"
_URL: Final = re.compile(rf"{_SCHEME}(?:(?!{_SCHEME})\S)+", re.IGNORECASE)


def is_passing(exc: Exception) -> bool:
    """Whether Redis is away, or cannot serve now: the same may succeed when it is tried again."""
    if isinstance(exc, (*OUTAGE, *_PASSING_CLASSES)):
        return True
    return isinstance(exc, RedisError) and bool(_PASSING.search(str(exc)))


def redact(url: str) -> str:
    """The URL for people to read: without its passwords, wherever they are in it."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        password, parts = None, None
    if parts is None or (password is None and "@" in url):
        # A malformed URL, so there is no telling where its password ends: it may be everything before the last @.
        return re.sub(r"^([a-z+]*:/*)?.*@", r"\1***@", url, flags=re.IGNORECASE)
    netloc = parts.netloc
    if password:
        netloc = f"{parts.username or ''}:***@{netloc.rpartition('@')[2]}"
    query = re.sub(r"(?i)(password[^=&]*=)[^&]*", r"\1***", parts.query)
    return put_together(parts._replace(netloc=netloc, query=query))


def put_together(parts: SplitResult) -> str:
    """The URL of these parts. `urlunsplit` leaves out the slashes before an empty host, as in `unix:///PATH`."""
    url = urlunsplit(parts)
    return url if parts.netloc or not parts.path else url.replace(f"{parts.scheme}:/", f"{parts.scheme}:///", 1)


async def connect(url: str, *, timeout: float = 5.0) -> ArqRedis:
    """Connect to the Redis at this URL (`redis://`, `rediss://` or `unix://`), or to the master that sentinels watch
    (`redis+sentinel://`, see `windfall.broker.sentinel`); returns a connection pool that is known to answer.

    `timeout` (seconds) bounds connecting. Raises `ConfigError` for an invalid URL, `BrokerUnavailable` and
    `BrokerDenied`.
    """
    redis = adopt(ArqRedis(_pool(url, timeout)))
    try:
        with translated(url):
            async with asyncio.timeout(timeout):
                await redis.ping()
    except TypeError as exc:  # redis-py passes the options of the URL to its constructors
        await disconnect(redis)
        raise ConfigError(f"{redact(url)!r} has an option that redis-py does not know: {exc}") from exc
    except BaseException:
        await disconnect(redis)
        raise
    return redis


def _pool(url: str, timeout: float) -> ConnectionPool:
    pool = _plain_pool(url, timeout)
    follow_the_master(pool)
    return pool


def _plain_pool(url: str, timeout: float) -> ConnectionPool:
    options: dict[str, Any] = {
        "socket_connect_timeout": timeout,
        "socket_timeout": _ANSWER_WITHIN,
        "socket_keepalive": True,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        "retry_on_error": [RedisConnectionError],
        # redis-py would send CLIENT SETINFO, which no ACL rule can allow that Redis 6.2 and 7.0 also accept.
        "lib_name": None,
        "lib_version": None,
    }
    if is_sentinel(url):
        return sentinel_pool(url, **options)
    # redis-py falls back to localhost:6379 for anything it does not understand, which nobody means.
    if not _ADDRESS.match(url):
        raise ConfigError(
            f"{redact(url)!r} is not a Redis URL: write redis://HOST:PORT/DB, rediss://HOST:PORT/DB or "
            "unix:///PATH/OF/SOCKET?db=DB, and a / in a password as %2F"
        )
    if url.startswith("unix:"):
        del options["socket_keepalive"]  # TCP's; the connection class of a Unix socket does not take it
    if url.startswith("rediss:"):
        # A certificate issued for another host proves nothing; redis-py 5 would accept it.
        options["ssl_check_hostname"] = True
    try:
        return ConnectionPool.from_url(url, **options)
    except ValueError as exc:
        raise ConfigError(f"{redact(url)!r} is not a Redis URL: write redis://HOST:PORT or rediss://HOST:PORT") from exc


def without_passwords(text: str) -> str:
    """The text with the password of every URL in it hidden."""
    return _URL.sub(lambda found: redact(found[0]), text)


def adopt(redis: ArqRedis) -> ArqRedis:
    """Give an `ArqRedis` our serializers, so that nothing on it is ever pickled."""
    redis.job_serializer = job_serializer
    redis.job_deserializer = job_deserializer
    return redis


async def disconnect(redis: ArqRedis) -> None:
    """Close a pool; never raises, because nothing is left to lose."""
    try:
        await redis.aclose()
        await redis.connection_pool.disconnect(inuse_connections=True)
        await close_sentinels(redis.connection_pool)
    except REDIS_ERRORS:
        pass


@contextmanager
def translated(url: str | None = None) -> Iterator[None]:
    """Translate Redis' exceptions into ours. `url` appears in the messages, without its password."""
    where = f" at {redact(url)}" if url else ""
    try:
        yield
    except _DENIALS as exc:
        raise BrokerDenied(f"Redis{where} refused: {exc}; check the user and the password in its URL") from exc
    except OutOfMemoryError as exc:
        raise BrokerFull(
            f"Redis{where} is out of memory and wrote nothing; raise maxmemory, or wait until results have been read"
        ) from exc
    except OUTAGE as exc:
        if isinstance(exc.__cause__, _DENIALS):  # as redis-py reports it over a Unix socket
            raise BrokerDenied(f"Redis{where} refused: {exc}; check the user and the password in its URL") from exc
        raise BrokerUnavailable(f"Redis{where} {_outage_in_words(exc)}") from exc
    except ResponseError as exc:
        if _is_denial(exc):
            raise BrokerDenied(f"Redis{where} refused: {exc}; give the password in its URL") from exc
        if "OOM" in str(exc):
            raise BrokerFull(f"Redis{where} is out of memory and wrote nothing; raise maxmemory") from exc
        if is_passing(exc):
            raise BrokerUnavailable(f"Redis{where} cannot do this right now: {exc}") from exc
        raise BrokerError(f"Redis{where} answered: {exc}") from exc
    except RedisError as exc:
        raise BrokerError(f"the server{where} is not a Redis server: {exc}") from exc


def _outage_in_words(exc: Exception) -> str:
    reason = str(exc).rstrip(".") or "no answer in time"
    if isinstance(exc, Demoted):
        return f"is a read-only replica ({reason}); use the address of its master, or wait for the failover to end"
    if isinstance(exc, TurnedAway):
        return f"rejects new connections: {reason!r}"
    return f"cannot be reached: {reason}. Is it running?"


def _is_denial(exc: ResponseError) -> bool:
    return str(exc).startswith(("NOAUTH", "WRONGPASS", "NOPERM"))
