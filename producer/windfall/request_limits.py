"""Limits of the lists in a request: more than this is a mistake, or an attempt to stall a worker.

OpenAI accepts 4 stop strings and about 1,000 biases; these limits are wide enough for every provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

STOP_STRINGS: Final = 32
STOP_CHARACTERS: Final = 256  #: of each stop string
BIASES: Final = 1024
#: Digits of a token id: no vocabulary needs more, and Python refuses to read thousands of them.
_ID_DIGITS: Final = 9
_LONGEST_SHOWN: Final = 32


def check_stop(stop: Sequence[str], name: str = "stop") -> None:
    """Raise `ValueError`, which calls the field `name`, for stop strings beyond the limits."""
    if len(stop) > STOP_STRINGS:
        raise ValueError(f"{name} holds {len(stop):,} strings; the limit is {STOP_STRINGS}")
    for text in stop:
        if not text:
            raise ValueError(f"{name} holds an empty string")
        if len(text) > STOP_CHARACTERS:
            raise ValueError(f"{name} holds a string of {len(text):,} characters; the limit is {STOP_CHARACTERS}")


def check_logit_bias(biases: Mapping[str, float]) -> None:
    """Raise `ValueError` for too many biases, or keys that are not token ids."""
    if len(biases) > BIASES:
        raise ValueError(f"logit_bias holds {len(biases):,} tokens; the limit is {BIASES:,}")
    for key in biases:
        if not (key.isascii() and key.isdigit() and len(key) <= _ID_DIGITS):
            shown = key if len(key) <= _LONGEST_SHOWN else key[:_LONGEST_SHOWN] + "…"
            raise ValueError(f"logit_bias: {shown!r} is not a token id, which is a number such as '50256'")
