"""The fine-tuning stage: one model, one target, one recipe, one seed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars
import torch

from xferpipe.config.jobs import FinetuneJob
from xferpipe.config.study import CLASSIFICATION_METRICS
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.records import empty, frame, write_table
from xferpipe.training.compute import device_name, prepare
from xferpipe.training.evaluate import Evaluation, evaluate
from xferpipe.training.feature_correlation import FeatureWatcher, correlation_table, shown_rows
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.loop import Fit
from xferpipe.training.overfitting import overfitting
from xferpipe.training.processes import processes, rank
from xferpipe.training.torchrun import launch, must_launch
from xferpipe.training.train import checkpoint_of, resolved, train
from xferpipe.zoo.surgery import operate
from xferpipe.zoo.weights import load_model, save_weights


def finetune(
    job: FinetuneJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    initial: Path,
    checkpoint: Path,
    weights: Path,
    run: Path,
    epochs: Path,
    predictions: Path,
    class_recalls: Path,
    validation_queries: Path,
    feature_correlation: Path,
) -> None:
    """Fine-tune a model, choose its epoch on the validation images and test it.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the target.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        initial: Weights of the zoo entry.
        checkpoint: Written at intervals, read by a restarted run, removed at the end.
        weights: Written: weights of the chosen epoch.
        run: Written: one row of table `finetunes`.
        epochs: Written: table `epochs`.
        predictions: Written: table `predictions`; empty where the run diverged, and of a retrieval
            target.
        class_recalls: Written: table `class_recalls`; likewise.
        validation_queries: Written: table `validation_queries`; empty but for a retrieval target.
        feature_correlation: Written: table `feature_correlation`; empty where the study asks this
            run for none.
    Raises:
        DatasetError: The images cannot be used.
        WeightsError: The weights do not fit the architecture.
    """
    if must_launch(job.recipe.processes):
        paths = {name: value for name, value in locals().items() if name != "job"}
        launch("finetune", job, paths)
        return
    with processes(prepare(job.device, job.compute_threads)) as device:
        rows, opened = open_dataset(job.dataset, manifest, images, root)
        if job.ranked is not None:
            # The rule may be another than when the images were listed.
            _check_rankable(job, rows)
        drawn = {"seed": job.study_seed, "shots": job.shots, "run_seed": job.seed}
        chosen, held_out = _parts(job, rows, drawn)
        recipe = resolved(job.recipe, chosen, job.dataset.image_px)

        def labelled(part: splits.LabelledRows) -> LabelledImages:
            return LabelledImages(opened, part.rows, part.labels, job.spec, device, recipe)

        model = load_model(job.spec, initial)
        if not recipe.evaluates:
            operate(model, recipe.surgery, outputs=len(chosen.class_names), seed=job.seed)
        model.to(device)
        watcher = None
        if (taken := job.features_taken) is not None:
            shown = shown_rows(rows, job.target, job.shots, taken, job.study_seed)
            watcher = FeatureWatcher(labelled(shown), taken.epochs)
            before = watcher.of(model)
        saved = checkpoint_of(job, checkpoint)
        ranking = _ranking(job, rows, held_out)
        result = train(
            job,
            model,
            recipe,
            labelled(chosen),
            labelled(held_out) if len(held_out) else None,
            checkpoint=saved,
            name=f"{job.target_name} {job.model} {job.recipe_name}",
            watcher=watcher,
            judge=ranking or evaluate,
            judged_by=job.target.metric,
        )
        figures = _figures(result, job)
        seen: list[tuple[str, splits.LabelledRows, Evaluation]] = []
        queries: list[dict[str, object]] = []
        if result.diverged is None:
            if ranking is not None and result.validation is not None:
                figures["validation_map"] = result.validation.map
                queries = ranking.queries(result.validation)
            elif result.validation is not None:
                seen.append(("validation", held_out, result.validation))
            if job.target.task == "classification":
                tested = splits.test_rows(rows, job.target)
                seen.append(("test", tested, evaluate(model, labelled(tested))))
        for split, _, found in seen:
            figures |= {f"{split}_{name}": value for name, value in _of_split(found).items()}
        compared: list[dict[str, object]] = []
        if watcher is not None:
            moments = [("before", 0, before)]
            moments += [("during", *one) for one in sorted(watcher.features.items())]
            if result.diverged is None:
                moments.append(("after", result.kept_epoch, watcher.of(model)))
            compared = correlation_table(moments, shown.labels, shown.class_names)
        if rank() > 0:
            return
        save_weights(model, weights)
        name = {
            "target": job.target_name,
            "shots": str(job.shots),
            "model": job.model,
            "recipe": job.recipe_name,
            "seed": job.seed,
        }
        about = {
            "task": job.target.task,
            "judged_by": job.target.metric,
            "train_images": len(chosen),
            "validation_images": len(held_out),
            "compute_threads": job.compute_threads,
            "device": device_name(device),
            "torch_version": torch.__version__,
        }
        lines = [{"stage": "finetune", **name, **epoch} for epoch in result.rows]
        write_table("epochs", frame("epochs", lines), epochs)
        write_table("finetunes", frame("finetunes", [name | figures | about]), run)
        parts = [_predictions(name, *one) for one in seen]
        write_table("predictions", polars.concat([empty("predictions"), *parts]), predictions)
        lines = [name | line for one in seen for line in _class_recalls(*one)]
        write_table("class_recalls", frame("class_recalls", lines), class_recalls)
        lines = [name | line for line in queries]
        write_table("validation_queries", frame("validation_queries", lines), validation_queries)
        lines = [name | line for line in compared]
        write_table("feature_correlation", frame("feature_correlation", lines), feature_correlation)
        saved.remove()


def _parts(
    job: FinetuneJob, rows: polars.DataFrame, drawn: dict[str, Any]
) -> tuple[splits.LabelledRows, splits.LabelledRows]:
    """Return the images to train on and those held out; of a model as it is the second alone."""
    if not job.recipe.evaluates:
        chosen = splits.training_rows(rows, job.target, **drawn)
        return chosen, splits.validation_rows(rows, job.target, **drawn)
    none = splits.split_rows(rows, "train").take(slice(0, 0))
    if not (rows["split"] == "train").any():
        return none, none
    return none, splits.validation_rows(rows, job.target, **drawn)


def _check_rankable(job: FinetuneJob, manifest: polars.DataFrame) -> None:
    """Refuse images that could not be ranked afterwards; by name, see `_ranking`."""
    module = importlib.import_module("xferpipe.datasets.rankable")
    module.check_rankable(manifest, job.ranked, where=f"target {job.target_name!r}")


def _ranking(job: FinetuneJob, manifest: polars.DataFrame, held_out: splits.LabelledRows) -> Any:
    """Return what ranks the held-out identities of a retrieval target; None for another, or none.

    By name, as a registered module: the code of the ranking is nothing to a classification run.
    """
    if job.ranking is None or not len(held_out):
        return None
    module = importlib.import_module("xferpipe.retrieval.held_out")
    return module.HeldOut(manifest[held_out.rows], job.ranking, where=job.target_name)


def _predictions(
    name: dict[str, object], split: str, part: splits.LabelledRows, found: Evaluation
) -> polars.DataFrame:
    """Return the rows of table `predictions` of one split, in the order of the manifest."""
    columns = {
        "row": part.rows,
        "label": found.labels,
        "predicted": found.predicted,
        "probability_label": found.probability_label,
        "probability_predicted": found.probability_predicted,
    }
    # By columns: a mapping for each image takes ten times as long.
    return polars.DataFrame(
        name | {"split": split} | {column: values.tolist() for column, values in columns.items()},
        schema=empty("predictions").schema,
    )


def _class_recalls(
    split: str, part: splits.LabelledRows, found: Evaluation
) -> Iterator[dict[str, object]]:
    """Yield the rows of table `class_recalls` of one split."""
    images, right, _ = found.counts(len(part.class_names))
    for label, class_name in enumerate(part.class_names):
        count = int(images[label])
        yield {
            "split": split,
            "class_name": class_name,
            "label": label,
            "images": count,
            "recall": right[label].item() / count if count else None,
        }


def _of_split(found: Evaluation) -> dict[str, object]:
    """Return the columns of one split in table `finetunes`, without the split's name."""
    names = (*CLASSIFICATION_METRICS, "majority_rate", "loss")
    return {"images": len(found.labels), **{name: getattr(found, name) for name in names}}


def _figures(result: Fit, job: FinetuneJob) -> dict[str, object]:
    """Return the measured columns; a run that diverged has no accuracy."""
    figures: dict[str, object] = {
        "status": "finished" if result.diverged is None else "diverged",
        "reason": result.diverged,
        "epochs": len(result.rows),
        "seconds": result.seconds,
        "images_per_second": (
            result.images / result.training_seconds if result.training_seconds else None
        ),
        "micro_batch_size": result.rows[-1]["micro_batch_size"] if result.rows else None,
    }
    if result.diverged is None:
        judged = [epoch[f"validation_{job.target.metric}"] for epoch in result.rows]
        # mAP has no loss beside it to order equals by.
        losses = [epoch["validation_loss"] or 0.0 for epoch in result.rows]
        figures |= {
            "kept_epoch": result.kept_epoch,
            "selected_on": "validation"
            if job.recipe.select == "best" and not job.recipe.evaluates
            else "none",
            "train_accuracy": result.rows[-1]["train_accuracy"] if result.rows else None,
            **overfitting(judged, losses),
        }
    return figures
