"""Query and gallery drawn from images of known identities."""

from __future__ import annotations

import polars
import pytest

from xferpipe.config.datasets import DrawGallery, ImageTable
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.gallery_draws import with_gallery
from xferpipe.datasets.readers import table


def images(identities=10, cameras=3, each=4, split=None) -> polars.DataFrame:
    rows = [
        (f"{one}_{camera}_{at}.jpg", one, camera, split)
        for one in range(identities)
        for camera in range(cameras)
        for at in range(each)
    ]
    schema = {"path": polars.String, "identity": polars.Int64, "camera": polars.Int64}
    return polars.DataFrame(rows, schema=schema | {"split": polars.String}, orient="row")


def drawn(rows, fraction=0.5, **options) -> polars.DataFrame:
    return with_gallery(rows, DrawGallery(**options), fraction, where="people")


@pytest.mark.parametrize("queries", [1, 2])
def test_identities_are_shared_out_and_each_camera_asks_so_often(queries):
    rows = drawn(images(), queries=queries)
    sides = {name: part["identity"].unique().to_list() for (name,), part in rows.group_by("split")}
    assert set(sides["query"]) == set(sides["gallery"])
    assert len(sides["query"]) == len(sides["train"]) == 5
    assert not set(sides["query"]) & set(sides["train"])
    asked = rows.filter(split="query").group_by("identity", "camera").len()
    assert asked.height == 15
    assert asked["len"].unique().to_list() == [queries]


def test_test_images_of_a_split_are_drawn_from_and_training_images_stay():
    rows = polars.concat([images(3, split="train"), images(3, split="test")[:20]])
    rows = rows.with_columns(path=polars.format("{}_{}", "split", "path"))
    found = drawn(rows)
    assert found["split"][:36].to_list() == ["train"] * 36
    assert set(found["split"][36:]) == {"query", "gallery"}


def test_small_groups_leave_an_image_in_the_gallery_and_ask_once():
    rows = drawn(images(each=1, split="test"))
    asked = rows.filter(split="query").group_by("identity").len()
    assert asked.height == 10
    assert asked["len"].unique().to_list() == [1]
    alone = drawn(images(cameras=1, each=1, split="test"))
    assert alone["split"].unique().to_list() == ["gallery"]
    two = drawn(images(cameras=1, each=2, split="test"), queries=5)
    assert two.group_by("identity", "split").len()["len"].unique().to_list() == [1]


def test_draw_follows_its_seed_and_not_the_order_of_the_rows():
    rows = images()
    again = drawn(rows.sample(fraction=1, shuffle=True, seed=1)).sort("path")
    assert drawn(rows).sort("path").equals(again)
    assert not drawn(rows).equals(drawn(rows, seed=1))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (images(split="query"), "query or gallery images already"),
        (images(split="train"), "mark some images as test"),
        (images(3), "3 identities, 3 of them with two images or more"),
    ],
)
def test_what_cannot_be_drawn_from_is_told(rows, message):
    with pytest.raises(DatasetError, match=message):
        drawn(rows)


def test_table_without_splits_becomes_a_retrieval_set(tmp_path):
    images().drop("split").write_csv(tmp_path / "people.csv")
    dataset = ImageTable(path=tmp_path / "people.csv", root=tmp_path, draw_gallery=DrawGallery())
    rows = table.read(dataset, root=tmp_path, seed=0)
    assert dict(rows["split"].value_counts().iter_rows()) == {
        "train": 96,  # 8 of 10 identities of 12 images
        "query": 6,
        "gallery": 18,
    }
    assert rows.filter(split="train")["label"].n_unique() == 8


def test_slices_of_tables_without_it_are_what_they_were():
    assert "draw_gallery" not in ImageTable(path="a.csv").canonical_json()
    asked = ImageTable(path="a.csv", draw_gallery=DrawGallery(queries=2))
    assert '"draw_gallery":{"queries":2,"seed":0}' in asked.canonical_json()
