"""The first study of somebody's own images: which recipes, how long, and why these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xferpipe.cli.named_models import FOUNDATIONS, LITE, PACKAGES, SMALL, entries_of
from xferpipe.config.datasets import TABLE_SUFFIXES
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.known_models import row_of
from xferpipe.config.zoo import ZooEntry

#: A folder or file in a data set's place that gives its layout away, and the reader of it.
LAYOUTS = {
    "image_train": "veri776",
    "bounding_box_train": "market1501",
    "train_test_split": "vehicleid",
    "list_train.txt": "msmt17",
    "detected/bounding_box_train": "cuhk03_np",
    "labeled/bounding_box_train": "cuhk03_np",
}
#: Readers of identities in folders and names; of them the last takes any folder.
IDENTITIES = (*dict.fromkeys(LAYOUTS.values()), "dukemtmc", "identity_folder")
#: Names of DukeMTMC-reID, whose folders have the names of Market-1501's.
_OF_DUKE = re.compile(r"\d+_c\d+_f\d+\.\w+")
#: Fine-tuning time of a race where nobody says how much.
BUDGET = "30m"
#: Runs of each pair: without two, nobody knows how sure an answer is. A race asks for fewer.
SEEDS, MOST_SEEDS = 2, 3
#: Sides in pixels: of small models; of images for them and the lite ones; for all others.
_SMALL_PX, _LITE_PX, _PX = 32, 96, 224
#: Largest side that a data set may have.
_MOST_PX = 1024
#: Images that a choice should rest on, and the part of the training images that it may take.
_CHOSEN_ON, _MOST_HELD_OUT, _HELD_OUT = 100, 0.4, 0.2

_SMALL_STATISTICS = {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}
#: As in the default study: plain SGD at 0.1 leaves 26 letters at chance.
_PRETRAINING = {"epochs": 8, "batch_size": 32, "opt": "adam", "lr": 0.003}
#: Recipes of the history of transfer that comes with xferpipe, under their names there: what is
#: known of them counts from the first round on (studies/history/history.yaml).
_RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "classification": {
        "head": {
            "epochs": 30,
            "batch_size": 32,
            "lr": 0.05,
            "train_layers": "head",
            "cache_features": True,
        },
        "gentle": {
            "epochs": 5,
            "batch_size": 16,
            "opt": "adamw",
            "lr": 0.0005,
            "freeze_bn": "all",
        },
        "strong": {"epochs": 5, "batch_size": 16, "opt": "adamw", "lr": 0.003},
    },
    "retrieval": {
        "identities": {
            "epochs": 20,
            "batch_size": 32,
            "opt": "adam",
            "lr": 0.001,
            "loss": "cross_entropy_triplet",
            "sampler": "pk",
        },
        "identities_gentle": {
            "epochs": 20,
            "batch_size": 32,
            "opt": "adam",
            "lr": 0.0003,
            "freeze_bn": "all",
            "loss": "cross_entropy_triplet",
            "sampler": "pk",
        },
    },
}


#: Recipes that are offered by name and not among those of a first study: presets for foundation
#: backbones.
_BY_NAME: dict[str, dict[str, dict[str, Any]]] = {
    "classification": {
        "knn": {"preset": "knn"},
        "linear_probe": {"preset": "linear_probe"},
        "lora": {"preset": "lora"},
        "full": {"preset": "full_finetune"},
    },
    "retrieval": {},
}


def reader_of(images: Path) -> str:
    """Return the reader of a folder, by its layout, or of a table.

    Raises:
        ValueError: It is another file.
    """
    if images.is_file():
        if images.suffix.lower() in TABLE_SUFFIXES:
            return "table"
        raise ValueError(f"{images}: expected a folder, or a table ({', '.join(TABLE_SUFFIXES)})")
    reader = next(
        (reader for entry, reader in LAYOUTS.items() if (images / entry).exists()), "image_folder"
    )
    if reader == "market1501":
        names = (path.name for path in (images / "bounding_box_train").iterdir())
        if any(map(_OF_DUKE.fullmatch, names)):
            return "dukemtmc"
    return reader


def usual_task(images: Path, reader: str) -> str:
    """Return what a folder or table is for: retrieval where there are identities."""
    if reader == "table":
        from xferpipe.datasets.readers.table import column_names

        return "retrieval" if "identity" in column_names(images) else "classification"
    return "retrieval" if reader in IDENTITIES else "classification"


def study_name(images: Path) -> str:
    """Return the name that a study of a folder or table gets."""
    words = re.sub(r"[^A-Za-z0-9_.-]+", "_", images.resolve().stem).strip("_.-")
    return words or "study"


def words_of(text: str) -> list[str]:
    """Take words apart that stand between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def budget_of(text: str) -> dict[str, Any] | None:
    """Read a budget: a time of fine-tuning, a number of runs, or `all`.

    Args:
        text: `90s`, `5m`, `1.5h`, `12` or `all`.
    Returns:
        Block `budget` of a race; None for everything.
    Raises:
        ValueError: It is none of these, or nothing can be run within it.
    """
    if text == "all":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    amount = float(found[1]) if found else 0.0
    if not found or amount <= 0 or (not found[2] and amount != int(amount)):
        raise ValueError(
            f"--budget: {text!r} is no budget; expected a time of fine-tuning as 90s, 5m or 2h, a "
            "number of runs as 12, or all"
        )
    if not found[2]:
        return {"runs": int(amount)}
    if found[2] == "s":
        return {"minutes": amount / 60}
    return {"minutes" if found[2] == "m" else "hours": int(amount) if amount % 1 == 0 else amount}


