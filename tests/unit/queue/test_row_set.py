"""The set of row numbers behind results that come once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windfall.keys import job_id, row_of
from windfall.queue.row_set import RowSet

ROWS = st.integers(0, 20) | st.integers(8190, 8200) | st.integers(0, 10**15 - 1)


@given(st.lists(st.tuples(st.booleans(), ROWS)))
def test_it_answers_as_a_set_does(steps: list[tuple[bool, int]]) -> None:
    rows, seen = RowSet(), set[int]()
    for adds, row in steps:
        assert (row in rows) == (row in seen)
        if adds:
            assert rows.add(row) == (row not in seen)
            seen.add(row)
        else:
            rows.discard(row)
            seen.discard(row)
    assert len(rows) == len(seen)


def test_the_row_of_a_job_is_its_number_and_none_that_redis_could_not_count() -> None:
    assert row_of(job_id("b", 17)) == 17
    assert [row_of(name) for name in ("alone", "b:", ":7", "b:x", "b:²", "b:" + "9" * 16)] == [0] * 6
