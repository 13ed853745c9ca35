"""The loop around mlx-lm's `BatchGenerator`: sequences join, step, and leave.

One thread loads the model and generates. Prepared requests arrive from the intake's thread through `arrivals`; frames
leave through `send`, which must not block. An error in one sequence ends that sequence; an error in a step ends all
sequences that took part in it, and the next ones start with a fresh batch.
"""

# mypy: disable-error-code="no-untyped-call"
# mlx-lm is only partly typed.

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal

import mlx.core as mx
from mlx_lm.generate import BatchGenerator

from windfall.errors import BackendUnavailable, EngineDied
from windfall.telemetry.tracebacks import without_words
from windfall_worker.engine.loading import Model
from windfall_worker.engine.logprobs import LogprobReader
from windfall_worker.engine.prefix import PrefixCache
from windfall_worker.engine.protocol import Beat, Cancel, DeltaFrame, Done, Failed, Message
from windfall_worker.engine.sampling import AnnouncingBatch, AnnouncingPrompts, BatchSampler
from windfall_worker.engine.scheduler import Scheduler
from windfall_worker.engine.sequence import Sequence
from windfall_worker.engine.staging import Staging

logger = logging.getLogger("windfall.engine")

#: Seconds between beats.
BEAT_EVERY: Final = 0.2
#: Seconds between the deltas of one sequence.
DELTA_EVERY: Final = 0.05

Arrivals = SimpleQueue[list[Sequence | Cancel]]


