"""An exported model: a folder with weights, configuration and card."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic
from torch import nn

from xferpipe.config.augmentation import Augmentation
from xferpipe.config.base import Block
from xferpipe.config.catalogue import TIMM
from xferpipe.config.datasets import with_any_place
from xferpipe.config.decoding import USUAL, Decoding
from xferpipe.config.jobs import FinetuneJob, ModelSpec
from xferpipe.datasets import splits
from xferpipe.datasets.geometry import Interpolation
from xferpipe.datasets.manifest import read_manifest
from xferpipe.datasets.pixels import Fit
from xferpipe.handover.card import model_card
from xferpipe.handover.onnx_file import FILE as ONNX
from xferpipe.handover.onnx_file import require_onnx, write_onnx
from xferpipe.handover.winner import Winner
from xferpipe.records import atomic_path
from xferpipe.records.stamp import metadata_of_job, read_stamp, stamped_text
from xferpipe.records.tensors import copy_tensors
from xferpipe.training.labelled import own_side
from xferpipe.training.resolve import resolve
from xferpipe.zoo.build import feature_dimension
from xferpipe.zoo.weights import WeightsError, load_model

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class Preprocessing(Block):
    """What becomes of a photograph before the model sees it.

    It is decoded to RGB as `decoding` says, brought to a square of `decoded_px` (`crop`: the
    shorter side, then the middle; `stretch`: both sides; bilinear), resized to `resize_px` and cut
    to the middle `crop_px` where those are given, divided by 255, and normalised.
    """

    decoding: Decoding = USUAL
    decoded_px: int
    fit: Fit
    resize_px: int | None
    crop_px: int | None
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def px(self) -> int:
        """Side of what the model sees."""
        return self.crop_px or self.resize_px or self.decoded_px


class About(Block):
    """What an exported model is: block `xferpipe` of its `config.json`."""

    task: str
    class_names: tuple[str, ...]
    spec: ModelSpec
    preprocessing: Preprocessing
    target: str
    shots: str
    model: str
    recipe: str
    seed: int
    key: str


@dataclass(frozen=True, eq=False)
class Bundle:
    """An exported model, read back.

    Attributes:
        model: In evaluation mode, on the CPU.
        about: What it is.
    """

    model: nn.Module
    about: About


def write_bundle(won: Winner, output: Path, *, onnx: bool = False) -> About:
    """Export a run: `model.safetensors`, `config.json` and `README.md`.

    A model of timm without surgery is one that `timm.create_model("local-dir:...")` opens.

    Args:
        won: The run.
        output: Folder to make.
        onnx: Write `model.onnx` too.
    Raises:
        ValueError: ONNX is asked for and cannot be had.
        FileExistsError: There is such a folder.
        WeightsError: The weights carry no account of the run.
    """
    if output.exists():
        raise FileExistsError(17, "there is such a folder; give another, or remove it", str(output))
    if onnx:
        require_onnx()
    with _new_folder(output) as folder:
        files = {"weights": WEIGHTS, "configuration": CONFIG, "card": CARD}
        about = write_files(
            won, won.manifest, **{name: folder / file for name, file in files.items()}
        )
        if onnx:
            bundle = read_bundle(folder)
            write_onnx(bundle.model, about.preprocessing.px, folder / ONNX)
    return about


def write_files(
    won: Winner, manifest: Path, *, weights: Path, configuration: Path, card: Path
) -> About:
    """Write the files of an exported run.

    Args:
        won: The run.
        manifest: Table `manifest` of its target's images.
        weights: safetensors to write.
        configuration: JSON to write.
        card: Markdown to write.
    Raises:
        WeightsError: The weights carry no account of the run.
    """
    stamp = read_stamp(won.weights)
    if stamp is None:
        raise WeightsError(
            f"{won.weights}: another program rewrote the file, so it no longer says how it was "
            "trained; run the study again"
        )
    slice_ = json.loads(stamp.slice)
    slice_["dataset"] = with_any_place(slice_["dataset"])
    job = FinetuneJob.model_validate_json(json.dumps(slice_))
    rows = read_manifest(manifest)
    drawn = {"seed": job.study_seed, "shots": job.shots, "run_seed": job.seed}
    trained = splits.training_rows(rows, job.target, **drawn)
    recipe = resolve(job.recipe, images=len(trained), image_px=job.dataset.image_px)
    about = About(
        task=job.target.task,
        class_names=trained.class_names,
        spec=job.spec,
        preprocessing=_preprocessing(job, recipe),
        target=job.target_name,
        shots=str(job.shots),
        model=job.model,
        recipe=job.recipe_name,
        seed=job.seed,
        key=stamp.key,
    )
    content = _timm_part(about, load_model(job.spec, won.weights))
    content |= {"xferpipe": about.model_dump(mode="json")} | metadata_of_job()
    copy_tensors(won.weights, weights)
    with atomic_path(configuration) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    with atomic_path(card) as temporary:
        words = model_card(won, about.model_dump(), recipe, stamp.versions)
        temporary.write_text(stamped_text(words))
    return about


def read_bundle(folder: Path) -> Bundle:
    """Read an exported model.

    Raises:
        FileNotFoundError: It is no such folder.
        ValueError: Its configuration is damaged.
        WeightsError: Its weights are damaged, or do not fit.
    """
    return read_files(folder / WEIGHTS, folder / CONFIG)


def read_files(weights: Path, configuration: Path) -> Bundle:
    """Read an exported model from its files.

    Raises:
        FileNotFoundError: There is no configuration.
        ValueError: It is damaged.
        WeightsError: The weights are damaged, or do not fit.
    """
    path = configuration
    if not path.is_file():
        raise FileNotFoundError(2, "no exported model: `xferpipe export` writes one", str(path))
    try:
        about = About.model_validate(json.loads(path.read_text())["xferpipe"])
    except (ValueError, KeyError, TypeError, pydantic.ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path} is damaged ({first}); export the model again") from None
    return Bundle(load_model(about.spec, weights), about)


@contextlib.contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """Give a folder beside `output` that is renamed to it when the block succeeds."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        yield folder
        folder.rename(output)


