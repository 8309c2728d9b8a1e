"""How each class fares under the model to choose, and what that makes of its accuracy."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.charts.common import fraction_axis, fraction_scale, listed, reference_line
from xferpipe.report.drawing import ACCENT, Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence
from xferpipe.report.finetune_outcomes import outcomes

TITLE = "How each class fares"

#: Classes of one panel: those that fare worst. The data below the picture hold all.
_MOST = 25
_RUN = ["target", "shots", "model", "recipe"]
_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "majority_rate")


def figures(evidence: Evidence) -> list[Figure]:
    """Return the recall of each class of the test split, of the model to choose for each target."""
    best = outcomes(evidence).filter("first").unique("place", keep="first", maintain_order=True)
    chosen = best.select("place", *_RUN)
    recalls = (
        chosen.join(evidence["class_recalls"].filter(split="test"), on=_RUN)
        .group_by("place", *_RUN, "class_name", maintain_order=True)
        .agg(polars.mean("recall"), polars.first("images"), runs=polars.len())
        .filter(polars.col("recall").is_not_null())
        .sort("recall", maintain_order=True)
    )
    if recalls.is_empty():
        return [absent("classes", TITLE, "no fine-tune has finished on a target with classes")]
    parts = list(evidence.by_place(recalls))
    worst = [f"{rows['class_name'][0]} of {rows['place'][0]}" for rows in parts]
    return [
        Figure(
            name="classes",
            title=TITLE,
            caption="Share of each class's test images that are classified right by the model to "
            "choose, mean over its runs; the line is their mean, the balanced accuracy, "
            "and majority_rate is what always naming the most frequent class would reach.",
            alternative=f"Bars of recall by class; lowest are {listed(worst)}.",
            data=polars.concat(parts),
            panels=tuple(_panel(rows) for rows in parts),
            summary=_summary(evidence, chosen),
        )
    ]


def _summary(evidence: Evidence, chosen: polars.DataFrame) -> polars.DataFrame:
    """Return accuracy and what stands beside it, means over the runs of each chosen model."""
    finished = evidence["finetunes"].filter(status="finished", task="classification")
    return (
        chosen.join(finished, on=_RUN, maintain_order="left")
        .group_by("place", "model", "recipe", maintain_order=True)
        .agg(
            *(polars.mean(f"test_{name}").alias(name) for name in _FIGURES),
            polars.first("test_images"),
            runs=polars.len(),
        )
    )


def _panel(rows: polars.DataFrame) -> Panel:
    shown = rows.head(_MOST)
    order = shown["class_name"].to_list()
    scale = fraction_scale(polars.Series([0.0]), shown["recall"])
    bars = (
        altair.Chart(values(shown))
        .mark_bar(color=ACCENT, height={"band": 0.6})
        .encode(
            y=altair.Y("class_name:N", sort=order, title=None, axis=altair.Axis(grid=False)),
            x=fraction_axis("recall", "recall", scale),
            tooltip=[
                altair.Tooltip("class_name:N", title="class"),
                altair.Tooltip("recall:Q", format=".4f"),
                altair.Tooltip("images:Q", title="test images"),
                altair.Tooltip("runs:Q"),
            ],
        )
    )
    mean = reference_line(rows["recall"].mean(), title="recall", scale=scale)
    left_out = rows.height - shown.height
    return Panel(
        rows["place"][0],
        altair.layer(bars, mean),
        height=18 * shown.height + 10,
        note=f"{rows['model'][0]}, {rows['recipe'][0]}"
        + (f"; the lowest {shown.height} of {rows.height} classes" if left_out else ""),
    )