def recipes_of(task: str, wanted: Sequence[str] | None) -> dict[str, Any]:
    """Return the recipes of a task, the usual ones or those that are named.

    Raises:
        ValueError: One is unknown.
    """
    usual = _RECIPES[task]
    known = usual | _BY_NAME[task]
    for name in wanted or ():
        if name not in known:
            raise ValueError(
                f"--recipes: {name!r} is unknown; allowed for {task}: {', '.join(known)}. Others "
                "are written into the study, below finetuning_recipes"
            )
    return {name: dict(known[name]) for name in known if name in (wanted or usual)}


def usual_recipes(task: str, models: Sequence[str]) -> list[str]:
    """Return the recipes of a first study where nobody names some.

    Of foundation backbones alone they are the presets made for these: training a vision transformer
    at the rates of a convolutional network forgets what it knows.
    """
    return list(
        _BY_NAME[task] if set(models) <= {*FOUNDATIONS} and _BY_NAME[task] else _RECIPES[task]
    )


def dataset_of(
    images: Path,
    reader: str,
    models: Sequence[str],
    px: int | None,
    task: str = "classification",
    pattern: str | None = None,
) -> dict[str, Any]:
    """Return the block of a data set.

    Args:
        images: Folder of the images, or the table that lists them; written as it is, so that a
            relative one stays relative.
        reader: Reader of the data set, see `xferpipe.config.datasets`.
        models: Words for the models.
        px: Side in pixels that images are decoded to; None: 32 for small models alone, 96 with
            lite ones, else 224, or more where a model takes images of its own side alone.
        task: classification or retrieval; images of identities are stretched and never cut.
        pattern: What reads the names of an `identity_folder`; None: a folder an identity.
    """
    if px is None:
        px = max([_usual_px(models), *map(decoded_px, entries_of(models).values())])
    if reader == "table":
        place = {"path": str(images), "root": str(images.parent)}
    else:
        place = {"root": str(images)}
    # Said in the study, so that whoever reads it sees what is done to upright images.
    fit = {"fit": "stretch"} if task == "retrieval" else {}
    block = {"reader": reader, **place, "image_px": px, **fit}
    if reader == "identity_folder":
        block |= {} if pattern is None else {"pattern": pattern}
        splits = [name for name in ("train", "query", "gallery") if (images / name).is_dir()]
        block |= {"folders": {name: name for name in splits}} if len(splits) == 3 else {}
    elif reader == "cuhk03_np" and not (images / "detected").is_dir():
        block["boxes"] = "labeled"
    return block


def _usual_px(models: Sequence[str]) -> int:
    """Return the side that models of any side get."""
    if set(models) == {SMALL}:
        return _SMALL_PX
    return _LITE_PX if set(models) <= {SMALL, LITE, *PACKAGES} else _PX


def decoded_px(content: dict[str, Any]) -> int:
    """Return the side that images are decoded to for a model of one side alone; 0 for others."""
    entry = ZooEntry.model_validate(content)
    row, spec = row_of(entry), ModelSpec.of(entry)
    return min(spec.resize_px, _MOST_PX) if row is not None and row.fixed else 0


