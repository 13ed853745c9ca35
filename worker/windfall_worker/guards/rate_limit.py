"""The rate limit of one endpoint and key, shared by the whole fleet: calls wait for their turn, and are not refused.

What is known of the limits stands in Redis as a few buckets, which `scripts/rate_prelude.lua` explains. They are
learned from the headers of answers, or set (`rpm`, `tpm`), or else searched for: the rate grows until the endpoint
refuses. A call asks once whether it may go; what its answer says travels with the next question, and so costs no round
trip of its own. Only a refusal is told at once, and begins the cool-down.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from windfall.errors import RateLimited
from windfall.keys import COOLDOWN, RATE
from windfall_worker.guards.cooldown import LONGEST, Cooldown
from windfall_worker.guards.limits import NO_TOKENS, Admission, Counted, Need, Rates, Refill, Told
from windfall_worker.guards.line import Line
from windfall_worker.guards.pace import Pace
from windfall_worker.guards.redis_link import RedisLink
from windfall_worker.guards.scripts import guard_script

_ADMIT: Final = guard_script("rate_prelude", "rate_admit")
_REFUSED: Final = guard_script("rate_prelude", "rate_refused")

#: Seconds within which a call is admitted ahead of time. Further ahead, what the fleet learns meanwhile matters more.
_AHEAD: Final = 1.0
#: Seconds after a call had to wait during which the next one is expected to.
_PRESSED: Final = 2.0
#: Seconds' worth of calls that may wait on one worker, so that its turns are used; and that many more.
_WAITING_SECONDS, _WAITING_MORE = 0.5, 2
#: Output tokens of a call that names no most, before any has ended.
_FIRST_OUTPUT: Final = 256
_NEW: Final = 0.1
#: The share of a limit that is low enough to explain a refusal: estimates of tokens are not exact.
_LOW: Final = 0.05


def key_digest(key: str) -> str:
    """Tells keys apart, and gives none away."""
    return hashlib.blake2b(key.encode(), digest_size=6, person=b"windfall").hexdigest()


class RateLimiter:
    """Admits the calls to one endpoint (`name`) with one key (`digest`).

    Without Redis, or while it is away, this process paces its own calls. `on_room` is called when a call goes that
    others may have been waiting behind. `clock` and `sleep` are how times go by here (seconds).
    """

    def __init__(
        self,
        name: str,
        link: RedisLink | None,
        cooldown: Cooldown,
        *,
        digest: str = "",
        rates: Rates = Rates(),  # noqa: B008 - it is frozen
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._keys = f"{RATE}{digest}:{name}", COOLDOWN + name
        self._cooldown = cooldown
        self._link = link
        self._rates = rates
        self._clock = clock
        self._sleep = sleep
        self._pace = Pace(clock)
        self._line = Line()
        self._pressed_until = 0.0
        self.waiting = 0  #: calls that wait to be admitted
        self._refill: dict[Counted, Refill] = {}
        self._told: dict[
            Counted, tuple[Told, float | None, str, float]
        ] = {}  # with its period, level at admission, time
        self._well = 0
        self._unsent = [0, 0, 0]
        self._beyond = 0
        self._mean_output: float | None = None
        self.on_room: list[Callable[[], None]] = []

    @property
    def allowed_to_wait(self) -> int | None:
        """How many calls are worth having here to wait for their turn; None: none of them would wait."""
        if not self._line and self._clock() >= self._pressed_until:
            return None
        return math.ceil(self._pace.speed * _WAITING_SECONDS) + _WAITING_MORE

    @property
    def usual_output(self) -> int:
        """How many tokens a completion has on average."""
        return round(self._mean_output or _FIRST_OUTPUT)

    async def admit(self, need: Need = NO_TOKENS, *, patience: float, again: bool = False) -> Admission:
        """Wait until a call may go, for `patience` seconds at most. One that goes `again` goes before the others.

        Raises `RateLimited` with the time to come back; nothing was reserved then.
        """
        self.waiting += 1
        try:
            admission = await self._admitted(need, patience, again=again)
        finally:
            self.waiting -= 1
        self._pace.went()
        for tell in self.on_room:
            tell()
        return admission

    async def _admitted(self, need: Need, patience: float, *, again: bool) -> Admission:
        if not self._line:
            admission, wait = await self._ask(need)
            if admission:
                return await self._go(admission, wait)
        until = self._clock() + patience
        async with self._line.turn(first=again):
            while True:
                admission, wait = await self._ask(need)
                if admission:
                    return await self._go(admission, wait)
                if self._clock() + wait > until:
                    raise RateLimited(
                        f"the rate limit of {self.name} lets this call go in {wait:.0f} s", retry_after=wait
                    )
                # Others may learn of a better time while this one sleeps.
                await self._sleep(min(1.0, max(0.05, wait - _AHEAD / 2)))

    def went_well(self, admission: Admission, told: Sequence[Told]) -> None:
        """Note a call that succeeded, and what its answer told of the limits."""
        self._well += 1
        self._pace.went_well()
        self.hear(admission, told)

    async def refused(self, admission: Admission, told: Sequence[Told], retry_after: float | None) -> None:
        """Note a call that was refused for its rate. `retry_after`: seconds for which the endpoint wants no calls."""
        self.hear(admission, told)
        low = [
            each.counted
            for each in told
            if each.remaining < max(1, 2 * admission.need.of(each.counted), _LOW * each.limit)
        ]
        self._pressed_until = self._clock() + _PRESSED
        if not low:
            self._pace.refused()
        left = None
        if self._link:
            own = (admission.epoch, _ms(min(retry_after or 0.0, LONGEST)), "".join(low))
            left = await self._link.call(_REFUSED, self._keys, (*own, *self._report()))
        self._cooldown.heard(left if left is not None else _ms(self._pause(retry_after, told)))

    def used(self, need: Need, input_tokens: int, output_tokens: int) -> None:
        """Note what a completion took, in place of what was estimated."""
        mean = self._mean_output
        self._mean_output = output_tokens if mean is None else (1 - _NEW) * mean + _NEW * output_tokens
        if need.input_tokens or need.output_tokens:
            self._beyond += input_tokens + output_tokens - need.input_tokens - need.output_tokens

    def give_back(self, admission: Admission) -> None:
        """Note that an admitted call was not sent."""
        for place, amount in enumerate((1, admission.need.input_tokens, admission.need.output_tokens)):
            self._unsent[place] += amount

    async def _go(self, admission: Admission, wait: float) -> Admission:
        if wait > 0:
            self._pressed_until = self._clock() + wait + _PRESSED
            try:
                await self._sleep(wait)
            except BaseException:
                self.give_back(admission)
                raise
        return admission

    async def _ask(self, need: Need) -> tuple[Admission | None, float]:
        """Ask once: the admission, if it is granted, and how long to wait."""
        answer = None
        if self._link:
            own = (need.input_tokens, need.output_tokens, _ms(_AHEAD))
            answer = await self._link.call(_ADMIT, self._keys, (*own, *self._report()))
        if answer is None:
            pressed = self._clock() < self._pressed_until
            wait = self._pace.wait(self._cooldown.known, most=_AHEAD, pressed=pressed)
            admission = Admission(need) if wait <= _AHEAD else None
        else:
            admitted, wait_ms, epoch, *levels = answer
            wait = int(wait_ms) / 1000
            names = [_text(each) for each in levels]
            told = dict(zip(names[::2], names[1::2], strict=True))
            admission = Admission(need, int(epoch), told) if admitted else None
        if wait > 0:
            self._pressed_until = self._clock() + min(wait, _AHEAD) + _PRESSED
        return admission, wait

    def _pause(self, retry_after: float | None, told: Sequence[Told]) -> float:
        """Seconds without calls after a refusal that Redis does not hear of."""
        resets = [each.reset for each in told if each.reset and each.remaining < 1]
        return retry_after or max(resets, default=1.0)

    def hear(self, admission: Admission, told: Sequence[Told]) -> None:
        """Note what an answer told of the limits."""
        now = self._clock()
        for each in told:
            period = self._refill.setdefault(each.counted, Refill()).period(each, now)
            level = (admission.levels or {}).get(each.counted, "")
            if level or each.counted not in self._told:
                self._told[each.counted] = each, period, level, now

    def _report(self) -> list[str | int | float]:
        """What was learned since the last report."""
        now = self._clock()
        report: list[str | int | float] = [self._well, *self._unsent, self._beyond]
        report += [self._rates.rpm or 0, self._rates.tpm or 0, len(self._told)]
        for told, period, level, at in self._told.values():
            # A time that is over says that it is whole again, not that it says nothing.
            reset = 0 if told.reset is None else max(1, _ms(told.reset - (now - at)))
            report += [told.counted, told.limit, told.remaining, reset, -1 if period is None else _ms(period), level]
        self._well, self._unsent, self._beyond = 0, [0, 0, 0], 0
        self._told.clear()
        return report


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _text(raw: bytes | str) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw
