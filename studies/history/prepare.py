"""Lay out the images that the study `history` reads.

    python studies/history/prepare.py PACKAGES DATA

PACKAGES holds what README.md says how to fetch; DATA is written: `data/history` beside `results`.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from xferpipe.datasets.generated.vehicles_drawing import BODIES, Car, View, draw

#: State of a solar cell by the annotators' probability of a defect.
CELL_STATES = {"0.0": "functional", "0.333": "doubtful", "0.667": "likely", "1.0": "defective"}
VEHICLE_SEED = 0
VEHICLE_PX = 48
CAMERAS = 6


def main(packages: Path, data: Path) -> None:
    """Write images below `data`.

    Args:
        packages: Folder with the wheel of the solar cells and the Debian package.
        data: Folder to write into.
    """
    fashion(packages, data / "fashion_mnist")
    solar_cells(packages, data / "solar")
    vehicle_bodies(data / "vehicle_bodies")
    vehicle_identities(data / "vehicle_identities")


def fashion(packages: Path, output: Path) -> None:
    """Unpack Fashion-MNIST into the folder that torchvision looks for."""
    raw = output / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        package = only(packages, "dataset-fashion-mnist_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        for file in (Path(folder) / "usr/share/datasets/fashion-mnist").glob("*.gz"):
            (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))


def solar_cells(packages: Path, output: Path) -> None:
    """Sort the solar cells into folders by module type and state, such as `mono_defective`."""
    with zipfile.ZipFile(only(packages, "elpv_dataset-*.whl")) as wheel:
        table = wheel.read("elpv_dataset/data/labels.csv").decode().splitlines()
        for line in table:
            path, probability, kind = line.split()
            state = CELL_STATES[str(round(float(probability), 3))]
            file = output / f"{kind}_{state}" / Path(path).name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wheel.read(f"elpv_dataset/data/{path}"))


def vehicle_bodies(output: Path) -> None:
    """Draw cars by body; a car of the test split is in no other split."""
    counts = {"train": 24, "validation": 40, "test": 80}
    for body in BODIES:
        identities = (i for i in range(1, 100_000) if Car.of(VEHICLE_SEED, i).body == body)
        for split, images in counts.items():
            for number in range(images):
                vehicle(output / split / body / f"{number:03d}.png", next(identities), number)


def vehicle_identities(output: Path) -> None:
    """Draw some cars again and again: which car is it?"""
    counts = {"train": 18, "validation": 24, "test": 48}
    for identity in range(200_001, 200_009):
        number = 0
        for split, images in counts.items():
            for _ in range(images):
                vehicle(output / split / f"car_{identity}" / f"{number:03d}.png", identity, number)
                number += 1


def vehicle(file: Path, identity: int, number: int) -> None:
    """Draw one picture of a car; cameras take turns."""
    view = View.of(VEHICLE_SEED, 1 + number % CAMERAS, CAMERAS, identity, number)
    file.parent.mkdir(parents=True, exist_ok=True)
    draw(Car.of(VEHICLE_SEED, identity), view, VEHICLE_PX).save(file)


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a pattern.

    Raises:
        FileNotFoundError: There is none, or more than one.
    """
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{folder}: expected one file {pattern}, found {len(found)}; README.md says how to "
            "fetch it"
        )
    return found[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
