"""Damaged NPY files: features and packed images are mapped whole or refused in words.

The files in the first list were found by fuzzing: numpy.load answers each with the error named.
The drawn ones are the same in every run; this draws others each time:
pytest --hypothesis-profile fresh tests/fuzz
"""

from __future__ import annotations

import io
import tracemalloc
import warnings

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.images import PackedImages
from xferpipe.records import ArrayFileError, map_array
from xferpipe.retrieval.feature_files import FeatureFileError, opened

FEATURES = numpy.arange(35, dtype=numpy.float32).reshape(7, 5)
IMAGES = numpy.arange(96, dtype=numpy.uint8).reshape(2, 3, 4, 4)
#: What a header may hold where numbers, names and brackets are expected.
PIECES = [
    *("(", ")", "[", "]", "{", "}", "'", '"', "\\", "\\x", "\\N{", "#", "\n", "\x00", ",", ":"),
    *("-", "-" * 500, "(" * 150, "[" * 250, "9" * 30, "9" * 5000, "08", "1_", "0x", "1j", "7L"),
    *("'O'", "'V0'", "'S0'", "'>f4'", "'<f3'", "'M8[xx]'", "'(9,)f4'", "[('a', '|O')]", "b''"),
    *("('<f4', (99999999999,))", "(4294967296, 4294967296)", "(-7, -5)", "(True, 35)", "(7.0, 5)"),
    *("()", "(0, 5)", "None", "lambda:", "not ", "set()", "...", "\xe9"),
]
MAGIC = b"\x93NUMPY"


def header(shape="(7, 5)", kind="'<f4'", order="False"):
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}\n"


def npy(text, version=1, data=FEATURES):
    text = text.encode("latin1")
    return (
        MAGIC + bytes([version, 0]) + len(text).to_bytes(2 * version, "little") + text + bytes(data)
    )


def archive():
    content = io.BytesIO()
    numpy.savez(content, FEATURES)
    return content.getvalue()


