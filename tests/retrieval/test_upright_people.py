"""Upright images of a table: people who differ at the edges that a centre cut takes away."""

from __future__ import annotations

import numpy
import polars
import pytest
from PIL import Image

from xferpipe import retrieval
from xferpipe.config import load_study
from xferpipe.config.jobs import PackJob
from xferpipe.graph.stages import job_of
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack

CAMERAS, PEOPLE = (1, 2), 12


def person(hair: numpy.ndarray, shoes: numpy.ndarray, noise: numpy.random.Generator) -> Image.Image:
    """Draw 64 x 128 pixels: hair on top, shoes at the bottom, the same grey coat between."""
    pixels = noise.integers(110, 140, (128, 64, 3))
    pixels[:20], pixels[-20:] = hair, shoes
    return Image.fromarray((pixels + noise.integers(-8, 9, pixels.shape)).clip(0, 255).astype("u1"))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A folder of images and the table of them, four training people aside."""
    folder = tmp_path_factory.mktemp("people")
    noise = numpy.random.default_rng(0)
    rows = []
    for identity in range(PEOPLE + 4):
        hair, shoes = noise.integers(0, 256, (2, 3))
        for camera in CAMERAS:
            name = f"{identity}_{camera}.png"
            person(hair, shoes, noise).save(folder / name)
            test = "query" if camera == 1 else "gallery"
            rows.append((name, identity, camera, test if identity < PEOPLE else "train"))
    table = polars.DataFrame(rows, schema=["path", "identity", "camera", "split"], orient="row")
    table.write_csv(folder / "people.csv")
    return folder


def study(folder, task="retrieval", **options):
    return load_study(
        {
            "name": "people",
            "datasets": {
                "people": {
                    "reader": "table",
                    "path": str(folder / "people.csv"),
                    "root": str(folder),
                    "image_px": 32,
                    **options,
                }
            },
            "targets": {"people": {"dataset": "people", "task": task}},
            "zoo": {"random": {"architecture": "cifar_resnet8", "weights": "random"}},
        }
    )


def rank1(folder, tmp_path, **options) -> float:
    """Rank by the pixels themselves, as the jobs of a study decode them."""
    checked = study(folder, **options)
    dataset = checked.datasets["people"]
    job = job_of(checked, "manifest", "people")
    manifest(
        job, root=folder, manifest=tmp_path / "rows.parquet", findings=tmp_path / "odd.parquet"
    )
    assert job_of(checked, "pack", "people") == PackJob(dataset=dataset, seed=0)
    places = {"manifest": tmp_path / "rows.parquet", "images": tmp_path / "images.npy"}
    pack(job_of(checked, "pack", "people"), root=folder, **places)
    rows = polars.read_parquet(tmp_path / "rows.parquet")
    # Means over 4 x 4 pixels, around grey: a model that has learned nothing but colours.
    pixels = numpy.load(tmp_path / "images.npy").reshape(len(rows), 3, 8, 4, 8, 4)
    features = (pixels.mean((3, 5)).reshape(len(rows), -1) / 255 - 0.5).astype("f4")
    query, gallery = (rows.filter(split=split) for split in ("query", "gallery"))
    found = retrieval.evaluate(
        features[query["row"].to_numpy()],
        features[gallery["row"].to_numpy()],
        query["identity"].to_numpy(),
        gallery["identity"].to_numpy(),
    )
    return found["rank1"]


def test_people_of_hair_and_shoes_are_found_where_nothing_is_said_of_fit(people, tmp_path):
    assert rank1(people, tmp_path) > 0.9


def test_people_of_hair_and_shoes_are_lost_by_a_cut(people, tmp_path):
    assert rank1(people, tmp_path, fit="crop") < 0.5


def test_fit_of_a_table_of_classes_is_what_it_was(people):
    checked = study(people, task="classification")
    assert checked.datasets["people"].fit == "crop"
    assert "fit" not in checked.datasets["people"].model_fields_set
