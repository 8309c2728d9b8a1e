"""`xferpipe plan`: what would run, why, and what it will cost, before anything starts."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xferpipe.cli import WRONG_INPUT, look
from xferpipe.cli.options import AsJson
from xferpipe.cli.snakefile import find_snakefile
from xferpipe.console.words import job_line, job_words, shots_words

if TYPE_CHECKING:
    from xferpipe.config.study import Study
    from xferpipe.graph.plan import PlannedJob
    from xferpipe.graph.race_costs import RaceState


def plan(
    configfile: Annotated[
        Path | None, typer.Option(help="Study to plan; unset: config.yaml beside the Snakefile.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="Folder that holds `results`.")] = Path("."),
    snakefile: Annotated[Path | None, typer.Option(help="The workflow's Snakefile.")] = None,
    smoke: Annotated[bool, typer.Option(help="Plan the study's smoke form.")] = False,
    cores: Annotated[int, typer.Option(min=1, help="Cores that the run will have.")] = 1,
    list_jobs: Annotated[
        bool, typer.Option("--jobs", help="List every job and why it runs, as a run does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the jobs of a run by rule, why each runs, and the time and disk they will take.

    Time and disk are the means of earlier jobs of the same rule; a rule that never ran has none.
    Of a race, the jobs are those that are certain; below stands what it may cost at most. Models
    that were pretrained before and learned next to nothing are named.

    Example: xferpipe plan --configfile studies/s000.yaml --cores 2
    """
    from xferpipe.graph.plan import PlanError, earlier_seconds, planned_jobs, summarise
    from xferpipe.graph.race_costs import race_states
    from xferpipe.graph.weak_models import weak_models

    if configfile is not None and not configfile.is_file():
        what = "is a folder" if configfile.is_dir() else "no such file"
        raise ValueError(f"--configfile {configfile}: {what}; `xferpipe init` writes one")
    arguments = ["--directory", str(directory), "--cores", str(cores)]
    workflow = snakefile or find_snakefile()
    arguments += ["--snakefile", str(workflow)]
    arguments += ["--workflow-profile", str(workflow.resolve().parent / "profiles" / "default")]
    if configfile is not None:
        arguments += ["--configfile", str(configfile.resolve())]
    if smoke:
        arguments += ["--config", "smoke=true"]
    here = Path.cwd()
    try:
        with look.progress("planning the jobs", quiet=as_json):
            jobs, planned = planned_jobs(arguments)
    except PlanError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(WRONG_INPUT) from None
    finally:
        # Snakemake changes into --directory and stays there.
        os.chdir(here)
    _check_weights(planned.study, jobs, directory, quiet=as_json)
    results = directory / planned.results
    rules = summarise(jobs, results)
    races = race_states(planned.study, results, earlier_seconds(results).get("finetune"))
    weak = weak_models(planned.study, results)
    if as_json:
        columns = ("rule", "jobs", "reasons", "seconds", "disk_bytes")
        found = {
            "rules": [{name: getattr(rule, name) for name in columns} for rule in rules],
            "races": [race._asdict() for race in races],
            "warnings": weak,
        }
        look.print_json(found | ({"jobs": [*map(_as_dict, jobs)]} if list_jobs else {}))
        return
    if list_jobs:
        for job in jobs:
            typer.echo(job_line(job.rule, job.wildcards, job.reason))
    _tell(rules, cores)
    for race in races:
        typer.echo(_race_words(race))
    for words in weak:
        look.say(f"warning: {words}")


def _check_weights(study: Study, jobs: list[PlannedJob], directory: Path, *, quiet: bool) -> None:
    """Refuse files of weights that the jobs would not load, before hours of other jobs are run."""
    loaded = {job.wildcards["model"] for job in jobs if job.rule == "load_weights"}
    zoo = {name: one for name, one in study.zoo.items() if name in loaded and one.lies_here}
    if zoo:
        from xferpipe.zoo.origins import check_fit

        # Relative paths count from where the run works.
        with look.progress("reading files of weights", quiet=quiet), contextlib.chdir(directory):
            check_fit(zoo)


def _as_dict(job: PlannedJob) -> dict[str, Any]:
    words = job_words(job.rule, job.wildcards)
    return {"rule": job.rule, "wildcards": job.wildcards, "words": words, "reason": job.reason}


def _tell(rules: list, cores: int) -> None:
    if not rules:
        typer.echo("Nothing to do: every result is up to date.")
        return
    rows = []
    for rule in rules:
        why = "; ".join(
            f"{reason} ({count})" if len(rule.reasons) > 1 else reason
            for reason, count in rule.reasons.most_common()
        )
        rows.append([rule.rule, rule.jobs, _hours(rule.seconds), _size(rule.disk_bytes), why])
    look.print_table(["rule", "jobs", "time", "disk", "why"], rows)
    known = [rule.seconds for rule in rules if rule.seconds is not None]
    jobs = f"{sum(rule.jobs for rule in rules)} jobs"
    typer.echo(
        f"{jobs}; about {_hours(sum(known) / cores)} on {cores} cores, by {len(known)} of "
        f"{len(rules)} rules that ran before"
        if known
        else f"{jobs}; no rule ran before, so no time is known"
    )


def _race_words(race: RaceState) -> str:
    place = f"race on {race.target}: {shots_words(race.shots)}"
    if race.stopped is not None:
        return f"{place}: ended with round {race.round} after {race.runs} runs: {race.stopped}"
    time = "" if race.more_hours is None else f", about {_hours(race.more_hours * 3600)}"
    return (
        f"{place}: round {race.round} is open; {race.runs} runs are done or certain, and at most "
        f"{race.more_runs} more{time}"
    )


def _hours(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def _size(size: float | None) -> str:
    if size is None:
        return "–"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
