"""The base of every cloud protocol: one HTTP client with retries, the breaker, cool-downs and one kind of errors."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import httpx_sse
from pydantic import SecretStr
from redis.asyncio import Redis

from windfall.errors import AmbiguousOutcome, BackendUnavailable, ConfigError, RateLimited, RequestRejected
from windfall_worker.cloud.answer_limits import ACCEPT_ENCODING, DEFAULT_LIMITS, AnswerLimits
from windfall_worker.cloud.answers import OutOfTime, Progress, decoded, drain, sse_lines
from windfall_worker.cloud.mapping import ErrorMapper, request_id_of
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.proxy import proxy_for
from windfall_worker.cloud.transport import TripRetry, retrying_transport
from windfall_worker.cloud.trip import Trip
from windfall_worker.guards.breaker import Breaker, RedisLink
from windfall_worker.guards.cooldown import UNNAMED, Cooldown
from windfall_worker.guards.retry_budget import RetryBudget

#: Everything that httpx and httpx-sse raise; `mapping.py` says what becomes of each.
_FOREIGN: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    httpx.StreamError,
    httpx_sse.SSEError,
)

#: Seconds to connect, or to get a connection: waiting longer would only hide that nothing answers.
_CONNECT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one address, and what the fleet knows of it."""

    name: str
    breaker: Breaker
    cooldown: Cooldown


