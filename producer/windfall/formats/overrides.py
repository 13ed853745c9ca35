"""Fields that the command line or the settings set for the rows of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from windfall.request import Route


@dataclass(frozen=True, slots=True)
class Overrides:
    """Fields that are set in every row, whether or not it has them. None leaves rows unchanged.

    `usual_route` is for rows that name no route.
    """

    model: str | None = None
    route: Route | None = None
    priority: int | None = None
    usual_route: Route | None = None

    def applied_to(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with these fields instead of its own."""
        usual = {} if self.usual_route is None else {"route": self.usual_route}
        fields = {"model": self.model, "route": self.route, "priority": self.priority}
        return usual | body | {name: value for name, value in fields.items() if value is not None}


#: Leave every row unchanged.
NO_OVERRIDES: Final = Overrides()
