"""Connecting to Redis, and saying in one sentence why it did not work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from arq import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
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

#: Seconds after which a command without an answer counts as an outage: a pulled cable says nothing by itself.
_ANSWER_WITHIN = 10.0

#: What means that Redis is away and may come back.
OUTAGE = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError, asyncio.TimeoutError)

_DENIALS = (AuthenticationError, AuthorizationError, NoPermissionError)

# What is no fault of the caller's and passes: full memory, a full disk, a replica during a failover, a start, a script
# that a restart has made Redis forget once more. redis-py
# has classes for some of it, whose texts lack the code; Redis 6.2 puts the code of a script's error into its text.
_PASSING_CLASSES = (OutOfMemoryError, ReadOnlyError, MasterDownError, TryAgainError, NoScriptError)
_PASSING = re.compile(r"\b(OOM|MISCONF|READONLY|LOADING|MASTERDOWN|BUSY|TRYAGAIN|NOREPLICAS)\b")


_ADDRESS = re.compile(r"unix://([^/]*@)?/[^?]|rediss?://([^/]*@)?(\[[0-9a-fA-F:.]+\]|[^/@:]+)(:\d+)?(/\w*)?(\?|$)")


_SCHEME = r"[a-z][a-z0-9+.-]{0,20}://"
_URL = re.compile(rf"{_SCHEME}(?:(?!{_SCHEME})\S)+", re.IGNORECASE)


def is_passing(exc: Exception) -> bool:
    """Whether this error may be gone when the same is tried again."""
    if isinstance(exc, (*OUTAGE, *_PASSING_CLASSES)):
        return True
    return isinstance(exc, RedisError) and bool(_PASSING.search(str(exc)))


def redact(url: str) -> str:
    """The URL without its passwords, wherever they stand in it, for people to read."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        password, parts = None, None
    if parts is None or (password is None and "@" in url):
        # Not a URL as it should be, so nobody knows where its password ends: all before the last @ may be one.
        return re.sub(r"^([a-z+]*:/*)?.*@", r"\1***@", url, flags=re.IGNORECASE)
    netloc = parts.netloc
    if password:
        netloc = f"{parts.username or ''}:***@{netloc.rpartition('@')[2]}"
    query = re.sub(r"(?i)(password[^=&]*=)[^&]*", r"\1***", parts.query)
    return urlunsplit(parts._replace(netloc=netloc, query=query))


async def connect(url: str, *, timeout: float = 5.0) -> ArqRedis:
    """A pool of connections to the Redis of this URL (`redis://`, `rediss://` or `unix://`), known to answer; or to the
    master that sentinels watch (`redis+sentinel://`, see `windfall.broker.sentinel`).

    `timeout` (seconds) bounds connecting. Raises `ConfigError` for a URL that is none,
    `BrokerUnavailable` and `BrokerDenied`.
    """
    redis = adopt(ArqRedis(_pool(url, timeout)))
    try:
        with translated(url):
            async with asyncio.timeout(timeout):
                await redis.ping()
    except TypeError as exc:  # redis-py hands the options of the URL to its constructors
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
        # redis-py would introduce itself by CLIENT SETINFO, which no rule can allow that Redis 6.2 and 7.0 also take.
        "lib_name": None,
        "lib_version": None,
    }
    if is_sentinel(url):
        return sentinel_pool(url, **options)
    # redis-py reads what it does not understand as localhost:6379, which is not what anybody meant.
    if not _ADDRESS.match(url):
        raise ConfigError(
            f"{redact(url)!r} is no Redis URL: write redis://HOST:PORT/DB, rediss://HOST:PORT/DB or "
            "unix:///PATH/OF/SOCKET?db=DB, and a / in a password as %2F"
        )
    if url.startswith("unix:"):
        del options["socket_keepalive"]  # TCP's; the connection class of a Unix socket does not take it
    if url.startswith("rediss:"):
        # A certificate of another host is no certificate; redis-py 5 would take it.
        options["ssl_check_hostname"] = True
    try:
        return ConnectionPool.from_url(url, **options)
    except ValueError as exc:
        raise ConfigError(f"{redact(url)!r} is no Redis URL: write redis://HOST:PORT or rediss://HOST:PORT") from exc


def without_passwords(text: str) -> str:
    """The text with the passwords of every URL in it hidden."""
    return _URL.sub(lambda found: redact(found[0]), text)


def adopt(redis: ArqRedis) -> ArqRedis:
    """Give an `ArqRedis` our serializers, so that nothing on it is ever pickled."""
    redis.job_serializer = job_serializer
    redis.job_deserializer = job_deserializer
    return redis


async def disconnect(redis: ArqRedis) -> None:
    """Close a pool; never raises, since there is nothing left to lose."""
    try:
        await redis.aclose()
        await redis.connection_pool.disconnect(inuse_connections=True)
        await close_sentinels(redis.connection_pool)
    except (RedisError, OSError):
        pass


@contextmanager
def translated(url: str | None = None) -> Iterator[None]:
    """Redis' exceptions as ours. `url` is named, without its password, in what cannot be reached."""
    where = f" at {redact(url)}" if url else ""
    try:
        yield
    except _DENIALS as exc:
        raise BrokerDenied(f"Redis{where} refused: {exc}; check the user and the password in its URL") from exc
    except OutOfMemoryError as exc:
        raise BrokerFull(f"Redis{where} is out of memory and took nothing; give it more, or wait for results") from exc
    except OUTAGE as exc:
        if isinstance(exc.__cause__, _DENIALS):  # as redis-py tells of it over a Unix socket
            raise BrokerDenied(f"Redis{where} refused: {exc}; check the user and the password in its URL") from exc
        raise BrokerUnavailable(f"Redis{where} {_outage_in_words(exc)}") from exc
    except ResponseError as exc:
        if _is_denial(exc):
            raise BrokerDenied(f"Redis{where} refused: {exc}; give the password in its URL") from exc
        if "OOM" in str(exc):
            raise BrokerFull(f"Redis{where} is out of memory and took nothing; give it more") from exc
        if is_passing(exc):
            raise BrokerUnavailable(f"Redis{where} cannot do this now: {exc}") from exc
        raise BrokerError(f"Redis{where} answered: {exc}") from exc
    except RedisError as exc:
        raise BrokerError(f"what answers{where} is no Redis: {exc}") from exc


def _outage_in_words(exc: Exception) -> str:
    reason = str(exc).rstrip(".") or "no answer in time"
    if isinstance(exc, Demoted):
        return f"is a replica, which takes no writes ({reason}); name its master, or wait until a failover has ended"
    if isinstance(exc, TurnedAway):
        return f"takes no further connection: it says {reason!r}"
    return f"cannot be reached: {reason}. Is it running there?"


def _is_denial(exc: ResponseError) -> bool:
    return str(exc).startswith(("NOAUTH", "WRONGPASS", "NOPERM"))
