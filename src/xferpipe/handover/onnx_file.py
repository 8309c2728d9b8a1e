"""An exported model as ONNX, checked for equal outputs."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch
from torch import nn

FILE = "model.onnx"
#: Largest difference of a logit, relative to the largest logit.
_ALLOWED = 1e-3
_EXTRA = "pip install 'xferpipe[onnx]'"


class _Flat(nn.Module):
    """Gives logits (b, c), whatever shape a fully convolutional classifier leaves."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images).flatten(1)


def require_onnx() -> None:
    """Raise where the packages of the extra are missing.

    Raises:
        ValueError: They are; what to install.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"ONNX needs the package {error.name}: {_EXTRA}") from None


def write_onnx(model: nn.Module, px: int, path: Path) -> float:
    """Write a model as ONNX: `images` float32 (b, 3, px, px), normalised, to `logits` (b, c).

    Args:
        model: In evaluation mode, on the CPU.
        px: Side of what it sees.
        path: File to write.
    Returns:
        Largest difference of a logit between both, relative to the largest.
    Raises:
        ValueError: The packages are missing, the model has no ONNX form, or its outputs differ.
    """
    require_onnx()
    import onnxruntime

    draw = torch.Generator().manual_seed(0)
    # Batches of two sizes: a batch that was fixed in the graph would show.
    images = torch.randn((3, 3, px, px), generator=draw)
    flat = _Flat(model).eval()
    quiet = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                flat,
                (images[:2],),
                path,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=1 << 20)}},
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of any of the exporter's many parts
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{type(model).__name__} has no ONNX form ({first}); export it without --onnx"
        ) from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for some in (images, images[:1]):
        with torch.inference_mode():
            expected = flat(some)
        (found,) = session.run(None, {"images": some.numpy()})
        difference = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
        worst = max(worst, float(difference))
    if not worst <= _ALLOWED:
        raise ValueError(
            f"the ONNX form gives other outputs (by {worst:.2g} of the largest logit, at most "
            f"{_ALLOWED:g} is allowed); export it without --onnx"
        )
    return worst
