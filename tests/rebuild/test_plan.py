"""The plan's words for Snakemake's reasons, and its estimates."""

import pytest

from xferpipe.rebuild.plan import PlannedJob, short_reason, summarise

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
PARAMS = "Params have changed since last execution: Union of exclusive params before and now: "


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Missing output files: results/a", "not there yet"),
        ("Input files updated by another job: results/a", "its input is made anew"),
        (PARAMS + f"before: '{A}' now: '{B}' ", "something above it, or its environment, changed"),
        (PARAMS + f"before: '{A}','{B}' now: '{C}','{D}' ", "its code changed"),
        (
            PARAMS + f"""before: '{{"recipe":{{"lr":0.1}}}}','{A}' """
            f"""now: '{B}','{{"recipe":{{"lr":0.2}}}}' """,
            "changed: recipe.lr 0.1 -> 0.2",
        ),
    ],
)
def test_reason_is_said_in_the_words_of_the_study(reason, words):
    assert short_reason(reason) == words


def test_estimate_is_the_mean_of_earlier_jobs_of_the_rule(tmp_path):
    for name, seconds in (("a", 2), ("b", 4)):
        file = tmp_path / "benchmarks" / "finetune" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t0:00:0{seconds}\n")
        output = tmp_path / "finetune" / name / "run.parquet"
        output.parent.mkdir(parents=True)
        output.write_bytes(b"0" * 100 * seconds)
    jobs = [PlannedJob("finetune", {}, "Missing output files: x", ()) for _ in range(3)]
    jobs.append(PlannedJob("pack", {}, "Missing output files: x", ()))
    finetune, pack = summarise(jobs, tmp_path)
    assert (finetune.jobs, finetune.seconds, finetune.disk_bytes) == (3, 9.0, 900.0)
    assert (pack.jobs, pack.seconds, pack.disk_bytes) == (1, None, None)
