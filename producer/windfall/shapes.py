"""The bases of the contract's types, and its strict scalars."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

StrictFloat = Annotated[float, Field(strict=True, allow_inf_nan=False)]
StrictInt = Annotated[int, Field(strict=True)]
StrictBool = Annotated[bool, Field(strict=True)]


class Contract(BaseModel):
    """The base of every request type: frozen, and rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Record(Contract):
    """The base of everything Windfall reports: frozen, but ignores fields that a newer version adds."""

    model_config = ConfigDict(extra="ignore")
