"""The default study: real digits and rendered sources, minutes on two cores.

`config.yaml` is this, written out with the comments of the types; a test compares the two.
"""

from __future__ import annotations

from typing import Any

_DIGITS = {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}


def _entry(source: str, **more: Any) -> dict[str, Any]:
    return {
        "architecture": "cifar_resnet8",
        "weights": "pretrain",
        "source": source,
        "recipe": "upstream",
        **_DIGITS,
        **more,
    }


_DIGITS_LICENCE = {"licence": "CC BY 4.0, UCI machine learning repository"}

DEFAULT: dict[str, Any] = {
    "name": "digits",
    "seed": 0,
    "compute_threads": 1,
    "device": "auto",
    "datasets": {
        "digits_0_to_4": {"reader": "digits", "classes": [0, 1, 2, 3, 4], **_DIGITS_LICENCE},
        "digits_5_to_9": {"reader": "digits", "classes": [5, 6, 7, 8, 9], **_DIGITS_LICENCE},
        "letters_a_to_m": {
            "reader": "generated",
            "kind": "letters",
            "classes": 13,
            "images_per_class": 200,
        },
        "letters_n_to_z": {
            "reader": "generated",
            "kind": "letters",
            "classes": 13,
            "first_class": 13,
        },
        "shapes": {"reader": "generated", "kind": "shapes", "classes": 8},
        "textures": {"reader": "generated", "kind": "textures", "classes": 8},
        "vehicles": {
            "reader": "veri776",
            "image_px": 32,
            "generate": {"train_identities": 12, "test_identities": 8},
        },
    },
    "targets": {
        "digits_5_to_9": {"dataset": "digits_5_to_9"},
        "letters_n_to_z": {"dataset": "letters_n_to_z"},
        "vehicles": {"dataset": "vehicles", "task": "retrieval"},
    },
    "pretraining_recipes": {
        "upstream": {"epochs": 8, "batch_size": 32, "opt": "adam", "lr": 0.003},
    },
    "finetuning_recipes": {
        "sgd": {"epochs": 6, "batch_size": 32, "lr": 0.02},
        "few_shot": {"epochs": 30, "batch_size": 8, "lr": 0.01},
        "head_only": {"epochs": 6, "batch_size": 32, "lr": 0.1, "train_layers": "head"},
        "identities": {
            "epochs": 12,
            "batch_size": 16,
            "opt": "adam",
            "lr": 0.003,
            "loss": "cross_entropy_triplet",
            "sampler": "pk",
        },
    },
    "zoo": {
        "resnet8_digits": _entry("digits_0_to_4"),
        "resnet14_digits": _entry("digits_0_to_4", architecture="cifar_resnet14"),
        "resnet8_letters": _entry("letters_a_to_m"),
        "resnet14_letters": _entry("letters_a_to_m", architecture="cifar_resnet14"),
        "resnet8_shapes": _entry("shapes"),
        "resnet8_shapes_from_letters": _entry("shapes", initial="resnet8_letters"),
        "resnet8_textures": _entry("textures"),
        "resnet8_random": {"architecture": "cifar_resnet8", "weights": "random", **_DIGITS},
    },
    "finetunes": [
        {"targets": ["digits_5_to_9", "letters_n_to_z"], "recipes": ["sgd"]},
        {"targets": ["digits_5_to_9"], "shots": [5], "recipes": ["few_shot"], "seeds": [0, 1]},
        {
            "targets": ["digits_5_to_9"],
            "models": ["resnet8_digits", "resnet8_letters", "resnet8_random"],
            "recipes": ["head_only"],
        },
        {"targets": ["vehicles"], "recipes": ["identities"]},
    ],
    "probe": {"images_per_class": 25},
    "scores": {
        "methods": [
            "lfc",
            "lfc_centered",
            "leep",
            "knn",
            "linear_probe",
            "source_accuracy",
            "parameters",
        ],
    },
    "retrieval": {"distance": "euclidean", "normalised": True},
    "selection": {"reference_model": "resnet8_letters"},
    "report": {
        "feature_correlation": {
            "targets": ["digits_5_to_9"],
            "models": ["resnet8_digits"],
            "recipes": ["sgd"],
        },
    },
    "smoke": {
        "targets": {"letters_n_to_z": None},
        "zoo": {
            "resnet14_digits": None,
            "resnet14_letters": None,
            "resnet8_shapes": None,
            "resnet8_shapes_from_letters": None,
            "resnet8_textures": None,
        },
        "pretraining_recipes": {"upstream": {"epochs": 2, "batch_size": 64}},
        "finetuning_recipes": {
            "sgd": {"epochs": 1},
            "few_shot": {"epochs": 1},
            "head_only": {"epochs": 1},
            "identities": {"epochs": 1},
        },
        "finetunes": [
            {"targets": ["digits_5_to_9"], "recipes": ["sgd"]},
            {
                "targets": ["digits_5_to_9"],
                "shots": [5],
                "models": ["resnet8_random"],
                "recipes": ["head_only", "few_shot"],
            },
            {
                "targets": ["vehicles"],
                "models": ["resnet8_random"],
                "recipes": ["identities"],
            },
        ],
    },
}
