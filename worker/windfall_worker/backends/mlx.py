"""The backend that completes on this machine, with an engine process."""

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
    together; calls that do not fit into memory wait inside the engine. `private` names environment variables that the
    engine must not see. This class and what it imports never load MLX.
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
        # The scheduler groups calls that share a prefix, and refills a full batch several rows at a time.
        self.lookahead = slots
        self.settings = settings or EngineSettings()
        self._private = private
        self._engine: EngineProcess | None = None

    async def start(self) -> None:
        """Load the model, after downloading it if necessary. Raises `ConfigError`."""
        resolved = await asyncio.to_thread(resolve_model, self.model)
        # A folder's path says much about the machine and little about the model: completions carry its last part.
        is_folder = self.model != "demo" and Path(resolved).is_absolute()
        name = Path(resolved).name if is_folder else self.model
        self.model_name = name
        order = Load(model=resolved, name=name, slots=self.slots, settings=self.settings)
        engine = EngineProcess(order, self._private)
        await engine.start()
        self._engine = engine

    async def complete(self, call: Call) -> Completion:
        """Complete one request. Raises `BackendError`: `EngineDied` if the engine's process ended."""
        return await self._running().complete(call.request, call.on_delta)

    async def close(self) -> None:
        """End the engine. Calls that it holds end with `BackendUnavailable`."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    @property
    def available(self) -> bool:
        """Whether the engine accepts calls now: not while it restarts."""
        return self._engine is not None and self._engine.beat is not None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens that the engine generates per second at the moment, over all calls."""
        return self._engine.tokens_per_second if self._engine else None

    @property
    def free_slots(self) -> int | None:
        """How many more calls the engine could work on now: none while it restarts, or while calls wait for memory."""
        if self._engine is None or self._engine.beat is None:
            return 0
        if self._engine.beat.waiting and self._engine.beat.free_slots:
            return 0  # a call that waits although a slot is free waits for memory, or for a prefix
        # The number of calls held here is more recent than the last beat.
        return max(0, self.slots - self._engine.held)

    @property
    def beat(self) -> Beat | None:
        """The engine's last beat; None while there is no engine."""
        return self._engine.beat if self._engine else None

    @property
    def ready(self) -> Ready | None:
        """What the engine reported about its model: its context, vocabulary and memory."""
        return self._engine.ready if self._engine else None

    @property
    def needed_bytes(self) -> int:
        """The device memory that its weights and one slot take, once it was started."""
        ready = self.ready
        return ready.needed_bytes if ready else 0

    @property
    def restarts(self) -> int:
        """How many engine processes have replaced one that died."""
        return self._engine.restarts if self._engine else 0

    @property
    def pid(self) -> int | None:
        """The id of the engine's process, while there is one."""
        return self._engine.pid if self._engine else None

    def _running(self) -> EngineProcess:
        if self._engine is None:
            raise BackendUnavailable("the MLX backend was not started, or is closed")
        return self._engine
