"""The base of every cloud client: one HTTP client with retries and a circuit breaker, and httpx's own errors.

`provider.py` builds on it what the queue's own clients need besides: a breaker for each model, cool-downs, our errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, Self
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr
from redis.asyncio import Redis

from windfall.errors import ConfigError
from windfall_worker.cloud.answer_limits import ACCEPT_ENCODING, DEFAULT_LIMITS, AnswerLimits
from windfall_worker.cloud.key import checked_key, private_headers
from windfall_worker.cloud.mapping import FOREIGN, ErrorMapper
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.pace import Pace
from windfall_worker.cloud.passage import Passage
from windfall_worker.cloud.proxy import proxy_for
from windfall_worker.cloud.transport import TripRetry, retrying_transport
from windfall_worker.cloud.trip import Trip
from windfall_worker.guards.breaker import Breaker, FailureRate, RedisLink
from windfall_worker.guards.cooldown import Cooldown
from windfall_worker.guards.limits import Rates
from windfall_worker.guards.parking import Parking
from windfall_worker.guards.rate_limit import RateLimiter, key_digest
from windfall_worker.guards.retry_budget import RetryBudget

#: Seconds to connect.
_CONNECT: Final = 10.0
_OURS: Final = {b"user-agent": b"windfall", b"accept-encoding": ACCEPT_ENCODING.encode()}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one address, and what the fleet knows of it."""

    name: str
    breaker: Breaker
    cooldown: Cooldown
    limiter: RateLimiter
    parking: Parking


