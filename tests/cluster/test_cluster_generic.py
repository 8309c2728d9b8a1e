"""The profile for other schedulers, with stand-ins for PBS that run what they are given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest
import yaml

from xferpipe.records import read_table
from xferpipe.records.stamp import read_stamp

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "profiles" / "cluster-generic"

QSUB = """\
#!/bin/sh
# Notes what was asked for, runs the job script in the background, and prints the job's number.
# Where there is a file `hold`, the job waits in the queue until that is gone.
id=$(ls "$PBS" | grep -c asked)
printf '%s\\n' "$*" > "$PBS/$id.asked"
for script; do :; done
(
    while [ -f "$PBS/hold" ]; do sleep 0.1; done
    sh "$script" > "$PBS/$id.out" 2>&1
    echo $? > "$PBS/$id.ended"
    mv "$PBS/$id.ended" "$PBS/$id.status"
) > /dev/null 2>&1 &
echo "$id.server"
"""
QSTAT = """\
#!/bin/sh
for id; do :; done
id=${id%.server}
[ -f "$PBS/$id.asked" ] || exit 35
echo "Job Id: $id.server"
if [ -f "$PBS/$id.status" ]; then
    printf '    job_state = F\\n    Exit_status = %s\\n' "$(cat "$PBS/$id.status")"
else
    printf '    job_state = R\\n'
fi
"""


@pytest.fixture
def pbs(tmp_path, monkeypatch):
    """Folder of a scheduler of one machine, its commands first on PATH."""
    programs, state = tmp_path / "bin", tmp_path / "pbs"
    programs.mkdir()
    state.mkdir()
    for name, text in (("qsub", QSUB), ("qstat", QSTAT)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PBS", str(state))
    return state


def command(study, *targets):
    """Return the command line of a run through the profile."""
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(PROFILE)),
        *("--directory", str(study.parent)),
        *("--seconds-between-status-checks", "1", "--retries", "0"),
        # A run ends with the span that its last job was counted in.
        *("--max-jobs-per-timespan", "60/1s"),
        *("--configfile", str(study), "--", *targets),
    ]


@pytest.fixture
def study(tmp_path):
    """The file of a study in a folder to run it in."""
    file = tmp_path / "run" / "study.yaml"
    file.parent.mkdir()
    shutil.copy(ROOT / "tests" / "faults" / "study.yaml", file)
    return file


PACKED = "results/faults/pack/digits/images.npy"
MANIFEST = "results/faults/manifest/digits/manifest.parquet"


@pytest.mark.workflow
def test_group_of_short_jobs_runs_through_another_scheduler(pbs, study):
    done = subprocess.run(
        command(study, PACKED), text=True, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (study.parent / PACKED).exists()
    (asked,) = (path.read_text() for path in pbs.glob("*.asked"))
    assert "ncpus=1:mem=4000mb:ngpus=0" in asked, "not the larger of the two jobs' needs"
    assert "walltime=150:00" in asked, "not the sum of the two jobs' times"


@contextmanager
def queued(pbs, study, target, **variables):
    """Hold a run's first jobs in the queue for the block; then let them run to the end."""
    (pbs / "hold").touch()
    log = pbs / "snakemake.log"
    with log.open("wb") as file:
        run = subprocess.Popen(
            command(study, target), env={**os.environ, **variables}, stdout=file, stderr=file
        )
        try:
            deadline = time.monotonic() + 60
            while not list(pbs.glob("*.asked")):
                assert run.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield run
            (pbs / "hold").unlink()
            run.wait(240)
        finally:
            (pbs / "hold").unlink(missing_ok=True)
            if run.poll() is None:
                run.kill()


