"""The face of `Producer`: its types can be imported, its methods are typed as used, and it says when it is not open."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from arq import ArqRedis
from pydantic import BaseModel

import windfall
from helpers.requests import request
from windfall import Producer, WindfallError
from windfall.embedded.broker import fake_redis
from windfall.errors import NotConnected

TYPED = Path(__file__).parents[2] / "typing" / "api.py"
PUBLIC = sorted(name for name in vars(Producer) if not name.startswith("_"))
METHODS = [name for name in PUBLIC if inspect.isfunction(vars(Producer)[name])]

#: Something of the right type for every parameter without a default.
ARGUMENTS: dict[str, Any] = {"request": request(), "requests": [request()], "what": "lane"}


def classes_in(annotation: Any) -> Iterator[type]:
    if get_origin(annotation) is not None:
        for argument in get_args(annotation):
            yield from classes_in(argument)
    elif isinstance(annotation, list):  # the parameters of a Callable
        for argument in annotation:
            yield from classes_in(argument)
    elif inspect.isclass(annotation) and annotation.__module__.startswith("windfall."):
        yield annotation


def fields_of(kind: type) -> Iterator[Any]:
    if issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind):
        names = kind.model_fields if issubclass(kind, BaseModel) else {field.name for field in dataclasses.fields(kind)}
        yield from (hint for name, hint in get_type_hints(kind).items() if name in names)


def test_every_type_that_a_public_method_takes_or_gives_is_exported() -> None:
    members = [getattr(Producer, name) for name in ("__init__", *PUBLIC)]
    functions = [member.fget if isinstance(member, property) else member for member in members]
    todo = [kind for function in functions for hint in get_type_hints(function).values() for kind in classes_in(hint)]
    seen: set[type] = set()
    while todo:
        kind = todo.pop()
        if kind not in seen:
            seen.add(kind)
            # Anthropic's body is made of a plain object: `CompletionRequest.from_anthropic`.
            hints = fields_of(kind) if kind is not windfall.AnthropicBody else ()
            todo += [inner for hint in hints for inner in classes_in(hint)]
    assert sorted(kind.__name__ for kind in seen if getattr(windfall, kind.__name__, None) is not kind) == []
    assert windfall.ServedModel in seen  # deep inside of what `fleet` gives


def test_every_public_method_is_typed_as_a_user_calls_it() -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(TYPED.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "producer"
    }
    assert sorted(used) == PUBLIC


async def call(producer: Producer, name: str) -> None:
    method: Callable[..., Awaitable[object] | AsyncIterator[object]] = getattr(producer, name)
    needed = [
        ARGUMENTS.get(parameter.name, "some-name")
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    called = method(*needed)
    if isinstance(called, AsyncIterator):
        await anext(called)
    else:
        await called


@pytest.mark.parametrize("name", METHODS)
async def test_every_method_of_a_producer_that_was_not_entered_says_so(name: str) -> None:
    with pytest.raises(NotConnected, match=r"inside `async with Producer\(…\) as producer:`") as caught:
        await call(Producer("redis://127.0.0.1:1"), name)
    assert isinstance(caught.value, WindfallError)
    assert isinstance(caught.value, RuntimeError)  # what programs may catch already


@pytest.mark.parametrize("name", METHODS)
async def test_so_does_every_method_of_one_that_was_left(name: str) -> None:
    redis: ArqRedis = fake_redis()
    async with Producer(redis) as producer:
        pass
    with pytest.raises(NotConnected):
        await call(producer, name)


def test_the_connection_of_a_producer_that_was_not_entered_is_not_there() -> None:
    with pytest.raises(NotConnected):
        _ = Producer("redis://127.0.0.1:1").redis
