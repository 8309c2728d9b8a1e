"""One module per format, imported by the name that the study gives as `reader`.

A reader has `read(dataset, *, root, seed)`, which returns a polars frame with one row an image and
columns of table `manifest`: `label`, `class_name` and `split` (null: not split yet) always, `path`
below `root` where images are files, `index` into the format's own storage where they are not, and
`identity` and `camera` where the format has them. `row` is not its business: rows are sorted and
numbered by `xferpipe.datasets.manifest`. A reader of images that are no files also has
`images(dataset, manifest, *, seed)`, which yields uint8 blocks (b, 3, px, px) in manifest order.

It may have `passed_over(dataset, *, root)`: files among the images that it does not read; and
`read_as(dataset, *, root)`: pairs of a file and a sentence, of labels that it reads as others.

A reader of a user's own files has `files(dataset)`: the names below `root` of all files that it
opens, so that whatever else lies there changes nothing; None where there are none of the user's.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def reader_module(reader: str) -> ModuleType:
    """Import the reader that a data set names."""
    return importlib.import_module(f"xferpipe.datasets.readers.{reader}")
