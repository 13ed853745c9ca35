"""Translates an OpenAI chat-completions body into a body for Anthropic's Messages API.

What has no counterpart is refused by name (`UnsupportedParameter`) unless its value has no effect (a penalty of 0).
What is translated:

    system, developer messages   all of them, wherever they are, become the top-level `system`, joined by newlines
    consecutive same roles       one turn; a tool's result is part of the user's turn
    reasoning of earlier turns   left out: the API accepts only thinking that it signed itself, which is thinking_blocks
    cache_control                of a part, a message or a tool; the system text is then a list of blocks
    files                        documents: PDF, and plain text
    max_tokens                   required: `max_completion_tokens`, or `DEFAULT_MAX_TOKENS` besides the budget for
                                   thinking if neither is given
    temperature                  0 to 1; above 1 it is refused, not clamped; 1 (its default) is left out
    stop                         `stop_sequences`
    tools, tool_choice           `required` is `any`; `parallel_tool_calls=false` is `disable_parallel_tool_use`; a tool
                                   of Anthropic's own stays as it is
    response_format              a `json_schema` is `output_config.format`; `json_object` has no counterpart
    reasoning_effort             adaptive thinking with `output_config.effort`; a thinking budget for older models
    user                         `metadata.user_id`
    thinking                     Anthropic's own field, unchanged; an effort beside it is `output_config.effort`
"""

from __future__ import annotations

import re
from typing import Any, Final

from windfall.errors import RequestRejected, UnsupportedParameter
from windfall_worker.cloud.anthropic_messages import conversation

#: Tokens that a completion may have if the request sets no limit; Anthropic requires one, OpenAI does not.
DEFAULT_MAX_TOKENS: Final = 4096

#: Fields that have no effect with these values.
_NEUTRAL: Final[dict[str, Any]] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "min_p": 0,
    "n": 1,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "temperature": 1,
    "top_k": 0,
    "top_logprobs": 0,
    "top_p": 1,
}
_TRANSLATED: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user",
    }
)

#: Models before adaptive thinking: they take a budget of thinking tokens, and reject an effort.
_BUDGET_MODELS: Final = re.compile(r"claude-3|claude-(opus|sonnet|haiku)-4-(0|1|5|20\d{6})(\D|$)")
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_SMALLEST_BUDGET: Final = 1024


def messages_body(body: dict[str, Any]) -> dict[str, Any]:
    """Translate a body. Raises `UnsupportedParameter`, and `RequestRejected` for messages that no API would accept."""
    body = {name: value for name, value in body.items() if value is not None and not _neutral(name, value)}
    for name in sorted(body.keys() - _TRANSLATED):
        raise UnsupportedParameter(f"Anthropic's API has no {name}; leave it out, or use another backend")
    system, turns = conversation(body["messages"])
    made: dict[str, Any] = {"model": body["model"], "max_tokens": _max_tokens(body), "messages": turns}
    if system:
        made["system"] = system
    if "temperature" in body:
        made["temperature"] = _temperature(body["temperature"])
    made |= {name: body[name] for name in ("top_p", "top_k", "thinking") if name in body}
    if "stop" in body:
        made["stop_sequences"] = [body["stop"]] if isinstance(body["stop"], str) else list(body["stop"])
    if "user" in body:
        made["metadata"] = {"user_id": body["user"]}
    made |= _tools(body)
    made |= _output(body, made["max_tokens"])
    return made


def _neutral(name: str, value: Any) -> bool:
    return name in _NEUTRAL and bool(value == _NEUTRAL[name])


def _max_tokens(body: dict[str, Any]) -> int:
    limits = [body[name] for name in ("max_completion_tokens", "max_tokens") if name in body]
    return int(limits[0]) if limits else room_for_answer(body.get("thinking"))


def room_for_answer(thinking: dict[str, Any] | None) -> int:
    """The limit of a request that sets none: thinking counts towards it, so its budget is added."""
    budget = (thinking or {}).get("budget_tokens")
    return DEFAULT_MAX_TOKENS + (budget if isinstance(budget, int) else 0)


def _temperature(value: float) -> float:
    if not 0 <= value <= 1:
        raise UnsupportedParameter(f"temperature {value} is outside Anthropic's range of 0 to 1")
    return value


def _tools(body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if body.get("tools"):
        made["tools"] = [_tool(at, tool) for at, tool in enumerate(body["tools"])]
    choice = _tool_choice(body["tool_choice"]) if "tool_choice" in body else None
    if body.get("parallel_tool_calls") is False and made:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return made | ({"tool_choice": choice} if choice else {})


def _tool(at: int, tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") not in ("function", "custom") and isinstance(tool.get("name"), str):
        return tool
    if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
        raise UnsupportedParameter(f"tools[{at}] is a {tool.get('type')!r}; only functions can be translated")
    function = tool["function"]
    made = {
        "name": function.get("name"),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    mark = tool.get("cache_control") or function.get("cache_control")
    made |= {name: function[name] for name in ("description", "strict") if function.get(name)}
    return made | ({"cache_control": mark} if mark else {})


def _tool_choice(choice: str | dict[str, Any]) -> dict[str, Any]:
    words = {"auto": "auto", "none": "none", "required": "any"}
    if isinstance(choice, str) and choice in words:
        return {"type": words[choice]}
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "tool", "name": (choice.get("function") or {}).get("name")}
    raise UnsupportedParameter(f"tool_choice {choice!r} has no counterpart in Anthropic's API")


def _output(body: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    config: dict[str, Any] = {}
    wanted = body.get("response_format") or {"type": "text"}
    if wanted.get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": (wanted.get("json_schema") or {}).get("schema") or {}}
    elif wanted.get("type") != "text":
        raise UnsupportedParameter(f"response_format {wanted.get('type')!r} has no counterpart in Anthropic's API")
    effort = body.get("reasoning_effort")
    if effort and "thinking" in body:
        if effort in ("none", "minimal") or body["thinking"].get("type") == "disabled":
            raise RequestRejected(f"reasoning_effort {effort!r} and thinking contradict each other; give only one")
        config["effort"] = effort
    elif effort == "none":
        made["thinking"] = {"type": "disabled"}
    elif effort and _BUDGET_MODELS.search(body["model"]):
        made["thinking"] = {"type": "enabled", "budget_tokens": _budget(effort, max_tokens)}
    elif effort:
        made["thinking"] = {"type": "adaptive"}
        config["effort"] = "low" if effort == "minimal" else effort
    return made | ({"output_config": config} if config else {})


def _budget(effort: str, max_tokens: int) -> int:
    if effort not in _BUDGETS:
        raise UnsupportedParameter(f"reasoning_effort {effort!r} has no counterpart in Anthropic's API")
    # Thinking counts towards max_tokens: leave at least half of them for the answer.
    budget = min(_BUDGETS[effort], max_tokens // 2)
    if budget < _SMALLEST_BUDGET:
        raise UnsupportedParameter(
            f"reasoning_effort needs max_tokens of at least {2 * _SMALLEST_BUDGET} on this model, not {max_tokens}"
        )
    return budget
