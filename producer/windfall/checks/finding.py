"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `mend` is what to do where it is not ok."""

    ok: bool
    what: str
    mend: str = ""

    def __str__(self) -> str:
        """As one line."""
        if self.ok:
            return f"✓ {self.what}"
        between = " " if self.what.endswith("?") else ": "
        return f"✗ {self.what}" + (f"{between}{self.mend}" if self.mend else "")

    def as_json(self) -> dict[str, object]:
        """For programs; nothing is mended where nothing is wrong."""
        return {"ok": self.ok, "what": self.what, "mend": None if self.ok else self.mend or None}
