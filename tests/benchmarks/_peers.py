"""The peers: an environment of its own for each, its workers, and its program's commands.

    python tests/benchmarks/_peers.py [PEER ...]

makes the environments in `.bench/peers`; those that are there already are left alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[2] / ".bench" / "peers"
PROGRAMS = Path(__file__).parent / "peers"

#: The versions that were measured; uvloop and hiredis where a peer can use them.
REQUIREMENTS = {
    "arq": ("arq==0.28.0", "hiredis", "uvloop"),
    "dramatiq": ("dramatiq[redis]==2.2.1", "hiredis"),
    "saq": ("saq[redis,hiredis]==0.26.4", "uvloop", "typing_extensions"),  # imported and not required by saq
    "streaq": ("streaq==7.2.0", "uvloop"),
    "taskiq": ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis", "uvloop", "orjson"),
}


#: Seconds after which a peer's command has failed.
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer, on one Redis."""

    name: str
    redis: str
    slots: int = 64

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "BENCH_REDIS": self.redis, "BENCH_SLOTS": str(self.slots)}

    def _worker(self, processes: int) -> list[list[str]]:
        """The commands that run so many worker processes, as its documentation has them."""
        match self.name:
            case "arq":
                return [["arq", "arq_peer.WorkerSettings"]] * processes
            case "dramatiq":
                threads = str(self.slots)
                return [["dramatiq", "dramatiq_peer", "--processes", str(processes), "--threads", threads]]
            case "saq":
                return [["saq", "saq_peer.settings", "--workers", str(processes)]]
            case "streaq":
                return [["streaq", "run", "streaq_peer:worker", "--workers", str(processes)]]
            case _:
                return [["python", str(PROGRAMS / "taskiq_peer.py"), "receive", "{}"]] * processes

    async def call(self, command: str, **options: Any) -> Any:
        """What a command of its program measured."""
        python = str(HOME / self.name / "bin" / "python")
        program = [python, str(PROGRAMS / f"{self.name}_peer.py"), command, json.dumps(options)]
        process = await asyncio.create_subprocess_exec(
            *program, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), _PATIENCE)
        except TimeoutError:
            process.kill()
            raise SystemExit(f"{self.name} {command}: nothing after {_PATIENCE:g} s") from None
        if process.returncode:
            raise SystemExit(f"{self.name} {command}: {err.decode()[-2000:]}")
        return json.loads(out.splitlines()[-1])

    @asynccontextmanager
    async def workers(self, processes: int = 1) -> AsyncIterator[None]:
        """Its workers, up before the body runs: some jobs have gone through them."""
        running = [
            subprocess.Popen(  # noqa: ASYNC220 - starting a process takes no time
                [str(HOME / self.name / "bin" / program), *arguments],
                env=self._environment | {"PYTHONPATH": str(PROGRAMS)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for program, *arguments in self._worker(processes)
        ]
        try:
            await self.call("drain", jobs=64, seconds=0)
            await asyncio.sleep(1 + processes / 2)
            await self.call("drain", jobs=64 * processes, seconds=0)
            yield
        finally:
            for process in running:
                await _end(process)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """A worker with the processes that it started, which share its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(process.wait, 8)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.wait)


def set_up(names: list[str]) -> None:
    """Make the environments that are not there yet."""
    for name in names:
        wanted, ready = " ".join(REQUIREMENTS[name]), HOME / name / ".ready"
        if ready.exists() and ready.read_text() == wanted:
            continue
        print(f"installing {name} into .bench/peers/{name}", flush=True)
        venv.create(HOME / name, with_pip=True, clear=True)
        install = [str(HOME / name / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]]
        subprocess.run(install, check=True)
        ready.write_text(wanted)


if __name__ == "__main__":
    set_up(sys.argv[1:] or list(REQUIREMENTS))
