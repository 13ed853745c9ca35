"""An answer with several choices (`n`) as one completion: the first, and the others as its `more`."""

from __future__ import annotations

from typing import Any

from windfall.errors import InvalidResponse
from windfall.result import Choice, Completion
from windfall_worker.cloud.completion import completion_of


def all_choices_of(answer: dict[str, Any], **more: Any) -> Completion:
    """Like `completion_of`, for an answer with any number of choices. Raises `InvalidResponse`."""
    if len(answer["choices"]) == 1:
        return completion_of(answer, **more)
    try:
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    except (KeyError, TypeError) as exc:
        raise InvalidResponse("the endpoint's choices are not numbered") from exc
    # Each is read as if it were the only one, which has the index 0.
    first, *others = (completion_of(answer | {"choices": [choice | {"index": 0}]}, **more) for choice in choices)
    return first.model_copy(update={"more": tuple(_choice(other) for other in others)})


def _choice(made: Completion) -> Choice:
    return Choice.model_validate({name: getattr(made, name) for name in Choice.model_fields})
