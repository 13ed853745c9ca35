"""Versions of Redis and Valkey with relevant known vulnerabilities: those of Lua, which the queue relies on."""

from __future__ import annotations

from typing import Any, Final

from windfall.checks.finding import Finding

#: As of October 2025: the first release of each line without CVE-2025-49844, which lets a script take over the server.
#: https://redis.io/blog/security-advisory-cve-2025-49844/, https://github.com/valkey-io/valkey/releases; other
#: lines got no fix.
_HOLE: Final = "CVE-2025-49844"
_MENDED: Final[dict[str, dict[tuple[int, int], int]]] = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}


def server_name(info: dict[str, Any]) -> tuple[str, str]:
    """The server's name and version; Valkey also reports the version of Redis that it is compatible with."""
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info.get("redis_version", "?"))


def check_holes(info: dict[str, Any]) -> Finding | None:
    """A warning, or None if no vulnerability of its version is known."""
    name, version = server_name(info)
    parts = version.split(".")
    if len(parts) < 3 or not all(part.isdigit() for part in parts[:3]):
        return None
    line, patch = (int(parts[0]), int(parts[1])), int(parts[2])
    mended = _MENDED[name]
    if line > max(mended) or patch >= mended.get(line, 1_000_000):
        return None
    good = ", ".join(f"{major}.{minor}.{least}" for (major, minor), least in mended.items())
    return Finding(
        ok=True,
        warning=True,
        what=f"{name} {version} has a known vulnerability: anyone who may run scripts can take it over ({_HOLE})",
        mend=f"upgrade it to one of {good} or later, unless your distribution has patched this version",
    )
