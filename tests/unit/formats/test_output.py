"""Output lines, and the file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from windfall.errors import ConfigError
from windfall.formats import OutputFile, output_line
from windfall.formats.output_file import by_job_id
from windfall.result import Attempt, Completion, CompletionResult, ErrorInfo, JobState, Timings

TIMES = Timings(enqueued_at=1.0, finished_at=2.0)


def by_custom_id(row: dict[str, Any]) -> str:
    return str(row["custom_id"])


def completed(name: str, custom_id: str | None = None) -> CompletionResult:
    return CompletionResult(
        job_id=name,
        custom_id=custom_id,
        state=JobState.COMPLETED,
        model="m",
        completion=Completion(content="hé\u2028llo"),
        timings=TIMES,
    )


def failed(
    name: str, kind: str = "worker_lost", *, state: JobState = JobState.FAILED, **error: Any
) -> CompletionResult:
    why = ErrorInfo(type=kind, message="why", **error)
    return CompletionResult(job_id=name, state=state, model="m", error=why, timings=TIMES)


def line_of(result: CompletionResult) -> dict[str, Any]:
    line = output_line(result)
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    row: dict[str, Any] = json.loads(line)
    assert row.keys() == {"id", "custom_id", "response", "error", "windfall"}
    return row


def test_a_completed_row_is_a_200_with_the_completion_and_no_error() -> None:
    row = line_of(completed("b:1", "mine"))
    assert (row["id"], row["custom_id"], row["error"]) == ("b:1", "mine", None)
    assert row["response"]["status_code"] == 200
    assert row["response"]["body"]["choices"][0]["message"]["content"] == "hé\u2028llo"


def test_a_row_without_a_custom_id_goes_by_its_job_id() -> None:
    assert line_of(completed("b:1"))["custom_id"] == "b:1"


def test_a_refused_row_has_a_status_and_openais_error_body_besides_its_error() -> None:
    row = line_of(failed("b:1", "invalid_request", param="messages"))
    assert row["error"] == {"code": "invalid_request", "message": "why"}
    assert row["response"]["status_code"] == 400
    body = {"message": "why", "type": "invalid_request", "param": "messages", "code": "invalid_request"}
    assert row["response"]["body"] == {"error": body}


def test_the_status_and_request_id_of_a_cloud_backend_are_kept() -> None:
    result = failed("b:1", "backend_unavailable", status=503)
    attempt = Attempt(backend="openai", started_at=1.0, outcome="failed", request_id="req_7")
    row = line_of(result.model_copy(update={"attempts": (attempt,)}))
    assert (row["response"]["status_code"], row["response"]["request_id"]) == (503, "req_7")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (failed("b:1"), "worker_lost"),
        (failed("b:1", "cancelled", state=JobState.CANCELLED), "batch_cancelled"),
        (failed("b:1", "expired", state=JobState.EXPIRED), "batch_expired"),
    ],
)
def test_a_row_that_no_http_api_answered_has_an_error_and_no_response(result: CompletionResult, code: str) -> None:
    row = line_of(result)
    assert row["error"]["code"] == code
    assert row["response"] is None


def test_rows_are_appended_and_remembered(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, by_custom_id) as out:
        out.write([completed("b:1", "one")])
    with OutputFile(path, by_custom_id) as out:
        assert out.has("one")
        assert not out.has("two")
        out.write([completed("b:2", "two"), failed("b:3")])
        assert out.has("two")
        assert (out.rows, out.failed) == (3, 1)
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("cut", [1, 4, 7, 40, -2])
def test_a_last_line_cut_off_by_a_kill_is_removed(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out.jsonl"
    whole = output_line(completed("b:1", "one"))
    path.write_bytes(whole + output_line(completed("b:2", "two"))[:cut])
    with OutputFile(path, by_custom_id) as out:
        assert out.has("one")
        assert not out.has("two")
    assert path.read_bytes() == whole


def test_a_whole_last_line_that_lacks_only_its_line_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(output_line(completed("b:1", "one"))[:-1])
    with OutputFile(path, by_custom_id) as out:
        assert out.has("one")
        out.write([completed("b:2", "two")])
    assert [json.loads(line)["custom_id"] for line in path.read_text().splitlines()] == ["one", "two"]


@pytest.mark.parametrize("content", [b"hello", b'{"custom_id":"a","body":{}}\n', b"{}\n", b'{"id":"x"}\n'])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"line 1 of .* is not an output line"), OutputFile(path, by_custom_id):
        pass
    assert path.read_bytes() == content


def test_rows_that_failed_are_taken_out_to_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, by_job_id) as out:
        out.write([completed("b:1"), failed("b:2")])
    with OutputFile(path, by_job_id, again=True) as out:
        assert out.has("b:1")
        assert not out.has("b:2")
        out.write([completed("b:2")])
    assert [json.loads(line)["error"] for line in path.read_text().splitlines()] == [None, None]
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_renamed_and_what_makes_room_is_kept_in_a_private_file_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, by_custom_id) as out:
        out.write([completed("b:1", "one"), completed("b:2", "two"), completed("b:3", "three")])
        lines = path.read_bytes().splitlines(keepends=True)
        names = {"two": "2", "three": "three"}
        out.rewrite(lambda row: row | {"custom_id": names[row["custom_id"]]} if row["custom_id"] in names else None)
        assert (out.rows, out.has("one"), out.has("2")) == (2, False, True)
        out.write([completed("b:4", "four")])
    assert [json.loads(line)["custom_id"] for line in path.read_text().splitlines()] == ["2", "three", "four"]
    old = tmp_path / "out.jsonl.old"
    assert old.read_bytes() == lines[0]
    assert old.stat().st_mode & 0o077 == 0


def test_a_rewritten_file_is_as_private_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, by_custom_id) as out:
        out.write([completed("b:1", "one")])
        path.chmod(0o640)
        (tmp_path / ".out.jsonl.tmp").symlink_to(tmp_path / "elsewhere")
        out.rewrite(lambda row: row | {"custom_id": "two"})
    assert path.stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_the_place_of_the_old_answers_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "out.jsonl", tmp_path / "victim"
    victim.touch()
    (tmp_path / "out.jsonl.old").symlink_to(victim)
    with OutputFile(path, by_custom_id) as out:
        out.write([completed("b:1", "one")])
        before = path.read_bytes()
        with pytest.raises(ConfigError, match="cannot rewrite"):
            out.rewrite(lambda _: None)
    assert victim.read_bytes() == b""
    assert path.read_bytes() == before


def test_a_file_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with (
        OutputFile(path, by_job_id),
        pytest.raises(ConfigError, match="another windfall process is writing"),
        OutputFile(path, by_job_id),
    ):
        pass


def test_a_folder_that_is_not_there_is_told_of_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "no" / "out.jsonl"
    with pytest.raises(ConfigError, match=r"cannot write to .*out\.jsonl: No such file or directory"):
        OutputFile(path, by_job_id).__enter__()


def test_a_file_that_holds_rows_of_another_batch_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    content = output_line(completed("first:1")) + output_line(failed("first:2"))
    path.write_bytes(content)
    reason = "out.jsonl holds results of batch first; name another file, or move this one"
    with pytest.raises(ConfigError, match=reason) as refused, OutputFile(path, by_job_id, again=True, batch="second"):
        pass
    assert f"windfall results first --follow -o {path}" in str(refused.value)
    assert path.read_bytes() == content
    with OutputFile(path, by_job_id, batch="first") as out:
        assert out.rows == 2
    with pytest.raises(ConfigError, match="holds results of batch first"), OutputFile(path, by_job_id, batch=""):
        pass


def test_a_row_that_belongs_to_no_batch_is_refused_where_a_batch_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(output_line(completed("alone")))
    with pytest.raises(ConfigError, match="belongs to no batch"), OutputFile(path, by_job_id, batch="b"):
        pass
