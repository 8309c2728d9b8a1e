"""The continual stage: fine-tune on one part of a target, then on the next; what is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from torch import nn

from xferpipe.config.jobs import ContinualJob
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.datasets.splits import LabelledRows
from xferpipe.records import frame, write_table
from xferpipe.seeding import numpy_generator, stream
from xferpipe.training.checkpoint import Checkpoint, identity_of
from xferpipe.training.compute import prepare
from xferpipe.training.evaluate import evaluate
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.loop import fit
from xferpipe.training.resolve import resolve
from xferpipe.zoo.surgery import operate
from xferpipe.zoo.weights import load_model


def continual(
    job: ContinualJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    weights: Path,
    checkpoint: Path,
    forgetting: Path,
) -> None:
    """Fine-tune a model on the parts of a target in turn, and test it on every part after each.

    The classifier tells all classes apart from the start. The last epoch of each part is kept:
    choosing by a validation split of all classes would look ahead.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the target.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        weights: Weights of the zoo entry.
        checkpoint: Written after each part, and beside it within one; removed at the end.
        forgetting: Written: table `forgetting`; a part that diverged ends it with the reason.
    Raises:
        DatasetError: The images cannot be used.
        ValueError: There are fewer classes, or images of a class, than parts.
        WeightsError: The weights do not fit the architecture.
    """
    device = prepare(job.device, job.compute_threads)
    rows, opened = open_dataset(job.dataset, manifest, images, root)
    train = splits.training_rows(rows, job.target, "full", job.study_seed)
    parts = training_parts(train, job)
    evaluated = [("train", part) for part in parts]
    if job.part_by == "classes":
        test = splits.test_rows(rows, job.target)
        evaluated += [("test", _of_classes(test, numpy.unique(part.labels))) for part in parts]

    # Features that are cached once would be those of one part; the head is trained all the same.
    recipe = resolve(job.recipe, images=len(parts[0]), image_px=job.dataset.image_px)
    recipe = recipe.model_copy(update={"select": "last", "cache_features": False})

    def labelled(part: LabelledRows) -> LabelledImages:
        return LabelledImages(opened, part.rows, part.labels, job.spec, device, recipe)

    model = load_model(job.spec, weights)
    operate(model, recipe.surgery, outputs=len(train.class_names), seed=job.seed)
    model.to(device)
    between = Checkpoint(checkpoint, identity_of(job))
    state: dict[str, Any] = between.read() or {"done": 0, "results": []}
    if state["done"]:
        model.load_state_dict(state["model"])
    for number, part in enumerate(parts[state["done"] :], start=state["done"] + 1):
        within = Checkpoint(
            checkpoint.with_name(f"{checkpoint.name}.part{number}"),
            f"{identity_of(job)} part {number}",
        )
        run = fit(
            model,
            recipe,
            labelled(part),
            None,
            seed=stream(job.seed, "continual", number),
            name=f"{job.target_name} {job.model} part {number}",
            checkpoint=within,
        )
        if run.diverged is not None:
            state["results"] += [{"trained": number, "part": number, "reason": run.diverged}]
            within.remove()
            break
        results = state["results"] + [
            _result(model, split, seen, labelled, number, index % len(parts) + 1)
            for index, (split, seen) in enumerate(evaluated)
        ]
        state = {"done": number, "results": results, "model": model.state_dict()}
        between.write(state)
        within.remove()
    about = {
        "target": job.target_name,
        "model": job.model,
        "recipe": job.recipe_name,
        "seed": job.seed,
        "part_by": job.part_by,
    }
    table = [about | row for row in with_forgotten(state["results"])]
    write_table("forgetting", frame("forgetting", table), forgetting)
    between.remove()


def training_parts(train: LabelledRows, job: ContinualJob) -> list[LabelledRows]:
    """Cut training images into parts of whole classes, or of some images of every class.

    Raises:
        ValueError: There are fewer classes, or images of a class, than parts.
    """
    where = f"minimisers.continual.parts: {job.parts} parts"
    if job.part_by == "classes":
        classes = len(train.class_names)
        if classes < job.parts:
            raise ValueError(
                f"{where} by classes, but {job.target_name} has {classes} classes; expected at "
                "most one part a class"
            )
        order = numpy_generator(job.study_seed, "continual", "classes").permutation(classes)
        return [_of_classes(train, chosen) for chosen in numpy.array_split(order, job.parts)]
    part_of = numpy.empty(len(train), dtype=numpy.int64)
    for label, name in enumerate(train.class_names):
        members = numpy.flatnonzero(train.labels == label)
        if len(members) < job.parts:
            raise ValueError(
                f"{where} by images, but class {name!r} has {len(members)} training images; "
                "expected at least one image of each class in each part"
            )
        generator = numpy_generator(job.study_seed, "continual", "images", name)
        part_of[generator.permutation(members)] = numpy.arange(len(members)) % job.parts
    return [train.take(part_of == part) for part in range(job.parts)]


def with_forgotten(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each result what was lost since its part was trained; null before that."""
    learned = {
        (row["split"], row["part"]): row["accuracy"]
        for row in results
        if "accuracy" in row and row["trained"] == row["part"]
    }
    return [
        row | {"forgotten": learned[row["split"], row["part"]] - row["accuracy"]}
        if "accuracy" in row and row["trained"] >= row["part"]
        else row
        for row in results
    ]


def _result(
    model: nn.Module, split: str, seen: LabelledRows, labelled: Any, trained: int, part: int
) -> dict[str, Any]:
    figures = evaluate(model, labelled(seen))
    return {
        "trained": trained,
        "part": part,
        "split": split,
        "accuracy": figures.accuracy,
        "loss": figures.loss,
        "images": len(seen),
    }


def _of_classes(rows: LabelledRows, classes: numpy.ndarray) -> LabelledRows:
    return rows.take(numpy.isin(rows.labels, classes))
