"""Passes that take fewer images at a time when memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: What is said where the error has no type of its own: by torch's allocator on CPUs, C++ libraries,
#: cuBLAS, cuDNN and oneDNN.
_SAYINGS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "std::bad_alloc",
    "_STATUS_ALLOC_FAILED",
    "could not create a primitive",
)


class PassMemoryError(RuntimeError):
    """There is not enough memory for the smallest pass."""


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on a GPU or for the process."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in _SAYINGS)


class Pieces:
    """Batches in pieces of a size that fits into memory; what did not fit is halved and repeated.

    Args:
        size: Most images of a piece; None passes whole batches until memory runs out.
        indivisible: Why pieces may not get smaller than they are; empty where they may.
    """

    def __init__(self, size: int | None = None, *, indivisible: str = "") -> None:
        self.size, self.indivisible = size, indivisible

    def split(self, *batch: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Return tensors of equal length (b, ...) in pieces whose lengths differ by one at most.

        Equal pieces leave no last one of a single image, which batch norms cannot take.
        """
        count = -(-len(batch[0]) // (self.size or len(batch[0])))
        return list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))

    def retry(
        self, attempt: Callable[[], Result], images: int, undo: Callable[[], None] | None = None
    ) -> Result:
        """Return what `attempt` does, repeated with pieces of half the size when memory runs out.

        Args:
            attempt: Passes a batch in the pieces of `split`.
            images: Images of the batch.
            undo: Takes back what a failed attempt left behind.
        Raises:
            PassMemoryError: Memory runs out with pieces of one image, or of an indivisible size.
        """
        while True:
            try:
                return attempt()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
            # Only here, out of the clause, has the error let go of the failed pass's tensors.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if undo is not None:
                undo()
            self._halve(images, said)

    def map(self, function: Callable[[torch.Tensor], Result], images: torch.Tensor) -> list[Result]:
        """Return a function's results of the pieces of images (b, ...), in order."""
        return self.retry(lambda: [function(piece) for (piece,) in self.split(images)], len(images))

    def _halve(self, images: int, said: str) -> None:
        tried = min(self.size or images, images)
        advice = (
            "lower the side of the images (train_crop_size, image_px), set amp: bf16, take a "
            "smaller model, or run fewer jobs at a time"
        )
        if self.indivisible:
            raise PassMemoryError(
                f"memory ran out on {tried} images at a time ({said}), and {self.indivisible}; or "
                f"{advice}"
            )
        if tried == 1:
            raise PassMemoryError(f"memory ran out on 1 image at a time ({said}); {advice}")
        self.size = tried // 2
        log.warning(
            "memory ran out on %d images at a time (%s); going on with %d", tried, said, self.size
        )
