"""Expected seconds of runs."""

import polars
import pytest

from xferpipe.evidence.cost import expected_seconds
from xferpipe.evidence.history import EarlierTarget

PAIRS = polars.DataFrame(
    {"model": ["small", "small", "large", "large"], "recipe": ["head", "full"] * 2}
)
ZOO = polars.DataFrame({"model": ["small", "large"], "parameters": [1_000_000, 16_000_000]})


def runs(*rows: tuple[str, str, float]) -> polars.DataFrame:
    schema = {"model": polars.String, "recipe": polars.String, "seconds": polars.Float64}
    return polars.DataFrame(rows, schema=schema, orient="row")


def test_seconds_of_a_timed_pair_are_its_own_and_teach_the_others() -> None:
    timed = runs(("small", "head", 2.0), ("small", "full", 40.0), ("small", "full", 40.0))
    found = expected_seconds(PAIRS, timed, ZOO)
    assert found[:2] == pytest.approx([2.0, 40.0], rel=0.05)
    assert found[3] > 5 * found[2]
    assert found[2] > 1.5 * found[0]


def test_seconds_without_runs_grow_with_the_model() -> None:
    none = polars.DataFrame(schema={"model": str, "recipe": str, "seconds": float})
    small, _, large, _ = expected_seconds(PAIRS, none, ZOO)
    assert large == pytest.approx(4 * small)
    assert expected_seconds(PAIRS, none, polars.DataFrame()) == pytest.approx([1.0] * 4)


def test_recipes_take_what_they_took_on_earlier_targets_until_runs_say_otherwise() -> None:
    seconds = {(m, r): s for m in "abc" for r, s in (("head", 1.0), ("full", 20.0))}
    earlier = [
        EarlierTarget(f"t{i}", f"s{i}", dict.fromkeys(seconds, 1.5), {}, seconds=seconds)
        for i in range(9)
    ]
    none = runs()
    found = expected_seconds(PAIRS, none, ZOO, earlier)
    # Logarithms +-log(20) / 2, drawn to 0 as by one more target.
    assert found[1] / found[0] == pytest.approx(20**0.9)
    measured = runs(*[("small", "head", 5.0), ("small", "full", 5.0)] * 3)
    found = expected_seconds(PAIRS, measured, ZOO, earlier)
    assert found[:2] == pytest.approx([5.0, 5.0], rel=0.1)
