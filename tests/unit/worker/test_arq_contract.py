"""What the fleet worker relies on in arq: when one of these fails, read arq's changes before widening the pin."""

from __future__ import annotations

import inspect

from arq import Worker
from arq.worker import Function, Retry


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_worker_takes_what_we_give_it() -> None:
    taken = set(parameters(Worker.__init__))
    assert taken >= {"functions", "queue_name", "redis_pool", "handle_signals", "max_jobs", "ctx", "log_results"}


def test_the_methods_we_replace_are_still_the_ones_that_run() -> None:
    assert parameters(Worker.handle_sig) == ["self", "signum"]
    assert "self.main_task = self.loop.create_task(self.main())" in inspect.getsource(Worker.async_run)
    assert "handle_sig" in inspect.getsource(Worker.__init__)
    assert inspect.iscoroutinefunction(Worker.main)
    assert inspect.iscoroutinefunction(Worker.close)


def test_functions_and_retries_have_the_fields_we_use() -> None:
    assert parameters(Function) == [
        "name",
        "coroutine",
        "timeout_s",
        "keep_result_s",
        "keep_result_forever",
        "max_tries",
    ]
    assert Retry(defer=1.5).defer_score == 1500