def refusal(read):
    """Return why a file is refused, None where it is read; a warning is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read()
        except (FeatureFileError, DatasetError, ArrayFileError) as error:
            return str(error)
    return None


def read_features(folder, content):
    path = folder / "query.npy"
    path.write_bytes(content)
    path.with_suffix(".csv").write_text("\n".join(["identity", *"1234567"]))
    with opened(path) as file:
        assert file.features.shape == FEATURES.shape
        file.features.sum()


def read_images(folder, content):
    path = folder / "images.npy"
    path.write_bytes(content)
    images = PackedImages(path)
    images.batch(range(len(images)))


def check_words(found, folder):
    assert str(folder) in found
    assert found.isprintable(), "the message has more than one line, or signs for a terminal"
    assert len(found) < 500


@pytest.mark.parametrize("read", [read_features, read_images])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="EOFError"),
        pytest.param(npy(header(kind="()")), id="IndexError"),
        pytest.param(npy("", version=2)[:8] + b"t\0\0\xfbP\xcb\x87\x14{r\x9aV", id="MemoryError"),
        pytest.param(npy(header("(7, 5999999999999999999999999999999)")), id="OverflowError"),
        pytest.param(npy(header(kind="'<\x967296'")), id="a sign for a terminal"),
        pytest.param(npy("-" * 3013, version=2), id="RecursionError"),
        pytest.param(npy(header(kind="'(True,35)f4'")), id="SyntaxError"),
        pytest.param(npy(header(kind="'<,8'")), id="SyntaxError"),
        pytest.param(npy(header(kind="'<082'")), id="SyntaxError"),
        pytest.param(npy(header("9" * 5000)), id="SyntaxError"),
        pytest.param(npy("(", version=2), id="TokenError"),
        pytest.param(npy("'''    \n"), id="TokenError"),
        pytest.param(
            npy("{'descr': '<f2', 'fortran_order': False, (0, 5): (7, 5)}"), id="TypeError"
        ),
        pytest.param(npy(header("(True, 35)")), id="TypeError"),
        pytest.param(npy("\xff1_", version=3), id="UnicodeDecodeError"),
        pytest.param(npy(header("(4294967296, 4294967296)")), id="ValueError"),
        pytest.param(npy(header("(-7, -5)")), id="ValueError"),
        pytest.param(npy(header(kind="'|O'")), id="ValueError"),
        pytest.param(npy(header("(1099511627776, 5)")), id="ValueError"),
        pytest.param(npy(header("(8, 5)")), id="ValueError"),
    ],
)
def test_damaged_array_that_numpy_fails_on_is_refused_in_words(content, read, tmp_path):
    """Each is named by the error of numpy.load, which others of Python and numpy may change."""
    found = refusal(lambda: read(tmp_path, content))
    assert found is not None
    check_words(found, tmp_path)


@pytest.mark.parametrize("read", [read_features, read_images])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy(header("(7, 4)")), "expected 180 by its header: shape (7, 4), type float32"),
        (npy(header()) + b"more", "expected 208 by its header: shape (7, 5), type float32"),
        (npy(header(kind="'|i1'")), "expected 103 by its header: shape (7, 5), type int8"),
        (npy(header("(1000000000000,)", "'V0'")), "expected 77 by its header"),
        (archive(), "the magic string is not correct"),
        (npy(header("()")), "shape (), type float32"),
    ],
)
def test_damaged_array_that_numpy_reads_is_refused_in_words(content, words, read, tmp_path):
    found = refusal(lambda: read(tmp_path, content))
    assert words in (found or "read")
    check_words(found, tmp_path)


@pytest.mark.parametrize(
    "pixels",
    [IMAGES.astype(numpy.int8), IMAGES[0], IMAGES[:, :2], IMAGES[:, :, 1:], IMAGES[0, 0, 0, 0]],
)
def test_packed_images_of_another_shape_or_type_are_refused_in_words(pixels, tmp_path):
    content = io.BytesIO()
    numpy.save(content, pixels)
    found = refusal(lambda: read_images(tmp_path, content.getvalue()))
    assert "expected uint8 (n, 3, px, px)" in (found or "read")
    check_words(found, tmp_path)


def test_header_that_claims_gigabytes_is_refused_unread(tmp_path):
    """Only the first 16 KiB are looked at: a header of 4 GiB would be read into memory first."""
    path = tmp_path / "large.npy"
    path.write_bytes(MAGIC + b"\2\0\xff\xff\xff\xff")
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(ArrayFileError, match="expected 4294967295 bytes got 16372"):
        map_array(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (7, 5), (2, 3, 4)])
def test_map_array_of_a_whole_file_maps_what_was_written(shape, version, order, tmp_path):
    draw = numpy.random.default_rng(0).normal(size=shape)
    with (tmp_path / "whole.npy").open("wb") as file:
        numpy.lib.format.write_array(file, numpy.asarray(draw, order=order), version)
    found = map_array(tmp_path / "whole.npy")
    assert isinstance(found, numpy.memmap)
    assert found.shape == shape
    numpy.testing.assert_array_equal(found, draw)


def test_map_array_of_python_2_is_mapped(tmp_path):
    (tmp_path / "old.npy").write_bytes(npy(header("(7L, 5L)")))
    numpy.testing.assert_array_equal(map_array(tmp_path / "old.npy"), FEATURES)


def test_map_array_of_a_later_format_says_so(tmp_path):
    (tmp_path / "new.npy").write_bytes(npy(header(), version=4))
    with pytest.raises(ArrayFileError, match=r"format version \(4, 0\), expected \(1, 0\)"):
        map_array(tmp_path / "new.npy")


def test_map_array_of_no_file_says_so(tmp_path):
    with pytest.raises(ArrayFileError, match="No such file"):
        map_array(tmp_path / "missing.npy")


@st.composite
def damaged(draw):
    """A file with other bytes, or with pieces of other text in its header."""
    kind, data = draw(st.sampled_from([("'<f4'", FEATURES), ("'|u1'", IMAGES)]))
    text = header(str(data.shape), kind)
    if draw(st.booleans()):
        content = bytearray(npy(text, draw(st.integers(1, 3)), data))
        for _ in range(draw(st.integers(1, 4))):
            content[draw(st.integers(0, 90))] = draw(st.integers(0, 255))
        return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])
    for _ in range(draw(st.integers(1, 3))):
        at, cut = draw(st.integers(0, len(text))), draw(st.integers(0, 8))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + cut :]
    return npy(text, draw(st.integers(1, 3)), data)


@settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=damaged(), read=st.sampled_from([read_features, read_images]))
def test_damaged_array_of_any_header_is_read_or_refused_in_words(tmp_path, content, read):
    found = refusal(lambda: read(tmp_path, content))
    if found is not None:
        check_words(found, tmp_path)
