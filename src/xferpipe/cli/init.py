"""`xferpipe init`: from a folder of images to a study that can be run."""

from __future__ import annotations

import contextlib
import csv
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xferpipe.cli import look
from xferpipe.cli.options import AsJson, SkipUnreadable
from xferpipe.console.words import program

if TYPE_CHECKING:
    import polars


Task = Annotated[
    Literal["classification", "retrieval"] | None,
    typer.Option(help="Classes to tell apart, or identities to find again."),
]
Models = Annotated[
    str | None,
    typer.Option(
        help="Models with commas: small (pretrained here), lite (ImageNet, as Python packages), "
        "dinov2, siglip, clip, names of torchvision, timm:<name>, or FILE@<its architecture>."
    ),
]
Recipes = Annotated[
    str | None,
    typer.Option(
        help="Recipes with commas: head, gentle, strong (unset: these), knn, linear_probe, "
        "lora, full."
    ),
]
BudgetText = Annotated[
    str | None,
    typer.Option(help="Fine-tuning at most: a time (5m, 2h), a number of runs (12), or all."),
]
ImagePx = Annotated[
    int | None,
    typer.Option(
        min=8, max=1024, help="Side in pixels; unset: 32 (small), 96 (lite), 224, or more."
    ),
]

#: Classes that are named where a study is written.
_CLASSES = 20
#: Files whose reading is shown.
_SHOWN = 5

_HEAD = """\
# A study of your own images, written by `xferpipe init`; docs/configuration.md explains every key.
#
#   {plan}     what would run, and how long
#   {run}     run it
#   {snakemake}     the same
#
# The report is then results/{name}/report.html, and the model that it picks results/{name}/export.
#
# Relative paths count from the folder that it is started in, where `results` is made: with them,
# the folder can move as a whole. Neither ~ nor $HOME is expanded here.
"""


