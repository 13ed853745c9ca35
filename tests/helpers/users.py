"""The Redis users that docs/operations.md gives producers and workers."""

from __future__ import annotations

from pathlib import Path

import redis as sync_redis

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def documented_users() -> dict[str, list[str]]:
    """Their rules, by name."""
    lines = [line.split() for line in OPERATIONS.read_text().splitlines() if line.startswith("ACL SETUSER windfall-")]
    return {line[2].removeprefix("windfall-"): line[3:] for line in lines}


def refused(redis_url: str) -> list[str]:
    """What users tried and may not."""
    with sync_redis.Redis.from_url(redis_url) as admin:
        entries = [{key.decode(): value for key, value in zip(entry[::2], entry[1::2], strict=True)}
                   for entry in admin.execute_command("ACL", "LOG")]  # fmt: skip
    found = [f"{entry['reason'].decode()} {entry['object'].decode()}" for entry in entries]
    # Who may not load scripts tries, and waits for who may.
    return [what for what in found if what != "command script|load"]