class CloudBackendClient(ABC):
    """Calls one cloud API.

    `timeout`: seconds without a byte from the endpoint (connecting has at most 10). `max_retries` and
    `backoff_factor` are the transport's: it sends again after a failure to connect, a connection closed before any
    answer, and 408, 409, 429, 500, 502, 503, 504 and 529, and never after a timeout. The breaker (one for each model at
    this address) opens for `circuit_breaker_reset_timeout` seconds after `circuit_breaker_fail_max` failed calls within
    `circuit_breaker_window` seconds. With `redis` the breaker, the cool-downs and the retry budget are the fleet's;
    without, they are this object's own. `limits` bound each answer's size and each call's time as a whole. The proxy is
    that of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY).

    The key is private: it is in no repr, log or error. Without a key (a server of one's own) none is sent.
    Every failure is a `windfall.errors.BackendError`; `mapping.py` has the table. Raises `ConfigError` for a `base_url`
    or key that no request can be made with.
    """

    @property
    def known_fields(self) -> frozenset[str]:
        """Which fields of `windfall.fields.PASSED_OVER`, and whether `thinking`, it has a use for."""
        return frozenset()

    def __init__(  # noqa: PLR0913 - the published signature; the breaker's window and the fleet's Redis
        self,
        base_url: str,
        api_key: str | SecretStr | None,
        max_retries: int = 3,
        backoff_factor: float = 0.5,
        timeout: float = 60.0,
        circuit_breaker_fail_max: int = 5,
        circuit_breaker_reset_timeout: float = 30,
        *,
        circuit_breaker_window: float = 30.0,
        redis: Redis | RedisLink | None = None,
        limits: AnswerLimits = DEFAULT_LIMITS,
    ) -> None:
        self.base_url = _checked_url(base_url)
        self._api_key = _checked_key(api_key)
        self._max_retries = max_retries
        self._backoff_factor = backoff_factor
        self._limits = limits
        self._link = RedisLink(redis) if isinstance(redis, Redis) else redis
        self._new_breaker = partial(
            Breaker,
            redis=self._link,
            fail_max=circuit_breaker_fail_max,
            window=circuit_breaker_window,
            reset_timeout=circuit_breaker_reset_timeout,
        )
        url = urlsplit(self.base_url)
        self._origin = f"{url.scheme}://{url.netloc}"
        self._errors = ErrorMapper(self._origin, self._api_key)
        self._budget = RetryBudget(self._origin, self._link)
        self._endpoints: dict[str, Endpoint] = {}
        self._http = httpx.AsyncClient(
            transport=retrying_transport(limits, proxy_for(self.base_url)),
            headers={"user-agent": "windfall", "accept-encoding": ACCEPT_ENCODING},
            timeout=httpx.Timeout(timeout, connect=min(_CONNECT, timeout), pool=min(_CONNECT, timeout)),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    def _build_headers(self) -> dict[str, str]:
        """The headers of every request, with the key in them. Never keep what this returns."""

    @abstractmethod
    async def chat_completion(
        self,
        messages: Sequence[dict[str, Any]],
        model: str,
        max_tokens: int | None = None,
        temperature: float | None = 1.0,
        stream: bool = False,  # noqa: FBT001, FBT002 - the published signature
        *,
        options: CallOptions | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        """One completion of OpenAI-shaped `messages`: a `chat.completion` dict, or with `stream` its chunks.

        `kwargs` are further fields of OpenAI's body; one that the protocol cannot honour raises
        `UnsupportedParameter`, and None means not given. A None `max_tokens` or `temperature` is left to the endpoint.
        """

    @property
    def is_circuit_open(self) -> bool:
        """Whether a call would be refused now, as far as this process last heard; with several models, for any."""
        return any(endpoint.breaker.is_open for endpoint in self._endpoints.values())

    def endpoint(self, model: str) -> Endpoint:
        """What is known of one model at this address: its breaker and its cool-down."""
        known = self._endpoints.get(model)
        if known is None:
            name = f"{self._origin}/{model}" if model else self._origin
            known = self._endpoints[model] = Endpoint(name, self._new_breaker(name), Cooldown(name, self._link))
        return known

    async def close(self) -> None:
        """Close every connection; calls still under way end. May be called twice."""
        await self._http.aclose()

    async def _post_with_circuit_breaker(
        self, endpoint: str, json_data: dict[str, Any], *, options: CallOptions | None = None
    ) -> dict[str, Any]:
        """POST, and return the decoded answer. Raises `BackendError`."""
        target = self.endpoint(json_data.get("model", ""))
        trip = self._trip(target, options)
        try:
            async with asyncio.timeout_at(trip.deadline), self._passage(target, trip), trip.in_time():
                response = await self._http.send(self._request(endpoint, json_data, trip))
                self._check_status(response, trip)
                answer = decoded(response, self._errors)
                self._check_answer(answer)
                return answer
        except TimeoutError as exc:
            raise trip.out_of_time() from exc

    async def _stream_with_circuit_breaker(
        self, endpoint: str, json_data: dict[str, Any], *, options: CallOptions | None = None
    ) -> AsyncGenerator[str, None]:
        """POST, and yield a line `data: …` for each server-sent event. Raises `BackendError`.

        The whole stream is one guarded call: it succeeds only when its end was seen. One that is closed before
        (`aclose`) counts as nothing, and closes the connection.
        """
        target = self.endpoint(json_data.get("model", ""))
        trip = self._trip(target, options)
        try:
            async with self._passage(target, trip):
                response = await self._opened(endpoint, json_data, trip)
                try:
                    self._check_status(response, trip)
                    progress = Progress.MORE
                    async with aclosing(sse_lines(response, self._errors, partial(_in_time, trip))) as lines:
                        async for line in lines:
                            progress = max(progress, self._progress(line))
                            yield line
                            if progress is Progress.LAST:
                                await drain(lines)
                    if progress is Progress.MORE:
                        raise AmbiguousOutcome(
                            f"the stream of {self._origin} ended before its end; it may have been paid for",
                            request_id=request_id_of(response),
                        )
                finally:
                    await response.aclose()
        except OutOfTime as exc:
            raise trip.out_of_time() from exc

    def _check_answer(self, answer: dict[str, Any]) -> None:  # noqa: B027 - most of a new protocol works without
        """Raise `InvalidResponse` for a decoded answer that is not a completion."""

    def _progress(self, line: str) -> Progress:  # noqa: ARG002 - for protocols that tell their end
        """How far a stream is with this line. Raises `BackendError` for a line that is an error."""
        return Progress.ENOUGH

    async def _opened(self, endpoint: str, json_data: dict[str, Any], trip: Trip) -> httpx.Response:
        async with _in_time(trip):
            return await self._http.send(self._request(endpoint, json_data, trip), stream=True)

    @asynccontextmanager
    async def _passage(self, target: Endpoint, trip: Trip) -> AsyncIterator[None]:
        """Cool-down and breaker; whatever fails inside comes out as one of our errors."""
        if self._http.is_closed:
            raise BackendUnavailable(f"the client of {self._origin} is closed")
        left = await target.cooldown.left()
        if left:
            raise RateLimited(f"{target.name} asked to be left alone for {left:.1f} s more", retry_after=left)
        self._budget.count_call()
        try:
            async with target.breaker.guard():
                try:
                    yield
                except _FOREIGN as exc:
                    raise trip.error_of(exc) from exc
        except RateLimited as exc:
            if exc.retry_after is None:
                exc.retry_after = UNNAMED
            await target.cooldown.start(exc.retry_after)
            raise

    def _trip(self, target: Endpoint, options: CallOptions | None) -> Trip:
        async def may_resend() -> bool:
            # A resending is a call like any other: none while the breaker is not closed, none in a cool-down.
            if self._http.is_closed or await target.cooldown.left():
                return False
            return (await target.breaker.status()).state == "closed"

        return Trip(options or CallOptions(), self._errors, self._budget, may_resend, self._limits)

    def _request(self, endpoint: str, json_data: dict[str, Any], trip: Trip) -> httpx.Request:
        retry = TripRetry.for_trip(trip, max_retries=self._max_retries, backoff_factor=self._backoff_factor)
        try:
            request = self._http.build_request(
                "POST",
                f"{self.base_url}/{endpoint.lstrip('/')}",
                json=json_data,
                extensions={"retry": retry, "trace": trip.trace},
            )
        except ValueError as exc:  # half of a surrogate pair, or a number that JSON does not know
            raise RequestRejected(f"the request cannot be sent as JSON ({type(exc).__name__})") from exc
        request.headers["idempotency-key"] = trip.options.idempotency_key
        request.headers.update(self._build_headers())
        return request

    def _check_status(self, response: httpx.Response, trip: Trip) -> None:
        request_id = request_id_of(response)
        if request_id and trip.options.on_request_id:
            trip.options.on_request_id(request_id)
        if not response.is_success:
            raise trip.error or self._errors.from_response(response)


@asynccontextmanager
async def _in_time(trip: Trip) -> AsyncIterator[None]:
    """Around one wait inside a stream. Raises `OutOfTime` at the job's deadline, `BackendError` at the call's end."""
    try:
        async with asyncio.timeout_at(trip.deadline) as limit, trip.in_time():
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise OutOfTime from exc


def _checked_url(base_url: str) -> str:
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"base_url must be an http or https address, not {base_url!r}")
    if url.username or url.password:
        raise ConfigError(f"base_url for {url.hostname} must not hold a password; give it as the key")
    return base_url.rstrip("/")


def _checked_key(api_key: str | SecretStr | None) -> SecretStr:
    secret = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key or ""
    secret = secret.strip()  # keys are pasted, and read from files, with a newline at their end
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError("the key holds a character that no key has: a blank, a control character or a non-ASCII one")
    return SecretStr(secret)
