"""Real digits through the real reader, and calls of the stages as the workflow makes them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from xferpipe.config.jobs import Job
from xferpipe.config.load import load_study
from xferpipe.graph.stages import job_of
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack

STUDY: dict[str, Any] = {
    "name": "stages",
    "device": "cpu",
    # Another than those of the runs, so that nobody takes one for the other.
    "seed": 7,
    "datasets": {
        "source": {"reader": "digits", "classes": [0, 1, 2], "maximum_images_per_class": 40},
        "digits": {"reader": "digits", "classes": [5, 6, 7], "maximum_images_per_class": 40},
    },
    "targets": {"digits": {"dataset": "digits"}},
    "pretraining_recipes": {"upstream": {"epochs": 2, "batch_size": 16, "lr": 0.05}},
    "finetuning_recipes": {"sgd": {"epochs": 2, "batch_size": 16, "lr": 0.02}},
    "zoo": {
        "trained": {
            "architecture": "cifar_resnet8",
            "width": 4,
            "weights": "pretrain",
            "source": "source",
            "recipe": "upstream",
        },
        "drawn": {"architecture": "cifar_resnet8", "width": 4, "weights": "random"},
    },
    "finetunes": [{"recipes": ["sgd"], "shots": ["full", 5]}],
    "probe": {"images_per_class": 5},
}


@dataclass
class Stages:
    """The stages' files in one folder."""

    folder: Path
    data: Path
    study: dict[str, Any]

    @property
    def jobs(self) -> partial[Job]:
        return partial(job_of, load_study(self.study))

    def images(self, name: str) -> dict[str, Path | None]:
        """Return the arguments that name a data set; its files are made once."""
        listed, packed = self.data / f"{name}.parquet", self.data / f"{name}.npy"
        if not listed.exists():
            manifest(
                self.jobs("manifest", name),
                root=None,
                manifest=listed,
                findings=listed.with_name("findings.parquet"),
            )
            pack(self.jobs("pack", name), manifest=listed, root=None, images=packed)
        return {"manifest": listed, "images": packed, "root": None}

    def finetune(self, model: str = "drawn", shots: str = "full", *, where: str = "run") -> Path:
        """Fine-tune, drawing or taking the zoo entry's weights; return the folder written."""
        from xferpipe.stages.finetune import finetune

        out = self.folder / where
        finetune(
            self.jobs("finetune", "digits", shots, model, "sgd", "0"),
            **self.images("digits"),
            initial=self.weights(model),
            checkpoint=out / "checkpoint.pt",
            weights=out / "weights.safetensors",
            run=out / "run.parquet",
            epochs=out / "epochs.parquet",
            predictions=out / "predictions.parquet",
            class_recalls=out / "class_recalls.parquet",
            validation_queries=out / "validation_queries.parquet",
            feature_correlation=out / "feature_correlation.parquet",
        )
        return out

    def pretrain(self, *, where: str = "zoo", initial: Path | None = None) -> Path:
        from xferpipe.stages.pretrain import pretrain

        out = self.folder / where
        pretrain(
            self.jobs("pretrain", "trained"),
            **self.images("source"),
            initial=initial,
            checkpoint=out / "checkpoint.pt",
            weights=out / "weights.safetensors",
            card=out / "card.parquet",
            class_means=out / "class_means.safetensors",
            epochs=out / "epochs.parquet",
        )
        return out

    def weights(self, model: str) -> Path:
        from xferpipe.stages.load_weights import load_weights

        if model == "trained":
            return self.pretrain() / "weights.safetensors"
        out = self.folder / model
        load_weights(
            self.jobs("load_weights", model),
            weights=out / "weights.safetensors",
            card=out / "card.parquet",
            class_means=out / "class_means.safetensors",
        )
        return out / "weights.safetensors"


@pytest.fixture(autouse=True)
def _settings_put_back():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("digits")


@pytest.fixture
def stages(tmp_path, digits_folder) -> Stages:
    return Stages(tmp_path, digits_folder, copy.deepcopy(STUDY))
