"""Checks and conversions that the ops share."""

import warnings

import torch

from . import mapped

BLOCK_BYTES = 32 << 20
DEVICE_BLOCK_BYTES = (
    8 << 30
)  # of a matrix that lies on a GPU: operands of its products take as much
NATIVE_DTYPES = (torch.float32, torch.bfloat16)
DISTANCES = {"euclidean": 0, "cosine": 1}
AP_KINDS = {"step": 0, "trapezoid": 1}
#: Squared norms between which products, their sums and inverse lengths are finite in float32.
SMALLEST_NORM, LARGEST_NORM = 1e-75, 1e38


def choice(value, allowed, name):
    """Return the code of a named option, or raise with the options there are."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r} but must be one of {sorted(allowed)}")
    return allowed[value] if isinstance(allowed, dict) else value


def as_matrix(features, name):
    """Return a 2-D tensor that shares memory with a tensor, an array or a memory-mapped array."""
    if not isinstance(features, torch.Tensor):
        with warnings.catch_warnings():
            # A read-only map is welcome: nothing here writes to it.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            features = torch.as_tensor(features)
    if features.dim() != 2:
        raise ValueError(
            f"{name} has shape {tuple(features.shape)} but must be 2-D: (rows, features)"
        )
    if not features.dtype.is_floating_point:
        raise ValueError(f"{name} is {features.dtype} but must be floating point; use .float()")
    return features.detach()


def as_labels(labels, rows, name, owner, device="cpu"):
    """Return int64 labels, one per row of `owner`."""
    if not isinstance(labels, torch.Tensor):
        labels = torch.as_tensor(labels)
    if labels.numel() == 0:
        labels = labels.long()
    if labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise ValueError(f"{name} is {labels.dtype} but must hold integers; use .long()")
    if labels.shape != (rows,):
        raise ValueError(
            f"{owner} has {rows} rows but {name} has shape {tuple(labels.shape)}: both must "
            "come from one list of images"
        )
    return labels.to(device=device, dtype=torch.int64).contiguous()


def native(block, device):
    """Return a block as the kernels take it: float32 or bfloat16, columns adjacent, on device.

    Without a device it stays where it is.
    """
    if block.dtype not in NATIVE_DTYPES:
        block = block.float()
    if device is not None:
        block = block.to(device)
    if block.shape[1] > 1 and block.stride(1) != 1:
        block = block.contiguous()
    return block


def is_native(matrix, device):
    """Tell whether the kernels can read the matrix where it lies."""
    adjacent = matrix.shape[1] <= 1 or matrix.stride(1) == 1
    return matrix.dtype in NATIVE_DTYPES and matrix.device == device and adjacent


def blocks(matrix, device, block_rows=None, *, source=None, progress=None, less=None):
    """Yield (first row, block) over a matrix: whole where it can be read in place, else streamed.

    Args:
        matrix: Tensor (n, d).
        device: Where blocks are wanted; None leaves them where they are.
        block_rows: Rows of a block; None chooses.
        source: What the matrix was made from. Of an array mapped from disk one block is in memory
            at a time: its pages are given back when the next one is asked for.
        progress: Called with rows done and rows to do, at the start and after each block.
        less: Subtracted from each row of a float64 matrix before it is rounded, float64 (d).
    """
    rows = matrix.shape[0]
    if block_rows is None:
        # On a GPU the same blocks whoever looks on: products of other shapes have other bits.
        on_gpu = matrix.device.type != "cpu"
        watched = progress is not None and not on_gpu
        if is_native(matrix, device) and not mapped.is_mapped(source) and not watched:
            block_rows = max(1, rows)
            if on_gpu:
                block_rows = min(
                    block_rows, max(1024, DEVICE_BLOCK_BYTES // max(1, 4 * matrix.shape[1]))
                )
        else:
            block_rows = max(1024, BLOCK_BYTES // max(1, 4 * matrix.shape[1]) // 1024 * 1024)
    if progress is not None:
        progress(0, rows)
    for first in range(0, rows, block_rows):
        block = matrix[first : first + block_rows]
        yield first, native(block if less is None else block - less, device)
        mapped.release(source)
        if progress is not None:
            progress(min(rows, first + block_rows), rows)


def require_finite(norms, name, first_row=0):
    """Raise for the first row that holds NaN or infinity, by its squared norm."""
    bad = (~torch.isfinite(norms)).nonzero()
    if bad.numel():
        row = int(bad[0]) + first_row
        raise ValueError(
            f"{name} row {row} holds NaN or infinity ({bad.shape[0]} such rows): "
            "find the image it came from, or recompute the features"
        )


class Conditions:
    """Conditions on the input, asked when they arise and answered together.

    An answer waits for the device: on a GPU it is fetched when the work has been handed over. On a
    processor it is there at once.
    """

    def __init__(self):
        self._asked = []

    def require(self, holds, explain):
        """Ask for a condition.

        Args:
            holds: bool, a tensor of one entry.
            explain: Function that raises what is wrong, called where the condition does not hold.
        """
        self._asked.append((holds, explain))
        if holds.device.type == "cpu":
            self.settle()

    def settle(self):
        """Raise for the first condition that does not hold."""
        asked, self._asked = self._asked, []
        if asked:
            for is_right, (_, explain) in zip(torch.stack([h for h, _ in asked]).tolist(), asked):
                if not is_right:
                    explain()

    def require_comparable(self, norms, name, distance, first_row=0):
        """Require that float32 products can be made of rows, by their squared norms."""
        right = norms <= LARGEST_NORM  # NaN is not
        if distance == DISTANCES["cosine"]:
            right &= (norms == 0) | (norms >= SMALLEST_NORM)

        def explain():
            require_finite(norms, name, first_row)
            bad = (~right).nonzero()
            row = int(bad[0])
            raise ValueError(
                f"{name} row {row + first_row} has length {float(norms[row]) ** 0.5:.3g}, beyond "
                f"what float32 products can hold ({bad.shape[0]} such rows): multiply all features "
                "by one number"
            )

        self.require(right.all(), explain)
