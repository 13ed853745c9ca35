"""A cloud API as a backend: one model of one provider."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from windfall.errors import BackendUnavailable
from windfall.request import CompletionRequest
from windfall.result import Completion
from windfall_worker.backends.base import Backend, Call
from windfall_worker.cloud.choices import all_choices_of
from windfall_worker.cloud.client import Endpoint
from windfall_worker.cloud.completion import ChunkCollector
from windfall_worker.cloud.options import CallOptions
from windfall_worker.cloud.provider import ProviderClient


class CloudBackend(Backend):
    """Completes requests with `model` at `client`'s provider.

    `name` is the provider's name in the ledger. Several backends of one provider may share the client; the last of them
    to be closed should be the one with `owns_client`. Cancelling a call closes its connection.
    """

    def __init__(
        self, client: ProviderClient, model: str, *, name: str, slots: int = 64, owns_client: bool = True
    ) -> None:
        self.client = client
        self.model = self.model_name = model
        self.name = name
        self.slots = slots
        self._owns_client = owns_client
        self._calls: set[asyncio.Task[Completion]] = set()
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        """The breaker and the cool-down that decide whether a call may go."""
        return self.client.endpoint(self.model)

    @property
    def available(self) -> bool:
        """Not while the breaker is open or the endpoint is cooling down, as far as this process knows."""
        return not (self.endpoint.breaker.is_open or self.endpoint.cooldown.active)

    def ignored(self, request: CompletionRequest) -> tuple[str, ...]:
        """The fields that this provider does not know."""
        return self.client.ignored(request)

    async def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    async def complete(self, call: Call) -> Completion:
        """Complete one request, as a stream if it has a follower. Raises `BackendError`."""
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
        request_ids: list[str] = []
        options = CallOptions(
            idempotency_key=call.idempotency_key,
            timeout=call.timeout,
            resend_unsure=call.request.on_ambiguous == "retry",
            on_request_id=request_ids.append,
        )
        stream = call.on_delta is not None
        answer = await self.client.completion(call.request, self.model, stream=stream, options=options)
        if isinstance(answer, dict):
            return all_choices_of(answer, request_id=_last(request_ids))
        collector = ChunkCollector()
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                delta = collector.add(chunk)
                if delta and call.on_delta:
                    call.on_delta(delta)
        return collector.completion(request_id=_last(request_ids))


def _last(ids: list[str]) -> str | None:
    return ids[-1] if ids else None
