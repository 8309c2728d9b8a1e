"""Deep grey, transparency and orientation, against values computed by hand."""

from __future__ import annotations

import warnings

import numpy
import pytest
from PIL import Image

from xferpipe.config.decoding import Decoding
from xferpipe.datasets.decoding import decode
from xferpipe.datasets.pixels import fitted, in_window

RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)


def twelve_bits():
    """A ramp of 12-bit values: 0, 16, ... 4080, in 16 rows of 16."""
    return (numpy.arange(256) * 16).reshape(16, 16)


def written(path, values):
    """Write grey values as the mode that their type is."""
    modes = {"u2": "I;16", "i4": "I", "f4": "F"}
    kind = f"{values.dtype.kind}{values.dtype.itemsize}"
    height, width = values.shape
    Image.frombytes(modes[kind], (width, height), values.tobytes()).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2"])
def test_twelve_bits_in_sixteen_are_a_ramp_from_black_to_white(tmp_path, suffix):
    """Shifted to eight bits, as 16-bit files are usually read, the whitest is 15 of 255."""
    path = written(tmp_path / f"ramp{suffix}", twelve_bits().astype(numpy.uint16))
    ramp = decode(path, 16, how=Decoding(window="min_max"))
    assert (ramp == numpy.arange(256).reshape(16, 16)).all()
    usual = decode(path, 16)
    assert usual.min() == 0
    assert usual.max() == 255
    # Percentiles cut at most one of 256 steps at each end.
    assert numpy.abs(usual.astype(int) - ramp).max() <= 2
    assert decode(path, 16, how=Decoding(window="full")).max() == 16


@pytest.mark.parametrize("kind", ["i4", "f4"])
def test_int32_and_float_tiff_are_read(tmp_path, kind):
    values = twelve_bits().astype(kind) - 1000
    path = written(tmp_path / "deep.tif", values)
    ramp = decode(path, 16, how=Decoding(window="min_max"))
    assert (ramp == numpy.arange(256).reshape(16, 16)).all()


def test_window_of_two_values_is_the_same_for_every_file(tmp_path):
    """What CT pictures need: -160 to 240 in their own unit, whatever else a picture holds."""
    for name, ends in (("a", (-1000, 3000)), ("b", (-160, 240))):
        values = numpy.full((8, 8), 41, dtype=numpy.int32)
        values[0, :2] = ends
        path = written(tmp_path / f"{name}.tif", values)
        pixels = decode(path, 8, how=Decoding(window=(-160, 240)))
        assert pixels[0, 4, 4] == 128  # (41 + 160) / 400 * 255 = 128.1
        assert pixels[:, 0, :2].tolist() == [[0, 255]] * 3


def test_percentiles_leave_a_hot_pixel_out():
    values = twelve_bits().astype(numpy.uint16)
    values[0, 0] = 65535
    assert in_window(values, Decoding(window="min_max")).mean() < 10
    assert in_window(values, Decoding()).mean() > 120


@pytest.mark.parametrize(
    ("values", "window", "expected"),
    [
        (numpy.array([[0.0, 0.5, 1.0, 2.0]], dtype=numpy.float32), "full", [0, 128, 255, 255]),
        (numpy.array([[0, 32768, 65535]], dtype=numpy.uint16), "full", [0, 128, 255]),
        (numpy.array([[numpy.nan, 0, 1, numpy.inf, -numpy.inf]]), "min_max", [0, 0, 255, 255, 0]),
        (numpy.array([[-(2**31), 2**31 - 1]], dtype=numpy.int32), "min_max", [0, 255]),
        (numpy.array([[-3e38, 3e38]], dtype=numpy.float32), "min_max", [0, 255]),
        (numpy.full((1, 3), 700, dtype=numpy.uint16), "percentiles", [0, 0, 0]),
        (numpy.array([[5] * 1000 + [9]], dtype=numpy.uint16), "percentiles", [0] * 1000 + [255]),
    ],
)
def test_window_at_the_edges_of_its_types(values, window, expected):
    assert in_window(values, Decoding(window=window))[0].tolist() == expected