def init(
    output: Annotated[Path, typer.Argument(help="Study to write.")] = Path("study.yaml"),
    images: Annotated[
        Path | None,
        typer.Option(help="Folder with one folder per class, a re-ID set, or a CSV/Parquet table."),
    ] = None,
    task: Task = None,
    models: Models = None,
    recipes: Recipes = None,
    budget: BudgetText = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study; unset: the folder's.")
    ] = None,
    image_px: ImagePx = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, help="Runs of each model and recipe; unset: as many as needed."
        ),
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression that reads names of a retrieval folder, with groups identity, "
            "camera and sequence; unset: a folder an identity."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing study.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented study of your own images, and check the images.

    Asks for what no option says when it runs in a terminal. `xferpipe run` does it all in one.

    Example: xferpipe init flowers.yaml --images photos/flowers --task classification --models small
    """
    from xferpipe.cli.first_study import reader_of, usual_task
    from xferpipe.cli.named_models import usual_models

    if output.is_dir():
        raise ValueError(f"{output} is a folder; give the study a name in it")
    if output.exists() and not force:
        raise ValueError(f"{output} is there already; give another name, or --force to replace it")
    images = found_images(images or _ask("images", "Where are the images?"))
    if task is None:
        usual = usual_task(images, reader_of(images))
        task = _ask("task", "classification or retrieval?", usual)
    models = models or _ask("models", "Which models?", ",".join(usual_models()))
    options = Options(
        task, models, recipes, budget, name, image_px, seeds, skip_unreadable, pattern
    )
    with listed_beside(output):
        study, facts = first_study(images, options, quiet=as_json)
    write(study, images, output)
    facts = {"study": str(output), **facts}
    if as_json:
        look.print_json(facts)
        return
    tell(facts)
    next_ = _commands(program("xferpipe"), images, output)[:2]
    look.say("\nNext:\n" + "\n".join(f"  {line}" for line in next_))


@dataclass(frozen=True)
class Options:
    """What a person says of a first study; None where nothing is said.

    Attributes:
        task: classification or retrieval.
        models: Words with commas.
        recipes: Names with commas.
        budget: As `budget_of` reads it.
        name: Name of the study.
        image_px: Side in pixels.
        seeds: Runs of each model and recipe.
        skip_unreadable: Leave out images that cannot be decoded.
        pattern: Regular expression that reads identities from names.
    """

    task: str | None = None
    models: str | None = None
    recipes: str | None = None
    budget: str | None = None
    name: str | None = None
    image_px: int | None = None
    seeds: int | None = None
    skip_unreadable: bool = False
    pattern: str | None = None


@contextlib.contextmanager
def listed_beside(study: Path) -> Iterator[None]:
    """Write all images that cannot be decoded to a table beside the study, and name it.

    Raises:
        UnreadableImages: There are more than the message names.
    """
    from xferpipe.datasets.unreadable import NAMED, UnreadableImages
    from xferpipe.records import atomic_path

    try:
        yield
    except UnreadableImages as error:
        if len(error.problems) <= NAMED:
            raise
        place = study.with_name(f"{study.stem}_unreadable.csv")
        with atomic_path(place) as temporary, temporary.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "reason"])
            rows.writerows((problem.path, problem.reason) for problem in error.problems)
        raise UnreadableImages(
            error.problems, of=error.of, where=error.where, all_in=str(place)
        ) from None


def found_images(given: Path | str) -> Path:
    """Return the folder or table of the images.

    Raises:
        FileNotFoundError: There is none.
    """
    # A shell expands `~` only where nothing quotes it, and a study does not expand it at all.
    images = Path(os.path.expanduser(given))
    if not images.exists():
        raise FileNotFoundError(2, "no such folder or table", str(images))
    return images


def first_study(images: Path, options: Options, *, quiet: bool) -> tuple[dict, dict]:
    """Return the study of a folder of images, and what is in it; the images are checked.

    Args:
        images: Folder or table.
        options: What is said of it; what is not said is the usual.
        quiet: Show no progress.
    Raises:
        ValueError: Options do not go together, or a model, recipe or budget is unknown.
        DatasetError: The images cannot be used.
    """
    from xferpipe.cli import first_study as first
    from xferpipe.cli.named_models import usual_models
    from xferpipe.config import load_study
    from xferpipe.config.jobs import ManifestJob
    from xferpipe.config.retrieval import Retrieval
    from xferpipe.datasets.findings import findings
    from xferpipe.stages.manifest import listing

    reader = first.reader_of(images)
    task = options.task or first.usual_task(images, reader)
    if task == "retrieval" and reader == "image_folder":
        reader = "identity_folder"
    if options.pattern is not None and reader != "identity_folder":
        raise ValueError(
            f"--pattern reads names of images of identities, but {images} is read as {reader}; "
            "give --task retrieval and a folder without a layout of its own, or leave it out"
        )
    if reader in first.IDENTITIES and task == "classification":
        raise ValueError(f"{images} is a {reader} set: its task is retrieval, not classification")
    name = options.name or first.study_name(images)
    budget = first.budget_of(options.budget or first.BUDGET)
    recipes = None if options.recipes is None else first.words_of(options.recipes)
    first.recipes_of(task, recipes)
    models = first.words_of(options.models) if options.models else usual_models()
    dataset = first.dataset_of(images, reader, models, options.image_px, task, options.pattern)
    if options.skip_unreadable:
        dataset["unreadable"] = "skip"
    with look.progress("reading the images", quiet=quiet) as progress:
        asked = {"junk_rule": Retrieval().junk_rule} if task == "retrieval" else None
        job = ManifestJob.model_validate(
            {"name": name, "dataset": dataset, "seed": 0, "ranked": asked}
        )
        listed = listing(job, Path(dataset["root"]), whole=True, progress=progress)
        odd = findings(job.dataset, listed.rows, listed.findings)
        found = _facts(listed.rows) | {"findings": odd}
    with look.progress("looking up models", quiet=quiet):
        study = first.content(
            name=name,
            dataset=dataset,
            task=task,
            training_images=found["splits"].get("train", 0),
            models=models,
            recipes=recipes,
            budget=budget,
            seeds=options.seeds,
            image_px=options.image_px,
        )
        checked = load_study(study)
        # What packages bring is looked up with the models' names.
        if files := {name: one for name, one in checked.zoo.items() if one.weights == "file"}:
            from xferpipe.zoo.origins import check_fit

            check_fit(files)
    facts = {
        "task": task,
        "models": list(study["zoo"]),
        "recipes": list(study["finetuning_recipes"]),
        "budget": None if budget is None else checked.choose[0].budget.words,
        "finetunes": len(checked.possible_runs()),
        **found,
    }
    return study, facts


def write(study: dict, images: Path, output: Path) -> None:
    """Write a study with a comment above every key."""
    from xferpipe.config.commented import commented_yaml
    from xferpipe.records import atomic_path

    # Without the place of this installation: a study is handed on.
    plan, run, snakemake = _commands("xferpipe", images, output)
    head = _HEAD.format(plan=plan, run=run, snakemake=snakemake, name=study["name"])
    with atomic_path(output) as temporary:
        temporary.write_text(commented_yaml(study, head))


def _commands(xferpipe: str, images: Path, output: Path) -> list[str]:
    """Return the commands that plan and run a study, as they work in the present folder."""
    file = shlex.quote(str(output))
    return [
        f"{xferpipe} plan --configfile {file}",
        f"{xferpipe} run {shlex.quote(str(images))} --study {file}",
        f'snakemake --cores all --configfile {file} --snakefile "$({xferpipe} snakefile)"',
    ]


def _ask(option: str, question: str, default: str | None = None) -> str:
    """Ask in a terminal; elsewhere nobody could answer."""
    if not sys.stdin.isatty():
        raise ValueError(f"--{option} is needed where there is no terminal to ask in")
    return typer.prompt(question, default=default, err=True)


def _facts(rows: polars.DataFrame) -> dict:
    """Count the images of a manifest."""
    import polars

    training = rows.filter(polars.col("split") == "train")
    sizes = rows.group_by("class_name", "label").len().sort("label").select("class_name", "len")
    has_queries = (rows["split"] == "query").any()
    return {
        "images": rows.height,
        "splits": dict(rows["split"].value_counts(sort=True).rows()),
        "classes": training["class_name"].n_unique(),
        "images_of_classes": {} if has_queries else dict(sizes.rows()),
        "read": _read(rows) if rows["identity"].count() else [],
    }


def _counted(facts: dict) -> str:
    """Return the classes with their images; identities are numbers that say nothing."""
    if not facts["images_of_classes"]:
        return ""
    named = [f"{name} ({count:,})" for name, count in facts["images_of_classes"].items()]
    more = f" and {len(named) - _CLASSES} more" if len(named) > _CLASSES else ""
    return f": {', '.join(named[:_CLASSES])}{more}"


def _read(rows: polars.DataFrame) -> list[dict]:
    """Return what was read of the first files, by their paths: is the pattern the right one?"""
    columns = ("path", "split", "identity", "camera", "sequence")
    return rows.sort("path").head(_SHOWN).select(columns).to_dicts()


def tell(facts: dict) -> None:
    """Print what is in a study that was written."""
    splits = ", ".join(f"{count} {split}" for split, count in facts["splits"].items())
    kind = "identities" if facts["task"] == "retrieval" else "classes"
    runs = f"{facts['finetunes']} fine-tunes"
    if facts["budget"] is not None:
        runs = f"a race of at most {facts['budget']} of fine-tuning, among {runs}"
    typer.echo(f"images     {facts['images']} ({splits})")
    typer.echo(f"{kind:<10} {facts['classes']}{_counted(facts)}")
    typer.echo(f"models     {len(facts['models'])}: {', '.join(facts['models'])}")
    typer.echo(f"recipes    {len(facts['recipes'])}: {', '.join(facts['recipes'])}")
    typer.echo(f"runs       {runs}")
    typer.echo(f"written    {facts['study']}")
    for row in facts["read"]:
        known = [f"{name} {value}" for name, value in row.items() if value is not None]
        typer.echo(f"read       {row['path']}: {', '.join(known[1:])}")
    for finding in facts["findings"]:
        look.say(f"note: {finding}")
