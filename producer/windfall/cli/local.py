"""Running rows in one process tree: an embedded broker, a worker in this process, and the results into a file."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from windfall.cli.models import worker_package
from windfall.cli.run_folder import run_folder
from windfall.cli.screen.notebook import NotebookProgress
from windfall.cli.screen.progress import RowProgress
from windfall.embedded.broker import EmbeddedBroker
from windfall.errors import WindfallError
from windfall.producer import Producer
from windfall.queue.incoming import in_thread
from windfall.result import CompletionResult
from windfall.row import Row
from windfall.telemetry.visible import VisibleFormatter

if TYPE_CHECKING:
    from windfall_worker.settings import ModelSettings

_HEARD_WITHIN: Final = 5.0  # seconds


@dataclass(slots=True)
class Tally:
    """The outcome of one run."""

    completed: int = 0
    failed: int = 0
    tokens: int = 0  #: of the completions
    _first: float = field(default=0.0, repr=False)
    _last: float = field(default=0.0, repr=False)

    def start(self) -> None:
        """The model is loaded; start measuring rates."""
        self._first = self._last = time.monotonic()

    def count(self, result: CompletionResult) -> None:
        """Count one more row."""
        self._last = time.monotonic()
        self.completed += result.ok
        self.failed += not result.ok
        self.tokens += result.completion.usage.completion_tokens if result.completion else 0

    @property
    def seconds(self) -> float:
        """Seconds from the start to the last result; never 0."""
        return max(self._last - self._first, 1e-9)

    @property
    def tokens_per_second(self) -> float:
        """The rate of all completions together."""
        return self.tokens / self.seconds


class Sink(Protocol):
    """What takes the results: an output file, for one."""

    rows: int  #: results in it

    def write(self, results: Iterable[CompletionResult]) -> None:
        """Take these results."""


async def run_rows(
    rows: Iterator[Row], out: Sink, model: ModelSettings, what: str, progress: RowProgress | NotebookProgress
) -> Tally:
    """Complete the rows with this model in this process, and write the results as they arrive."""
    with worker_package():
        from windfall_worker.main import run_worker  # noqa: PLC0415 - an extra
        from windfall_worker.settings import WorkerSettings  # noqa: PLC0415 - an extra
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("windfall: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.ERROR)
    settings = WorkerSettings(models=(model,), drain_timeout=0)
    ready, stop = asyncio.Event(), asyncio.Event()
    tally = Tally()

    with run_folder() as folder:
        # Only the output file has to survive; another file would only be one more victim of a full disk.
        async with EmbeddedBroker.start(folder, allow_fake=True, durable=False) as broker:
            redis = broker.url or broker.redis

            async def work() -> None:
                await run_worker(settings, redis, ready=ready, stop=stop, handle_signals=False)
                if not stop.is_set():
                    raise WindfallError(
                        "the worker ended before the last row; repeat the command to continue with the rest"
                    )

            async def feed() -> None:
                await ready.wait()
                tally.start()
                progress.begin(what)
                async with Producer(redis) as producer:
                    await pass_through(producer, rows, out, tally, progress, secrets.token_hex(6))
                stop.set()

            await together(work(), feed())
    return tally


async def pass_through(
    producer: Producer,
    rows: Iterator[Row],
    out: Sink,
    tally: Tally,
    progress: RowProgress | NotebookProgress,
    batch_id: str,
) -> None:
    """Enqueue the rows as a batch of this id and write the results, concurrently."""
    begun = asyncio.Event()
    total: int | None = None
    before = out.rows

    async def submit() -> None:
        nonlocal total
        batch = await producer.enqueue_batch(in_thread(rows), batch_id=batch_id, on_progress=lambda _: begun.set())
        begun.set()
        total = before + batch.total

    async def collect() -> None:
        await begun.wait()
        async for result in producer.results(batch_id):
            out.write([result])
            tally.count(result)
            progress.update(out.rows, total, tally.failed)

    await together(submit(), collect())


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all to completion. If one raises, or this is cancelled, the others are cancelled and awaited first."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
    finally:
        await _put_away(tasks)
    for task in failed:
        task.result()


async def _put_away(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until it takes effect: before Python 3.12 `asyncio.wait_for` loses a cancellation that coincides with
    the end of what it waits for (python/cpython#86296), and a loop around it would never end.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_HEARD_WITHIN)
