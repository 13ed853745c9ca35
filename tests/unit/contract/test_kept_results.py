"""Results under a name survive a kill, and only whole ones are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from windfall.errors import ConfigError, InvalidRequest
from windfall.kept_results import KeptResults
from windfall.result import Completion, CompletionResult, JobState, Timings, Usage

RESULT = CompletionResult(
    job_id="b:1",
    state=JobState.COMPLETED,
    model="m",
    completion=Completion(content="yes", finish_reason="stop", usage=Usage()),
    timings=Timings(enqueued_at=0, finished_at=1),
)


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_later_call_finds_them_and_its_unfetched_batch() -> None:
    with KeptResults("night") as kept:
        kept.add("k1", RESULT)
        kept.add("k2", RESULT.model_copy(update={"state": JobState.FAILED, "completion": None}))
        kept.note_batch("abc", ["k3", "k4"])
    with KeptResults("night") as kept:
        assert kept.has("k1")
        assert not kept.has("k2")
        assert kept.result("k1").text == "yes"
        assert kept.batch == ("abc", ("k3", "k4"))
        kept.forget_batch()
    with KeptResults("night") as kept:
        assert kept.batch is None


def test_a_line_that_a_kill_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    with KeptResults("night") as kept:
        kept.add("k1", RESULT)
        kept.add("k2", RESULT)
    path = tmp_path / "windfall" / "runs" / "night.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes()[:-20])
    with KeptResults("night") as kept:
        assert (kept.has("k1"), kept.has("k2")) == (True, False)
        kept.add("k2", RESULT)
    with KeptResults("night") as kept:
        assert kept.has("k2")


def test_one_process_uses_a_name_at_a_time() -> None:
    with KeptResults("night"), pytest.raises(ConfigError, match="another process"), KeptResults("night"):
        pass


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a/b", "x" * 101])
def test_a_name_that_is_no_file_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="a name is"):
        KeptResults(name)
