"""What one engine completes, on a small random model: every answer is MLX's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from helpers.models import MERGED, build_model, token_id
from helpers.waiting import eventually
from windfall.errors import ContextLengthExceeded, MalformedRequest, RequestRejected, UnsupportedParameter
from windfall.request import CompletionRequest
from windfall.result import Completion, Delta
from windfall_worker.backends.base import Call
from windfall_worker.backends.mlx import MLXBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTEXT = 512
WORDS = ["apple", "river", "window", "a", "summer", "mountains", "thirty", "orange", "drifting"]
NO_END = {str(token_id("<|im_end|>")): -100.0}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MLXBackend]:
    model = build_model(tmp_path_factory.mktemp("models") / "tiny", context=CONTEXT)
    backend = MLXBackend(str(model), slots=8)
    await backend.start()
    yield backend
    await backend.close()


def ask(text: str, **options: Any) -> CompletionRequest:
    options = {"max_tokens": 16, "temperature": 0.0} | options
    return CompletionRequest(model="tiny", messages=[{"role": "user", "content": text}], **options)


def forced(text: str, **options: Any) -> CompletionRequest:
    """A request that is answered with this token, again and again."""
    return ask("anything", logit_bias={str(token_id(text)): 100.0}, **options)


async def complete(backend: MLXBackend, request: CompletionRequest, **call: Any) -> Completion:
    return await backend.complete(Call("job", request, **call))


async def together(backend: MLXBackend, *requests: CompletionRequest) -> list[Completion]:
    return await asyncio.gather(*(complete(backend, request) for request in requests))


async def test_a_batch_at_temperature_zero_answers_what_each_request_gets_alone(backend: MLXBackend) -> None:
    requests = [ask(f"{number} " * (1 + 3 * number), max_tokens=10 + number) for number in range(20)]
    batch = await together(backend, *requests)
    alone = [await complete(backend, request) for request in requests]
    assert [one.content for one in batch] == [one.content for one in alone]
    assert [one.usage.completion_tokens for one in batch] == [one.usage.completion_tokens for one in alone]
    assert len({one.content for one in batch}) > 15


async def test_a_model_in_half_precision_answers_in_a_batch_what_it_answers_alone() -> None:
    backend = MLXBackend("demo", slots=16)
    await backend.start()
    try:
        requests = [ask(f"Reverse the word: {word}{'!' * (len(word) % 3)}", max_tokens=40) for word in WORDS]
        batch = await together(backend, *requests)
        alone = [await complete(backend, request) for request in requests]
    finally:
        await backend.close()
    assert [(one.content, one.reasoning) for one in batch] == [(one.content, one.reasoning) for one in alone]
    assert {one.model for one in batch} == {"demo"}


async def test_a_seed_gives_the_same_answer_in_every_batch(backend: MLXBackend) -> None:
    seeded = [ask("write", temperature=1.0, seed=seed, max_tokens=24) for seed in (1, 2, -3, 2**70)]
    alone = [await complete(backend, request) for request in seeded]
    neighbours = [
        ask("noise", temperature=0.7, max_tokens=9),
        ask("write", temperature=1.0, max_tokens=30),
        ask("more", temperature=1.0, seed=5, top_p=0.5),
        ask("calm"),
    ]
    crowded = await together(backend, *neighbours, *seeded, *neighbours)
    assert [one.content for one in crowded[4:8]] == [one.content for one in alone]
    assert len({one.content for one in alone}) == 4


async def test_a_seed_keeps_its_meaning_with_every_filter(backend: MLXBackend) -> None:
    request = ask("filters", temperature=0.8, seed=11, top_p=0.9, top_k=40, min_p=0.01)
    first, *others = await together(backend, request, request, ask("x", temperature=0.8, seed=11), request)
    assert first.content == others[0].content == others[2].content


async def test_without_a_seed_answers_differ(backend: MLXBackend) -> None:
    answers = await together(backend, *[ask("write", temperature=1.0) for _ in range(4)])
    assert len({one.content for one in answers}) == 4


async def test_the_default_temperature_is_one(backend: MLXBackend) -> None:
    plain, hot = await together(backend, ask("write", temperature=None, seed=3), ask("write", temperature=1.0, seed=3))
    assert plain.content == hot.content


@pytest.mark.parametrize("option", [{"top_p": 0.0}, {"top_k": 1}, {"temperature": 1e-30}, {"min_p": 1.0}])
async def test_a_setting_that_leaves_one_token_is_greedy(backend: MLXBackend, option: dict[str, Any]) -> None:
    greedy, only = await together(backend, ask("write"), ask("write", **({"temperature": 1.3} | option)))
    assert only.content == greedy.content


async def test_a_top_k_beyond_the_vocabulary_is_no_limit(backend: MLXBackend) -> None:
    wide, plain = await together(
        backend,
        ask("write", temperature=1.0, seed=4, top_k=10_000),
        ask("write", temperature=1.0, seed=4),
    )
    assert wide.content == plain.content


async def test_a_stop_string_ends_the_text_wherever_tokens_begin(backend: MLXBackend) -> None:
    completion = await complete(backend, forced("ab", stop="ba", max_tokens=50))
    assert (completion.content, completion.finish_reason) == ("a", "stop")
    assert completion.usage.completion_tokens == 2


async def test_a_stop_string_of_many_tokens_is_cut_off(backend: MLXBackend) -> None:
    completion = await complete(backend, forced("x", stop=["xxxxx", "never"], max_tokens=50))
    assert (completion.content, completion.finish_reason, completion.usage.completion_tokens) == ("", "stop", 5)


async def test_a_stop_string_that_does_not_come_changes_nothing(backend: MLXBackend) -> None:
    completion = await complete(backend, forced("ab", stop="abac", max_tokens=4))
    assert (completion.content, completion.finish_reason) == ("abababab", "length")


async def test_the_end_of_text_token_stops_and_is_not_shown(backend: MLXBackend) -> None:
    completion = await complete(backend, forced("<|im_end|>"))
    assert (completion.content, completion.finish_reason, completion.usage.completion_tokens) == ("", "stop", 1)


async def test_text_held_for_a_marker_is_let_go_at_the_end(backend: MLXBackend) -> None:
    assert (await complete(backend, forced("<", max_tokens=3))).content == "<<<"


async def test_logit_bias_can_forbid_a_token(backend: MLXBackend) -> None:
    plain = await complete(backend, ask("write", max_tokens=1, logprobs=True))
    assert plain.logprobs
    first = plain.logprobs[0].bytes
    biased = await complete(
        backend, ask("write", max_tokens=1, logprobs=True, logit_bias={str(n): -100 for n in first or ()})
    )
    assert biased.logprobs
    assert biased.logprobs[0].bytes != first


@pytest.mark.parametrize(
    "penalty", [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}, {"repetition_penalty": 1e6}]
)
async def test_a_penalty_keeps_the_model_from_repeating(backend: MLXBackend, penalty: dict[str, float]) -> None:
    request = {"logit_bias": {str(token_id("x")): 5.0, str(token_id("y")): 4.0}, "max_tokens": 40}
    plain, penalised = await together(backend, ask("say", **request), ask("say", **request, **penalty))
    assert plain.content
    assert penalised.content
    assert penalised.content.count("x") < plain.content.count("x")


async def test_presence_and_frequency_do_not_count_the_prompt(backend: MLXBackend) -> None:
    options = {"max_tokens": 1, "logprobs": True}
    plain, penalised = await together(
        backend, ask("write", **options), ask("write", presence_penalty=2.0, frequency_penalty=2.0, **options)
    )
    assert plain.logprobs
    assert penalised.logprobs
    assert penalised.logprobs[0].logprob == pytest.approx(plain.logprobs[0].logprob, abs=1e-4)


async def test_logprobs_are_probabilities_of_the_chosen_and_the_best(backend: MLXBackend) -> None:
    completion, neighbour = await together(
        backend, ask("write", logprobs=True, top_logprobs=20, logit_bias=NO_END), ask("write", logit_bias=NO_END)
    )
    assert completion.logprobs is not None
    assert len(completion.logprobs) == completion.usage.completion_tokens == 16
    assert neighbour.logprobs is None
    assert neighbour.content == completion.content
    for token in completion.logprobs:
        values = [other.logprob for other in token.top_logprobs]
        assert len(values) == 20
        assert values == sorted(values, reverse=True)
        assert token.top_logprobs[0].token == token.token  # greedy
        assert all(value <= 0 for value in values)
    text = b"".join(bytes(token.bytes or ()) for token in completion.logprobs).decode("utf-8", "replace")
    assert text == completion.content


async def test_logprobs_without_alternatives(backend: MLXBackend) -> None:
    completion = await complete(backend, ask("write", logprobs=True))
    assert completion.logprobs
    assert all(token.top_logprobs == () for token in completion.logprobs)


async def test_deltas_put_together_are_the_content(backend: MLXBackend) -> None:
    deltas: list[Delta] = []
    completion = await complete(backend, ask("write", max_tokens=300), on_delta=deltas.append)
    assert "".join(delta.content for delta in deltas) == completion.content
    assert len(deltas) > 1
    assert all(delta.content or delta.reasoning for delta in deltas)


async def test_who_does_not_follow_gets_the_same_answer(backend: MLXBackend) -> None:
    followed, plain = await asyncio.gather(
        complete(backend, ask("write"), on_delta=lambda _: None), complete(backend, ask("write"))
    )
    assert followed.content == plain.content


async def test_a_follower_that_fails_does_not_fail_the_call(
    backend: MLXBackend, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(delta: Delta) -> None:
        raise ValueError("a follower's own fault")

    assert (await complete(backend, ask("write"), on_delta=fail)).content
    assert "it gets no more of them" in caplog.text


async def test_reasoning_that_the_template_opens_is_split_out(backend: MLXBackend) -> None:
    deltas: list[Delta] = []
    request = forced("x", chat_template_kwargs={"think_first": True}, max_tokens=5)
    completion = await complete(backend, request, on_delta=deltas.append)
    assert (completion.content, completion.reasoning) == ("", "xxxxx")
    assert completion.usage.reasoning_tokens == 5
    assert "".join(delta.reasoning for delta in deltas) == "xxxxx"


async def test_a_marker_in_a_users_message_does_not_open_reasoning(backend: MLXBackend) -> None:
    request = CompletionRequest(
        model="tiny",
        messages=[{"role": "user", "content": "what is <think>"}],
        logit_bias={str(token_id("x")): 100.0},
        max_tokens=3,
    )
    completion = await complete(backend, request)
    assert (completion.content, completion.reasoning) == ("xxx", None)


TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


async def test_what_no_parser_reads_as_a_tool_call_stays_in_the_content(backend: MLXBackend) -> None:
    completion = await complete(backend, forced("<tool_call>", tools=TOOLS, max_tokens=2))
    assert completion.tool_calls == ()
    assert completion.content == "<tool_call><tool_call>"
    assert completion.finish_reason == "length"


async def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(backend: MLXBackend) -> None:
    with pytest.raises(ContextLengthExceeded, match=r"\b6\d\d tokens.*\b512 tokens"):
        await complete(backend, ask("w" * 600))


async def test_a_completion_that_would_outgrow_the_context_is_refused_with_both_numbers(backend: MLXBackend) -> None:
    with pytest.raises(ContextLengthExceeded, match=r"asks for 500 more.*512 tokens"):
        await complete(backend, ask("write", max_tokens=500))


async def test_without_a_limit_the_context_is_the_limit(backend: MLXBackend) -> None:
    completion = await complete(backend, forced("x", max_tokens=None))
    assert completion.usage.total_tokens == CONTEXT
    assert completion.finish_reason == "length"


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "required", "tools": TOOLS}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template_kwargs.chat_template"),
    ],
)
async def test_what_mlx_cannot_honour_is_refused_by_name(
    backend: MLXBackend, option: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnsupportedParameter, match=named):
        await complete(backend, ask("write", **option))


@pytest.mark.parametrize("arguments", ["{", "[" * 100_000, "1" * 5000])
async def test_arguments_that_are_no_json_are_the_requests_fault_for_good(backend: MLXBackend, arguments: str) -> None:
    call: dict[str, Any] = {"id": "c", "function": {"name": "add", "arguments": arguments}}
    messages = [{"role": "user", "content": "write"}, {"role": "assistant", "tool_calls": [call]}]
    request = CompletionRequest.model_validate({"model": "tiny", "messages": messages})
    with pytest.raises(MalformedRequest, match=r"messages\[1\].tool_calls: the arguments of a call are"):
        await complete(backend, request)


async def test_a_bias_of_no_token_is_the_requests_fault_for_good(backend: MLXBackend) -> None:
    with pytest.raises(MalformedRequest, match="logit_bias: '99999' is not a token id of this model"):
        await complete(backend, ask("write", logit_bias={"99999": 1.0}))


async def test_an_image_is_refused_by_name(backend: MLXBackend) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:,"}}
    request = CompletionRequest(model="tiny", messages=[{"role": "user", "content": [part]}])
    with pytest.raises(UnsupportedParameter, match=r"messages.0.content.0.type: a model on a Mac takes no images"):
        await complete(backend, request)


async def test_a_body_of_anthropics_answers_what_the_same_in_openais_words_does(backend: MLXBackend) -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "write", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
        {"role": "user", "content": "write on"},
    ]
    params = {"model": "tiny", "messages": turns, "system": "be brief", "max_tokens": 8, "temperature": 0}
    said = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "write"},
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"role": "user", "content": "write on"},
    ]
    given = CompletionRequest.from_anthropic(params)
    theirs, ours = await together(
        backend, given, CompletionRequest(model="tiny", messages=said, max_tokens=8, temperature=0.0)
    )
    assert theirs.content == ours.content
    assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
    assert backend.ignored(given) == ("signature",)
    refused = CompletionRequest.from_anthropic(params | {"container": "c"})
    with pytest.raises(UnsupportedParameter, match="'container': only Anthropic's API has containers"):
        await complete(backend, refused)


async def test_a_templates_refusal_reaches_the_user(backend: MLXBackend) -> None:
    with pytest.raises(RequestRejected, match="not these words"):
        await complete(backend, ask("refuse this"))


async def test_tool_choice_none_does_not_show_the_tools(backend: MLXBackend) -> None:
    bare, hidden, shown = await together(
        backend, ask("write"), ask("write", tools=TOOLS, tool_choice="none"), ask("write", tools=TOOLS)
    )
    assert bare.usage.prompt_tokens == hidden.usage.prompt_tokens < shown.usage.prompt_tokens


async def test_the_arguments_of_earlier_calls_reach_the_template_as_objects(backend: MLXBackend) -> None:
    call: dict[str, Any] = {"id": "c", "function": {"name": "add", "arguments": json.dumps({"a": "é"})}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]},
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]
    completion = await complete(backend, CompletionRequest(model="tiny", messages=messages, max_tokens=1))
    assert completion.usage.completion_tokens == 1
    call["function"] = {"name": "add", "arguments": "{not json"}
    with pytest.raises(RequestRejected, match=r"messages\[2\].tool_calls"):
        await complete(backend, CompletionRequest(model="tiny", messages=messages, max_tokens=1))


async def test_a_cancelled_call_frees_its_slot_at_once(backend: MLXBackend) -> None:
    long = ask("write", max_tokens=None, logit_bias=NO_END)
    started = [asyncio.Event() for _ in range(8)]
    tasks = [asyncio.create_task(complete(backend, long, on_delta=lambda _, e=event: e.set())) for event in started]
    await asyncio.gather(*(event.wait() for event in started))
    assert not any(task.done() for task in tasks)
    assert backend.free_slots == 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert backend.free_slots == 8
    # The engine's own slots are free too: these would wait for the end of the long ones otherwise.
    await together(backend, *[ask(f"after {number}", max_tokens=4) for number in range(8)])
    await eventually(lambda: backend.beat and backend.beat.free_slots == 8 and not backend.beat.active)


async def test_usage_and_timings_are_given(backend: MLXBackend) -> None:
    completion = await complete(backend, ask("write", max_tokens=8))
    assert completion.model == "tiny"
    assert completion.usage.prompt_tokens == len("SuserNwriteENSassistantN")
    assert completion.usage.completion_tokens == 8
    assert completion.time_to_first_token is not None
    assert 0 < completion.time_to_first_token < 60
    assert completion.tokens_per_second is not None
    assert completion.tokens_per_second > 0


async def test_a_merged_token_decodes_whole(backend: MLXBackend) -> None:
    completion = await complete(backend, forced(MERGED[2], max_tokens=2))
    assert completion.content == "thethe"
