"""How an image file becomes eight bits of red, green and blue."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat, field_validator

from xferpipe.config.base import Block


class Decoding(Block):
    """What a data set's image files are read as; an exported model reads its photographs alike."""

    window: Literal["percentiles", "min_max", "full"] | tuple[FiniteFloat, FiniteFloat] = Field(
        "percentiles",
        description="Values of grey files of more than 8 bits that become black and white: "
        "`percentiles` or `min_max` of each file, `full` (0 to 65535; of floats 0 to 1), or two "
        "numbers in the files' own unit, e.g. [0, 4095].",
    )
    percentiles: tuple[FiniteFloat, FiniteFloat] = Field(
        (0.5, 99.5), description="Percentiles of a file's values that `window: percentiles` takes."
    )
    background: Literal["white", "black"] = Field(
        "white", description="What transparent images are laid on."
    )
    orientation: Literal["apply", "ignore"] = Field(
        "apply",
        description="`apply` turns photographs as their EXIF tag says, as viewers show them; "
        "`ignore` takes pixels as they are stored, as torchvision does.",
    )
    maximum_megapixels: float = Field(
        180,
        gt=0,
        le=10_000,
        description="Larger files are refused; decoding takes 3 to 12 MB of memory a megapixel.",
    )

    @field_validator("window", "percentiles")
    @classmethod
    def _ascending(cls, ends: object) -> object:
        if isinstance(ends, tuple) and not ends[0] < ends[1]:
            raise ValueError(f"{list(ends)}: the first must be below the second")
        return ends

    @field_validator("percentiles")
    @classmethod
    def _per_cent(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= ends[0] < ends[1] <= 100:
            raise ValueError(f"{list(ends)}: expected two numbers from 0 to 100")
        return ends


#: What files are read as where nobody says otherwise.
USUAL = Decoding()
