"""A real Slurm for the tests: munged, slurmctld and slurmd as children of the test run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))  # For `same_tables`, as kill_rounds.py has it.
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun", "sinfo")

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
GresTypes=gpu
ReturnToService=2
MinJobAge=600
KillWait=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:1
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """One node with one GPU (a device file), on loopback, all state in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen[bytes]] = []
        host = socket.gethostname().split(".")[0]
        for name in ("state", "spool", "dev"):
            (folder / name).mkdir()
        os.mknod(folder / "dev" / "gpu0", 0o600 | 0o020000, os.makedev(1, 3))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/dev/gpu0\n")
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, folder=folder, controller_port=free_port(), node_port=free_port()
            )
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a user of this cluster sets; the wrapper gives SLURM_CONF to nested steps."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "XFERPIPE_SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{ROOT / 'profiles' / 'slurm' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self) -> None:
        """Start the daemons in the foreground and wait for an idle node."""
        self._daemon(
            "munged",
            *("--foreground", "--force", "--num-threads=2"),
            f"--key-file={self.folder}/munge.key",
            f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munged.seed",
        )
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged's socket")
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-c")
        self._wait(lambda: "idle" in self.output("sinfo", "--noheader", "-o", "%T"), "an idle node")

    def stop(self) -> None:
        """End the daemons and every job they run."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.output("scancel", "--user=root")
            self._wait(lambda: not self.output("squeue", "--noheader"), "an empty queue")
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()

    def output(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return what Slurm knows of every job since the start, by its own names."""
        lines = self.output("scontrol", "--oneliner", "show", "jobs").splitlines()
        return [
            dict(part.split("=", 1) for part in line.split() if "=" in part)
            for line in lines
            if line
        ]

    def _daemon(self, *command: str) -> None:
        program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        log = (self.folder / f"{command[0]}.out").open("wb")
        self.daemons.append(
            subprocess.Popen(
                [str(program), *command[1:]],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        )

    def _wait(self, ready: Any, what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            dead = [d.args for d in self.daemons if d.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}"
                    for log in sorted(self.folder.glob("*.[lo][ou][gt]"))
                )
                raise RuntimeError(f"no {what} (ended daemons: {dead})\n{logs}")
            time.sleep(0.1)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A running Slurm; in CI its absence is a failure, elsewhere it skips."""
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=search) is None]
    if missing or os.geteuid() != 0:
        reason = (
            f"needs root and {', '.join(missing) or 'nothing else'}: "
            "apt-get install slurmctld slurmd slurm-client munge"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not under pytest's own folder: a socket's path has room for 107 characters only.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
