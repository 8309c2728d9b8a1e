"""The card of an exported model: what it is for, how good it is, how it was made and is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from xferpipe.config.recipes import Recipe

if TYPE_CHECKING:
    from xferpipe.handover.winner import Winner

_SHOWN_CLASSES = 50


def model_card(won: Winner, about: dict[str, Any], recipe: Recipe, versions: str) -> str:
    """Write the card, in Markdown.

    Args:
        won: The run.
        about: What `config.json` holds.
        recipe: The resolved recipe.
        versions: Versions of the libraries that trained it, as JSON.
    """
    classes = about["class_names"]
    is_retrieval = about["task"] == "retrieval"
    what = "finds identities again" if is_retrieval else f"tells {len(classes)} classes apart"
    parts = [
        f"# {about['model']} fine-tuned on {about['target']}",
        f"It {what}. Exported by xferpipe.",
        "## Figures",
        _figures(won),
        "## How sure that is",
        _how_sure(won.answer),
    ]
    if not is_retrieval:
        more = "" if len(classes) <= _SHOWN_CLASSES else ", ..."
        parts += ["## Classes", ", ".join(classes[:_SHOWN_CLASSES]) + more]
    parts += [
        "## Use",
        _use(about, is_timm=recipe.surgery is None),
        "## What becomes of a photograph",
        _preprocessing(about["preprocessing"]),
        "## How it was made",
        "\n".join(
            [
                f"- Start: {won.card['model']}, {about['spec']['architecture']}, {_start(won)}.",
                f"- Recipe `{about['recipe']}`: {recipe_words(recipe)}.",
                f"- {won.run['train_images']:,} training images; seed {about['seed']}, epoch "
                f"{won.run['kept_epoch']} of {won.run['epochs']} kept, {won.run['seconds']:.0f} s.",
                f"- Key `{about['key'][:16]}`; {_versions(versions)}.",
            ]
        ),
        "## Licences",
        "\n".join(f"- {name}: {licence}." for name, licence in _licences(won)),
    ]
    return "\n\n".join(parts) + "\n"


#: Optimisers by the names that papers give them.
_OPTIMISERS = {"sgd": "SGD", "sgd_nesterov": "Nesterov SGD", "adam": "Adam", "adamw": "AdamW"}


def recipe_words(recipe: Recipe) -> str:
    """Say in words what a recipe does: how long, how fast, what is trained."""
    if recipe.remembers:
        return (
            f"nothing is trained; the {recipe.surgery.knn.neighbours} training images of the "
            f"nearest features vote (temperature {recipe.surgery.knn.temperature:g}); the weights "
            "hold the features of all training images"
        )
    rate = f"{_OPTIMISERS[recipe.opt]} at a learning rate of {recipe.lr:g}"
    if recipe.lr_scheduler != "constant":
        rate += f" ({recipe.lr_scheduler})"
    long = f"{recipe.steps:,} steps" if recipe.steps else f"{recipe.epochs} epochs"
    return f"{long} of {rate}, batches of {recipe.batch_size}, {_trained(recipe.train_layers)}"


def _trained(layers: str | tuple[str, ...]) -> str:
    if layers == "all":
        return "all layers trained"
    if layers == "head":
        return "the last layer alone trained"
    return f"trained layers: {', '.join(layers)}"


def _start(won: Winner) -> str:
    source = won.card["source"]
    return f"weights {won.card['weights']}" + (f" of {source}" if source else "")


def _versions(versions: str) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(json.loads(versions).items()))


def _licences(won: Winner) -> list[tuple[str, str]]:
    own = "trained in the study" if won.is_own else "unknown"
    found = [("Weights that it started from", won.card["licence"] or own)]
    if won.card["source"]:
        found.append(("Images that those were trained on", won.card["source_licence"] or "unknown"))
    found.append(("Images that it was fine-tuned on", won.target["licence"] or "unknown"))
    return found


def _figures(won: Winner) -> str:
    """Return a table of figures with intervals and numbers of images."""
    run, answer, metric = won.run, won.answer, won.run["judged_by"]
    rows = ["| images | figure | value | 95 % interval | number |", "|---|---|---|---|---|"]
    value = run[f"validation_{metric}"]
    if value is not None:
        images = run["validation_images"]
        rows.append(f"| validation, which chose it | {metric} | {value:.3f} | | {images} |")
    if answer is not None and answer["test"] is not None:
        level = f"{answer['level']:.0%}".replace("%", " %")
        rows[0] = rows[0].replace("95 %", level)
        interval = f"{answer['test_low']:.3f} to {answer['test_high']:.3f}"
        runs = "" if answer["runs"] == 1 else f", mean of {answer['runs']} runs"
        figures = f"{answer['test']:.3f} | {interval} | {answer['test_images']}"
        rows.append(f"| test{runs} | {metric} | {figures} |")
    elif run["test_accuracy"] is not None:
        rows.append(f"| test | accuracy | {run['test_accuracy']:.3f} | | {run['test_images']} |")
    if len(rows) == 2:
        return "None: the study held no images out."
    return "\n".join(rows)


def _how_sure(answer: dict[str, Any] | None) -> str:
    """Say what the study's answer says of the pair: that it is the best, near it, or leads."""
    if answer is None:
        return "The study has no answer for it."
    best, near = (
        "unknown" if answer[name] is None else f"{answer[name]:.2f}"
        for name in ("probability_best", "probability_near_best")
    )
    chances = (
        f"Probability of being the best of all that were compared: {best}; of being within "
        f"{answer['indifference']:g} of it: {near}."
    )
    if answer["named"]:
        return f"The study names it as the best. {chances}"
    if answer["settled"]:
        return f"The study picks it: no other is better by a difference that matters. {chances}"
    if answer["pick"]:
        return f"It leads, and the question is open: another may be better. {chances}"
    return f"It is not the pick of the study. {chances}"


def _use(about: dict[str, Any], *, is_timm: bool) -> str:
    lines = ["```", "xferpipe predict THIS_FOLDER PHOTOS --output predictions.parquet", "```"]
    if is_timm and about["spec"]["architecture"].startswith("timm:"):
        lines += [
            "",
            "Or with timm alone, after what becomes of a photograph below:",
            "",
            "```python",
            "import timm",
            'model = timm.create_model("local-dir:THIS_FOLDER", pretrained=True).eval()',
            "```",
        ]
    return "\n".join(lines)


def _preprocessing(pre: dict[str, Any]) -> str:
    fit = "its middle square" if pre["fit"] == "crop" else "both sides"
    steps = [_decoding(pre["decoding"]), f"{fit} resized to {pre['decoded_px']} px (bilinear)"]
    if pre["resize_px"]:
        steps.append(f"resized to {pre['resize_px']} px ({pre['interpolation']})")
    if pre["crop_px"]:
        steps.append(f"cut to the middle {pre['crop_px']} px")
    steps.append(f"divided by 255, minus {list(pre['mean'])}, divided by {list(pre['std'])}")
    return "; ".join(steps) + "."


def _decoding(how: dict[str, Any]) -> str:
    """Say what a file is read as."""
    ways = {
        "percentiles": "from percentile {} to {} of each file".format(*how["percentiles"]),
        "min_max": "from the least to the largest value of each file",
        "full": "over its whole range",
    }
    window = how["window"]
    grey = ways[window] if isinstance(window, str) else f"from {window[0]:g} to {window[1]:g}"
    turned = "turned as its EXIF tag says" if how["orientation"] == "apply" else "not turned"
    return f"RGB, {turned}, transparent parts {how['background']}, grey of more than 8 bits {grey}"
