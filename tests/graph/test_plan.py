"""The plan's words for Snakemake's reasons, and its estimates."""

from dataclasses import replace

import pytest

from xferpipe.graph.plan import PlannedJob, short_reason, stale_words, summarise
from xferpipe.records.stamp import Stamp


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Missing output files: results/a", "not there yet"),
        ("Input files updated by another job: results/a", "its input is made anew"),
        ("Set of output files is incomplete", "it was cut short"),
    ],
)
def test_reason_of_snakemake_is_said_in_few_words(reason, words):
    assert short_reason(reason) == words


STAMP = Stamp("k", "finetune a", '{"recipe":{"lr":0.1,"opt":"sgd"}}', "code", '{"torch":"2.1"}')


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "its file has no key, or is damaged"),
        (
            replace(STAMP, slice='{"recipe":{"lr":0.2,"opt":"sgd"}}'),
            "changed: recipe.lr 0.2 -> 0.1",
        ),
        (replace(STAMP, slice='{"recipe":{"lr":0.1}}'), 'changed: recipe.opt none -> "sgd"'),
        (
            replace(STAMP, slice='{"gone":null,"recipe":{"lr":0.1,"opt":"sgd"}}'),
            "changed: gone null -> none",
        ),
        (replace(STAMP, code="other"), "its code changed"),
        (replace(STAMP, versions='{"torch":"2.0"}'), 'another library: torch "2.0" -> "2.1"'),
        (replace(STAMP, key="other"), "what it reads, or the environment, changed"),
    ],
)
def test_what_makes_a_result_stale_is_said_in_the_words_of_the_study(found, words):
    assert stale_words(found, STAMP) == words


def test_estimate_is_the_mean_of_earlier_jobs_of_the_rule(tmp_path):
    for seed, seconds in ((0, 2), (1, 4)):
        run = f"t/full/m/r/seed{seed}"
        file = tmp_path / "benchmarks" / "finetune" / f"{run}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t0:00:0{seconds}\n")
        output = tmp_path / "finetune" / run / "run.parquet"
        output.parent.mkdir(parents=True)
        output.write_bytes(b"0" * 100 * seconds)
    jobs = [PlannedJob("finetune", {}, "not there yet", ()) for _ in range(3)]
    jobs.append(PlannedJob("pack", {}, "not there yet", ()))
    finetune, pack = summarise(jobs, tmp_path)
    assert (finetune.jobs, finetune.seconds, finetune.disk_bytes) == (3, 9.0, 900.0)
    assert (pack.jobs, pack.seconds, pack.disk_bytes) == (1, None, None)


def test_disk_of_a_job_that_writes_folders_is_that_of_the_job_and_not_of_each_folder(tmp_path):
    for folder in ("image_train", "image_query", "image_test/deep"):
        file = tmp_path / "generate" / "vehicles" / folder / "image.jpg"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"0" * 100)
    (planned,) = summarise([PlannedJob("generate", {}, "not there yet", ())], tmp_path)
    assert planned.disk_bytes == 300
