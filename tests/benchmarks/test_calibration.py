"""The calibration's summary counts as it says, and its studies are looked at as they are."""

import pytest
from benchmarks.calibration import Found, raced, study_of, summary
from benchmarks.replays.settings import Kind, kinds
from benchmarks.replays.simulated import history_of
from tests.evidence.simulated import NEW, Setting, generate

CLEAR = Setting(models=3, effects=(0.1, 0.0, -0.1), model_spread=0.05, validation_images=2000)


def test_summary_counts_named_and_right():
    blank = Found(0.5, 0.5, 0, 0, 0, 0, 1, 0.5, 0.02, 0.01, 4)
    named = blank._replace(probability_best=0.96, named=1, right=1, strict=0, regret=0.0)
    wrong = named._replace(probability_best=0.92, right=0)
    found = summary([blank, named, wrong, blank])
    assert found["named"]["share"] == 0.5
    assert found["named"]["error"] == pytest.approx(0.2887, abs=1e-4)
    assert found["named_probability"] == pytest.approx(0.94)
    assert found["named_right"]["share"] == 0.5
    assert found["named_strictly_right"]["share"] == 0
    assert found["settled_right"] is None
    assert [(one["from"], one["studies"]) for one in found["probability_best"]] == [
        (0.5, 2),
        (0.9, 1),
        (0.95, 1),
    ]


def test_study_with_a_clear_best_names_it():
    found = study_of(Kind(CLEAR, 2), 0, seed=0)
    assert found.named
    assert found.right == found.strict == 1
    assert found.runs == 6


def test_study_without_runs_names_nothing():
    found = study_of(Kind(CLEAR, 0), 0, seed=0)
    assert not found.named
    assert found.runs == 0


def test_adaptive_study_stops_before_all_runs_where_the_best_is_clear():
    found = study_of(Kind(CLEAR, None), 0, seed=0)
    assert found.right
    assert 2 <= found.runs < 6


def test_race_knows_only_the_runs_it_asked_for():
    (study,) = generate(CLEAR, 1, 3)
    runs, scores, truth = (frame.filter(target=NEW) for frame in study)
    seen = raced(runs, scores, truth, history_of(study).clear(), 2, 0)
    assert not seen.select("model", "recipe", "seed").is_duplicated().any()
    assert seen.join(runs, on=["model", "recipe", "seed", "validation"], how="anti").is_empty()


def test_settings_are_the_ones_asked_for():
    names = kinds()
    for words in ("null", "rho 0.95", "spread 0.01", "1000 images", "misleading", "adaptive"):
        assert any(words in name for name in names)
    assert all(kind.setting.seeds >= (kind.seeds or 0) for kind in names.values())
