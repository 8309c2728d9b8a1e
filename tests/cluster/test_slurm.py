"""The real workflow on a real Slurm: one study, disturbed twice, must end as on one machine."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import polars
import psutil
import pytest
import yaml
from same_tables import differences

from xferpipe.graph.stages import STAGES
from xferpipe.records.stamp import read_stamp

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "tests" / "faults" / "study.yaml"

pytestmark = [pytest.mark.slurm, pytest.mark.workflow, pytest.mark.xdist_group("slurm")]


def snakemake(profile: str, folder: Path, *options: str) -> list[str]:
    """Return the command line of a run of the study in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(STUDY, folder / "study.yaml")
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "profiles" / profile)),
        *("--directory", str(folder)),
        *options,
        *("--configfile", str(folder / "study.yaml")),
    ]


#: What the tests change of the profile: its patience.
QUICK = (
    *("--slurm-init-seconds-before-status-checks", "4"),
    *("--latency-wait", "5"),
    *("--max-jobs-per-timespan", "60/1s"),
)


class Disturber(threading.Thread):
    """After a checkpoint each, cancels one fine-tune's Slurm job and kills another's process."""

    def __init__(self, slurm: Any, folder: Path) -> None:
        super().__init__(daemon=True)
        self.slurm, self.folder = slurm, folder
        self.done: dict[str, str] = {}
        self.over = threading.Event()

    def run(self) -> None:
        runs = self.folder / "results" / "faults" / "checkpoints" / "finetune" / "digits" / "full"
        disturb = {"drawn": self._cancel, "trained": self._kill}
        while disturb and not self.over.wait(0.005):
            for model in list(disturb):
                if (runs / model / "sgd" / "seed0.pt").exists():
                    self.done[model] = disturb.pop(model)(model)

    def _cancel(self, model: str) -> str:
        job = next(
            job
            for job in self.slurm.jobs()
            if job["JobState"] == "RUNNING"
            and f"finetune_wildcards_digits_full_{model}" in job["Comment"]
        )
        self.slurm.output("scancel", job["JobId"])
        return job["JobId"]

    def _kill(self, model: str) -> str:
        log = f"logs/finetune/digits/full/{model}/sgd/seed0.log"
        for process in psutil.process_iter(["cwd"]):
            if process.info["cwd"] != str(self.folder):
                continue
            with contextlib.suppress(psutil.Error):
                if any(file.path.endswith(log) for file in process.open_files()):
                    process.send_signal(signal.SIGKILL)
                    return str(process.pid)
        raise RuntimeError(f"found no process that fine-tunes {model}")


