"""The one command for a machine with a GPU, as far as a CPU can run it."""

import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.gpu import check

    return check


def table(path):
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    return header, list(csv.DictReader(lines[len(header) :]))


def test_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path):
    script = ROOT / "tools/gpu_check.sh"
    done = subprocess.run(
        [str(script), "--dry-run", "--size", "quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    assert "would run sweep, sanitizers, timings on cuda:0, size quick" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["sweeps"], "is no part"), (["--rounds", "0"], "at least 1"), (["--size", "big"], "--size")],
)
def test_wrong_arguments_are_refused_in_words(gpu, capsys, arguments, words):
    with pytest.raises(SystemExit):
        gpu.parse(arguments)
    assert words in capsys.readouterr().err


def test_without_a_gpu_the_way_out_is_named(gpu, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "--device cpu --size quick" in capsys.readouterr().out


def test_sweep_and_timings_write_tables_on_a_cpu(gpu, tmp_path, capsys):
    arguments = ["sweep", "timings", "--device", "cpu", "--size", "quick", "--rounds", "1"]
    assert gpu.main([*arguments, "--output", str(tmp_path)]) == 0
    header, rows = table(tmp_path / "gpu_sweep.csv")
    assert any(torch.__version__ in line for line in header)
    assert {row["op"] for row in rows} == {
        "rank_metrics", "nearest", "label_correlation", "gradient_gram", "gradient_sketch",
        "k_reciprocal",
    }  # fmt: skip
    assert {row["is_right"] for row in rows} == {"True"}
    header, rows = table(tmp_path / "gpu_timings.csv")
    assert any("copy: " in line for line in header)
    ours = [row for row in rows if row["share_of_copy_rate"]]
    assert len(ours) == 6
    assert all(float(row["milliseconds"]) > 0 for row in ours)
    absent = {row["contender"]: row["note"] for row in rows if not row["milliseconds"]}
    assert all(note.startswith("not measured: ") for note in absent.values())
    assert absent


def test_sweep_sees_a_wrong_result_and_one_that_changes(gpu, monkeypatch):
    from benchmarks.gpu import sweep as gpu_sweep

    calls = iter(range(100))
    wrong = [("sums", "off by one", lambda: torch.tensor([float(next(calls))]), 1e-5)]
    monkeypatch.setattr(gpu_sweep, "runs", lambda device, size: wrong)
    (row,) = gpu_sweep.sweep(torch.device("cpu"), "quick")
    assert not row["is_right"]
    assert row["note"] == "a second run gave other bits"
    assert gpu_sweep._error(torch.tensor([1.0]), torch.tensor([float("nan")])) == float("inf")
    assert gpu_sweep._error(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0])) == 0.25


def test_contender_that_fails_is_a_note_and_not_the_end(gpu):
    from benchmarks.gpu.cases import GpuCase

    def out_of_memory():
        raise RuntimeError("out of memory\nand more")

    case = GpuCase("c", "ours", {"ours": lambda: None, "peer": out_of_memory}, 1.0, 1.0)
    rates = {"copy": 1.0, "bfloat16 product": 1.0}
    device = torch.device("cpu")
    rows = gpu.timings(device, "quick", 1, rates, cases=lambda size, device: [case])
    assert rows[1]["note"] == "not measured: out of memory"


def test_sanitizers_report_what_each_tool_found(gpu, monkeypatch):
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    assert {row["is_clean"] for row in gpu.sanitizers()} == {""}
    monkeypatch.setattr(gpu.shutil, "which", lambda name: f"/tools/{name}")

    def run(command, **more):
        code = 9 if "racecheck" in command else 0
        return SimpleNamespace(returncode=code, stdout="", stderr=f"summary {code}\n")

    rows = {row["tool"]: row for row in gpu.sanitizers(run)}
    assert rows["memcheck"]["is_clean"]
    assert not rows["racecheck"]["is_clean"]
    assert rows["racecheck"]["note"] == "summary 9"
