"""The proxy for an address, from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case.

httpx reads them only for transports that it creates itself, not for ours. As everywhere in Python, the proxy settings
of macOS apply if none of these variables is set.
"""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from windfall.errors import ConfigError


def proxy_for(url: str) -> httpx.Proxy | None:
    """The proxy for calls to this address, or None. Raises `ConfigError`, which never quotes a password."""
    target = urlsplit(url)
    found = getproxies()
    address = found.get(target.scheme) or found.get("all")
    if not address or proxy_bypass(target.netloc):
        return None
    variable = f"{target.scheme.upper()}_PROXY" if target.scheme in found else "ALL_PROXY"
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
        usable = bool(proxy.url.host)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise ConfigError(f"{variable} is not the address of a proxy, such as http://proxy.example:3128")
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(f'{variable} names a SOCKS proxy, which needs one more package: pip install "httpx[socks]"')
    return proxy