def jobs_planned(study, target):
    """Return what a run on this machine would do now."""
    done = subprocess.run(
        [
            *command(study, target)[:-2],
            "--executor",
            "local",
            "-n",
            "--quiet",
            "rules",
            "--",
            target,
        ],
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout + done.stderr


@pytest.mark.workflow
def test_job_that_waits_in_a_queue_follows_the_study_as_it_was_submitted(pbs, study):
    """A group of two jobs; its process evaluates the workflow anew, and so do theirs."""
    before = study.read_text()
    with queued(pbs, study, PACKED) as run:
        study.write_text(before.replace("per_class: 30", "per_class: 9"))
    assert run.returncode == 0, (pbs / "snakemake.log").read_text()
    assert numpy.load(study.parent / PACKED).shape[0] > 90
    found = read_stamp(study.parent / PACKED)
    assert '"image_px":16' in found.slice
    assert "manifest" in jobs_planned(study, PACKED)
    study.write_text(before)
    assert "Nothing to do" in jobs_planned(study, PACKED)


@pytest.mark.workflow
def test_job_that_waits_in_a_queue_refuses_code_that_was_edited_meanwhile(pbs, study, tmp_path):
    source = tmp_path / "copy" / "src"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "xferpipe", source / "xferpipe", ignore=ignored)
    shutil.copytree(ROOT / "csrc", source.parent / "csrc")
    variables = {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    reader = source / "xferpipe" / "datasets" / "readers" / "digits.py"
    with queued(pbs, study, PACKED, **variables) as run:
        reader.write_text(reader.read_text() + "\nADDED = 1\n")
    assert run.returncode != 0
    log = (study.parent / "results/faults/logs/manifest/digits.log").read_text()
    assert "the code of stage manifest changed after the workflow was planned" in log
    assert not (study.parent / "results/faults/manifest/digits/manifest.parquet").exists()


@pytest.mark.workflow
def test_job_of_a_killed_run_that_starts_after_the_next_run_stores_nothing(pbs, study):
    """Its Snakemake is killed while it waits; the next run, with another value, is over first."""
    other = study.with_name("other.yaml")
    text = study.read_text()
    other.write_text(text.replace("per_class: 30", "per_class: 9"))
    (pbs / "hold").touch()
    first = subprocess.Popen(
        command(study, PACKED), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(pbs.glob("*.asked")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    first.wait()
    local = [*command(other, PACKED)[:-2], "--executor", "local", "--cores", "2"]
    for options in (["--unlock"], ["--", PACKED]):
        subprocess.run([*local, *options], check=True, capture_output=True)
    stored = read_stamp(study.parent / PACKED)
    (pbs / "hold").unlink()
    deadline = time.monotonic() + 120
    while not list(pbs.glob("*.status")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (output,) = (path.read_text() for path in pbs.glob("*.out"))
    assert "a later run of this study planned it with" in output
    assert read_stamp(study.parent / PACKED) == stored
    assert read_stamp(study.parent / MANIFEST), "the job that came too late removed it"
    assert "Nothing to do" in jobs_planned(other, PACKED)


@pytest.mark.slow
@pytest.mark.workflow
def test_job_of_a_killed_run_that_ends_after_the_next_run_leaves_its_outputs(pbs, study, tmp_path):
    """Its own Snakemake, which removes what a failed job wrote, must not remove that run's."""
    run = "results/faults/finetune/digits/full/drawn/sgd/seed0/run.parquet"
    other = study.with_name("other.yaml")
    text = study.read_text()
    other.write_text(text.replace("epochs: 6", "epochs: 1"))
    study.write_text(text.replace("epochs: 6", "epochs: 400"))
    first = subprocess.Popen(
        command(study, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    owners = study.parent / "results/faults/.xferpipe/owners"
    deadline = time.monotonic() + 120
    while not list(owners.glob("finetune-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    first.wait()
    local = [*command(other, run)[:-2], "--executor", "local", "--cores", "2"]
    for options in (["--unlock"], ["--", run]):
        subprocess.run([*local, *options], check=True, capture_output=True)
    assert len(list(pbs.glob("*.status"))) == len(list(pbs.glob("*.asked"))) - 1, "too early"
    deadline = time.monotonic() + 240
    while len(list(pbs.glob("*.status"))) < len(list(pbs.glob("*.asked"))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    said = "".join(path.read_text() for path in pbs.glob("*.out"))
    assert "was started again by a later run" in said
    assert "Nothing to do" in jobs_planned(other, run)
    for name in ("run.parquet", "epochs.parquet", "weights.safetensors"):
        found = read_stamp(study.parent / run).slice
        assert (study.parent / run).with_name(name).exists()
        assert '"epochs":1,' in found


@pytest.mark.parametrize(
    ("status", "expected"),
    [("0", "success"), ("1", "failed"), ("271", "failed"), (None, "running")],
)
def test_status_of_a_job_is_told_in_snakemakes_words(pbs, status, expected):
    (pbs / "7.asked").touch()
    if status is not None:
        (pbs / "7.status").write_text(status)
    told = subprocess.check_output([PROFILE / "status.sh", "7.server"], text=True)
    assert told == expected + "\n"


def test_status_of_a_job_that_the_scheduler_forgot_is_failed(pbs):
    assert subprocess.check_output([PROFILE / "status.sh", "9.server"], text=True) == "failed\n"


@pytest.mark.slow
@pytest.mark.workflow
def test_race_runs_through_another_scheduler(pbs, study):
    """Each round and run is a process of its own, which takes the rounds from the plan."""
    content = yaml.safe_load(study.read_text())
    recipes = list(content["finetuning_recipes"])[:1]
    content["finetunes"] = []
    content["choose"] = [{"recipes": recipes, "budget": {"runs": 2}, "batch": 1}]
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    words = command(study, "results/faults/tables/decisions.parquet")
    scored = [
        f"results/faults/scores/digits/full/{model}/scores.parquet" for model in content["zoo"]
    ]
    here = [*words[:-2], "--executor", "local", "--cores", "2", "--", *scored]
    subprocess.run(here, check=True, capture_output=True)
    done = subprocess.run(words, text=True, capture_output=True, timeout=560, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = study.parent / "results" / "faults" / "tables"
    decisions = read_table("decisions", tables / "decisions.parquet", ours=True)
    assert decisions["round"].max() == 2
    assert decisions.filter(round=2)["stopped"].unique().to_list() == [
        "the budget of 2 runs is spent"
    ]
    assert read_table("finetunes", tables / "finetunes.parquet").height == 2
    assert "Nothing to do" in jobs_planned(study, words[-1])
