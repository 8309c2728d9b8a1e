"""The strict base class of every configuration block."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

#: A name that becomes a folder and a Snakemake wildcard: no slash, space, quote or shell character.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]


class Block(BaseModel):
    """A frozen block of the study: unknown keys and silent type changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def canonical_json(self) -> str:
        """Return sorted JSON: equal blocks give equal text, whatever order they were written in."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
