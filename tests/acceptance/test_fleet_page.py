"""`windfall fleet --watch` and `windfall watch` in a terminal, with two workers that share a batch."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.commands import Shell, chat, is_plain, named_rows
from acceptance.terminal import Terminal, terminal
from faultserver.redis_process import RedisProcess
from helpers.waiting import PATIENCE, until

WORKER = ("--simulate", "small=0.2", "--slots", "2")
#: Columns that are enough for whatever this machine's chip is called.
WIDE = 180
#: What ends the alternate screen and shows the cursor again.
CLEAN = (b"\x1b[?1049l", b"\x1b[?25h")


@pytest.fixture
def windfall(tmp_path: Path, redis_url: str) -> Shell:
    shell = Shell(tmp_path, redis_url)
    shell.write("in.jsonl", named_rows(2000))
    return shell


@pytest.fixture
def fleet(windfall: Shell) -> Iterator[Shell]:
    """Two workers and a batch that both work on."""
    with windfall.worker(*WORKER, "--name", "mini"), windfall.worker(*WORKER, "--name", "studio"):
        assert windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "invoices").code == 0
        yield windfall


def cells(shown: Terminal, start: str) -> list[str]:
    """A line in words."""
    return shown.line(start).split()


def fits(shown: Terminal, columns: int) -> None:
    """Nothing is torn: the parts are where they belong, and each worker and batch has one line."""
    assert all(len(line) <= columns for line in shown.lines)
    starts = [line.split("-")[0].split(" ")[0] for line in shown.lines if line]
    expected = ["windfall", "WORKER", "mini", "studio", "LANE", "small", "BATCH", "invoices", "q"]
    assert starts == expected, shown.text


def test_two_workers_are_seen_to_share_a_batch(fleet: Shell) -> None:
    with terminal(fleet, "fleet", "--watch", columns=WIDE, lines=30) as shown:
        shown.until(
            lambda: "2/2" in cells(shown, "mini") and "2/2" in cells(shown, "studio"), "both workers with all slots"
        )
        assert shown.lines[0].startswith("windfall fleet · 2 workers · 4 of 4 slots")
        fits(shown, WIDE)
        assert cells(shown, "mini")[1] == cells(shown, "studio")[1] == "running"

        def progress() -> str:
            return shown.line("invoices")

        first = progress()
        shown.until(lambda: progress() != first, "the batch going on")
        shown.until(lambda: "/s" in shown.line("small") and " s" in shown.line("small")[-4:], "a rate and a time left")
        assert "/2,000" in progress()
        head = cells(shown, "WORKER")
        assert head == ["WORKER", "STATE", "MODEL", "BACKEND", "SLOTS", "DONE", "CHIP", "MEMORY", "SEEN", "UP"]
        shown.until(lambda: int(cells(shown, "mini")[5]) > 0 and int(cells(shown, "studio")[5]) > 0, "both did some")
        assert "GiB" in shown.line("mini")
        shown.process.send("q")
        assert shown.ended() == 0
        assert all(code in shown.raw for code in CLEAN)


def test_a_terminal_that_changes_its_size_gets_a_page_of_that_size(fleet: Shell) -> None:
    with terminal(fleet, "fleet", "--watch", columns=WIDE, lines=30) as shown:
        shown.until(lambda: "CHIP" in shown.text and "invoices" in shown.text, "the wide page")
        shown.resize(60, 20)
        shown.until(lambda: "WORKER" in shown.text and "CHIP" not in shown.text, "the narrow page")
        shown.until(lambda: shown.line("q or Ctrl-C quits"), "its last line")
        fits(shown, 60)
        shown.resize(WIDE, 30)
        shown.until(lambda: "CHIP" in shown.text, "the wide page again")


def test_ctrl_c_ends_the_page_and_leaves_the_terminal_clean(fleet: Shell) -> None:
    with terminal(fleet, "fleet", "--watch") as shown:
        shown.until(lambda: shown.line("invoices"), "the page")
        shown.process.sendintr()
        assert shown.ended() == 130
        assert all(code in shown.raw for code in CLEAN)
        assert b"Traceback" not in shown.raw


def test_what_is_paused_and_drained_from_afar_is_seen_on_the_page(fleet: Shell) -> None:
    with terminal(fleet, "fleet", "--watch", columns=100) as shown:
        shown.until(lambda: "running" in shown.line("mini") and shown.line("invoices"), "the page")
        paused = fleet("pause", "worker", "mini")
        assert (paused.code, paused.out) == (0, "worker mini is paused; to resume it: windfall resume worker mini\n")
        shown.until(lambda: "paused" in shown.line("mini"), "the paused worker")
        shown.until(lambda: "is taking no new jobs: paused by windfall pause" in shown.text, "why it is")
        assert fleet("pause", "lane", "small", "--route", "auto").out.startswith("lane small (auto) is paused; ")
        shown.until(lambda: shown.line("small").endswith("paused"), "the paused lane")
        assert fleet("resume", "lane", "small").out == "lane small (auto) is resumed\n"
        assert fleet("pause", "batch", "invoices").out.startswith("batch invoices is paused; ")
        shown.until(lambda: shown.line("invoices").endswith("paused"), "the paused batch")
        assert fleet("resume", "batch", "invoices").out == "batch invoices is resumed\n"
        assert fleet("resume", "batch", "invoices").out == "batch invoices was not paused\n"
        shown.until(lambda: not shown.line("invoices").endswith("paused"), "the batch going on")
        drained = fleet("drain", "studio", "--wait")
        assert drained.code == 0
        assert drained.out.startswith("worker studio-")
        assert drained.out.endswith(" has ended\n")
        shown.until(lambda: not shown.line("studio"), "the drained worker being gone")
        assert fleet("resume", "worker", "mini").out == "worker mini is resumed\n"
        shown.until(lambda: "running" in shown.line("mini"), "the worker going on")


def test_wrong_names_are_told_in_a_sentence(fleet: Shell) -> None:
    for words, said in {
        ("pause", "worker", "nosuch"): "no live worker is called 'nosuch'; live workers: mini-",
        ("drain", "nosuch"): "no live worker is called 'nosuch'; live workers: mini-",
        ("pause", "lane", "nosuch"): "no lane for model 'nosuch': known are small",
        ("pause", "batch", "nosuch"): "no batch 'nosuch'",
        ("pause", "batch", "invoices", "--route", "auto"): "--route applies to lanes; a batch has no route",
    }.items():
        done = fleet(*words)
        assert (done.code, done.out) == (1, "")
        assert said in done.err


def test_while_redis_is_away_the_page_says_so_and_goes_on_after(tmp_path: Path) -> None:
    with RedisProcess() as server:
        shell = Shell(tmp_path, server.url)
        with terminal(shell, "fleet", "--watch", columns=100) as shown:
            shown.until(lambda: "no worker is live" in shown.text, "the page")
            server.kill()
            shown.until(lambda: "not updated for " in shown.text, "Redis being away")
            first = shown.line("not updated for ")
            shown.until(lambda: shown.line("not updated for ") not in ("", first), "time going on")
            server.start()
            shown.until(lambda: "not updated for " not in shown.text, "Redis being back")
            shown.process.send("q")
            assert shown.ended() == 0


def test_a_program_that_looks_waits_for_redis_to_come_back(tmp_path: Path) -> None:
    with RedisProcess() as server:
        shell = Shell(tmp_path, server.url)
        with shell.started("fleet", "--watch", "--json") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            before = json.loads(process.stdout.readline())
            server.kill()
            assert f"127.0.0.1:{server.port}" in process.stderr.readline().decode()
            server.start()
            looks = [json.loads(process.stdout.readline()) for _ in range(3)]  # some of before may be on their way
            assert looks[-1]["now"] > before["now"]


def test_in_a_pipe_the_fleet_is_plain_and_json_is_an_object_a_line(fleet: Shell) -> None:
    def seen() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(fleet("fleet", "--json").out)
        return found

    until(lambda: sum(worker["completed"] > 0 for worker in seen()["workers"]) == 2, "both workers having done some")
    plain = fleet("fleet")
    assert plain.code == 0
    assert is_plain(plain.out + plain.err)
    assert plain.out.startswith("WORKER")
    with fleet.started("fleet", "--watch", "--json") as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert looks[0]["now"] < looks[1]["now"]
    (batch,) = looks[1]["batches"]
    assert (batch["id"], batch["total"], batch["paused"]) == ("invoices", 2000, False)
    (lane,) = looks[1]["lanes"]
    assert lane["rate"] > 0
    assert lane["eta"] > 0
    assert lane["waiting_since"] < looks[1]["now"]
    assert [worker["memory_bytes"] > 0 for worker in looks[1]["workers"]] == [True, True]
    listed = fleet("batches")
    assert listed.out.splitlines()[1].split()[0] == "invoices"
    assert json.loads(fleet("batches", "--json").out)["id"] == "invoices"


def test_a_watched_batch_says_its_rate_what_is_left_what_failed_and_that_it_is_paused(windfall: Shell) -> None:
    wrong = [{"custom_id": f"wrong {n}", "body": {}} for n in range(3)]
    windfall.write("in.jsonl", [*wrong, *(chat(f"row {n}") for n in range(2000))])  # more than are done in this test
    with windfall.worker(*WORKER):
        windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "b")
        with terminal(windfall, "watch", "b", columns=120, lines=10) as shown:
            shown.until(lambda: " left" in shown.line("batch b") and "3 failed" in shown.text, "what is left")
            assert "rows/s" in shown.line("batch b")
            shown.until(lambda: shown.line("failed: 3 invalid_request"), "what failed")
            shown.resize(60, 10)
            shown.until(lambda: " left" in shown.text and "rows/s" not in shown.text, "a narrow bar")
            windfall("pause", "batch", "b")
            shown.until(lambda: "paused" in shown.line("batch b"), "that it is paused")
            assert all(len(line) <= 60 for line in shown.lines)
            windfall("resume", "batch", "b")
            shown.until(lambda: "paused" not in shown.text, "that it goes on")
            windfall("cancel", "b")
            assert shown.ended() == 3
            assert b" cancelled" in shown.raw


def test_a_program_that_watches_gets_counts_rate_and_failures(windfall: Shell) -> None:
    windfall.write("in.jsonl", [{"custom_id": "wrong", "body": {}}, *named_rows(20)])
    with windfall.worker(*WORKER):
        windfall("submit", "in.jsonl", "--model", "small", "--batch-id", "b")
        done = windfall("watch", "b", "--json")
    assert done.code == 3
    last = json.loads(done.out.splitlines()[-1])
    assert (last["completed"], last["failures"], last["eta"], last["paused"]) == (
        20,
        {"invalid_request": 1},
        0.0,
        False,
    )
