"""`submit` here, `worker` there, and the rest by id from anywhere."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from acceptance.commands import Shell, chat, is_plain, named_rows
from helpers.waiting import until

SLOW = ("--simulate", "small=0.3", "--slots", "5")
FAST = ("--simulate", "small=0", "--slots", "50")


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", named_rows(30))
    return shell


def submitted(windfall: Shell, *flags: str) -> str:
    done = windfall("submit", "in.jsonl", "--model", "small", *flags)
    assert done.code == 0, done.err
    return done.out.strip()


def counts(windfall: Shell, batch_id: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(windfall("status", batch_id, "--json").out)
    return found


def test_a_batch_is_submitted_watched_and_collected_by_its_id(windfall: Shell) -> None:
    with windfall.worker(*SLOW):
        batch_id = submitted(windfall)
        watched = windfall("watch", batch_id)
        assert watched.code == 0
        assert watched.out.splitlines()[-1] == "30 rows: 30 completed"
        status = windfall("status", batch_id)
        assert f"batch   {batch_id}: finished" in status.out
        assert "rows    30 rows: 30 completed" in status.out
        assert is_plain(watched.out + watched.err + status.out + status.err)
    assert windfall("results", batch_id, "-o", "out.jsonl").code == 0
    assert {row["custom_id"] for row in windfall.rows("out.jsonl")} == {f"c{n}" for n in range(1, 31)}
    job = windfall("result", f"{batch_id}:7")
    assert (job.code, job.out) == (0, "simulated answer after 0.3 s\n")
    details = json.loads(windfall("result", f"{batch_id}:7", "--json").out)
    assert (details["custom_id"], details["state"], len(details["attempts"])) == ("c7", "completed", 1)
    assert f"job {batch_id}:7: completed by simulated" in windfall("status", f"{batch_id}:7").out


def test_submit_prints_the_id_alone_and_warns_where_no_worker_serves_the_model(windfall: Shell) -> None:
    done = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "mine")
    assert (done.code, done.out) == (0, "mine\n")
    assert "warning: no live worker serves 'small'" in done.err
    assert "windfall watch mine" in done.err
    with windfall.worker("--simulate", "large=0"):
        assert "served now: large" in windfall("submit", "in.jsonl", "--model", "small").err


def test_submit_warns_of_what_is_paused(windfall: Shell) -> None:
    with windfall.worker(*FAST):
        submitted(windfall, "--batch-id", "mine")
        windfall("pause", "lane", "small")  # all of its routes; the rows take one
        windfall.write("in.jsonl", named_rows(40))
        warned = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "other")
        assert "the lane of 'small' is paused (auto); to resume it: windfall resume lane small" in warned.err
        windfall("pause", "batch", "other")
        windfall("resume", "lane", "small")
        again = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "other")
        assert "batch other is paused; to resume it: windfall resume batch other" in again.err
        assert windfall("status", "other").out.startswith(
            "batch   other: running, paused\nrows    40 rows: 40 queued\n"
        )
        windfall("resume", "batch", "other")
        assert windfall("watch", "other").code == 0


def test_the_same_file_under_the_same_id_adds_nothing_and_says_so(windfall: Shell) -> None:
    submitted(windfall, "--batch-id", "mine")
    again = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "mine")
    assert "batch mine already has 30 rows" in again.err
    assert counts(windfall, "mine")["total"] == 30


def test_an_edited_file_under_the_same_id_is_refused_and_adds_nothing(windfall: Shell) -> None:
    submitted(windfall, "--batch-id", "mine")
    windfall.write("in.jsonl", [chat("in front"), *named_rows(30)])
    again = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "mine")
    assert again.code == 1
    assert "batch mine was submitted with different rows: 0 of its rows are the same, 30 are not" in again.err
    other = windfall("submit", "in.jsonl", "--model", "large", "--batch-id", "mine")
    assert "the first being row 1" in other.err
    assert counts(windfall, "mine")["total"] == 30


def test_a_file_that_has_grown_adds_its_new_rows_and_says_how_many(windfall: Shell) -> None:
    submitted(windfall, "--batch-id", "mine")
    windfall.write("in.jsonl", [*named_rows(30), chat("behind")])
    again = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "mine")
    assert "30 rows were already in batch mine and keep their answers; 1 are new" in again.err


def test_a_file_of_which_nothing_can_run_is_refused_and_nothing_is_submitted(windfall: Shell) -> None:
    for rows, said in (
        (named_rows(30), "the rows of in.jsonl name no model, so nothing was submitted: name one with --model"),
        ([chat("x", model="m", temprature=1)] * 3, "none of the 3 rows of in.jsonl can run, and nothing was submitted"),
        ([b"text,label", *[b"yes,0"] * 20_000], "in.jsonl is not JSON Lines; it looks like CSV"),
    ):
        windfall.write("in.jsonl", rows)
        done = windfall("submit", "in.jsonl", "--wait", "--batch-id", "mine")
        assert (done.code, done.out) == (1, "")
        assert said in done.err
        assert windfall("status", "mine").code == 1


def test_a_batch_of_nothing_but_errors_is_said_to_be_one(windfall: Shell) -> None:
    windfall.write("in.jsonl", [chat("x", model="m", temprature=1)] * 30)
    done = windfall("submit", "in.jsonl", "--batch-id", "mine")
    assert done.code == 3
    assert "none of the 30 rows can run; batch mine holds only their errors" in done.err


def test_result_of_a_batch_says_that_it_is_one(windfall: Shell) -> None:
    batch_id = submitted(windfall)
    done = windfall("result", batch_id)
    assert done.code == 1
    assert f"{batch_id} is a batch of 30 rows, not a job: get its results with windfall results {batch_id}" in done.err


def test_submit_can_wait_and_write_the_results(windfall: Shell) -> None:
    windfall.write("in.jsonl", [*named_rows(5), {"custom_id": "wrong", "body": {}}])
    with windfall.worker(*FAST):
        done = windfall("submit", "in.jsonl", "--model", "small", "--wait", "-o", "out.jsonl")
    assert done.code == 3
    assert "1 of 6 rows cannot run; the first: line 6, field 'body.messages': is missing" in done.err
    assert {row["custom_id"]: row["error"] is None for row in windfall.rows("out.jsonl")} == {
        **{f"c{n}": True for n in range(1, 6)},
        "wrong": False,
    }


def test_submit_says_which_rows_no_mac_can_run(windfall: Shell) -> None:
    rows = [chat("x", model="m"), chat("x", model="m", n=2), chat("x", model="m", n=2, route="local")]
    windfall.write("in.jsonl", rows)
    done = windfall("submit", "in.jsonl")
    assert done.code == 0
    assert "1 of 3 rows cannot run; the first: line 3, field 'n': a Mac makes one completion" in done.err
    assert "1 of 3 rows wait for the cloud alone; the first: row-2, field 'n': a Mac makes one completion" in done.err


def test_what_out_answers_already_is_not_submitted_again(windfall: Shell) -> None:
    command = ("submit", "in.jsonl", "--model", "small", "--wait", "-o", "out.jsonl")
    with windfall.worker(*FAST):
        first = windfall(*command).out.strip()
        same = windfall(*command)
        edited = named_rows(32)
        edited[6]["body"] = chat("changed")
        windfall.write("in.jsonl", edited)
        again = windfall(*command)
    assert (same.code, same.out) == (0, "")
    assert "30 rows are already in out.jsonl; 0 changed, 0 new" in same.err
    assert "all rows are in out.jsonl; nothing was submitted" in same.err
    assert "29 rows are already in out.jsonl; 1 changed, 2 new" in again.err
    second = again.out.strip()
    assert counts(windfall, second)["total"] == 3
    batch_of = {row["custom_id"]: row["id"].partition(":")[0] for row in windfall.rows("out.jsonl")}
    assert len(batch_of) == len(windfall.rows("out.jsonl")) == 32
    assert {name for name, batch in batch_of.items() if batch == second} == {"c7", "c31", "c32"}
    assert [row["id"] for row in windfall.rows("out.jsonl.old")] == [f"{first}:7"]
    assert windfall("results", second, "-o", "out.jsonl").code == 0
    assert len(windfall.rows("out.jsonl")) == 32


def test_a_stopped_submission_that_waited_is_fetched_and_not_submitted_anew(windfall: Shell) -> None:
    command = ("submit", "in.jsonl", "--model", "small", "--wait", "-o", "out.jsonl")
    with windfall.worker(*FAST):
        windfall(*command)
    windfall.write("in.jsonl", named_rows(60))
    with windfall.started(*command) as waiting:
        assert waiting.stdout is not None
        second = waiting.stdout.readline().decode().strip()
        waiting.kill()
    with windfall.worker(*FAST):
        again = windfall(*command)
    assert again.code == 0, again.err
    assert f"fetching the rest of batch {second} into out.jsonl first" in again.err
    assert "all rows are in out.jsonl; nothing was submitted" in again.err
    assert sorted(row["custom_id"] for row in windfall.rows("out.jsonl")) == sorted(f"c{n}" for n in range(1, 61))
    assert not list(windfall.folder.glob(".*.batch"))


def test_a_batch_id_that_was_used_again_does_not_pass_for_the_old_batch(windfall: Shell) -> None:
    with windfall.worker(*FAST):
        submitted(windfall, "--batch-id", "mine", "--wait", "-o", "out.jsonl")
        held = (windfall.folder / "out.jsonl").read_bytes()
        assert windfall("delete", "mine").code == 0
        windfall.write("in.jsonl", [chat("in front"), *named_rows(29)])
        done = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "mine", "--wait", "-o", "out.jsonl")
    assert done.code == 1
    assert "out.jsonl holds the answer to another request as mine:" in done.err
    assert (windfall.folder / "out.jsonl").read_bytes() == held


def test_results_of_one_batch_are_not_written_behind_those_of_another(windfall: Shell) -> None:
    with windfall.worker(*FAST):
        first = windfall("submit", "in.jsonl", "--model", "small", "--wait", "-o", "out.jsonl").out.strip()
        held = (windfall.folder / "out.jsonl").read_bytes()
        windfall.write("other.jsonl", [chat("something else")])
        again = windfall("submit", "other.jsonl", "--model", "small", "--wait", "-o", "out.jsonl")
        second = submitted(windfall)
        refused = windfall("results", second, "--follow", "-o", "out.jsonl")
    for command in (again, refused):
        assert command.code != 0
        assert f"out.jsonl holds results of batch {first}; name another file" in command.err
        assert f"windfall results {first} --follow -o out.jsonl" in command.err
    assert again.out == ""  # nothing was submitted
    assert (windfall.folder / "out.jsonl").read_bytes() == held
    assert windfall("results", first, "-o", "out.jsonl").code == 0


def test_a_batch_is_cancelled_half_way_and_every_row_has_its_result(windfall: Shell) -> None:
    with windfall.worker("--simulate", "small=0.5", "--slots", "1"):
        batch_id = submitted(windfall)
        until(lambda: counts(windfall, batch_id)["completed"] > 0, "a first completed row")
        assert windfall("cancel", batch_id).code == 0
        assert windfall("watch", batch_id).code == 3
    found = counts(windfall, batch_id)
    assert found["completed"] + found["cancelled"] == found["total"] == 30
    assert found["cancelled"] > 0
    windfall("results", batch_id, "-o", "out.jsonl")
    codes = [row["error"] and row["error"]["code"] for row in windfall.rows("out.jsonl")]
    assert codes.count("batch_cancelled") == found["cancelled"]


def test_results_killed_while_following_go_on_where_they_were(windfall: Shell) -> None:
    with windfall.worker(*SLOW):
        batch_id = submitted(windfall)
        with windfall.started("results", batch_id, "--follow", "-o", "out.jsonl") as process:
            windfall.until_lines("out.jsonl", 6)
            process.kill()
        done = windfall("results", batch_id, "--follow", "-o", "out.jsonl")
    assert done.code == 0
    assert sorted(row["custom_id"] for row in windfall.rows("out.jsonl")) == sorted(f"c{n}" for n in range(1, 31))


def test_an_unfinished_job_has_no_result_unless_it_is_waited_for(windfall: Shell) -> None:
    batch_id = submitted(windfall)
    unfinished = windfall("result", f"{batch_id}:1")
    assert unfinished.code == 1
    assert f"job {batch_id}:1 has no result yet" in unfinished.err
    assert windfall("status", f"{batch_id}:1").out.splitlines()[0] == f"job {batch_id}:1: queued"
    with windfall.worker(*FAST):
        assert windfall("result", f"{batch_id}:1", "--wait").code == 0


def test_a_worker_told_to_end_hands_back_what_it_has_and_the_next_one_goes_on(windfall: Shell) -> None:
    batch_id = submitted(windfall)
    with windfall.worker("--simulate", "small=30", "--slots", "5", "--drain-timeout", "0.2") as process:
        until(lambda: counts(windfall, batch_id)["running"] == 5, "five running rows")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with windfall.worker(*FAST):
        assert windfall("watch", batch_id).code == 0
    windfall("results", batch_id, "-o", "out.jsonl")
    assert len(windfall.rows("out.jsonl")) == 30


def test_the_fleet_and_its_lanes_are_listed(windfall: Shell) -> None:
    assert "no worker is live" in windfall("fleet").out
    submitted(windfall)
    with windfall.worker("--simulate", "other=1", "--name", "mini"):
        listed = windfall("fleet")
        as_json = json.loads(windfall("fleet", "--json").out)
    assert listed.code == 0
    assert is_plain(listed.out)
    assert "mini-" in listed.out
    (lane,) = as_json["lanes"]
    assert (lane["model"], lane["route"], lane["queued"], lane["running"]) == ("small", "auto", 30, 0)
    assert [model["name"] for model in as_json["workers"][0]["models"]] == ["other"]


def test_doctor_says_what_is_wrong_and_how_to_mend_it(windfall: Shell) -> None:
    done = windfall("doctor")
    assert done.code == 1
    lines = done.out.splitlines()
    assert any(line.startswith("✓ Redis ") for line in lines)
    (unsaved,) = (line for line in lines if "it loses jobs when it restarts" in line)
    assert unsaved.startswith("✗ ")
    assert unsaved.endswith("redis-cli CONFIG SET appendonly yes")
    (windfall.folder / "windfall.toml").write_text('[models.small]\nmlx = "/no/such/folder"\n')
    assert "✗ model small: /no/such/folder: there is no such folder" in windfall("doctor").out


def test_a_worker_takes_its_models_from_windfall_toml(windfall: Shell) -> None:
    (windfall.folder / "windfall.toml").write_text("[models.small]\nsimulate = 0.0\nslots = 3\n")
    with windfall.worker():
        assert windfall("watch", submitted(windfall)).code == 0
