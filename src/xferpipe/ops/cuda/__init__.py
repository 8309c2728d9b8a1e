"""The CUDA kernels: the ops made of them, their check and the choice to use them.

Importing this needs torch alone, and no GPU.
"""

from functools import partial

import torch

from ..registered import OPS
from .dispatch import Dispatcher, mode, target_for

_kept = []


def register(built):
    """Give torch the ops of an extension for tensors on a GPU.

    Args:
        built: Compiled targets, such as ("sm_80", "sm_90a", "compute_80").
    """
    dispatcher = Dispatcher(torch.ops.xferpipe_cuda, built)
    library = torch.library.Library("xferpipe", "IMPL")
    for name, op in OPS.items():
        if op.family or op.by_cpu:
            library.impl(name, partial(dispatcher.run, name), "CUDA")
    _kept[:] = [library, dispatcher]


def report(check=False):
    """Return one line per GPU on what the ops run on there.

    Args:
        check: Compare every family with its twins now (milliseconds to seconds per device).
    """
    if not _kept or not torch.cuda.is_available():
        return {}
    devices = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return {str(device): _kept[1].report(device, check) for device in devices}


__all__ = ["Dispatcher", "mode", "register", "report", "target_for"]
