"""Files that cannot be decoded: all are told at once, or left out with a record."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import types

import numpy
import pytest
from PIL import Image, features

from xferpipe.config.datasets import ImageFolder, ImageTable, Market1501
from xferpipe.config.decoding import Decoding
from xferpipe.config.jobs import ManifestJob, PackJob
from xferpipe.datasets import decoding
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode
from xferpipe.datasets.unreadable import UnreadableImage, UnreadableImages
from xferpipe.records import read_table
from xferpipe.stages.manifest import listing, manifest
from xferpipe.stages.pack import pack


def cut(path, left=40):
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[:-left])


def damage(path):
    """Change the pixels of a PNG without changing its ends: only decoding finds it."""
    content = bytearray(path.read_bytes())
    start = content.index(b"IDAT") + 10
    content[start : start + 30] = bytes(30)
    path.write_bytes(content)


@pytest.fixture
def broken(image_tree):
    """Two classes of ten images, of which eight are broken in eight ways."""
    root = image_tree({"a": 10, "b": 10})
    for name in ("a/000.png", "a/001.png", "b/000.png"):
        cut(root / name)
    (root / "a/002.png").write_bytes(b"")
    (root / "a/003.png").write_text("<!DOCTYPE html><p>not found")
    (root / "a/004.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    (root / "b/001.png").unlink()
    (root / "b/001.png").symlink_to("nowhere.png")
    os.mkfifo(root / "b" / "pipe.png")
    return root


BAD = [f"a/00{i}.png" for i in range(5)] + ["b/000.png", "b/001.png", "b/pipe.png"]
REASONS = {
    "a/002.png": "it has no bytes",
    "a/003.png": "a web page",
    "a/004.png": "a Git LFS pointer; git lfs pull brings the file",
    "b/001.png": "missing file",
    "b/pipe.png": "no regular file",
}


@pytest.mark.parametrize("packed", [True, False])
def test_manifest_tells_all_broken_files_at_once(broken, tmp_path, caplog, packed):
    dataset = ImageFolder(root=broken, image_px=8, pack=packed)
    files = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "findings")}
    with caplog.at_level(logging.ERROR), pytest.raises(UnreadableImages) as raised:
        manifest(ManifestJob(name="set", dataset=dataset, seed=0), root=broken, **files)
    told = str(raised.value)
    assert "8 of 21 image files cannot be decoded" in told
    assert sum(name in told for name in BAD) == 5
    assert "and 3 more, listed in the log of this job" in told
    assert "'unreadable: skip'" in told
    for name in BAD:
        assert f"{broken / name}: {REASONS.get(name, '')}" in caplog.text
    assert not any(file.exists() for file in files.values())


def test_files_left_out_are_recorded_and_the_others_keep_their_side(broken, caplog):
    def listed(root):
        dataset = ImageFolder(root=root, image_px=8, unreadable="skip")
        return listing(ManifestJob(name="set", dataset=dataset, seed=0), root)

    with caplog.at_level(logging.INFO):
        found = listed(broken)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage().startswith(
        "8 images are left out, as they cannot be decoded: a/000"
    )
    assert all(f"left out: {broken / name}: " in caplog.text for name in BAD)
    assert found.rows.height == 13
    left_out = found.findings.filter(kind="unreadable")
    assert left_out["path"].to_list() == BAD
    reasons = dict(left_out.select("path", "detail").iter_rows())
    assert reasons | REASONS == reasons
    assert "truncated" in reasons["a/000.png"]
    sides = dict(found.rows.select("path", "split").iter_rows())
    (broken / "b" / "pipe.png").unlink()
    for name in BAD[:-1]:
        (broken / name).unlink()
        (broken / name).write_bytes((broken / "a" / "009.png").read_bytes())
    mended = dict(listed(broken).rows.select("path", "split").iter_rows())
    assert len(mended) == 20
    # One path fewer in class b may change its draw; class a is the same.
    assert {p: s for p, s in mended.items() if p in sides and p[0] == "a"} == {
        p: s for p, s in sides.items() if p[0] == "a"
    }


def test_damaged_pixels_are_found_by_pack_by_skip_and_by_a_whole_look(image_tree, tmp_path):
    root = image_tree({"a": 10, "b": 10})
    bad = [root / "a" / "003.png", root / "b" / "004.png"]
    for path in bad:
        damage(path)
    job = ManifestJob(name="set", dataset=ImageFolder(root=root, image_px=8), seed=0)
    files = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "findings")}
    manifest(job, root=root, **files)
    with pytest.raises(UnreadableImages) as raised:
        pack(
            PackJob(dataset=job.dataset, seed=0),
            manifest=files["manifest"],
            root=root,
            images=tmp_path / "images.npy",
        )
    assert [problem.path for problem in raised.value.problems] == bad
    assert not (tmp_path / "images.npy").exists()
    with pytest.raises(UnreadableImages, match="2 of 20"):
        listing(job, root, whole=True)
    skip = job.model_copy(update={"dataset": ImageFolder(root=root, unreadable="skip")})
    assert listing(skip, root).rows.height == 18


def test_class_of_which_nothing_is_left_is_an_error(image_tree):
    root = image_tree({"a": 4, "b": 10, "c": 10})
    for path in (root / "a").iterdir():
        cut(path)
    dataset = ImageFolder(root=root, unreadable="skip")
    with pytest.raises(DatasetError, match="no file of class a can be decoded"):
        listing(ManifestJob(name="set", dataset=dataset, seed=0), root)


def test_table_that_lists_missing_files_tells_all(image_tree, tmp_path):
    root = image_tree({"a": 4, "b": 4})
    names = [f"{c}/{i:03d}.png" for c in "ab" for i in range(7)]
    table = tmp_path / "list.csv"
    table.write_text("path,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    dataset = ImageTable(path=table, root=root)
    with pytest.raises(UnreadableImages, match="6 of 14") as raised:
        listing(ManifestJob(name="set", dataset=dataset, seed=0), root)
    assert {problem.reason for problem in raised.value.problems} == {"missing file"}


def test_reidentification_layout_tells_and_skips_alike(tmp_path, write_image):
    for part, identities in (
        ("bounding_box_train", (1, 2)),
        ("query", (3,)),
        ("bounding_box_test", (3, 4)),
    ):
        for identity in identities:
            for camera in (1, 2, 3):
                write_image(
                    tmp_path / part / f"{identity:04}_c{camera}s1_000001_00.png",
                    seed=10 * identity + camera + len(part),
                )
    (tmp_path / "query" / "Thumbs.db").touch()
    (tmp_path / "query" / "notes.txt").touch()
    bad = "query/0003_c1s1_000001_00.png"
    cut(tmp_path / bad)
    job = ManifestJob(name="set", dataset=Market1501(root=tmp_path), seed=0)
    with pytest.raises(UnreadableImages, match="1 of 15"):
        listing(job, tmp_path)
    skip = job.model_copy(update={"dataset": Market1501(root=tmp_path, unreadable="skip")})
    found = listing(skip, tmp_path)
    assert found.rows.height == 14
    assert found.findings.select("kind", "path").rows() == [
        ("passed_over", "query/notes.txt"),
        ("unreadable", bad),
    ]


@pytest.mark.filterwarnings("ignore:Image size")  # pytest takes the filter of `decoding` away
def test_more_pixels_than_allowed_name_the_setting(tmp_path):
    """Two hundred megapixels of one colour take a few kilobytes, and would take 600 MB."""
    path = tmp_path / "vast.png"
    Image.new("1", (20_000, 10_000)).save(path)
    with pytest.raises(UnreadableImage) as raised:
        decode(path, 8)
    assert str(raised.value) == (
        f"{path}: cannot be decoded (20000 x 10000 pixels, and decoding.maximum_megapixels allows "
        "180 million); copy it again, or take it out"
    )
    assert decode(path, 8, how=Decoding(maximum_megapixels=200)).shape == (3, 8, 8)
    with pytest.raises(UnreadableImage, match=r"allows 0\.5 million"):
        decode(path, 8, how=Decoding(maximum_megapixels=0.5))


def test_pillow_says_nothing_of_its_own(tmp_path):
    """Of a file over its limit, one of damaged tags, and one that is no image."""
    Image.new("1", (10_000, 10_000)).save(tmp_path / "vast.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 8)).save(tmp_path / "tags.jpg", exif=exif.tobytes()[:-7])
    palette = Image.new("P", (8, 8))
    palette.save(tmp_path / "palette.png", transparency=b"\x00\x80")
    (tmp_path / "none.png").write_bytes(b"II*\0" + bytes(20))
    script = f"""
