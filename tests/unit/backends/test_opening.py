"""What engines of one worker are told of each other and of their environment; no process is started."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from windfall_worker.backends import mlx
from windfall_worker.backends import opening as backends
from windfall_worker.engine import link
from windfall_worker.engine.protocol import Load, Ready
from windfall_worker.settings import ModelSettings, ProviderSettings, WorkerSettings

OWN = ProviderSettings(protocol="openai", base_url="http://127.0.0.1:1/v1", api_key_env="MY_GATEWAY")


class Engine:
    """An engine that needs 7 bytes and says so."""

    orders: list[Load]
    hidden: list[Any]

    def __init__(self, order: Load, private: Any) -> None:
        self.orders.append(order)
        self.hidden.append(private)
        self.ready = Ready(
            context_length=1, vocab_size=1, kv_bytes_per_token=1, kv_bytes=1, prefix_bytes=0, needed_bytes=7
        )

    async def start(self) -> Ready:
        return self.ready

    async def close(self) -> None:
        """It has nothing to end."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(backends, "find_spec", lambda _: True)
    monkeypatch.setattr(mlx, "EngineProcess", Engine)
    Engine.orders, Engine.hidden = [], []
    return Engine


async def test_each_engine_hears_what_those_before_it_need_and_gets_no_providers_key(engine: type[Engine]) -> None:
    models = tuple(ModelSettings(name=name, mlx="demo") for name in ("a", "b", "c"))
    redis: Any = None
    async with AsyncExitStack() as stack:
        await backends.open_backends(WorkerSettings(models=models, providers={"own": OWN}), redis, stack)
    assert [order.settings.others_bytes for order in engine.orders] == [0, 7, 14]
    assert engine.orders[0].settings.memory_share == pytest.approx(1 / 3)
    assert engine.hidden[0] == {"MY_GATEWAY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"}


def test_no_secret_is_in_an_engines_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        "MY_GATEWAY", "OTHER_API_KEY", "WINDFALL_REDIS_URL", "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "DATABASE_URL", "PGPASSWORD", "KUBECONFIG",
        "MLX_API_KEY", "HF_HUB_SECRET", "SSH_AUTH_SOCK", "SOME_NAME_NOBODY_KNOWS",
    )  # fmt: skip
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HF_TOKEN", "for models that are gated")
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:p@proxy")
    needed = {"HF_HOME": "/models", "MLX_METAL_DEBUG": "1", "LANG": "C", "TMPDIR": "/t", "TOKENIZERS_PARALLELISM": "0"}
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    local = link._environment({"MY_GATEWAY"}, downloads=False)
    remote = link._environment({"MY_GATEWAY"}, downloads=True)
    for found in (local, remote):
        assert not found.keys() & set(secrets)
        assert "secret" not in found.values()
        assert found.items() >= needed.items()
        assert found["PATH"]
    assert not local.keys() & {"HF_TOKEN", "HTTPS_PROXY"}
    assert (remote["HF_TOKEN"], remote["HTTPS_PROXY"]) == ("for models that are gated", "http://ann:p@proxy")
    assert "HF_TOKEN" not in link._environment({"HF_TOKEN"}, downloads=True)
