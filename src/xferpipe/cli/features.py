"""`xferpipe features`: features of a folder under a model, as `score` and `retrieve` read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson, Device, SkipUnreadable, Threads

#: Side of the images for a model that takes any.
_PX = 224


def features(
    images: Annotated[
        Path,
        typer.Argument(help="Folder with one folder per class, a re-ID set, or a table."),
    ],
    output: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    model: Annotated[
        str,
        typer.Option(
            help="Folder of `xferpipe export`, timm:<name>, or a torchvision name such as resnet50."
        ),
    ],
    image_px: Annotated[
        int | None,
        typer.Option(min=8, max=1024, help="Side in pixels; unset: 224, or what the model needs."),
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    device: Device = "auto",
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Write the features of labelled images under a model.

    Of a re-identification set queries, gallery and training images go into files of their own.

    Example: xferpipe features photos/flowers flowers.parquet --model timm:resnet18
    """
    import numpy

    from xferpipe.cli.first_study import reader_of
    from xferpipe.cli.named_models import entry_of
    from xferpipe.config.jobs import ManifestJob
    from xferpipe.datasets.copies import copy_findings, near_copy_findings
    from xferpipe.datasets.file_findings import file_findings
    from xferpipe.handover.describe import described, opened
    from xferpipe.records import atomic_path
    from xferpipe.stages.manifest import listing
    from xferpipe.training.compute import prepare

    if not images.exists():
        raise FileNotFoundError(2, "no such folder or table", str(images))
    reader = reader_of(images)
    is_table = reader == "table"
    place = {"path": images, "root": images.parent} if is_table else {"root": images}
    image_px = image_px or _usual_px(model)
    with look.progress("reading the images", quiet=as_json) as progress:
        dataset = {"reader": reader, "image_px": image_px, **place}
        if skip_unreadable:
            dataset["unreadable"] = "skip"
        job = ManifestJob.model_validate({"name": "images", "dataset": dataset, "seed": 0})
        read_as = {"fit": job.dataset.fit, "decoding": job.dataset.read_as}
        network, how = opened(model, entry_of, px=image_px, **read_as)
        root = place["root"]
        listed = listing(job, root, tested=False, progress=progress)
        rows = listed.rows
        found = described(network, how, rows, root, prepare(device, threads), progress)
    written = {output: found}
    if found["split"].is_in(["query", "gallery"]).any():
        written = {
            output.with_name(f"{output.stem}_{split}{output.suffix}"): part
            for (split,), part in found.partition_by("split", as_dict=True).items()
        }
    for path, part in written.items():
        with atomic_path(path) as temporary:
            part.write_parquet(temporary)
    width = len(found["feature"][0])
    if as_json:
        files = {str(path): part.height for path, part in written.items()}
        look.print_json({"files": files, "width": width, "columns": found.columns})
        return
    for path, part in written.items():
        typer.echo(f"{path}: {part.height} images, {width} features")
    features = numpy.array(found["feature"].to_list(), dtype=numpy.float32)
    odd = [*copy_findings(rows), *near_copy_findings(rows, features)]
    for note in [*file_findings(listed.findings, job.dataset), *odd]:
        look.say(f"note: {note}")


def _usual_px(model: str) -> int:
    """Return the side that images are decoded to where nobody says; an export has its own."""
    from xferpipe.cli.first_study import decoded_px
    from xferpipe.cli.named_models import entry_of
    from xferpipe.handover.bundle import CONFIG

    if (Path(model) / CONFIG).is_file():
        return _PX
    return max([_PX, *map(decoded_px, entry_of(model).values())])
