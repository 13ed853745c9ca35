"""Our side of the queue's benchmarks: worker processes on the simulated backend, and what a producer does."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from _bench import request_of

from windfall import Producer
from windfall.batch import BatchStatus
from windfall.runtime.event_loop import new_event_loop
from windfall_worker.main import run_worker
from windfall_worker.settings import ModelSettings, WorkerSettings

#: Seconds between two looks at whether all jobs are done; the peers' programs look as often.
LOOK = 0.02


def run_one(redis: str, slots: int, seconds: float) -> None:
    """A worker with one simulated model, `m`."""
    models = (ModelSettings(name="m", simulate=seconds, slots=slots),)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run_worker(WorkerSettings(models=models, drain_timeout=0.0), redis))


@dataclass(frozen=True, slots=True)
class Ours:
    """Windfall on one Redis."""

    redis: str
    slots: int = 64

    @asynccontextmanager
    async def workers(
        self, processes: int = 1, seconds: float = 0.0, target: Callable[[str, int, float], None] = run_one
    ) -> AsyncIterator[None]:
        """Worker processes, all of them known to the fleet before the body runs."""
        spawn = multiprocessing.get_context("spawn")
        arguments = (self.redis, self.slots, seconds)
        running = [spawn.Process(target=target, args=arguments, daemon=True) for _ in range(processes)]
        for process in running:
            process.start()
        try:
            async with Producer(self.redis) as producer:
                pids = {f"-{process.pid}-" for process in running}
                while pids:
                    await asyncio.sleep(0.2)
                    known = (await producer.fleet()).workers
                    pids -= {pid for pid in pids if any(pid in worker.id for worker in known)}
            if seconds == 0:
                await self.drain(64 * processes)
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                await asyncio.to_thread(process.join)

    async def enqueue(self, jobs: int, size: int) -> float:
        """Seconds for one batch of rows of so many bytes."""
        request = request_of(size)
        async with Producer(self.redis) as producer:
            began = time.perf_counter()
            await producer.enqueue_batch(request for _ in range(jobs))
            return time.perf_counter() - began

    async def drain(self, jobs: int, watch: Callable[[BatchStatus], None] | None = None) -> float:
        """Seconds from the first row enqueued to the last one done; every result is looked for afterwards."""
        request = request_of(0)
        async with Producer(self.redis) as producer:
            began = time.perf_counter()
            batch = await producer.enqueue_batch(request for _ in range(jobs))
            while not batch.done:
                await asyncio.sleep(LOOK)
                batch = await producer.batch(batch.id)
                if watch:
                    watch(batch)
            took = time.perf_counter() - began
            ended = {result.job_id async for result in producer.results(batch.id) if result.ok}
        if len(ended) != jobs:
            raise SystemExit(f"{jobs} rows, {len(ended)} completed")
        return took
