"""Training recipes. Option names are those of torchvision's reference scripts where it has one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from xferpipe.config.augmentation import Augmentation


class Recipe(Augmentation):
    """How one model is trained, for pretraining and fine-tuning alike."""

    epochs: int = Field(10, ge=1, description="Passes over the training split.")
    batch_size: int = Field(32, ge=1, description="Images per optimiser step (the global batch).")
    opt: Literal["sgd", "sgd_nesterov", "adam", "adamw"] = Field("sgd", description="Optimiser.")
    lr: float = Field(0.01, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay.")
    norm_weight_decay: float | None = Field(
        None, ge=0, description="Weight decay of normalisation layers; unset: `weight_decay`."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Mass moved off the true class.")
    lr_scheduler: Literal["constant", "step", "multistep", "cosine"] = Field(
        "cosine", description="Schedule after warm-up."
    )
    lr_step_size: int = Field(30, ge=1, description="Epochs between drops of `step`.")
    lr_milestones: tuple[int, ...] = Field((), description="Epochs at which `multistep` drops.")
    lr_gamma: float = Field(0.1, gt=0, description="Factor of a drop.")
    lr_min: float = Field(0.0, ge=0, description="Final learning rate of `cosine`.")
    lr_warmup_epochs: int = Field(0, ge=0, description="Epochs of warm-up.")
    lr_warmup_method: Literal["constant", "linear"] = Field("linear", description="Warm-up shape.")
    lr_warmup_decay: float = Field(0.01, gt=0, le=1, description="First factor of the warm-up.")
    train_layers: Literal["all", "head"] = Field("all", description="What is trained.")
    loss: Literal["cross_entropy", "cross_entropy_triplet"] = Field(
        "cross_entropy", description="Loss; the triplet part is batch-hard, for identities."
    )
    triplet_margin: float = Field(0.3, gt=0, description="Margin of the triplet part.")
    sampler: Literal["shuffle", "pk"] = Field(
        "shuffle", description="`pk` draws a few images (K) of each of some identities (P)."
    )
    ra_reps: int = Field(
        1,
        ge=1,
        description="Repeated augmentation: times that an image follows itself in `shuffle`.",
    )
    images_per_identity: int = Field(4, ge=2, description="K of the `pk` sampler.")
    select: Literal["best", "last"] = Field(
        "best", description="Epoch kept: best on the validation split, or the last."
    )

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        if self.lr_warmup_epochs >= self.epochs and self.lr_warmup_epochs > 0:
            raise ValueError(
                f"lr_warmup_epochs ({self.lr_warmup_epochs}) must be below epochs ({self.epochs})"
            )
        if self.sampler == "pk" and self.batch_size % self.images_per_identity:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of images_per_identity "
                f"({self.images_per_identity}) with the pk sampler"
            )
        return self
