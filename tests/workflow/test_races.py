"""Races in the real workflow: rounds of runs, a kill, edits, and budgets that grow."""

import os
import re
import signal
import subprocess
import sys
import time

import polars
import pytest
from filelock import FileLock

from xferpipe.records import read_table

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("races")]

END = {"aggregate", "report", "figures", "export digits/full", "export vehicles/full"}
#: What a round decides, as against what it measured.
CHOICE = ["target", "shots", "round", "model", "recipe", "runs", "first_seed", "chosen", "stopped"]
CANDIDATES = [("trained", "sgd"), ("trained", "head"), ("drawn", "sgd"), ("drawn", "head")]


@pytest.fixture(scope="session")
def raced_run(tmp_path_factory, new_workflow):
    """One finished run of a study with two races: a class target with a grid, a retrieval one."""
    import copy

    from tests.conftest import TINY

    study = copy.deepcopy(TINY)
    study["name"] = "raced"
    study["finetunes"] = [{"targets": ["digits"], "models": ["drawn"], "recipes": ["sgd"]}]
    # So sure is nothing: the races end with their budgets.
    sure = {"confidence": 0.9999, "indifference": 0.0001}
    study["choose"] = [
        {"targets": ["digits"], "budget": {"runs": 5}, **sure},
        {"targets": ["vehicles"], "recipes": ["sgd"], "budget": {"runs": 2}, "batch": 1, **sure},
    ]
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    workflow = new_workflow(base / "raced_run", study)
    with FileLock(base / "raced_run.lock"):
        if not (base / "raced_run.done").exists():
            (base / "raced_run.done").write_text(workflow.run().stderr)
    return workflow


@pytest.fixture
def raced(raced_run, tmp_path):
    """A copy of the finished run."""
    return raced_run.copy(tmp_path / "study")


def table(workflow, name):
    return read_table(name, workflow.results / "tables" / f"{name}.parquet", ours=True)


def decision_file(workflow, number, target="digits"):
    return workflow.results / f"choose/{target}/full/round{number}/decision.parquet"


def choices(workflow, target="digits"):
    return table(workflow, "decisions").filter(target=target).select(CHOICE)


def run_states(workflow):
    """Return when each fine-tune's row was written, by its path."""
    return {
        str(path.relative_to(workflow.results)): path.stat().st_mtime_ns
        for path in workflow.results.glob("finetune/**/run.parquet")
    }


def test_race_ends_with_all_rounds_in_the_tables_and_a_report(raced_run):
    decisions, runs = table(raced_run, "decisions"), table(raced_run, "finetunes")
    for target, budget, last in (("digits", 5, 2), ("vehicles", 2, 2)):
        rounds = decisions.filter(target=target)
        assert rounds["round"].unique().sort().to_list() == list(range(last + 1))
        assert rounds.filter(polars.col("round") < last)["stopped"].null_count() == last * len(
            rounds.filter(round=0)
        )
        assert rounds.filter(round=last)["stopped"].unique().to_list() == [
            f"the budget of {budget} runs is spent"
        ]
        assert runs.filter(target=target).height == budget
    asked = decisions.filter(target="digits").group_by("round", maintain_order=True)
    assert asked.agg(polars.col("chosen").sum())["chosen"].to_list() == [2, 2, 0]
    # The run of the grid is one of the race: it was not asked for, and it was counted.
    assert decisions.filter(target="digits", round=0, model="drawn", recipe="sgd")["runs"][0] == 1
    assert (raced_run.results / "report.html").stat().st_size > 100_000
    assert len(list(raced_run.results.glob("retrieval/**/retrieval.parquet"))) == 2


