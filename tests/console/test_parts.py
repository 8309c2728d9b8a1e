"""The parts of the console: words, counts and times, logs, the verdict."""

import logging
import re
from types import SimpleNamespace

import pytest

from xferpipe.console.run import Run, RunningJob
from xferpipe.console.screen import _drawn, indented
from xferpipe.console.words import duration, job_line, job_words, shortened
from xferpipe.graph import job_log
from xferpipe.graph.stages import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_words_that_name_its_job(stage):
    wildcards = {name: f"<{name}>" for name in STAGES[stage].wildcards}
    assert all(value in job_words(stage, wildcards) for value in wildcards.values())


def test_job_is_told_with_its_images_and_reason():
    run = {"target": "t", "shots": "5", "model": "m", "recipe": "r", "seed": "0"}
    words = "fine-tune m on t: 5 a class, r, seed 0"
    assert job_line("finetune", run, "not there yet") == f"{words}   (not there yet)"
    assert "all images" in job_words("finetune", {**run, "shots": "full"})


def test_rule_of_another_workflow_is_told_by_its_name():
    assert job_words("other_pack", {"dataset": "digits"}) == "other_pack digits"
    assert job_words("finetune", {"sample": "a"}) == "finetune a"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (9e3, "2.5 h")],
)
def test_duration_has_the_unit_of_its_size(seconds, words):
    assert duration(seconds) == words


def test_lines_are_cut_and_messages_folded_between_words():
    assert len(shortened("x" * 300)) == 160
    assert max(map(len, indented("some words " * 90).splitlines())) <= 160
    assert len(indented("line\n" * 40).splitlines()) == 13
    path = "/" + "folder/" * 40
    assert path in indented(f"{path}: is damaged")


def started(rule, logs=()):
    return RunningJob(rule, rule, "not there yet", list(logs), None)


def test_time_left_follows_earlier_jobs_and_else_this_run(tmp_path):
    run = Run()
    run.plan({"pack": 2, "report": 1, "all": 1})
    assert (run.total, run.seconds_left()) == (3, None)
    run.earlier = {"pack": 10.0}
    assert run.seconds_left() == pytest.approx(30, abs=1)
    benchmark = tmp_path / "pack.tsv"
    benchmark.write_text("s\th:m:s\n4\t0:00:04\n")
    job = started("report")
    job.benchmark = str(benchmark)
    run.start(1, job)
    assert run.finish(1) == (job, 4.0)
    assert run.done == 1
    assert run.finish(7) is None


def test_rounds_of_a_race_bring_more_jobs():
    run = Run()
    run.plan({"choose": 1, "report": 1, "all": 1})
    run.start(1, started("choose"))
    run.finish(1)
    run.grow(5)
    assert run.total == 4
    run.start(2, started("finetune"))
    run.start(3, started("finetune"))
    run.finish(2)
    run.grow(5)
    assert (run.done, run.total, run.left["finetune"], run.left["report"]) == (2, 4, 1, 1)


def test_bar_shows_what_is_done_and_names_a_few_running_jobs():
    from rich.console import Console

    run = Run()
    run.plan({"pack": 9})
    for number in range(7):
        run.start(number, started("pack"))
    run.finish(0)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(_drawn(run, 80))
    text = captured.get()
    assert "1 of 9 jobs" in text
    assert len(re.findall(r"pack, \d+ s", text)) == 4
    assert "and 2 more" in text


def test_warnings_and_the_message_of_a_failure_are_found_in_a_log(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(job_log.CONSOLE, raising=False)
    path = tmp_path / "a.log"
    before = logging.getLogger().handlers[:]
    with path.open("w") as file, (tmp_path / "screen").open("w") as screen:
        job_log.write_to(file)
        logging.getLogger("xferpipe.datasets.x").warning("few images")
        logging.getLogger("other").warning("of another library")
        try:
            raise ValueError("two\nlines")
        except ValueError as error:
            job_log.write_failure("pack", error, path, file, screen)
            monkeypatch.setenv(job_log.CONSOLE, "1")
            job_log.write_failure("pack", error, path, file, screen)
    logging.basicConfig(handlers=before, force=True)
    assert job_log.warnings_in(str(path)) == ["few images"]
    assert job_log.failure_in(str(path)) == "two\nlines"
    assert (tmp_path / "screen").read_text() == f"pack: two\nlines\n(whole log: {path})\n"
    assert job_log.failure_in(str(tmp_path / "none.log")) == ""


def test_each_warning_of_the_logs_is_kept_once(tmp_path):
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    for log in logs:
        log.write_text("2026-01-01 00:00:00,000 WARNING xferpipe.datasets.x: few images\n")
    run = Run()
    for number, log in enumerate(logs):
        run.start(number, started("manifest", [str(log)]))
        run.finish(number)
    assert list(run.warnings) == ["few images"]


def test_verdict_names_a_few_targets_and_counts_the_others(tmp_path, monkeypatch):
    from xferpipe.console import verdict

    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    exported = [("t0", "full"), ("t 1", "5"), ("t2", "full")]
    rules = SimpleNamespace(
        results=tmp_path / "results",
        keys=SimpleNamespace(job=lambda job: job),
        study=SimpleNamespace(exported=lambda: exported),
    )
    # Of the third the export failed.
    for place in exported[:2]:
        card = (tmp_path / "results" / "export").joinpath(*place) / "README.md"
        card.parent.mkdir(parents=True)
        card.touch()
    monkeypatch.setattr(verdict, "program", lambda name: name)
    assert verdict.verdict_lines(rules, tmp_path) == []
    (tmp_path / "results" / "report.html").touch()
    places = [(f"t{i}", "full") for i in range(9)]
    words = {place: SimpleNamespace(in_one_line=place[0]) for place in places}
    monkeypatch.setattr("xferpipe.report.evidence.load", lambda *given: None)
    monkeypatch.setattr("xferpipe.report.answer_words.all_words", lambda evidence: words)
    lines = verdict.verdict_lines(rules, tmp_path)
    assert lines == [
        "t0",
        "t1",
        "t2",
        "t3",
        "t4",
        "t5",
        "and 3 more targets",
        "Report: results/report.html",
        "Use it: xferpipe predict results/export/t0/full PHOTOS",
        "Use it: xferpipe predict 'results/export/t 1/5' PHOTOS",
    ]
