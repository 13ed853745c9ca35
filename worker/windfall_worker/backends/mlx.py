"""The backend that completes on this machine: an engine process, seen through the seam."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from windfall.errors import BackendUnavailable, ConfigError
from windfall.result import Completion
from windfall_worker.backends.base import Backend, Call
from windfall_worker.engine.model_files import resolve_model
from windfall_worker.engine.process import EngineProcess
from windfall_worker.engine.protocol import Beat, Load, Ready
from windfall_worker.engine.settings import EngineSettings


class MLXBackend(Backend):
    """Completes with an MLX model on this machine.

    `model` is a Hugging Face repository (`org/name`), a folder, or `demo`. `slots` is how many completions decode
    together; what does not fit the memory waits inside the engine. `private` names variables of the environment that
    are none of its business. This class and what it imports never load MLX.
    """

    name = "mlx"

    def __init__(
        self,
        model: str,
        *,
        slots: int = 32,
        settings: EngineSettings | None = None,
        private: Collection[str] = (),
    ) -> None:
        if slots < 1:
            raise ConfigError(f"slots is {slots} for model {model}; it must be at least 1")
        self.model = model
        self.slots = slots
        # The scheduler brings together what shares a prefix, and fills a full batch several rows at a time.
        self.lookahead = slots
        self.settings = settings or EngineSettings()
        self._private = private
        self._engine: EngineProcess | None = None

    async def start(self) -> None:
        """Load the model (and download it, where it is a repository not yet here). Raises `ConfigError`."""
        resolved = await asyncio.to_thread(resolve_model, self.model)
        # A folder's path says much about the machine and little about the model: completions carry its name.
        is_folder = self.model != "demo" and Path(resolved).is_absolute()
        name = Path(resolved).name if is_folder else self.model
        self.model_name = name
        order = Load(model=resolved, name=name, slots=self.slots, settings=self.settings)
        engine = EngineProcess(order, self._private)
        await engine.start()
        self._engine = engine

    async def complete(self, call: Call) -> Completion:
        """Complete one request. Raises `BackendError`: `EngineDied` where the engine's process ended."""
        return await self._running().complete(call.request, call.on_delta)

    async def close(self) -> None:
        """End the engine. Calls that it holds end with `BackendUnavailable`."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    @property
    def available(self) -> bool:
        """Whether the engine takes calls now: not while it starts again."""
        return self._engine is not None and self._engine.beat is not None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens that the engine generates a second just now, all calls together."""
        return self._engine.tokens_per_second if self._engine else None

    @property
    def free_slots(self) -> int | None:
        """How many more calls the engine could work on now: none while it starts again, or calls wait for memory."""
        if self._engine is None or self._engine.beat is None:
            return 0
        if self._engine.beat.waiting and self._engine.beat.free_slots:
            return 0  # whoever waits beside a free slot waits for memory, or for a prefix
        # What is held here is newer than what the last beat could know.
        return max(0, self.slots - self._engine.held)

    @property
    def beat(self) -> Beat | None:
        """The engine's last word on itself; None while there is no engine."""
        return self._engine.beat if self._engine else None

    @property
    def ready(self) -> Ready | None:
        """What the engine said of its model: its context, vocabulary and memory."""
        return self._engine.ready if self._engine else None

    @property
    def needed_bytes(self) -> int:
        """What its weights and one slot take of the device's memory, once it was started."""
        ready = self.ready
        return ready.needed_bytes if ready else 0

    @property
    def restarts(self) -> int:
        """How many engine processes replaced one that died."""
        return self._engine.restarts if self._engine else 0

    @property
    def pid(self) -> int | None:
        """The engine's process, while there is one."""
        return self._engine.pid if self._engine else None

    def _running(self) -> EngineProcess:
        if self._engine is None:
            raise BackendUnavailable("the MLX backend was not started, or is closed")
        return self._engine
