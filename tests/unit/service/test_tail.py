"""The end of a log, and what is added to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from windfall.service.tail import follow, last_lines


@pytest.mark.parametrize(("count", "first"), [(1, ["b\u00e9"]), (9, ["a", "b\u00e9"])])
def test_a_line_that_is_being_written_is_told_of_when_it_is_whole(tmp_path: Path, count: int, first: list[str]) -> None:
    path = tmp_path / "worker.log"
    path.write_text('a\nb\u00e9\n{"half', encoding="utf-8")
    lines = follow(path, count)
    assert [next(lines) for _ in first] == first
    with path.open("a") as file:
        file.write('": 1}\n')
    assert next(lines) == '{"half": 1}'


def test_what_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_bytes(b"a\n\xff\nlast")
    assert last_lines(path, 2) == ["\ufffd", "last"]
