"""Call the CUDA launchers: addresses, the current stream and the device guard."""

from typing import NamedTuple

import torch

# Enough blocks to fill a large device twice. Not read off the device: bits must not depend on it.
BLOCKS = 264


class Rows(NamedTuple):
    """A tensor whose rows may lie apart: passed with its shape, stride and dtype."""

    tensor: torch.Tensor

    def address(self):
        """Return what the launchers take for a matrix."""
        t = self.tensor
        if t.dim() != 2 or (t.shape[1] > 1 and t.stride(1) != 1):
            raise ValueError(
                f"a matrix of shape {tuple(t.shape)} and strides {t.stride()} was given, but rows "
                "must have their columns next to each other; call .contiguous()"
            )
        if t.dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"a matrix of {t.dtype} was given; expected float32 or bfloat16")
        return (t.data_ptr(), t.shape[0], t.shape[1], t.stride(0), t.dtype == torch.bfloat16)


class At(NamedTuple):
    """The address of a tensor's first entry, whatever its strides."""

    tensor: torch.Tensor


class Launcher:
    """The launchers of one extension on one type of device.

    Args:
        module: The extension's submodule of launchers.
        device_type: "cuda"; "cpu" for the launchers that the tests build for a CPU.
    """

    def __init__(self, module, device_type="cuda"):
        self.module = module
        self.device_type = device_type

    def __call__(self, name, *arguments):
        """Launch on the current stream of the device that the tensors lie on; never waits."""
        device, passed = None, []
        for argument in arguments:
            tensor = argument.tensor if isinstance(argument, (Rows, At)) else argument
            if isinstance(tensor, torch.Tensor):
                device = device or tensor.device
                if tensor.device != device or tensor.device.type != self.device_type:
                    raise ValueError(
                        f"{name} was given tensors on {device} and {tensor.device}; expected all "
                        f"on one {self.device_type} device"
                    )
            if isinstance(argument, Rows):
                passed.append(argument.address())
            elif isinstance(argument, At):
                passed.append(tensor.data_ptr())
            elif isinstance(argument, torch.Tensor):
                if not argument.is_contiguous():
                    raise ValueError(f"{name} was given a tensor with gaps; call .contiguous()")
                passed.append(argument.data_ptr())
            else:
                passed.append(0 if argument is None else argument)
        function = getattr(self.module, name)
        if self.device_type != "cuda":
            return function(*passed, 0)
        with torch.cuda.device(device):
            return function(*passed, torch.cuda.current_stream(device).cuda_stream)

    def symmetric_tiles(self, size):
        """Return the tiles on and above the diagonal of a (size, size) matrix."""
        return self.module.symmetric_tiles(size)
