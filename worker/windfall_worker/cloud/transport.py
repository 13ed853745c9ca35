"""The transport that retries: httpx-retries makes the loop and the back-off, `Trip` says whether to go round again.

httpx-retries decides by the status alone and never for a POST. Here the whole answer counts (its headers, and a body
that says the money is gone), the fleet's retry budget is asked, and the breaker is looked at before every resending.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import httpx
from httpx_retries import Retry, RetryTransport

from windfall_worker.cloud.answer_limits import AnswerLimits, bounded
from windfall_worker.cloud.connections import ConnectionsTransport
from windfall_worker.cloud.mapping import NEVER_SENT
from windfall_worker.cloud.trip import Trip

#: Bytes and seconds that an error's body may take; it is read only for its message.
_LARGEST_ERROR: Final = 64 * 1024
_SLOWEST_ERROR: Final = 5.0
#: What is sent again without a trip; `trip.RETRIED` has some statuses more.
STATUS_FORCELIST: Final = (429, 500, 502, 503, 504)


class TripRetry(Retry):
    """httpx-retries' policy: with a `trip` that of one call, without one of what a subclass sends by itself.

    Full jitter: each wait is random between 0 and backoff_factor * 2 ** retry seconds. A call asks its trip, which
    also reads `Retry-After` in all its forms. A timeout is never tried again: the request may have been completed.
    """

    def __init__(self, *args: Any, trip: Trip | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trip = trip

    @classmethod
    def of(cls, max_retries: int, backoff_factor: float) -> TripRetry:
        """The policy of a client."""
        return cls(
            total=max_retries,
            allowed_methods=[*Retry.RETRYABLE_METHODS, "POST"],
            status_forcelist=STATUS_FORCELIST,
            retry_on_exceptions=NEVER_SENT,
            backoff_factor=backoff_factor,
            backoff_jitter=1.0,
            max_backoff_wait=20.0,
            respect_retry_after_header=False,
        )

    def for_trip(self, trip: Trip) -> TripRetry:
        """The same policy for one call."""
        copy = self.copy_with()
        copy.trip = trip
        return copy

    def copy_with(self, *args: Any, **kwargs: Any) -> TripRetry:
        """A copy that is still about the same call."""
        copy = cast(TripRetry, super().copy_with(*args, **kwargs))
        copy.trip = self.trip
        return copy

    def is_retryable_status_code(self, status_code: int) -> bool:
        """Whether the answer that just came is worth another sending."""
        return self.trip.again if self.trip else super().is_retryable_status_code(status_code)

    def is_retryable_exception(self, exception: Exception) -> bool:
        """Whether the failure that just happened is worth another sending."""
        return self.trip.again if self.trip else super().is_retryable_exception(exception)

    def backoff_strategy(self) -> float:
        """Seconds to wait: what the endpoint asked for, else the jittered back-off."""
        if self.trip and self.trip.wait:
            return self.trip.wait
        return super().backoff_strategy()


class JudgedTransport(httpx.AsyncBaseTransport):
    """Sends, and tells the call's `Trip` how it went."""

    def __init__(self, inner: httpx.AsyncBaseTransport, limits: AnswerLimits) -> None:
        self._inner = inner
        self._limits = limits

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send once."""
        retry = cast(TripRetry, request.extensions["retry"])
        trip = retry.trip
        if trip is None:  # a request that a subclass sends by itself
            return bounded(await self._inner.handle_async_request(request), self._limits)
        ended = await trip.begin()
        if ended is not None:
            return ended
        try:
            response = bounded(await self._inner.handle_async_request(request), self._limits)
        except httpx.TransportError as exc:
            await trip.failed(exc, retries=retry.total)
            raise
        if response.status_code >= 400:
            response = await _read(response)
            await trip.refused(response, retries=retry.total)
        else:
            trip.answered(response)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


def retrying_transport(limits: AnswerLimits, proxy: httpx.Proxy | None, retry: TripRetry) -> RetryTransport:
    """A transport that retries, over connections to one origin."""
    return RetryTransport(JudgedTransport(ConnectionsTransport(proxy), limits), retry)


async def _read(response: httpx.Response) -> httpx.Response:
    """The response with its body read, as far as that is worth waiting for."""
    body = b""
    try:
        async with asyncio.timeout(_SLOWEST_ERROR):
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _LARGEST_ERROR:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass  # the status says enough
    finally:
        await response.aclose()
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _ABOUT_THE_BODY]
    return httpx.Response(response.status_code, headers=headers, content=body, extensions=response.extensions)


_ABOUT_THE_BODY: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
