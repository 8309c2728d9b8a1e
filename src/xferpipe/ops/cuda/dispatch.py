"""Decide, per device and family of ops, between the CUDA kernels and the torch twins.

`XFERPIPE_CUDA` chooses: `auto` (the default) checks a family against its twins at its first call
on a device and falls back to them, with one warning, where they disagree; `off` uses the twins;
`force` uses the kernels unchecked.
"""

import os
import re
import threading
import warnings
from functools import partial

import torch

from .. import reference
from ..registered import FAMILIES, OPS
from . import ranking, sketches, sums
from .verification import CHECKS, Mismatch

MODES = ("auto", "off", "force")
REPORT = (
    "Results are right either way. Please report this with the output of `xferpipe doctor`; "
    "XFERPIPE_CUDA=off silences the check"
)


def mode():
    """Return what XFERPIPE_CUDA asks for."""
    value = os.environ.get("XFERPIPE_CUDA", "auto")
    if value not in MODES:
        raise ValueError(f"XFERPIPE_CUDA is {value!r} but must be one of {', '.join(MODES)}")
    return value


def target_for(capability, built):
    """Return which compiled target a device runs, or None.

    Args:
        capability: (major, minor) of the device.
        built: Names such as sm_80, sm_90a (machine code) and compute_80 (compiled by the driver).

    Returns:
        The name. Machine code runs on devices of its own major version that are not older, with the
        suffix "a" on its own version alone; compute_* runs on all that are not older.

    Source:
        CUDA programming guide, "Compute capabilities".
    """
    best = None
    for name in built:
        kind, digits, suffix = re.fullmatch(r"(sm|compute)_(\d+)(a?)", name).groups()
        version = divmod(int(digits), 10)
        if suffix:
            runs = version == tuple(capability)
        elif kind == "sm":
            runs = version[0] == capability[0] and version <= tuple(capability)
        else:
            runs = version <= tuple(capability)
        key = (kind == "sm", version, suffix)
        if runs and (best is None or key > best[0]):
            best = (key, name)
    return best and best[1]


class Dispatcher:
    """What CUDA tensors run on.

    Args:
        kernels: The namespace of the CUDA kernels: csrc/binding/cuda.cpp.
        built: Compiled targets.
        capability: Function of a device that returns its compute capability.
        describe: Function of a device that returns its name.
    """

    def __init__(
        self,
        kernels,
        built,
        capability=torch.cuda.get_device_capability,
        describe=torch.cuda.get_device_name,
    ):
        self.kernels = kernels
        self.built = tuple(built)
        self.capability = capability
        self.describe = describe
        self.verdicts = {}
        self._lock = threading.RLock()

    def run(self, name, *arguments):
        """Run a registered op on its kernel or its twin."""
        if OPS[name].by_cpu:
            return ranking.on_the_cpu(name, *arguments)
        if self._suits(name, arguments) and self.usable(OPS[name].family, arguments[0].device):
            return self.kernel(name)(*arguments)
        return getattr(reference, name)(*arguments)

    def kernel(self, name):
        """Return the function that runs an op by its kernels."""
        module = next(one for one in (ranking, sums, sketches) if hasattr(one, name))
        return partial(getattr(module, name), self.kernels)

    def _suits(self, name, arguments):
        # Lists longer than this are as fast by a sort.
        place = {"nearest_scores": 3, "k_reciprocal_neighbours": 3}.get(name)
        return place is None or arguments[place] <= ranking.LONGEST_LIST

    def usable(self, family, device):
        """Tell whether the kernels of a family run on a device; check them at the first call."""
        chosen = mode()
        if chosen == "off":
            return False
        if chosen == "force":
            return True
        key = (family, str(device))
        if key not in self.verdicts:
            with self._lock:
                if key not in self.verdicts:
                    self.verdicts[key] = self._verify(family, device)
        return self.verdicts[key] is None

    def _verify(self, family, device):
        """Return None, or why the twins are used."""
        if target_for(self.capability(device), self.built) is None:
            return self._no_target(device)
        try:
            CHECKS[family](lambda name, *given: self.kernel(name)(*given), device)
        except torch.OutOfMemoryError:  # says nothing of the kernels: the next call checks again
            raise
        except (Mismatch, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"xferpipe.ops: {family} kernels are not used on {self.describe(device)} "
                f"({device}): {reason}. Torch twins take their place. {REPORT}.",
                RuntimeWarning,
                stacklevel=2,
            )
            self._still_alive(device, reason)
            return reason
        return None

    def _no_target(self, device):
        version = ".".join(map(str, self.capability(device)))
        return f"compute capability {version}, but the kernels are for {' '.join(self.built)}"

    def _still_alive(self, device, reason):
        """A fault inside a kernel ends all CUDA work of the process: say so at once."""
        try:
            torch.zeros(1, device=device).cpu()
        except RuntimeError as error:
            raise RuntimeError(
                f"a kernel of xferpipe ended the CUDA work of this process on {device}: {reason}; "
                f"run again with XFERPIPE_CUDA=off. {REPORT}."
            ) from error

    def report(self, device, check=False):
        """Return one line on what a device runs, checking what is not checked yet if asked to."""
        target = target_for(self.capability(device), self.built)
        chosen = mode()
        if chosen == "off":
            return f"{self.describe(device)}: torch twins: XFERPIPE_CUDA=off"
        if target is None:
            return f"{self.describe(device)}: torch twins: {self._no_target(device)}"
        words = []
        for family in FAMILIES:
            if chosen == "force":
                words.append(f"{family} kernels (unchecked: XFERPIPE_CUDA=force)")
                continue
            if check:
                self.usable(family, device)
            if (family, str(device)) not in self.verdicts:
                words.append(f"{family} checked at the first call")
                continue
            reason = self.verdicts[family, str(device)]
            words.append(f"{family} torch twins ({reason})" if reason else f"{family} kernels")
        return f"{self.describe(device)}, {target}: {'; '.join(words)}"
