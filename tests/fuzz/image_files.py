"""Fuzzed image files, the same in every run: `python -m tests.fuzz.image_files FIRST COUNT`.

Each is read by every reader of single files in a process of its own, so that a hang, a crash and
memory are seen. The last line says how many were read, how many refused, and at what cost.
"""

from __future__ import annotations

import faulthandler
import functools
import io
import json
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy
from PIL import Image

from xferpipe.config.decoding import Decoding
from xferpipe.datasets.decoding import decode
from xferpipe.datasets.inspection import inspect
from xferpipe.datasets.unreadable import UnreadableImage

#: Small, so that a file of a claimed billion pixels is refused and one of a million is not.
MEGAPIXELS = 2
HOW = (
    Decoding(maximum_megapixels=MEGAPIXELS),
    Decoding(maximum_megapixels=MEGAPIXELS, window="min_max", background="black"),
    Decoding(maximum_megapixels=MEGAPIXELS, window=(-5, 300), orientation="ignore"),
    Decoding(maximum_megapixels=MEGAPIXELS, window="full"),
)
ENDINGS = (".png", ".jpg", ".tif", ".webp", ".gif", ".avif", ".jp2", ".heic", ".bmp", ".fits", "")
#: Seconds after which one file counts as a hang.
HANG = 60
_HUGE = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@functools.cache
def good_files() -> tuple[bytes, ...]:
    """Return whole files of every format and mode that PIL writes, and some that it only reads."""
    random = numpy.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a photograph"
    found = []
    for size in ((24, 17), (1, 1), (1, 40)):
        colour = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8))
        alpha = colour.convert("RGBA")
        alpha.putalpha(colour.convert("L"))
        deep = random.integers(0, 4096, (size[1], size[0]))
        images = {mode: colour.convert(mode) for mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr")}
        images |= {"RGBA": alpha, "LA": alpha.convert("LA"), "LAB": None}
        for mode, kind in (("I;16", "u2"), ("I", "i4"), ("F", "f4")):
            images[mode] = Image.frombytes(mode, size, deep.astype(kind).tobytes())
        del images["LAB"]
        for kind in (
            *("PNG", "JPEG", "TIFF", "GIF", "WEBP", "AVIF", "JPEG2000", "BMP", "DIB", "PPM"),
            *("TGA", "PCX", "SGI", "DDS", "QOI", "XBM", "ICO", "MPO", "IM", "MSP", "EPS", "PDF"),
        ):
            for mode, image in images.items():
                for options in _options(kind, mode, exif):
                    try:
                        found.append(_saved(image, kind, **options))
                    except (OSError, ValueError, KeyError, TypeError, SystemError):
                        continue  # No such mode in this format.
    card = "SIMPLE  =                    T{:50}BITPIX  =                   16{:50}NAXIS   ="
    header = card.format("", "") + f"{2:21}{'':50}NAXIS1  ={4:21}{'':50}NAXIS2  ={4:21}{'':50}END"
    found += [
        header.encode().ljust(2880) + bytes(2880),
        b"8BPS\0\1" + bytes(6) + b"\0\3" + b"\0\0\0\4" * 2 + b"\0\x08\0\3" + bytes(12) + bytes(60),
        b"\x59\xa6\x6a\x95"
        + b"".join(n.to_bytes(4, "big") for n in (4, 4, 24, 48, 1, 0, 0))
        + bytes(48),
        b'/* XPM */\nstatic char *a[] = {\n"2 2 1 1",\n"a c #ff0000",\n"aa",\n"aa"};\n',
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(90),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"version https://git-lfs.github.com/spec/v1\n",
    ]
    return tuple(dict.fromkeys(found))


def _options(kind: str, mode: str, exif: Image.Exif) -> list[dict[str, object]]:
    if kind == "TIFF":
        packed = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
        return [{"compression": name} for name in packed] + [{"exif": exif}]
    if kind in ("PNG", "JPEG", "WEBP", "AVIF", "MPO"):
        return [{}, {"exif": exif}] + ([{"transparency": 0}] if kind == "PNG" else [])
    return [{}]


def fuzzed(number: int) -> tuple[str, bytes]:
    """Return the name and the content of one file."""
    random = numpy.random.default_rng([7, number])
    whole = good_files()
    content = bytearray(whole[random.integers(len(whole))])
    for _ in range(random.integers(0, 4)):
        content = _changed(content, whole, random)
    ending = ENDINGS[random.integers(len(ENDINGS))]
    return f"image{ending}", bytes(content)


def _changed(
    content: bytearray, whole: tuple[bytes, ...], random: numpy.random.Generator
) -> bytearray:
    n = len(content)
    if n == 0:
        return content
    at = int(random.integers(n))
    match random.integers(8):
        case 0:  # cut short
            return content[:at]
        case 1:  # a bit
            content[at] ^= 1 << int(random.integers(8))
        case 2:  # bits of the head, where sizes and offsets lie
            for _ in range(4):
                content[int(random.integers(min(n, 64)))] ^= 1 << int(random.integers(8))
        case 3:  # a number of the head that is vast, or none
            start = int(random.integers(min(n, 200)))
            width = int(random.choice([1, 2, 4]))
            value = _HUGE[random.integers(len(_HUGE))] % 256**width
            order = "big" if random.integers(2) else "little"
            content[start : start + width] = value.to_bytes(width, order)
        case 4:  # a hole
            del content[at : at + int(random.integers(1, 40))]
        case 5:  # a part twice
            content[at:at] = content[at : at + int(random.integers(1, 40))]
        case 6:  # the end of another file
            other = whole[random.integers(len(whole))]
            content = content[:at] + other[int(random.integers(len(other))) :]
        case _:  # a right checksum below wrong values
            if content.startswith(b"\x89PNG") and n > 33:
                content[16:29] = bytes(random.integers(0, 256, 13, dtype=numpy.uint8))
                content[24] = int(random.choice([1, 2, 4, 8, 16]))
                content[25] = int(random.choice([0, 2, 3, 4, 6]))
                content[26:29] = bytes(3)
                content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
            else:
                content[at] = 255
    return content


def read(path: Path, how: Decoding) -> str | None:
    """Read a file by every reader; return why it is refused, or None."""
    refusal = None
    try:
        pixels = decode(path, 16, "crop", how)
        assert pixels.shape == (3, 16, 16)
        assert pixels.dtype == numpy.uint8
    except UnreadableImage as error:
        refusal = error
    reason = None if refusal is None else refusal.reason
    if refusal is not None:
        assert reason, "a refusal without words"
        assert "\n" not in reason
        assert len(reason) < 300
        assert str(path) not in reason
        assert str(path) in str(refusal)
    for whole in (True, False):
        seen = inspect([path.name], path.parent, how, whole=whole)
        problems = [problem.reason for problem in seen.problems]
        # A look at the head alone may be content with what decoding is not, never the reverse.
        assert (
            problems in ([reason], [])
            if reason and not whole
            else problems == ([] if reason is None else [reason])
        ), (problems, reason)
    return reason


def _peak_mib() -> float:
    """Return the most memory that this process had; `getrusage` counts its parent's before it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main(first: int, count: int) -> None:
    """Read so many files and print what came of them."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            name, content = fuzzed(number)
            path = Path(folder) / name
            path.write_bytes(content)
            faulthandler.dump_traceback_later(HANG, exit=True)
            start = time.monotonic()
            try:
                reason = read(path, HOW[number % len(HOW)])
            except BaseException:
                print(f"file {number}: {name}, {len(content)} bytes", file=sys.stderr)
                raise
            slowest = max(slowest, time.monotonic() - start)
            outcomes["read" if reason is None else "refused"] += 1
            path.unlink()
    faulthandler.cancel_dump_traceback_later()
    facts = {
        **outcomes,
        "seconds": time.monotonic() - began,
        "slowest": slowest,
        "peak_mib": _peak_mib(),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
