"""GPUs of one machine on the real workflow: two runs at once, two devices, one killed job."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import yaml

from xferpipe.devices import LEASES

pytestmark = [pytest.mark.slow, pytest.mark.workflow, pytest.mark.xdist_group("faults")]

STUDY = Path(__file__).with_name("study.yaml")
RUNS = [
    f"results/faults/finetune/digits/full/drawn/sgd/seed{seed}/run.parquet" for seed in range(4)
]


@pytest.fixture
def devices(monkeypatch):
    """Two devices of a name that no other run on this machine has; torch finds neither."""
    names = [f"GPU-test-{uuid.uuid4()}" for _ in range(2)]
    monkeypatch.setenv("XFERPIPE_GPUS", ",".join(names))
    yield names
    for name in names:
        for file in LEASES.glob(f"{name}.*.lock"):
            file.unlink()


@pytest.fixture
def start(new_workflow):
    """Start Snakemake on four fine-tunes in a folder, with more cores than there are devices."""
    study = yaml.safe_load(STUDY.read_text()) | {
        "device": "auto",
        "finetunes": [{"models": ["drawn"], "recipes": ["sgd"], "seeds": [0, 1, 2, 3]}],
    }
    started = []

    def begin(folder):
        workflow = new_workflow(folder, study)
        run = subprocess.Popen(
            workflow.command("--cores", "4", *RUNS),
            env=workflow.variables(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(run)
        return run

    yield begin
    for run in started:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def holders(folder, devices):
    """Return the device that each job of a run holds a lease on, by the lock files it has open."""
    found = {}
    for process in psutil.process_iter():
        try:
            for file in process.open_files() if process.cwd() == str(folder) else ():
                name = Path(file.path).name.split(".")[0]
                if Path(file.path).parent == LEASES and name in devices:
                    found[process] = name
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return found


def leases(folders):
    """Return (device, start, end) of every lease in the jobs' logs; no end for a killed job."""
    found = []
    for folder in folders:
        for log in (folder / "results" / "faults" / "logs" / "finetune").rglob("*.log"):
            text = log.read_text()
            events = {
                word: [
                    (datetime.fromisoformat(at).timestamp(), device)
                    for at, device in re.findall(
                        rf"^(\S+ \S+) INFO \S+: {word} GPU (\S+)$", text, re.M
                    )
                ]
                for word in ("leased", "released")
            }
            for at, device in events["leased"]:
                found.append((device, at, events["released"][0][0] if events["released"] else None))
    return found


def logged(folder, devices):
    """Return the holders of leases that their logs tell of."""
    told = {device for device, _, end in leases([folder]) if end is None}
    return {process: name for process, name in holders(folder, devices).items() if name in told}


def test_jobs_of_two_runs_hold_each_device_alone_and_a_killed_one_frees_it(
    devices, start, tmp_path
):
    folders = [tmp_path / "one", tmp_path / "other"]
    one, other = (start(folder) for folder in folders)
    deadline = time.monotonic() + 120
    while not (held := logged(folders[0], devices)):
        assert one.poll() is None
        assert time.monotonic() < deadline, "no job took a lease"
        time.sleep(0.02)
    victim, device = next(iter(held.items()))
    victim.send_signal(signal.SIGKILL)
    killed_at = time.time()
    assert other.wait(300) == 0
    assert one.wait(300) != 0, "the killed job went unseen"

    found = leases(folders)
    assert len(found) == 2 * len(RUNS), "a job ran without a lease"
    assert {name for name, _, _ in found} == set(devices)
    (lost,) = (lease for lease in found if lease[2] is None)
    assert lost[0] == device
    for name in devices:
        spans = sorted((begin, end or killed_at) for own, begin, end in found if own == name)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans
    assert any(name == device and begin >= killed_at for name, begin, _ in found)

    assert start(folders[0]).wait(300) == 0
    for folder in folders:
        assert all((folder / run).exists() for run in RUNS)


def test_one_run_starts_as_many_gpu_jobs_as_there_are_devices(devices, start, tmp_path):
    run = start(tmp_path / "run")
    most = 0
    while run.poll() is None:
        most = max(most, len(holders(tmp_path / "run", devices)))
        time.sleep(0.05)
    assert run.returncode == 0
    assert most == len(devices)
    logs = [
        log.read_text() for log in (tmp_path / "run/results/faults/logs/finetune").rglob("*.log")
    ]
    assert len(logs) == len(RUNS)
    assert not any("waiting for one" in log for log in logs), "a job was started without a device"
