"""`xferpipe run`: from a folder of images to the model to use, in one command."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from xferpipe.cli import DONE, INTERRUPTED
from xferpipe.cli.init import BudgetText, ImagePx, Models, Options, Recipes, Task
from xferpipe.cli.options import SkipUnreadable

if TYPE_CHECKING:
    from xferpipe.config.study import Study


def run(
    images: Annotated[
        Path,
        typer.Argument(help="Folder with one folder per class, a re-ID set, or a CSV/Parquet."),
    ],
    models: Models = None,
    task: Task = None,
    budget: BudgetText = None,
    recipes: Recipes = None,
    image_px: ImagePx = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores to use; unset: all.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study; unset: the folder's.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="Study to write, or to go on with; unset: NAME.yaml.")
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would run; write nothing.")
    ] = False,
) -> None:
    """Find out which model to fine-tune for a folder of images, and hand it over.

    Writes a study where there is none yet, runs it, and says which model is best, how sure that is,
    and how to use it. The same command goes on where it was stopped; results lie in `results`.

    Example: xferpipe run photos/flowers --models lite,small --budget 30m
    """
    from xferpipe.cli import init
    from xferpipe.cli.first_study import study_name
    from xferpipe.cli.plan import plan
    from xferpipe.cli.snakefile import own_snakefile

    images = init.found_images(images)
    options = Options(
        task, models, recipes, budget, name, image_px, skip_unreadable=skip_unreadable
    )
    path = study or Path(f"{name or study_name(images)}.yaml")
    workflow = own_snakefile()
    if path.exists():
        check_options(path, images, options)
    else:
        with contextlib.nullcontext() if dry_run else init.listed_beside(path):
            content, facts = init.first_study(images, options, quiet=False)
        if dry_run:
            with tempfile.TemporaryDirectory() as folder:
                planned = Path(folder) / path.name
                init.write(content, images, planned)
                plan(configfile=planned, snakefile=workflow, cores=cores or os.cpu_count() or 1)
            return
        init.write(content, images, path)
        init.tell({"study": str(path), **facts})
    if dry_run:
        plan(configfile=path, snakefile=workflow, cores=cores or os.cpu_count() or 1)
        return
    sys.stdout.flush()
    # In place of this process: Ctrl-C and exit codes are Snakemake's, and its console has the last
    # word. Not with the present folder as a place of modules: photographs may lie beside code.
    start = "from xferpipe.cli.run import be_snakemake; be_snakemake()"
    words = snakemake_arguments(workflow, path, cores)
    os.execv(sys.executable, [sys.executable, "-P", "-c", start, *words])


def be_snakemake() -> NoReturn:
    """Run Snakemake on the words of this process; stopped before its jobs, it ends without a trace.

    Once jobs run, Snakemake itself ends them on Ctrl-C.
    """
    try:
        from snakemake.cli import main

        main()
    except KeyboardInterrupt:
        typer.echo("stopped by Ctrl-C; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(DONE)


def snakemake_arguments(workflow: Path, study: Path, cores: int | None) -> list[str]:
    """Return Snakemake's words that run a study in the present folder."""
    return [
        *("--snakefile", str(workflow)),
        *("--workflow-profile", str(workflow.parent / "profiles" / "default")),
        *("--cores", "all" if cores is None else str(cores)),
        *("--configfile", str(study)),
    ]


def check_options(path: Path, images: Path, options: Options) -> None:
    """Refuse options that a study which is there already says otherwise.

    Raises:
        StudyError: It is no study.
        ValueError: It is one of other images, or an option differs; names the key to edit.
    """
    from xferpipe.config import load_study

    for option, key, held, wanted in _compared(load_study(path), images, options):
        if held != wanted:
            raise ValueError(
                f"{path} is there already and has {key}: {held}, but {option} asks for {wanted}. "
                f"Edit {key} in {path}, leave the option out, or write another study with --study"
            )


def _compared(
    study: Study, images: Path, options: Options
) -> Iterator[tuple[str, str, object, object]]:
    """Yield each option, the key of the study that it is about, its value, and what is asked."""
    from xferpipe.cli import first_study as first
    from xferpipe.cli.named_models import SMALL, entries_of, usual_models

    target, about = next(iter(study.targets.items()))
    dataset, where = study.datasets[about.dataset], f"datasets.{about.dataset}"
    place = "path" if dataset.reader == "table" else "root"
    held = getattr(dataset, place, None)
    same = held is not None and held.resolve() == images.resolve()
    yield "the folder", f"{where}.{place}", images if same else held, images
    if options.name is not None:
        yield "--name", "name", study.name, options.name
    if options.task is not None:
        yield "--task", f"targets.{target}.task", about.task, options.task
    if options.image_px is not None:
        yield "--image-px", f"{where}.image_px", dataset.image_px, options.image_px
    if options.skip_unreadable:
        held = getattr(dataset, "unreadable", "error")
        yield "--skip-unreadable", f"{where}.unreadable", held, "skip"
    race = next(iter(study.choose), None)
    if options.budget is not None:
        asked = first.budget_of(options.budget)
        held = None if race is None else race.budget.model_dump(exclude_none=True)
        yield "--budget", "choose.0.budget", held or "all", asked or "all"
    if options.recipes is not None:
        names = sorted(first.recipes_of(about.task, first.words_of(options.recipes)))
        own = study.finetuning_recipes
        if race is not None and race.recipes != "all":
            own = race.recipes
        yield "--recipes", "finetuning_recipes", ", ".join(sorted(own)), ", ".join(names)
    if options.models is not None:
        words = first.words_of(options.models) or usual_models()
        names = {*entries_of(words), *(first.small_models() if SMALL in words else ())}
        yield "--models", "zoo", ", ".join(sorted(study.zoo)), ", ".join(sorted(names))
