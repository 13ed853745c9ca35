"""A backend for capacity tests: it answers after a given latency and never pretends to be a model."""

from __future__ import annotations

import asyncio

from windfall.errors import BackendUnavailable
from windfall.request import CompletionRequest
from windfall.result import Completion, Delta, Usage
from windfall_worker.backends.base import Backend, Call


class SimulatedBackend(Backend):
    """Answers every request after `latency` seconds with a sentence that says it is simulated."""

    name = "simulated"

    def __init__(self, latency: float, *, slots: int = 32) -> None:
        self.latency = latency
        self.slots = slots
        self._closed = False

    async def start(self) -> None:
        """Do nothing: it is always ready."""

    async def complete(self, call: Call) -> Completion:
        """Sleep, then answer. A followed call gets its answer in two deltas, before and after the sleep."""
        if self._closed:
            raise BackendUnavailable("the simulated backend is closed")
        text = f"simulated answer after {self.latency:g} s"
        if call.on_delta:
            call.on_delta(Delta(content=text[:9]))
        if self.latency:
            await asyncio.sleep(self.latency)
        if call.on_delta:
            call.on_delta(Delta(content=text[9:]))
        usage = Usage(prompt_tokens=_words(call.request), completion_tokens=len(text.split()))
        return Completion(content=text, usage=usage, model="simulated", time_to_first_token=0.0)

    async def close(self) -> None:
        """Refuse all further calls."""
        self._closed = True


def _words(request: CompletionRequest) -> int:
    if request.anthropic is not None:
        return sum(len(str(message.content).split()) for message in request.anthropic.messages)
    return sum(len(message.text().split()) for message in request.messages)
