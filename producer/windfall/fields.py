"""How each field of the two protocols is treated: the table shared by the readers, the backends and the docs.

The names are those of `openai` 3.57 (chat completions) and `anthropic` 2.13 (messages), and what vLLM and mlx-lm add.
`docs/requests.md` has the same table; a test compares them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """How a field is treated."""

    HONOURED = "honoured"  #: or rejected by name by a backend that cannot
    PASSED_OVER = "passed over"  #: accepted; the result's `ignored` names it if the backend has no use for it
    REFUSED = "refused"  #: by name, because without it the answer would be different


_H, _P, _R = Verdict.HONOURED, Verdict.PASSED_OVER, Verdict.REFUSED

#: Fields of OpenAI's body: how each is treated, and a note. For a refused one, the note says what to do.
OPENAI: Final[dict[str, tuple[Verdict, str]]] = {
    "audio": (_R, "answers are text; leave it out"),
    "chat_template_kwargs": (_H, "the model's chat template gets them"),
    "frequency_penalty": (_H, ""),
    "function_call": (_R, "it is called tool_choice now"),
    "functions": (_R, "it is called tools now"),
    "ignore_eos": (_P, "OpenAI-compatible servers get it, MLX and OpenAI's own API do not"),
    "logit_bias": (_H, ""),
    "logprobs": (_H, ""),
    "max_completion_tokens": (_H, ""),
    "max_tokens": (_H, ""),
    "messages": (_H, ""),
    "metadata": (_H, "the result has it; OpenAI's own API gets it with store"),
    "min_p": (_H, ""),
    "modalities": (_P, '["text"] only'),
    "model": (_H, ""),
    "moderation": (_R, "answers are not moderated; leave it out"),
    "n": (_H, "more than 1 on OpenAI-compatible APIs alone; the output line has every choice"),
    "parallel_tool_calls": (_H, ""),
    "prediction": (_P, "OpenAI's own API gets it"),
    "presence_penalty": (_H, ""),
    "prompt_cache_key": (_P, "OpenAI's own API gets it"),
    "prompt_cache_options": (_P, "OpenAI's own API gets it"),
    "prompt_cache_retention": (_P, "OpenAI's own API gets it"),
    "reasoning_effort": (_H, ""),
    "repetition_penalty": (_H, ""),
    "response_format": (_H, ""),
    "safety_identifier": (_P, "OpenAI's own API gets it"),
    "seed": (_H, ""),
    "service_tier": (_P, "OpenAI's own API gets it"),
    "stop": (_H, ""),
    "store": (_P, "OpenAI's own API gets it"),
    "stream": (_H, "the completion can be followed"),
    "stream_options": (_H, "the result always has the usage"),
    "temperature": (_H, ""),
    "thinking": (_H, "as Anthropic has it; MLX turns the template's thinking on or off, and keeps no budget"),
    "tool_choice": (_H, ""),
    "tools": (
        _H,
        "MLX runs functions alone, OpenAI-compatible APIs custom tools too; Anthropic's own tools go to its API",
    ),
    "top_k": (_H, ""),
    "top_logprobs": (_H, ""),
    "top_p": (_H, ""),
    "user": (_P, "every cloud gets it"),
    "verbosity": (_P, "OpenAI-compatible APIs get it"),
    "web_search_options": (_H, "OpenAI-compatible APIs alone"),
}

#: Fields of Anthropic's body. Its own API gets each as it is; the notes say what becomes of them elsewhere.
ANTHROPIC: Final[dict[str, tuple[Verdict, str]]] = {
    "cache_control": (_P, "on MLX, prefixes that requests share are always computed once"),
    "container": (_H, "Anthropic's API alone"),
    "diagnostics": (_P, ""),
    "inference_geo": (_H, "Anthropic's API alone"),
    "max_tokens": (_H, ""),
    "messages": (_H, ""),
    "metadata": (_H, "user_id is OpenAI's user"),
    "model": (_H, ""),
    "output_config": (_H, "effort is reasoning_effort, format is response_format"),
    "service_tier": (_P, ""),
    "speed": (_P, ""),
    "stop_sequences": (_H, "OpenAI's stop"),
    "stream": (_H, ""),
    "system": (_H, "the first message"),
    "temperature": (_H, ""),
    "thinking": (_H, "the same field"),
    "tool_choice": (_H, ""),
    "tools": (_H, "those of the user; Anthropic's own are its API's alone"),
    "top_k": (_H, ""),
    "top_p": (_H, ""),
    "user_profile_id": (_R, "the worker's key says who pays; leave it out"),
    "workspace_id": (_R, "the worker's key says who pays; leave it out"),
}

#: What messages hold, by OpenAI's name and Anthropic's (the type of a part or block, or a field in it).
PARTS: Final[dict[str, tuple[Verdict, str]]] = {
    "audio (of an assistant)": (_H, "OpenAI-compatible APIs alone"),
    "cache_control": (_P, "Anthropic's API gets it, and OpenAI-compatible APIs do but for OpenAI's own"),
    "citations": (_H, "asked for, Anthropic's API alone; those of an earlier answer mean nothing to another model"),
    "container_upload, server_tool_use and results of Anthropic's tools": (_H, "Anthropic's API alone"),
    "custom (a tool call)": (_H, "OpenAI-compatible APIs alone"),
    "document": (_H, "text and content run everywhere; a PDF is a file; by URL or id, Anthropic's API alone"),
    "file": (_H, "clouds; by id, OpenAI-compatible APIs alone"),
    "final assistant turn": (_H, "in an Anthropic line it is continued: Anthropic's API alone"),
    "image, image_url": (_H, "clouds; by id, Anthropic's API alone"),
    "input_audio": (_H, "OpenAI-compatible APIs alone"),
    "name": (_H, "all but Anthropic's API"),
    "prompt_cache_breakpoint": (_P, "OpenAI's own API gets it"),
    "reasoning, reasoning_content": (_P, "not for Anthropic's and OpenAI's own API, which take none"),
    "reasoning_details": (_P, "OpenAI-compatible APIs get it, but for OpenAI's own"),
    "redacted_thinking": (
        _P,
        "Anthropic's API gets it; in thinking_blocks, OpenAI-compatible APIs do but for OpenAI's own",
    ),
    "refusal": (_H, ""),
    "search_result": (_H, "text, where the protocol has none"),
    "text": (_H, ""),
    "thinking, thinking_blocks": (_H, "with its signature for Anthropic's API, as reasoning_content elsewhere"),
    "tool_result": (_H, "with is_error, its text begins with Error: where the protocol has no such field"),
    "tool_use, function": (_H, ""),
}

#: Fields that a backend omits if it has no use for them, and names in the result.
PASSED_OVER: Final = frozenset(name for name, (verdict, _) in OPENAI.items() if verdict is _P)

#: Fields inside messages and tools that only some backends have a use for: marks that make a prompt cheaper, and the
#: thinking of earlier turns. As above, a backend omits them and the result names them.
HINTS: Final = frozenset(
    {
        "cache_control",
        "prompt_cache_breakpoint",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking_blocks",
    }
)


def refusal(name: str) -> str | None:
    """Why a field of either protocol is refused, or None if it is not."""
    for table in (OPENAI, ANTHROPIC):
        if name in table and table[name][0] is _R:
            return table[name][1]
    return None


def without_empty_refused(body: dict[str, object]) -> dict[str, object]:
    """The body without refused fields that are null: some clients write out every field they know."""
    return {name: value for name, value in body.items() if value is not None or refusal(name) is None}


def as_markdown(table: dict[str, tuple[Verdict, str]]) -> str:
    """The table as Markdown, for the docs."""
    rows = [f"| `{name}` | {verdict.value} | {note} |" for name, (verdict, note) in sorted(table.items())]
    return "\n".join(["| field | | |", "|---|---|---|", *rows])
