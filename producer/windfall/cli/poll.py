"""`windfall status` and `windfall watch`: the progress of a batch or a job."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from typing import Final

import typer

from windfall.batch import BatchStatus
from windfall.cli import options, options_notice
from windfall.cli.follow import conclude, outcomes
from windfall.cli.notices import Notices, told_of_stalls
from windfall.cli.screen.batch_facts import as_json as facts_of
from windfall.cli.screen.console import duration, note, printable, say, say_json
from windfall.cli.screen.progress import RowProgress
from windfall.cli.session import producer, run_async
from windfall.cli.standstill import Standstill
from windfall.errors import BrokerUnavailable, NotFound, RequestRejected
from windfall.keys import batch_of
from windfall.producer import Producer
from windfall.result import CompletionResult, JobState

_PERIOD: Final = 0.5  # seconds between two looks
_PATIENCE: Final = 60.0  # seconds that Redis may be unavailable while a batch is watched


def status(
    name: options.AnyName,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Print a batch's progress (counts, rate, time left, tokens) or a job's state, and why nothing moves if so."""
    found, why = run_async(_status_and_why(producer(redis, config), name))
    if isinstance(found, CompletionResult):
        say_json(found.model_dump(mode="json")) if as_json else say(_job_line(name, found))
    elif as_json:
        facts = facts_of(found) if isinstance(found, BatchStatus) else {"job_id": name, "state": found.value}
        say_json(facts | {"waiting_for": why})
    else:
        _say_batch(found) if isinstance(found, BatchStatus) else say(_job_line(name, found))
        for reason in why:
            say(f"waits   {reason}")


