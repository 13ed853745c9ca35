"""What a worker runs and how: validated value objects, built at the entry point and handed down."""

from __future__ import annotations

import os
import secrets
import socket

from pydantic import BaseModel, ConfigDict, Field

_frozen = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(BaseModel):
    """One model name and what completes it here."""

    model_config = _frozen

    name: str = Field(min_length=1, max_length=256)
    mlx: str | None = None  #: a folder, a Hugging Face repository, or `demo`
    simulate: float | None = Field(default=None, ge=0)  #: seconds that a simulated answer takes
    slots: int = Field(default=32, ge=1, le=4096)  #: jobs that it runs at once


class WorkerSettings(BaseModel):
    """A worker. All times are in seconds."""

    model_config = _frozen

    models: tuple[ModelSettings, ...] = Field(min_length=1)
    lease: float = Field(default=10.0, ge=1.0)  #: for how long a claimed job stays claimed without a renewal
    drain_timeout: float = Field(default=30.0, ge=0)  #: for how long a draining worker lets running jobs go on
    keep: float = Field(default=7 * 86400.0, ge=0)  #: for how long the results of jobs without a batch are kept
    max_tries: int = Field(default=5, ge=1)  #: attempts that may fail before a job does
    max_deliveries: int = Field(default=3, ge=1)  #: claims that may end in nothing before a job fails
    name: str | None = None

    @property
    def renewal(self) -> float:
        """The period of lease renewals: early enough for two that go missing."""
        return 0.3 * self.lease

    def new_worker_id(self) -> str:
        """An id that no other worker has, and that a person recognises."""
        host = self.name or socket.gethostname().removesuffix(".local")
        clean = "".join(c if c.isalnum() or c in "-_." else "-" for c in host) or "worker"
        return f"{clean}-{os.getpid()}-{secrets.token_hex(3)}"