def test_signalling_nan_is_no_warning():
    values = numpy.array([[0x7F800001, 0, 0x3F800000]], dtype=numpy.uint32).view(numpy.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_window(values, Decoding(window="min_max")).tolist() == [[0, 0, 255]]


def test_float_image_without_a_finite_value_is_refused(tmp_path):
    path = written(tmp_path / "nan.tif", numpy.full((4, 4), numpy.nan, dtype=numpy.float32))
    with pytest.raises(ValueError, match=r"nan\.tif: cannot be decoded \(none of its values"):
        decode(path, 8)


@pytest.mark.parametrize("background", ["white", "black"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_colour_hidden_under_transparency_never_shows(tmp_path, mode, background):
    """The left half is grey 200 and wholly transparent, the right half grey 60 and opaque."""
    grey = numpy.full((8, 8), 60, dtype=numpy.uint8)
    grey[:, :4] = 200
    alpha = numpy.where(grey == 200, 0, 255).astype(numpy.uint8)
    path = tmp_path / "hidden.png"
    if mode == "P":
        image = Image.fromarray((grey == 200).astype(numpy.uint8)).convert("P")
        image.putpalette([60, 60, 60, 200, 200, 200])
        image.save(path, transparency=1)
    elif mode == "RGB":
        Image.fromarray(grey).convert("RGB").save(path, transparency=(200, 200, 200))
    else:
        Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).convert(mode).save(path)
    pixels = decode(path, 8, how=Decoding(background=background))
    assert (pixels[:, :, :4] == {"white": 255, "black": 0}[background]).all()
    assert (pixels[:, :, 4:] == 60).all()


def test_half_transparent_is_half_the_background():
    image = Image.new("RGBA", (4, 4), (100, 100, 100, 51))  # a fifth
    assert (fitted(image, 4, "crop") == 224).all()  # 100 / 5 + 255 * 4 / 5
    assert (fitted(image, 4, "crop", Decoding(background="black")) == 20).all()


def corners(pixels):
    """Return the colours of the four corners, from the upper left, clockwise."""
    return [tuple(pixels[:, y, x].tolist()) for y, x in ((0, 0), (0, -1), (-1, -1), (-1, 0))]


#: Where the picture's upper left and upper right corners are stored, by tag (CIPA DC-008, 4.6.5).
STORED = {
    1: ("upper left", "upper right"),
    2: ("upper right", "upper left"),
    3: ("lower right", "lower left"),
    4: ("lower left", "lower right"),
    5: ("upper left", "lower left"),
    6: ("lower left", "upper left"),
    7: ("lower right", "upper right"),
    8: ("upper right", "lower right"),
}
PLACES = {
    "upper left": (slice(0, 8), slice(0, 8)),
    "upper right": (slice(0, 8), slice(8, 16)),
    "lower left": (slice(8, 16), slice(0, 8)),
    "lower right": (slice(8, 16), slice(8, 16)),
}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".tif", ".avif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_orientation_is_as_viewers_show_it(tmp_path, tag, suffix):
    """A picture whose upper left is red and upper right blue, stored as each tag says."""
    pixels = numpy.zeros((16, 16, 3), dtype=numpy.uint8)
    for colour, place in zip((RED, BLUE), STORED[tag], strict=True):
        pixels[PLACES[place]] = colour
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / f"turned{suffix}"
    exact = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(pixels).save(path, exif=exif, **exact.get(suffix, {"quality": 100}))
    left, right, *_ = corners(decode(path, 16))
    assert numpy.abs(numpy.subtract(left, RED)).max() < 16
    assert numpy.abs(numpy.subtract(right, BLUE)).max() < 16
    if suffix != ".tif":  # PIL itself turns those
        stored = decode(path, 16, how=Decoding(orientation="ignore")).transpose(1, 2, 0)
        y, x = PLACES[STORED[tag][0]]
        assert numpy.abs(stored[y, x].mean((0, 1)) - RED).max() < 16


def test_orientation_that_is_none_turns_nothing(tmp_path):
    pixels = numpy.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
    exif = Image.Exif()
    exif[0x0112] = 9
    Image.fromarray(pixels).save(tmp_path / "odd.png", exif=exif)
    assert (decode(tmp_path / "odd.png", 8) == pixels.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"window": [5, 5]}, "the first must be below the second"),
        ({"window": [5, float("inf")]}, "finite"),
        ({"window": "auto"}, "percentiles"),
        ({"percentiles": [-1, 50]}, "expected two numbers from 0 to 100"),
        ({"maximum_megapixels": 0}, "greater than 0"),
        ({"background": "grey"}, "white"),
    ],
)
def test_decoding_block_of_no_meaning_is_refused(block, message):
    with pytest.raises(ValueError, match=message):
        Decoding.model_validate(block)
