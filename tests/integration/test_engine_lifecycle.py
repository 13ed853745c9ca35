"""How an engine's process starts, dies, hangs, is replaced, and ends: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from helpers.models import build_model, token_id
from helpers.waiting import eventually
from windfall.errors import BackendUnavailable, ConfigError, EngineDied
from windfall.request import CompletionRequest
from windfall.result import Completion, Delta
from windfall_worker.backends.base import Call
from windfall_worker.backends.mlx import MLXBackend
from windfall_worker.engine.link import EngineLink
from windfall_worker.engine.settings import EngineSettings

#: Seconds; long, because a step takes its time on a loaded machine.
STEP_TIMEOUT = 60.0
NO_END = {str(token_id("<|im_end|>")): -100.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "tiny", context=100_000)


@pytest.fixture
async def backend(model: Path) -> AsyncIterator[MLXBackend]:
    backend = MLXBackend(str(model), slots=4, settings=EngineSettings(step_timeout=STEP_TIMEOUT))
    await backend.start()
    yield backend
    await backend.close()


def endless() -> CompletionRequest:
    return CompletionRequest(
        model="tiny", messages=[{"role": "user", "content": "go on"}], max_tokens=50_000, logit_bias=NO_END
    )


def short() -> CompletionRequest:
    return CompletionRequest(model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=4)


def link(backend: MLXBackend) -> EngineLink:
    """The backend's engine process of the moment."""
    found = backend._engine and backend._engine._link
    assert found
    return found


async def silent(backend: MLXBackend, call: asyncio.Task[Completion]) -> Completion:
    """How a call ends whose engine says nothing for longer than the step timeout, again and again."""
    engine = link(backend)

    def ended() -> bool:
        engine.progressed -= STEP_TIMEOUT  # what was said before may come in between
        return call.done()

    await eventually(ended, "the end of the call")
    return await call


async def started(backend: MLXBackend, number: int = 1) -> list[asyncio.Task[Completion]]:
    """So many calls that are being decoded."""
    events = [asyncio.Event() for _ in range(number)]

    def told(event: asyncio.Event) -> Callable[[Delta], None]:
        return lambda _: event.set()

    tasks = [asyncio.create_task(backend.complete(Call("job", endless(), on_delta=told(event)))) for event in events]
    await asyncio.gather(*(event.wait() for event in events))
    return tasks


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        pass
    if Path("/proc").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_killed_engine_fails_the_calls_it_held_and_the_next_call_works(backend: MLXBackend) -> None:
    calls = await started(backend, 3)
    assert backend.pid
    os.kill(backend.pid, signal.SIGKILL)
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, EngineDied)
        assert "signal 9 (SIGKILL)" in str(outcome)
    assert (await backend.complete(Call("job", short()))).usage.completion_tokens
    assert backend.restarts == 1


async def test_there_are_no_free_slots_while_the_engine_starts_again(backend: MLXBackend) -> None:
    assert (backend.free_slots, backend.available, backend.model_name) == (4, True, "tiny")
    (call,) = await started(backend)
    assert backend.free_slots == 3
    assert backend.pid
    os.kill(backend.pid, signal.SIGKILL)
    with pytest.raises(EngineDied):
        await call
    assert (backend.free_slots, backend.available) == (0, False)
    await eventually(lambda: backend.available)


async def test_a_cancelled_call_ends_in_the_engine_and_its_neighbours_go_on(backend: MLXBackend) -> None:
    first, second, third = await started(backend, 3)
    first.cancel()
    third.cancel()
    await eventually(lambda: backend.beat and backend.beat.active == 1)
    assert not second.done()
    second.cancel()
    await eventually(lambda: backend.beat and backend.beat.active == 0 and backend.beat.free_slots == 4)
    assert backend.restarts == 0


async def test_the_rate_of_tokens_is_told(backend: MLXBackend) -> None:
    (call,) = await started(backend)
    await eventually(lambda: (backend.tokens_per_second or 0) > 1)
    call.cancel()
    await eventually(lambda: backend.tokens_per_second == 0)


async def test_an_engine_that_hangs_is_killed_and_replaced(backend: MLXBackend) -> None:
    (call,) = await started(backend)
    pid = backend.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(EngineDied, match="made no step for 60 s"):
        await silent(backend, call)
    await eventually(lambda: not _alive(pid))
    assert (await backend.complete(Call("job", short()))).usage.completion_tokens
    assert backend.pid != pid


