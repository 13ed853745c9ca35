"""A line of waiting tasks."""

from __future__ import annotations

import asyncio

from windfall_worker.guards.line import Line


async def test_turns_come_in_order_and_those_who_waited_before_go_first() -> None:
    line, order, go = Line(), list[str](), asyncio.Event()

    async def wait(name: str, *, first: bool = False) -> None:
        async with line.turn(first=first):
            if name == "head":
                await go.wait()
            order.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in ("head", "one", "two")]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(wait("again", first=True)))
    await asyncio.sleep(0)
    assert len(line) == 4
    go.set()
    await asyncio.gather(*tasks)
    assert order == ["head", "again", "one", "two"]
    assert not line


async def test_whoever_is_cancelled_holds_up_nobody() -> None:
    for ticks in range(8):  # wherever the cancellation finds it
        line, done = Line(), list[int]()

        async def wait(number: int, line: Line = line, done: list[int] = done) -> None:
            async with line.turn():
                await asyncio.sleep(0)
            done.append(number)

        tasks = [asyncio.create_task(wait(number)) for number in range(4)]
        for _ in range(ticks):
            await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.wait(tasks, timeout=60)
        assert {0, 3} <= set(done)
        assert not line
