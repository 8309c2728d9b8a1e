"""Published recipes by name: `preset: s000_finetune_1` stands for these keys, others beside it win.

Values that the sources do not print are left to the defaults of `Recipe` or marked below.
"""

from __future__ import annotations

from typing import Any

_IMAGENET_CROP: dict[str, Any] = {
    "random_resized_crop": [0.08, 1.0],
    "horizontal_flip": 0.5,
    "interpolation": "bilinear",
}
_TORCHVISION_V1: dict[str, Any] = {
    **_IMAGENET_CROP,
    "epochs": 90,
    "batch_size": 256,
    "opt": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "lr_scheduler": "step",
    "lr_step_size": 30,
    "lr_gamma": 0.1,
    "train_crop_size": 224,
    "val_resize_size": 256,
    "val_crop_size": 224,
    "select": "last",
}
_TORCHVISION_V2: dict[str, Any] = {
    **_IMAGENET_CROP,
    "epochs": 600,
    "batch_size": 1024,
    "opt": "sgd",
    "lr": 0.5,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "norm_weight_decay": 0.0,
    "label_smoothing": 0.1,
    "mixup_alpha": 0.2,
    "cutmix_alpha": 1.0,
    "auto_augment": "ta_wide",
    "random_erase": 0.1,
    "ra_reps": 4,
    "lr_scheduler": "cosine",
    "lr_warmup_epochs": 5,
    "lr_warmup_method": "linear",
    "lr_warmup_decay": 0.01,
    "train_crop_size": 176,
    "val_resize_size": 232,
    "val_crop_size": 224,
    "model_ema": True,
    "select": "last",
}

# Vehicle re-identification: what the four recipes share; the batch size is not printed.
_S000: dict[str, Any] = {
    "epochs": 10,
    "opt": "sgd",
    "lr": 0.5,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "label_smoothing": 0.1,
    "random_erase": 0.1,
    "lr_scheduler": "cosine",
    "lr_warmup_epochs": 5,
    "lr_warmup_method": "linear",
    "lr_warmup_decay": 0.01,
    "train_crop_size": 224,
    "val_crop_size": 224,
    "interpolation": "bilinear",
}
_COLOUR: dict[str, Any] = {
    "pca_lighting": "alexnet",
    "pca_lighting_std": 0.1,
    "pca_lighting_probability": 0.5,
}
# Strengths of the jitter are the field's public code's: (0.2, 0.15, 0, 0).
_JITTER: dict[str, Any] = {"color_jitter": [0.2, 0.15, 0.0, 0.0]}

# ImageNet models on CIFAR-10; batch size and uniform learning rate are not printed.
_S001: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 128,
    "opt": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "lr_scheduler": "cosine",
    "crop_padding_px": 4,
    "train_crop_size": 32,
    "horizontal_flip": 0.5,
    "freeze_bn": "none",
}
_SMALL_STEM: dict[str, Any] = {"surgery": {"stem": "small_image"}}


def _s001_layers(*stages: int) -> dict[str, Any]:
    layers = ["head", "stem", *(f"stage{stage}" for stage in stages)]
    return _S001 | _SMALL_STEM | {"train_layers": layers}


_LAYER_LRS: dict[str, Any] = {
    "layer_lrs": {"stem": 7e-3, "head": 1e-2},
    "lr": 5e-3,
}
_S001_224: dict[str, Any] = {
    **_S001,
    "crop_padding_px": 0,
    "train_resize_size": 224,
    "train_crop_size": 224,
    "val_resize_size": 224,
    "rotation_degrees": 10.0,
}

_BIT: dict[str, Any] = {
    "opt": "sgd",
    "lr": 0.003,
    "momentum": 0.9,
    "batch_size": 512,
    "weight_decay": 0.0,
    "lr_scheduler": "supports",
    "lr_by": "step",
    "horizontal_flip": 0.5,
    "surgery": {"zero_head": True},
    "select": "last",
}
_BIT_UPSTREAM: dict[str, Any] = {
    **_IMAGENET_CROP,
    "opt": "sgd",
    # 0.03 for 256 images, scaled linearly to the batch of 4,096.
    "lr": 0.03 * 4096 / 256,
    "momentum": 0.9,
    "batch_size": 4096,
    "weight_decay": 1e-4,
    "lr_by": "step",
    "lr_scheduler": "multistep",
    "lr_gamma": 0.1,
    "lr_warmup_steps": 5000,
    "lr_warmup_decay": 1e-6,
    "train_crop_size": 224,
    "val_resize_size": 256,
    "val_crop_size": 224,
    "select": "last",
}

# Minimisers: epochs are a limit, training ends at 95 % training accuracy; lr is not printed.
_S002: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 256,
    "opt": "adam",
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "lr_scheduler": "constant",
    "until_train_accuracy": 0.95,
    "select": "last",
}

