"""`windfall demo`: the main job on the bundled model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from windfall.cli.models import model_for_run, require_worker, worker_package
from windfall.cli.run import run_file
from windfall.cli.screen.console import note, say, say_table
from windfall.config.private import create_private
from windfall.config.settings import Settings

if TYPE_CHECKING:
    from windfall_worker.demo.tasks import Row

_FOLDER: Final = "windfall-demo"
_MAX_TOKENS: Final = 400
_WIDEST: Final = 44  # characters of a prompt or an answer in the table


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder for its files [windfall-demo].", show_default=False
        ),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, max=4096, help="How many rows run at once [32].", show_default=False)
    ] = None,
) -> None:
    """Run sixty small tasks on the bundled model, and show its answers.

    The tiny model was trained for exactly these kinds of task. Nothing is downloaded; the files stay in the folder.
    """
    require_worker()
    with worker_package():
        from windfall_worker.demo.tasks import demo_rows  # noqa: PLC0415 - an extra
    rows = demo_rows()
    folder = output or _new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / "requests.jsonl", folder / "results.jsonl"
    target.unlink(missing_ok=True)
    lines = [json.dumps(_line(number, row)) + "\n" for number, row in enumerate(rows, 1)]
    source.unlink(missing_ok=True)  # never write through it: it may be a link
    create_private(source, "".join(lines))
    note(f"windfall run {source} -o {target} --model demo")
    served = model_for_run("demo", None, slots, Settings())
    outcome = run_file(source, target, served, Settings())
    right = _show(rows, target)
    tally = outcome.tally
    say(f"{right} of {len(rows)} answers are right; {tally.tokens:,} tokens, {tally.tokens_per_second:,.0f} tokens/s")
    say(f"the requests are in {source}, the results in {target}")
    if outcome.failed:
        raise typer.Exit(3)


def _new_folder() -> Path:
    """A folder that does not exist yet."""
    number, folder = 1, Path(_FOLDER)
    while folder.exists():
        number += 1
        folder = Path(f"{_FOLDER}-{number}")
    return folder


def _line(number: int, row: Row) -> dict[str, Any]:
    """The row as an OpenAI Batch line."""
    body: dict[str, Any] = {
        "model": "demo",
        "messages": _messages(row.messages),
        "temperature": 0,
        "max_tokens": _MAX_TOKENS,
    }
    if row.tools:
        body["tools"] = list(row.tools)
    if row.enable_thinking:
        body["chat_template_kwargs"] = {"enable_thinking": True}
    return {"custom_id": f"{row.task}-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def _messages(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add tool-call ids and write arguments as JSON text, as OpenAI requires; the tasks have neither."""
    said = []
    for number, message in enumerate(messages):
        calls = [
            {**call, "id": f"call-{number}", "function": _as_text(call["function"])}
            for call in message.get("tool_calls", [])
        ]
        extra: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if message["role"] == "tool":
            extra["tool_call_id"] = f"call-{number - 1}"
        said.append({**message, **extra})
    return said


def _as_text(function: dict[str, Any]) -> dict[str, Any]:
    return {**function, "arguments": json.dumps(function["arguments"])}


def _show(rows: Sequence[Row], target: Path) -> int:
    """Print the table; returns the number of right answers."""
    answered = {}
    for line in target.read_text(encoding="utf-8").splitlines():
        output = json.loads(line)
        answered[output["custom_id"]] = output
    table, right = [], 0
    for number, row in enumerate(rows, 1):
        output = answered[f"{row.task}-{number}"]
        answer = _answer(output)
        is_right = answer == row.content.strip()
        right += is_right
        table.append((row.task, _cut(_prompt(row)), _cut(answer or "(no answer)"), "✓" if is_right else "✗"))
    say_table(("TASK", "PROMPT", "ANSWER", "RIGHT"), table)
    return right


def _prompt(row: Row) -> str:
    """The row's question; with the tool's answer, if it has one."""
    asked, last = row.messages[0], row.messages[-1]
    return f"{asked['content']} {last['content']}" if last["role"] == "tool" else str(asked["content"])


def _answer(output: dict[str, Any]) -> str:
    """The answer in the tasks' notation: the content, then tool calls in their markup."""
    if output["error"]:
        return f"({output['error']['message']})"
    message = output["response"]["body"]["choices"][0]["message"]
    calls = [
        f'<tool_call>\n{{"name": {json.dumps(call["function"]["name"])}, "arguments": {call["function"]["arguments"]}}}'
        "\n</tool_call>"
        for call in message.get("tool_calls", [])
    ]
    return "\n".join([message["content"] or "", *calls]).strip()


def _cut(text: str) -> str:
    flat = text.replace("<tool_call>\n", "").replace("\n</tool_call>", "").replace("\n", " ")
    return flat if len(flat) <= _WIDEST else flat[: _WIDEST - 1] + "…"
