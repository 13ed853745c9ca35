"""Opens what completes requests on this worker: its engines, and the clients of its cloud mappings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from arq import ArqRedis

from windfall.errors import ConfigError
from windfall.runtime.extras import how_to_install
from windfall_worker.backends.base import Backend
from windfall_worker.backends.capacity import Capacity
from windfall_worker.backends.routing import GuardedBackend, ModelBackends
from windfall_worker.backends.sharing import Isolation
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.guards.breaker import Breaker, FailureRate, RedisLink
from windfall_worker.guards.limits import Rates
from windfall_worker.settings import BUILT_IN, ModelSettings, ProviderSettings, WorkerSettings

if TYPE_CHECKING:
    from windfall_worker.cloud.provider import ProviderClient

#: Seconds that an engine which has just died is left alone. Then one job goes first, so that an engine that dies of
#: everything does not go through a whole lane. sharing.py finds out which job kills engines.
ENGINE_RESET: Final = 1.0
#: Seconds that a call waits for its turn at a rate-limited endpoint when another mapping could take it.
_SHORT_PATIENCE: Final = 1.0


class Engines:
    """What the engines of this worker share: no engine knows how much memory the others use.

    `share` is the fraction of the device's memory that each may use; `taken` is how many bytes the started ones need.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.share = 1 / max(1, sum(model.mlx is not None for model in settings.models))
        self.taken = 0
        providers = [*BUILT_IN.values(), *settings.providers.values()]
        self.private = frozenset(each.api_key_env for each in providers if each.api_key_env)


def local_backend(model: ModelSettings, engines: Engines) -> Backend:
    """The backend that the settings ask for. Raises `ConfigError` if something that it needs is not installed."""
    if model.simulate is not None:
        return SimulatedBackend(model.simulate, slots=model.slots)
    if find_spec("mlx_lm") is None:  # nothing imported here needs it, but the engine's process would die
        raise ConfigError(f"{model.name}: running models needs the worker extra: {how_to_install('worker')}")
    from windfall_worker.backends.mlx import MLXBackend  # noqa: PLC0415 - a cloud worker does without
    from windfall_worker.engine.settings import EngineSettings  # noqa: PLC0415

    settings = EngineSettings(memory_share=engines.share, others_bytes=engines.taken)
    return MLXBackend(str(model.mlx), slots=model.slots, settings=settings, private=engines.private)


#: Makes the backend of a model that runs on this machine.
LocalBackend = Callable[[ModelSettings, Engines], Backend]


async def open_backends(
    settings: WorkerSettings, redis: ArqRedis, stack: AsyncExitStack, make_local: LocalBackend = local_backend
) -> dict[str, ModelBackends]:
    """Start every backend; `stack` closes them. Raises `ConfigError` for one that can never work."""
    # Keys are checked first: a missing one should not be reported after minutes of loading models.
    clients = _clients(settings, redis, stack)
    engines = Engines(settings)
    backends = {}
    for model in settings.models:
        capacity = Capacity(max((settings.provider(name).concurrency for name, _ in model.mappings()), default=1))
        last = len(model.cloud) - 1
        cloud = [
            _cloud(clients[name], name, target, settings, capacity, last=number == last)
            for number, (name, target) in enumerate(model.mappings())
        ]
        _brake(capacity, cloud)
        local = _local(model.name, make_local(model, engines)) if model.local else None
        served_by = backends[model.name] = ModelBackends(local, tuple(cloud))
        for guarded in served_by.all():
            stack.push_async_callback(guarded.backend.close)
            await guarded.backend.start()
            engines.taken += guarded.backend.needed_bytes
    return backends


def _local(model: str, backend: Backend) -> GuardedBackend:
    breaker = Breaker(f"engine of {model}", None, fail_max=1, reset_timeout=ENGINE_RESET)

    def guard() -> AbstractAsyncContextManager[None]:
        return breaker.guard()

    limit = asyncio.Semaphore(backend.slots + backend.lookahead)
    capacity = Capacity(backend.slots, lookahead=backend.lookahead)
    return GuardedBackend(backend, capacity, limit, guard, breaker, Isolation(backend.slots).enter)


def _clients(settings: WorkerSettings, redis: ArqRedis, stack: AsyncExitStack) -> dict[str, ProviderClient]:
    """One client per provider, however many models use it: they share its connections, and the fleet its breakers."""
    names = {name for model in settings.models for name, _ in model.mappings()}
    link = RedisLink(redis)
    clients = {}
    for name in sorted(names):
        clients[name] = _client(settings.provider(name), link)
        stack.push_async_callback(clients[name].close)
    return clients


def _client(provider: ProviderSettings, link: RedisLink) -> ProviderClient:
    from windfall_worker.cloud.answer_limits import AnswerLimits  # noqa: PLC0415 - only where a mapping needs it
    from windfall_worker.cloud.anthropic import AnthropicClient  # noqa: PLC0415 - the same
    from windfall_worker.cloud.openai import OpenAIClient  # noqa: PLC0415 - the same

    breaker = provider.breaker
    protocol = AnthropicClient if provider.protocol == "anthropic" else OpenAIClient
    return protocol(
        provider.base_url,
        provider.api_key(),
        max_retries=provider.max_retries,
        backoff_factor=provider.backoff_factor,
        timeout=provider.timeout,
        circuit_breaker_fail_max=breaker.fail_max,
        circuit_breaker_reset_timeout=breaker.reset_timeout,
        circuit_breaker_rate=FailureRate(breaker.failure_rate, breaker.window, breaker.min_calls),
        redis=link,
        limits=AnswerLimits(seconds=provider.call_timeout, silence=provider.silence),
        rates=Rates(provider.rpm, provider.tpm),
    )


def _brake(capacity: Capacity, cloud: Sequence[GuardedBackend]) -> None:
    """Let the capacity of the mappings follow what their rate limits allow: a job that waits is of use to nobody."""

    def worth_holding() -> int | None:
        each = [guarded.backend.worth_holding for guarded in cloud]
        return None if None in each else sum(filter(None, each))

    if cloud:
        capacity.brake = worth_holding


def _cloud(
    client: ProviderClient, name: str, model: str, settings: WorkerSettings, capacity: Capacity, *, last: bool
) -> GuardedBackend:
    from windfall_worker.backends.cloud import PATIENCE, CloudBackend  # noqa: PLC0415 - only where a mapping needs it

    provider = settings.provider(name)
    concurrency = provider.concurrency
    backend = CloudBackend(
        client, model, name=name, slots=concurrency, stream=provider.stream, owns_client=False,
        patience=PATIENCE if last else _SHORT_PATIENCE,
    )  # fmt: skip
    backend.endpoint.limiter.on_room.append(capacity.make_room)
    return GuardedBackend(backend, capacity, asyncio.Semaphore(concurrency), breaker=backend.endpoint.breaker)
