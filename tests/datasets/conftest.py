"""Small data sets on disk, and manifests made of nothing but numbers."""

from __future__ import annotations

from pathlib import Path

import numpy
import polars
import pytest
from PIL import Image

from xferpipe.config.jobs import ManifestJob, PackJob
from xferpipe.config.study import Target
from xferpipe.datasets.manifest import read_manifest
from xferpipe.records import empty
from xferpipe.stages.manifest import manifest
from xferpipe.stages.pack import pack


@pytest.fixture
def write_image():
    """Return a function that writes one noise image, reproducibly."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (20, 14)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = numpy.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
        Image.fromarray(pixels.astype(numpy.uint8)).save(path)
        return path

    return write


@pytest.fixture
def image_tree(tmp_path, write_image):
    """Return a function that writes {class folder: number of images} and gives the root."""

    def write(counts: dict[str, int], *, suffix: str = ".png") -> Path:
        root = tmp_path / "tree"
        for number, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                write_image(root / folder / f"{i:03d}{suffix}", seed=1000 * number + i)
        return root

    return write


@pytest.fixture
def listing(tmp_path):
    """Return a function that runs the manifest stage and reads the manifest back."""

    def run(dataset, *, root: Path | None = None, seed: int = 0) -> polars.DataFrame:
        files = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "findings")}
        manifest(ManifestJob(name="set", dataset=dataset, seed=seed), root=root, **files)
        return read_manifest(files["manifest"])

    return run


@pytest.fixture
def packing(tmp_path, listing):
    """Return a function that runs both stages and gives the manifest and the packed array."""

    def run(dataset, *, root: Path | None = None, seed: int = 0):
        rows = listing(dataset, root=root, seed=seed)
        output = tmp_path / "images.npy"
        pack(
            PackJob(dataset=dataset, seed=seed),
            manifest=tmp_path / "manifest.parquet",
            root=root,
            images=output,
        )
        return rows, numpy.load(output)

    return run


@pytest.fixture
def rows_of():
    """Return a function that builds a manifest from {class name: {split: count}}."""

    def build(counts: dict[str, dict[str, int]]) -> polars.DataFrame:
        rows, index = [], 0
        for label, name in enumerate(sorted(counts)):
            for split, count in counts[name].items():
                for _ in range(count):
                    rows.append(
                        {"index": index, "label": label, "class_name": name, "split": split}
                    )
                    index += 1
        frame = polars.concat([empty("manifest"), polars.DataFrame(rows)], how="diagonal")
        return frame.with_columns(row=polars.int_range(len(frame), dtype=polars.Int64))

    return build


@pytest.fixture
def target():
    """A classification target that holds out a fifth."""
    return Target(dataset="set", validation_fraction=0.2)