def _preprocessing(job: FinetuneJob, recipe: Augmentation) -> Preprocessing:
    own = own_side(job.spec, recipe)
    return Preprocessing(
        decoding=job.dataset.read_as,
        decoded_px=job.dataset.image_px,
        fit=job.dataset.fit,
        resize_px=job.spec.resize_px if own else recipe.val_resize_size,
        crop_px=own if own and job.spec.crop_pct < 1 else recipe.val_crop_size,
        interpolation=job.spec.interpolation if own else recipe.interpolation,
        mean=job.spec.mean,
        std=job.spec.std,
    )


def _timm_part(about: About, model: nn.Module) -> dict[str, object]:
    """Return what timm reads, for a model that timm can build as it is."""
    if not about.spec.architecture.startswith(TIMM) or getattr(model, "surgery", {}):
        return {}
    pre, own = about.preprocessing, model.default_cfg
    return {
        "architecture": about.spec.architecture.removeprefix(TIMM),
        "num_classes": len(about.class_names),
        "num_features": feature_dimension(model),
        "pretrained_cfg": {
            "input_size": [3, pre.px, pre.px],
            "fixed_input_size": bool(own.get("fixed_input_size")),
            "classifier": own.get("classifier"),
            "first_conv": own.get("first_conv"),
            "interpolation": pre.interpolation,
            "crop_pct": pre.px / (pre.resize_px or pre.decoded_px),
            "crop_mode": "center" if pre.fit == "crop" else "squash",
            "mean": list(pre.mean),
            "std": list(pre.std),
            "num_classes": len(about.class_names),
            "label_names": list(about.class_names),
        },
    }
