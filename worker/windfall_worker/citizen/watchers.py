"""What watches the machine on behalf of a worker."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from windfall_worker.citizen.awake import Awake
from windfall_worker.citizen.keeper import Keeper
from windfall_worker.citizen.machine import Machine
from windfall_worker.citizen.rules import Rule
from windfall_worker.citizen.sleep import SleepGuard
from windfall_worker.citizen.slept import log_sleep
from windfall_worker.control import Steerable, Who


async def watch_machine(
    worker: Steerable, rules: tuple[Rule, ...], machine: Machine
) -> list[Coroutine[Any, Any, None]]:
    """The watchers to run beside the worker. The rules are checked once before it takes its first job."""
    watchers = []
    if rules:
        keeper = Keeper(
            rules,
            machine.sensors,
            lambda why: worker.pause(Who.CITIZEN, why),
            lambda: worker.resume(Who.CITIZEN),
            period=machine.period,
        )
        await keeper.look()
        watchers.append(keeper.run())
    if machine.sleep:
        watchers.append(SleepGuard(machine.sleep, worker).run())
    watchers.append(Awake(machine.awake, lambda: worker.busy).run())
    watchers.append(log_sleep())
    return watchers
