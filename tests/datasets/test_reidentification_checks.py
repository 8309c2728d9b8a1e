"""What is said of a re-identification set before anything is trained."""

import polars
import pytest

from xferpipe.datasets import reidentification
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.reidentification import Published


def rows_of(*images):
    """Rows from (split, identity, camera); the path is the position."""
    return polars.DataFrame(
        [
            (f"{split}/{at:02d}.jpg", identity, camera, split)
            for at, (split, identity, camera) in enumerate(images)
        ],
        schema={
            "path": polars.String,
            "identity": polars.Int64,
            "camera": polars.Int64,
            "split": polars.String,
        },
        orient="row",
    )


GOOD = (
    ("train", 1, 1),
    ("train", 1, 2),
    ("train", 2, 1),
    ("train", 2, 2),
    ("query", 3, 1),
    ("gallery", 3, 1),
    ("gallery", 3, 2),
)


def findings(*more):
    return reidentification.findings(rows_of(*GOOD, *more))


def test_findings_good_set_has_none():
    assert findings() == []
    reidentification.check(rows_of(*GOOD), where="cars")


def test_findings_query_without_gallery_image_is_named_with_its_rule():
    (text,) = findings(("query", 9, 1))
    assert "1 of 2 queries have no positive: query/07.jpg" in text
    assert "identity is not in the gallery" in text
    assert "add gallery images" in text


def test_findings_six_queries_of_one_camera_name_five_and_the_rule():
    more = [("query", 4, 1)] * 6 + [("gallery", 4, 1)]
    (text,) = findings(*more)
    assert "6 of 7 queries have no positive" in text
    assert [f"query/{at:02d}.jpg" in text for at in range(7, 13)] == [True] * 5 + [False]
    assert "and 1 more" in text
    assert "same_camera removes" in text
    assert "retrieval.junk_rule: none" in text


def test_findings_identity_in_train_and_test_is_named():
    texts = findings(("gallery", 1, 3), ("query", 2, 3))
    assert any(text.startswith("2 identities are in both train and test: 1, 2;") for text in texts)


def test_findings_identity_with_one_image_states_the_rule():
    (text,) = findings(("train", 8, 1))
    assert text.startswith("1 training identities have one image: 8;")
    assert "triplet or contrastive loss finds no positive" in text


def test_findings_missing_cameras_are_counted_and_named():
    (text,) = findings(("gallery", 3, None))
    assert text.startswith("1 of 4 query and gallery images have no camera: gallery/07.jpg;")
    assert "removes nothing" in text


def test_findings_set_without_cameras_states_the_rule():
    rows = rows_of(*GOOD).with_columns(camera=polars.lit(None, polars.Int64))
    (text,) = reidentification.findings(rows)
    assert text.startswith("no image has a camera: the rule same_camera removes nothing")


def test_findings_fewer_images_than_published_give_both_counts():
    published = Published({"train": (5, 2), "query": (1, 1)}, cameras=3)
    texts = reidentification.findings(rows_of(*GOOD), published=published)
    assert texts == [
        "train has 4 images of 2 identities, published are 5 of 2; figures of a part are not "
        "comparable: is the copy complete?",
        "2 cameras, published are 3",
    ]


def test_check_no_shared_identity_is_an_error():
    rows = rows_of(*GOOD[:4], ("query", 3, 1), ("gallery", 30, 2))
    with pytest.raises(DatasetError, match=r"no query identity .*queries: 3; gallery: 30"):
        reidentification.check(rows, where="cars")


@pytest.mark.parametrize("split", ["query", "gallery"])
def test_check_missing_split_is_an_error(split):
    rows = rows_of(*(image for image in GOOD if image[0] != split))
    with pytest.raises(DatasetError, match=f"no {split} images"):
        reidentification.check(rows, where="cars")


def test_check_findings_go_to_the_log(caplog):
    reidentification.check(rows_of(*GOOD, ("train", 8, 1)), where="cars")
    assert "cars: 1 training identities have one image" in caplog.text


def test_with_labels_numbers_training_identities_alone():
    rows = reidentification.with_labels(rows_of(("train", 70, 1), ("train", 5, 1), ("query", 5, 2)))
    assert rows["label"].to_list() == [1, 0, None]
    assert rows["class_name"].to_list() == ["70", "5", "5"]


def test_findings_cameras_of_one_side_alone_are_named():
    rows = rows_of(*GOOD[:4], ("query", 3, 9), ("gallery", 3, 1), ("gallery", 3, 2))
    (text,) = reidentification.findings(rows)
    assert "no camera is on both sides (queries: 9; gallery: 1, 2)" in text


def test_findings_of_cameras_are_of_the_camera_rule_alone():
    rows = rows_of(*GOOD).with_columns(camera=polars.lit(None, polars.Int64))
    assert reidentification.findings(rows, junk_rule="none") == []
