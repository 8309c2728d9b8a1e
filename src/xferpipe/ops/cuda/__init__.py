"""The CUDA kernels: launchers, the ops made of them, their check and the choice to use them.

Importing this needs torch alone, and no GPU.
"""

from functools import partial

import torch

from .dispatch import FAMILY, ON_THE_CPU, Dispatcher, mode, target_for
from .launch import Launcher

_kept = []


def register(module, built):
    """Give torch the kernels of an extension, for tensors on a GPU.

    Args:
        module: The extension's submodule of launchers.
        built: Compiled targets, such as ("sm_80", "sm_90a", "compute_80").
    """
    dispatcher = Dispatcher(Launcher(module), built)
    library = torch.library.Library("xferpipe", "IMPL")
    for name in (*FAMILY, *ON_THE_CPU):
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


__all__ = ["Dispatcher", "Launcher", "mode", "register", "report", "target_for"]
