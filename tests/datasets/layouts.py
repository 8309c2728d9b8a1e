"""Layouts of identities in the form that their authors give them, with pictures in them."""

from __future__ import annotations

from pathlib import Path

import numpy
from PIL import Image

#: By reader: five people train, two ask, and each is in the gallery by another camera.
NAMES = {
    "dukemtmc": [
        *(f"bounding_box_train/000{i}_c{c}_f00{i}{c}.png" for i in range(1, 6) for c in (1, 2)),
        *(f"query/000{i}_c1_f00{i}1.png" for i in (6, 7)),
        *(f"bounding_box_test/000{i}_c{c}_f00{i}{c}.png" for i in (6, 7) for c in (2, 3)),
    ],
    "cuhk03_np": [
        *(f"detected/bounding_box_train/000{i}_c{c}_{i}{c}.png" for i in range(5) for c in (1, 2)),
        *(f"detected/query/000{i}_c1_{i}1.png" for i in (6, 7)),
        *(f"detected/bounding_box_test/000{i}_c2_{i}{n}.png" for i in (6, 7) for n in (2, 3)),
    ],
    "msmt17": [
        *(f"train/000{i}/000{i}_00{c}_0{c}_noon_0_0.png" for i in range(5) for c in (1, 2)),
        *(f"test/000{i}/000{i}_001_01_noon_0_0.png" for i in (0, 1)),
        *(f"test/000{i}/000{i}_00{c}_0{c}_noon_0_0.png" for i in (0, 1) for c in (2, 3)),
    ],
    "identity_folder": [
        *(f"train/cow{i}/{n}.png" for i in range(5) for n in (1, 2)),
        *(f"query/cow{i}/1.png" for i in (6, 7)),
        *(f"gallery/cow{i}/{n}.png" for i in (6, 7) for n in (2, 3)),
    ],
}
TRAINING, QUERIES, GALLERY = 10, 2, 4


def write(reader: str, root: Path) -> Path:
    """Write a layout with a picture of its own for each name, and MSMT17's lists."""
    random = numpy.random.default_rng(0)
    for name in NAMES[reader]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (24, 12, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(root / name)
    if reader == "msmt17":
        lines = [f"{name.partition('/')[2]} {int(name.split('/')[1])}\n" for name in NAMES[reader]]
        asked = TRAINING + QUERIES
        parts = {
            "train": lines[: TRAINING - 2],
            "val": lines[TRAINING - 2 : TRAINING],
            "query": lines[TRAINING:asked],
            "gallery": lines[asked:],
        }
        for part, own in parts.items():
            (root / f"list_{part}.txt").write_text("".join(own))
    return root


def damage(path: Path) -> None:
    """Cut a picture short: it is read as a picture, and cannot be decoded."""
    path.write_bytes(path.read_bytes()[:-60])
