"""Training recipes. Option names are those of torchvision's reference scripts where it has one."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from xferpipe.config.augmentation import Augmentation
from xferpipe.config.base import Block, GrownBlock
from xferpipe.config.nearest import suggestion
from xferpipe.config.presets import PRESETS
from xferpipe.config.surgery import Surgery

#: How images are seen that a model is evaluated on.
_OF_EVALUATION = ("val_resize_size", "val_crop_size", "interpolation")

#: Losses with a part that compares the images of a batch.
_COMPARING = ("cross_entropy_triplet", "cross_entropy_contrastive", "triplet", "circle")
#: Losses that are for identities.
_OF_IDENTITIES = ("cross_entropy_triplet", "triplet", "circle", "arcface")
#: Losses with batch-hard triplets.
_TRIPLETS = ("cross_entropy_triplet", "triplet")


class Swa(Block):
    """Stochastic weight averaging: after training, a constant rate and a mean at intervals."""

    start_train_accuracy: float = Field(
        0.95, gt=0, le=1, description="Averaging begins after the epoch that reaches this."
    )
    anneal_epochs: int = Field(2, ge=0, description="Epochs of the linear change to `lr`.")
    lr: float = Field(0.05, gt=0, description="Constant learning rate while averaging.")
    epochs: int = Field(10, ge=1, description="Epochs of averaging, the anneal excluded.")
    interval_epochs: int = Field(1, ge=1, description="Epochs between two averaged weights.")


class Rsgd(Block):
    """Replicated SGD: copies that are drawn to their mean (Pittorino et al. 2021)."""

    replicas: int = Field(3, ge=2, description="Copies of the model.")
    coupling: float = Field(0.01, gt=0, description="First strength of the pull to the mean.")
    growth: float = Field(1.001, ge=1, description="Factor of the strength at each step.")
    interval_steps: int = Field(1, ge=1, description="Steps between two pulls.")


class Recipe(Augmentation, GrownBlock):
    """How one model is trained, for pretraining and fine-tuning alike."""

    later: ClassVar[tuple[str, ...]] = (
        "circle_margin",
        "circle_scale",
        "arcface_margin",
        "arcface_scale",
    )

    preset: str | None = Field(
        None, description="Published recipe that the other keys are laid over; see presets.py."
    )
    epochs: int = Field(
        10,
        ge=0,
        description="Passes over the training split; 0, for retrieval targets: the model is "
        "evaluated as it is.",
    )
    steps: int | None = Field(
        None, ge=1, description="Optimiser steps in all; set, it takes the place of `epochs`."
    )
    until_train_accuracy: float | None = Field(
        None, gt=0, le=1, description="End after the epoch whose training accuracy reaches this."
    )
    hyperrule: Literal["paper", "code"] | None = Field(
        None,
        description="BiT-HyperRule: steps, schedule, sizes and mixup follow from the data set's "
        "size, as the paper or its code has them.",
    )
    batch_size: int = Field(32, ge=1, description="Images per optimiser step (the global batch).")
    opt: Literal["sgd", "sgd_nesterov", "adam", "adamw"] = Field("sgd", description="Optimiser.")
    lr: float = Field(0.01, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay.")
    norm_weight_decay: float | None = Field(
        None, ge=0, description="Weight decay of normalisation layers; unset: `weight_decay`."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Mass moved off the true class.")
    label_smoothing_over: Literal["all", "others"] = Field(
        "all", description="It goes to all K classes (eps/K) or to the others (eps/(K-1))."
    )
    lr_scheduler: Literal["constant", "step", "multistep", "cosine", "supports"] = Field(
        "cosine", description="Schedule after warm-up; `supports` is BiT's, of `lr_supports`."
    )
    lr_by: Literal["epoch", "step"] = Field(
        "epoch", description="The rate moves once an epoch (torchvision) or at every step."
    )
    lr_supports: tuple[int, ...] = Field(
        (), description="Steps of `supports`: end of the warm-up, drops, end."
    )
    layer_lrs: dict[str, float] = Field(
        default_factory=dict, description="Peak rate by layer, named as in `train_layers`."
    )
    lr_step_size: int = Field(30, ge=1, description="Epochs between drops of `step`.")
    lr_milestones: tuple[int, ...] = Field((), description="Epochs at which `multistep` drops.")
    lr_gamma: float = Field(0.1, gt=0, description="Factor of a drop.")
    lr_min: float = Field(0.0, ge=0, description="Final learning rate of `cosine`.")
    lr_warmup_epochs: int = Field(0, ge=0, description="Epochs of warm-up.")
    lr_warmup_steps: int | None = Field(
        None, ge=1, description="Warm-up in steps; set, it takes the place of `lr_warmup_epochs`."
    )
    lr_warmup_method: Literal["constant", "linear"] = Field("linear", description="Warm-up shape.")
    lr_warmup_decay: float = Field(0.01, gt=0, le=1, description="First factor of the warm-up.")
    train_layers: Literal["all", "head"] | tuple[str, ...] = Field(
        "all",
        description="What is trained: all, head, or a list of head, stem, stem_convolution, "
        "stage1 ..., norm, adapters (LoRA too) and patterns of parameter names such as "
        "layer4.1.*.",
    )
    freeze_bn: Literal["frozen_layers", "all", "none"] = Field(
        "frozen_layers",
        description="Batch norms whose statistics stay: those of frozen layers, all (scale and "
        "shift too), or none.",
    )
    cache_features: bool = Field(
        False,
        description="Compute the features once and train the head on them: a linear probe. Needs "
        "train_layers: head, no augmentation and a linear head.",
    )
    surgery: Surgery | None = Field(None, description="Changes of the model's structure.")
    loss: Literal[
        "cross_entropy",
        "cross_entropy_triplet",
        "cross_entropy_contrastive",
        "triplet",
        "circle",
        "arcface",
    ] = Field(
        "cross_entropy",
        description="Loss; the triplet part is batch-hard, for identities, as are triplet alone, "
        "circle and arcface.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="Weights of the classes in the cross-entropy: 1 each, or n/(k n_c) for the "
        "n_c of n training images of each of k classes, so that rare classes count as much as "
        "frequent ones.",
    )
    algorithm: Literal["plain", "sam", "swa", "rsgd"] = Field(
        "plain", description="What a step does beyond the optimiser."
    )
    sam_rho: float = Field(0.05, gt=0, description="Radius of `sam`.")
    swa: Swa | None = Field(None, description="Options of algorithm `swa`.")
    rsgd: Rsgd | None = Field(None, description="Options of algorithm `rsgd`.")
    model_ema: bool = Field(
        False, description="Validate and keep an exponential average of the weights."
    )
    model_ema_decay: float = Field(0.99998, gt=0, lt=1, description="Decay of the average.")
    model_ema_steps: int = Field(32, ge=1, description="Steps between two updates of it.")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Images of one pass; gradients accumulate to `batch_size`."
    )
    processes: int = Field(
        1, ge=1, description="Processes (GPUs) that share every batch, started by torchrun."
    )
    amp: Literal["none", "bf16"] = Field(
        "none", description="Mixed precision: bf16 autocast, which needs no loss scaling."
    )
    channels_last: bool = Field(
        True, description="Channels last in memory: faster convolutions on processors and GPUs."
    )
    compile: bool = Field(False, description="torch.compile the model.")
    fused: bool = Field(
        True, description="Fused optimiser kernels: one pass over memory instead of several."
    )
    triplet_margin: float = Field(0.3, gt=0, description="Margin of the triplet part.")
    contrastive_margin: float = Field(
        1.0, gt=0, description="Distance beyond which different identities of a pair add no loss."
    )
    circle_margin: float = Field(
        0.25, gt=0, lt=1, description="Relaxation of loss `circle`, of similarities."
    )
    circle_scale: float = Field(128.0, gt=0, description="Scale of loss `circle`.")
    arcface_margin: float = Field(
        0.5, gt=0, lt=1.5707, description="Angle in radians that loss `arcface` adds."
    )
    arcface_scale: float = Field(64.0, gt=0, description="Scale of loss `arcface`.")
    sampler: Literal["shuffle", "pk", "replacement"] = Field(
        "shuffle",
        description="`pk` draws a few images (K) of each of some identities (P); `replacement` "
        "fills every batch with draws from all images, 50 steps an epoch or more.",
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

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        """Lay the keys over the preset that `preset` names; the slice holds the result alone."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if (name := data.pop("preset", None)) is not None:
            if name not in PRESETS:
                near = suggestion(name, PRESETS)
                raise ValueError(
                    f"unknown preset {name!r}{near}; allowed: {', '.join(sorted(PRESETS))}"
                )
            data = PRESETS[name] | data
        # An algorithm's options are part of the slice exactly when it is used.
        if (algorithm := data.get("algorithm")) in ("swa", "rsgd"):
            data[algorithm] = data.get(algorithm) or {}
        return data

    @property
    def is_for_identities(self) -> bool:
        """Whether loss or sampler need identities."""
        return self.loss in _OF_IDENTITIES or self.sampler == "pk"

    @property
    def has_triplets(self) -> bool:
        """Whether a part of the loss is batch-hard triplets."""
        return self.loss in _TRIPLETS

    @property
    def evaluates(self) -> bool:
        """Whether the model is evaluated as it is: query and gallery are ranked, nothing else."""
        return self.epochs == 0 and self.steps is None and self.hyperrule is None

    @property
    def compares(self) -> bool:
        """Whether the loss compares images of a batch with each other."""
        return self.loss in _COMPARING

    @property
    def fixed_features(self) -> bool:
        """Whether the features stay those of the pretrained model."""
        return self.cache_features or self.remembers or self.evaluates

    @property
    def remembers(self) -> bool:
        """Whether the training images are remembered (k-NN), and nothing is trained."""
        return self.surgery is not None and self.surgery.knn is not None

    def _trains_nothing(self) -> None:
        """Refuse options of training beside k-NN."""
        allowed = {"preset", "surgery", "select", *_OF_EVALUATION}
        plain = Recipe()
        unused = [
            name
            for name in type(self).model_fields
            if name not in allowed and getattr(self, name) != getattr(plain, name)
        ]
        if unused:
            raise ValueError(
                f"surgery.knn trains nothing, so {', '.join(unused)} would do nothing; leave "
                f"{'it' if len(unused) == 1 else 'them'} out (allowed: "
                f"{', '.join(sorted(allowed))}), or leave surgery.knn out"
            )

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        if self.remembers:
            self._trains_nothing()
        if self.evaluates and (self.surgery is not None or self.cache_features):
            raise ValueError(
                "epochs: 0 evaluates the model as it is, so surgery and cache_features would do "
                "nothing, or harm; leave them out, or train for 1 epoch or more"
            )
        if self.lr_scheduler == "supports" and len(self.lr_supports) < 2 and not self.hyperrule:
            raise ValueError("lr_scheduler: supports needs lr_supports of two steps or more")
        if self.cache_features and (self.train_layers != "head" or self.augments()):
            raise ValueError("cache_features needs train_layers: head and no augmentation")
        if self.cache_features and self.surgery and self.surgery.head not in (None, "linear"):
            raise ValueError(
                f"cache_features beside surgery.head: {self.surgery.head} would train the last of "
                "the head's layers alone; leave surgery.head out, or set cache_features: false"
            )
        if self.surgery and self.surgery.lora and self.train_layers == "all":
            raise ValueError(
                "surgery.lora beside train_layers: all would train what it updates; allowed: a "
                "list such as [head, adapters]"
            )
        if self.mixup_alpha or self.cutmix_alpha:
            self._mixing_fits()
        if self.class_weights == "balanced":
            self._classes_can_weigh()
        if self.loss == "arcface" and (self.cache_features or not self._has_linear_head()):
            raise ValueError(
                "loss: arcface compares features with the rows of a linear head; leave "
                "surgery.head and cache_features out"
            )
        if self.lr_warmup_epochs >= self.epochs and self.lr_warmup_epochs > 0:
            raise ValueError(
                f"lr_warmup_epochs ({self.lr_warmup_epochs}) must be below epochs ({self.epochs})"
            )
        if self.ra_reps > 1 and self.sampler != "shuffle":
            raise ValueError(
                f"ra_reps: {self.ra_reps} is for sampler: shuffle, not {self.sampler}; leave one "
                "of both out"
            )
        if self.sampler == "pk" and self.batch_size % self.images_per_identity:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of images_per_identity "
                f"({self.images_per_identity}) with the pk sampler"
            )
        if self.sampler == "pk" and self.batch_size < 2 * self.images_per_identity:
            raise ValueError(
                f"batch_size ({self.batch_size}) with images_per_identity "
                f"({self.images_per_identity}) makes batches of one identity, in which no image "
                f"has a negative; allowed: {2 * self.images_per_identity} or more"
            )
        return self

    def _has_linear_head(self) -> bool:
        return self.surgery is None or self.surgery.head in (None, "linear")

    def _classes_can_weigh(self) -> None:
        if self.loss != "cross_entropy":
            raise ValueError(
                f"class_weights: balanced weighs the cross-entropy of single images, loss "
                f"{self.loss} compares pairs of them, too; set class_weights: none or loss: "
                "cross_entropy"
            )
        if self.sampler == "pk":
            raise ValueError(
                "class_weights: balanced beside sampler: pk, which already shows every class "
                "equally often, would turn the imbalance round; leave one of both out"
            )

    def _mixing_fits(self) -> None:
        if self.loss != "cross_entropy":
            raise ValueError(
                f"mixup and cutmix give soft labels, loss {self.loss} needs identities; "
                "set mixup_alpha and cutmix_alpha to 0"
            )

    def augments(self) -> bool:
        """Say whether training images differ from showing to showing."""
        random = (
            "random_resized_crop crop_padding_px horizontal_flip rotation_degrees auto_augment "
            "color_jitter pca_lighting noise_std random_erase mixup_alpha cutmix_alpha"
        )
        return any(getattr(self, name) for name in random.split())
