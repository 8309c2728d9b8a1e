"""Query and gallery that cannot be ranked are refused before anything is trained."""

from __future__ import annotations

import numpy
import polars
import pytest
from PIL import Image

from xferpipe.config.datasets import ImageTable
from xferpipe.config.jobs import ManifestJob, Ranked
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.rankable import check_rankable, own_copies
from xferpipe.stages.manifest import listing

SCHEMA = {
    "path": polars.String,
    "split": polars.String,
    "identity": polars.Int64,
    "camera": polars.Int64,
    "sequence": polars.Int64,
}
#: One person by two cameras, in two sequences.
GOOD = (
    ("t.jpg", "train", 1, 1, 1),
    ("q.jpg", "query", 3, 1, 1),
    ("a.jpg", "gallery", 3, 1, 1),
    ("b.jpg", "gallery", 3, 2, 2),
)


def listed(*images, contents=None) -> polars.DataFrame:
    rows = polars.DataFrame(images, schema=SCHEMA, orient="row")
    contents = contents or [None] * len(images)
    return rows.with_columns(content=polars.Series(contents, dtype=polars.String))


def check(*images, rule="same_camera", contents=None, **options) -> None:
    ranked = Ranked(junk_rule=rule, **options)
    check_rankable(listed(*images, contents=contents), ranked, where="people")


def without(place: int):
    return tuple((*image[:place], None, *image[place + 1 :]) for image in GOOD)


@pytest.mark.parametrize("rule", ["same_camera", "same_sequence", "none", "index_lists"])
def test_good_images_pass_every_rule(rule):
    check(*GOOD, rule=rule)


@pytest.mark.parametrize("split", ["query", "gallery"])
def test_missing_side_is_told_in_words_of_query_and_gallery(split):
    with pytest.raises(DatasetError, match=rf"people: no {split} images .*look for their identity"):
        check(*(image for image in GOOD if image[1] != split))


def test_rule_that_takes_every_positive_away_is_an_error_that_names_it():
    one = (*GOOD[:3], ("c.jpg", "gallery", 4, 2, 2))
    with pytest.raises(DatasetError, match=r"rule same_camera takes every .* 1 of 1 queries"):
        check(*one)
    with pytest.raises(DatasetError, match=r"rule same_sequence takes every"):
        check(*one, rule="same_sequence")
    check(*one, rule="none")


def test_one_camera_for_all_is_an_error_of_the_camera_rule_alone():
    same = tuple((*image[:3], 1, image[4]) for image in GOOD)
    with pytest.raises(DatasetError, match=r"all 3 query and gallery images have camera 1.*null"):
        check(*same)
    check(*same, rule="none")


@pytest.mark.parametrize("split", ["query", "gallery"])
def test_sequence_rule_without_sequences_is_an_error(split):
    images = [(*image[:4], None) if image[1] == split else image for image in GOOD]
    with pytest.raises(DatasetError, match=rf"none of \d {split} images has a sequence"):
        check(*images, rule="same_sequence")


def test_camera_rule_without_cameras_removes_nothing():
    check(*without(3))


def copy(camera=None):
    """A query whose own file is in the gallery."""
    return (*GOOD, ("q.jpg", "gallery", 3, camera, None))


def test_own_path_in_the_gallery_is_an_error_that_names_the_option():
    with pytest.raises(DatasetError, match=r"find itself first: set retrieval.leave_self_out"):
        check(*copy())
    check(*copy(), leave_self_out=True)
    check(*copy(camera=1))  # Junk by its camera.
    with pytest.raises(DatasetError, match="1 queries are in the gallery too"):
        check(*copy(camera=1), rule="none")


def test_own_bytes_under_another_name_are_found():
    same = ("t", "one", "one", "two")
    with pytest.raises(DatasetError, match=r"q.jpg \(as a.jpg\)"):
        check(*GOOD, rule="none", contents=same)
    check(*GOOD, contents=same)  # Junk by its camera.
    check(*GOOD, rule="none", leave_self_out=True, contents=same)
    check(*GOOD, rule="none", contents=("one", "one", "six", "two"))


def test_copies_are_pairs_of_one_identity():
    images = ("q", "query", 1, 1, None), ("q", "gallery", 2, 1, None), ("q", "train", 1, 1, None)
    assert own_copies(listed(*images, contents=["one"] * 3)).is_empty()


def test_copies_without_contents_are_those_of_one_path():
    """Contents that nobody knows equal no other."""
    images = ("q", "query", 1, 1, None), ("q", "gallery", 1, 2, None), ("g", "gallery", 1, 2, None)
    (pair,) = own_copies(listed(*images)).to_dicts()
    assert (pair["path"], pair["path_gallery"]) == ("q", "q")


def test_manifest_of_a_query_whose_copy_is_in_the_gallery_is_refused(tmp_path):
    random = numpy.random.default_rng(0)
    for name in ("q.png", "other.png"):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), numpy.uint8)).save(tmp_path / name)
    (tmp_path / "copy.png").write_bytes((tmp_path / "q.png").read_bytes())
    lines = ["q.png,query,1", "copy.png,gallery,1", "other.png,gallery,2"]
    (tmp_path / "people.csv").write_text("\n".join(["path,split,identity", *lines]))
    ranked = Ranked(junk_rule="same_camera", trained=False)
    dataset = ImageTable(path=tmp_path / "people.csv", root=tmp_path, image_px=8)
    job = ManifestJob(name="people", dataset=dataset, seed=0, ranked=ranked)
    with pytest.raises(DatasetError, match=r"q.png \(as copy.png\).*leave_self_out"):
        listing(job, tmp_path)
