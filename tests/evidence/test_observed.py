"""What a race sees of its runs."""

import polars
import pytest

from xferpipe.evidence.observed import observed_runs
from xferpipe.records import empty, frame

RUN = {"target": "t", "shots": "full"}
MODELS = [{"model": "a", "recipe": "r", "seed": 0}, {"model": "b", "recipe": "r", "seed": 1}]


def predictions(model, right, split="validation", start=0):
    """Return rows of one run; rows of the manifest are in the wrong order on purpose."""
    rows = [
        RUN | model | {"split": split, "row": start + i, "label": 1, "predicted": int(hit)}
        for i, hit in enumerate(right)
    ]
    return frame("predictions", rows[::-1])


def finetunes(*rows):
    return frame("finetunes", [RUN | row for row in rows])


def finished(model, figure, **more):
    figures = {"task": "classification", "judged_by": "accuracy", "status": "finished"}
    return model | figures | {"validation_accuracy": figure, "seconds": 2.0} | more


def test_outcomes_are_right_or_wrong_by_image_in_one_order():
    rows = finetunes(finished(MODELS[0], 2 / 3), finished(MODELS[1], 1 / 3))
    seen = polars.concat(
        [
            predictions(MODELS[1], [0, 0, 1]),
            predictions(MODELS[0], [1, 0, 1]),
            predictions(MODELS[0], [0, 0], split="test", start=10),
        ]
    )
    runs = observed_runs(rows, seen, empty("validation_queries"))
    assert runs["model"].to_list() == ["a", "b"]
    assert runs["outcomes"].to_list() == [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    assert runs["images"].to_list() == [3, 3]
    assert [sum(found) / 3 for found in runs["outcomes"]] == pytest.approx(runs["validation"])


def test_validation_is_the_figure_that_the_target_is_judged_by():
    other = finished(MODELS[1], 0.9, judged_by="macro_f1", validation_macro_f1=0.4)
    runs = observed_runs(
        finetunes(finished(MODELS[0], 0.7), other),
        empty("predictions"),
        empty("validation_queries"),
    )
    assert runs["validation"].to_list() == [0.7, 0.4]
    assert runs["outcomes"].null_count() == 2
    assert runs["images"].null_count() == 2


def test_retrieval_run_has_the_precision_of_each_query_that_has_one():
    row = finished(MODELS[0], None, task="retrieval", judged_by="map", validation_map=0.75)
    queries = frame(
        "validation_queries",
        [RUN | MODELS[0] | {"row": i, "ap": ap} for i, ap in ((5, 1.0), (3, 0.5), (4, None))],
    )
    runs = observed_runs(finetunes(row), empty("predictions"), queries)
    assert runs.select("validation", "images").row(0) == (0.75, 2)
    assert runs["outcomes"].to_list() == [[0.5, 1.0]]


def test_diverged_run_is_there_without_a_figure():
    row = MODELS[0] | {"judged_by": "accuracy", "status": "diverged", "seconds": 1.0}
    runs = observed_runs(finetunes(row), predictions(MODELS[1], [1]), empty("validation_queries"))
    assert runs.select("status", "validation", "outcomes", "seconds").row(0) == (
        *("diverged", None, None, 1.0),
    )


def test_runs_on_different_images_are_not_paired():
    rows = finetunes(finished(MODELS[0], 1.0), finished(MODELS[1], 0.5))
    seen = polars.concat([predictions(MODELS[0], [1, 1]), predictions(MODELS[1], [1, 0], start=7)])
    runs = observed_runs(rows, seen, empty("validation_queries"))
    assert runs["outcomes"].null_count() == 2
    assert runs["images"].to_list() == [2, 2]


def test_outcomes_of_a_mean_recall_weigh_images_by_their_class():
    row = finished(MODELS[0], None, judged_by="balanced_accuracy", validation_balanced_accuracy=0.7)
    # Ten images of class 1, nine right, and two of class 2, one right.
    seen = frame(
        "predictions",
        [
            RUN | MODELS[0] | {"split": "validation", "row": i, "label": label, "predicted": shown}
            for i, (label, shown) in enumerate([(1, 1)] * 9 + [(1, 2), (2, 2), (2, 1)])
        ],
    )
    (outcomes,) = observed_runs(finetunes(row), seen, empty("validation_queries"))["outcomes"]
    assert outcomes.mean() == pytest.approx((0.9 + 0.5) / 2)
    assert outcomes.var(ddof=0) / 12 == pytest.approx((0.09 / 10 + 0.25 / 2) / 4)


def test_queries_of_one_identity_are_one_group():
    row = finished(MODELS[0], None, task="retrieval", judged_by="map", validation_map=0.75)
    lines = [{"row": i, "ap": ap, "identity": i // 2} for i, ap in enumerate((1.0, 0.5, 0.2))]
    queries = frame("validation_queries", [RUN | MODELS[0] | line for line in lines])
    (groups,) = observed_runs(finetunes(row), empty("predictions"), queries)["groups"]
    assert groups.to_list() == [0, 0, 1]
