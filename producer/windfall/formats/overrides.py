"""Fields that the command line sets for every row of a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from windfall.request import Route


@dataclass(frozen=True, slots=True)
class Overrides:
    """Fields that are set in every row, whether or not it has them. None leaves rows unchanged."""

    model: str | None = None
    route: Route | None = None
    priority: int | None = None

    def applied_to(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with these fields instead of its own."""
        return body | {name: value for name, value in asdict(self).items() if value is not None}


#: Leave every row unchanged.
NO_OVERRIDES: Final = Overrides()
