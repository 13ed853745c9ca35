"""What a breaker is set to."""

from __future__ import annotations

from dataclasses import dataclass


def _above_zero(numbers: object, *fields: str) -> None:
    for field in fields:
        value = getattr(numbers, field)
        if not value > 0:
            raise ValueError(f"a breaker's {field} must be greater than 0, not {value!r}")


@dataclass(frozen=True, slots=True)
class FailureRate:
    """The share of calls that may fail: `share` of those that ended within `window` seconds, once they are `min_calls`.

    The window is counted in tenths: it moves by a tenth at a time.
    """

    share: float = 0.5
    window: float = 30.0
    min_calls: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a breaker's failure_rate must be greater than 0 and at most 1, not {self.share!r}")
        _above_zero(self, "window", "min_calls")


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a breaker is set to; times are in seconds.

    `fail_max` failures in a row open it, or a failure rate that is too high, whichever comes first.
    """

    fail_max: int = 5
    rate: FailureRate = FailureRate()
    reset_timeout: float = 30.0
    probe_lease: float = 10.0

    def __post_init__(self) -> None:
        _above_zero(self, "fail_max", "reset_timeout", "probe_lease")

    def as_arguments(self) -> tuple[int | float, ...]:
        """For the scripts: times in milliseconds."""
        return self.fail_max, *(round(each * 1000) for each in (self.rate.window, self.reset_timeout, self.probe_lease))

    def rate_arguments(self) -> tuple[int | float, ...]:
        """The rest, which follows the calls that the caller has to report."""
        return self.rate.share, self.rate.min_calls
