"""What every block of the YAML shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every block of the YAML: frozen, unknown keys refused, no value silently converted.

    Strict: ``"3"`` is not 3 and ``true`` is not 1; a whole number may stand where a real one is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
