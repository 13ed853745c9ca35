"""`windfall run`, typed by a user: everything it needs it starts by itself."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from acceptance.commands import Shell, chat, is_plain, named_rows

SIMULATED = ("--model", "any", "--simulate")


@pytest.fixture
def windfall(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_file_goes_in_and_its_results_come_out(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(100))
    done = windfall("run", "in.jsonl", "-o", "out.jsonl", *SIMULATED, "0.01")
    assert (done.code, done.out) == (0, "")
    assert "100 rows are in out.jsonl" in done.err
    assert is_plain(done.err)
    rows = windfall.rows("out.jsonl")
    assert {row["custom_id"] for row in rows} == {f"c{n}" for n in range(1, 101)}
    assert all(row["response"]["status_code"] == 200 and row["error"] is None for row in rows)


def test_the_bundled_model_answers_every_format_at_once(windfall: Shell) -> None:
    anthropic = {"custom_id": "an", "params": {"max_tokens": 20, "messages": chat("Reverse: apple")["messages"]}}
    rows = [chat("Reverse: apple", max_tokens=20, temperature=0), anthropic, *named_rows(1)]
    windfall.write("in.jsonl", rows)
    done = windfall("run", "in.jsonl", "-o", "out.jsonl", "--model", "demo")
    assert done.code == 0, done.err
    found = {row["custom_id"]: row for row in windfall.rows("out.jsonl")}
    assert found.keys() == {"row-1", "an", "c1"}
    assert all(row["response"]["body"]["usage"]["completion_tokens"] > 0 for row in found.values())


def test_rows_appear_as_they_finish_and_a_kill_9_half_way_loses_and_repeats_nothing(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(60))
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--slots", "4", *SIMULATED)
    for lines in (8, 20):
        with windfall.started(*command, "0.2") as process:
            windfall.until_lines("out.jsonl", lines)
            assert process.poll() is None
            process.kill()
            process.wait()
    before = len(windfall.rows("out.jsonl"))
    with (windfall.folder / "out.jsonl").open("ab") as out:
        out.write(b'{"id":"cut off by the ki')
    done = windfall(*command, "0")
    assert done.code == 0
    assert f"{before} rows are already in out.jsonl" in done.err
    names = [row["custom_id"] for row in windfall.rows("out.jsonl")]
    assert sorted(names) == sorted(f"c{n}" for n in range(1, 61))


def test_nothing_is_started_when_all_rows_are_there(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(3))
    command = ("run", "in.jsonl", "-o", "out.jsonl", *SIMULATED, "0")
    assert windfall(*command).code == 0
    again = windfall(*command)
    assert (again.code, again.err) == (0, "all 3 rows are already in out.jsonl\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_it_says_how_to_go_on_and_leaves_nothing_behind(
    windfall: Shell, number: signal.Signals, code: int
) -> None:
    windfall.environment["TMPDIR"] = str(windfall.folder)
    windfall.write("in.jsonl", named_rows(40))
    with windfall.started("run", "in.jsonl", "-o", "out.jsonl", "--slots", "4", *SIMULATED, "0.2") as process:
        windfall.until_lines("out.jsonl", 4)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"repeat the command to continue with the rest" in err
    assert b"Traceback" not in err
    assert not list(windfall.folder.glob("windfall-run-*"))


def test_what_a_killed_run_left_behind_is_removed_by_the_next(windfall: Shell) -> None:
    windfall.environment["TMPDIR"] = str(windfall.folder)
    windfall.write("in.jsonl", named_rows(8))
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--slots", "1", *SIMULATED, "0.3")
    with windfall.started(*command) as process:
        windfall.until_lines("out.jsonl", 1)
        process.kill()
        process.wait()
    assert len(list(windfall.folder.glob("windfall-run-*"))) == 1
    assert windfall(*command).code == 0
    assert not list(windfall.folder.glob("windfall-run-*"))


def test_rows_that_cannot_run_are_error_rows_that_name_line_and_field(windfall: Shell) -> None:
    rows: list[object] = [
        *named_rows(1),
        b'{"broken": ',
        chat("x", temprature=1),
        {"custom_id": "no-messages", "body": {}},
        {"messages": [{"role": "robot", "content": "x"}]},
        b'{"messages": "\xff"}',
        {"custom_id": "c1", "body": chat("again")},
        b'{"custom_id": "big", "body": {"user": "' + b"x" * (30 << 20) + b'"}}',
        chat("the last"),
    ]
    windfall.write("in.jsonl", rows)
    done = windfall("run", "in.jsonl", "-o", "out.jsonl", *SIMULATED, "0")
    assert done.code == 3
    assert "7 of them failed" in done.err
    found = {row["custom_id"]: row["error"] and row["error"]["message"] for row in windfall.rows("out.jsonl")}
    assert found == {
        "c1": None,
        "row-2": "line 2: not valid JSON: EOF while parsing a value at column 11",
        "row-3": "line 3, field 'temprature': unknown field; did you mean 'temperature'?",
        "no-messages": "line 4, field 'body.messages': is missing",
        "row-5": "line 5, field 'messages.0.role': must be 'system', 'developer', 'user', 'assistant' or 'tool', "
        "not 'robot'",
        "row-6": "line 6: not UTF-8: byte 15 of the line is 0xff",
        "c1 (line 7)": "line 7, field 'custom_id': 'c1' is already the custom_id of an earlier row",
        "row-8": "line 8: the row is larger than 8 MiB (setting max_row_bytes)",
        "row-9": None,
    }


def test_failed_rows_run_again_when_that_is_asked_for(windfall: Shell) -> None:
    windfall.write("in.jsonl", [*named_rows(1), {"custom_id": "c2", "body": {}}])
    command = ("run", "in.jsonl", "-o", "out.jsonl", *SIMULATED, "0")
    assert windfall(*command).code == 3
    assert windfall(*command).code == 3
    assert windfall(*command, "--retry-failed").code == 3
    windfall.write("in.jsonl", named_rows(2))
    mended = windfall(*command)
    assert mended.code == 0
    assert "1 rows are already in out.jsonl; continuing with the rest: 1 changed, 0 new" in mended.err
    assert sorted(row["custom_id"] for row in windfall.rows("out.jsonl")) == ["c1", "c2"]


def test_an_edit_before_a_rerun_never_gives_a_row_the_answer_of_another(windfall: Shell) -> None:
    apple, melon = (chat(f"Reverse: {word}", max_tokens=12, temperature=0) for word in ("apple", "melon"))
    windfall.write("in.jsonl", [apple, melon, {"custom_id": "c", "body": chat("Reverse: grape", temperature=0)}])
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "demo")
    assert windfall(*command).code == 0
    first = {row["custom_id"]: row for row in windfall.rows("out.jsonl")}

    lemon = chat("Reverse: lemon", max_tokens=12, temperature=0)
    changed = {"custom_id": "c", "body": chat("Reverse: peach", temperature=0)}
    windfall.write("in.jsonl", [lemon, apple, melon, changed])
    again = windfall(*command)
    assert again.code == 0, again.err
    assert "2 rows are already in out.jsonl; continuing with the rest: 1 changed, 1 new" in again.err
    assert "1 answers to rows no longer in in.jsonl were moved from out.jsonl to out.jsonl.old" in again.err
    found = {row["custom_id"]: row for row in windfall.rows("out.jsonl")}
    assert found.keys() == {"row-1", "row-2", "row-3", "c"}
    assert found["row-2"] == first["row-1"] | {"custom_id": "row-2"}
    assert found["row-3"] == first["row-2"] | {"custom_id": "row-3"}
    assert found["row-1"]["id"] not in {row["id"] for row in first.values()}
    assert found["c"]["id"] != first["c"]["id"]
    assert windfall.rows("out.jsonl.old") == [first["c"]]
    assert windfall(*command).err == "all 4 rows are already in out.jsonl\n"


def test_another_model_answers_every_row_anew(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(2))
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--simulate", "0", "--model")
    windfall(*command, "one")
    first = {row["id"] for row in windfall.rows("out.jsonl")}
    again = windfall(*command, "other")
    assert "0 rows are already in out.jsonl; continuing with the rest: 2 changed, 0 new" in again.err
    assert len({row["id"] for row in windfall.rows("out.jsonl")} - first) == len(windfall.rows("out.jsonl")) == 2


def test_what_was_simulated_is_no_answer_of_the_model(windfall: Shell) -> None:
    windfall.write("in.jsonl", [chat("Reverse: apple", max_tokens=12)])
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "demo")
    assert windfall(*command, "--simulate", "0").code == 0
    done = windfall(*command)
    assert "1 of them were simulated or written by an earlier version of windfall" in done.err
    assert [row["windfall"]["backend"] for row in windfall.rows("out.jsonl")] == ["mlx"]


def test_answers_of_an_earlier_version_are_kept_aside_and_their_rows_run_again(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(2))
    command = ("run", "in.jsonl", "-o", "out.jsonl", *SIMULATED, "0")
    assert windfall(*command).code == 0
    rows = windfall.rows("out.jsonl")
    for row in rows:
        del row["windfall"]
    windfall.write("out.jsonl", rows)
    again = windfall(*command)
    assert (again.code, "2 of them were simulated or written by an earlier version" in again.err) == (0, True)
    assert windfall.rows("out.jsonl.old") == rows
    assert not {row["id"] for row in rows} & {row["id"] for row in windfall.rows("out.jsonl")}


def test_a_pipe_is_compared_with_what_is_there_as_a_file_is(windfall: Shell) -> None:
    command = ("run", "-", "-o", "out.jsonl", *SIMULATED, "0")
    old = windfall.write("in.jsonl", [chat("a"), chat("b")]).read_bytes()
    assert windfall(*command, stdin=old).code == 0
    new = windfall.write("in.jsonl", [chat("new"), chat("a"), chat("b")]).read_bytes()
    assert (
        "2 rows are already in out.jsonl; continuing with the rest: 0 changed, 1 new"
        in windfall(*command, stdin=new).err
    )
    assert sorted(row["custom_id"] for row in windfall.rows("out.jsonl")) == ["row-1", "row-2", "row-3"]


def test_a_prompt_longer_than_the_context_is_an_error_row_with_both_numbers(windfall: Shell) -> None:
    windfall.write("in.jsonl", [chat("x " * 20_000), chat("Reverse: apple", max_tokens=8)])
    done = windfall("run", "in.jsonl", "-o", "out.jsonl", "--model", "demo")
    assert done.code == 3
    found = {row["custom_id"]: row for row in windfall.rows("out.jsonl")}
    assert found["row-1"]["error"]["code"] == "context_length_exceeded"
    assert found["row-1"]["response"]["status_code"] == 400
    assert sum(word.strip(".,;").replace(",", "").isdigit() for word in found["row-1"]["error"]["message"].split()) >= 2
    assert found["row-2"]["error"] is None


def test_stdin_and_stdout_make_it_a_filter(windfall: Shell) -> None:
    source = windfall.write("in.jsonl", named_rows(5)).read_bytes()
    done = windfall("run", "-", "-o", "-", *SIMULATED, "0", stdin=source)
    assert done.code == 0
    assert len(done.out.splitlines()) == 5
    assert is_plain(done.out)


def test_a_reader_who_leaves_early_causes_no_complaint(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(2000))
    with windfall.started("run", "in.jsonl", "-o", "-", *SIMULATED, "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.wait()
    assert process.returncode == 1


def test_two_runs_never_write_to_one_file(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(20))
    command = ("run", "in.jsonl", "-o", "out.jsonl", "--slots", "1", *SIMULATED, "0.5")
    with windfall.started(*command):
        windfall.until_lines("out.jsonl", 1)
        second = windfall(*command)
    assert second.code == 1
    assert second.err == "windfall: another windfall process is writing to out.jsonl\n"


def test_a_full_disk_is_told_of_in_a_sentence(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(2))
    done = windfall("run", "in.jsonl", "-o", "/dev/full", *SIMULATED, "0")
    assert done.code == 1
    assert done.err.startswith("windfall: cannot write to /dev/full: No space left on device")


def test_a_file_that_may_not_be_written_is_told_of(windfall: Shell) -> None:
    windfall.write("in.jsonl", named_rows(2))
    # Not a matter of permissions, which root has: a file is in the place of the folder.
    done = windfall("run", "in.jsonl", "-o", "in.jsonl/out.jsonl", *SIMULATED, "0")
    assert (done.code, done.err) == (1, "windfall: cannot write to in.jsonl/out.jsonl: Not a directory\n")
