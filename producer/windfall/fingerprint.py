"""The fingerprint of a request, by which an answer is matched to its request.

It is the SHA-256 of the canonical request: JSON with sorted keys and without spaces, in UTF-8, of the fields that
differ from their defaults. So it depends neither on the order of keys nor on whether a default is written out, and an
optional field added by a later version changes the fingerprint only of requests that set it.

Fields that cannot change the answer are left out: the row's name, when it runs, what is only handed back, and what
backends pass over (see `windfall.fields`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from windfall.fields import PASSED_OVER
from windfall.request import CompletionRequest

#: Fields that do not affect the answer. `verbosity` and `ignore_eos` do, on backends that know them.
_BESIDE: Final = (PASSED_OVER - {"verbosity", "ignore_eos"}) | {
    "custom_id",
    "deadline",
    "ignored",
    "metadata",
    "minor",
    "on_ambiguous",
    "priority",
    "stream",
    "stream_options",
}
#: The same, as pydantic takes it; within Anthropic's body those that only say how it is served, and for whom.
_LEFT_OUT: Final[dict[str, Any]] = dict.fromkeys(_BESIDE, True) | {
    "anthropic": {"diagnostics", "metadata", "service_tier", "speed"}
}


def fingerprint(request: CompletionRequest) -> str:
    """The fingerprint of a request, as 64 hexadecimal digits. Requests with the same one ask for the same answer."""
    said = request.model_dump(mode="json", exclude=_LEFT_OUT, exclude_defaults=True)
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
