"""The targets of a table put together; all intervals are clustered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from .measures import clustered, reliability
from .one_target import AGAINST, BATCH, OURS


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the targets of one table together; intervals are clustered by image source."""
    names = list(dict.fromkeys(name for one in found for name in one["strategies"]))
    strategies = {}
    for name in names:
        having = [one for one in found if name in one["strategies"]]
        strategies[name] = {
            against: _over_targets(
                [one["strategies"][name][against] for one in having],
                [one["source"] for one in having],
            )
            for against in AGAINST
        }
    paired = [one for one in found if one["against_top"]]
    looks = [row for one in found for row in one["claims"]]
    return {
        "targets": len(found),
        "sources": len({one["source"] for one in found}),
        "strategies": strategies,
        "race_less_top_3_by_score": {
            name: clustered(
                [one["against_top"][name] - one["against_top"]["top"] for one in paired],
                [one["source"] for one in paired],
            )
            for name in (OURS, BATCH)
        },
        "claims": {
            when: _claimed([row for row in looks if row["when"] == when])
            for when in dict.fromkeys(row["when"] for row in looks)
        },
        "reliability": _reliability(looks),
    }


def _over_targets(rows: list[dict[str, float]], sources: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name.startswith("within"):
            quartiles = numpy.quantile(values, [0.25, 0.5, 0.75], method="closest_observation")
            result[name] = [None if math.isinf(q) else float(q) for q in quartiles]
            result[f"{name}_never"] = float(numpy.isinf(values).mean())
        else:
            result[name] = clustered(values, sources)
    return result


def _claimed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    clusters = [row["target"] for row in rows]
    named = [row for row in rows if row["named"]]
    names = [name for name in rows[0] if name not in ("when", "named", "target")]
    return {
        "answers": len(rows),
        "named": clustered([row["named"] for row in rows], clusters),
        "named_is_near_best": clustered(
            [row["is_near_best"] for row in named], [row["target"] for row in named]
        ),
        **{name: clustered([row[name] for row in rows], clusters) for name in names},
    }


def _reliability(looks: list[dict[str, Any]]) -> dict[str, Any]:
    clusters = [row["target"] for row in looks]
    return {
        stated: reliability(
            [row[stated] for row in looks], [row[f"is_{true}"] for row in looks], clusters
        )
        for true in ("best", "near_best")
        for stated in (f"probability_{true}", f"foretold_{true}")
    }
