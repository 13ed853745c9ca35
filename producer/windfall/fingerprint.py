"""What tells one request from another: the fingerprint by which an answer finds its request again.

It is the SHA-256 of the canonical request: JSON with sorted keys and without spaces, in UTF-8, of the fields that are
set to something else than their default. So it depends neither on the order of keys nor on whether a default is written
out, and an optional field that a later version adds changes the fingerprint of no request that does not set it.

What cannot change the answer is not part of it: the row's name, when it is to run, what is only handed back, and what
backends pass over (see `windfall.fields`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from windfall.fields import PASSED_OVER
from windfall.request import CompletionRequest

#: Fields that say nothing of the answer. `verbosity` and `ignore_eos` do, where a backend knows them.
_BESIDE: Final = (PASSED_OVER - {"verbosity", "ignore_eos"}) | {
    "custom_id",
    "deadline",
    "ignored",
    "metadata",
    "on_ambiguous",
    "priority",
    "stream",
    "stream_options",
}


def fingerprint(request: CompletionRequest) -> str:
    """The fingerprint of a request, as 64 hexadecimal digits. Two requests that share one ask for the same answer."""
    said = request.model_dump(mode="json", exclude=set(_BESIDE), exclude_defaults=True)
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
