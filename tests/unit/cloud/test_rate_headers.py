"""What answers say about rate limits, in every form that is in use."""

from __future__ import annotations

import pytest

from windfall_worker.cloud.rate_headers import limits_told

DATE = {"date": "Wed, 25 Nov 2026 04:00:00 GMT"}


def openai(reset: str, kind: str = "requests") -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": "60",
        f"x-ratelimit-remaining-{kind}": "59",
        f"x-ratelimit-reset-{kind}": reset,
    }


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1.0),
        ("120ms", 0.12),
        ("6m0s", 360.0),
        ("7m12s", 432.0),
        ("8.64s", 8.64),
        ("1h2m3.5s", 3723.5),
        ("2d", 86_400.0),  # reduced to a day
        ("17", 17.0),
        ("0.5", 0.5),
        ("1795579260", 60.0),
        ("1795579260000", 60.0),
        ("2026-11-25T04:01:00Z", 60.0),
        ("2026-11-25T03:59:00Z", 0.0),
        ("2026-11-25T04:01:00", None),
        ("soon", None),
        ("nan", None),
        ("-5", None),
        ("", None),
        ("99999999999999999999", None),
    ],
)
def test_a_reset_is_understood_in_every_form(reset: str, seconds: float | None) -> None:
    (told,) = limits_told(openai(reset) | DATE)
    assert (told.counted, told.limit, told.remaining) == ("r", 60, 59)
    assert told.reset == pytest.approx(seconds)


def test_openai_tells_of_requests_and_tokens() -> None:
    found = limits_told(openai("1s") | openai("2s", "tokens"))
    assert [each.counted for each in found] == ["r", "t"]


def test_anthropics_input_and_output_tokens_stand_for_its_nearest_limit() -> None:
    headers = dict(DATE)
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        headers[f"anthropic-ratelimit-{kind}-limit"] = "1000"
        headers[f"anthropic-ratelimit-{kind}-remaining"] = "900"
        headers[f"anthropic-ratelimit-{kind}-reset"] = "2026-11-25T04:00:06Z"
    assert [(each.counted, each.reset) for each in limits_told(headers)] == [("r", 6.0), ("i", 6.0), ("o", 6.0)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests": "60"},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "1"},
        {"x-ratelimit-limit-requests": "1e300", "x-ratelimit-remaining-requests": "1"},
        {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "-1"},
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_left_out(headers: dict[str, str]) -> None:
    assert limits_told(headers) == []