async def test_an_idle_engine_is_left_alone(backend: MLXBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = backend.pid
    looks: list[int] = []

    def counted(self: EngineLink) -> int:
        looks.append(0)
        return len(self._calls)

    monkeypatch.setattr(EngineLink, "held", property(counted))
    link(backend).progressed -= 2 * STEP_TIMEOUT
    await eventually(lambda: len(looks) >= 2, "the watchdog looking twice")
    assert (await backend.complete(Call("job", short()))).usage.completion_tokens
    assert (backend.pid, backend.restarts) == (pid, 0)


async def test_the_time_without_calls_does_not_count_against_an_engine(backend: MLXBackend) -> None:
    pid = backend.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    link(backend).progressed -= 2 * STEP_TIMEOUT
    asked = asyncio.get_running_loop().time()
    call = asyncio.create_task(backend.complete(Call("job", short())))
    await eventually(lambda: link(backend).held, "the call")
    assert link(backend).progressed >= asked
    with pytest.raises(EngineDied):
        await silent(backend, call)


async def test_the_signals_of_a_terminal_do_not_end_an_engine(backend: MLXBackend) -> None:
    pid = backend.pid
    assert pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert (await backend.complete(Call("job", short()))).usage.completion_tokens
    assert (backend.pid, backend.restarts) == (pid, 0)
    assert os.getsid(pid) == pid


async def test_closing_ends_the_process_and_the_calls_it_held(model: Path) -> None:
    backend = MLXBackend(str(model), slots=2)
    await backend.start()
    (call,) = await started(backend)
    pid = backend.pid
    assert pid
    await backend.close()
    await backend.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await call
    await eventually(lambda: not _alive(pid))
    with pytest.raises(BackendUnavailable):
        await backend.complete(Call("job", short()))
    assert backend.free_slots == 0


async def test_closing_ends_a_process_that_hangs(model: Path) -> None:
    backend = MLXBackend(str(model), settings=EngineSettings(close_timeout=0.3))
    await backend.start()
    assert backend.pid
    pid = backend.pid
    os.kill(pid, signal.SIGSTOP)
    await backend.close()
    await eventually(lambda: not _alive(pid))


async def test_an_engine_ends_with_its_worker(model: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from windfall_worker.backends.mlx import MLXBackend\n"
        "async def main():\n"
        "    backend = MLXBackend(sys.argv[1])\n"
        "    await backend.start()\n"
        "    print(backend.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(model), stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout
    pid = int(await worker.stdout.readline())
    assert _alive(pid)
    worker.kill()
    await worker.wait()
    await eventually(lambda: not _alive(pid))


async def test_an_engine_that_cannot_start_again_tells_who_waits(backend: MLXBackend, model: Path) -> None:
    weights = model / "model.safetensors"
    weights.rename(model / "away")
    try:
        assert backend.pid
        os.kill(backend.pid, signal.SIGKILL)
        await eventually(lambda: backend.pid is None)
        with pytest.raises(BackendUnavailable, match="did not restart"):
            await backend.complete(Call("job", short()))
    finally:
        (model / "away").rename(weights)
    # ... and it goes on trying.
    await eventually(lambda: backend.restarts)
    assert (await backend.complete(Call("job", short()))).usage.completion_tokens


async def refused(reference: object) -> str:
    with pytest.raises(ConfigError) as caught:
        await MLXBackend(str(reference)).start()
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    return message


async def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path) -> None:
    assert "is a folder but not a model: it has no config.json" in await refused(tmp_path)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "no such folder" in await refused(tmp_path / "nothing" / "here")


async def test_half_a_weight_file_is_named(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "half")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert "model.safetensors is truncated" in await refused(folder)


async def test_weights_of_another_model_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "mixed")
    config = (folder / "config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    (folder / "config.json").write_text(config)
    assert "mixed cannot be loaded" in await refused(folder)


async def test_a_type_of_model_that_nobody_knows_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "odd")
    config = (folder / "config.json").read_text().replace("qwen3", "qwertz")
    (folder / "config.json").write_text(config)
    assert "qwertz" in await refused(folder)


async def test_a_repository_that_cannot_be_had_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    message = await refused("nobody/nothing-4bit")
    assert "nobody/nothing-4bit is not in the local Hugging Face cache and cannot be downloaded" in message
    assert "network" in message
