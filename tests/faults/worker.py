"""A worker whose backends count what they are asked, and that dies where it is told to: `python worker.py --help`.

The parts that count and die are handed to the worker in place of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from windfall.result import Completion
from windfall.runtime.event_loop import new_event_loop
from windfall.scripts import Script, run_all
from windfall_worker.backends import mlx
from windfall_worker.backends.base import Backend, Call
from windfall_worker.backends.opening import Engines
from windfall_worker.backends.simulated import SimulatedBackend
from windfall_worker.engine.settings import EngineSettings
from windfall_worker.main import Parts, run_worker
from windfall_worker.queue.claims import ClaimClient, Claimed
from windfall_worker.queue.outbox import Outbox, PendingStep
from windfall_worker.settings import ModelSettings, WorkerSettings

STEPS = ("claimed", "decoding", "completed", "half-finished", "finished")


def die() -> None:
    """kill -9, by its own hand: nothing that would run afterwards does."""
    os.kill(os.getpid(), signal.SIGKILL)


class CountingBackend(SimulatedBackend):
    """Writes a line for every completion that it is asked for, before it begins."""

    tally = Path(os.devnull)
    dies_decoding = False

    async def complete(self, call: Call) -> Completion:
        """Count, then complete, or die half-way."""
        with self.tally.open("a") as file:
            file.write(f"{time.monotonic()} {call.job_id} {os.getpid()}\n")
        if self.dies_decoding:
            await asyncio.sleep(self.latency / 2)
            die()
        return await super().complete(call)


class PoisonedBackend(mlx.MLXBackend):
    """Counts as `CountingBackend` does; its engine is killed by every request that says `poison`."""

    tally = Path(os.devnull)
    step_timeout = 30.0

    def __init__(self, model: str, *, settings: EngineSettings | None = None, **given: Any) -> None:
        watchdog = dataclasses.replace(settings or EngineSettings(), step_timeout=self.step_timeout)
        super().__init__(model, settings=watchdog, **given)

    async def complete(self, call: Call) -> Completion:
        """Complete, or be killed soon after the engine has had it."""
        with self.tally.open("a") as file:
            file.write(f"{time.monotonic()} {call.job_id} {os.getpid()}\n")
        if "poison" in call.request.messages[-1].text() and self.pid:
            asyncio.get_running_loop().call_later(0.3, os.kill, self.pid, signal.SIGKILL)
        return await super().complete(call)


class DyingAfterClaim(ClaimClient):
    """Dies when Redis has given it jobs, before anything else knows of them."""

    async def claim(self, lanes: Sequence[str], want: int, *, others: int | None = None) -> Claimed:
        """Claim and die."""
        claimed = await super().claim(lanes, want, others=others)
        if claimed.claims:
            die()
        return claimed


class DyingBeforeFinish(Outbox):
    """Dies with the first result in its hands."""

    def post(self, step: PendingStep) -> None:
        """Die instead of taking a result."""
        if step.step.script is Script.FINISH:
            die()
        super().post(step)


class DyingInFinish(Outbox):
    """Dies inside the pipeline that carries results: when Redis has had `share` of it, and before it is heard."""

    share = 1.0

    async def _deliver(self, page: list[PendingStep]) -> list[PendingStep]:
        steps = [pending.step for pending in page]
        await run_all(self._redis, steps[: max(1, int(len(steps) * self.share))])
        die()
        return []


def dying_parts(step: str | None) -> Parts:
    """The parts of a worker that dies at this step."""
    if step == "claimed":
        return Parts(claim_client=DyingAfterClaim)
    if step == "completed":
        return Parts(outbox=DyingBeforeFinish)
    if step in ("half-finished", "finished"):
        DyingInFinish.share = 0.5 if step == "half-finished" else 1.0
        return Parts(outbox=DyingInFinish)
    CountingBackend.dies_decoding = step == "decoding"
    return Parts()


def counting_backend(model: ModelSettings, engines: Engines) -> Backend:
    """A backend that counts what it is asked."""
    if model.simulate is not None:
        return CountingBackend(model.simulate, slots=model.slots)
    settings = EngineSettings(memory_share=engines.share, others_bytes=engines.taken)
    return PoisonedBackend(str(model.mlx), slots=model.slots, settings=settings, private=engines.private)


def main() -> None:
    """Read the flags, wrap, work."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--simulate", type=float, help="seconds that a simulated completion takes")
    parser.add_argument("--model", help="a folder with an MLX model")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--lease", type=float, default=3)
    parser.add_argument("--tally", type=Path, default=Path(os.devnull))
    parser.add_argument("--die", choices=STEPS)
    parser.add_argument("--step-timeout", type=float, default=30, help="of the engine's watchdog")
    parser.add_argument("--clock", type=float, default=0, help="seconds by which this process' clock is wrong")
    args = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    if args.clock:
        right = time.time
        time.time = lambda: right() + args.clock
    CountingBackend.tally = args.tally
    PoisonedBackend.tally, PoisonedBackend.step_timeout = args.tally, args.step_timeout
    parts = dataclasses.replace(dying_parts(args.die), local_backend=counting_backend)
    model = ModelSettings(name="m", simulate=args.simulate, mlx=args.model, slots=args.slots)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run_worker(WorkerSettings(models=(model,), lease=args.lease), args.redis, parts=parts))


if __name__ == "__main__":
    main()
