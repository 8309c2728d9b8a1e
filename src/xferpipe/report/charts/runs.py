"""What ran, how long, and on what."""

from __future__ import annotations

import altair
import polars

from xferpipe.report.drawing import ACCENT, Figure, Panel, absent, values
from xferpipe.report.evidence import Evidence

TITLE = "Where the time went"


def figures(evidence: Evidence) -> list[Figure]:
    """Return the time by stage."""
    if evidence["runtime"].is_empty():
        return [absent("runtime", TITLE, "no benchmark of a job was found")]
    data = (
        evidence["runtime"]
        .group_by("stage", maintain_order=True)
        .agg(
            jobs=polars.len(),
            seconds=polars.sum("seconds"),
            longest=polars.max("seconds"),
            cpu_seconds=polars.sum("cpu_seconds"),
            peak_mib=polars.max("peak_mib"),
        )
        .sort("seconds", descending=True, maintain_order=True)
    )
    bars = (
        altair.Chart(values(data))
        .mark_bar(color=ACCENT, height={"band": 0.6})
        .encode(
            y=altair.Y("stage:N", sort=data["stage"].to_list(), title=None),
            x=altair.X("seconds:Q", title="seconds of wall time, all jobs"),
            tooltip=[
                "stage:N",
                "jobs:Q",
                altair.Tooltip("seconds:Q", format=",.1f"),
                altair.Tooltip("longest:Q", format=",.1f", title="longest job"),
                altair.Tooltip("cpu_seconds:Q", format=",.1f", title="processor seconds"),
                altair.Tooltip("peak_mib:Q", format=",.0f", title="peak MiB"),
            ],
        )
    )
    total = data["seconds"].sum()
    return [
        Figure(
            name="runtime",
            title=TITLE,
            caption=f"Wall time of all jobs by stage: {data['jobs'].sum()} jobs, "
            f"{total / 60:.1f} minutes one after another.",
            alternative=f"Bars of seconds by stage; {data['stage'][0]} takes most.",
            data=data,
            panels=(Panel("Stages", bars, height=26 * data.height + 10),),
            wide=True,
        )
    ]
