"""Turns a submitted request into a sequence, on a thread of its own: the engine never waits for a tokenizer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from windfall.errors import ContextLengthExceeded, RequestRejected
from windfall.request import CompletionRequest
from windfall_worker.engine.chat import check_supported, render, shown_tools, spoken
from windfall_worker.engine.protocol import Submit
from windfall_worker.engine.sampling import Sampling, logits_processors
from windfall_worker.engine.sequence import Sequence
from windfall_worker.engine.text import TextRules

#: Characters. A text whose average token is longer than this is tokenised in full.
_LONG_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a sequence can be, in tokens. `room`: tokens of keys and values in memory, over all sequences."""

    context_length: int
    vocab_size: int
    room: int
    default_max_tokens: int


class Intake:
    """Checks, renders and tokenises requests for one model."""

    def __init__(self, tokenizer: Any, limits: Limits) -> None:
        self._tokenizer = tokenizer
        self._limits = limits
        self._rules = TextRules(tokenizer)

    def prepare(self, submit: Submit) -> Sequence:
        """The sequence for this call. Raises `RequestRejected` before any generation starts."""
        arrived, request = time.perf_counter(), spoken(submit.request)
        check_supported(request, tools_known=self._tokenizer.has_tool_calling)
        text = render(self._tokenizer, request)
        self._check_length(text)
        prompt = self._encode(text)
        return Sequence(
            id=submit.id,
            prompt=prompt,
            max_tokens=self._max_tokens(len(prompt), request),
            sampling=Sampling.of(request, self._limits.vocab_size),
            processors=logits_processors(request, len(prompt), self._limits.vocab_size),
            text=self._rules.stream(
                request.stop_words,
                reasoning=self._opens_reasoning(text),
                tools=shown_tools(request),
            ),
            follow=submit.follow,
            top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
            arrived=arrived,
        )

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _check_length(self, text: str) -> None:
        """Refuse a far too long text by its beginning: tokenising all of it would delay every other request."""
        context = self._limits.context_length
        beginning = text[: context * _LONG_TOKEN]
        if len(beginning) < len(text) and (tokens := len(self._encode(beginning))) > context:
            raise ContextLengthExceeded(
                f"the prompt has more than {tokens} tokens, but the model's context is {context} tokens; "
                "shorten the messages",
            )

    def _opens_reasoning(self, text: str) -> bool:
        """Whether the template itself opened the model's reasoning.

        Only the very end counts: mlx-lm's server looks for the last marker anywhere, so a user who writes one would
        turn the whole answer into reasoning.
        """
        return bool(self._tokenizer.has_thinking and text.rstrip().endswith(self._tokenizer.think_start))

    def _max_tokens(self, prompt: int, request: CompletionRequest) -> int:
        context, wanted = self._limits.context_length, request.token_limit
        if prompt == 0:
            raise RequestRejected("the prompt is empty: the model's chat template produces nothing for these messages")
        if prompt >= context:
            raise ContextLengthExceeded(
                f"the prompt has {prompt} tokens and the model's context is {context} tokens, "
                "which leaves none for the completion; shorten the messages",
            )
        if wanted is not None and prompt + wanted > context:
            raise ContextLengthExceeded(
                f"the prompt has {prompt} tokens and max_tokens asks for {wanted} more, together {prompt + wanted}, "
                f"but the model's context is {context} tokens; shorten the messages or lower max_tokens",
            )
        room = self._limits.room
        if prompt + (wanted or 1) > room:
            raise RequestRejected(
                f"the prompt has {prompt} tokens and the completion up to {wanted or 1}, but this engine's memory for "
                f"keys and values holds {room} tokens; shorten the messages, lower max_tokens, or use a smaller model",
            )
        return wanted or min(self._limits.default_max_tokens, context - prompt, room - prompt)