class Runner:
    """Generates completions for whatever arrives, until the process ends."""

    def __init__(self, model: Model, arrivals: Arrivals, send: Callable[[Message], None]) -> None:
        self._model = model
        self._arrivals = arrivals
        self._send = send
        self._scheduler = Scheduler(model.slots, model.room)
        self._prefixes = PrefixCache(model.prefix_bytes)
        self._staging = Staging(model.settings.prefill_step, model.settings.prefill_tokens)
        self._prefilling: set[int] = set()  # uids
        self._logprobs = LogprobReader(model.tokenizer)
        self._sequences: dict[int, Sequence] = {}
        self._by_uid: dict[int, Sequence] = {}
        self._beat = Beat(free_slots=model.slots)
        self._beat_at = 0.0
        self._counters: dict[str, Any] = dict.fromkeys(
            ("step", "generated_tokens", "prefill_tokens", "cached_tokens", "busy", "stalled", "idle"),
            0,
        )
        self._mark = time.perf_counter()
        self._restart_batch()

    def run(self) -> None:
        """Take turns until the process ends, which it does when its pipe closes."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Receive what arrived, start what fits, make one step, report progress."""
        self._spend("stalled" if self._sequences else "idle")
        self._receive()
        for start in self._scheduler.admit():
            self._stage(self._sequences[start.id], start.share)
        if not self._prefilling:
            for sequence in self._staging.take():
                self._start(self._sequences[sequence])
        if self._by_uid:
            self._spend("stalled")
            self._step()
            self._spend("busy")
        self._report()

    def _receive(self) -> None:
        """Receive what has arrived; if there is nothing to do, wait for something until the next beat."""
        try:
            burst = self._arrivals.get(block=not self._sequences, timeout=BEAT_EVERY)
            while True:
                for arrival in burst:
                    self._take_in(arrival)
                burst = self._arrivals.get_nowait()
        except Empty:
            return
        finally:
            if not self._sequences:
                self._spend("idle")

    def _take_in(self, arrival: Sequence | Cancel) -> None:
        if isinstance(arrival, Cancel):
            if arrival.id in self._sequences:
                self._drop(self._sequences[arrival.id])
            return
        self._sequences[arrival.id] = arrival
        reserve = len(arrival.prompt) + arrival.max_tokens
        self._scheduler.add(arrival.id, arrival.prompt, reserve)

    def _stage(self, sequence: Sequence, share: int) -> None:
        """Let a sequence start together with others of similar length."""
        prompt = sequence.prompt
        sequence.cache, sequence.cached = self._prefixes.fetch(prompt) if share else (None, 0)
        if share > sequence.cached:
            sequence.share = share
        else:
            self._scheduler.shared(sequence.id)
        self._staging.add(sequence.id, len(prompt) - sequence.cached)

    def _start(self, sequence: Sequence) -> None:
        """Hand a sequence to mlx-lm, in two segments if its prefix is to be kept for others."""
        prompt, cached, share = sequence.prompt, sequence.cached, sequence.share
        caches: Any = [sequence.cache]  # None stands for an empty one
        (uid,) = self._generator.insert_segments(
            [[prompt[cached:share], prompt[share:]] if share else [prompt[cached:]]],
            max_tokens=[sequence.max_tokens],
            caches=caches,
            all_tokens=[prompt[:cached]],
            logits_processors=[list(sequence.processors)],
        )
        sequence.uid, sequence.cache = uid, None
        self._by_uid[uid] = sequence
        self._prefilling.add(uid)
        self._sampler.register(uid, sequence.sampling)
        self._counters["cached_tokens"] += cached
        self._counters["prefill_tokens"] += len(prompt) - cached

    def _step(self) -> None:
        try:
            prompts, tokens = self._generator.next()
            for response in prompts:
                if response.end_of_prompt:
                    self._prefilling.discard(response.uid)
                elif response.end_of_segment:
                    self._keep_prefix(self._by_uid[response.uid])
        except Exception as exc:
            # With the message, which is MLX's own: a step works on numbers, not on text.
            logger.exception("a step failed; %d sequences end with it", len(self._by_uid))
            self._fail_all(exc)
            return
        self._counters["step"] += 1
        self._counters["generated_tokens"] += len(tokens)
        if tokens:
            self._take_tokens(tokens)

    def _keep_prefix(self, sequence: Sequence) -> None:
        if not sequence.share:
            return
        cache, tokens = self._generator.extract_cache([sequence.uid])[sequence.uid]
        self._prefixes.store(list(tokens), cache)
        sequence.share = 0
        self._scheduler.shared(sequence.id)

    def _take_tokens(self, responses: list[Any]) -> None:
        now = time.perf_counter()
        self._note_logprobs(responses)
        for response in responses:
            sequence = self._by_uid[response.uid]
            try:
                self._take_token(sequence, response.token, response.finish_reason, now)
            except Exception as exc:  # noqa: BLE001 - a detokenizer, say; its neighbours continue
                logger.error("a sequence failed\n%s", without_words(exc))  # noqa: TRY400 - a traceback may hold text
                self._fail(sequence, exc)

    def _take_token(self, sequence: Sequence, token: int, reason: Literal["stop", "length"] | None, now: float) -> None:
        sequence.count(now)
        stopped = False
        if reason != "stop":  # the token that ends a text is not part of it
            stopped = sequence.text.add(token)
            sequence.reasoned += sequence.text.in_reasoning
        if reason or stopped:
            self._finish(sequence, "stop" if stopped else reason or "stop", removed=reason is not None)
        elif sequence.follow and now - sequence.last_delta >= DELTA_EVERY:
            self._send_delta(sequence, now)

    def _finish(self, sequence: Sequence, reason: Literal["stop", "length"], *, removed: bool) -> None:
        sequence.text.finish()
        if sequence.follow:
            self._send_delta(sequence, sequence.last_token)
        if sequence.text.stopped:
            reason = "stop"
        completion = sequence.completion(self._model.name, reason)
        self._drop(sequence, removed=removed)
        self._send(Done(id=sequence.id, completion=completion))

    def _send_delta(self, sequence: Sequence, now: float) -> None:
        content, reasoning = sequence.text.take()
        if content or reasoning:
            sequence.last_delta = now
            self._send(DeltaFrame(id=sequence.id, content=content, reasoning=reasoning))

    def _note_logprobs(self, responses: list[Any]) -> None:
        wanted = []
        for response in responses:
            sequence = self._by_uid[response.uid]
            if sequence.top_logprobs is not None and response.finish_reason != "stop":
                wanted.append((sequence, response))
        if wanted:
            rows = [(response.logprobs, response.token, sequence.top_logprobs or 0) for sequence, response in wanted]
            for (sequence, _), entry in zip(wanted, self._logprobs.read(rows), strict=True):
                sequence.logprobs.append(entry)

    def _drop(self, sequence: Sequence, *, removed: bool = False) -> None:
        """Forget a sequence. `removed`: mlx-lm has already done so."""
        del self._sequences[sequence.id]
        self._scheduler.remove(sequence.id)
        self._staging.discard(sequence.id)
        if sequence.uid is not None and sequence.uid in self._by_uid:
            del self._by_uid[sequence.uid]
            self._prefilling.discard(sequence.uid)
            self._sampler.forget(sequence.uid)
            if not removed:
                self._generator.remove([sequence.uid])

    def _fail(self, sequence: Sequence, exc: Exception, kind: str = BackendUnavailable.type) -> None:
        if sequence.id in self._sequences:
            self._drop(sequence)
        message = f"the engine failed on this request: {type(exc).__name__}: {exc}"
        self._send(Failed(id=sequence.id, kind=kind, message=message))

    def _fail_all(self, exc: Exception) -> None:
        failed = list(self._by_uid.values())
        self._by_uid.clear()
        self._prefilling.clear()
        self._restart_batch()
        # There is no telling which of several sequences failed the step: none is blamed, as when the engine dies.
        kind = BackendUnavailable.type if len(failed) == 1 else EngineDied.type
        for sequence in failed:
            self._fail(sequence, exc, kind)

    def _restart_batch(self) -> None:
        model = self._model
        self._sampler = BatchSampler()
        self._generator = BatchGenerator(
            model.module,
            stop_tokens=[[token] for token in model.tokenizer.eos_token_ids],
            sampler=self._sampler,
            completion_batch_size=model.slots,
            prefill_batch_size=model.slots,  # compute together whatever was handed over
            prefill_step_size=model.settings.prefill_step,
        )
        # Batches that mlx-lm splits off these, or merges into these, keep these classes.
        self._generator._prompt_batch = AnnouncingPrompts.empty(  # noqa: SLF001 - no other way to know a call's rows
            model.module,
            self._sampler,
            prefill_step_size=model.settings.prefill_step,
        )
        self._generator._generation_batch = AnnouncingBatch.empty(model.module, self._sampler)  # noqa: SLF001

    def _spend(self, name: str) -> None:
        """Attribute the time since the last call to this counter."""
        now = time.perf_counter()
        self._counters[name] += now - self._mark
        self._mark = now

    def _report(self) -> None:
        if self._mark - self._beat_at < BEAT_EVERY:
            return
        self._beat_at = self._mark
        self._send(
            Beat(
                active=self._scheduler.active,
                waiting=self._scheduler.waiting,
                free_slots=self._scheduler.free_slots,
                memory=mx.get_active_memory(),
                **self._counters,
            ),
        )
