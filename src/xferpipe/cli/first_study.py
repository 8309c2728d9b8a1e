"""The first study of somebody's own images: which models, which recipes, and why these."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars

    from xferpipe.config.jobs import ManifestJob

#: A folder or file in a data set's place that gives its layout away, and the reader of it.
LAYOUTS = {
    "image_train": "veri776",
    "bounding_box_train": "market1501",
    "train_test_split": "vehicleid",
}
_TABLES = (".csv", ".parquet")
#: Word that asks for models which this workflow pretrains itself, without any download.
SMALL = "small"

_SMALL_STATISTICS = {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}
#: As in the default study: plain SGD at 0.1 leaves 26 letters at chance.
_PRETRAINING = {"epochs": 8, "batch_size": 32, "opt": "adam", "lr": 0.003}


def reader_of(images: Path) -> str:
    """Return the reader of a folder, by its layout, or of a table.

    Raises:
        ValueError: It is another file.
    """
    if images.is_file():
        if images.suffix.lower() in _TABLES:
            return "table"
        raise ValueError(f"{images}: expected a folder, or a table ({', '.join(_TABLES)})")
    return next(
        (reader for entry, reader in LAYOUTS.items() if (images / entry).is_dir()), "image_folder"
    )


def listed(job: ManifestJob, root: Path) -> polars.DataFrame:
    """List images as the workflow does: rows of table `manifest`.

    Args:
        job: The data set and how it is split.
        root: Folder that its paths start from.
    """
    from xferpipe.datasets.manifest import read_manifest
    from xferpipe.stages.manifest import manifest

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        manifest(job, root=root, manifest=path)
        return read_manifest(path)


def content(
    *,
    name: str,
    images: Path,
    reader: str,
    task: str,
    models: list[str],
    image_px: int | None,
    seeds: int,
) -> dict[str, Any]:
    """Return a study of one target.

    Args:
        name: Name of the study and of its target.
        images: Folder of the images, or the table that lists them; written as it is, so that a
            relative one stays relative.
        reader: Reader of the data set, see `xferpipe.config.datasets`.
        task: classification or retrieval.
        models: `small`, torchvision names, or `timm:<name>`.
        image_px: Side in pixels that images are decoded to; None: 32 for small models, else 224.
        seeds: Runs of each model: without two, nobody knows how sure an answer is.
    Returns:
        What `config.yaml` holds.
    Raises:
        ValueError: A model has an unknown name or no pretrained weights.
    """
    small = SMALL in models
    px = image_px or (32 if set(models) == {SMALL} else 224)
    if reader == "table":
        dataset: dict[str, Any] = {"reader": "table", "path": str(images)}
        dataset["root"] = str(images.parent)
    else:
        dataset = {"reader": reader, "root": str(images)}
    datasets = {name: dataset | {"image_px": px}}
    zoo: dict[str, Any] = {}
    for model in models:
        zoo.update(_small(px) if model == SMALL else entry_of(model))
    study: dict[str, Any] = {"name": name, "seed": 0, "datasets": datasets}
    if small:
        if name in _sources(px):
            raise ValueError(f"--name: {name!r} is a source of the small models; give another name")
        datasets.update(_sources(px))
    study["targets"] = {name: {"dataset": name, "task": task}}
    if small:
        study["pretraining_recipes"] = {"upstream": dict(_PRETRAINING)}
    study["finetuning_recipes"] = _recipes(task)
    study["zoo"] = zoo
    runs = list(range(seeds))
    study["finetunes"] = [{"recipes": list(study["finetuning_recipes"]), "seeds": runs}]
    return study


def _recipes(task: str) -> dict[str, Any]:
    if task == "retrieval":
        return {
            "identities": {
                "epochs": 20,
                "batch_size": 32,
                "opt": "adam",
                "lr": 0.001,
                "loss": "cross_entropy_triplet",
                "sampler": "pk",
            }
        }
    return {
        "whole_model": {"epochs": 10, "batch_size": 32, "lr": 0.01},
        "head_only": {"epochs": 10, "batch_size": 32, "lr": 0.1, "train_layers": "head"},
    }


def _sources(px: int) -> dict[str, Any]:
    return {
        "digits": {"reader": "digits", "image_px": px},
        "letters": {"reader": "generated", "kind": "letters", "classes": 26, "image_px": px},
        "shapes": {"reader": "generated", "kind": "shapes", "classes": 8, "image_px": px},
        "textures": {"reader": "generated", "kind": "textures", "classes": 8, "image_px": px},
    }


def _small(px: int) -> dict[str, Any]:
    pretrained = {
        f"resnet8_{source}": {
            "architecture": "cifar_resnet8",
            "weights": "pretrain",
            "source": source,
            "recipe": "upstream",
            **_SMALL_STATISTICS,
        }
        for source in _sources(px)
    }
    random = {"architecture": "cifar_resnet8", "weights": "random", **_SMALL_STATISTICS}
    return pretrained | {"resnet8_random": random}


def entry_of(model: str) -> dict[str, Any]:
    """Return the zoo entry of a pretrained model, by its name in the zoo.

    Raises:
        ValueError: The name is unknown, or the model has no pretrained weights.
    """
    if model.startswith("timm:"):
        import timm

        architecture, _, tag = model.removeprefix("timm:").partition(".")
        if not timm.is_model(architecture):
            raise ValueError(
                f"--models: timm has no model {architecture!r}; see timm.list_models()"
            )
        config = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
        tag = tag or (config.tag if config is not None else "")
        if not tag:
            raise ValueError(f"--models: timm has no pretrained weights for {architecture!r}")
        statistics = {"mean": list(config.mean), "std": list(config.std)}
        entry = {"architecture": f"timm:{architecture}", "weights": "timm", "name": tag}
        return {f"{architecture}.{tag}": entry | statistics}
    from torchvision import models

    known = models.list_models(module=models)
    if model not in known:
        near = [name for name in known if name[:3] == model[:3]]
        raise ValueError(
            f"--models: {model!r} is unknown; allowed: {SMALL}, timm:<name>, and torchvision's "
            f"{', '.join(near or known)}"
        )
    weights = models.get_model_weights(model).DEFAULT.name
    return {model: {"architecture": model, "weights": "torchvision", "name": weights}}
