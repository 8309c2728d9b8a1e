"""Image folders through both stages, and packed images against decoded ones."""

from __future__ import annotations

import subprocess
import sys

import numpy
import polars
import pytest
import torch
from PIL import Image

from xferpipe.config.datasets import Digits, Generated, ImageFolder
from xferpipe.config.decoding import Decoding
from xferpipe.config.jobs import PackJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.images import open_images
from xferpipe.datasets.pixels import fitted
from xferpipe.datasets.readers import reader_module
from xferpipe.stages.pack import pack


def test_image_folder_flat_is_labelled_by_sorted_folders_and_split(image_tree, listing):
    root = image_tree({"cat": 10, "ant": 10, "bee": 10})
    rows = listing(ImageFolder(root=root), root=root)
    names = rows.select("label", "class_name").unique().sort("label").rows()
    assert names == [(0, "ant"), (1, "bee"), (2, "cat")]
    assert rows["split"].value_counts().sort("split").rows() == [("test", 6), ("train", 24)]
    assert rows["path"].to_list() == sorted(rows.head(24)["path"]) + sorted(rows.tail(6)["path"])


@pytest.mark.parametrize("validation", ["val", "validation", "Val", "valid", "dev"])
def test_image_folder_split_folders_are_the_splits(image_tree, listing, validation):
    root = image_tree(
        {f"{split}/{name}": 3 for split in ("train", validation, "test") for name in "ab"}
    )
    rows = listing(ImageFolder(root=root), root=root)
    by_folder = rows.select(polars.col("path").str.split("/").list.first(), "split").unique()
    assert set(by_folder.rows()) == {
        ("train", "train"),
        (validation, "validation"),
        ("test", "test"),
    }


@pytest.mark.parametrize(
    "folders",
    [
        {"train": "train", "valid": "validation", "test": "test"},
        {"Training": "train", "Testing": "test"},
        {"train": "train", "dev": "validation", "evaluation": "test"},
        {"training": "train", "validation": "validation", "eval": "test"},
    ],
    ids=", ".join,
)
def test_image_folder_takes_the_words_that_people_use_for_splits(image_tree, listing, folders):
    root = image_tree({f"{split}/{name}": 3 for split in folders for name in "ab"})
    rows = listing(ImageFolder(root=root), root=root)
    found = rows.select(polars.col("path").str.split("/").list.first(), "split").unique()
    assert dict(found.rows()) == folders
    assert sorted(rows["class_name"].unique()) == ["a", "b"]


@pytest.mark.parametrize("names", [("invalid", "valid"), ("dev", "prod"), ("racing", "training")])
def test_image_folder_word_of_a_split_beside_another_class_is_a_class(image_tree, listing, names):
    root = image_tree(dict.fromkeys(names, 5))
    rows = listing(ImageFolder(root=root), root=root)
    assert sorted(rows["class_name"].unique()) == list(names)


def test_image_folder_class_that_is_a_link_to_another_is_told(image_tree, listing):
    root = image_tree({"a": 5, "b": 5})
    (root / "c").symlink_to("b")
    with pytest.raises(DatasetError, match=r"class folder .*c is empty \(no image that lies there"):
        listing(ImageFolder(root=root), root=root)


def test_image_folder_train_and_val_only_tests_on_val(image_tree, listing):
    root = image_tree({f"{split}/{name}": 3 for split in ("train", "val") for name in "ab"})
    rows = listing(ImageFolder(root=root), root=root)
    assert set(rows.filter(polars.col("path").str.starts_with("val"))["split"]) == {"test"}


def test_image_folder_nested_folders_belong_to_their_class(image_tree, listing):
    root = image_tree({"a/x": 2, "a/y/z": 2, "b": 4})
    rows = listing(ImageFolder(root=root), root=root)
    assert rows["class_name"].value_counts().sort("class_name").rows() == [("a", 4), ("b", 4)]


def test_image_folder_hidden_files_and_folders_are_neither_read_nor_counted(image_tree, listing):
    """A key that counts other files than the reader reads would miss a change, or see none."""
    root = image_tree({"a": 2, "a/deep": 2, "b": 4, "a/.cache": 2})
    (root / "b" / "000.png").rename(root / "b" / "._000.png")
    dataset = ImageFolder(root=root)
    rows = listing(dataset, root=root)
    assert not [path for path in rows["path"] if "/." in path]
    assert sorted(reader_module("image_folder").files(dataset)) == sorted(rows["path"])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 4, "b": 0}, r"class folder .*b is empty .*add images or remove"),
        ({"a": 4}, r"one class only \('a', 4 images\)|one class only \('a', 3 images\)"),
        ({"": 2, "a": 2}, r"outside the class folders \(2 such"),
        ({"train/a": 2, "test/a": 2, "a": 2}, r"beside other folders \(a\)"),
        ({"test/a": 2, "test/b": 2}, "no train folder"),
        ({"val/a": 1, "validation/a": 1, "train/a": 1}, "two folders for one split"),
        ({}, "no images"),
    ],
)
def test_image_folder_bad_layout_is_explained(image_tree, listing, tmp_path, counts, message):
    (tmp_path / "tree").mkdir()
    root = image_tree(counts) if counts else tmp_path / "tree"
    with pytest.raises(DatasetError, match=message):
        listing(ImageFolder(root=root), root=root)


