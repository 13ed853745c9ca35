"""When a worker takes new jobs: the keys of `[worker]` about the machine and its use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from windfall.config.durations import parse_duration
from windfall.errors import ConfigError
from windfall_worker.citizen.hours import Hours
from windfall_worker.citizen.readings import Thermal
from windfall_worker.citizen.rules import AboveBattery, BelowThermal, OnAC, OnlyHours, Rule, WhenIdle


def _hours(value: Any) -> Any:
    """Accept one text or a list of texts."""
    texts = [value] if isinstance(value, str) else value
    return (
        [Hours.parse(text) if isinstance(text, str) else text for text in texts] if isinstance(texts, list) else value
    )


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except ConfigError as exc:
        raise ValueError(str(exc)) from None


def _percent(value: float | None) -> float | None:
    if value is not None and not 1 <= value <= 95:
        raise ValueError(f"must be a percentage from 1 to 95, such as 40, not {value:g}")
    return value


class CitizenSettings(BaseModel):
    """When a worker takes new jobs: always, unless one of these is set."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    only: Annotated[tuple[Hours, ...], BeforeValidator(_hours)] = ()  #: such as `mon-fri 20:00-08:00`
    on_ac: bool = False
    above_battery: Annotated[float | None, AfterValidator(_percent)] = None
    below_thermal: Literal["fair", "serious", "critical"] | None = None
    when_idle: Annotated[float | None, BeforeValidator(_seconds)] = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are set."""
        rules: list[Rule] = []
        if self.only:
            rules.append(OnlyHours(self.only))
        if self.on_ac:
            rules.append(OnAC())
        if self.above_battery is not None:
            rules.append(AboveBattery(self.above_battery))
        if self.below_thermal:
            rules.append(BelowThermal(Thermal[self.below_thermal.upper()]))
        if self.when_idle is not None:
            rules.append(WhenIdle(self.when_idle))
        return tuple(rules)