# Recipes for foundation backbones (DINOv2, SigLIP, CLIP); they fit every other, too.
# DINOv2's k-NN evaluation (its eval/knn.py, as DINO's): T = 0.07, and of 10, 20, 100 and 200
# neighbours 20, which its help calls the usual best.
_KNN: dict[str, Any] = {"surgery": {"knn": {"neighbours": 20, "temperature": 0.07}}}
# LoRA (arXiv 2106.09685, appendix D, RoBERTa base): AdamW at 5e-4, rank and alpha 8. All kinds of
# layers, so that convolutional backbones have some; epochs and schedule are not printed for images.
_LORA: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 32,
    "opt": "adamw",
    "lr": 5e-4,
    "weight_decay": 0.01,
    "lr_warmup_epochs": 1,
    "train_layers": ["head", "adapters"],
    "surgery": {"lora": {"rank": 8, "alpha": 8.0, "kinds": ["linear", "attention", "convolution"]}},
}
# CLIP end to end as WiSE-FT has it (arXiv 2109.01903): AdamW at 3e-5 with decay 0.1 and a cosine
# over 10 epochs. Its batches of 512 and 500 steps of warm-up are made for ImageNet: fewer here.
_FULL_FINETUNE: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 32,
    "opt": "adamw",
    "lr": 3e-5,
    "weight_decay": 0.1,
    "lr_warmup_epochs": 1,
    "freeze_bn": "all",
}

# The largest rate of DINOv2's linear evaluation (its eval/linear.py: SGD without decay, 1e-5 to 0.1
# a batch of 256, a cosine, the best by validation). Its 12,500 steps are for ImageNet.
_LINEAR_PROBE: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 256,
    "lr": 0.1,
    "train_layers": "head",
    "cache_features": True,
    "weight_decay": 0.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "torchvision_v1": _TORCHVISION_V1,
    "torchvision_v2": _TORCHVISION_V2,
    "s000_finetune_1": _S000 | _COLOUR,
    "s000_finetune_2": _S000 | _JITTER,
    "s000_finetune_3": _S000,
    "s000_finetune_4": _S000 | _COLOUR | _JITTER,
    "s001_fc": _S001 | {"train_layers": ["head"]},
    "s001_fc_conv1": _s001_layers(),
    "s001_fc_conv1_layer1": _s001_layers(1),
    "s001_fc_conv1_layer2": _s001_layers(2),
    "s001_fc_conv1_layer3": _s001_layers(3),
    "s001_fc_conv1_layer4": _s001_layers(4),
    "s001_fc_conv1_layers1_4": _s001_layers(1, 4),
    "s001_fc_conv1_layers2_3": _s001_layers(2, 3),
    "s001_fc_conv1_layers1_2": _s001_layers(1, 2),
    "s001_fc_conv1_layers3_4": _s001_layers(3, 4),
    "s001_full": _S001 | _SMALL_STEM,
    "s001_full_layer_lrs": _S001 | _SMALL_STEM | _LAYER_LRS,
    "s001_full_layer_lrs_without_bn1": _S001
    | _SMALL_STEM
    | _LAYER_LRS
    | {"train_layers": ["head", "stem_convolution", *(f"stage{i}" for i in (1, 2, 3, 4))]},
    "s001_224": _S001_224,
    "s001_224_head": _S001_224 | {"train_layers": ["head"]},
    "s001_scratch_stem_unchanged": _S001,
    "s001_scratch_stem_changed": _S001 | _SMALL_STEM,
    "s002_adam": _S002,
    "s002_noisy_adam": _S002 | {"noise_std": 0.05},
    "s002_swa": {
        **{key: value for key, value in _S002.items() if key != "until_train_accuracy"},
        "algorithm": "swa",
        "swa": {"start_train_accuracy": 0.95, "lr": 1e-3},
    },
    "s002_sam": _S002 | {"algorithm": "sam"},
    "s002_rsgd": _S002 | {"algorithm": "rsgd"},
    "s002_finetune": {
        **_S002,
        "lr": 1e-4,
        "weight_decay": 0.0,
        "until_train_accuracy": None,
        "epochs": 20,
    },
    "bit_upstream": _BIT_UPSTREAM | {"epochs": 90, "lr_milestones": [30, 60, 80]},
    "bit_upstream_large": _BIT_UPSTREAM | {"epochs": 40, "lr_milestones": [10, 23, 30, 37]},
    "bit_hyperrule": _BIT | {"hyperrule": "paper"},
    "bit_hyperrule_code": _BIT | {"hyperrule": "code"},
    "knn": _KNN,
    "lora": _LORA,
    "full_finetune": _FULL_FINETUNE,
    "linear_probe": _LINEAR_PROBE,
}