def test_image_folder_no_such_folder_is_named(tmp_path, listing):
    with pytest.raises(DatasetError, match=r"nowhere: No such file"):
        listing(ImageFolder(root=tmp_path / "nowhere"), root=tmp_path / "nowhere")


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_open_images_packed_and_decoded_are_the_same_bits(image_tree, packing, tmp_path, fit):
    root = image_tree({"a": 9, "b": 8}, suffix=".jpg")
    rows, packed = packing(ImageFolder(root=root, image_px=11, fit=fit), root=root)
    from_files = open_images(rows, None, root, 11, fit=fit)
    from_array = open_images(rows, tmp_path / "images.npy", root, 11, fit=fit)
    wanted = [3, 0, 16, 3]
    assert torch.equal(from_files.batch(wanted), from_array.batch(wanted))
    assert torch.equal(from_array.batch(wanted), torch.from_numpy(packed[wanted]))
    batches = [[0], [1, 2], [], [16, 15, 14], [4], [5], [6]]
    for one, other in zip(from_files.batches(batches), from_array.batches(batches), strict=True):
        assert torch.equal(one, other)


def test_open_images_decoding_runs_no_further_ahead_than_its_bound(image_tree, listing):
    root = image_tree({"a": 9, "b": 8})
    images = open_images(listing(ImageFolder(root=root), root=root), None, root, 8)
    asked = []

    def rows():
        for row in range(17):
            asked.append(row)
            yield [row]

    batches = images.batches(rows(), ahead=2)
    next(batches)
    assert asked == [0, 1, 2]
    next(batches)
    assert asked == [0, 1, 2, 3]


def test_open_images_array_of_another_size_is_refused(packing, tmp_path, listing):
    rows, _ = packing(Generated(kind="shapes", classes=2, images_per_class=5))
    with pytest.raises(DatasetError, match=r"10 images of 16 px, but .* asks for 32 px"):
        open_images(rows, tmp_path / "images.npy", None, 32)
    with pytest.raises(DatasetError, match="set 'pack: true'"):
        open_images(rows, None, None, 16)


def test_pack_manifest_of_another_set_is_refused_and_leaves_nothing(packing, tmp_path, listing):
    listing(Digits())
    with pytest.raises(DatasetError, match="generated letters have 8; rebuild the manifest"):
        pack(
            PackJob(dataset=Generated(kind="letters", classes=2, images_per_class=4), seed=0),
            manifest=tmp_path / "manifest.parquet",
            root=None,
            images=tmp_path / "images.npy",
        )
    assert not (tmp_path / "images.npy").exists()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_fitted_any_mode_becomes_three_channels(mode):
    grey = numpy.arange(64, dtype=numpy.uint8).reshape(8, 8) * 4
    if mode == "I;16":
        image = Image.fromarray(grey.astype(numpy.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    pixels = fitted(image, 8, "crop", Decoding(window="full"))
    assert pixels.shape == (3, 8, 8)
    if mode in ("L", "LA", "RGBA", "I;16"):
        assert (pixels == grey).all()


def test_fitted_crop_takes_the_centre_and_stretch_takes_all():
    wide = numpy.zeros((10, 30, 3), dtype=numpy.uint8)
    wide[:, 10:20] = 200
    assert (fitted(Image.fromarray(wide), 10, "crop") == 200).all()
    stretched = fitted(Image.fromarray(wide), 10, "stretch")
    assert stretched[0, 5].tolist()[:2] == [0, 0]
    assert stretched[0, 5, 5] == 200


def test_manifest_and_pack_never_import_torch_or_scikit_learn():
    code = (
        "import sys\n"
        "import xferpipe.stages.pack, xferpipe.stages.generate, xferpipe.datasets.fingerprint\n"
        "import xferpipe.datasets.readers.digits, xferpipe.datasets.readers.generated\n"
        "import xferpipe.datasets.readers.image_folder, xferpipe.datasets.readers.torchvision\n"
        "print(sorted({'torch', 'torchvision', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([numpy.zeros((5, 3, 16, 16), numpy.uint8)], r"gave 5 images, .* has 8; rebuild it"),
        ([numpy.zeros((9, 3, 16, 16), numpy.uint8)], r"gave 9 images, .* has 8; rebuild it"),
        (
            [numpy.zeros((8, 3, 8, 8), numpy.uint8)],
            r"uint8 \(3, 8, 8\), expected uint8 \(3, 16, 16",
        ),
        ([numpy.zeros((8, 3, 16, 16))], r"float64 .*, expected uint8"),
    ],
)
def test_pack_reader_that_gives_other_images_than_listed_is_refused(
    listing, tmp_path, monkeypatch, blocks, message
):
    from xferpipe.datasets.readers import generated

    dataset = Generated(kind="letters", classes=2, images_per_class=4)
    listing(dataset)
    monkeypatch.setattr(generated, "images", lambda *_, **__: iter(blocks))
    with pytest.raises(DatasetError, match=message):
        pack(
            PackJob(dataset=dataset, seed=0),
            manifest=tmp_path / "manifest.parquet",
            root=None,
            images=tmp_path / "images.npy",
        )
    assert not (tmp_path / "images.npy").exists()
