"""Redis behind Sentinel: a connection pool that follows whichever Redis is currently the master."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from windfall.errors import ConfigError

SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")

_PORT: Final = 26379
#: Seconds that one sentinel gets to answer before the next is tried.
_SENTINEL_WITHIN: Final = 1.0

_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_OPTIONS: Final = ("db", "sentinel_password", *_TLS_OPTIONS)

HOW: Final = "write redis+sentinel://[USER:PASSWORD@]HOST:26379,HOST:26379/MASTER"


def is_sentinel(url: str) -> bool:
    """Whether this URL names sentinels."""
    return url.partition("://")[0] in SCHEMES


def sentinel_pool(url: str, **options: Any) -> ConnectionPool:
    """A pool for the master that this URL's sentinels watch; `options` are those of its connections.

    User and password are those of the Redis servers; one for the sentinels goes in `?sentinel_password=`. TLS
    (`rediss+sentinel://`, `?ssl_ca_certs=FILE`, `?ssl_certfile=FILE&ssl_keyfile=FILE`) is for both. `?db=` selects a
    database. Raises `ConfigError`.
    """
    parts = urlsplit(url)
    service = parts.path.strip("/")
    if not service:
        raise ConfigError(f"a sentinel URL must end with the name of the master that the sentinels watch: {HOW}")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if not query.get("db", "0").isdigit():
        raise ConfigError(f"?db={query['db']} is not a database number: {HOW}?db=0")
    if unknown := sorted(query.keys() - set(_OPTIONS)):
        raise ConfigError(f"a sentinel URL has no option {unknown[0]}; the options are {', '.join(_OPTIONS)}")
    if parts.scheme != "rediss+sentinel" and (useless := [name for name in _TLS_OPTIONS if name in query]):
        raise ConfigError(f"{useless[0]} is for TLS, which needs a rediss+sentinel:// URL")
    tls: dict[str, Any] = {}
    if parts.scheme == "rediss+sentinel":
        # A certificate issued for another host proves nothing; redis-py 5 would accept it.
        tls = {"ssl": True, "ssl_check_hostname": True}
        tls |= {name: query[name] for name in _TLS_OPTIONS if name in query}
    limits = {"socket_connect_timeout": _SENTINEL_WITHIN, "socket_timeout": _SENTINEL_WITHIN}
    secret = {"password": query["sentinel_password"]} if "sentinel_password" in query else {}
    untyped: Any = Sentinel
    sentinels = untyped(_addresses(parts), sentinel_kwargs={**limits, **secret, **tls})
    for name, value in (("username", parts.username), ("password", parts.password)):
        if value:
            options[name] = unquote(value)
    untyped = SentinelConnectionPool
    pool: ConnectionPool = untyped(service, sentinels, db=int(query.get("db", 0)), **tls, **options)
    return pool


def _addresses(parts: SplitResult) -> list[tuple[str, int]]:
    addresses = []
    for address in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = address.partition(":")
        if not host or (port and not port.isdigit()):
            # Without the value, which would show part of a password that holds a bare '/' or '@'.
            raise ConfigError(
                f"an address in the sentinel URL is invalid: {HOW}; in a password, write / as %2F, @ as %40"
            )
        addresses.append((host, int(port or _PORT)))
    return addresses


async def close_sentinels(pool: ConnectionPool) -> None:
    """Close the connections to a pool's sentinels, if it has any."""
    manager = getattr(pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager else ():
        await sentinel.aclose()
