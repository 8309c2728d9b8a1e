"""Forked jobs write what cold ones write, and nothing outlives a run."""

import polars
import psutil
import pytest

from xferpipe.graph.warm import VARIABLE
from xferpipe.records import read_table

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("warm")]

ENDS = [
    "results/tiny/finetune/digits/full/trained/sgd/seed0/weights.safetensors",
    "results/tiny/finetune/digits/full/trained/head/seed0/weights.safetensors",
    "results/tiny/scores/digits/full/trained/scores.parquet",
]
#: Files without times in them.
EQUAL = ("weights.safetensors", "class_means.safetensors", "images.npy", "manifest.parquet")


def contents(folder):
    """Return the bytes of every file that must not differ from run to run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.name in EQUAL
    }


def test_warm_and_cold_jobs_write_the_same_bytes(finished_run, tiny_study, tmp_path, new_workflow):
    cold = new_workflow(tmp_path, tiny_study, environment={VARIABLE: "off"})
    cold.run(*ENDS)
    assert not list(cold.results.glob("benchmarks/**/*.json"))
    assert list(finished_run.results.glob("benchmarks/**/*.json"))
    written, expected = contents(cold.results), contents(finished_run.results)
    assert len(written) == 8
    assert [name for name in written if written[name] != expected[name]] == []


def test_runtime_of_forked_jobs_is_theirs_and_not_that_of_who_waits_for_them(finished_run):
    runtime = read_table("runtime", finished_run.results / "tables" / "runtime.parquet")
    trainings = runtime.filter(polars.col("stage").is_in(["pretrain", "finetune"]))
    assert trainings.height == 5
    assert trainings["cpu_seconds"].min() > 0.3
    assert trainings["peak_mib"].min() > 200
    assert (trainings["seconds"] > 0).all()


def test_nothing_of_a_run_is_left_when_it_has_ended(tiny_study, tmp_path, new_workflow):
    # Unset for its Snakemake: a warm process of its own, not the one that tests share.
    workflow = new_workflow(tmp_path, tiny_study, environment={VARIABLE: ""})
    workflow.run("results/tiny/pack/digits/images.npy")
    assert list(workflow.results.glob("benchmarks/pack/*.json"))
    processes = [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(workflow.directory)
    ]
    # The warm process learns of Snakemake's end, and ends after it.
    _, left = psutil.wait_procs(processes, timeout=10)
    assert [process.info["cmdline"] for process in left] == []


EDITED = """
import pathlib, sys
from xferpipe.graph.rules import Rules
write_plan = Rules.write_plan
def edit(self):
    write_plan(self)
    if pathlib.Path({written!r}).exists() and "ADDED" not in (text := source.read_text()):
        source.write_text(text + "\\nADDED = 1\\n")
source = pathlib.Path({source!r})
Rules.write_plan = edit
from snakemake.cli import main
main(sys.argv[1:])
"""


def test_code_edited_while_the_warm_process_runs_is_refused(tiny_study, tmp_path, new_workflow):
    workflow = new_workflow(tmp_path / "run", tiny_study)
    source = workflow.copy_source(tmp_path / "copy") / "stages" / "features.py"
    target = "results/tiny/features/digits/full/drawn/features.safetensors"
    written = workflow.results / "pack" / "digits" / "images.npy"
    script = EDITED.format(source=str(source), written=str(written))
    done = workflow.run_script(script, target)
    assert done.returncode != 0
    assert list(workflow.results.glob("benchmarks/pack/*.json"))
    assert "the code of stage features changed after the workflow" in done.stdout + done.stderr
    assert not (workflow.directory / target).exists()
