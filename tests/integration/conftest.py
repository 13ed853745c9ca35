"""Fixtures for tests on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as sync_redis

from helpers.users import documented_users


@pytest.fixture
def users(redis_url: str) -> Iterator[dict[str, str]]:
    """The URLs of the documented users, with no refusal in the log of Redis yet."""
    port = redis_url.rpartition(":")[2]
    with sync_redis.Redis.from_url(redis_url) as admin:
        for name, rules in documented_users().items():
            admin.execute_command("ACL", "SETUSER", f"windfall-{name}", *rules)
        admin.execute_command("ACL", "LOG", "RESET")
        yield {name: f"redis://windfall-{name}:{name.upper()}-PASSWORD@127.0.0.1:{port}" for name in documented_users()}
        for name in documented_users():
            admin.execute_command("ACL", "DELUSER", f"windfall-{name}")
