"""How fast a backlog shrinks."""

from __future__ import annotations

from windfall import Route
from windfall.keys import lane_queue
from windfall_worker.queue.throughput import Throughput


class Time:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_ends_are_told_apart_by_model_and_route_and_forgotten_after_half_a_minute() -> None:
    time = Time()
    throughput = Throughput(time)
    time.now += 10
    for _ in range(20):
        throughput.note(lane_queue("m", "auto"))
    throughput.note(lane_queue("m", "cloud"))
    throughput.note(lane_queue("other", "auto"))
    assert throughput.rates("m") == {Route.AUTO: 2.0, Route.CLOUD: 0.1}
    assert throughput.rates("nobody") == {}
    time.now += 25
    assert throughput.rates("m")[Route.AUTO] == round(20 / 30, 3)
    time.now += 10
    assert throughput.rates("m") == {Route.AUTO: 0.0, Route.CLOUD: 0.0}


def test_a_first_wave_that_ends_at_once_is_no_high_rate() -> None:
    throughput = Throughput(Time())
    for _ in range(50):
        throughput.note(lane_queue("m", "auto"))
    assert throughput.rates("m") == {Route.AUTO: 10.0}