def _fed(content: dict[str, Any], px: int, usual_px: int, *, asked: bool) -> dict[str, Any]:
    """Return a zoo entry with the side of its images, where that is not the data set's.

    Args:
        content: The entry.
        px: Side of the data set's images.
        usual_px: Side for a model that takes any.
        asked: Somebody asked for this side of the data set: models that can be built for it are.
    """
    row = row_of(ZooEntry.model_validate(content))
    if row is None:
        return content
    if row.fixed:
        return content | {"image_px": px} if asked and row.takes(px) else content
    side = px if asked else usual_px
    side = side if row.takes(side) else row.side
    return content if side == px else content | {"image_px": side}


def content(
    *,
    name: str,
    dataset: dict[str, Any],
    task: str,
    training_images: int,
    models: Sequence[str],
    recipes: Sequence[str] | None,
    budget: dict[str, Any] | None,
    seeds: int | None,
    image_px: int | None = None,
) -> dict[str, Any]:
    """Return a study of one target.

    Args:
        name: Name of the study and of its target.
        dataset: Its images, see `dataset_of`.
        task: classification or retrieval.
        training_images: How many of the images are no test images.
        models: Words for the models, see `named_models`.
        recipes: Names of the recipes; None: the usual ones of the task and the models.
        budget: What the race may cost; None: everything is run.
        seeds: Runs of each model and recipe; None: as many as the race needs, up to 3, or 2.
        image_px: Side in pixels that was asked for; None: it follows from the models.
    Returns:
        What `config.yaml` holds.
    Raises:
        ValueError: A model or recipe is unknown, or the name is that of a source.
    """
    small, px = SMALL in models, dataset["image_px"]
    # Beside others the small models see small images: they are what is cheap.
    small_px = px if set(models) == {SMALL} else min(px, _SMALL_PX)
    datasets = {name: dataset}
    usual_px, asked = _usual_px(models), image_px is not None
    zoo = {
        model: _fed(entry, px, usual_px, asked=asked) for model, entry in entries_of(models).items()
    }
    study: dict[str, Any] = {"name": name, "seed": 0, "datasets": datasets}
    if small:
        if name in _sources(px):
            raise ValueError(f"--name: {name!r} is a source of the small models; give another name")
        datasets.update(_sources(small_px))
        zoo |= _small(small_px, side=None if small_px == px else small_px)
    target: dict[str, Any] = {"dataset": name, "task": task}
    if task == "classification" and training_images * _HELD_OUT < _CHOSEN_ON:
        target["validation_fraction"] = round(min(_MOST_HELD_OUT, _CHOSEN_ON / training_images), 2)
    study["targets"] = {name: target}
    if small:
        study["pretraining_recipes"] = {"upstream": dict(_PRETRAINING)}
    study["finetuning_recipes"] = recipes_of(task, recipes or usual_recipes(task, models))
    study["zoo"] = zoo
    if budget is None:
        grid = {"recipes": list(study["finetuning_recipes"]), "seeds": list(range(seeds or SEEDS))}
        study["finetunes"] = [grid]
        study["export"] = {"targets": "all"}
    else:
        study["choose"] = [{"budget": budget, "seeds": seeds or MOST_SEEDS}]
    return study


def _sources(px: int) -> dict[str, Any]:
    return {
        "digits": {"reader": "digits", "image_px": px},
        "letters": {"reader": "generated", "kind": "letters", "classes": 26, "image_px": px},
        "shapes": {"reader": "generated", "kind": "shapes", "classes": 8, "image_px": px},
        "textures": {"reader": "generated", "kind": "textures", "classes": 8, "image_px": px},
    }


def small_models() -> list[str]:
    """Return the names of the models that `small` stands for."""
    return list(_small(_SMALL_PX, side=None))


def _small(px: int, side: int | None) -> dict[str, Any]:
    """Return the small models' entries; `side` is what they resize images to."""
    fed = _SMALL_STATISTICS | ({} if side is None else {"image_px": side})
    pretrained = {
        f"resnet8_{source}": {
            "architecture": "cifar_resnet8",
            "weights": "pretrain",
            "source": source,
            "recipe": "upstream",
            **fed,
        }
        for source in _sources(px)
    }
    return pretrained | {
        "resnet8_random": {"architecture": "cifar_resnet8", "weights": "random", **fed}
    }
