"""GPUs of one machine: which there are, and a lease that keeps two jobs off the same one.

The number of GPUs that `nvidia-smi` lists is the limit. `XFERPIPE_GPUS` overrides it, written as
`CUDA_VISIBLE_DEVICES` is: `0,1` uses two GPUs, `0,0` lets two jobs share GPU 0 on purpose, and
the empty text uses none.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)

#: Lock files. On this machine's own disk and the same for every user and every TMPDIR.
LEASES = Path("/tmp/xferpipe-gpu-leases")

_OVERRIDE = "XFERPIPE_GPUS"
_POLL_SECONDS = 0.2


class DeviceError(RuntimeError):
    """The study asks for a device that this machine does not have."""


def gpu_slots() -> tuple[str, ...]:
    """Return one device for each job that may use a GPU of this machine at the same time.

    Returns:
        Values for `CUDA_VISIBLE_DEVICES`: UUIDs of the GPUs (or MIG slices) that this process may
        see, or what the `XFERPIPE_GPUS` variable lists.
    """
    override = os.environ.get(_OVERRIDE)
    if override is not None:
        return tuple(token.strip() for token in override.split(",") if token.strip())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(uuid for devices in _installed() for uuid in devices)
    return _visible([token.strip() for token in visible.split(",")])


def _visible(tokens: list[str]) -> tuple[str, ...]:
    """Resolve what a scheduler or a person put in `CUDA_VISIBLE_DEVICES` to UUIDs."""
    installed = _installed()
    uuids = [uuid for devices in installed for uuid in devices]
    found: list[str] = []
    for token in tokens:
        if token.isdecimal() and int(token) < len(installed):
            devices = installed[int(token)]
        else:
            devices = [uuid for uuid in uuids if token and uuid.startswith(token)]
        if not devices:
            break  # CUDA, too, stops reading at the first device that does not exist.
        found.extend(devices)
    return tuple(dict.fromkeys(found))


@functools.cache
def _installed() -> tuple[tuple[str, ...], ...]:
    """List GPUs in PCI order, each by its own UUID or those of its MIG slices."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus: list[list[str]] = []
    for line in listing.splitlines():
        if match := re.search(r"\(UUID: (GPU-[^)\s]+)\)", line):
            gpus.append([match[1]])
        elif (match := re.search(r"\(?UUID: (MIG-[^)\s]+)\)", line)) and gpus:
            gpus[-1] = [*(uuid for uuid in gpus[-1] if uuid.startswith("MIG-")), match[1]]
    return tuple(map(tuple, gpus))


@contextmanager
def leased(
    device: Literal["auto", "cpu", "cuda"], *, timeout_seconds: float | None = None
) -> Iterator[str]:
    """Hold one GPU for the block, or state that the block runs on the CPU.

    Sets `CUDA_VISIBLE_DEVICES` to that one device (to nothing for the CPU), so it has to come
    before CUDA starts. Waits while every GPU is leased. The kernel ends the lease when its holder
    dies.

    Args:
        device: `cuda` insists on a GPU, `auto` takes one where there is one, `cpu` takes none.
        timeout_seconds: Longest wait for a free GPU; None waits as long as it takes.
    Yields:
        `cpu`, or the leased device as `CUDA_VISIBLE_DEVICES` names it.
    Raises:
        DeviceError: `cuda` on a machine without a GPU, no GPU fell free in time, or CUDA has
            already started with whatever devices it saw then.
    """
    slots = () if device == "cpu" else gpu_slots()
    if not slots:
        if device == "cuda":
            raise DeviceError(
                "device: cuda was asked for, but this machine shows no GPU (nvidia-smi lists none "
                "within CUDA_VISIBLE_DEVICES); expected at least one: set 'device: auto' to fall "
                "back to the CPU, or name the devices in XFERPIPE_GPUS"
            )
        if device == "auto":
            logger.info("device: auto finds no GPU, so this job runs on the CPU")
        with _cuda_visible(""):
            yield "cpu"
        return
    _refuse_started_cuda()
    handle, leased_device = _wait_for_slot(slots, timeout_seconds)
    try:
        with _cuda_visible(leased_device):
            logger.info("leased GPU %s", leased_device)
            yield leased_device
            logger.info("released GPU %s", leased_device)
    finally:
        os.close(handle)


def _wait_for_slot(slots: tuple[str, ...], timeout_seconds: float | None) -> tuple[int, str]:
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    told = False
    while True:
        taken: dict[str, int] = {}
        for device in slots:
            share = taken[device] = taken.get(device, -1) + 1
            if (handle := _try_lock(device, share)) is not None:
                return handle, device
        if not told:
            logger.info("all %d GPU slots are leased; waiting for one", len(slots))
            told = True
        if deadline is not None and time.monotonic() >= deadline:
            raise DeviceError(
                f"no GPU fell free within {timeout_seconds:g} s; all {len(slots)} slots are leased "
                f"(lock files in {LEASES}): lower the number of jobs, or let jobs share a GPU with "
                "XFERPIPE_GPUS, e.g. 0,0"
            )
        time.sleep(_POLL_SECONDS)


def _try_lock(device: str, share: int) -> int | None:
    """Lock one slot; the open file is the lease. Nothing is ever written to the file."""
    if not LEASES.is_dir():
        LEASES.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # Another user made it first, and did this.
            LEASES.chmod(0o1777)
    path = LEASES / f"{re.sub(r'[^A-Za-z0-9-]', '_', device)}.{share}.lock"
    # Another user's file is opened without O_CREAT: the kernel forbids that flag on it in such a
    # folder (fs.protected_regular).
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _refuse_started_cuda() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise DeviceError(
            "CUDA has already started in this process, so a lease cannot choose its device any "
            "more; lease before anything touches a GPU"
        )


@contextmanager
def _cuda_visible(value: str) -> Iterator[None]:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
