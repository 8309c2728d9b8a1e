"""Who trains, who chooses and who tests: official splits, else seeded stratified hold-outs.

Every draw is made inside one class, from a stream that the class's name is part of. So an image
stays on its side when other classes come or go: a digit that tests one target never trains the
source that was made of more digits. Of a retrieval target whole identities are held out, for it is
wanted for identities that it was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import polars

from xferpipe.config.scores import Probe
from xferpipe.config.study import Shots, Target
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.datasets.draws import first_of_group, held_out_identities, held_out_images


@dataclass(frozen=True)
class LabelledRows:
    """Some images of a manifest and what they are labelled for one target.

    Attributes:
        rows: Rows of the manifest, int64 (n), ascending.
        labels: Dense labels in [0, c), int64 (n).
        class_names: Names of the c labels.
    """

    rows: numpy.ndarray
    labels: numpy.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: numpy.ndarray | slice) -> LabelledRows:
        """Return some of the images, by a mask (n) or by positions; the classes stay."""
        return LabelledRows(self.rows[chosen], self.labels[chosen], self.class_names)

    def renumbered(self) -> LabelledRows:
        """Return the same images with the classes alone that they are of."""
        found, labels = numpy.unique(self.labels, return_inverse=True)
        return LabelledRows(self.rows, labels, tuple(self.class_names[label] for label in found))


def split_rows(manifest: polars.DataFrame, split: str) -> LabelledRows:
    """Return all images of one split; labels count the classes (identities) of the training split.

    Raises:
        DatasetError: The split has a class that is never trained on.
    """
    train = manifest.filter(polars.col("split") == "train")
    classes = train.select("label", "class_name").unique().sort("label").with_row_index("dense")
    part = manifest.filter(polars.col("split") == split).join(
        classes.select("label", "dense"), on="label", how="left", maintain_order="left"
    )
    if part["dense"].null_count():
        strange = part.filter(polars.col("dense").is_null())["class_name"].unique().sort()
        raise DatasetError(
            f"split {split} has classes without training images: {listed(strange)}; remove them"
        )
    return LabelledRows(
        part["row"].to_numpy().copy(),
        part["dense"].cast(polars.Int64).to_numpy().copy(),
        tuple(classes["class_name"].to_list()),
    )


def training_rows(
    manifest: polars.DataFrame,
    target: Target,
    shots: Shots,
    seed: int,
    *,
    run_seed: int | None = None,
) -> LabelledRows:
    """Return the images that a target is fine-tuned on.

    Args:
        manifest: Table `manifest`.
        target: The target; its validation part is taken first, whatever `shots` says. With
            `validation: within_shots` another part is taken from the images that `shots` leaves.
        shots: Images per class, or "full". Sets are nested: 5 lie within 20 lie within full.
        seed: Seed of the draw; the study's, so that scores and fine-tunes see the same images.
        run_seed: Seed of the run, which draws the images too where the target's `draws` says so.
    Returns:
        Rows of the training split. Labels of a retrieval target number the identities that are
        left to train on.
    Raises:
        DatasetError: A class has fewer images than `shots`, or identities cannot be held out.
    """
    return _labelled_parts(manifest, target, shots, seed, run_seed)[0]


def validation_rows(
    manifest: polars.DataFrame,
    target: Target,
    seed: int,
    shots: Shots = "full",
    *,
    run_seed: int | None = None,
) -> LabelledRows:
    """Return the images that epochs and recipes are chosen on; they are never trained on.

    For classification these are the official split, else a stratified
    `target.validation_fraction` of the training split, drawn before any shots, so that it is the
    same for all of them. For retrieval they are all training images of held-out identities, which
    the labels number. With `validation: within_shots` they are a part of the images that `shots`
    leaves of each class, or what it leaves of held-out identities: nothing where that is one image.

    Args:
        manifest: Table `manifest`.
        target: The target.
        seed: Seed of the draw; the study's.
        shots: Images per class, or "full"; without meaning but for `within_shots`.
        run_seed: Seed of the run, as for `training_rows`.
    Raises:
        DatasetError: No class has two images to share out, or identities cannot be held out. A
            `validation_fraction` of 0 holds none out.
    """
    if not within_shots(target, shots):
        _, held_out = _parts(manifest, target, seed)
    else:
        _, held_out = _labelled_parts(manifest, target, shots, seed, run_seed)
    if not len(held_out) and not within_shots(target, shots) and target.validation_fraction:
        raise DatasetError(
            f"data set {target.dataset!r}: no class has two training images, so none can be held "
            "out for validation; add images or a validation split"
        )
    return held_out


def within_shots(target: Target, shots: Shots) -> bool:
    """Tell whether validation images are among the images that `shots` leaves of each class."""
    return target.validation == "within_shots" and shots != "full"


def test_rows(manifest: polars.DataFrame, target: Target) -> LabelledRows:
    """Return the images that a classification target is tested on.

    Raises:
        DatasetError: The target is tested by query and gallery, or there is no test split.
    """
    if target.task == "retrieval":
        raise DatasetError(
            f"data set {target.dataset!r} is a retrieval target: query and gallery test it, in the "
            "retrieval stage"
        )
    rows = split_rows(manifest, "test")
    if not len(rows):
        raise DatasetError(
            f"data set {target.dataset!r} has no test split (splits: "
            f"{listed(sorted(manifest['split'].unique()))}); mark some images as test"
        )
    return rows


def probe_rows(
    manifest: polars.DataFrame, target: Target, shots: Shots, probe: Probe, seed: int
) -> LabelledRows:
    """Return the images that scores may see, never of the test split.

    They are among the labelled images of these shots that the study's seed draws, whatever
    `validation` and `draws` say: a part of `training_rows` where both have their defaults.
    """
    rows = _shots_of(_parts(manifest, target, seed)[0], target, shots, seed)
    if probe.images_per_class is None:
        return rows
    return rows.take(_first_of_class(rows, probe.images_per_class, seed, "probe"))


def with_test_split(rows: polars.DataFrame, fraction: float, seed: int) -> polars.DataFrame:
    """Give a data set without a test split one.

    Unsplit rows (null) become train and a stratified seeded test part. Where the format has only
    train and validation images, the validation images are its test split, as ImageNet's are:
    published figures are on them.
    """
    present = set(rows["split"].unique())
    if None in present and len(present) > 1:
        raise DatasetError(
            f"{rows['split'].null_count()} of {len(rows)} images have no split and the others do; "
            "give every image a split, or none"
        )
    if present == {None}:
        names = rows["class_name"].to_list()
        keys = [path or index for path, index in rows.select("path", "index").iter_rows()]
        test = held_out_images(names, keys, fraction, seed, "test")
        return rows.with_columns(split=polars.Series(numpy.where(test, "test", "train")))
    if "validation" in present and not present & {"test", "query"}:
        return rows.with_columns(polars.col("split").replace({"validation": "test"}))
    return rows


def at_most(rows: polars.DataFrame, maximum: int | None, seed: int) -> polars.DataFrame:
    """Keep at most `maximum` images of each class and split, drawn by the seed."""
    if maximum is None:
        return rows
    rows = rows.sort("path", "index")
    groups = [f"{split}/{name}" for split, name in rows.select("split", "class_name").iter_rows()]
    return rows.filter(first_of_group(groups, maximum, seed, "at_most"))


def _parts(
    manifest: polars.DataFrame, target: Target, seed: int
) -> tuple[LabelledRows, LabelledRows]:
    """Return what is left to train on and what is held out, before any shots."""
    train = split_rows(manifest, "train")
    if not target.validation_fraction:
        return train, train.take(slice(0, 0))
    names = [train.class_names[label] for label in train.labels]
    if target.task == "retrieval":
        held_out = held_out_identities(
            names, target.validation_fraction, seed, where=f"data set {target.dataset!r}"
        )
        return train.take(~held_out).renumbered(), train.take(held_out).renumbered()
    official = split_rows(manifest, "validation")
    if len(official):
        return train, official
    held_out = held_out_images(
        names, train.rows.tolist(), target.validation_fraction, seed, "validation"
    )
    return train.take(~held_out), train.take(held_out)


def _labelled_parts(
    manifest: polars.DataFrame, target: Target, shots: Shots, seed: int, run_seed: int | None
) -> tuple[LabelledRows, LabelledRows]:
    """Return the images that are trained on, and those of `within_shots`; no other is looked at."""
    kept, held_out = _parts(manifest, target, seed)
    drawn = run_seed if target.draws == "per_seed" else None
    labelled = _shots_of(kept, target, shots, seed, drawn)
    if not within_shots(target, shots):
        return labelled, labelled.take(slice(0, 0))
    if target.task == "retrieval":
        # One image of an identity finds no other: nothing is left to validate on.
        few = _shots_of(held_out, target, shots, seed, drawn)
        return labelled, few if shots > 1 else few.take(slice(0, 0))
    names = [labelled.class_names[label] for label in labelled.labels]
    mask = held_out_images(
        names, labelled.rows.tolist(), target.validation_fraction, seed, "within_shots"
    )
    return labelled.take(~mask), labelled.take(mask)


def _shots_of(
    kept: LabelledRows, target: Target, shots: Shots, seed: int, run_seed: int | None = None
) -> LabelledRows:
    """Return so many images of each class, drawn by the study's seed and the run's if given."""
    if shots == "full":
        return kept
    counts = numpy.bincount(kept.labels, minlength=len(kept.class_names))
    if counts.min() < shots:
        raise DatasetError(
            f"targets: shots {shots} asks data set {target.dataset!r} for {shots} training images "
            f"of class {kept.class_names[counts.argmin()]!r}, which has {counts.min()} after the "
            f"validation part; allowed: 1 to {counts.min()}, or full"
        )
    purpose = ("shots",) if run_seed is None else ("shots", "run", run_seed)
    return kept.take(_first_of_class(kept, shots, seed, *purpose))


def _first_of_class(
    rows: LabelledRows, count: int, seed: int, *purpose: str | int
) -> numpy.ndarray:
    names = [rows.class_names[label] for label in rows.labels]
    return first_of_group(names, count, seed, *purpose)
