"""One call's way through the transport: what has happened to it so far, and whether it may be sent once more."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from windfall.errors import (
    TIMEOUT,
    UNREADABLE,
    AmbiguousOutcome,
    BackendError,
    BackendUnavailable,
    QuotaExhausted,
    RateLimited,
)
from windfall_worker.cloud.answer_limits import AnswerTooLarge
from windfall_worker.cloud.mapping import (
    FOREIGN,
    TOO_LARGE,
    ErrorMapper,
    is_closed_unanswered,
    is_never_sent,
    request_id_of,
)
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.pace import CallTooLong, Pace, StreamStopped
from windfall_worker.cloud.passage import Passage
from windfall_worker.guards.retry_budget import RetryBudget

logger = logging.getLogger(__name__)

#: The statuses that are worth sending again.
RETRIED: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
#: Seconds. An endpoint that asks for a longer wait gets its call back later, from the queue, not from a sleeping task.
LONGEST_WAIT: Final = 20.0


class Trip:
    """The state of one call. `RetryingTransport` keeps it; the client reads it when the call has ended."""

    def __init__(
        self,
        options: CallOptions,
        errors: ErrorMapper,
        budget: RetryBudget,
        may_resend: Callable[[], Awaitable[bool]],
        pace: Pace,
        passage: Passage,
    ) -> None:
        self.options = options
        self.pace = pace
        self.passage = passage
        self.errors = errors
        self.sends = 0
        self.sent = False  #: whether the endpoint may have got the request that is under way
        self.begun = False  #: whether a good answer began
        self.again = False  #: whether it is to be sent once more
        self.wait: float | None = None  #: seconds that the endpoint asked for
        self.error: BackendError | None = None  #: how the last sending ended
        self._ended: httpx.Response | Exception | None = None  # the same, as httpx has it
        self._unsure = False  # whether an earlier sending may have been completed
        self._budget = budget
        self._may_resend = may_resend

    async def trace(self, event: str, _: Any) -> None:
        """Told by httpcore what it does; see the `trace` extension of httpx."""
        if event.endswith("send_request_body.started"):
            self.sent = True

    async def begin(self) -> httpx.Response | None:
        """The request is about to be sent. If the fleet has closed the way since the last sending, that one's end.

        Raises it where it was an exception.
        """
        if self._ended is not None and not await self._may_resend():
            self.again = False
            if isinstance(self._ended, Exception):
                raise self._ended
            return self._ended
        self.sends += 1
        self.pace.sent()
        self.passage.sent()
        self.sent = self.again = False
        self.wait = None
        return None

    def note_request_id(self, response: httpx.Response) -> None:
        """An answer came, which may name the endpoint's id of the request."""
        request_id = request_id_of(response)
        if request_id and self.options.on_request_id:
            self.options.on_request_id(request_id)

    def answered(self, response: httpx.Response) -> None:
        """An answer came whose status is a success; its body is still to come."""
        self.passage.went_well(response.headers)
        self.error = self._ended = None
        self.begun = True

    def error_of(self, exc: Exception) -> BackendError:
        """What an exception of httpx, raised anywhere in this call, means."""
        if isinstance(exc, CallTooLong):
            error = self.too_slow()
        elif isinstance(exc, StreamStopped):
            error = AmbiguousOutcome(f"{self.errors.name} {exc}; the request may have been completed, and paid for")
        elif isinstance(exc, httpx.HTTPStatusError):
            return self.error or self.errors.from_response(exc.response)
        else:
            error = self.error or self.errors.from_exception(exc, sent=self.sent, begun=self.begun)
        if isinstance(exc, httpx.ReadTimeout) and isinstance(error, AmbiguousOutcome):
            error.code = TIMEOUT
        elif isinstance(exc, AnswerTooLarge):
            error.code = UNREADABLE
        return error

    def reading(self, exc: Exception) -> Exception:
        """What an exception means to the breaker, which knows our errors alone."""
        return self.error_of(exc) if isinstance(exc, FOREIGN) else exc

    async def failed(self, exc: Exception, *, retries: int) -> None:
        """No answer came."""
        self.error = self._noted(self.errors.from_exception(exc, sent=self.sent))
        self.error.__cause__ = self._ended = exc
        safe = is_never_sent(exc) or (is_closed_unanswered(exc) and (self.options.resend_unsure or not self.sent))
        await self._decide(safe, retries)

    async def refused(self, response: httpx.Response, *, retries: int) -> None:
        """An answer came with an error status."""
        self.error = error = self._noted(self.errors.from_response(response))
        self._ended = response
        self.wait = error.retry_after
        if isinstance(error, RateLimited):
            await self.passage.refused(response.headers, error.retry_after)
        else:
            self.passage.failed(response.headers)
        advice = response.headers.get("x-should-retry")
        wanted = response.status_code in RETRIED if advice not in ("true", "false") else advice == "true"
        final = isinstance(error, QuotaExhausted) or error.kind == TOO_LARGE
        unsure = isinstance(error, AmbiguousOutcome) and not self.options.resend_unsure
        await self._decide(wanted and not unsure and not final, retries)

    def too_slow(self) -> BackendError:
        """The call took longer than any may, though bytes may have come all the time."""
        seconds = self.pace.total
        if self.sent:
            return AmbiguousOutcome(
                f"{self.errors.name} was not done within {seconds:g} s, the most that a call may take (call_timeout); "
                "the request may have been completed"
            )
        return self.error or BackendUnavailable(f"{self.errors.name} could not be called within {seconds:g} s")

    def out_of_time(self) -> BackendError:
        """The caller's deadline has passed."""
        if self.sent:
            return AmbiguousOutcome(
                f"{self.errors.name} did not answer within the job's deadline; the request may have been completed"
            )
        return self.error or BackendUnavailable(f"the job's deadline passed before {self.errors.name} could be called")

    def _noted(self, error: BackendError) -> BackendError:
        """The error; it says so if the same request was sent before and may have been completed, and paid for, then."""
        if self._unsure:
            error.args = (f"{error} (sent {self.sends} times, and an earlier one may have been completed)",)
        self._unsure = self._unsure or isinstance(error, AmbiguousOutcome)
        return error

    async def _decide(self, wanted: bool, retries: int) -> None:  # noqa: FBT001 - private, and named at both its calls
        self.sent = False
        if not wanted or self.sends > retries or not self._in_time():
            return
        self.again = await self._budget.take()
        if not self.again:
            logger.warning("the fleet's retry budget for %s is used up: not sending again", self.errors.name)
            return
        logger.info("sending again (%d of %d): %s", self.sends, retries, self.error)
        if self.wait:
            # Many tasks were told the same time: they should not all come back at the same instant.
            self.wait *= random.uniform(1.0, 1.2)  # noqa: S311 - spreads load, guards nothing

    @property
    def patience(self) -> float:
        """Seconds that the call may wait before it is sent."""
        return min(self.options.patience, self.pace.left)

    def _in_time(self) -> bool:
        if self.wait is None:
            return True
        return self.wait <= min(LONGEST_WAIT, self.pace.left)
