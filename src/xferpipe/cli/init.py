"""`xferpipe init`: from a folder of images to a study that can be run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson

_HEAD = """\
# A study of your own images, written by `xferpipe init`; docs/configuration.md explains every key.
#
#   xferpipe plan --configfile {path}                     what would run, and how long
#   {run}             run it
#
# The report is then results/{name}/report.html.
#
# Relative paths count from the folder that snakemake is started in, where `results` is made: with
# them, the folder can move as a whole. Neither ~ nor $HOME is expanded here.
"""
#: Fewer images than this in a class leave next to nothing to train on after the hold-outs.
_FEW_IMAGES = 10


def init(
    output: Annotated[Path, typer.Argument(help="Study to write.")] = Path("study.yaml"),
    images: Annotated[
        Path | None,
        typer.Option(help="Folder with one folder per class, a re-ID set, or a CSV/Parquet table."),
    ] = None,
    task: Annotated[
        Literal["classification", "retrieval"] | None,
        typer.Option(help="Classes to tell apart, or identities to find again."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Models with commas: small (pretrained here, no download), torchvision names such "
            "as resnet50, timm:<name>."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study; unset: the folder's.")
    ] = None,
    image_px: Annotated[
        int | None, typer.Option(min=8, max=1024, help="Side in pixels; unset: 32 or 224.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Runs of each model.")] = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing study.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented study of your own images, and check the images.

    Asks for what no option says when it runs in a terminal.

    Example: xferpipe init flowers.yaml --images photos/flowers --task classification --models small
    """
    from xferpipe.cli.first_study import LAYOUTS, content, reader_of
    from xferpipe.config import load_study
    from xferpipe.config.commented import commented_yaml
    from xferpipe.records import atomic_path

    if output.is_dir():
        raise ValueError(f"{output} is a folder; give the study a name in it")
    if output.exists() and not force:
        raise ValueError(f"{output} is there already; give another name, or --force to replace it")
    # A shell expands `~` only where nothing quotes it, and a study does not expand it at all.
    images = Path(os.path.expanduser(images or _ask("images", "Where are the images?")))
    if not images.exists():
        raise FileNotFoundError(2, "no such folder or table", str(images))
    reader = reader_of(images)
    reidentification = reader in LAYOUTS.values()
    if task is None:
        default = "retrieval" if reidentification else "classification"
        task = _ask("task", "classification or retrieval?", default)
    if reidentification and task == "classification":
        raise ValueError(f"{images} is a {reader} set: its task is retrieval, not classification")
    if task == "retrieval" and reader == "image_folder":
        raise ValueError(
            f"{images} has no re-identification layout ({', '.join(LAYOUTS)}); give one, or a CSV "
            "or Parquet table with path, identity, camera and split"
        )
    asked = models or _ask("models", "Which models?", "small")
    wanted = [word.strip() for word in asked.split(",") if word.strip()]
    with look.progress("looking up models", quiet=as_json):
        study = content(
            name=name or _name(images),
            images=images,
            reader=reader,
            task=task,
            models=wanted,
            image_px=image_px,
            seeds=seeds,
        )
    checked = load_study(study)
    with look.progress("reading the images", quiet=as_json):
        found = _check(checked, study["name"])
    run = f"snakemake --cores all --configfile {output}"
    if not Path("Snakefile").exists():
        run += ' --snakefile "$(xferpipe snakefile)"'
    head = _HEAD.format(path=output, name=study["name"], run=run)
    with atomic_path(output) as temporary:
        temporary.write_text(commented_yaml(study, head))
    facts = {
        "study": str(output),
        "task": task,
        "models": list(study["zoo"]),
        "finetunes": len(checked.runs()),
        **found,
    }
    if as_json:
        look.print_json(facts)
        return
    _tell(facts, run)


def _ask(option: str, question: str, default: str | None = None) -> str:
    """Ask in a terminal; elsewhere nobody could answer."""
    if not sys.stdin.isatty():
        raise ValueError(f"--{option} is needed where there is no terminal to ask in")
    return typer.prompt(question, default=default, err=True)


def _name(images: Path) -> str:
    words = re.sub(r"[^A-Za-z0-9_.-]+", "_", images.resolve().stem).strip("_.-")
    return words or "study"


def _check(study, target: str) -> dict:
    """List the images as the workflow will, so that what is wrong is said now."""
    import polars

    from xferpipe.cli.first_study import listed
    from xferpipe.graph.stages import job_of
    from xferpipe.graph.stages.parts import root

    rows = listed(job_of(study, "manifest", target), root(study, target))
    training = rows.filter(polars.col("split") == "train")
    sizes = training["class_name"].value_counts().sort("count", "class_name")
    return {
        "images": rows.height,
        "splits": dict(rows["split"].value_counts(sort=True).rows()),
        "classes": sizes.height,
        "smallest_class": sizes["class_name"][0],
        "smallest_class_images": sizes["count"][0],
    }


def _tell(facts: dict, run: str) -> None:
    splits = ", ".join(f"{count} {split}" for split, count in facts["splits"].items())
    kind = "identities" if facts["task"] == "retrieval" else "classes"
    typer.echo(f"images     {facts['images']} ({splits})")
    typer.echo(f"{kind:<10} {facts['classes']}")
    typer.echo(f"models     {len(facts['models'])}: {', '.join(facts['models'])}")
    typer.echo(f"runs       {facts['finetunes']} fine-tunes")
    typer.echo(f"written    {facts['study']}")
    few = facts["smallest_class_images"]
    if facts["task"] == "classification" and few < _FEW_IMAGES:
        smallest = f"class {facts['smallest_class']!r} has {few} training images"
        look.say(f"note: {smallest}, so answers will be unsure")
    look.say(f"\nNext:\n  xferpipe plan --configfile {facts['study']}\n  {run}")
