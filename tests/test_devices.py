"""The GPU lease, with a stand-in for `nvidia-smi`: which devices there are, and who holds them."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from xferpipe import devices

LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
"""
LISTING_MIG = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
  MIG 1g.18gb     Device  0: (UUID: MIG-1111)
  MIG 1g.18gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose `nvidia-smi` prints what the test says, and with lock files of its own."""
    monkeypatch.setattr(devices, "LEASES", tmp_path / "leases")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("XFERPIPE_GPUS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    devices._installed.cache_clear()

    def has(listing):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
        program.chmod(0o755)
        devices._installed.cache_clear()

    yield has
    devices._installed.cache_clear()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ("GPU-aaaa", "GPU-bbbb")),
        ("1", ("GPU-bbbb",)),
        ("1,0", ("GPU-bbbb", "GPU-aaaa")),
        ("GPU-b", ("GPU-bbbb",)),
        ("0,7,1", ("GPU-aaaa",)),
        ("-1", ()),
        ("", ()),
    ],
)
def test_gpu_slots_are_what_cuda_visible_devices_leaves(machine, monkeypatch, visible, expected):
    machine(LISTING)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.gpu_slots() == expected


def test_gpu_slots_of_a_split_gpu_are_its_slices(machine, monkeypatch):
    machine(LISTING_MIG)
    assert devices.gpu_slots() == ("MIG-1111", "MIG-2222", "GPU-bbbb")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2222")
    assert devices.gpu_slots() == ("MIG-2222",)


@pytest.mark.parametrize(("value", "expected"), [("0,0", ("0", "0")), ("", ()), ("3", ("3",))])
def test_gpu_slots_with_the_override_are_what_it_lists(machine, monkeypatch, value, expected):
    machine(LISTING)
    monkeypatch.setenv("XFERPIPE_GPUS", value)
    assert devices.gpu_slots() == expected


def test_gpu_slots_without_a_driver_are_none(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.gpu_slots() == ()


def test_lease_sets_one_visible_device_and_restores_it(machine, monkeypatch):
    machine(LISTING)
    with devices.leased("cuda") as device:
        assert device == "GPU-aaaa"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == device
        monkeypatch.setenv("XFERPIPE_GPUS", "GPU-aaaa,GPU-bbbb")  # What another process would see.
        with devices.leased("auto") as other:
            assert other == "GPU-bbbb"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_lease_with_every_gpu_taken_times_out_with_a_cure(machine, monkeypatch):
    machine(LISTING)
    monkeypatch.setenv("XFERPIPE_GPUS", "0")
    with (
        devices.leased("auto"),
        pytest.raises(devices.DeviceError, match=r"XFERPIPE_GPUS, e\.g\."),
        devices.leased("auto", timeout_seconds=0.3),
    ):
        pass


def test_lease_shared_on_purpose_holds_two_slots_of_one_gpu(machine, monkeypatch):
    monkeypatch.setenv("XFERPIPE_GPUS", "0,0")
    with devices.leased("auto") as first, devices.leased("auto", timeout_seconds=1) as second:
        assert (first, second) == ("0", "0")


def test_lease_without_a_gpu_falls_back_only_where_the_study_says_so(machine, monkeypatch, caplog):
    monkeypatch.setenv("XFERPIPE_GPUS", "")
    with caplog.at_level("INFO"), devices.leased("auto") as device:
        assert device == "cpu"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert "runs on the CPU" in caplog.text
    with pytest.raises(devices.DeviceError, match="device: auto"), devices.leased("cuda"):
        pass


def test_lease_on_the_cpu_hides_every_gpu(machine):
    machine(LISTING)
    with devices.leased("cpu") as device:
        assert device == "cpu"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def _holder(leases, seconds, log):
    """A process of its own that leases, notes when, and lets go after `seconds`."""
    code = textwrap.dedent(
        f"""
        import os, time
        from pathlib import Path
        from xferpipe import devices
        devices.LEASES = Path({str(leases)!r})
        with devices.leased("auto") as device, open({str(log)!r}, "a") as file:
            print("start", device, os.getpid(), time.monotonic(), file=file, flush=True)
            time.sleep({seconds})
            print("end", device, os.getpid(), time.monotonic(), file=file, flush=True)
        """
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "XFERPIPE_GPUS": "0,1"}
    )


def _wait_for(log, lines, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        if len(rows) >= lines:
            return rows
        time.sleep(0.02)
    raise AssertionError(f"expected {lines} lines in {log}, found {rows}")


def test_leases_of_five_processes_on_two_gpus_never_overlap(tmp_path):
    log = tmp_path / "log"
    processes = [_holder(tmp_path / "leases", 0.3, log) for _ in range(5)]
    assert [process.wait(30) for process in processes] == [0] * 5
    held = {}
    for event, device, holder, _ in sorted(
        (line.split() for line in log.read_text().splitlines()), key=lambda row: float(row[3])
    ):
        if event == "start":
            assert device not in held, f"{device} was given to {holder} and {held[device]}"
            held[device] = holder
        else:
            assert held.pop(device) == holder


def test_lease_of_a_killed_holder_goes_to_the_one_that_waits(tmp_path):
    log = tmp_path / "log"
    holders = [_holder(tmp_path / "leases", 600, log) for _ in range(2)]
    try:
        rows = _wait_for(log, 2)
        waiting = _holder(tmp_path / "leases", 0, log)
        time.sleep(0.5)
        assert waiting.poll() is None
        victim = holders[0]
        device = next(row[1] for row in rows if int(row[2]) == victim.pid)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert waiting.wait(10) == 0
        assert _wait_for(log, 4)[2][1] == device
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
