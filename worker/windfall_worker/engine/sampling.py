"""Turns logits into tokens for the whole batch at once, each row with its own settings and its own seed.

mlx-lm samples a batch in one call only if all rows share one sampler object, and its server drains the batch for every
seed. Here one `BatchSampler` is the sampler of every row: it is told which rows a call is about, samples rows with
equal settings together, and gives each seeded row a key of its own, so that a seed means the same in every batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
from mlx_lm.generate import GenerationBatch, PromptProcessingBatch
from mlx_lm.sample_utils import (
    apply_min_p,
    apply_top_k,
    apply_top_p,
    make_logits_processors,
    make_sampler,
)

from windfall.errors import MalformedRequest
from windfall.request import CompletionRequest

#: Below this temperature, 1 / temperature would overflow; the limit is the argmax.
_GREEDY_BELOW: Final = 1e-6
_WHOLE_COMPLETION: Final = 1 << 30
_MASK: Final = (1 << 64) - 1

Processor = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one row is sampled. Zero turns `top_p`, `top_k` and `min_p` off, as in `make_sampler`."""

    temperature: float = 0.0
    top_p: float = 0.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None

    @classmethod
    def of(cls, request: CompletionRequest, vocab_size: int) -> Sampling:
        """The request's settings; the default temperature is OpenAI's, 1.

        A `top_p` of 0 and a `top_k` of 1 leave one token, which is greedy decoding. mlx-lm would take the first to mean
        "off", and would fail on a `top_k` of the vocabulary's size or more.
        """
        temperature = 1.0 if request.temperature is None else request.temperature
        top_p = 1.0 if request.top_p is None else request.top_p
        top_k = request.top_k or 0
        if temperature < _GREEDY_BELOW or top_p == 0 or top_k == 1:
            return cls()
        return cls(
            temperature=temperature,
            top_p=top_p if top_p < 1 else 0.0,
            top_k=top_k if top_k < vocab_size else 0,
            min_p=request.min_p or 0.0,
            seed=request.seed,
        )


def logits_processors(request: CompletionRequest, prompt_tokens: int, vocab_size: int) -> tuple[Processor, ...]:
    """What changes the row's logits before sampling. Raises `MalformedRequest` for a bias on an unknown token.

    `presence_penalty` and `frequency_penalty` count the completion's tokens, as OpenAI does; `repetition_penalty` is
    mlx-lm's: the last 20 tokens, the prompt's included.
    """
    processors: list[Processor] = make_logits_processors(
        logit_bias=_token_biases(request.logit_bias or {}, vocab_size),
        repetition_penalty=None if request.repetition_penalty == 1 else request.repetition_penalty,
    )
    penalties: list[Processor] = make_logits_processors(
        presence_penalty=request.presence_penalty,
        presence_context_size=_WHOLE_COMPLETION,
        frequency_penalty=request.frequency_penalty,
        frequency_context_size=_WHOLE_COMPLETION,
    )
    return (*processors, *(_after_prompt(penalty, prompt_tokens) for penalty in penalties))


def _token_biases(biases: dict[str, float], vocab_size: int) -> dict[int, float]:
    for key in biases:
        if int(key) >= vocab_size:  # a number of few digits: the contract has checked
            raise MalformedRequest(f"logit_bias: {key!r} is not a token id of this model (0 to {vocab_size - 1})")
    return {int(key): value for key, value in biases.items()}


def _after_prompt(penalty: Processor, prompt_tokens: int) -> Processor:
    def processor(tokens: Any, logits: Any) -> Any:
        return penalty(tokens[prompt_tokens:], logits)

    return processor


