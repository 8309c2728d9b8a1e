"""The profile for other schedulers, with stand-ins for PBS that run what they are given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "profiles" / "cluster-generic"

QSUB = """\
#!/bin/sh
# Notes what was asked for, runs the job script in the background, and prints the job's number.
id=$(ls "$PBS" | grep -c asked)
printf '%s\\n' "$*" > "$PBS/$id.asked"
for script; do :; done
(
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


@pytest.mark.workflow
def test_group_of_short_jobs_runs_through_another_scheduler(pbs, tmp_path):
    study = tmp_path / "run" / "study.yaml"
    study.parent.mkdir()
    shutil.copy(ROOT / "tests" / "faults" / "study.yaml", study)
    target = "results/faults/pack/digits/images.npy"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(ROOT / "Snakefile")),
            *("--workflow-profile", str(PROFILE)),
            *("--directory", str(study.parent)),
            *("--seconds-between-status-checks", "1"),
            *("--configfile", str(study), "--", target),
        ],
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (study.parent / target).exists()
    (asked,) = (path.read_text() for path in pbs.glob("*.asked"))
    assert "ncpus=1:mem=4000mb:ngpus=0" in asked, "not the larger of the two jobs' needs"
    assert "walltime=150:00" in asked, "not the sum of the two jobs' times"


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
