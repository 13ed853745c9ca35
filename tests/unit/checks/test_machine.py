"""What `windfall doctor` finds on machines other than this one."""

from __future__ import annotations

import socket

import pytest

from windfall.checks import machine
from windfall_worker.settings import ModelSettings, WorkerSettings


@pytest.mark.parametrize(
    ("there", "said"), [(object(), "run and demo use fakeredis"), (None, "to use them, install Redis (")]
)
def test_a_mac_without_a_redis_of_its_own_is_not_ill(monkeypatch: pytest.MonkeyPatch, there: object, said: str) -> None:
    monkeypatch.setattr(machine, "find_redis_server", lambda: None)
    monkeypatch.setattr(machine, "find_spec", lambda _: there)
    found = machine.check_embedded()
    assert found.ok
    assert said in str(found)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::"])
def test_the_port_of_the_metrics_is_looked_at_where_it_would_be_opened(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"there is no {host} here")
    model = ModelSettings(name="m", simulate=0)
    settings = WorkerSettings(models=(model,), metrics_host=host, metrics_port=server.getsockname()[1])
    with server:
        (taken,) = machine.check_port(settings, None)
    (free,) = machine.check_port(settings, None)
    assert (taken.ok, free.ok) == (False, True), (taken, free)
