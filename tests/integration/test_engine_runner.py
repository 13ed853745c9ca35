"""The engine's loop in this process, where its model can be made to fail."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import pytest

from helpers.models import build_model, token_id
from windfall.request import CompletionRequest
from windfall_worker.engine.protocol import Beat, Cancel, Done, Failed, Load, Message, Submit
from windfall_worker.engine.settings import EngineSettings


class Bench:
    """A runner, what it sends, and its model, which fails on command."""

    def __init__(self, folder: str) -> None:
        from windfall_worker.engine.intake import Intake, Limits  # noqa: PLC0415
        from windfall_worker.engine.loading import load_model  # noqa: PLC0415
        from windfall_worker.engine.runner import Runner  # noqa: PLC0415

        model = load_model(Load(model=folder, name="tiny", slots=4, settings=EngineSettings()))
        self.fail_at = -1
        self.calls = 0
        self._module = model.module
        self._intake = Intake(model.tokenizer, Limits(model.context_length, model.vocab_size, model.room, 64))
        self._arrivals: SimpleQueue[list[Any]] = SimpleQueue()
        self.sent: list[Message] = []
        self.runner = Runner(model, self._arrivals, self.sent.append)
        self.runner._generator.model = self  # what it prefills and decodes with from now on
        self.runner._generator._prompt_batch.model = self
        self.runner._generator._generation_batch.model = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("[METAL] Command buffer execution failed")
        return self._module(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def submit(self, *requests: CompletionRequest, first: int = 1) -> None:
        self._arrivals.put([self._intake.prepare(Submit(id=n, request=r)) for n, r in enumerate(requests, first)])

    def cancel(self, number: int) -> None:
        self._arrivals.put([Cancel(id=number)])

    def turn(self, until: int) -> None:
        """Turn until so many calls have ended."""
        for _ in range(500):
            if len(self.ended()) >= until:
                return
            self.runner.turn()
        pytest.fail(f"{until} calls did not end")

    def ended(self) -> list[Done | Failed]:
        return [message for message in self.sent if isinstance(message, Done | Failed)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def bench(folder: str) -> Bench:
    return Bench(folder)


def ask(text: str, **options: Any) -> CompletionRequest:
    options = {"max_tokens": 8, "temperature": 0.0, "logit_bias": {str(token_id("<|im_end|>")): -100.0}} | options
    return CompletionRequest(model="tiny", messages=[{"role": "user", "content": text}], **options)


@pytest.mark.parametrize("fail_at", [1, 2, 6])
def test_a_step_that_fails_ends_its_sequences_and_the_next_ones_work(bench: Bench, fail_at: int) -> None:
    bench.fail_at = fail_at
    bench.submit(ask("one"), ask("two"))
    bench.turn(until=2)
    for message in bench.ended():
        assert isinstance(message, Failed)
        # Nobody knows which of the two it was, so neither has spent a try.
        assert message.kind == "engine_died"
        assert "METAL" in message.message
    bench.submit(ask("three"), first=3)
    bench.turn(until=3)
    assert isinstance(bench.ended()[2], Done)


def test_a_step_that_fails_under_one_sequence_alone_is_that_ones_failure(bench: Bench) -> None:
    bench.fail_at = 2
    bench.submit(ask("one"))
    bench.turn(until=1)
    (message,) = bench.ended()
    assert isinstance(message, Failed)
    assert message.kind == "backend_unavailable"


def test_a_sequence_that_fails_ends_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from windfall_worker.engine.text import TextStream  # noqa: PLC0415

    add = TextStream.add
    poisoned: list[Any] = []

    def fail_once(self: TextStream, token: int) -> bool:
        if not poisoned:
            poisoned.append(self)
        if poisoned[0] is self:
            raise KeyError("no such byte")
        return add(self, token)

    monkeypatch.setattr(TextStream, "add", fail_once)
    bench.submit(ask("one"), ask("two"), ask("three"))
    bench.turn(until=3)
    kinds = {message.id: type(message) for message in bench.ended()}
    assert kinds == {1: Failed, 2: Done, 3: Done}


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_a_cancel_removes_the_sequence_at_the_next_step_wherever_it_is(bench: Bench, turns: int) -> None:
    bench.submit(ask("one", max_tokens=40), ask("two", max_tokens=40))
    for _ in range(turns):
        bench.runner.turn()
    bench.cancel(1)
    bench.runner.turn()
    assert len(bench.runner._scheduler) == 1
    bench.turn(until=1)
    assert [message.id for message in bench.ended()] == [2]


def test_an_unknown_cancel_changes_nothing(bench: Bench) -> None:
    bench.cancel(77)
    bench.submit(ask("one"))
    bench.turn(until=1)


def test_beats_count_what_was_done(bench: Bench) -> None:
    bench.runner._beat_at = -1e9
    bench.submit(ask("one", max_tokens=5))
    bench.turn(until=1)
    bench.runner._beat_at = -1e9
    bench.runner.turn()
    beat = bench.sent[-1]
    assert isinstance(beat, Beat)
    assert (beat.generated_tokens, beat.active, beat.waiting, beat.free_slots) == (5, 0, 0, 4)
    assert beat.prefill_tokens == len("SuserNoneENSassistantN")
    assert beat.step >= 5
    assert beat.busy > 0


def test_a_sampler_told_of_other_rows_refuses_to_sample(folder: str) -> None:
    import mlx.core as mx  # noqa: PLC0415

    from windfall_worker.engine.sampling import BatchSampler, Sampling  # noqa: PLC0415

    sampler = BatchSampler()
    sampler.register(1, Sampling())
    sampler.rows = [1]
    assert sampler(mx.array([[0.0, 1.0]])).tolist() == [1]
    with pytest.raises(RuntimeError, match="2 rows"):
        sampler(mx.zeros((2, 3)))
