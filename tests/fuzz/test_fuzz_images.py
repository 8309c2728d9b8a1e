"""Fuzzed image files: an array of the stated shape or one message, at no price to the process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.decoding import decode

ROOT = Path(__file__).resolve().parents[2]
#: What an interpreter with these libraries takes, and a few images of two megapixels.
MOST_MIB = 600


def run(first: int, count: int) -> dict[str, float]:
    """Read some fuzzed files in a process of its own; a hang or a crash ends it with an error."""
    words = [sys.executable, "-m", "tests.fuzz.image_files", str(first), str(count)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    # Lines of the C library libtiff are no warning of Python.
    assert "Warning" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_fuzzed_images_are_read_or_refused_in_words(count):
    found = run(0, count)
    assert found["read"] + found["refused"] == count
    # Neither all whole nor all beyond repair: else this shows nothing.
    assert min(found["read"], found["refused"]) > count / 5
    assert found["peak_mib"] < MOST_MIB


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 20,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS\n(touch pwned) system",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch pwned) system",
    ],
)
def test_file_that_is_no_image_is_refused_by_name_and_runs_nothing(tmp_path, content):
    file = tmp_path / "a b $(touch pwned).png"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match="touch pwned"):
        decode(file, 16)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "claim", [(60_000, 60_000), (2**31 - 1, 1), (0, 5), (2**31 - 1, 2**31 - 1)]
)
def test_image_that_claims_to_be_gigantic_or_nothing_is_refused_by_name(tmp_path, claim):
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = claim[0].to_bytes(4, "big") + claim[1].to_bytes(4, "big")
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bytes(content))
    with pytest.raises(DatasetError, match=r"bomb\.png: cannot be decoded"):
        decode(tmp_path / "bomb.png", 16)


def test_picture_within_an_icon_is_not_unpacked(tmp_path):
    """An icon's head says 16 x 16, whatever the PNG in it claims."""
    Image.new("1", (9_000, 9_000)).save(tmp_path / "vast.png")
    picture = (tmp_path / "vast.png").read_bytes()
    head = b"\0\0\1\0\1\0" + b"\x10\x10\0\0\1\0\x20\0"
    head += len(picture).to_bytes(4, "little") + (22).to_bytes(4, "little")
    (tmp_path / "icon.png").write_bytes(head + picture)
    with pytest.raises(DatasetError, match="no image of a known format"):
        decode(tmp_path / "icon.png", 16)
