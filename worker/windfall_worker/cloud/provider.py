"""What the queue's own clients have in common: a breaker and a cool-down for each model, and one kind of errors.

`CloudBackendClient` sends, retries and guards, and raises what httpx and pybreaker raise; here, above it and nowhere
else, that becomes `windfall.errors.BackendError`. `mapping.py` has the table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from windfall.errors import (
    AmbiguousOutcome,
    BackendError,
    BackendUnavailable,
    RateLimited,
    RequestRejected,
    UnsupportedParameter,
)
from windfall.request import CompletionRequest
from windfall.translation import left_out
from windfall_worker.cloud.answers import Progress, decoded, drain
from windfall_worker.cloud.client import CloudBackendClient, Endpoint
from windfall_worker.cloud.mapping import FOREIGN, request_id_of
from windfall_worker.cloud.openai_request import chat_fields
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.pace import OutOfTime
from windfall_worker.cloud.sse import DataLine, event_lines, is_stream, looks_like_events
from windfall_worker.cloud.trip import Trip
from windfall_worker.cloud.usage import usage_in
from windfall_worker.guards.cooldown import UNNAMED


class ProviderClient(CloudBackendClient):
    """Calls a provider whose protocol we know. Every failure is a `windfall.errors.BackendError`.

    Without a key (a server of one's own) none is sent.
    """

    @property
    def known_fields(self) -> frozenset[str]:
        """Which fields of `windfall.fields.PASSED_OVER` and `HINTS`, and whether `thinking`, it has a use for."""
        return frozenset()

    def ignored(self, request: CompletionRequest) -> tuple[str, ...]:
        """The fields of the request that the provider has no use for; leaving them out does not change its answer."""
        thinks = request.thinking or (request.anthropic and request.anthropic.thinking)
        return left_out(request, self.known_fields) + (
            ("thinking",) if thinks and "thinking" not in self.known_fields else ()
        )

    async def completion(
        self, request: CompletionRequest, model: str, *, stream: bool, options: CallOptions | None = None
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        """What a request asks for, of this provider's `model`; the answer is that of `chat_completion`.

        Several choices (`n`) come whole: with `stream` too. Raises `UnsupportedParameter` for what the protocol cannot
        say, and if the provider made fewer choices than it was asked for.
        """
        fields = chat_fields(request, self.known_fields)
        # What the request does not set is left to the endpoint, not to the client's default.
        fields.setdefault("temperature", None)
        messages, limit, wanted = fields.pop("messages"), fields.pop("max_tokens", None), request.n or 1
        stream = stream and wanted == 1
        answer = await self.chat_completion(messages, model, limit, stream=stream, options=options, **fields)
        if isinstance(answer, dict) and wanted > 1 and len(answer["choices"]) != wanted:
            made = len(answer["choices"])
            error = UnsupportedParameter(f"n is {wanted}, but {self._errors.name} answered with {made} choice(s)")
            error.usage = usage_in(answer)
            raise error
        return answer

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

    async def _answer(self, path: str, body: dict[str, Any], options: CallOptions | None) -> dict[str, Any]:
        """POST, and return the decoded answer. Raises `BackendError`."""
        target = self._endpoint_of(body)
        trip = self._trip(target, options)
        async with self._translated(target, trip):
            return decoded(await self._post_with_circuit_breaker(path, body, trip=trip), self._errors)

    async def _events(
        self, path: str, body: dict[str, Any], options: CallOptions | None = None
    ) -> AsyncGenerator[str, None]:
        """POST, and yield a line `data: ...` for each server-sent event. Raises `BackendError`."""
        target = self._endpoint_of(body)
        trip = self._trip(target, options)
        async with (
            self._translated(target, trip),
            aclosing(self._stream_with_circuit_breaker(path, body, trip=trip)) as lines,
        ):
            async for line in lines:
                yield line

    def _check_answer(self, answer: dict[str, Any]) -> None:
        """Raise `InvalidResponse` for a decoded answer that is no completion."""

    def _progress(self, line: str) -> Progress:  # noqa: ARG002 - for protocols that tell their end
        """How far a stream is with this line. Raises `BackendError` for a line that is an error."""
        return Progress.ENOUGH

    def _failure(self, line: str) -> BackendError | None:  # noqa: ARG002 - for protocols that tell it at the end
        """The error for a stream whose end, in this line, says that the endpoint gave up."""
        return None

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        """The completion of a whole answer. Raises `BackendError`, with the usage that the answer reports."""
        answer = decoded(response, self._errors)
        try:
            self._check_answer(answer)
        except BackendError as error:
            error.usage, error.request_id = usage_in(answer), request_id_of(response)
            raise
        return answer

    def _endpoint_of(self, json_data: dict[str, Any]) -> Endpoint:
        """One breaker for each model: one that is overloaded says nothing about the others."""
        return self.endpoint(json_data.get("model", ""))

    def _check_response(self, response: httpx.Response, trip: Trip) -> None:
        super()._check_response(response, trip)
        self._checked(response)

    async def _lines(self, response: httpx.Response, trip: Trip) -> AsyncGenerator[str, None]:
        """Events, not lines: httpx also ends a line at characters that JSON may hold as they are.

        A whole answer, from a server that does not stream, is one event.
        """
        if not is_stream(response):
            async with trip.pace.in_time():
                await response.aread()
            if not looks_like_events(response.text):
                yield DataLine.of(self._checked(response))
                return
        progress, failed = Progress.NOTHING, None
        async with aclosing(event_lines(response.aiter_bytes(), trip.pace)) as lines:
            async for line in lines:
                moved = self._progress(line)
                progress = max(progress, moved)
                if moved is not Progress.NOTHING:
                    trip.pace.moved()
                if moved is Progress.ENOUGH:
                    failed = failed or self._failure(line)
                yield line
                if progress is Progress.LAST:
                    await drain(lines)
        if failed:  # not before: the usage comes last
            raise failed
        if progress < Progress.ENOUGH:
            raise AmbiguousOutcome(
                f"the stream of {self._origin} ended before its end; it may have been paid for",
                request_id=request_id_of(response),
            )

    @asynccontextmanager
    async def _translated(self, target: Endpoint, trip: Trip) -> AsyncIterator[None]:
        """Waits for the call's turn; after that, whatever failed inside comes out as one of our errors."""
        if self._client.is_closed:
            raise BackendUnavailable(f"the client of {self._origin} is closed")
        if not target.breaker.is_open:  # otherwise there is nothing to wait for
            await trip.passage.enter(trip.patience)
        try:
            try:
                target.parking.check()  # it may have come to that while this call waited
                yield
            except FOREIGN as exc:
                raise trip.error_of(exc) from exc
            except OutOfTime as exc:
                raise trip.out_of_time() from exc
            finally:
                trip.passage.leave()
        except RateLimited as exc:
            if not trip.passage.was_refused:  # it came inside an answer
                await trip.passage.refused({}, exc.retry_after)
            if exc.retry_after is None:
                exc.retry_after = UNNAMED
            raise

    def _request(self, endpoint: str, json_data: dict[str, Any], trip: Trip) -> httpx.Request:
        try:
            return super()._request(endpoint, json_data, trip)
        except ValueError as exc:  # half of a surrogate pair, or a number that JSON does not know
            raise RequestRejected(f"the request cannot be sent as JSON ({type(exc).__name__})") from exc
