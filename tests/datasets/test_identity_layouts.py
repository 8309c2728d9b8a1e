"""Layouts of identities, written by hand in the form that their authors give them."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from PIL import Image
from tests.datasets import layouts

from xferpipe.config.datasets import MSMT17, Cuhk03NP, DrawGallery, DukeMTMC, IdentityFolder
from xferpipe.config.jobs import ManifestJob, PackJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.readers import reader_module
from xferpipe.datasets.unreadable import UnreadableImages
from xferpipe.stages.manifest import listing, manifest
from xferpipe.stages.pack import pack


def written(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def read(dataset):
    module = reader_module(dataset.reader)
    rows = module.read(dataset, root=dataset.root, seed=0)
    assert set(rows["path"]) <= set(module.files(dataset))
    columns = ("split", "identity", "camera")
    return {row["path"]: tuple(row[name] for name in columns) for row in rows.to_dicts()}


def test_dukemtmc_names_are_read(tmp_path, caplog):
    root = written(
        tmp_path,
        "bounding_box_train/0001_c2_f0046182.jpg",
        "bounding_box_train/0002_c8_f0046200.jpg",
        "query/0005_c2_f0046985.jpg",
        "bounding_box_test/0005_c5_f0051341.jpg",
        "bounding_box_test/0005_c2_f0047105.jpg",
    )
    found = read(DukeMTMC(root=root))
    assert found["bounding_box_train/0002_c8_f0046200.jpg"] == ("train", 2, 8)
    assert found["query/0005_c2_f0046985.jpg"] == ("query", 5, 2)
    assert found["bounding_box_test/0005_c5_f0051341.jpg"] == ("gallery", 5, 5)
    # Published by its authors: 702 people train, 702 ask, 1,110 are in the gallery.
    assert "published are 16522 of 702" in caplog.text
    assert "published are 2228 of 702" in caplog.text
    assert "published are 17661 of 1110" in caplog.text


@pytest.mark.parametrize(("boxes", "train"), [("detected", 7_365), ("labeled", 7_368)])
def test_cuhk03_of_the_new_protocol_is_read_below_its_boxes(tmp_path, caplog, boxes, train):
    root = written(
        tmp_path,
        f"{boxes}/bounding_box_train/0003_c1_21.png",
        f"{boxes}/bounding_box_train/0004_c2_23.png",
        f"{boxes}/query/0001_c1_11.png",
        f"{boxes}/bounding_box_test/0001_c2_16.png",
    )
    found = read(Cuhk03NP(root=root, boxes=boxes))
    assert found[f"{boxes}/query/0001_c1_11.png"] == ("query", 1, 1)
    assert found[f"{boxes}/bounding_box_test/0001_c2_16.png"] == ("gallery", 1, 2)
    assert f"published are {train} of 767" in caplog.text


LISTS = {
    "list_train.txt": "0000/0000_000_01_0303morning_0015_0.jpg 0\n",
    "list_val.txt": "0001/0001_004_03_0303noon_0020_1.jpg 1\n",
    "list_query.txt": "0000/0000_001_14_0303morning_0016_0.jpg 0\n",
    "list_gallery.txt": "0000/0000_002_15_0303morning_0017_0.jpg 0\n",
}


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_lists_are_read_and_test_identities_are_others(tmp_path, folders):
    for file, text in LISTS.items():
        folder = folders[file in ("list_query.txt", "list_gallery.txt")]
        written(tmp_path, f"{folder}/{text.split()[0]}")
        (tmp_path / file).write_text(text)
    found = read(MSMT17(root=tmp_path))
    assert found == {
        f"{folders[0]}/0000/0000_000_01_0303morning_0015_0.jpg": ("train", 0, 1),
        f"{folders[0]}/0001/0001_004_03_0303noon_0020_1.jpg": ("train", 1, 3),
        f"{folders[1]}/0000/0000_001_14_0303morning_0016_0.jpg": ("query", 1_000_000, 14),
        f"{folders[1]}/0000/0000_002_15_0303morning_0017_0.jpg": ("gallery", 1_000_000, 15),
    }
    (tmp_path / "list_val.txt").write_text("0001/0001_004.jpg\n")
    with pytest.raises(DatasetError, match=r"list_val.txt: 1 of 1 lines cannot be read"):
        read(MSMT17(root=tmp_path))


def test_folder_an_identity_is_shared_out_and_drawn_from(tmp_path):
    people = ("ada", "ben", "cleo", "dan", "eve")
    names = [f"{one}/day {day}/{at}.jpg" for one in people for day in (1, 2) for at in (1, 2)]
    found = read(IdentityFolder(root=written(tmp_path, *names), test_fraction=0.4))
    sides = {split: {one for side, one, _ in found.values() if side == split} for split in SPLITS}
    assert len(sides["train"]) == 3
    assert sides["query"] == sides["gallery"]
    assert sum(split == "query" for split, *_ in found.values()) == 2
    assert all(camera is None for *_, camera in found.values())


SPLITS = ("train", "query", "gallery")


def test_pattern_of_ones_own_reads_names_below_the_folders_of_the_splits(tmp_path):
    root = written(
        tmp_path,
        "learn/cow7-yard-t1.jpg",
        "learn/cow8-gate-t1.jpg",
        "ask/cow9-yard-t2.jpg",
        "find/cow9-gate-t3.jpg",
    )
    dataset = IdentityFolder(
        root=root,
        pattern=r"cow(?P<identity>\d+)-(?P<camera>\w+)-t(?P<sequence>\d+)\.jpg",
        folders={"train": "learn", "query": "ask", "gallery": "find"},
    )
    assert read(dataset) == {
        "learn/cow7-yard-t1.jpg": ("train", 7, 2),
        "learn/cow8-gate-t1.jpg": ("train", 8, 1),
        "ask/cow9-yard-t2.jpg": ("query", 9, 2),
        "find/cow9-gate-t3.jpg": ("gallery", 9, 1),
    }
    (root / "ask" / "notes.jpg").write_bytes(b"1")
    with pytest.raises(DatasetError, match=r"1 of 2 names cannot be read: notes.jpg; expected cow"):
        read(dataset)


def test_folders_with_test_images_are_drawn_from(tmp_path):
    names = [
        f"{split}/{one}/{at}.jpg" for split in ("train", "test") for one in "ab" for at in "12"
    ]
    folders = {"train": "train", "test": "test"}
    root = written(tmp_path, *names)
    found = read(IdentityFolder(root=root, folders=folders, draw_gallery=DrawGallery()))
    assert (
        sorted(split for split, *_ in found.values())
        == ["gallery"] * 2 + ["query"] * 2 + ["train"] * 4
    )


@pytest.mark.parametrize("pattern", ["(", r"\d+", r"(?P<identity>\d+)(?P<colour>\w)"])
def test_pattern_that_reads_no_identity_is_refused(pattern):
    with pytest.raises(ValueError, match=r"regular expression|expected \(\?P<identity>"):
        IdentityFolder(root="cows", pattern=pattern)


def block(reader, root, **options):
    """Return the block of a layout that `layouts` writes."""
    content = {"reader": reader, "root": root, "image_px": 8, **options}
    if reader == "identity_folder":
        content["folders"] = {name: name for name in SPLITS}
    job = ManifestJob.model_validate({"name": reader, "dataset": content, "seed": 0})
    return job.dataset


@pytest.mark.parametrize("reader", layouts.NAMES)
def test_layouts_leave_files_out_that_cannot_be_decoded(reader, tmp_path):
    root = layouts.write(reader, tmp_path)
    bad = layouts.NAMES[reader][-1]
    layouts.damage(root / bad)
    job = ManifestJob(name="set", dataset=block(reader, root), seed=0)
    with pytest.raises(UnreadableImages, match=r"1 of 16 image files(?s:.)*'unreadable: skip'"):
        listing(job, root, whole=True)
    skipping = block(reader, root, unreadable="skip")
    found = listing(job.model_copy(update={"dataset": skipping}), root)
    assert found.findings.filter(kind="unreadable")["path"].to_list() == [bad]
    assert bad not in found.rows["path"]
    counts = dict(found.rows["split"].value_counts().rows())
    assert counts == {"train": 10, "query": 2, "gallery": 3}


@pytest.mark.parametrize("reader", layouts.NAMES)
def test_layouts_are_read_as_their_decoding_says(reader, tmp_path):
    """A photograph that its EXIF tag turns upside down."""
    root = layouts.write(reader, tmp_path)
    turned = root / layouts.NAMES[reader][0]
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(turned).save(turned, exif=exif)
    images = {}
    for orientation in ("apply", "ignore"):
        dataset = block(reader, root, decoding={"orientation": orientation})
        files = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "findings")}
        manifest(ManifestJob(name="set", dataset=dataset, seed=0), root=root, **files)
        output = tmp_path / f"{orientation}.npy"
        pack(
            PackJob(dataset=dataset, seed=0),
            manifest=files["manifest"],
            root=root,
            images=output,
        )
        images[orientation] = numpy.load(output)
    different = (images["apply"] != images["ignore"]).any(axis=(1, 2, 3))
    assert different.sum() == 1
    (row,) = numpy.flatnonzero(different)
    both = images["apply"][row], images["ignore"][row]
    assert numpy.abs(both[0][:, ::-1, ::-1].astype(int) - both[1]).max() <= 1


@pytest.mark.parametrize("reader", layouts.NAMES)
def test_layouts_at_their_defaults_are_the_slices_that_they_were(reader, tmp_path):
    """How files are decoded is in a slice only where it is not the usual."""
    slice_ = PackJob(dataset=block(reader, tmp_path), seed=0).canonical_json()
    assert "decoding" not in slice_
    assert "unreadable" not in slice_
