"""What is changed in a model before training: heads, strides, low-rank and parallel updates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from xferpipe.config.base import Block


class Lora(Block):
    """Low-rank updates: W + (alpha / rank) B A, B zero at the start, merged when training ends."""

    rank: int = Field(8, ge=1, description="Rank of the update.")
    alpha: float = Field(16.0, gt=0, description="Scale of the update is alpha / rank.")
    kinds: tuple[Literal["linear", "attention", "convolution"], ...] = Field(
        ("linear", "attention"), description="Layers that get an update; the classifier never."
    )


class Knn(Block):
    """A vote of the nearest training images in the place of the classifier; nothing is trained."""

    neighbours: int = Field(20, ge=1, description="Training images that vote.")
    temperature: float = Field(
        0.07, gt=0, description="Votes weigh softmax(cosine / temperature) over the neighbours."
    )


class Surgery(Block):
    """Changes of a model's structure; what is unset stays as it is."""

    head: Literal["linear", "fc512", "bnneck"] | None = Field(
        None,
        description="`fc512`: Linear-BatchNorm1d-ReLU before the classifier; `bnneck`: a batch "
        "norm between the features of metric losses and a classifier without bias.",
    )
    head_width: int = Field(512, ge=2, description="Width of the `fc512` head.")
    zero_head: bool = Field(False, description="Start the classifier from zeros, as BiT does.")
    last_stride: Literal[1, 2] | None = Field(
        None, description="Stride of the last stage of a torchvision ResNet."
    )
    stem: Literal["small_image"] | None = Field(
        None, description="`small_image`: a new 3x3 first convolution of stride 1, no max-pool."
    )
    pooling: Literal["gem"] | None = Field(
        None, description="`gem`: generalised mean in the place of the global average."
    )
    lora: Lora | None = Field(None, description="Low-rank updates; unset: none.")
    adapters: bool = Field(
        False, description="Parallel 1x1 residual adapters on every 3x3 convolution, merged at end."
    )
    knn: Knn | None = Field(
        None,
        description="The class is a vote of the nearest training images, and nothing is trained; "
        "unset: a classifier is trained.",
    )

    @model_validator(mode="after")
    def _nothing_new_stays_untrained(self) -> Surgery:
        """Refuse new layers beside `knn`, which would stay as they were drawn."""
        added = ("head", "zero_head", "stem", "lora", "adapters")
        if self.knn is not None and (found := [name for name in added if getattr(self, name)]):
            raise ValueError(
                f"knn trains nothing, so what {', '.join(found)} adds would stay untrained; leave "
                "it out, or leave knn out"
            )
        return self
