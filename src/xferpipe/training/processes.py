"""Several processes on one job: each trains on its share of every batch.

Start them with `torchrun --nproc-per-node N`; without it there is one process and nothing changes.
Every process draws the augmentation of the whole batch and keeps its share, so that N processes
compute what one does with the same global batch, to the order of the sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from xferpipe.config.recipes import Recipe
from xferpipe.training.parameters import moving_batch_norms


def world() -> int:
    """Return the number of processes of this job."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number; 0 writes."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes that torchrun started, if it did.

    Args:
        device: cpu or cuda.
    Yields:
        The device of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or torch.distributed.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
        # The others wait until process 0 has written what it must.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def parallel(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Wrap a model so that gradients are means over processes.

    Raises:
        ValueError: Batch norms would see one process's images alone, on CPUs.
    """
    if world() == 1:
        return model
    # Also those whose weights are frozen: what they normalise by is the batch.
    moving = moving_batch_norms(model, recipe)
    device = next(model.parameters()).device
    if moving and device.type == "cpu":
        raise ValueError(
            f"{len(moving)} batch norms over {world()} CPU processes would each see a part of the "
            "batch; use one process, GPUs (synchronised batch norm), norm: group or freeze_bn: all"
        )
    if moving:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    devices = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)


def share(count: int) -> tuple[slice, float]:
    """Return this process's part of a batch, and the factor of its mean loss.

    The factor makes the mean over processes the mean over the batch, whatever the parts. A process
    without an image takes the first one with factor 0: all must take part in the exchange.
    """
    size, rest = divmod(count, world())
    start = rank() * size + min(rank(), rest)
    own = size + (rank() < rest)
    if own == 0:
        return slice(0, 1), 0.0
    return slice(start, start + own), own * world() / count


def total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over processes."""
    if world() > 1:
        values = values.clone()
        torch.distributed.all_reduce(values)
    return values
