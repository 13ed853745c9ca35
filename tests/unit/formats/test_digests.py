"""The set of hashes behind duplicate ids and resumed files."""

from __future__ import annotations

import threading
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from windfall.formats.digests import Digests


@given(st.lists(st.text(max_size=3)))
def test_it_answers_as_a_set_does(texts: list[str]) -> None:
    digests, seen = Digests(), set[str]()
    for text in texts:
        assert (text in digests) == (text in seen)
        assert digests.add(text) == (text not in seen)
        seen.add(text)
    assert len(digests) == len(seen)


def test_ten_thousand_texts_are_found_and_take_24_bytes_each_at_most() -> None:
    tracemalloc.start()
    digests = Digests()
    assert all(digests.add(f"request-{n}") for n in range(10_000))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 24 * 10_000
    assert all(f"request-{n}" in digests for n in range(10_000))
    assert not any(f"other-{n}" in digests for n in range(10_000))


def test_what_was_added_is_found_by_another_thread_while_the_set_grows() -> None:
    digests, missed, done = Digests(), list[str](), threading.Event()
    digests.add("first")

    def ask() -> None:
        while not done.is_set():
            if "first" not in digests:
                missed.append("first")

    asking = threading.Thread(target=ask)
    asking.start()
    for n in range(200_000):
        digests.add(f"request-{n}")
    done.set()
    asking.join()
    assert not missed
