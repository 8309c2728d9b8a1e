"""Query and gallery that cannot be ranked are refused before anything is trained."""

from __future__ import annotations

import polars
import pytest

from xferpipe.config.jobs import Ranked
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.rankable import check_rankable, own_copies

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


def check(*images, rule="same_camera", root=None, **options) -> None:
    rows = polars.DataFrame(images, schema=SCHEMA, orient="row")
    check_rankable(rows, Ranked(junk_rule=rule, **options), where="people", root=root)


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


def test_own_bytes_under_another_name_are_found(tmp_path):
    for name, content in (("q.jpg", b"one"), ("a.jpg", b"one"), ("b.jpg", b"two")):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=r"q.jpg \(as a.jpg\)"):
        check(*GOOD, rule="none", root=tmp_path)
    check(*GOOD, root=tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"six")  # Of one size, and another picture.
    check(*GOOD, rule="none", root=tmp_path)


def test_copies_are_pairs_of_one_identity(tmp_path):
    rows = polars.DataFrame(
        [("q", "query", 1, 1, None), ("q", "gallery", 2, 1, None), ("q", "train", 1, 1, None)],
        schema=SCHEMA,
        orient="row",
    )
    (tmp_path / "q").write_bytes(b"one")
    assert own_copies(rows, tmp_path).is_empty()
