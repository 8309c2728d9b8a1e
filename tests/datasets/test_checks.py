"""Bad input ends in one error that names the path or the count, and the cure."""

from __future__ import annotations

import re

import polars
import pytest

from xferpipe.config.datasets import ImageFolder
from xferpipe.config.jobs import ManifestJob, PackJob
from xferpipe.datasets import checks, inspection
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.images import open_images
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import write_table
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack


@pytest.fixture
def good(rows_of):
    return rows_of({name: {"train": 4, "test": 2} for name in "abc"})


def with_row(rows, row, /, **values):
    """Change single cells of one row."""
    return rows.with_columns(
        polars.when(polars.col("row") == row)
        .then(polars.lit(value, dtype=rows.schema[name]))
        .otherwise(polars.col(name))
        .alias(name)
        for name, value in values.items()
    )


def test_check_rows_good_manifest_passes(good):
    checks.check_rows(good, where="set")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.head(0), "no images"),
        (lambda rows: with_row(rows, 3, split="dev"), "unknown splits dev; allowed: train"),
        (lambda rows: with_row(rows, 3, split=None), "unknown splits None"),
        (lambda rows: with_row(rows, 3, index=2), "index 2 is listed 2 times in split train"),
        (lambda rows: with_row(rows, 3, label=3), r"row 3 .*label 3, expected 0 to 2 \(1 such"),
        (lambda rows: with_row(rows, 3, label=-1), "label -1, expected 0 to 2"),
        (lambda rows: with_row(rows, 3, label=None), "label None, expected 0 to 2"),
        (lambda rows: with_row(rows, 3, label=1), "label 1 goes with a, b"),
        (lambda rows: with_row(rows, 3, class_name="b"), "label 0 goes with a, b"),
        (lambda rows: rows.filter(polars.col("split") == "test"), "not numbered"),
        (lambda rows: with_row(rows, 3, index=None), "row 3 needs either a path or an index"),
        (lambda rows: with_row(rows, 3, path="x"), "row 3 needs either a path or an index"),
        (lambda rows: with_row(rows, 3, row=4), "not numbered 0 to 17"),
        (
            lambda rows: rows.with_columns(split=polars.lit("train")),
            r"no test split \(splits: train\)",
        ),
        (
            lambda rows: rows.with_columns(split=polars.lit("test")),
            "no training images",
        ),
        (
            lambda rows: rows.with_columns(label=polars.lit(0), class_name=polars.lit("a")).cast(
                {"label": polars.Int64}
            ),
            r"one class only \('a', 12 images\)",
        ),
    ],
)
def test_check_rows_one_fault_is_named(good, change, message):
    with pytest.raises(DatasetError, match=message):
        checks.check_rows(change(good), where="set")


def test_check_rows_class_without_training_images_is_named(rows_of):
    rows = rows_of({"a": {"train": 2, "test": 1}, "b": {"train": 2, "test": 1}, "c": {"test": 1}})
    with pytest.raises(DatasetError, match=r"class c has no training images"):
        checks.check_rows(rows, where="set")


def test_check_rows_file_in_train_and_test_is_named(good):
    files = good.with_columns(
        path=polars.format("{}.png", "index"), index=polars.lit(None, polars.Int64)
    )
    checks.check_rows(files, where="set")
    leak = with_row(files, 5, path="0.png")
    with pytest.raises(DatasetError, match=r"0\.png is in more than one split \(test, train; 1"):
        checks.check_rows(leak, where="set")


def test_check_rows_file_in_query_and_gallery_is_allowed(rows_of):
    rows = rows_of({name: {"train": 2, "query": 1, "gallery": 1} for name in "ab"})
    rows = rows.with_columns(path=polars.format("{}.png", "index")).with_columns(
        index=polars.lit(None, polars.Int64)
    )
    checks.check_rows(with_row(rows, 3, path="2.png"), where="set")


def test_read_manifest_duplicate_row_in_the_file_is_named(tmp_path, good):
    path = tmp_path / "manifest.parquet"
    doubled = polars.concat([good, good.tail(1)]).with_columns(
        row=polars.int_range(len(good) + 1, dtype=polars.Int64)
    )
    write_table("manifest", doubled, path)
    with pytest.raises(DatasetError, match=rf"{re.escape(str(path))}: index 17 .*rows 17, 18"):
        read_manifest(path)


