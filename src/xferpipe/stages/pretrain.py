"""The pretraining stage: train one zoo entry on its source and describe it."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.jobs import PretrainJob
from xferpipe.config.study import Target
from xferpipe.datasets import splits
from xferpipe.datasets.images import open_dataset
from xferpipe.records import frame, write_table
from xferpipe.training.compute import prepare
from xferpipe.training.entry import test_split, write_entry
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.processes import processes, rank
from xferpipe.training.torchrun import launch, must_launch
from xferpipe.training.train import checkpoint_of, resolved, train
from xferpipe.zoo.build import build_model
from xferpipe.zoo.surgery import operate
from xferpipe.zoo.weights import load_model


class PretrainingError(RuntimeError):
    """A pretraining came to nothing that could be a zoo entry."""


def pretrain(
    job: PretrainJob,
    *,
    manifest: Path,
    images: Path | None,
    root: Path | None,
    initial: Path | None,
    checkpoint: Path,
    weights: Path,
    card: Path,
    class_means: Path,
    epochs: Path,
) -> None:
    """Train a model on its source; write its weights, card and class means.

    Args:
        job: The resolved slice.
        manifest: Table `manifest` of the source.
        images: Packed images, or None to decode files.
        root: Folder that manifest paths start from.
        initial: Weights to start from, their classifier excepted; None draws them.
        checkpoint: Written at intervals, read by a restarted run, removed at the end.
        weights: Written: weights, the source's classifier included.
        card: Written: one row of table `zoo`.
        class_means: Written: mean feature and count of each source class.
        epochs: Written: table `epochs`.
    Raises:
        PretrainingError: The loss became NaN or infinite.
        DatasetError: The images cannot be used.
        WeightsError: The initial weights do not fit the architecture.
    """
    if must_launch(job.recipe.processes):
        paths = {name: value for name, value in locals().items() if name != "job"}
        launch("pretrain", job, paths)
        return
    with processes(prepare(job.device, job.compute_threads)) as device:
        rows, opened = open_dataset(job.dataset, manifest, images, root)
        target = Target(dataset=job.source)
        chosen = splits.training_rows(rows, target, "full", job.seed)
        recipe = resolved(job.recipe, chosen, job.dataset.image_px)

        def labelled(part: splits.LabelledRows) -> LabelledImages:
            return LabelledImages(opened, part.rows, part.labels, job.spec, device, recipe)

        classes = len(chosen.class_names)
        if initial is None:
            model = build_model(job.spec, classes, seed=job.seed)
        else:
            model = load_model(job.spec, initial)
        operate(model, recipe.surgery, outputs=classes, seed=job.seed)
        saved = checkpoint_of(job, checkpoint)
        result = train(
            job,
            model.to(device),
            recipe,
            labelled(chosen),
            labelled(splits.validation_rows(rows, target, job.seed)),
            checkpoint=saved,
            name=job.model,
        )
        if result.diverged is not None:
            raise PretrainingError(
                f"pretraining of {job.model!r} diverged: {result.diverged}; lower lr "
                f"({recipe.lr:g}) or lengthen the warm-up of "
                f"pretraining_recipes.{job.recipe_name}"
            )
        if rank() > 0:
            return
        tested = test_split(rows)
        write_entry(
            model,
            labelled(chosen),
            None if tested is None else labelled(tested),
            weights=weights,
            card=card,
            class_means=class_means,
            origin="pretrain",
            model_name=job.model,
            architecture=job.spec.architecture,
            source=job.source,
            recipe=job.recipe_name,
            seconds=result.seconds,
        )
        name = {"stage": "pretrain", "target": job.source, "shots": "full", "seed": job.seed}
        name |= {"model": job.model, "recipe": job.recipe_name}
        write_table("epochs", frame("epochs", [name | row for row in result.rows]), epochs)
        saved.remove()
