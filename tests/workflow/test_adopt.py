"""`xferpipe adopt`: what another folder's keys allow, on a finished run of the real workflow."""

import json
import os
import shutil
from dataclasses import replace

import polars
import pyarrow.parquet
import pytest
import yaml
from typer.testing import CliRunner

from xferpipe.cli import application
from xferpipe.records.stamp import read_stamp

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("witness")]

END = {"aggregate", "report", "figures"}


def adopt(workflow, *words):
    """Run the command for a study; return its exit code and findings by path."""
    workflow.directory.mkdir(parents=True, exist_ok=True)
    file = workflow.directory / "study.yaml"
    file.write_text(yaml.safe_dump(workflow.study, sort_keys=False))
    options = ["--configfile", str(file), "--directory", str(workflow.directory), "--json"]
    options += ["--snakefile", str(workflow.root / "Snakefile")]
    done = CliRunner().invoke(application(), ["adopt", *map(str, words), *options])
    assert done.exit_code in (0, 1), (done.output, done.exception)
    return done.exit_code, {finding["path"]: finding for finding in json.loads(done.stdout)}


def verdicts(findings):
    return {finding["verdict"] for finding in findings.values()}


def test_results_of_the_same_study_are_adopted_and_nothing_is_left_to_run(finished, tmp_path):
    other = replace(finished, directory=tmp_path / "other")
    code, findings = adopt(other, finished.results)
    assert (code, verdicts(findings)) == (0, {"adopted"})
    assert len(findings) > 80
    assert other.planned() == set()
    assert adopt(other)[0] == 0
    assert verdicts(adopt(other)[1]) == {"present"}
    other.study["selection"]["confidence"] = 0.9
    assert other.planned() == END, "the times of the adopted jobs are there, too"


def test_another_study_adopts_what_it_shares_and_says_why_not_the_rest(finished, tmp_path):
    other = finished.copy(tmp_path / "other")
    shutil.rmtree(other.results)
    other.study["name"] = "another"
    other.study["finetuning_recipes"]["head"]["lr"] = 0.06
    code, findings = adopt(other, finished.results)
    assert code == 1
    refused = {path: f for path, f in findings.items() if f["verdict"] == "refused"}
    run = "finetune/digits/full/trained/head/seed0/run.parquet"
    assert refused[run]["reason"] == "changed: recipe.lr 0.05 -> 0.06"
    assert {path.split("/")[0] for path in refused} == {
        *("finetune", "tables", "figures", "report.html")
    }
    assert findings["zoo/trained/weights.safetensors"]["verdict"] == "adopted"
    assert other.planned() == {"finetune digits/full/trained/head/0"} | END


@pytest.mark.parametrize("how", ["edited", "edited with its key", "cut", "older"])
def test_file_without_a_key_of_its_own_is_never_adopted(finished, how, tmp_path):
    path = "finetune/digits/full/trained/head/seed0/run.parquet"
    run = finished.results / path
    if how == "cut":
        run.write_bytes(run.read_bytes()[:-20])
    elif how == "older":
        polars.read_parquet(run).write_parquet(run)
    else:
        kept = pyarrow.parquet.read_metadata(run).metadata
        rows = polars.read_parquet(run).with_columns(test_accuracy=polars.lit(1.0)).to_arrow()
        with pyarrow.parquet.ParquetWriter(run, rows.schema) as writer:
            writer.write_table(rows)
            if how == "edited with its key":
                writer.add_key_value_metadata(
                    {k.decode(): v.decode() for k, v in kept.items() if k.startswith(b"xferpipe")}
                )
    before = run.read_bytes()
    other = replace(finished, directory=tmp_path / "other")
    code, findings = adopt(other, finished.results)
    assert code == 1
    assert findings[path]["verdict"] == "refused"
    assert findings[path]["reason"]
    assert not (other.results / path).exists()
    assert run.read_bytes() == before
    assert sum(finding["verdict"] == "refused" for finding in findings.values()) == 1


def test_stale_result_of_ones_own_is_replaced_by_one_with_the_right_key(finished, tmp_path):
    other = finished.copy(tmp_path / "other")
    other.study["finetuning_recipes"]["head"]["lr"] = 0.06
    run = "finetune/digits/full/trained/head/seed0/run.parquet"
    other.run(f"results/tiny/{run}")
    stale = read_stamp(other.results / run)
    other.study["finetuning_recipes"]["head"]["lr"] = 0.05
    os.utime(other.results / run)
    _, findings = adopt(other, finished.results)
    assert findings[run]["verdict"] == "adopted"
    assert read_stamp(other.results / run) != stale
    assert other.planned() == set()
