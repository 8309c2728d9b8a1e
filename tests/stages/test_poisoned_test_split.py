"""No score can read the test split: what scores are made of does not change when it is poisoned."""

from __future__ import annotations

import numpy
import pytest
from safetensors.torch import load_file

from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import read_table
from xferpipe.stages.features import features
from xferpipe.stages.gradients import gradients
from xferpipe.stages.scores import scores


@pytest.fixture
def poisoned(stages):
    """Replace the test images of both data sets by noise from the second use on."""

    def poison() -> None:
        for name in ("source", "digits"):
            files = stages.images(name)
            split = read_manifest(files["manifest"])["split"].to_numpy()
            held = numpy.load(files["images"])
            test = split == "test"
            assert 0 < test.sum() < len(test)
            held[test] = numpy.random.default_rng(0).integers(0, 256, held[test].shape)
            other = stages.folder / f"{name}_poisoned.npy"
            numpy.save(other, held)
            swapped[name] = other

    swapped: dict = {}
    own = type(stages).images

    def images(name: str) -> dict:
        return own(stages, name) | ({"images": swapped[name]} if name in swapped else {})

    stages.images = images
    return poison


def everything(stages, where: str) -> dict:
    """Return all that scores read and what they say, from pretraining to the table."""
    stages.study["scores"] = {
        "methods": ["lfc", "lgc", "leep", "rsa", "domain_similarity", "logme", "knn"],
        "bootstrap_samples": 12,
        "gradients": {"scalars": ["ntk_trace"], "sketches": ["sparse"], "projected_dimensions": 64},
        "layers": ["conv1"],
        "reference": {"model": "drawn", "recipe": "sgd"},
    }
    out = stages.folder / where
    zoo = stages.pretrain(where=f"{where}/zoo")
    small = stages.finetune(where=f"{where}/reference")
    jobs, images = stages.jobs, stages.images("digits")
    paths = {name: out / f"{name}.safetensors" for name in ("features", "gradients", "small")}
    weights = zoo / "weights.safetensors"
    features(
        jobs("features", "digits", "full", "trained"),
        **images,
        weights=weights,
        features=paths["features"],
    )
    gradients(
        jobs("gradients", "digits", "full", "trained"),
        **images,
        weights=weights,
        gradients=paths["gradients"],
    )
    features(
        jobs("features", "digits", "full", "drawn"),
        **images,
        weights=small / "weights.safetensors",
        features=paths["small"],
    )
    scores(
        jobs("scores", "digits", "full", "trained"),
        features=paths["features"],
        card=zoo / "card.parquet",
        class_means=zoo / "class_means.safetensors",
        gradients=paths["gradients"],
        reference=paths["small"],
        scores=out / "scores.parquet",
    )
    tensors = {
        f"{name} {key}": value.numpy().tobytes()
        for name, path in (paths | {"means": zoo / "class_means.safetensors"}).items()
        for key, value in load_file(path).items()
    }
    table = read_table("scores", out / "scores.parquet").drop(
        "seconds", "feature_seconds", "peak_bytes"
    )
    return tensors | {"scores": table.rows()}


def test_poisoned_test_images_change_nothing_that_a_score_reads(stages, poisoned) -> None:
    clean = everything(stages, "clean")
    poisoned()
    dirty = everything(stages, "poisoned")
    assert len(clean["scores"]) > 10
    assert dirty == clean
    # The poison is real: what is allowed to see the test images does see it.
    runs = [
        read_table("finetunes", stages.folder / where / "reference/run.parquet")
        for where in ("clean", "poisoned")
    ]
    assert runs[0]["test_loss"][0] != runs[1]["test_loss"][0]
