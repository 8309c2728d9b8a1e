"""What re-identification readers share: names into rows, labels, and the checks before training."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars

from xferpipe.datasets import two_sides
from xferpipe.datasets.checks import DatasetError, listed
from xferpipe.datasets.walk import is_hidden, is_image

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What the authors of a data set say is in it: split -> (images, identities), and cameras."""

    splits: dict[str, tuple[int, int]]
    cameras: int | None = None


def folder(root: Path | None, *parts: str) -> Path:
    """Return a folder of a data set.

    Raises:
        DatasetError: It is not there; the message lists what is.
    """
    path = Path(root or ".").joinpath(*parts)
    if not path.is_dir():
        near = sorted(item.name for item in path.parent.iterdir()) if path.parent.is_dir() else []
        raise DatasetError(
            f"{path}: no such folder (in {path.parent}: {listed(near) or 'nothing'}); set 'root' "
            "to the folder that holds it"
        )
    return path


def image_names(path: Path) -> list[str]:
    """List the image files of one folder, sorted: the order of a file system is chance.

    Raises:
        DatasetError: There are none.
    """
    names = sorted(item.name for item in path.iterdir() if is_image(item.name))
    if not names:
        raise DatasetError(f"{path}: no images (.jpg, .png and others); copy them again")
    return names


def passed_over(root: Path | None, parts: Iterable[str]) -> list[str]:
    """List the files in some folders below a data set's root whose names are not of images."""
    return [
        f"{part}/{item.name}"
        for part in parts
        for item in folder(root, part).iterdir()
        if not is_image(item.name) and not is_hidden(item.name) and not item.is_dir()
    ]


def images_of(root: Path, parts: Iterable[str]) -> list[str]:
    """List the images of some folders below a data set's root.

    Raises:
        DatasetError: A folder is missing or empty.
    """
    return [f"{part}/{name}" for part in parts for name in image_names(folder(root, part))]


def named_images(
    root: Path | None, part: str, split: str, pattern: re.Pattern[str], example: str
) -> polars.DataFrame:
    """Read one folder whose file names say identity and camera.

    Args:
        root: Folder of the data set.
        part: Folder below it.
        split: Split of its images.
        pattern: Matches a whole file name, never the path; groups `identity` and `camera`.
        example: A right name, for the message.
    Returns:
        Columns `path` (below root), `identity`, `camera` and `split`.
    Raises:
        DatasetError: The folder is missing or empty, or a name cannot be read.
    """
    names = image_names(folder(root, part))
    found = [pattern.fullmatch(name) for name in names]
    if bad := [name for name, match in zip(names, found, strict=True) if match is None]:
        raise DatasetError(
            f"{Path(root or '.') / part}: {len(bad)} of {len(names)} names cannot be read: "
            f"{listed(bad)}; expected the form of {example}; rename or remove them"
        )
    return polars.DataFrame(
        {
            "path": [str(PurePosixPath(part, name)) for name in names],
            "identity": [int(match["identity"]) for match in found],
            "camera": [int(match["camera"]) for match in found],
            "split": split,
        }
    )


def split_folders(
    root: Path | None, folders: Mapping[str, str], pattern: re.Pattern[str], example: str
) -> polars.DataFrame:
    """Read one folder a split, see `named_images`, and label the training identities."""
    parts = [named_images(root, part, split, pattern, example) for split, part in folders.items()]
    return with_labels(polars.concat(parts))


def with_labels(rows: polars.DataFrame) -> polars.DataFrame:
    """Number the training identities from 0 in ascending order; others have no label."""
    identities = rows.filter(polars.col("split") == "train")["identity"].unique().sort()
    labels = polars.DataFrame({"identity": identities}).with_row_index("label")
    labels = labels.with_columns(polars.col("label").cast(polars.Int64))
    rows = rows.join(labels, on="identity", how="left", maintain_order="left")
    trained = polars.col("split").is_in(["train", "validation"])
    rows = rows.with_columns(polars.when(trained).then(polars.col("label")).alias("label"))
    if "class_name" not in rows.columns:
        rows = rows.with_columns(polars.col("identity").cast(polars.String).alias("class_name"))
    return rows


def check(rows: polars.DataFrame, *, where: str, published: Published | None = None) -> None:
    """Check a re-identification set before anything is trained, and log what is odd.

    Args:
        rows: Columns path, identity, camera and split.
        where: Path or name for the messages.
        published: Counts that the set should have; None for generated sets and a user's own.
    Raises:
        DatasetError: No query can have a positive, or figures would mean nothing.
    """
    for name in ("query", "gallery"):
        if not (rows["split"] == name).any():
            raise DatasetError(f"{where}: no {name} images; a ranking needs query and gallery")
    for finding in findings(rows, published=published):
        _logger.warning("%s: %s", where, finding)
    if (positives(rows)["any_camera"] == 0).all():
        raise DatasetError(
            f"{where}: no query identity is in the gallery (queries: "
            f"{listed(_identities(rows, 'query'))}; gallery: "
            f"{listed(_identities(rows, 'gallery'))}); are both numbered alike, and from one set?"
        )