def test_model_that_the_answer_picks_is_exported_for_each_race(raced_run, tmp_path):
    import torch

    from xferpipe.handover.bundle import read_bundle, write_bundle
    from xferpipe.handover.winner import winner
    from xferpipe.records.stamp import read_stamp

    answers = table(raced_run, "answers")
    for target in ("digits", "vehicles"):
        folder = raced_run.results / "export" / target / "full"
        bundle = read_bundle(folder)
        picked = answers.filter("pick", target=target).select("model", "recipe").rows()
        assert [(bundle.about.model, bundle.about.recipe)] == picked
        stamps = {read_stamp(path) for path in folder.iterdir()}
        assert {stamp.job for stamp in stamps} == {f"export {target}/full"}
        chosen = winner(raced_run.results / "tables", target)
        write_bundle(chosen, tmp_path / target)
        by_command = read_bundle(tmp_path / target)
        assert by_command.about == bundle.about
        pairs = zip(by_command.model.parameters(), bundle.model.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_finished_race_has_nothing_to_do(raced):
    assert raced.planned() == set()


def test_console_tells_what_each_round_decided(raced_run):
    told = raced_run.directory.with_suffix(".done").read_text()
    # Which is first follows from the history that ships.
    first = r"choose the next runs on digits: all images, round 0: next \w+ with \w+"
    assert re.search(first, told)
    assert "round 2: the race ends, the budget of 5 runs is spent" in told
    counts = [line.split("]")[0].strip("[ ") for line in told.splitlines() if line.startswith("[")]
    done, total = counts[-1].split("/")
    assert done == total
    assert f"{total} jobs done" in told


def told_plan(workflow):
    words = [sys.executable, "-c", "from xferpipe.cli import main; main()", "plan"]
    words += ["--directory", str(workflow.directory)]
    words += ["--snakefile", str(workflow.root / "Snakefile"), "--configfile"]
    workflow.command()
    done = subprocess.run(
        [*words, str(workflow.directory / "study.yaml")],
        env=workflow.variables(),
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout


def test_plan_tells_the_certain_jobs_the_most_that_races_cost_and_their_open_rounds(raced):
    told = told_plan(raced)
    assert told.splitlines()[0] == "Nothing to do: every result is up to date."
    assert "race on digits: all images: ended with round 2 after 5 runs: the budget of" in told
    raced.study["choose"][0]["budget"] = {"runs": 20}
    told = told_plan(raced)
    # Candidates and seeds leave 12 runs, of which the grid has one.
    assert "race on digits: all images: round 0 is open; 1 runs are done or certain, and" in told
    assert "at most 11 more, about" in told
    assert "race on vehicles: all images: ended with round 2" in told
    assert raced.planned() == {"choose digits/full/0"} | END


@pytest.mark.parametrize("edit", ["by another program", "under its own stamp", "deleted"])
def test_edited_round_is_made_anew_and_decides_the_same(raced, edit):
    before, runs = choices(raced), run_states(raced)
    file = decision_file(raced, 1)
    rows = polars.read_parquet(file).with_columns(chosen=polars.lit(0), stopped=polars.lit("mine"))
    if edit == "by another program":
        rows.write_parquet(file)
    elif edit == "under its own stamp":
        import pyarrow.parquet

        kept = pyarrow.parquet.read_metadata(file).metadata
        edited = rows.to_arrow()
        with pyarrow.parquet.ParquetWriter(file, edited.schema) as writer:
            writer.write_table(edited)
            writer.add_key_value_metadata({k: v for k, v in kept.items() if b"xferpipe" in k})
    else:
        file.unlink()
    planned = raced.planned()
    assert "choose digits/full/1" in planned
    assert not any(job.startswith("finetune") for job in planned)
    raced.run()
    assert choices(raced).equals(before)
    assert run_states(raced) == runs
    assert raced.planned() == set()


@pytest.mark.slow
def test_race_of_fewer_candidates_reads_no_file_of_a_dropped_round(raced):
    raced.study["choose"][0] |= {"models": ["trained"], "seeds": 1}
    raced.run()
    found = choices(raced)
    assert found["model"].unique().to_list() == ["trained"]
    assert found["round"].max() == 1
    assert found.filter(round=1)["stopped"][0] == "every pair has had its 1 runs"
    assert decision_file(raced, 2).exists()
    runs = table(raced, "finetunes").filter(target="digits")
    assert set(zip(runs["model"], runs["recipe"], runs["seed"], strict=True)) == {
        ("drawn", "sgd", 0),
        ("trained", "sgd", 0),
        ("trained", "head", 0),
    }
    assert raced.planned() == set()


@pytest.mark.slow
def test_raised_budget_goes_on_and_makes_no_run_twice(raced):
    runs, before = run_states(raced), choices(raced)
    raced.study["choose"][0]["budget"] = {"runs": 6}
    raced.run()
    after = run_states(raced)
    assert {path: after[path] for path in runs} == runs
    assert len(after) == len(runs) + 1
    going_on = before.filter(polars.col("round") < 2)
    assert choices(raced).filter(polars.col("round") < 2).equals(going_on)
    assert choices(raced)["round"].max() == 3


def test_benchmark_after_a_race_runs_what_the_race_left_out(raced):
    done = {
        (model, recipe, seed)
        for model, recipe, seed in table(raced, "finetunes")
        .filter(target="digits")
        .select("model", "recipe", "seed")
        .iter_rows()
    }
    raced.study["finetunes"] = [{"targets": ["digits"], "recipes": ["sgd", "head"]}]
    planned = {job for job in raced.planned() if job.startswith("finetune")}
    missing = [pair for pair in CANDIDATES if (*pair, 0) not in done]
    assert planned == {f"finetune digits/full/{m}/{r}/0" for m, r in missing}


def test_model_that_is_no_candidate_leaves_the_race_alone(raced):
    for race in raced.study["choose"]:
        race["models"] = ["trained", "drawn"]
    raced.study["zoo"]["third"] = dict(raced.study["zoo"]["drawn"], width=6)
    raced.study["finetunes"].append(
        {"targets": ["digits"], "models": ["third"], "recipes": ["sgd"]}
    )
    planned = raced.planned()
    assert "finetune digits/full/third/sgd/0" in planned
    assert not any(job.startswith("choose") for job in planned)


@pytest.mark.slow
def test_run_that_is_made_again_keeps_its_seconds_and_the_decisions(raced):
    run = "finetune/digits/full/trained/sgd/seed0"
    before = read_table("finetunes", raced.results / run / "run.parquet")
    decisions = table(raced, "decisions")
    for file in (raced.results / run).iterdir():
        file.unlink()
    raced.run()
    after = read_table("finetunes", raced.results / run / "run.parquet", ours=True)
    assert after["seconds"].equals(before["seconds"])
    assert after["validation_accuracy"].equals(before["validation_accuracy"])
    assert table(raced, "decisions").equals(decisions)


@pytest.mark.slow
def test_diverged_run_is_an_observation_and_costs_budget(raced):
    raced.study["finetuning_recipes"]["wild"] = {"epochs": 1, "batch_size": 16, "lr": 1e30}
    raced.study["choose"] = [
        {
            "targets": ["digits"],
            "models": ["drawn"],
            "recipes": ["sgd", "wild"],
            "budget": {"runs": 3},
            "batch": 1,
            "confidence": 0.9999,
            "indifference": 0.0001,
        }
    ]
    raced.run()
    runs = table(raced, "finetunes").filter(target="digits")
    wild = runs.filter(recipe="wild")
    assert set(wild["status"]) == {"diverged"}
    assert runs.height == 3
    last = table(raced, "decisions").filter(polars.col("stopped").is_not_null())
    (foretold,) = last.filter(recipe="wild").rows(named=True)
    assert foretold["runs"] == wild.height
    assert foretold["probability_best"] < 0.1


@pytest.mark.slow
def test_rounds_that_were_decided_before_a_kill_stand_when_the_race_goes_on(raced_run, tmp_path):
    killed = raced_run.copy(tmp_path / "study")
    import shutil

    shutil.rmtree(killed.results)
    shutil.rmtree(killed.directory / ".snakemake")
    stood = {}
    for file in ("choose/digits/full/round0/decision.parquet", "finetune/digits/full/trained"):
        process = subprocess.Popen(
            killed.command(),
            env=killed.variables(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not (killed.results / file).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed.run("--unlock")
        for path in killed.results.glob("choose/**/decision.parquet"):
            stood.setdefault(path, polars.read_parquet(path))
    killed.run()
    assert stood
    for path, decided in stood.items():
        assert polars.read_parquet(path).equals(decided)
    # Another run has other times, by which gains are weighed: it may choose otherwise. Runs that
    # both made are the same, and both spend their budgets.
    key = ["target", "model", "recipe", "seed"]
    figures = ["validation_accuracy", "test_accuracy"]
    ours, theirs = (
        table(study, "finetunes").select(*key, *figures) for study in (killed, raced_run)
    )
    assert ours.height == theirs.height == ours.select(key).n_unique()
    both = ours.join(theirs, on=key, how="inner")
    assert both.height
    for figure in figures:
        assert both[figure].equals(both[f"{figure}_right"], null_equal=True)
    assert killed.planned() == set()


def prune(workflow, *options):
    """Run `xferpipe prune`; return what it lists."""
    import json

    workflow.command()
    words = [sys.executable, "-c", "from xferpipe.cli import main; main()", "prune", "--json"]
    words += [
        "--directory",
        str(workflow.directory),
        "--snakefile",
        str(workflow.root / "Snakefile"),
    ]
    done = subprocess.run(
        [*words, "--configfile", str(workflow.directory / "study.yaml"), *options],
        env=workflow.variables(),
        text=True,
        capture_output=True,
        check=True,
    )
    return {loser["path"] for loser in json.loads(done.stdout)}


@pytest.mark.slow
def test_pruned_weights_of_losers_run_nothing_again(raced):
    weights = {
        str(path.relative_to(raced.results))
        for path in raced.results.glob("finetune/**/weights.safetensors")
    }
    assert prune(raced) == set()
    for race in raced.study["choose"]:
        race |= {"keep": "winner", "indifference": 0, "confidence": 0.9}
    # Other rules make new rounds, of the same runs; then the races have ended again.
    assert prune(raced) == set()
    raced.run()
    listed = prune(raced)
    rows = table(raced, "finetunes").select("target", "shots", "model", "recipe", "seed").rows()
    asked = {
        f"finetune/{'/'.join(row[:-1])}/seed{row[-1]}"
        for row in ([str(one) for one in run] for run in rows)
    }
    weights = {path for path in weights if path.removesuffix("/weights.safetensors") in asked}
    top = {
        (row["target"], row["model"], row["recipe"])
        for row in table(raced, "decisions")
        .filter("top", polars.col("stopped").is_not_null())
        .iter_rows(named=True)
    }
    kept = {path for path in weights if (path.split("/")[1], *path.split("/")[3:5]) in top}
    grid = {path for path in weights if "digits/full/drawn/sgd/seed0" in path}
    assert listed == weights - kept - grid
    assert listed
    assert all((raced.results / path).exists() for path in listed)
    assert prune(raced, "--yes") == listed
    assert not any((raced.results / path).exists() for path in listed)
    assert prune(raced) == set()
    assert raced.planned() == set()


def test_history_that_is_no_table_ends_the_run_before_any_job(raced):
    (raced.directory / "earlier.parquet").write_text("model,target\n")
    raced.study["history"] = ["earlier.parquet"]
    done = raced.run("--dry-run", ok=False)
    output = done.stdout + done.stderr
    assert "history[0]: earlier.parquet cannot be read as Parquet" in output
    assert "name a table of an earlier study" in output
