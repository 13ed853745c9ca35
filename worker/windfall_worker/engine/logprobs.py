"""Log-probabilities, computed only for the sequences that ask for them."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Any, Final

import mlx.core as mx
from mlx_lm.tokenizer_utils import BPEStreamingDetokenizer, SPMStreamingDetokenizer, _byte_decoder

from windfall.result import TokenLogprob, TopLogprob

#: OpenAI's number for "practically never"; JSON has no minus infinity.
LOWEST: Final = -9999.0

_SPACE: Final = "\u2581".encode()


class LogprobReader:
    """Reads rows of log-probabilities on a stream of its own: on the engine's it would wait for the current step."""

    def __init__(self, tokenizer: Any) -> None:
        self._names = TokenNames(tokenizer)
        self._stream = mx.new_stream(mx.default_device())

    def read(self, rows: Items[tuple[mx.array, int, int]]) -> list[TokenLogprob]:
        """One entry for each (row, token, number of alternatives), all in one evaluation."""
        with mx.stream(self._stream):
            logprobs = mx.stack([row.astype(mx.float32) for row, _, _ in rows])
            chosen = mx.take_along_axis(logprobs, mx.array([[token] for _, token, _ in rows]), axis=-1)
            best, values = _best(logprobs, max(count for _, _, count in rows))
            mx.eval(chosen, best, values)
        return self._entries(rows, chosen.tolist(), best.tolist(), values.tolist())

    def _entries(
        self, rows: Items[tuple[mx.array, int, int]], chosen: Any, best: Any, values: Any
    ) -> list[TokenLogprob]:
        return [
            TokenLogprob(
                **self._names.of(token),
                logprob=max(chosen[index][0], LOWEST),
                top_logprobs=tuple(
                    TopLogprob(**self._names.of(other), logprob=max(value, LOWEST))
                    for other, value in zip(best[index][:count], values[index][:count], strict=True)
                ),
            )
            for index, (_, token, count) in enumerate(rows)
        ]


def _best(logprobs: mx.array, count: int) -> tuple[mx.array, mx.array]:
    """The ids and values of each row's most probable tokens, best first."""
    if count == 0:
        return mx.zeros((len(logprobs), 0), mx.uint32), logprobs[:, :0]
    ids = mx.argpartition(-logprobs, kth=min(count, logprobs.shape[-1]) - 1, axis=-1)[:, :count]
    values = mx.take_along_axis(logprobs, ids, axis=-1)
    order = mx.argsort(-values, axis=-1)
    return mx.take_along_axis(ids, order, axis=-1), mx.take_along_axis(values, order, axis=-1)


class TokenNames:
    """A token id as OpenAI shows it: its text, and its bytes, since a token may be part of a character."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, dict[str, Any]] = {}

    def of(self, token: int) -> dict[str, Any]:
        """The fields `token` and `bytes`."""
        if token not in self._known:
            data = self._bytes(token)
            self._known[token] = {"token": data.decode("utf-8", "replace"), "bytes": list(data)}
        return self._known[token]

    def _bytes(self, token: int) -> bytes:
        detokenizer = self._tokenizer.detokenizer
        pieces = getattr(detokenizer, "tokenmap", None)
        if pieces is not None and token < len(pieces):
            if isinstance(detokenizer, SPMStreamingDetokenizer):
                return bytes(pieces[token].replace(_SPACE, b" "))
            if isinstance(detokenizer, BPEStreamingDetokenizer):
                table = _byte_decoder()
                return b"".join(bytes([table[c]]) if c in table else c.encode() for c in pieces[token])
        return str(self._tokenizer.decode([token])).encode()
