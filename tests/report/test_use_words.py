"""Where the weights lie, and lines that a person can paste."""

from __future__ import annotations

import polars
import pytest
from typer.testing import CliRunner

from xferpipe.cli import application
from xferpipe.records import result_files, write_table
from xferpipe.report.evidence import load
from xferpipe.report.use_words import python_lines, uses


def test_weights_are_those_of_the_run_that_export_hands_over(full_study):
    job, tables, _ = full_study
    evidence = load(job, result_files(tables))
    runs = evidence["finetunes"].filter(
        target="digits_high", model="digits_low_resnet14", recipe="gentle"
    )
    best = runs.sort("validation_accuracy", "seed", descending=[True, False])["seed"][0]
    use = uses(evidence)[0]
    assert use.weights == (
        f"finetune/digits_high/full/digits_low_resnet14/gentle/seed{best}/weights.safetensors"
    )
    assert use.run == f"digits_low_resnet14, gentle, seed {best}"


def test_commands_are_ones_that_the_program_knows(full_study):
    """The export fails on weights that the fixture has not, and on nothing before."""
    job, tables, _ = full_study
    use = uses(load(job, result_files(tables)))[0]
    export, predict = (command.split()[1:] for command in use.commands)
    assert predict[0] == "predict"
    export[export.index("--tables") + 1] = str(tables)
    result = CliRunner().invoke(application(), export)
    assert "weights are gone" in str(result.exception)


@pytest.mark.parametrize("is_timm", [True, False])
def test_python_is_five_lines_that_compile(is_timm):
    lines = python_lines(is_timm=is_timm)
    assert len(lines) == 5
    compile("\n".join(lines), "lines", "exec")


def test_model_of_timm_is_opened_by_timm_unless_it_was_operated_on(full_study, tmp_path):
    job, tables, _ = full_study
    zoo = polars.read_parquet(tables / "zoo.parquet")
    zoo = zoo.with_columns(architecture=polars.lit("timm:resnet10t"))
    write_table("zoo", zoo, tmp_path / "zoo.parquet")
    files = result_files(tables) | {"zoo": tmp_path / "zoo.parquet"}
    by_timm = [use.python[0] == "import timm" for use in uses(load(job, files))]
    assert by_timm == [True, True, False]  # the last one ranks: it has no classes to name
    changed = {"gentle": {"surgery": {"head": "fc512"}}}
    job = type(job).model_validate(job.model_dump() | {"recipes": changed})
    assert not any(use.python[0] == "import timm" for use in uses(load(job, files)))
