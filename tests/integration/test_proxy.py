"""The tests' own way to a server: slow, cut, silenced, turned to another."""

from __future__ import annotations

import pytest
import redis as sync_redis

from faultserver.proxy import Proxy
from faultserver.redis_process import RedisProcess


def test_it_passes_on_cuts_and_goes_elsewhere_from_then_on() -> None:
    with RedisProcess() as first, RedisProcess() as second, Proxy(first.port) as proxy:
        with sync_redis.Redis.from_url(proxy.url, retry=None) as client:
            client.set("who", "first")
            proxy.target = second.port
            assert client.get("who") == b"first"  # the connection that is there stays
            proxy.cut()
            assert client.get("who") is None  # redis-py has connected again
        assert proxy.accepted >= 2


def test_it_silences_the_connections_that_a_test_picks() -> None:
    with RedisProcess() as server, Proxy(server.port) as proxy:
        options = {"retry": None, "socket_timeout": 0.5}
        with (
            sync_redis.Redis.from_url(proxy.url, client_name="one", **options) as one,
            sync_redis.Redis.from_url(proxy.url, client_name="two", **options) as two,
        ):
            assert one.ping()
            assert two.ping()
            assert proxy.silence(lambda sent: b"one" in sent) == 1
            assert two.ping()
            with pytest.raises(sync_redis.TimeoutError):
                one.ping()
            assert one.ping()  # over a connection that came later


def test_it_delays_and_throttles() -> None:
    with RedisProcess() as server, Proxy(server.port, delay=0.3) as proxy:
        with (
            sync_redis.Redis.from_url(proxy.url, retry=None, socket_timeout=0.5) as hurried,
            pytest.raises(sync_redis.TimeoutError),
        ):
            hurried.ping()  # there and back takes longer
        proxy.delay, proxy.rate = 0.0, 1000.0
        with (
            sync_redis.Redis.from_url(proxy.url, retry=None, socket_timeout=0.5) as hurried,
            pytest.raises(sync_redis.TimeoutError),
        ):
            hurried.set("long", "x" * 3000)
