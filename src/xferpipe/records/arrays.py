"""Arrays on disk: an NPY file is mapped only when its header and its size agree."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy

#: Bytes that a header is looked for in: numpy itself refuses to read more than 10,000 letters.
_HEADER_BYTES = 1 << 14
#: Letters of a library's message that are passed on: some quote the whole header.
_QUOTED = 120


class ArrayFileError(ValueError):
    """A file is no NPY file, or a damaged one; the message says how, and not which file."""


def map_array(path: Path | str) -> numpy.memmap:
    """Map an NPY file for reading; nothing of its data is read, and nothing is ever unpickled.

    Args:
        path: File as `numpy.save` writes it.
    Returns:
        The array, of any shape and type that holds no Python objects.
    Raises:
        ArrayFileError: The file cannot be opened, its header is damaged, its items are Python
            objects, or it is shorter or longer than its header says.
    """
    try:
        with Path(path).open("rb") as file:
            shape, columns_first, dtype, start = _header(file.read(_HEADER_BYTES))
            held = file.seek(0, io.SEEK_END)
        if dtype.hasobject:
            raise ArrayFileError("its items are Python objects, expected numbers")
        # In Python's own integers: a shape of more than 2^63 bytes must not come out small.
        expected = start + math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or held != expected:
            raise ArrayFileError(
                f"{held} bytes, expected {_short(expected)} by its header: shape {_short(shape)}, "
                f"type {_short(dtype)}"
            )
        order = "F" if columns_first else "C"
        return numpy.memmap(path, dtype, mode="r", offset=start, shape=shape, order=order)
    except ArrayFileError:
        raise
    except OSError as error:
        raise ArrayFileError(error.strerror or _short(error)) from None
    except Exception as error:  # numpy and the parser it hands the header to raise a dozen types
        raise ArrayFileError(f"{type(error).__name__}: {_short(error)}") from None


def _header(content: bytes) -> tuple[tuple[int, ...], bool, numpy.dtype, int]:
    """Return shape, whether the first index varies fastest, type, and where the data start."""
    file = io.BytesIO(content)
    version = numpy.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ArrayFileError(f"format version {version}, expected (1, 0), (2, 0) or (3, 0)")
    # Version 3 differs from 2 in the alphabet alone, which shows in the names of columns only.
    formats = numpy.lib.format
    first = version == (1, 0)
    read = formats.read_array_header_1_0 if first else formats.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser, about what a damaged header looks like
        return *read(file), file.tell()


def _short(value: object) -> str:
    """Return the beginning of a text in one line, without signs that a terminal would act on."""
    words = "".join(sign if sign.isprintable() else " " for sign in str(value))
    return words if len(words) <= _QUOTED else words[:_QUOTED] + "..."
