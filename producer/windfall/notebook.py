"""`windfall.run` and `windfall.map`: completions for scripts and notebooks, in one blocking call.

Without a `redis` they start what they need (a Redis, a worker, the model) on this machine, and stop it again; with one,
the fleet does the work. They can be interrupted, and with a `name` continue where they were: the results so far are in
a private file of that name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from windfall.errors import InvalidRequest
from windfall.explain import explain, vocabulary
from windfall.fingerprint import fingerprint
from windfall.kept_results import KeptResults
from windfall.request import CompletionRequest
from windfall.result import CompletionResult

#: What a request may be given as: itself, an OpenAI body, or the text of a user's message.
Request: TypeAlias = CompletionRequest | Mapping[str, Any] | str
Frame = TypeVar("Frame")


def run(
    requests: Iterable[Request],
    *,
    model: str | None = None,
    redis: str | None = None,
    name: str | None = None,
    reuse: bool = False,
    slots: int = 32,
    progress: bool = True,
) -> list[CompletionResult]:
    """The results of all requests, in their order; blocks until the last one is there.

    `model` answers those that name none, and without `redis` all of them: a folder, a Hugging Face repository, a name
    in windfall.toml, or `demo`. `redis` is the URL of a fleet's. With a `name` the results are kept under it, and a
    later call under the same name runs only what is new or changed, and what failed. Equal requests run once if they
    are deterministic, or with `reuse`; a copy says in `copied_from` whose result it has. `slots` is how many run at
    once on this machine.

    A request that fails has a result that is not `ok`. Raises `InvalidRequest`, with the number of the request (from
    1), before anything runs; `ConfigError` where the worker is not installed; and what a `Producer` raises.
    """
    from windfall.cli.blocking import run_blocking  # noqa: PLC0415 - it imports what a producer alone does not need

    asked = [_request(given, number, model) for number, given in enumerate(requests, 1)]
    with KeptResults(name) as kept:
        keyed = list(_keyed(asked, reuse=reuse))
        run_blocking(keyed, kept, model=model, redis=redis, slots=slots, progress=progress)
        return list(_in_order(keyed, kept))


def map_table(  # noqa: PLR0913 - as the command, it has a parameter for each thing that people vary
    table: Frame,
    *,
    prompt: str,
    model: str,
    column: str = "answer",
    system: str | None = None,
    choices: Sequence[str] = (),
    schema: Mapping[str, Any] | None = None,
    temperature: float = 0,
    max_tokens: int | None = None,
    redis: str | None = None,
    name: str | None = None,
    reuse: bool = False,
    slots: int = 32,
    progress: bool = True,
) -> Frame:
    """The same table with a column of answers: a Polars or pandas frame, or a list of dictionaries.

    `prompt` and `system` are templates: `{column}` is the row's value. With `choices` an answer has to be one of these;
    `schema` is a JSON Schema of an object whose properties each become a column. Rows without such an answer have None
    there, and the reason in `<column>_error`, a column that exists only then. The rest is as in `run`. The table itself
    is not changed.
    """
    from windfall.formats.tables import AnswerColumns, Question, Template  # noqa: PLC0415 - only for tables
    from windfall.frames import answer_values, frame_of  # noqa: PLC0415 - the same

    frame = frame_of(table)
    answer = (
        AnswerColumns.text(column, tuple(choices))
        if schema is None
        else AnswerColumns.of_schema(json.dumps(schema), column)
    )
    limits = {} if max_tokens is None else {"max_tokens": max_tokens}
    body = {"model": model, "temperature": temperature} | limits
    question = Question(Template(prompt), answer, Template(system) if system else None, body)
    question.check(frame.columns)
    requests = []
    for number, record in enumerate(frame.records, 1):
        try:
            requests.append(question.request(record, f"row-{number}"))
        except InvalidRequest as exc:
            raise InvalidRequest(exc.reason, line=number, field=exc.field) from None
    results = run(requests, model=model, redis=redis, name=name, reuse=reuse, slots=slots, progress=progress)
    added: Any = frame.with_columns(answer_values(answer, results))
    filled: Frame = added
    return filled


_WORDS = vocabulary(CompletionRequest)


def _request(given: Request, number: int, model: str | None) -> CompletionRequest:
    if isinstance(given, CompletionRequest):
        return given
    as_body = {"messages": [{"role": "user", "content": given}]} if isinstance(given, str) else given
    body: dict[str, Any] = dict(as_body)
    if model is not None:
        body.setdefault("model", model)
    try:
        return CompletionRequest.model_validate(body)
    except ValidationError as exc:
        why = explain(exc, body, _WORDS, "")
        raise InvalidRequest(f"request {number}: {why}") from None


def _is_shared(request: CompletionRequest, *, reuse: bool) -> bool:
    return reuse or request.temperature == 0 or request.seed is not None


def _keyed(asked: Sequence[CompletionRequest], *, reuse: bool) -> Iterator[tuple[str, CompletionRequest]]:
    """Each request under the key of its result: its fingerprint, and which of several equal ones it is."""
    counts: dict[str, int] = {}
    for request in asked:
        key = fingerprint(request)
        if not _is_shared(request, reuse=reuse):
            counts[key] = counts.get(key, 0) + 1
            key = f"{key}-{counts[key]}"
        yield key, request


def _in_order(keyed: Sequence[tuple[str, CompletionRequest]], kept: KeptResults) -> Iterator[CompletionResult]:
    """The result of each request; the first of equal requests is the one that the others have copies of."""
    owners: dict[str, int] = {}
    for number, (key, request) in enumerate(keyed, 1):
        mine = {"custom_id": request.custom_id, "metadata": request.metadata}
        owner = owners.setdefault(key, number)
        if owner != number:
            mine["copied_from"] = keyed[owner - 1][1].custom_id or f"row-{owner}"
        yield kept.result(key).model_copy(update=mine)
