"""What the figures share: the models' colours, axes of fractions, and the words for metrics."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.drawing import COLOURS, INK, palette
from xferpipe.report.evidence import METRIC_WORDS, Evidence

#: Vega expression: the clicked entry of the legend, or all before any click.
LIT = "highlight === null || datum.{} === highlight"


def groups(evidence: Evidence) -> dict[str, str]:
    """Return the name that each model is coloured by: its own while the colours are enough.

    Of more models, those of one pretraining source share its name; others, of which no source is
    known, keep their own.
    """
    seen = polars.concat([evidence[name]["model"] for name in ("zoo", "finetunes", "scores")])
    names = seen.unique(maintain_order=True).to_list()
    if len(names) <= len(COLOURS):
        return {name: name for name in names}
    sources = dict(evidence["zoo"].select("model", "source").iter_rows())
    return {name: sources.get(name) or name for name in names}


def group_colours(evidence: Evidence) -> dict[str, str]:
    """Colour the groups: the same on the whole page."""
    return palette(groups(evidence).values())


def with_group(evidence: Evidence, data: polars.DataFrame) -> polars.DataFrame:
    """Add the column `group`, what a model is coloured by, to rows that name a model."""
    known = groups(evidence)
    name = polars.col("model")
    if known:
        name = name.replace_strict(
            list(known), list(known.values()), default=name, return_dtype=polars.String
        )
    return data.with_columns(group=name)


def fraction_scale(*fractions: polars.Series) -> altair.Scale:
    """Return a scale that holds some fractions, wide enough to read where they hardly differ."""
    known = polars.concat([series.drop_nulls() for series in fractions])
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    margin = max(0.06 * (high - low), (0.02 - (high - low)) / 2)
    domain = [max(0.0, low - margin), min(1.0, high + margin)]
    return altair.Scale(domain=domain, nice=False, zero=False)


def fraction_axis(field: str, title: str, scale: altair.Scale) -> altair.X:
    """Return a horizontal axis of fractions."""
    return altair.X(f"{field}:Q", title=title, scale=scale, axis=altair.Axis(tickCount=5))


def count_axis(highest: int, title: str) -> dict[str, object]:
    """Return the options of an axis that counts from 1, with whole numbers as ticks."""
    step = max(1, -(-highest // 8))
    ticks = [1, *range(step, highest + 1, step)] if step > 1 else list(range(1, highest + 1))
    scale = altair.Scale(domain=[1, max(highest, 2)], nice=False, padding=10)
    return {"title": title, "axis": altair.Axis(values=ticks, format="d"), "scale": scale}


def reference_line(x: float, **axis: object) -> altair.Chart:
    """Return a dashed vertical line at a value that others are read against, on their axis."""
    return (
        altair.Chart(altair.Data(values=[{"x": x}]))
        .mark_rule(color=INK, strokeDash=[3, 3])
        .encode(x=altair.X("x:Q", **axis))
    )


def metric_words(metrics: polars.Series) -> str:
    """Name what an axis shows, for one metric or several."""
    return " / ".join(METRIC_WORDS.get(name, name) for name in metrics.unique(maintain_order=True))


def widest_recipe(data: polars.DataFrame) -> polars.DataFrame:
    """Keep the rows of each place's recipe that most models were run with: like beside like."""
    counted = (
        data.group_by("place", "recipe", maintain_order=True)
        .agg(polars.col("model").n_unique(), runs=polars.len())
        .sort("model", "runs", descending=True, maintain_order=True)
        .unique("place", maintain_order=True, keep="first")
    )
    return data.join(
        counted.select("place", "recipe"), on=["place", "recipe"], maintain_order="left"
    )


def listed(names: list[str], most: int = 4) -> str:
    """Write names as words: a, b, c and 3 more."""
    names = list(names)
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
