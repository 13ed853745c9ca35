"""dramatiq: https://dramatiq.io. Its workers are threads; its producers are synchronous."""

from __future__ import annotations

import time

import dramatiq
from common import LOOK, URL, serve
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def work(seconds: float, text: str = "") -> None:
    if seconds:
        time.sleep(seconds)


def drain(jobs: int, seconds: float) -> dict[str, float]:
    began = time.perf_counter()
    for _ in range(jobs):
        work.send(seconds)
    enqueued = time.perf_counter() - began
    broker.join("default", interval=int(1000 * LOOK))
    return {"enqueued": enqueued, "took": time.perf_counter() - began}


def enqueue(jobs: int, text: str) -> float:
    began = time.perf_counter()
    for _ in range(jobs):
        work.send(0, text)
    return time.perf_counter() - began


if __name__ == "__main__":
    serve(drain, enqueue)
