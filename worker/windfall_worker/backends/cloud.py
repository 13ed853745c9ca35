"""A cloud API as a backend: one model of one provider."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from typing import Any, Final

from windfall.errors import BackendError, BackendUnavailable, RequestRejected
from windfall.request import CompletionRequest
from windfall.result import Completion, Delta
from windfall_worker.backends.base import Backend, Call
from windfall_worker.cloud import estimate
from windfall_worker.cloud.choices import all_choices_of
from windfall_worker.cloud.client import Endpoint
from windfall_worker.cloud.completion import ChunkCollector
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient
from windfall_worker.guards.limits import Need

#: Seconds that a call waits for its turn: limits are per minute, so it comes within one.
PATIENCE: Final = 75.0

logger = logging.getLogger(__name__)

#: What a refusal says that concerns the stream, and not what was asked for.
_STREAM: Final = re.compile(r"\bstream(ing|_options)?\b", re.IGNORECASE)


class CloudBackend(Backend):
    """Completes requests with `model` at `client`'s provider.

    `name` is the provider's name in the ledger. Several backends of one provider may share the client; the last of them
    to be closed should be the one with `owns_client`. Cancelling a call closes its connection. With `stream`, answers
    are asked for as streams, in which silence is noticed sooner, unless the provider refuses to stream the model.
    `patience` is how many seconds a call waits for its turn when the endpoint's rate limit is reached.
    """

    def __init__(
        self,
        client: ProviderClient,
        model: str,
        *,
        name: str,
        slots: int = 64,
        stream: bool = True,
        owns_client: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self.client = client
        self.model = self.model_name = model
        self.name = name
        self.slots = slots
        self._streams = stream
        self._owns_client = owns_client
        self._patience = patience
        self._calls: set[asyncio.Task[Completion]] = set()
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        """The breaker and the cool-down that decide whether a call may go."""
        return self.client.endpoint(self.model)

    @property
    def available(self) -> bool:
        """Not while the breaker is open, or the endpoint is cooling down or parked, as far as this process knows."""
        endpoint = self.endpoint
        return not (endpoint.breaker.is_open or endpoint.cooldown.active or endpoint.parking.active)

    @property
    def waits(self) -> str | None:
        """Why the endpoint is parked."""
        parking = self.endpoint.parking
        return parking.in_words if parking.reason else None

    async def refresh(self) -> None:
        """Ask whether the breaker was closed, or the cool-down or the parking ended, by another worker or by hand."""
        await self.endpoint.breaker.status()
        await self.endpoint.cooldown.left()
        await self.endpoint.parking.look()

    @property
    def worth_holding(self) -> int | None:
        """Those in progress, and as many as a rate limit lets go soon; of a parked endpoint one, to try it."""
        if self.endpoint.parking.reason is not None:
            return 1
        limiter = self.endpoint.limiter
        allowed = limiter.allowed_to_wait
        return None if allowed is None else len(self._calls) - limiter.waiting + allowed

    def ignored(self, request: CompletionRequest) -> tuple[str, ...]:
        """The fields that this provider does not know."""
        return self.client.ignored(request)

    async def start(self) -> None:
        """Find out whether the endpoint is parked; connections are opened when they are needed."""
        await self.endpoint.parking.arrive()

    async def complete(self, call: Call) -> Completion:
        """Complete one request. Raises `BackendError`, with the usage that was reported before it failed."""
        if self._closed:
            raise BackendUnavailable(f"the backend {self.name} is closed")
        task = asyncio.create_task(self._complete(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            return await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if self._closed and not (me and me.cancelling()):
                raise BackendUnavailable(
                    f"the backend {self.name} was closed during the call, which may have been completed"
                ) from None
            raise

    async def close(self) -> None:
        """End the calls in progress and close the connections. May be called twice."""
        self._closed = True
        calls = list(self._calls)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if self._owns_client:
            await self.client.close()

    async def _complete(self, call: Call) -> Completion:
        """One call, unless the endpoint is parked; whatever parks it is not the job's fault."""
        parking = self.endpoint.parking
        await parking.admit()
        try:
            completion = await self._call(call)
        except BackendError as exc:
            if parked := await parking.note(exc):
                parked.usage = exc.usage
                raise parked from exc
            if isinstance(exc, RequestRejected):
                await parking.worked()
            raise
        await parking.worked()
        return completion

    async def _call(self, call: Call) -> Completion:
        if not self._streams:
            return await self._ask(call, stream=False)
        try:
            return await self._ask(call, stream=True)
        except RequestRejected as error:
            if not _is_about_streaming(error):
                raise
        # Refused before anything was made. OpenAI streams some models only to organisations that it has verified.
        made = await self._ask(call, stream=False)
        self._streams = False
        logger.info("%s does not stream %s: from now on, whole answers are asked for", self.name, self.model)
        return made

    async def _ask(self, call: Call, *, stream: bool) -> Completion:
        request_ids: list[str] = []
        need = self._need(call.request.body())
        options = CallOptions(
            idempotency_key=call.idempotency_key,
            timeout=call.timeout,
            resend_unsure=call.request.on_ambiguous == "retry",
            allowance=call.allowance,
            on_request_id=request_ids.append,
            need=need,
            patience=self._patience,
        )
        collector = ChunkCollector()
        try:
            answer = await self.client.completion(call.request, self.model, stream=stream, options=options)
            if isinstance(answer, dict):
                return self._counted(need, _told(call, all_choices_of(answer, request_id=_last(request_ids))))
            async with aclosing(answer):
                async for chunk in answer:
                    delta = collector.add(chunk)
                    if delta and call.on_delta:
                        call.on_delta(delta)
            return self._counted(need, collector.completion(request_id=_last(request_ids)))
        except BackendError as error:
            error.usage = error.usage or collector.usage
            error.request_id = error.request_id or _last(request_ids)
            raise

    def _need(self, body: dict[str, Any]) -> Need:
        """What a request will take of the rate limits."""
        usual = self.endpoint.limiter.usual_output
        return Need(estimate.input_tokens(body), estimate.output_tokens(body, usual))

    def _counted(self, need: Need, completion: Completion) -> Completion:
        usage = completion.usage
        self.endpoint.limiter.used(need, usage.prompt_tokens, usage.completion_tokens)
        return completion


def _told(call: Call, made: Completion) -> Completion:
    """A completion that came whole, after its follower was told of it."""
    if call.on_delta and (made.content or made.reasoning):
        call.on_delta(Delta(content=made.content or "", reasoning=made.reasoning or ""))
    return made


def _is_about_streaming(error: RequestRejected) -> bool:
    if error.param:
        return error.param.startswith("stream")
    _, _, words = str(error).partition(" answered ")
    return _STREAM.search(words) is not None


def _last(ids: list[str]) -> str | None:
    return ids[-1] if ids else None
