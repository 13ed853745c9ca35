"""Times as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windfall.config.durations import parse_duration
from windfall.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("8h", 28_800),
        ("7d", 604_800),
        ("12", 12),
        ("0.5", 0.5),
        ("1.5h", 5400),
        (" 2 H", 7200),
    ],
)
def test_a_time_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1w", "1h30m", "nan", "inf", "1e9", "²h", "9" * 12 + "d"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration: write 90s, 15m, 8h, 7d or a number"):
        parse_duration(text)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_duration(text) >= 0
