"""A model that joins a finished study changes nothing that was stored for the others."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest

from xferpipe.records import read_table


def contents(results: Path, *patterns: str) -> dict[str, bytes]:
    """Return the bytes of every file below `results` that matches."""
    return {
        str(path.relative_to(results)): path.read_bytes()
        for pattern in patterns
        for path in sorted(results.glob(pattern))
    }


@pytest.mark.slow
def test_added_model_leaves_every_stored_score_as_it_was(finished) -> None:
    results = finished.results
    kept = ("scores/**/*.parquet", "features/**/*.safetensors", "zoo/**/*.safetensors")
    before = contents(results, *kept)
    rows = read_table("scores", results / "tables" / "scores.parquet")
    assert len(before) >= 8
    assert rows["value"].is_not_null().any()

    finished.study["zoo"]["second"] = dict(finished.study["zoo"]["drawn"], width=8)
    planned = finished.planned()
    finished.run()

    after = contents(results, *kept)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name not in before}, "the new model was scored"
    assert all("second" in name for name in after if name not in before)
    now = read_table("scores", results / "tables" / "scores.parquet")
    old = now.filter(polars.col("model") != "second")
    # Seconds are compared too: not one old row was computed again.
    assert old.equals(rows, null_equal=True)
    assert set(now["model"]) - set(rows["model"]) == {"second"}
    assert {job.split()[0] for job in planned} == {
        *("load_weights", "cost", "features", "scores", "finetune"),
        *("aggregate", "report", "figures"),
    }
