"""What a run tells: one line a job, a failure with its message and log, the verdict at the end."""

import re

import pytest
import yaml

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

JOB = re.compile(r"\[ *\d+/(\d+)\] +[\d.]+ (?:s|min|h)  (.*)")
#: The first line is Snakemake's own, of its profile.
LONGEST, MOST = 160, 200


def jobs_told(lines):
    """Return what the console said of each job, without numbers and times."""
    return [found[2] for line in lines if (found := JOB.fullmatch(line))]


def test_finished_run_has_one_line_a_job_and_no_lists(finished_console):
    _, head, *lines = finished_console
    assert head == "tiny: 27 jobs, into results/tiny/"
    assert max(len(line) for line in lines if JOB.fullmatch(line)) <= LONGEST
    told = jobs_told(lines)
    assert len(told) == 27
    assert "fine-tune trained on digits: all images, head, seed 0   (not there yet)" in told
    others = [line for line in lines if not JOB.fullmatch(line)]
    assert len(others) <= 6


def test_finished_run_ends_with_the_verdict_and_the_page(finished_run, finished_console):
    done, digits, vehicles, page = finished_console[-4:]
    assert re.fullmatch(r"27 jobs done, .*", done)
    assert re.fullmatch(
        r"digits: leads so far: \w+ with recipe \w+: test accuracy [\d.]+ \([\d.]+ to [\d.]+\) "
        r"over 1 run\. Open: \d may be the best",
        digits,
    )
    assert vehicles.startswith("vehicles: fine-tune drawn with recipe sgd: mAP ")
    assert vehicles.endswith(" over 1 run. Only one was run")
    assert page.startswith("Report: ")
    assert page.endswith("results/tiny/report.html")


def test_changed_recipe_is_told_in_the_words_of_the_plan_and_then_there_is_nothing_to_do(finished):
    finished.study["finetuning_recipes"]["head"]["lr"] = 0.01
    planned = jobs_of_dry_run(finished.run("--dry-run").stdout)
    words = "fine-tune trained on digits: all images, head, seed 0"
    assert f"{words}   (changed: recipe.lr 0.05 -> 0.01)" in planned
    assert sorted(jobs_told(finished.run().stderr.splitlines())) == sorted(planned)
    _, nothing, *verdict = finished.run().stderr.splitlines()
    assert nothing == "Nothing to do: every result is up to date."
    assert [line.split(":")[0] for line in verdict] == ["digits", "vehicles", "Report"]


def jobs_of_dry_run(output):
    """Return the job lines of a dry run, which end before Snakemake's table of rules."""
    return output.partition("Job stats:")[0].splitlines()


def test_study_of_many_jobs_is_told_in_few_short_lines(new_workflow, tmp_path):
    study = yaml.safe_load((new_workflow.root / "studies" / "digits.yaml").read_text())
    output = new_workflow(tmp_path, study).run("--dry-run").stdout
    jobs = jobs_of_dry_run(output)
    assert len(jobs) > 130
    # A run adds to each its number, its time, and around them warnings and the verdict.
    assert max(map(len, jobs)) + len("[100/100]  100 s  ") <= LONGEST
    assert len(jobs) + 30 <= MOST
    assert len(output.splitlines()) <= MOST
    assert "pretrain resnet14_digits   (not there yet)" in jobs


def test_failed_job_is_told_once_with_its_message_and_log(finished):
    weights = finished.directory / "other.safetensors"
    weights.write_bytes((2).to_bytes(8, "little") + b"{}")  # safetensors without a tensor
    drawn = finished.study["zoo"]["drawn"]
    finished.study["zoo"]["foreign"] = {**drawn, "weights": "file", "name": str(weights)}
    done = finished.run("results/tiny/zoo/foreign/weights.safetensors", ok=False)
    _, _, failed, *message, end = done.stderr.splitlines()
    assert failed == "FAILED  load the weights of foreign"
    assert done.stderr.count("other.safetensors") == 1
    assert message[-1].endswith("results/tiny/logs/load_weights/foreign.log")
    assert end.startswith("0 of 1 job done, 1 failed, ")
    assert max(map(len, [failed, *message[:-1], end])) <= LONGEST


def test_study_with_an_error_is_told_by_its_message_alone(tiny_study, new_workflow, tmp_path):
    tiny_study["finetuning_recipes"]["sgd"]["epochs"] = "two"
    _, *lines = new_workflow(tmp_path, tiny_study).run(ok=False).stderr.splitlines()
    assert lines == [
        "the study cannot be run:",
        "  finetuning_recipes.sgd.epochs: expected an integer (given: 'two')",
    ]


def test_quiet_tells_of_failures_alone_and_verbose_adds_snakemakes_own_text(finished):
    target = "results/tiny/manifest/digits/manifest.parquet"
    quiet = finished.run(target, "--quiet", "rules", "--forcerun", "manifest")
    assert jobs_told(quiet.stderr.splitlines()) == []
    verbose = finished.run(target, "--verbose", "--forcerun", "manifest").stderr
    assert "rule manifest:" in verbose
    assert len(jobs_told(verbose.splitlines())) == 1
    assert finished.run(target, "--quiet", "all").stderr.count("\n") == 1
