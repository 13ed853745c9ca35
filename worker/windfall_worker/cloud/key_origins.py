"""Where a settings file may send a key: over TLS or to this machine, and the key of a known API only to that API.

A file may come in a folder from someone else, and a single line in it would be enough to steal the key. Further origins
are named in the environment, where no file can put them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from windfall.errors import ConfigError
from windfall_worker.settings import BUILT_IN, ProviderSettings

#: The variable that names further origins, separated by spaces.
VARIABLE: Final = "WINDFALL_KEY_ORIGINS"

_PORTS: Final = {"http": 80, "https": 443}


def check_key_origin(name: str, provider: ProviderSettings, allowed: Collection[str] = ()) -> None:
    """Raise `ConfigError` if this provider would send its key to an origin to which no file may send it."""
    url = urlsplit(provider.base_url)
    origin = _origin(url)
    if provider.api_key_env is None or origin in {_origin(urlsplit(each)) for each in allowed}:
        return
    forced = f"if that is intended, set {VARIABLE}={origin} in the environment"
    homes = {
        _origin(urlsplit(known.base_url))
        for built_in, known in BUILT_IN.items()
        if built_in == name or known.api_key_env == provider.api_key_env
    }
    if homes and origin not in homes:
        raise ConfigError(
            f"provider {name!r} would send {provider.api_key_env}, the key of {min(homes)}, to {origin}; {forced}"
        )
    if url.scheme != "https" and not _is_loopback(url.hostname or ""):
        raise ConfigError(
            f"provider {name!r} would send {provider.api_key_env} to {origin} over plain HTTP, where others can read "
            f"it; give an https address as its base_url, or, {forced}"
        )


def _origin(url: SplitResult) -> str:
    scheme, host = url.scheme.lower(), url.hostname or ""
    try:
        port = url.port
    except ValueError:
        raise ConfigError(f"{url.netloc!r} does not name a valid port") from None
    named = f"[{host}]" if ":" in host else host
    return f"{scheme}://{named}" + (f":{port}" if port is not None and port != _PORTS.get(scheme) else "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