class BatchSampler:
    """The one sampler of every row. `rows` names the rows (by uid) that the next call is about."""

    def __init__(self) -> None:
        self.rows: Sequence[int] = ()
        self._settings: dict[int, Sampling] = {}
        self._draws: dict[int, int] = {}
        self._planned: list[int] = []
        self._plan: list[_Group] = []

    def register(self, uid: int, sampling: Sampling) -> None:
        """Add a row, before its first token."""
        self._settings[uid] = sampling
        if sampling.seed is not None:
            self._draws[uid] = 0

    def forget(self, uid: int) -> None:
        """Remove a row."""
        self._settings.pop(uid, None)
        self._draws.pop(uid, None)

    def __call__(self, logprobs: mx.array) -> mx.array:
        """One token for each row of log-probabilities."""
        if logprobs.shape[0] != len(self.rows):
            raise RuntimeError(f"asked to sample {logprobs.shape[0]} rows, but told about {len(self.rows)}")
        if self._planned != self.rows:
            self._planned, self._plan = list(self.rows), self._group()
        if len(self._plan) == 1:
            return self._plan[0].draw(logprobs, self._keys(self._plan[0]))
        parts = [group.draw(logprobs[group.indices], self._keys(group)) for group in self._plan]
        order = mx.concatenate([group.indices for group in self._plan])
        return mx.concatenate(parts)[mx.argsort(order)]

    def _group(self) -> list[_Group]:
        members: dict[tuple[Any, ...], list[int]] = {}
        for index, uid in enumerate(self.rows):
            setting = self._settings[uid]
            # Rows of one group may differ in their seeds.
            key = (setting.temperature, setting.top_p, setting.top_k, setting.min_p, setting.seed is not None)
            members.setdefault(key, []).append(index)
        return [
            _Group(
                uids=[self.rows[index] for index in indices],
                indices=mx.array(indices),
                seeded=key[-1],
                draw=_drawing(*key),
            )
            for key, indices in members.items()
        ]

    def _keys(self, group: _Group) -> mx.array | None:
        if not group.seeded:
            return None
        keys = []
        for uid in group.uids:
            seed = self._settings[uid].seed
            keys.append(_key(seed or 0, self._draws[uid]))
            self._draws[uid] += 1
        return mx.array(keys, dtype=mx.uint32)


@dataclass(frozen=True, slots=True)
class _Group:
    uids: list[int]
    indices: mx.array
    seeded: bool
    draw: Callable[[mx.array, mx.array | None], mx.array]


def _drawing(
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    seeded: bool,  # noqa: FBT001 - the group's key
) -> Callable[[mx.array, mx.array | None], mx.array]:
    """The function that samples rows with these settings."""
    sampler = make_sampler(temperature, top_p=top_p, top_k=top_k, min_p=min_p)
    if not seeded:
        # Half-precision log-probabilities divided by a small temperature overflow.
        return lambda logprobs, _: sampler(logprobs.astype(mx.float32) if temperature else logprobs)

    def draw(logprobs: mx.array, keys: mx.array | None) -> mx.array:
        # The same filters in the same order as make_sampler, which takes no key.
        logprobs = logprobs.astype(mx.float32)
        if top_p:
            logprobs = apply_top_p(logprobs, top_p)
        if min_p:
            logprobs = apply_min_p(logprobs, min_p)
        if top_k:
            logprobs = apply_top_k(logprobs, top_k)
        return _categorical(logprobs / temperature, keys)

    return draw


_categorical: Final = mx.vmap(lambda row, key: mx.random.categorical(row, key=key))


def _key(seed: int, draw: int) -> list[int]:
    """An MLX key for the draw-th token with this seed: splitmix64, so that similar seeds give unrelated streams."""
    mixed = _mix(_mix(seed & _MASK) + draw)
    return [mixed >> 32, mixed & 0xFFFFFFFF]


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class AnnouncingPrompts(PromptProcessingBatch):
    """mlx-lm's prompt batch, which tells the sampler the rows before they draw their first token."""

    def split(self, indices: list[int]) -> PromptProcessingBatch:
        """Take these rows out of the batch; if it is all of them, without mlx-lm's copying of every cache."""
        if len(indices) < len(self.uids):
            some: PromptProcessingBatch = super().split(indices)
            return some
        taken = copy.copy(self)
        self.__dict__.update(self.empty(self.model, self.fallback_sampler, self.prefill_step_size).__dict__)
        return taken

    def generate(self, tokens: list[list[int]]) -> GenerationBatch:
        """Turn the prompts into a decoding batch, whose constructor draws the first tokens."""
        if isinstance(self.fallback_sampler, BatchSampler):
            self.fallback_sampler.rows = list(self.uids)
        batch: GenerationBatch = super().generate(tokens)
        return batch


class AnnouncingBatch(GenerationBatch):
    """mlx-lm's decoding batch, which tells the sampler the rows before each step."""

    def _step(self) -> tuple[list[int], list[mx.array]]:
        if isinstance(self.fallback_sampler, BatchSampler):
            self.fallback_sampler.rows = self.uids
        return super()._step()
