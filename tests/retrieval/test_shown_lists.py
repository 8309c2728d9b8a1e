"""Ranked lists as a page and as pictures: each image with its word, identity and camera."""

import re

import numpy
import pytest
from PIL import Image
from tests.retrieval.test_retrieve_command import command, write_parquet

from xferpipe.retrieval.shown_lists import COLOURS


@pytest.fixture
def words(tmp_path):
    """Points on a line, so that lists are known: 0 finds 1 (junk), 2 (right), 3 (wrong)."""
    sets = {
        "query": {"feature": [[0.0]], "identity": [7], "camera": [1]},
        "gallery": {
            "feature": [[1.0], [2.0], [3.0], [9.0]],
            "identity": [7, 7, 8, 7],
            "camera": [1, 2, 2, 3],
        },
    }
    arguments = []
    for name, columns in sets.items():
        columns["feature"] = numpy.array(columns["feature"], dtype=numpy.float32)
        columns["path"] = [f"{name}/{row}<b>.png" for row in range(len(columns["identity"]))]
        (tmp_path / name).mkdir()
        for row, path in enumerate(columns["path"]):
            Image.new("RGB", (30, 60), (40 * row, 99, 0)).save(tmp_path / path)
        path = write_parquet(tmp_path / f"{name}.parquet", columns)
        arguments += [f"--{name}", path]
    return [*arguments, "--images", tmp_path, "--list-length", 3]


def test_retrieve_page_names_every_image_by_colour_and_word(words, tmp_path):
    page = tmp_path / "lists.html"
    result = command(*words, "--html", page)
    assert result.exit_code == 0, result.stderr
    text = page.read_text()
    found = re.findall(r'border-color:(#\w+)" src="data:image/jpeg;base64,.*?>(.*?)</li>', text)
    assert [(colour, words.split("<br>")) for colour, words in found] == [
        (COLOURS["query"], ["query", "identity 7", "camera 1"]),
        (COLOURS["junk"], ["1. at 1 junk", "identity 7", "camera 1"]),
        (COLOURS["right"], ["2. at 2 right", "identity 7", "camera 2"]),
        (COLOURS["wrong"], ["3. at 3 wrong", "identity 8", "camera 2"]),
    ]
    assert (
        "average precision 0.833, first hit at 1" in text
    )  # hits at 1 and 3 of right, wrong, right
    assert "<b>" not in text  # names of files are words
    assert "http" not in text


def test_retrieve_pictures_have_frames_of_their_colours(words, tmp_path):
    result = command(*words, "--pictures", tmp_path / "shown")
    assert result.exit_code == 0, result.stderr
    (path,) = (tmp_path / "shown").iterdir()
    assert path.name == "01_worst.png"
    pixels = numpy.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    for colour in COLOURS.values():
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels == wanted).all(1).sum() > 1000


def test_retrieve_images_that_are_not_there_are_counted(words, tmp_path):
    (tmp_path / "gallery/1<b>.png").write_bytes(b"no image")
    (tmp_path / "gallery/2<b>.png").unlink()
    page = tmp_path / "lists.html"
    result = command(*words, "--html", page)
    assert result.exit_code == 0
    assert "2 images cannot be read; is --images the folder" in result.stderr
    assert page.read_text().count("no image</div>") == 2
