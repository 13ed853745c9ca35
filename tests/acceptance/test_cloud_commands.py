"""A worker with a cloud mapping, and what a person sees and does when the cloud misbehaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acceptance.commands import Shell, is_plain, named_rows
from faultserver import FaultServer
from helpers.waiting import until

KEY = "sk-nobody-may-read-this"


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str, fault_server: FaultServer, model: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.environment["TEST_KEY"] = KEY
    shell.write("in.jsonl", named_rows(4))
    (tmp_path / "windfall.toml").write_text(
        f"""
[models.small]
cloud = ["test:{model}"]

[providers.test]
protocol = "openai"
base_url = {json.dumps(fault_server.url)}
api_key_env = "TEST_KEY"
max_retries = 0
breaker = {{ fail_max = 2, reset_timeout = 300 }}
"""
    )
    return shell


def test_a_cloud_only_worker_serves_what_windfall_toml_maps(
    windfall: Shell, fault_server: FaultServer, model: str
) -> None:
    fault_server.plan(model, then={})
    with windfall.worker():
        done = windfall("submit", "in.jsonl", "--model", "small", "--route", "cloud", "--wait", "-o", "out.jsonl")
        assert done.code == 0, done.err
        fleet = windfall("fleet")
    assert {row["response"]["body"]["choices"][0]["message"]["content"] for row in windfall.rows("out.jsonl")} == {
        "a good answer"
    }
    assert f"/{model}" in fleet.out
    assert "closed" in fleet.out
    assert is_plain(fleet.out)
    assert fault_server.seen(model)[0]["headers"]["authorization"] == f"Bearer {KEY}"


def test_a_container_has_its_mappings_from_the_environment(windfall: Shell, model: str) -> None:
    windfall.environment["WINDFALL_CLOUD"] = f"one=test:{model} two=test:{model}-b"
    with windfall.worker():
        workers = json.loads(windfall("fleet", "--json").out)["workers"]
    assert [served["name"] for served in workers[0]["models"]] == ["one", "two"]


def test_a_breaker_is_seen_and_moved_by_hand(windfall: Shell, fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"status": 500})
    with windfall.worker():
        batch = windfall("submit", "in.jsonl", "--model", "small", "--route", "cloud").out.strip()

        def breaker() -> dict[str, object]:
            found = json.loads(windfall("breaker", "list", "--json").out)["breakers"]
            return found[0] if found else {}

        until(lambda: breaker().get("state") == "open", "an open breaker")
        name = str(breaker()["name"])
        assert "open" in windfall("breaker", "list").out
        fault_server.plan(model, then={})
        assert windfall("breaker", "close", name).out == f"{name} is closed\n"
        # The jobs come back when the breaker had said that it might be tried again; one by hand goes now.
        assert windfall("breaker", "open", name).code == 0
        assert breaker()["held"] is True
        assert windfall("breaker", "close", name).code == 0
        assert windfall("cancel", batch).code == 0
        unknown = windfall("breaker", "open", "http://nowhere/x")
        assert (unknown.code, "no breaker is called" in unknown.err) == (1, True)


def test_dead_letters_are_listed_run_again_and_purged(windfall: Shell, fault_server: FaultServer, model: str) -> None:
    fault_server.plan(model, then={"status": 400})
    with windfall.worker():
        done = windfall("submit", "in.jsonl", "--model", "small", "--route", "cloud", "--wait", "-o", "out.jsonl")
        assert done.code == 3, done.err
        listed = windfall("dead", "list")
        assert listed.out.count("invalid_request") == 4
        first, second, *_ = [json.loads(line)["job_id"] for line in windfall("dead", "list", "--json").out.splitlines()]
        letter = json.loads(windfall("dead", "show", first).out)
        assert letter["request"]["messages"][0]["content"].startswith("row ")
        assert letter["result"]["error"]["status"] == 400
        fault_server.plan(model, then={})
        assert windfall("dead", "retry", first).out == "1 dead letters queued again\n"
        until(lambda: windfall("result", first).out == "a good answer\n", "the answer")
        assert windfall("dead", "purge", second).out == "1 dead letters deleted\n"
        assert windfall("dead", "purge", "--all").out == "2 dead letters deleted\n"
    assert windfall("dead", "list").out == "no dead letters\n"
    neither = windfall("dead", "purge")
    assert (neither.code, "--all" in neither.err) == (1, True)


def test_a_missing_key_is_named_before_the_worker_starts(windfall: Shell) -> None:
    del windfall.environment["TEST_KEY"]
    done = windfall("worker")
    assert done.code == 1
    assert "environment variable TEST_KEY is not set" in done.err


def test_a_mapping_on_the_command_line_needs_a_provider_that_there_is(windfall: Shell) -> None:
    done = windfall("worker", "--cloud", "small=opnai:gpt-5-mini")
    assert done.code == 1
    assert "'opnai'" in done.err
    assert "openai" in done.err


def test_submit_says_first_how_many_rows_may_go_to_which_paid_backend(windfall: Shell, model: str) -> None:
    with windfall.worker("--spill-after", "5m"), windfall.worker("--simulate", "small=0"):
        until(lambda: len(json.loads(windfall("fleet", "--json").out)["workers"]) == 2, "both workers")
        said = windfall("submit", "in.jsonl", "--model", "small").err.splitlines()[0]
        assert said == (
            f"4 rows of small may go to test:{model}, which is paid, when no live Mac serves it for 300 s; "
            "--route local rules that out"
        )
        assert "paid" not in windfall("submit", "in.jsonl", "--model", "small", "--route", "local").err
        windfall.environment["WINDFALL_ROUTE"] = "local"
        assert "paid" not in windfall("submit", "in.jsonl", "--model", "small", "--keep", "1d").err


def test_rows_without_a_route_take_that_of_the_settings(windfall: Shell) -> None:
    windfall.environment["WINDFALL_ROUTE"] = "local"
    batch = windfall("submit", "in.jsonl", "--model", "small").out.strip()
    lanes = json.loads(windfall("fleet", "--json").out)["lanes"]
    assert [(lane["route"], lane["queued"]) for lane in lanes] == [("local", 4)]
    windfall("delete", batch, "--cancel")
    windfall.environment["WINDFALL_ROUTE"] = "moon"
    wrong = windfall("submit", "in.jsonl", "--model", "small")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err == ("windfall: environment variable WINDFALL_ROUTE: Input should be 'local', 'auto' or 'cloud'\n")
    del windfall.environment["WINDFALL_ROUTE"]
    settings = windfall.folder / "windfall.toml"
    settings.write_text('route = "moon"\n' + settings.read_text())
    wrong = windfall("submit", "in.jsonl", "--model", "small")
    assert wrong.code == 1
    assert "key 'route': must be 'local', 'auto' or 'cloud', not 'moon'" in wrong.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--spill", "often"), "no-mac"),
        (("--spill-after", "soon"), "'soon' is not a duration: write 90s, 15m, 8h, 7d or a number of seconds"),
    ],
)
def test_a_wrong_rule_for_the_cloud_is_named(windfall: Shell, flags: tuple[str, ...], said: str) -> None:
    done = windfall("worker", *flags)
    assert done.code == 2
    assert said in done.err
