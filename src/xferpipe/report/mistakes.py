"""What the picked run of each target gets wrong: which classes for which, and the worst images."""

from __future__ import annotations

from dataclasses import dataclass

import polars

from xferpipe.report.evidence import Evidence
from xferpipe.report.picked import Picked, picked_runs
from xferpipe.report.pictures import RankedList, ranked_lists

#: Classes of a whole matrix; of more, the pairs that are taken for each other most are listed.
MATRIX_CLASSES = 16
#: Images that are shown, and pairs that are listed.
WORST, PAIRS = 12, 10


@dataclass(frozen=True)
class MatrixRow:
    """One class of a confusion matrix.

    Attributes:
        name: The class.
        images: Its test images.
        recall: Share of them that is named right; None without any.
        cells: For each class, how many are taken for it, and their share of the class's images.
    """

    name: str
    images: int
    recall: float | None
    cells: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Mistake:
    """An image that was named wrong: as a picture (a data URI, or empty), and in words."""

    source: str
    path: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Mistakes:
    """What one picked run gets wrong.

    Attributes:
        place: Target, with its shots.
        run: The run in words.
        sentence: How many images it names wrong.
        classes: Names of the classes.
        matrix: A row a class; empty where there are too many classes, or the target is ranked.
        pairs: Class, what it is taken for, images, and images of the class; the most frequent
            first.
        worst: Images that it is surest about and wrong.
        lists: Queries from the worst to the best, with what they found.
    """

    place: str
    run: str
    sentence: str
    classes: tuple[str, ...] = ()
    matrix: tuple[MatrixRow, ...] = ()
    pairs: tuple[tuple[str, str, int, int], ...] = ()
    worst: tuple[Mistake, ...] = ()
    lists: tuple[RankedList, ...] = ()


def mistakes(evidence: Evidence) -> list[Mistakes]:
    """Return what the picked run of each target gets wrong; those that nothing is known of do not
    appear.
    """
    lists: dict[str, list[RankedList]] = {}
    for ranked in ranked_lists(evidence):
        lists.setdefault(ranked.place, []).append(ranked)
    found = []
    for picked in picked_runs(evidence):
        if picked.place in lists:
            found.append(_ranked(evidence, picked, lists[picked.place]))
        elif (
            evidence.predictions.height and (predictions := picked.of(evidence.predictions)).height
        ):
            found.append(_classified(evidence, picked, predictions))
    return found


def _ranked(evidence: Evidence, picked: Picked, lists: list[RankedList]) -> Mistakes:
    queries = picked.of(evidence["retrieval_queries"]).filter(
        ~polars.col("reranked") & polars.col("ap").is_not_null()
    )
    wrong = queries.filter(polars.col("first_hit") != 1).height
    return Mistakes(
        picked.place,
        picked.name,
        f"{wrong} of {queries.height} queries find another identity first. Each line is a query "
        "and what stands nearest to it, the worst first.",
        lists=tuple(lists),
    )


def _classified(evidence: Evidence, picked: Picked, predictions: polars.DataFrame) -> Mistakes:
    names = class_names(picked, evidence["class_recalls"], predictions)
    counts = predictions.group_by("label", "predicted").len()
    at = {(label, predicted): count for label, predicted, count in counts.iter_rows()}
    total = dict(predictions.group_by("label").len().iter_rows())
    wrong = predictions.filter(polars.col("label") != polars.col("predicted"))
    confused = counts.filter(polars.col("label") != polars.col("predicted")).sort(
        "len", "label", "predicted", descending=[True, False, False]
    )
    return Mistakes(
        picked.place,
        picked.name,
        f"{wrong.height} of {predictions.height} test images are named wrong.",
        classes=tuple(names),
        matrix=_matrix(names, at, total) if len(names) <= MATRIX_CLASSES else (),
        pairs=tuple(
            (names[label], names[predicted], count, total[label])
            for label, predicted, count in confused.head(PAIRS).iter_rows()
        ),
        worst=_worst(evidence, picked, wrong, names),
    )


def class_names(
    picked: Picked, recalls: polars.DataFrame, predictions: polars.DataFrame
) -> list[str]:
    """Return the names of a run's classes by label, as table `class_recalls` has them."""
    known = dict(picked.of(recalls).filter(split="test").select("label", "class_name").iter_rows())
    last = max(predictions["label"].max(), predictions["predicted"].max(), *known, 0)
    return [known.get(label, f"class {label}") for label in range(last + 1)]


def _matrix(
    names: list[str], at: dict[tuple[int, int], int], total: dict[int, int]
) -> tuple[MatrixRow, ...]:
    rows = []
    for label, name in enumerate(names):
        images = total.get(label, 0)
        counts = [at.get((label, predicted), 0) for predicted in range(len(names))]
        cells = tuple((count, count / images if images else 0.0) for count in counts)
        rows.append(MatrixRow(name, images, cells[label][1] if images else None, cells))
    return tuple(rows)


def _worst(
    evidence: Evidence, picked: Picked, wrong: polars.DataFrame, names: list[str]
) -> tuple[Mistake, ...]:
    """Return the images named wrong with the highest probability."""
    shown = wrong.sort("probability_predicted", "row", descending=[True, False]).head(WORST)
    images = evidence.images.get(picked.target)
    pictures = {} if images is None else images.pictures(shown["row"])
    paths = {} if images is None else dict(images.rows.select("row", "path").iter_rows())
    return tuple(
        Mistake(
            source=pictures.get(row["row"], ""),
            path=paths.get(row["row"]) or f"image {row['row']}",
            label=names[row["label"]],
            predicted=names[row["predicted"]],
            probability=row["probability_predicted"],
        )
        for row in shown.iter_rows(named=True)
    )
