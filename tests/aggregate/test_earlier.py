"""What other targets say: no target hears of its own data set."""

from pathlib import Path

import polars
import pytest
from study_rows import MODELS, gathered, job, study

from xferpipe.aggregate.earlier import Earlier
from xferpipe.evidence.prior import standing_before
from xferpipe.records import empty, load_table, write_table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "made_up" / "tables"
    gathered(job(), study(folder.parent), folder)
    return folder


def test_list_of_earlier_targets_is_judged_as_a_score_is(tables: Path) -> None:
    rows = load_table("selection", tables).filter(method="earlier_targets")
    # Two neighbours of five change places from one target to the other: 1 - 6 x 2 / (5 x 24).
    assert set(rows["target"].drop_nulls()) == {"t", "u"}
    assert rows.drop_nulls("spearman")["spearman"].min() == pytest.approx(0.9)


def test_a_target_is_not_told_of_its_own_data_set(tables: Path, tmp_path: Path) -> None:
    for name in ("finetunes", "retrieval", "scores", "zoo", "targets"):
        write_table(name, load_table(name, tables), tmp_path / f"{name}.parquet")
    scores = load_table("scores", tables)
    told = Earlier(tmp_path, "made_up", []).of("t")
    assert [one.name for one in told] == ["made_up/u/full"]
    rows = Earlier(tmp_path, "made_up", []).score_rows(scores).filter(target="t")
    assert dict(rows.select("model", "value").rows()) == standing_before(MODELS, told)
    same = load_table("targets", tables).with_columns(dataset=polars.lit("one"))
    write_table("targets", same, tmp_path / "targets.parquet")
    assert Earlier(tmp_path, "made_up", []).of("t") == []
    assert Earlier(tmp_path, "made_up", []).score_rows(scores).equals(empty("scores"))
