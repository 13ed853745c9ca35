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
from windfall_worker.cloud.trip import Trip

#: Bytes and seconds that an error's body may take; it is read only for its message.
_LARGEST_ERROR: Final = 64 * 1024
_SLOWEST_ERROR: Final = 5.0


class TripRetry(Retry):
    """httpx-retries' policy for one call: it asks the call's `Trip`."""

    def __init__(self, *args: Any, trip: Trip | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trip = trip

    @classmethod
    def for_trip(cls, trip: Trip, *, max_retries: int, backoff_factor: float) -> TripRetry:
        """The policy of a call. Full jitter: each wait is random between 0 and backoff_factor * 2 ** retry seconds."""
        return cls(
            total=max_retries,
            allowed_methods=["POST"],
            backoff_factor=backoff_factor,
            backoff_jitter=1.0,
            max_backoff_wait=20.0,
            respect_retry_after_header=False,  # Trip reads it, in all its forms
            trip=trip,
        )

    def copy_with(self, *args: Any, **kwargs: Any) -> TripRetry:
        """A copy that is still about the same call."""
        copy = cast(TripRetry, super().copy_with(*args, **kwargs))
        copy.trip = self.trip
        return copy

    def is_retryable_status_code(self, status_code: int) -> bool:  # noqa: ARG002 - the trip has read all of the answer
        """Whether the answer that just came is worth another sending."""
        return self.trip is not None and self.trip.again

    def is_retryable_exception(self, exception: Exception) -> bool:  # noqa: ARG002 - the trip has seen it
        """Whether the failure that just happened is worth another sending."""
        return self.trip is not None and self.trip.again

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
        trip = cast(Trip, retry.trip)
        await trip.begin()
        try:
            response = bounded(await self._inner.handle_async_request(request), self._limits)
        except httpx.TransportError as exc:
            await trip.failed(exc, retries=retry.total)
            raise
        if response.status_code >= 400:
            response = await _read(response)
            await trip.refused(response, retries=retry.total)
        else:
            trip.answered()
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


def retrying_transport(limits: AnswerLimits, proxy: httpx.Proxy | None) -> RetryTransport:
    """A transport that retries, over connections to one origin."""
    return RetryTransport(JudgedTransport(ConnectionsTransport(proxy), limits))


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
