"""Answers -> values of the columns that they fill."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from windfall.errors import InvalidRequest
from windfall.runtime.extras import how_to_install

#: What may stand around a choice in an answer: white space, quotation marks, punctuation, Markdown.
_AROUND: Final = " \t\r\n.,;:!?\"'`*_()[]"
_FENCE: Final = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)
_LONGEST_SHOWN: Final = 80
_LARGEST_SCHEMA: Final = 100_000  # bytes


class ValueType(StrEnum):
    """The types of the columns; other values are kept as JSON text."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """The columns that an answer fills: one with its text, one with a choice, or one for each property of a schema.

    `error_name` is the column that says why a row has none.
    """

    types: Mapping[str, ValueType]
    error_name: str
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    @classmethod
    def text(cls, column: str, choices: tuple[str, ...] = ()) -> Self:
        """One column. Raises `InvalidRequest` for choices that cannot be told apart."""
        if len({_folded(choice) for choice in choices}) < len(choices) or any(not _folded(each) for each in choices):
            raise InvalidRequest(
                f"the choices {', '.join(choices)} cannot be told apart; case and punctuation do not count"
            )
        return cls({column: ValueType.STRING}, f"{column}_error", choices)

    @classmethod
    def of_schema(cls, text: str, column: str) -> Self:
        """A column for each property of a JSON Schema, given as text. Raises `InvalidRequest`."""
        schema = _parsed_schema(text)
        properties: Mapping[str, Any] = schema["properties"]
        types = {name: _type_of(described) for name, described in properties.items()}
        return cls(types, f"{column}_error", schema=schema)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns with answers."""
        return tuple(self.types)

    def values(self, text: str) -> tuple[Any, ...]:
        """The values of an answer, in the order of `names`. Raises `InvalidRequest` if it does not fit."""
        if self.schema is not None:
            return self._properties(text)
        if not self.choices:
            return (text,)
        for choice in self.choices:
            if _folded(choice) == _folded(text):
                return (choice,)
        raise InvalidRequest(f"the answer is not one of the choices: {_short(text)}")

    def _properties(self, text: str) -> tuple[Any, ...]:
        found = _FENCE.match(text)
        try:
            value = json.loads(found[1] if found else text)
        except (ValueError, RecursionError):
            raise InvalidRequest(f"the answer is not JSON: {_short(text)}") from None
        if problem := _problem(value, self.schema or {}):
            raise InvalidRequest(f"the answer does not match the schema: {problem}")
        return tuple(_as_typed(value.get(name), kind) for name, kind in self.types.items())


def _parsed_schema(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST_SCHEMA:
        raise InvalidRequest(f"the schema is larger than {_LARGEST_SCHEMA:,} bytes")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest(f"the schema is not JSON: {exc}") from None
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict) or not schema["properties"]:
        raise InvalidRequest('the schema must describe an object: {"type": "object", "properties": {…}}')
    validator = _validator()
    try:
        validator.check_schema(schema)
    except _jsonschema().SchemaError as exc:
        raise InvalidRequest(f"the schema is not valid: {exc.message} (at {exc.json_path})") from None
    return {"type": "object"} | schema


def _jsonschema() -> Any:
    try:
        import jsonschema  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise InvalidRequest(f"a schema needs the tables extra: {how_to_install('tables')}") from None
    return jsonschema


def _validator() -> Any:
    return _jsonschema().Draft202012Validator


def _problem(value: Any, schema: Mapping[str, Any]) -> str:
    """Why the value does not match; nothing if it does."""
    jsonschema = _jsonschema()
    worst = jsonschema.exceptions.best_match(_validator()(schema).iter_errors(value))
    return f"{_short(worst.message)} (at {worst.json_path})" if worst else ""


def _type_of(described: Any) -> ValueType:
    told = described.get("type") if isinstance(described, Mapping) else None
    kinds = [each for each in (told if isinstance(told, list) else [told]) if each != "null"]
    simple = {kind.value: kind for kind in ValueType if kind is not ValueType.JSON}
    if len(kinds) == 1 and kinds[0] in simple:
        return simple[kinds[0]]
    choices = described.get("enum") if isinstance(described, Mapping) else None
    return ValueType.STRING if choices and all(isinstance(each, str) for each in choices) else ValueType.JSON


def _as_typed(value: Any, kind: ValueType) -> Any:
    if value is None:
        return None
    if kind is ValueType.JSON:
        return json.dumps(value, ensure_ascii=False)
    if kind is ValueType.INTEGER:
        return int(value)  # 3.0 is an integer to JSON Schema
    return float(value) if kind is ValueType.NUMBER else value


def _folded(text: str) -> str:
    return text.strip(_AROUND).casefold()


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= _LONGEST_SHOWN else flat[: _LONGEST_SHOWN - 1] + "…")
