"""The path stage: the distance between two pretrained solutions, and the ways between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from xferpipe.config.jobs import PathJob
from xferpipe.minimisers.distances import weight_distances
from xferpipe.minimisers.probe_images import PixelClassifier, ProbeImages, figures_of
from xferpipe.minimisers.sample import SourceImages
from xferpipe.minimisers.search import bezier_control, low_loss_way
from xferpipe.minimisers.solution import State, refresh_batch_norm, state_of
from xferpipe.minimisers.ways import PathPoint, along, barrier, bezier, straight
from xferpipe.records import frame, write_table
from xferpipe.training.compute import prepare
from xferpipe.zoo.weights import load_model

MEASURES = ("error", "loss")


def path(
    job: PathJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    first: Path,
    second: Path,
    distances: Path,
    paths: Path,
) -> None:
    """Measure two pretrained solutions against each other.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of their source.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        first: Weights of the first solution.
        second: Weights of the second.
        distances: Written: table `distances`.
        paths: Written: table `paths`.
    Raises:
        DatasetError: The images cannot be used.
        WeightsError: Weights do not fit the architecture.
        ValueError: The two solutions are not points of one space, or the same point.
    """
    device = prepare(job.device, job.compute_threads)
    source = SourceImages(
        job, seed=job.seed, manifest=manifest, images=images, root=root, device=device
    )
    models = [
        PixelClassifier(load_model(job.spec, file), job.spec.mean, job.spec.std).to(device)
        for file in (first, second)
    ]
    start, end = map(state_of, models)
    pair = {"first": job.first, "second": job.second}
    rows = [
        pair
        | {
            "normalisation": apart.normalisation,
            "distance": apart.distance,
            "norm_first": apart.norm_a,
            "norm_second": apart.norm_b,
            "cosine": apart.cosine,
        }
        for apart in weight_distances(models[0], start, end)
    ]
    parts = {"train": source.train(job.source), "test": source.test()}
    splits = {name: part for name, part in parts.items() if part is not None}
    way_rows = [
        pair | row
        for kind in job.paths.kinds
        for row in _rows(kind, _points(kind, models[0], start, end, job, source, splits), splits)
    ]
    write_table("distances", frame("distances", rows), distances)
    write_table("paths", frame("paths", way_rows), paths)


def _points(
    kind: str,
    model: nn.Module,
    start: State,
    end: State,
    job: PathJob,
    source: SourceImages,
    splits: dict[str, ProbeImages],
) -> list[PathPoint]:
    """Return the points of one kind of way, measured on every split."""
    refresh_images = splits["train"].in_batches_of(job.sample.refresh_batch_size)
    measure = figures_of(splits)

    def refresh(model: nn.Module) -> None:
        refresh_batch_norm(model, refresh_images)

    batches = source.training_batches(job.source, job.paths.batch_size, kind, job.first, job.second)
    if kind == "low_loss":
        return low_loss_way(model, start, end, batches, job.paths, measure, refresh=refresh)
    if kind == "bezier":
        control = bezier_control(model, start, end, batches, job.paths, seed=job.seed)
        way = bezier(start, control, end)
    else:
        way = straight(start, end)
    return along(model, way, measure, points=job.paths.points, refresh=refresh)


def _rows(
    kind: str, points: list[PathPoint], splits: dict[str, ProbeImages]
) -> Iterator[dict[str, object]]:
    for split, images in splits.items():
        barriers = {f"{name}_barrier": barrier(points, f"{split} {name}") for name in MEASURES}
        for point in points:
            figures = {name: point.figures[f"{split} {name}"] for name in MEASURES}
            yield (
                {"kind": kind, "split": split, "t": point.t, "refreshed": point.refreshed}
                | figures
                | barriers
                | {"images": len(images)}
            )
