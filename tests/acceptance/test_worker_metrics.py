"""`windfall worker --metrics-port`, as a person starts it and Prometheus reads it."""

from __future__ import annotations

import socket
from pathlib import Path

from acceptance.commands import Shell, chat
from helpers.scraping import scrape_now
from helpers.waiting import until
from windfall.embedded.broker import free_port


def test_a_worker_with_an_engine_serves_its_numbers_on_the_port_of_its_settings(tmp_path: Path, redis_url: str) -> None:
    windfall, port = Shell(tmp_path, redis_url), free_port()
    (tmp_path / "windfall.toml").write_text(f"[worker]\nmetrics_port = {port}\n")
    windfall.write("in.jsonl", [chat("What is 2 + 2?", max_tokens=8)] * 3)
    with windfall.worker("--model", "demo"):
        done = windfall("submit", "in.jsonl", "--model", "demo", "--wait", "-o", "out.jsonl")
        assert done.code == 0, done.err
        # The engine tells of itself five times a second, a completion at once.
        until(lambda: scrape_now(port)("windfall_engine_steps_total", model="demo") > 0, "the engine's steps")
        seen = scrape_now(port)
    usages = [row["response"]["body"]["usage"] for row in windfall.rows("out.jsonl")]
    assert seen("windfall_jobs_total", model="demo", state="completed") == 3
    for kind in ("prompt", "completion"):
        assert seen("windfall_tokens_total", backend="mlx", kind=kind) == sum(each[f"{kind}_tokens"] for each in usages)
    assert seen("windfall_engine_memory_bytes", model="demo") > 0


def test_a_port_in_use_is_one_sentence_before_the_model_is_loaded(tmp_path: Path) -> None:
    windfall = Shell(tmp_path, "redis://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = windfall("worker", "--model", "no/such-model", "--metrics-port", str(port))
    assert done.code == 1
    assert done.err.startswith(f"windfall: port {port} on 127.0.0.1 is in use")
    assert len(done.err.splitlines()) == 1
