"""A pydantic ValidationError as one sentence that names the field and never quotes a prompt."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from windfall.errors import InvalidRequest
from windfall.fields import refusal

#: Field names by their parent field; "" is the top level of the body.
Vocabulary = Mapping[str, frozenset[str]]

#: Common fields that the contract has in another place, or under another name.
_HINTS: Final = {
    "enable_thinking": 'put it into chat_template_kwargs: {"enable_thinking": true}',
    "system": "make it the first of messages, with role 'system', or put a body of Anthropic's into params",
    "prompt": "put it into messages, with role 'user'",
    "input": "put it into messages, with role 'user'",
    "stop_sequences": "it is called stop",
    "max_new_tokens": "it is called max_tokens",
    "repeat_penalty": "it is called repetition_penalty",
}
_JSON_WORDS: Final = {"False": "false", "True": "true", "a dict": "an object", "a NoneType": "null"}
_LONGEST_SHOWN: Final = 32  # characters of a wrong value: a role or a type, never a prompt


def vocabulary(model: type[BaseModel]) -> Vocabulary:
    """The field names allowed in each part of a body of this model."""
    names: dict[str, frozenset[str]] = {"": frozenset(model.model_fields)}
    todo = [model]
    while todo:
        for name, field in todo.pop().model_fields.items():
            for inner in _models_in(field.annotation):
                known = names.get(name, frozenset())
                names[name] = known | frozenset(inner.model_fields)
                if names[name] != known:
                    todo.append(inner)
    return names


def explain(exc: ValidationError, body: Any, words: Vocabulary, prefix: str = "") -> InvalidRequest:
    """The most telling error in `body`, as an `InvalidRequest` with the dotted field, preceded by `prefix`."""
    error, path = _most_telling(exc, body)
    path = [*path, *_tag_field(error)]
    field = prefix + ".".join(str(part) for part in path)
    return InvalidRequest(_reason(error, path, words), field=field.rstrip(".") or None)


def nearest(word: str, names: Iterator[str] | frozenset[str] | list[str]) -> str | None:
    """The name that was probably meant, or None."""
    word = word.lower()
    longer = [name for name in sorted(names) if name.startswith(f"{word}_") or word.startswith(f"{name}_")]
    matches = longer or difflib.get_close_matches(word, sorted(names), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_field(name: str, names: frozenset[str]) -> str:
    """Why this field is rejected, with a suggestion if there is one."""
    if (why := refusal(name)) is not None:
        return f"cannot be honoured: {why}"
    if name in _HINTS:
        return f"unknown field; {_HINTS[name]}"
    meant = nearest(name, names)
    if meant:
        return f"unknown field; did you mean {meant!r}?"
    return "unknown field; Windfall rejects what it cannot honour"


def _most_telling(exc: ValidationError, body: Any) -> tuple[Any, list[str | int]]:
    """An unknown field if there is one (a missing field is then often the same one, misspelt), else a wrong literal
    (an unknown type also lacks other fields), else the first error.

    If it is in one of several branches of a union, the branch that matched furthest.
    """
    order = {"extra_forbidden": 0, "literal_error": 1}
    errors = sorted(exc.errors(include_url=False), key=lambda error: order.get(error["type"], 2))
    resolved = [(error, *_resolve(error["loc"], body, error["type"])) for error in errors]
    first, first_path, is_branch = resolved[0]
    if not is_branch:
        return first, first_path
    siblings = [(error, path) for error, path, _ in resolved if path[: len(first_path)] == first_path]
    return max(siblings, key=lambda sibling: len(sibling[1]))


def _resolve(loc: tuple[str | int, ...], body: Any, kind: str) -> tuple[list[str | int], bool]:
    """The path without pydantic's names of union branches, and whether it had any."""
    path: list[str | int] = []
    at = body
    for place, part in enumerate(loc):
        within = isinstance(at, list) and isinstance(part, int) and part < len(at)
        inside = within or (isinstance(at, dict) and part in at)
        if inside:
            at = at[part]
            path.append(part)
        elif kind == "missing" and place == len(loc) - 1:
            path.append(part)
    return path, len(path) < len(loc)


def _tag_field(error: Any) -> list[str]:
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return [error["ctx"]["discriminator"].strip("'")]
    return []


def _reason(error: Any, path: list[str | int], words: Vocabulary) -> str:  # noqa: PLR0911 - one return per kind
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("missing", "union_tag_not_found"):
        return "is missing"
    if kind == "extra_forbidden":
        holders = [part for part in path[:-1] if isinstance(part, str)]
        return unknown_field(str(path[-1]), words.get(holders[-1] if holders else "", frozenset()))
    if kind in ("literal_error", "enum"):
        return f"must be {_JSON_WORDS.get(context['expected'], context['expected'])}{_instead_of(error['input'])}"
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}{_instead_of(context['tag'])}"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("tuple_type", "list_type"):
        return "must be a list"
    if kind == "too_short" and context.get("actual_length") == 0:
        return "is empty"
    message = str(error["msg"])
    for start in ("Input should be", "String should", "Tuple should", "List should", "Value should"):
        message = message.replace(start, "must be" if start.startswith("Input") else "must")
    return message


def _instead_of(value: Any) -> str:
    shown = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    shown = _JSON_WORDS.get(shown, shown)
    return f", not {shown}" if len(shown) <= _LONGEST_SHOWN else ""


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
