"""The outcome of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check; `mend` says what to do if it is not ok, or ok with a warning."""

    ok: bool
    what: str
    mend: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """As one line."""
        if self.ok and not self.warning:
            return f"✓ {self.what}"
        mark = "!" if self.ok else "✗"
        between = " " if self.what.endswith("?") else ": "
        return f"{mark} {self.what}" + (f"{between}{self.mend}" if self.mend else "")

    def as_json(self) -> dict[str, object]:
        """The finding as JSON; `mend` is null if nothing is wrong."""
        mend = None if self.ok and not self.warning else self.mend or None
        return {"ok": self.ok, "warning": self.warning, "what": self.what, "mend": mend}