class CloudBackendClient(ABC):
    """Calls one cloud API. A subclass says which headers go out (`_build_headers`) and how a completion is asked for.

    `timeout`: seconds without a byte from the endpoint, and without a word from its stream; connecting has 10.
    `max_retries` and `backoff_factor` are the transport's: it sends again after a failure to connect, a connection
    closed before any answer, and 408, 409, 429, 500, 502, 503, 504 and 529, and never after a timeout. The breaker
    opens for `circuit_breaker_reset_timeout` seconds after `circuit_breaker_fail_max` failed calls in a row, or at a
    failure rate of `circuit_breaker_rate`; a refusal of the request itself (400, 401, 404, 429, ...) is not a failure.
    With `redis` the breaker and the retry budget are the
    fleet's; without, they are this object's own. `limits` bound each answer's size and each call's time as a whole. The
    proxy is that of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY).

    `self._api_key` is a `str`, empty without a key. It is private: it is in no repr, log, error or pickle, and neither
    are the headers that `_build_headers` made with it. Raises `ConfigError` for a `base_url` or key that no request can
    be made with.
    """

    def __init__(  # noqa: PLR0913 - the published signature; the failure rate and the fleet's Redis
        self,
        base_url: str,
        api_key: str | SecretStr | None,
        max_retries: int = 3,
        backoff_factor: float = 0.5,
        timeout: float = 60.0,
        circuit_breaker_fail_max: int = 5,
        circuit_breaker_reset_timeout: float = 30,
        *,
        circuit_breaker_rate: FailureRate = FailureRate(),  # noqa: B008 - it is frozen
        redis: Redis | RedisLink | None = None,
        limits: AnswerLimits = DEFAULT_LIMITS,
        rates: Rates = Rates(),  # noqa: B008 - it is frozen
    ) -> None:
        self.base_url = _checked_url(base_url)
        self._api_key: str = checked_key(api_key)
        self._limits = limits
        self._timeout = timeout
        self._rates = rates
        self._link = RedisLink(redis) if isinstance(redis, Redis) else redis
        self._new_breaker = partial(
            Breaker,
            redis=self._link,
            fail_max=circuit_breaker_fail_max,
            rate=circuit_breaker_rate,
            reset_timeout=circuit_breaker_reset_timeout,
        )
        url = urlsplit(self.base_url)
        self._origin = f"{url.scheme}://{url.netloc}"
        self._errors = ErrorMapper(self._origin, SecretStr(self._api_key))
        self._budget = RetryBudget(self._origin, self._link)
        self._endpoints: dict[str, Endpoint] = {}
        self._circuit_breaker = self.endpoint("").breaker.machine
        self._retry = TripRetry.of(max_retries, backoff_factor)
        self._client = httpx.AsyncClient(
            transport=retrying_transport(limits, proxy_for(self.base_url), self._retry),
            headers=_OURS | private_headers(self._build_headers(), self._api_key),
            timeout=httpx.Timeout(timeout, connect=_CONNECT),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a client holds a key and connections: it cannot be pickled or copied")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    def _build_headers(self) -> dict[str, str]:
        """The headers of every request, with the key in them. Called once, when the client is made."""

    @abstractmethod
    async def chat_completion(
        self,
        messages: list[dict[str, Any]],
        model: str,
        max_tokens: int,
        temperature: float = 1.0,
        stream: bool = False,  # noqa: FBT001, FBT002 - the published signature
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncGenerator[Any, None]:
        """One completion: the decoded answer, or with `stream` what comes of it, piece by piece."""

    @property
    def is_circuit_open(self) -> bool:
        """Whether a call would be refused now, as far as this process last heard; with several models, for any."""
        return any(endpoint.breaker.is_open for endpoint in self._endpoints.values())

    def endpoint(self, model: str) -> Endpoint:
        """What is known of one model at this address, or (with no name) of the address."""
        known = self._endpoints.get(model)
        if known is None:
            name = f"{self._origin}/{model}" if model else self._origin
            digest = key_digest(self._api_key)
            cooldown = Cooldown(name, self._link)
            limiter = RateLimiter(name, self._link, cooldown, digest=digest, rates=self._rates)
            known = Endpoint(name, self._new_breaker(name), cooldown, limiter, Parking(name, self._link, digest))
            self._endpoints[model] = known
        return known

    async def close(self) -> None:
        """Close every connection; calls still under way end. May be called twice."""
        await self._client.aclose()

    async def _post_with_circuit_breaker(
        self, endpoint: str, json_data: dict[str, Any], *, trip: Trip | None = None
    ) -> httpx.Response:
        """POST to `endpoint` (a path below `base_url`).

        Raises `pybreaker.CircuitBreakerError` when the breaker is open, and sends nothing then; `httpx.HTTPStatusError`
        for an answer whose status is an error; what httpx raises where there is no answer.
        """
        target = self._endpoint_of(json_data)
        trip = trip or self._trip(target)
        request = self._request(endpoint, json_data, trip)
        async with self._guarded(target, trip), trip.pace.in_time():
            response = await self._client.send(request)
            self._check_response(response, trip)
            return response

    async def _stream_with_circuit_breaker(
        self, endpoint: str, json_data: dict[str, Any], *, trip: Trip | None = None
    ) -> AsyncGenerator[str, None]:
        """POST, and yield each line of the answer, blank ones too. Raises like `_post_with_circuit_breaker`.

        The whole stream is one guarded call: it succeeds when its last line was read. One that is left before
        (`aclose`) counts as nothing, and closes the connection.
        """
        target = self._endpoint_of(json_data)
        trip = trip or self._trip(target)
        request = self._request(endpoint, json_data, trip)
        async with self._guarded(target, trip):
            async with trip.pace.in_time():
                response = await self._client.send(request, stream=True)
            try:
                self._check_status(response, trip)
                async with aclosing(self._lines(response, trip)) as lines:
                    async for line in lines:
                        yield line
            finally:
                await response.aclose()

    def _endpoint_of(self, json_data: dict[str, Any]) -> Endpoint:  # noqa: ARG002 - for clients that know models apart
        """Whose breaker a call passes: the one of the whole address."""
        return self.endpoint("")

    def _check_response(self, response: httpx.Response, trip: Trip) -> None:
        """Raise for an answer that is a failure, whatever it looks like."""
        self._check_status(response, trip)

    async def _lines(self, response: httpx.Response, trip: Trip) -> AsyncGenerator[str, None]:
        """The lines of a stream; each is waited for as long as the call may take."""
        lines = response.aiter_lines()
        while True:
            try:
                async with trip.pace.in_time():
                    line = await anext(lines)
            except StopAsyncIteration:
                return
            yield line

    def _check_status(self, response: httpx.Response, trip: Trip) -> None:
        trip.note_request_id(response)
        if not response.is_success:
            response.raise_for_status()

    @asynccontextmanager
    async def _guarded(self, target: Endpoint, trip: Trip) -> AsyncIterator[None]:
        self._budget.count_call()
        try:
            async with target.breaker.guard(trip.reading):
                yield
        except FOREIGN as exc:
            self._errors.scrub_causes(exc)
            raise

    def _trip(self, target: Endpoint, options: CallOptions | None = None) -> Trip:
        async def may_resend() -> bool:
            # A resending is a call like any other: none while the breaker is not closed, none in a cool-down.
            if self._client.is_closed:
                return False
            return (await target.breaker.status()).state == "closed" and await trip.passage.enter_again()

        options = options or CallOptions()
        passage = Passage(target.limiter, options.need)
        pace = Pace(options, self._limits, self._timeout)
        trip = Trip(options, self._errors, self._budget, may_resend, pace, passage)
        return trip

    def _request(self, endpoint: str, json_data: dict[str, Any], trip: Trip) -> httpx.Request:
        base = httpx.URL(self.base_url)
        return self._client.build_request(
            "POST",
            base.copy_with(path=f"{base.path.rstrip('/')}/{endpoint.lstrip('/')}"),
            json=json_data,
            headers={"idempotency-key": trip.options.idempotency_key},
            timeout=httpx.Timeout(self._timeout * trip.options.allowance, connect=_CONNECT),
            extensions={"retry": self._retry.for_trip(trip), "trace": trip.trace},
        )


def _checked_url(base_url: str) -> str:
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"base_url must be an http or https address, not {base_url!r}")
    if url.username or url.password:
        raise ConfigError(f"base_url for {url.hostname} must not hold a password; give it as the key")
    return base_url
