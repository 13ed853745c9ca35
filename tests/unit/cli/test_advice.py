"""What a watched batch advises to do about its failures."""

from __future__ import annotations

from windfall.cli.poll import advice


def test_rows_that_are_no_requests_are_to_be_mended_for_they_are_no_dead_letters() -> None:
    told = advice("b", {"invalid_request": 3})
    assert "windfall results b -o OUT says what is wrong with each row" in told
    assert "dead list" not in told


def test_failures_of_other_kinds_are_dead_letters_and_can_be_run_again() -> None:
    assert advice("b", {"backend_unavailable": 1}) == "see windfall dead list, and retry them with windfall retry b"


def test_failures_of_both_kinds_are_told_apart() -> None:
    told = advice("b", {"invalid_request": 3, "worker_lost": 1})
    assert told.index("windfall results b") < told.index("windfall retry b")