@pytest.fixture(scope="module")
def runs(slurm, tmp_path_factory):
    """Run the study on one machine, and on Slurm with a cancelled and a killed fine-tune."""
    folder = tmp_path_factory.mktemp("runs")
    variables = {**os.environ, "XFERPIPE_CHECKPOINT_SECONDS": "0"}
    local = subprocess.run(
        snakemake("default", folder / "local", "--cores", "2"),
        env=variables,
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert local.returncode == 0, local.stdout + local.stderr
    disturber = Disturber(slurm, folder / "slurm")
    disturber.start()
    try:
        remote = subprocess.run(
            snakemake("slurm", folder / "slurm", *QUICK),
            env={**variables, **slurm.environment},
            text=True,
            capture_output=True,
            timeout=600,
            check=False,
        )
    finally:
        disturber.over.set()
        disturber.join()
    assert remote.returncode == 0, remote.stdout + remote.stderr
    jobs = [job for job in slurm.jobs() if job.get("WorkDir") == str(folder / "slurm")]
    return folder, jobs, disturber.done


def attempts(jobs, model):
    found = [job for job in jobs if f"finetune_wildcards_digits_full_{model}" in job["Comment"]]
    return sorted(found, key=lambda job: int(job["JobId"]))


def test_single_job_runs_on_slurm(slurm, tmp_path):
    manifest = "results/faults/manifest/digits/manifest.parquet"
    done = subprocess.run(
        [*snakemake("slurm", tmp_path, *QUICK), "--", manifest],
        env={**os.environ, **slurm.environment},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / manifest).exists()
    (job,) = [job for job in slurm.jobs() if job.get("WorkDir") == str(tmp_path)]
    assert job["JobState"] == "COMPLETED"
    assert "manifest" in job["Comment"]
    assert "TresPerJob" not in job, "a job without a model asked for a GPU"
    assert (job["NumCPUs"], job["MinMemoryNode"], job["TimeLimit"]) == ("1", "2000M", "00:30:00")


def test_job_that_waits_in_the_queue_follows_the_study_as_it_was_submitted(slurm, tmp_path):
    """The partition is down while the study is edited; a job of Slurm reads the study anew."""
    manifest = "results/faults/manifest/digits/manifest.parquet"
    command = [*snakemake("slurm", tmp_path, *QUICK), "--", manifest]
    study = tmp_path / "study.yaml"
    before = study.read_text()
    slurm.output("scontrol", "update", "PartitionName=all", "State=DOWN")
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            command, env={**os.environ, **slurm.environment}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not any(job.get("WorkDir") == str(tmp_path) for job in slurm.jobs()):
            assert run.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        study.write_text(before.replace("per_class: 30", "per_class: 9"))
        slurm.output("scontrol", "update", "PartitionName=all", "State=UP")
        assert run.wait(120) == 0, (tmp_path / "log").read_text()
    finally:
        slurm.output("scontrol", "update", "PartitionName=all", "State=UP")
        if run.poll() is None:
            run.kill()
    assert polars.read_parquet(tmp_path / manifest).height > 90
    assert '"maximum_images_per_class":30' in read_stamp(tmp_path / manifest).slice


@pytest.mark.slow
def test_disturbed_study_on_slurm_gives_the_tables_of_one_machine(runs):
    folder, _, disturbed = runs
    assert set(disturbed) == {"drawn", "trained"}
    tables = Path("results", "faults", "tables")
    assert differences(folder / "local" / tables, folder / "slurm" / tables) == {}
    assert (folder / "slurm" / "results" / "faults" / "report.html").exists()


@pytest.mark.slow
def test_gpu_jobs_on_slurm_run_one_at_a_time(runs):
    _, jobs, _ = runs
    on_gpu = [job for job in jobs if "gpu:1" in job.get("TresPerJob", "")]
    assert {job["Comment"].split("_")[1] for job in on_gpu} >= {"pretrain", "finetune", "scoring"}
    spans = sorted(
        (datetime.fromisoformat(job["StartTime"]), datetime.fromisoformat(job["EndTime"]))
        for job in on_gpu
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.slow
def test_cancelled_job_is_submitted_again_with_more_memory_and_time(runs):
    _, jobs, disturbed = runs
    first, second = attempts(jobs, "drawn")
    assert first["JobId"] == disturbed["drawn"]
    assert first["CPUs/Task"] == "2", "one core computes, one feeds the GPU"
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("8000M", "16000M")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("12:00:00", "1-00:00:00")


@pytest.mark.slow
def test_killed_training_goes_on_from_its_checkpoint(runs):
    folder, jobs, _ = runs
    first, second = attempts(jobs, "trained")
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    for model in ("drawn", "trained"):
        log = (
            folder
            / "slurm"
            / "results/faults/logs/finetune/digits/full"
            / model
            / "sgd"
            / "seed0.log"
        )
        assert "resum" in log.read_text()


@pytest.mark.slow
def test_short_jobs_share_a_slurm_job(runs):
    _, jobs, _ = runs
    comments = [job["Comment"] for job in jobs]
    assert sum("images_manifest_pack" in comment for comment in comments) == 2
    assert sum("scoring_features_scores" in comment for comment in comments) == 1
    assert sum("tables_aggregate_figures_report" in comment for comment in comments) == 1


def test_profile_keeps_the_rebuild_rules_of_one_machine():
    slurm, default = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
        for name in ("slurm", "default")
    )
    for key in ("rerun-triggers", "keep-going", "rerun-incomplete", "logger"):
        assert slurm[key] == default[key]


def test_profile_gives_every_gpu_rule_a_core_that_feeds_the_gpu():
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    on_gpu = {name for name, stage in STAGES.items() if stage.gpu}
    assert profile["set-resources"] == {name: {"cpus_per_task": "threads + 1"} for name in on_gpu}


def test_cluster_profiles_group_the_same_rules():
    slurm, generic = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
        for name in ("slurm", "cluster-generic")
    )
    assert set(slurm["groups"]) <= set(STAGES)
    for key in ("groups", "group-components", "resources", "set-resource-scopes"):
        assert slurm[key] == generic[key]


def test_srun_wrapper_gives_slurm_conf_back(tmp_path):
    real = tmp_path / "srun"
    real.write_text('#!/bin/sh\necho "$SLURM_CONF $*"\n')
    real.chmod(0o755)
    wrapper = ROOT / "profiles" / "slurm" / "bin"
    variables = {"PATH": f"{wrapper}:{tmp_path}:/usr/bin:/bin", "XFERPIPE_SLURM_CONF": "/x/y.conf"}
    done = subprocess.run(
        ["srun", "-n1", "two words"], env=variables, text=True, capture_output=True, check=True
    )
    assert done.stdout == "/x/y.conf -n1 two words\n"
    own = {**variables, "SLURM_CONF": "/own.conf"}
    done = subprocess.run(["srun"], env=own, text=True, capture_output=True, check=True)
    assert done.stdout == "/own.conf \n"