def findings(
    rows: polars.DataFrame,
    *,
    published: Published | None = None,
    junk_rule: str = "same_camera",
) -> list[str]:
    """Say what is odd but can be used: each text has the count, names, and what to do."""
    by_camera = junk_rule == "same_camera"
    return [
        *(_differences(rows, published) if published else ()),
        *(_missing_cameras(rows) if by_camera else ()),
        *(_cameras_apart(rows) if by_camera else ()),
        *_shared_identities(rows),
        *_single_images(rows),
        *_without_positive(rows, by_camera=by_camera),
    ]


def positives(rows: polars.DataFrame) -> polars.DataFrame:
    """Count each query's gallery images of its identity.

    Returns:
        One row a query: path, identity, camera, `any_camera` (all such images) and
        `other_cameras` (those that the same-camera rule leaves).
    """
    gallery = rows.filter(polars.col("split") == "gallery")
    same = gallery.group_by("identity", "camera").len("same")
    return (
        rows.filter(polars.col("split") == "query")
        .select("path", "identity", "camera")
        .join(gallery.group_by("identity").len("any_camera"), on="identity", how="left")
        .join(same, on=["identity", "camera"], how="left")  # a null camera matches none
        .with_columns(polars.col("any_camera", "same").fill_null(0).cast(polars.Int64))
        .with_columns((polars.col("any_camera") - polars.col("same")).alias("other_cameras"))
        .sort("path")
    )


def _differences(rows: polars.DataFrame, published: Published) -> list[str]:
    texts = []
    for name, (images, identities) in published.splits.items():
        part = rows.filter(polars.col("split") == name)
        found = (len(part), part["identity"].n_unique())
        if found != (images, identities):
            texts.append(
                f"{name} has {found[0]} images of {found[1]} identities, published are {images} of "
                f"{identities}; figures of a part are not comparable: is the copy complete?"
            )
    cameras = rows["camera"].drop_nulls().n_unique()
    if published.cameras is not None and cameras != published.cameras:
        texts.append(f"{cameras} cameras, published are {published.cameras}")
    return texts


def _missing_cameras(rows: polars.DataFrame) -> list[str]:
    tested = rows.filter(polars.col("split").is_in(["query", "gallery"]))
    missing = tested.filter(polars.col("camera").is_null())
    if missing.is_empty():
        return []
    rule = "the rule same_camera removes nothing for them; near-identical shots of one camera count"
    if len(missing) == len(tested):
        return [f"no image has a camera: {rule}"]
    return [
        f"{len(missing)} of {len(tested)} query and gallery images have no camera: "
        f"{listed(missing['path'].sort())}; {rule}; give them cameras"
    ]


def _cameras_apart(rows: polars.DataFrame) -> list[str]:
    """Find out whether the two sides seem to name their cameras differently."""
    query, gallery = (rows.filter(split=split) for split in ("query", "gallery"))
    # Queries without their identity are told of by name below.
    found = query.join(gallery, on="identity", how="semi")
    return two_sides.findings(found, gallery)


def _shared_identities(rows: polars.DataFrame) -> list[str]:
    shared = set(_identities(rows, "train")) & {
        *_identities(rows, "query"),
        *_identities(rows, "gallery"),
    }
    if not shared:
        return []
    return [
        f"{len(shared)} identities are in both train and test: {listed(sorted(shared))}; figures "
        "on identities that were trained on say nothing of new ones: keep each in one side"
    ]


def _single_images(rows: polars.DataFrame) -> list[str]:
    train = rows.filter(polars.col("split") == "train").group_by("identity").len()
    single = train.filter(polars.col("len") == 1)["identity"].sort()
    if single.is_empty():
        return []
    return [
        f"{len(single)} training identities have one image: {listed(single)}; classification uses "
        "them, a triplet or contrastive loss finds no positive for them"
    ]


def _without_positive(rows: polars.DataFrame, *, by_camera: bool) -> list[str]:
    counts = positives(rows)
    absent = counts.filter(polars.col("any_camera") == 0)
    same_camera = counts.filter((polars.col("any_camera") > 0) & (polars.col("other_cameras") == 0))
    texts = []
    if len(absent):
        texts.append(
            f"{len(absent)} of {len(counts)} queries have no positive: {listed(absent['path'])}; "
            "their identity is not in the gallery; the means leave them out: add gallery images or "
            "remove these queries"
        )
    if by_camera and len(same_camera):
        texts.append(
            f"{len(same_camera)} of {len(counts)} queries have no positive: "
            f"{listed(same_camera['path'])}; the rule same_camera removes every gallery image of "
            "their identity; the means leave them out: set retrieval.junk_rule: none to count "
            "them, and leave_self_out: true where the gallery has the queries' own files"
        )
    return texts


def _identities(rows: polars.DataFrame, split: str) -> list[int]:
    return rows.filter(polars.col("split") == split)["identity"].unique().sort().to_list()
