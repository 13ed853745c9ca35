"""What the command line says of every row of a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from windfall.request import Route


@dataclass(frozen=True, slots=True)
class Overrides:
    """Fields that replace those of every row, or fill them where a row has none. None leaves a row as it is."""

    model: str | None = None
    route: Route | None = None
    priority: int | None = None

    def applied_to(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with these fields in place of its own."""
        return body | {name: value for name, value in asdict(self).items() if value is not None}


#: Every row as it is.
NO_OVERRIDES: Final = Overrides()
