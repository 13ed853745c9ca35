"""What `windfall.run` does with its requests: on a fleet or on this machine, with a progress bar."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from windfall import keys
from windfall.cli.local import Tally, pass_through, run_rows
from windfall.cli.models import model_for_run, require_worker
from windfall.cli.screen.notebook import NotebookProgress, in_notebook
from windfall.cli.screen.progress import RowProgress
from windfall.config.settings import load_settings
from windfall.errors import ConfigError, NotFound
from windfall.kept_results import KeptResults
from windfall.producer import Producer
from windfall.request import CompletionRequest, Route
from windfall.result import CompletionResult
from windfall.runtime.event_thread import EventThread


def run_blocking(
    keyed: Sequence[tuple[str, CompletionRequest]],
    kept: KeptResults,
    *,
    model: str | None,
    redis: str | None,
    slots: int,
    progress: bool,
) -> None:
    """Complete what has no result yet, each key once."""
    thread = EventThread()
    try:
        if redis is not None and kept.batch is not None:
            thread.run(_fetch_rest(redis, kept))
        missing = {key: request for key, request in reversed(keyed) if not kept.has(key)}
        missing = dict(reversed(missing.items()))  # the first of equal requests, in order
        if not missing:
            return
        if redis is None:
            thread.run(_run_here(missing, kept, model, slots, progress=progress))
        else:
            thread.run(_run_on_fleet(missing, kept, redis, progress=progress))
    finally:
        thread.stop()


class _Sink:
    """Takes results as an output file does."""

    name = "the results"
    failed = 0

    def __init__(self, kept: KeptResults, row_keys: Sequence[str]) -> None:
        self.rows = 0
        self._kept = kept
        self._row_keys = row_keys

    def write(self, results: Iterable[CompletionResult]) -> None:
        """Keep these results."""
        for result in results:
            self._kept.add(self._row_keys[keys.row_of(result.job_id) - 1], result)
            self.rows += 1
            self.failed += not result.ok


async def _run_here(
    missing: dict[str, CompletionRequest], kept: KeptResults, model: str | None, slots: int, *, progress: bool
) -> None:
    if model is None:
        raise ConfigError("name the model to run on this machine: run(…, model=…); or a fleet's Redis: run(…, redis=…)")
    require_worker()
    served = model_for_run(model, None, slots, load_settings())
    rows = [request.model_copy(update={"model": served.name, "route": Route.LOCAL}) for request in missing.values()]
    with _progress(f"loading {served.name}", shown=progress) as bar:
        await run_rows(iter(rows), _Sink(kept, list(missing)), served, "requests", bar)


async def _run_on_fleet(
    missing: dict[str, CompletionRequest], kept: KeptResults, redis: str, *, progress: bool
) -> None:
    batch_id = secrets.token_hex(6)
    kept.note_batch(batch_id, list(missing))
    sink = _Sink(kept, list(missing))
    with _progress(f"batch {batch_id}", shown=progress) as bar:
        async with Producer(redis) as producer:
            try:
                await pass_through(producer, iter(missing.values()), sink, Tally(), bar, batch_id)
            except BaseException:
                await _give_up(producer, batch_id, sink)
                raise
    kept.forget_batch()


async def _give_up(producer: Producer, batch_id: str, sink: _Sink) -> None:
    """Nobody waits for the batch any longer: keep what is there, and cancel the rest."""
    try:
        await producer.cancel(batch_id)
        sink.write([result async for result in producer.results(batch_id, follow=False)])
    except NotFound:
        pass


async def _fetch_rest(redis: str, kept: KeptResults) -> None:
    """Take over what an earlier call, which was killed, has submitted."""
    if kept.batch is None:
        return
    batch_id, row_keys = kept.batch
    sink = _Sink(kept, row_keys)
    async with Producer(redis) as producer:
        try:
            if not (await producer.batch(batch_id)).sealed:
                await _give_up(producer, batch_id, sink)
            else:
                async for result in producer.results(batch_id):
                    sink.write([result])
        except NotFound:
            pass
    kept.forget_batch()


def _progress(what: str, *, shown: bool) -> AbstractContextManager[Any]:
    if not shown:
        return nullcontext(NotebookProgress(what, shown=False))
    return NotebookProgress(what) if in_notebook() and "IPython" in sys.modules else RowProgress(what)
