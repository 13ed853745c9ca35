"""What no Mac can run: refused for the route `local`, and placed in the lane of the cloud for `auto`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from windfall import CompletionRequest, InvalidRequest, InvalidRow, Route
from windfall.formats import Overrides, read_rows
from windfall.placement import check_placement, cloud_only, lane_route

AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FILE = {"type": "file", "file": {"file_id": "f"}}
CALL = {"id": "1", "type": "custom", "custom": {"name": "g", "input": "x"}}
HI = {"role": "user", "content": "hi"}

CLOUD_ONLY: dict[str, tuple[dict[str, Any], str]] = {
    "several choices": ({"n": 2}, "n"),
    "a search": ({"web_search_options": {}}, "web_search_options"),
    "a custom tool": ({"tools": [{"type": "custom", "custom": {"name": "g"}}]}, "tools.0.type"),
    "a custom tool's call": (
        {"messages": [HI, {"role": "assistant", "tool_calls": [CALL]}]},
        "messages.1.tool_calls",
    ),
    "sound": ({"messages": [{"role": "user", "content": [AUDIO]}]}, "messages.0.content.0.type"),
    "an image": ({"messages": [HI, {"role": "user", "content": [IMAGE]}]}, "messages.1.content.0.type"),
    "a file": ({"messages": [{"role": "user", "content": [FILE]}]}, "messages.0.content.0.type"),
    "an answer in sound": ({"messages": [HI, {"role": "assistant", "audio": {"id": "a"}}]}, "messages.1.audio"),
    "a container": ({"anthropic": {"messages": [HI], "container": "c"}}, "anthropic.container"),
    "a final assistant turn": (
        {"anthropic": {"messages": [HI, {"role": "assistant", "content": "{"}]}},
        "anthropic.messages.1.role",
    ),
}
EVERYWHERE: dict[str, dict[str, Any]] = {
    "one choice": {"n": 1},
    "functions": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "text in parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    "structured output, which an engine may know": {"response_format": {"type": "json_object"}},
    "a forced call, which an engine may know": {"tool_choice": "required"},
    "a system in blocks": {"anthropic": {"messages": [HI], "system": [{"type": "text", "text": "x"}]}},
}


def asked(fields: dict[str, Any], **more: Any) -> CompletionRequest:
    body = {"model": "m"} | ({} if "anthropic" in fields else {"messages": [HI]}) | fields | more
    return CompletionRequest.model_validate(body)


@pytest.mark.parametrize(("fields", "field"), CLOUD_ONLY.values(), ids=CLOUD_ONLY)
def test_what_no_mac_can_run_is_refused_by_name_for_local_and_waits_for_the_cloud_with_auto(
    fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest, match="route 'local'") as caught:
        check_placement(asked(fields, route="local"))
    assert caught.value.field == field
    found = cloud_only(asked(fields))
    assert found
    assert found.field == field
    assert lane_route(asked(fields)) is Route.CLOUD
    check_placement(asked(fields))


@pytest.mark.parametrize("fields", EVERYWHERE.values(), ids=EVERYWHERE)
def test_the_rest_waits_where_its_route_says(fields: dict[str, Any]) -> None:
    for route in Route:
        check_placement(asked(fields, route=route))
        assert lane_route(asked(fields, route=route)) is route


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"model": "m", "messages": [HI], "route": "local", "n": 2}, "n"),
        ({"custom_id": "a", "body": {"model": "m", "messages": [HI], "route": "local", "n": 2}}, "body.n"),
    ],
)
def test_a_row_that_no_route_takes_says_so_when_it_is_read(row: dict[str, Any], field: str) -> None:
    (found,) = read_rows(io.BytesIO(json.dumps(row).encode()))
    assert isinstance(found, InvalidRow)
    assert (found.error.field, found.error.line) == (field, 1)


def test_so_does_one_of_anthropics() -> None:
    row = {"custom_id": "a", "params": {"model": "m", "messages": [HI], "inference_geo": "eu"}}
    (found,) = read_rows(io.BytesIO(json.dumps(row).encode()), overrides=Overrides(route=Route.LOCAL))
    assert isinstance(found, InvalidRow)
    assert found.error.field == "params.inference_geo"
    assert "only Anthropic's API can say where a request is processed" in found.error.reason
