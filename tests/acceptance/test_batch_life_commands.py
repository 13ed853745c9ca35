"""A batch from its submission to its deletion, as a user types it: stopped, gone on with, in order, in time, on full
disks.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis

from acceptance.commands import Shell, named_rows
from helpers.waiting import until

SLOW = ("--simulate", "small=0.2", "--slots", "5")
FAST = ("--simulate", "small=0", "--slots", "50")
MANY = 40_000


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", named_rows(30))
    return shell


def submitted(windfall: Shell, *flags: str) -> str:
    done = windfall("submit", "in.jsonl", "--model", "small", *flags)
    assert done.code == 0, done.err
    return done.out.strip()


def status(windfall: Shell, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(windfall("status", batch_id, "--json").out)
    return found


def batches(redis_url: str) -> list[str]:
    with sync_redis.Redis.from_url(redis_url) as client:
        return [name.decode() for name in client.zrange("windfall:batches", 0, -1)]


def rows_in(redis_url: str) -> int:
    with sync_redis.Redis.from_url(redis_url) as client:
        return sum(int(client.hget(f"windfall:batch:{name}", "total") or 0) for name in batches(redis_url))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_submission_stopped_half_way_goes_on_with_the_same_command(
    windfall: Shell, redis_url: str, number: signal.Signals, code: int
) -> None:
    windfall.write("in.jsonl", named_rows(MANY))
    command = ("submit", "in.jsonl", "--model", "small")
    with windfall.started(*command) as process:
        until(lambda: rows_in(redis_url) > 1000, "the first rows")
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    (name,) = batches(redis_url)
    before = rows_in(redis_url)
    assert before < MANY
    if number is signal.SIGINT:
        assert f"rows are in batch {name}; repeat the command to continue with the rest".encode() in err
        assert b"Traceback" not in err
    done = windfall(*command)
    assert (done.code, done.out) == (0, f"{name}\n")
    assert f"continuing with batch {name}, which has {before:,} rows" in done.err
    assert (status(windfall, name)["total"], status(windfall, name)["sealed"]) == (MANY, True)
    assert windfall(*command).out.strip() != name  # complete: the next time is a batch of its own


def test_what_comes_from_a_pipe_is_gone_on_with_by_the_batchs_id(windfall: Shell, redis_url: str) -> None:
    source = windfall.write("in.jsonl", named_rows(MANY)).read_bytes()
    command = [sys.executable, "-m", "windfall", "submit", "-", "--model", "small"]
    with subprocess.Popen(
        command, cwd=windfall.folder, env=windfall.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(source[: len(source) // 2])
        process.stdin.flush()
        until(lambda: rows_in(redis_url) > 1000, "the first rows")
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        err = process.stderr.read().decode()
    assert process.returncode == 130
    (name,) = batches(redis_url)
    assert f"repeat the command with --batch-id {name} to continue with the rest" in err
    assert windfall(*command[3:], "--batch-id", name, stdin=source).code == 0
    assert status(windfall, name)["total"] == MANY


@pytest.mark.parametrize("source", ["-", "pipe.jsonl"])
def test_rows_of_a_pipe_that_stays_open_are_sent_and_ctrl_c_ends_the_command(
    windfall: Shell, redis_url: str, source: str
) -> None:
    rows = windfall.write("in.jsonl", named_rows(3)).read_bytes()
    os.mkfifo(windfall.folder / "pipe.jsonl")
    command = [sys.executable, "-m", "windfall", "submit", source, "--model", "small"]
    with subprocess.Popen(
        command, cwd=windfall.folder, env=windfall.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        with process.stdin if source == "-" else (windfall.folder / source).open("wb") as pipe:
            pipe.write(rows)
            pipe.flush()
            until(lambda: rows_in(redis_url) == 3, "the rows")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        err = process.stderr.read().decode()
    assert "stopped: 3 rows are in batch" in err
    assert "Fatal" not in err
    assert "Traceback" not in err


def test_a_batch_is_cancelled_while_it_is_being_submitted(windfall: Shell, redis_url: str) -> None:
    windfall.write("in.jsonl", named_rows(MANY))
    with windfall.started("submit", "in.jsonl", "--model", "small", "--batch-id", "mine") as process:
        until(lambda: rows_in(redis_url) > 1000, "the first rows")
        assert windfall("cancel", "mine").code == 0
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"batch mine was cancelled and accepts no more rows" in err
    found = status(windfall, "mine")
    assert found["state"] == "cancelled"
    assert found["cancelled"] == found["total"] < MANY


def test_rows_that_are_not_done_by_the_deadline_expire_although_no_worker_lives(windfall: Shell) -> None:
    with windfall.worker("--simulate", "small=0.01", "--slots", "1"):
        batch_id = submitted(windfall, "--deadline", "3s", "--keep", "1h")
        until(lambda: status(windfall, batch_id)["completed"] > 0, "a first completed row")
    assert "due     " in windfall("status", batch_id).out or status(windfall, batch_id)["finished_at"]
    assert windfall("watch", batch_id).code in (0, 3)
    found = status(windfall, batch_id)
    assert found["completed"] + found["expired"] == 30
    assert found["kept_until"] == pytest.approx(found["finished_at"] + 3600)
    assert re.search("kept    for another (59 min|1 h 0 min)", windfall("status", batch_id).out)
    assert windfall("results", batch_id, "-o", "out.jsonl").code == 0
    codes = [row["error"] and row["error"]["code"] for row in windfall.rows("out.jsonl")]
    assert codes.count("batch_expired") == found["expired"]
    assert codes.count(None) == found["completed"]


def test_without_any_worker_the_whole_batch_expires(windfall: Shell) -> None:
    batch_id = submitted(windfall, "--deadline", "0.5")
    assert windfall("watch", batch_id).code == 3
    assert status(windfall, batch_id)["expired"] == 30


@pytest.mark.parametrize("flag", ["--deadline", "--keep"])
def test_a_time_that_is_none_is_wrong_usage(windfall: Shell, flag: str) -> None:
    done = windfall("submit", "in.jsonl", "--model", "small", flag, "soon")
    assert done.code == 2
    assert "'soon' is not a duration: write 90s, 15m, 8h, 7d or a number" in done.err


def test_a_deleted_batch_is_gone_and_an_unfinished_one_needs_a_word_more(windfall: Shell, redis_url: str) -> None:
    batch_id = submitted(windfall)
    refused = windfall("delete", batch_id)
    assert (refused.code, "is unfinished" in refused.err) == (1, True)
    assert windfall("delete", batch_id, "--cancel").out == f"batch {batch_id} deleted\n"
    assert windfall("status", batch_id).code == 1
    with sync_redis.Redis.from_url(redis_url) as client:
        assert not [key for key in client.scan_iter() if batch_id in key.decode()]
    with windfall.worker(*FAST):
        done = submitted(windfall, "--wait")
    assert windfall("delete", done, "--json").out == f'{{"id": "{done}", "deleted": true}}\n'


def test_results_stand_in_the_order_of_the_input_also_after_a_kill(windfall: Shell) -> None:
    with windfall.worker(*SLOW):
        batch_id = submitted(windfall)
        command = ("results", batch_id, "--order", "input", "-o", "out.jsonl")
        with windfall.started(*command, "--follow") as process:
            windfall.until_lines("out.jsonl", 6)
            process.kill()
        assert windfall(*command).code == 0
        assert windfall(*command, "--follow").code == 0
    assert [row["custom_id"] for row in windfall.rows("out.jsonl")] == [f"c{n}" for n in range(1, 31)]


def test_watch_says_what_failed_by_its_kind(windfall: Shell) -> None:
    windfall.write("in.jsonl", [*named_rows(2), {"custom_id": "wrong", "body": {}}, b"{"])
    with windfall.worker(*FAST):
        done = windfall("watch", submitted(windfall))
    assert done.code == 3
    assert "failed: 2 invalid_request" in done.err


def test_limits_are_settings_with_a_sentence_each(windfall: Shell) -> None:
    (windfall.folder / "windfall.toml").write_text("max_batch_rows = 10\n")
    done = windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "b")
    assert done.code == 1
    assert "batch b has 10 rows, the most a batch may have (setting max_batch_rows); these run" in done.err
    assert status(windfall, "b")["total"] == 10


# A full disk: the system refuses to let a file grow beyond a size, as it refuses to let it grow on a full disk.


def limited(windfall: Shell, size: int, *args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "windfall", *args],
        cwd=windfall.folder,
        env=windfall.environment,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
    )


@pytest.mark.parametrize("order", ["completion", "input"])
def test_results_that_meet_a_full_disk_say_so_and_go_on_with_each_row_once(windfall: Shell, order: str) -> None:
    with windfall.worker(*FAST):
        batch_id = submitted(windfall, "--wait")
    command = ("results", batch_id, "-o", "out.jsonl", "--order", order)
    done = limited(windfall, 5000, *command)
    assert done.returncode == 1
    assert b"windfall: cannot write to out.jsonl: File too large; " in done.stderr
    assert b"repeating the command continues after them" in done.stderr
    assert b"Traceback" not in done.stderr
    assert (windfall.folder / "out.jsonl").stat().st_size == 5000  # a line was cut off
    assert windfall(*command).code == 0
    names = [row["custom_id"] for row in windfall.rows("out.jsonl")]
    assert sorted(names) == sorted(f"c{n}" for n in range(1, 31))


def test_a_run_that_meets_a_full_disk_says_so_and_goes_on_with_each_row_once(windfall: Shell) -> None:
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "any", "--simulate", "0")
    done = limited(windfall, 5000, *command)
    assert done.returncode == 1
    assert b"windfall: cannot write to out.jsonl: File too large; " in done.stderr
    assert b"Traceback" not in done.stderr
    assert windfall(*command).code == 0
    names = [row["custom_id"] for row in windfall.rows("out.jsonl")]
    assert sorted(names) == sorted(f"c{n}" for n in range(1, 31))
