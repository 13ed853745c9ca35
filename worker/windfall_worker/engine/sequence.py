"""The state of one completion in the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from windfall.result import Completion, TokenLogprob, Usage
from windfall_worker.engine.sampling import Processor, Sampling
from windfall_worker.engine.text import TextStream


@dataclass(slots=True)
class Sequence:
    """What the engine knows about one call. `arrived` and the other times are seconds of `time.perf_counter`."""

    id: int
    prompt: list[int]
    max_tokens: int
    sampling: Sampling
    processors: tuple[Processor, ...]
    text: TextStream
    follow: bool = False
    top_logprobs: int | None = None  #: None: no log-probabilities
    arrived: float = 0.0

    uid: int | None = None  #: mlx-lm's id for it, once it runs
    cache: list[Any] | None = None  #: the cached prefix to start from, until it runs
    cached: int = 0  #: prompt tokens taken from a cached prefix
    share: int = 0  #: how many leading tokens are kept for others, once they are computed
    generated: int = 0
    reasoned: int = 0
    first_token: float = 0.0
    last_token: float = 0.0
    last_delta: float = 0.0
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def count(self, now: float) -> None:
        """Count a generated token."""
        if not self.generated:
            self.first_token = now
        self.last_token = now
        self.generated += 1

    def completion(self, model: str, reason: Literal["stop", "length"]) -> Completion:
        """The completion that answers the call; the text must be finished."""
        content, calls = self.text.content, tuple(self.text.tool_calls)
        decoding = self.last_token - self.first_token
        return Completion(
            content=None if calls and not content else content,
            reasoning=self.text.reasoning or None,
            tool_calls=calls,
            finish_reason="tool_calls" if calls and reason == "stop" else reason,
            logprobs=None if self.top_logprobs is None else tuple(self.logprobs),
            usage=Usage(
                prompt_tokens=len(self.prompt),
                completion_tokens=self.generated,
                cached_tokens=self.cached,
                reasoning_tokens=self.reasoned,
            ),
            model=model,
            time_to_first_token=self.first_token - self.arrived,
            tokens_per_second=(self.generated - 1) / decoding if decoding > 0 else None,
        )