from pathlib import Path
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    try:
        print(decode(path, 8).shape)
    except DatasetError as error:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["refused", *["(3, 8, 8)"] * 3]
    assert done.stderr == ""


def test_heic_without_its_package_is_told_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding._formats.cache_clear()
    for name in ("photo.heic", "renamed.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
        with pytest.raises(DatasetError, match="HEIC; pip install pillow-heif, or save it as JPEG"):
            decode(tmp_path / name, 8)
    decoding._formats.cache_clear()


def test_heic_with_its_package_is_asked_of_it(monkeypatch):
    asked = types.SimpleNamespace(register_heif_opener=lambda: calls.append("asked"))
    calls = []
    monkeypatch.setitem(sys.modules, "pillow_heif", asked)
    decoding._formats.cache_clear()
    decoding._formats()
    assert calls == ["asked"]
    decoding._formats.cache_clear()


ENDINGS = {
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".j2k": "JPEG2000",
    ".tif": "TIFF",
    ".webp": "WEBP",
    ".qoi": "QOI",
    ".tga": "TGA",
    ".pbm": "PPM",
    ".apng": "PNG",
    ".pcx": "PCX",
    ".sgi": "SGI",
    ".dds": "DDS",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_folder_of_any_ending_is_listed_and_decoded(tmp_path, listing, ending):
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this PIL has no AVIF")
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            pixels = numpy.full((16, 16, 3), 40 * i, dtype=numpy.uint8)
            path = tmp_path / "set" / name / f"{i}{ending}"
            Image.fromarray(pixels).save(path, ENDINGS[ending])
    rows = listing(ImageFolder(root=tmp_path / "set"), root=tmp_path / "set")
    assert rows.height == 8
    if ending != ".pbm":
        assert abs(int(decode(tmp_path / "set" / "a" / f"3{ending}", 16).mean()) - 120) <= 2


def test_findings_table_is_written_with_the_manifest(image_tree, tmp_path):
    root = image_tree({"a": 5, "b": 5})
    (root / "a" / "scan.dcm").write_bytes(b"DICM")
    (root / "readme.txt").write_text("beside the classes, and nobody's business")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGBA", (8, 8)).save(root / "b" / "clear.png", exif=exif)
    Image.new("I;16", (8, 8)).save(root / "b" / "deep.png")
    files = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "findings")}
    job = ManifestJob(name="set", dataset=ImageFolder(root=root), seed=0)
    manifest(job, root=root, **files)
    assert read_table("image_findings", files["findings"]).rows() == [
        ("deep_grey", "b/deep.png", "I;16"),
        ("orientation", "b/clear.png", "6"),
        ("passed_over", "a/scan.dcm", ".dcm"),
        ("transparency", "b/clear.png", "RGBA"),
    ]
