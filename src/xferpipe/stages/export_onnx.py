"""The export_onnx stage: an exported model in the format of ONNX."""

from __future__ import annotations

from pathlib import Path

from xferpipe.config.jobs import ExportOnnxJob
from xferpipe.handover.bundle import read_files
from xferpipe.handover.onnx_file import write_onnx


def export_onnx(job: ExportOnnxJob, *, weights: Path, configuration: Path, onnx: Path) -> None:
    """Write an exported model as ONNX.

    Args:
        job: The resolved slice.
        weights: The exported weights.
        configuration: What the model is.
        onnx: Written: from `images` float32 (b, 3, px, px), normalised, to `logits` (b, c).
    Raises:
        ValueError: The extra is not installed, the model has no ONNX form, or outputs differ.
    """
    bundle = read_files(weights, configuration)
    write_onnx(bundle.model, bundle.about.preprocessing.px, onnx)