def listed_and_packed(root, tmp_path):
    """Run both stages; the files they leave are those the caller looks for."""
    dataset = ImageFolder(root=root, image_px=8)
    output = tmp_path / "out" / "manifest.parquet"
    manifest(
        ManifestJob(name="set", dataset=dataset, seed=0),
        root=root,
        manifest=output,
        findings=output.with_name("findings.parquet"),
    )
    pack(
        PackJob(dataset=dataset, seed=0),
        manifest=output,
        root=root,
        images=tmp_path / "out" / "images.npy",
    )


def test_pack_truncated_jpeg_names_the_file_and_leaves_nothing(image_tree, tmp_path):
    root = image_tree({"a": 5, "b": 5}, suffix=".jpg")
    broken = root / "b" / "002.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(
        DatasetError, match=rf"{re.escape(str(broken))}: (?s:.)*truncated(?s:.)*copy it again"
    ):
        listed_and_packed(root, tmp_path)
    assert not (tmp_path / "out").exists()


def test_pack_truncated_jpeg_is_an_error_even_when_pil_was_told_to_accept_it(
    image_tree, tmp_path, monkeypatch
):
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    root = image_tree({"a": 5, "b": 5}, suffix=".jpg")
    broken = root / "a" / "000.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"000\.jpg"):
        listed_and_packed(root, tmp_path)


def test_open_images_truncated_jpeg_stops_the_epoch_with_its_name(image_tree, tmp_path, listing):
    root = image_tree({"a": 5, "b": 5}, suffix=".jpg")
    rows = listing(ImageFolder(root=root, image_px=8), root=root)
    broken = root / rows["path"][7]
    broken.write_bytes(broken.read_bytes()[:-200])
    images = open_images(rows, None, root, 8)
    with pytest.raises(DatasetError, match=re.escape(str(broken))):
        list(images.batches([[0, 1], [2, 7], [3, 4]]))
    assert images.batch([0, 1]).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_manifest_unpacked_set_with_a_truncated_file_is_refused(
    image_tree, tmp_path, listing, suffix
):
    root = image_tree({"a": 5, "b": 5}, suffix=suffix)
    dataset = ImageFolder(root=root, image_px=8, pack=False)
    assert len(listing(dataset, root=root)) == 10
    (tmp_path / "manifest.parquet").unlink()
    broken = root / "b" / f"002{suffix}"
    broken.write_bytes(broken.read_bytes()[:-300])
    with pytest.raises(DatasetError, match=rf"{re.escape(str(broken))}: cannot be decoded"):
        listing(dataset, root=root)
    assert not (tmp_path / "manifest.parquet").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_manifest_unpacked_file_with_bytes_after_its_end_is_good(image_tree, listing, suffix):
    root = image_tree({"a": 5, "b": 5}, suffix=suffix)
    with (root / "a" / f"000{suffix}").open("ab") as file:
        file.write(b"appended by a camera")
    assert len(listing(ImageFolder(root=root, image_px=8, pack=False), root=root)) == 10


def test_manifest_good_files_are_not_decoded(image_tree, listing, monkeypatch):
    root = image_tree({"a": 3, "b": 3}, suffix=".jpg")
    monkeypatch.setattr(inspection, "decode", lambda *_: pytest.fail("decoded"))
    assert len(listing(ImageFolder(root=root), root=root)) == 6


def test_pack_text_named_as_an_image_is_named(image_tree, tmp_path):
    root = image_tree({"a": 5, "b": 5})
    (root / "a" / "notes.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"notes\.png: cannot be decoded"):
        listed_and_packed(root, tmp_path)


def test_pack_file_gone_since_the_manifest_is_named(image_tree, tmp_path, listing):
    root = image_tree({"a": 5, "b": 5})
    dataset = ImageFolder(root=root, image_px=8)
    listing(dataset, root=root)
    (root / "a" / "003.png").unlink()
    with pytest.raises(
        DatasetError, match=r"003\.png: missing file, 1 of 10 image files;\nrestore it"
    ):
        pack(
            PackJob(dataset=dataset, seed=0),
            manifest=tmp_path / "manifest.parquet",
            root=root,
            images=tmp_path / "images.npy",
        )


@pytest.mark.parametrize("twin", ["one.jpg", "one.PNG", "One.png"])
def test_manifest_two_files_of_one_name_names_both(image_tree, write_image, tmp_path, twin):
    root = image_tree({"a": 5, "b": 5})
    for name in ("one.png", twin):
        write_image(root / "a" / name)
    with pytest.raises(DatasetError, match=rf"two files of one name: .*a/{re.escape(twin)}"):
        listed_and_packed(root, tmp_path)
    assert not (tmp_path / "out").exists()