def watch(
    name: options.AnyName,
    notify: options_notice.Notify = False,
    webhook: options_notice.Webhook = None,
    redis: options.RedisUrl = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the progress of a batch or a job until it is done; the exit code is 3 if rows failed.

    Without a terminal (or with --json) it prints a line whenever a count changes.
    """
    notices = Notices(notify, webhook)
    if run_async(_watch(producer(redis, config), name, notices, as_json=as_json)):
        raise typer.Exit(3)


async def _status_and_waits(
    producer: Producer, name: str
) -> tuple[BatchStatus | CompletionResult | JobState, list[str]]:
    """What is known of it and, for a batch with rows that wait, why cloud backends take none."""
    found = await _status(producer, name)
    if not isinstance(found, BatchStatus) or not found.queued:
        return found, []
    async with producer:
        return found, list((await producer.fleet()).waits())


async def _status(producer: Producer, name: str) -> BatchStatus | CompletionResult | JobState:
    async with producer:
        if batch_of(name) is not None:
            return await _job(producer, name)
        try:
            return await producer.batch(name)
        except NotFound:
            pass
        try:
            return await _job(producer, name)
        except NotFound:
            raise NotFound(f"no batch or job {name!r}: not found, or expired") from None


async def _status_and_why(producer: Producer, name: str) -> tuple[BatchStatus | CompletionResult | JobState, list[str]]:
    found = await _status(producer, name)
    async with producer:
        if isinstance(found, BatchStatus):
            return found, await Standstill(producer).of_batch(found)
        return found, await Standstill(producer).of_job(name) if found is JobState.QUEUED else []


async def _watch(producer: Producer, name: str, notices: Notices, *, as_json: bool) -> int:
    found, why = await _status_and_why(producer, name)
    async with producer:
        if not isinstance(found, BatchStatus):
            for reason in why:
                note(f"job {name} waits: {reason}")
            result = await producer.wait(name)
            say_json(result.model_dump(mode="json")) if as_json else say(_job_line(name, result))
            return not result.ok
        async with told_of_stalls(producer, name, notices):
            found, kinds = await _watch_batch(producer, found, as_json=as_json)
    notices.batch_ended(found)
    unsuccessful = conclude(found, None)
    if kinds:
        note(f"failed: {in_words(kinds)}; {advice(name, kinds)}")
    return unsuccessful


async def _watch_batch(producer: Producer, found: BatchStatus, *, as_json: bool) -> tuple[BatchStatus, Counter[str]]:
    """Show a batch until it is done; returns its last status, and why rows failed."""
    cursor, kinds = "0", Counter[str]()
    live = sys.stderr.isatty() and sys.stdout.isatty() and not as_json
    with RowProgress(f"batch {found.id}", done=found.finished) as progress:
        async for found, why in _changes(producer, found.id, progress.remark if live else note):  # noqa: B020, PLR1704 - the latest one
            if found.failed:
                with suppress(BrokerUnavailable):  # the next change asks again
                    cursor, more = await producer.failures(found.id, after=cursor)
                    kinds += more
                    if kinds.total() < found.failed:  # Redis came back without its last writes
                        cursor, kinds = await producer.failures(found.id)
            if as_json:
                say_json(facts_of(found) | {"failures": dict(kinds), "waiting_for": why})
            elif not live:
                say(outcomes(found) + (", paused" if found.paused else "") + "".join(f"; {each}" for each in why))
            progress.update(found.finished, found.total, found.finished - found.completed, paused=found.paused)
            progress.remark("; ".join([*([f"failed: {in_words(kinds)}"] if kinds else []), *why]))
    return found, kinds


def advice(name: str, kinds: Collection[str]) -> str:
    """What to do about failures of these kinds in a batch. An invalid row is not a dead letter."""
    told = []
    if RequestRejected.type in kinds:
        told.append(f"windfall results {name} -o OUT says what is wrong with each row: correct it, and submit it again")
    if set(kinds) - {RequestRejected.type}:
        told.append(f"see windfall dead list, and retry them with windfall retry {name}")
    return "; ".join(told)


def in_words(kinds: Counter[str]) -> str:
    """Error types with their counts, most frequent first."""
    return ", ".join(f"{number:,} {printable(kind)}" for kind, number in kinds.most_common())


async def _changes(
    producer: Producer, name: str, on_away: Callable[[str], None]
) -> AsyncIterator[tuple[BatchStatus, list[str]]]:
    """Yield the batch and why nothing of it moves, after every change of either and after every outage.

    `on_away` is told the reason of an outage, once.
    """
    standstill = Standstill(producer)
    last: tuple[object, ...] = ()
    away_since: float | None = None
    while True:
        try:
            found = await producer.batch(name)
            why = await standstill.of_batch(found)
        except BrokerUnavailable as exc:
            if away_since is None:
                away_since, last = time.monotonic(), ()
                on_away(f"{exc}; retrying for up to {_PATIENCE:g} s")
            if time.monotonic() - away_since > _PATIENCE:
                raise
            await asyncio.sleep(_PERIOD)
            continue
        away_since = None
        counts = (found.total, found.queued, found.running, found.completed, found.finished, found.done, found.paused)
        now = (*counts, *(_kind(reason) for reason in why))
        if now != last:
            yield found, why
        if found.done:
            return
        last = now
        await asyncio.sleep(_PERIOD)


def _kind(reason: str) -> str:
    """A reason without its numbers: that a heartbeat is later still is no change."""
    return re.sub(r"\d+", "", reason)


def _say_batch(found: BatchStatus) -> None:
    usage, stopping = found.usage, found.cancel_requested and not found.done
    say(
        f"batch   {found.id}: {found.state.value}"
        + (", paused" if found.paused else "")
        + (", being cancelled" if stopping else "")
    )
    say(f"rows    {outcomes(found)}")
    if found.paused and not found.done:
        say("rate    none while it is paused")
    elif found.rate is not None:
        left = "" if found.done or found.eta is None else f", about {duration(found.eta)} left"
        say(f"rate    {found.rate:,.1f} rows/s{left}")
    if found.deadline_at is not None and not found.done:
        away = found.deadline_at - found.now
        say("due     " + (f"in {duration(away)}" if away > 0 else "now: unfinished rows are being expired"))
    if found.kept_until is not None:
        say(f"kept    for another {duration(max(0.0, found.kept_until - found.now))}")
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    say(f"tokens  {usage.prompt_tokens:,} of prompts{cached}, {usage.completion_tokens:,} of completions")


async def _job(producer: Producer, name: str) -> CompletionResult | JobState:
    # The result first: if the job ends between the two reads, ask once more.
    while (found := await producer.result(name)) is None:
        state = await producer.state(name)
        if not state.final:
            return state
    return found


def _job_line(name: str, found: CompletionResult | JobState) -> str:
    if isinstance(found, JobState):
        return f"job {name}: {found.value}"
    by = f" by {found.backend} on {found.worker}" if found.backend and found.worker else ""
    why = f": {found.error.message}" if found.error else ""
    return f"job {name}: {found.state.value}{by} after {duration(found.timings.total)}{why}"
