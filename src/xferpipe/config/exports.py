"""Exports: which targets' models a study hands over as folders of their own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xferpipe.config.base import Block, Name


class Exports(Block):
    """Folders with the model that the study picks: weights, configuration and card."""

    targets: tuple[Name, ...] | Literal["raced", "all", "none"] = Field(
        "raced",
        description="Targets whose model is exported: those that a race of `choose` decides, "
        "`all` that are fine-tuned, `none`, or a list of names.",
    )
    onnx: bool = Field(
        False,
        description="Write model.onnx too, checked for equal outputs. Needs the extra `onnx`.",
    )
