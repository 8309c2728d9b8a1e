"""The one command for a machine with a GPU, as far as a CPU can run it."""

import csv
import os
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
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    parts = "sweep, timings, sanitizers, training, tests"
    assert f"would run {parts} on cuda:0, size quick" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stand_in(tmp_path):
    """Run the script with a python and an nvcc that only say how they were called."""
    tools = tmp_path / "toolkit" / "bin"
    tools.mkdir(parents=True)
    for name, text in (("nvcc", ""), ("python9", 'echo "CUDA_HOME=$CUDA_HOME" "$@"')):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    def run(*arguments, **environment):
        return subprocess.run(
            [str(ROOT / "tools/gpu_check.sh"), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": f"{tools}:/usr/bin:/bin", "PYTHON": "python9", **environment},
        )

    return run


def test_script_takes_a_python_of_the_path_and_refuses_one_that_is_not_there(stand_in):
    assert "-m benchmarks.gpu --dry-run" in stand_in("--dry-run").stdout
    done = stand_in("--dry-run", PYTHON="python10")
    assert done.returncode == 2
    assert "PYTHON is python10" in done.stderr


@pytest.mark.parametrize("given", [{}, {"CUDA_HOME": "/nowhere"}])
def test_script_builds_with_the_nvcc_it_found_whatever_cuda_home_says(stand_in, tmp_path, given):
    built, run = stand_in("sweep", "--output", "here", **given).stdout.splitlines()
    assert built == f"CUDA_HOME={tmp_path}/toolkit setup.py --quiet build_ext --inplace"
    assert run == f"CUDA_HOME={tmp_path}/toolkit -m benchmarks.gpu sweep --output here"


def test_build_does_not_see_the_licence_field_that_old_setuptools_refuses(stand_in, tmp_path):
    look = tmp_path / "toolkit" / "bin" / "python9"
    look.write_text('#!/bin/sh\n[ "$1" != setup.py ] || ls\n')
    seen = stand_in("sweep").stdout.split()
    assert {"setup.py", "src"} <= set(seen)
    assert "pyproject.toml" not in seen


def test_loops_of_a_training_are_compared_with_bare_steps(gpu, tmp_path):
    pytest.importorskip("polars", reason="training needs the whole package")
    arguments = ["training", "--device", "cpu", "--size", "quick", "--rounds", "1"]
    assert gpu.main([*arguments, "--output", str(tmp_path)]) == 0
    _, rows = table(tmp_path / "gpu_training.csv")
    assert [row["loop"].rsplit(", ", 1)[1] for row in rows] == ["bare", "ours"] * 3
    assert all(float(row["images_per_second"]) > 0 for row in rows)


def test_training_without_the_package_is_a_row_that_says_so(gpu, monkeypatch):
    from benchmarks.gpu import training

    monkeypatch.setitem(sys.modules, "xferpipe.config.jobs", None)
    (row,) = training.rows(torch.device("cpu"), "quick", 1)
    assert row["note"].startswith("not measured: import of xferpipe.config.jobs")


def test_script_takes_the_nvcc_of_cuda_home_first(stand_in, tmp_path):
    other = tmp_path / "other" / "bin" / "nvcc"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    done = stand_in("sweep", CUDA_HOME=str(tmp_path / "other"))
    assert f"CUDA_HOME={tmp_path}/other setup.py" in done.stdout


def test_nothing_here_needs_a_package_beyond_torch_numpy_and_pytest():
    # All files are imported; the one test that is run is that of the command line.
    script = (
        "import sys\n"
        "for name in ('yaml polars pyarrow hypothesis snakemake pydantic rich typer scipy '\n"
        "             'sklearn PIL torchvision timm altair safetensors').split():\n"
        "    sys.modules[name] = None\n"
        "import pytest\n"
        "from benchmarks.gpu.check import main\n"
        "main(['--dry-run'])\n"
        "sys.exit(pytest.main(['-k', 'doctor', '-q', '-p', 'no:cacheprovider', 'tests/cuda']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would run" in done.stdout


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
    assert len(ours) == 7
    assert all(float(row["milliseconds"]) > 0 for row in ours)
    absent = {row["contender"]: row["note"] for row in rows if not row["milliseconds"]}
    assert all(note.startswith("not measured: ") for note in absent.values())
    assert absent


def test_rows_lie_in_the_file_before_the_next_is_made(gpu, tmp_path):
    path = tmp_path / "rows.csv"

    def rows():
        yield {"a": 1}
        assert table(path) == (["# where"], [{"a": "1", "b": ""}])
        yield {"a": 2, "b": 3}

    assert gpu.write(path, ("a", "b"), rows(), ["where"]) == [{"a": 1}, {"a": 2, "b": 3}]


def test_tests_that_fail_do_not_keep_the_rest_from_running(gpu, tmp_path, monkeypatch):
    from benchmarks.gpu import sweep as gpu_sweep

    monkeypatch.setattr(gpu_sweep, "runs", lambda device, size: iter(()))
    monkeypatch.setattr(gpu, "passes_tests", lambda: False)
    arguments = ["--device", "cpu", "--size", "quick", "--output", str(tmp_path)]
    assert gpu.main(["tests", "sweep", *arguments]) == 1
    assert (tmp_path / "gpu_sweep.csv").exists()
    assert gpu.main(["sweep", *arguments]) == 0


@pytest.mark.parametrize("code", [0, 1, 5])
def test_exit_code_of_pytest_decides(gpu, code):
    called = []

    def run(command, cwd):
        called.append((command, cwd))
        return SimpleNamespace(returncode=code)

    assert gpu.passes_tests(run) == (code == 0)
    ((command, folder),) = called
    assert command[:3] == [sys.executable, "-m", "pytest"]
    assert (folder / command[-1]).is_dir()


@pytest.fixture
def stand_in_gpu(gpu, monkeypatch):
    """Let `main` see a GPU; return a function that sets what the ops say of its kernels."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(gpu, "facts", lambda device: ["a stand-in"])
    monkeypatch.setattr(gpu, "sanitizers", lambda device, tools: [{"tool": "x", "is_clean": True}])

    def say(status):
        monkeypatch.setattr(gpu.ops, "native_status", lambda check_gpus: status())

    return say


def test_gpu_without_kernels_is_wrong_and_not_compared_with_itself(
    gpu, stand_in_gpu, tmp_path, capsys
):
    build = {"cuda": "not built: nvcc not found"}
    stand_in_gpu(lambda: gpu.ops.NativeStatus(True, build=build))
    assert gpu.main(["sweep", "--output", str(tmp_path)]) == 1
    assert "no CUDA kernels to check: not built: nvcc not found" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("line", "code"), [("ranking kernels", 0), ("ranking torch twins (x)", 1)])
def test_families_on_twins_are_wrong(gpu, stand_in_gpu, tmp_path, line, code):
    stand_in_gpu(lambda: gpu.ops.NativeStatus(True, cuda={"cuda:0": line}))
    assert gpu.main(["sanitizers", "--output", str(tmp_path)]) == code


def test_kernel_that_ends_all_work_leaves_the_sanitizers_to_say_where(gpu, stand_in_gpu, tmp_path):
    def status():
        raise RuntimeError("a kernel ended the CUDA work of this process")

    stand_in_gpu(status)
    assert gpu.main(["sweep", "sanitizers", "--output", str(tmp_path)]) == 1
    header, _ = table(tmp_path / "gpu_sanitizers.csv")
    assert any("a kernel ended the CUDA work" in line for line in header)
    assert not (tmp_path / "gpu_sweep.csv").exists()


def test_sweep_has_no_distances_that_are_rounding_alone(gpu):
    from benchmarks.gpu import sweep as gpu_sweep

    for op, name, function, _ in gpu_sweep.runs(torch.device("cpu"), "quick"):
        if op == "nearest" and not name.endswith("ties"):
            assert function().max() > 0.1, name


def test_sweep_sees_a_wrong_result_and_one_that_changes(gpu, monkeypatch):
    from benchmarks.gpu import sweep as gpu_sweep

    calls = iter(range(100))
    wrong = [("sums", "off by one", lambda: torch.tensor([float(next(calls))]), 1e-5)]
    monkeypatch.setattr(gpu_sweep, "runs", lambda device, size: iter(wrong))
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
    made = lambda size, device: [("one", lambda: [case]), ("two", lambda: [case])]  # noqa: E731
    rows = list(gpu.timings(device, "quick", 1, rates, cases=made))
    assert len(rows) == 4
    assert rows[1]["note"] == "not measured: out of memory"
    assert len(list(gpu.timings(device, "quick", 1, rates, cases=made, names=["two"]))) == 2
    (row,) = gpu.timings(device, "quick", 1, rates, cases=made, names=["two"], budget=-1.0)
    assert row == {"case": "two", "note": "not measured: the budget of -1.0 s was spent"}


GPU = torch.device("cuda", 0)


def ended(code, text):
    return lambda command, **more: SimpleNamespace(returncode=code, stdout="", stderr=f"{text}\n")


def test_sanitizers_report_what_each_tool_found(gpu, monkeypatch):
    monkeypatch.setattr(gpu.shutil, "which", lambda name, path=None: f"/tools/{name}")

    def run(command, **more):
        return ended(9 if "racecheck" in command else 0, f"summary of {command[2]}")(command)

    rows = {row["tool"]: row for row in gpu.sanitizers(GPU, run=run)}
    assert rows["memcheck"]["is_clean"]
    assert not rows["racecheck"]["is_clean"]
    assert rows["racecheck"]["note"] == "summary of racecheck"
    (row,) = gpu.sanitizers(GPU, ["initcheck"], run)
    assert row["tool"] == "initcheck"


def test_sanitizers_tell_their_findings_from_twins_and_from_a_check_that_broke_off(
    gpu, monkeypatch
):
    monkeypatch.setattr(gpu.shutil, "which", lambda name, path=None: f"/tools/{name}")
    (row,) = gpu.sanitizers(GPU, ["memcheck"], ended(0, "ranking torch twins (x)\n0 errors"))
    assert row["is_clean"]
    assert row["note"] == "some families on torch twins; 0 errors"
    (row,) = gpu.sanitizers(GPU, ["memcheck"], ended(1, "no kernel ran"))
    assert not row["is_clean"]
    assert row["note"] == "the self-check broke off with exit code 1: no kernel ran"


def test_self_check_fails_where_no_kernel_ran(gpu):
    done = subprocess.run(
        [sys.executable, "-c", gpu.SELF_CHECK],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 1
    assert "no kernel ran" in done.stderr


def test_compute_sanitizer_of_cuda_home_is_found(gpu, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "compute-sanitizer"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    (row,) = gpu.sanitizers(GPU, ["memcheck"])
    assert row["is_clean"]


def test_sanitizers_that_did_not_run_are_not_all_right(gpu, stand_in_gpu, monkeypatch, tmp_path):
    stand_in_gpu(lambda: gpu.ops.NativeStatus(True, cuda={"cuda:0": "ranking kernels"}))
    note = "not run: compute-sanitizer is not here"
    rows = [{"tool": "memcheck", "is_clean": "", "note": note}]
    monkeypatch.setattr(gpu, "sanitizers", lambda device, tools: rows)
    assert gpu.main(["sanitizers", "--output", str(tmp_path)]) == 1


def test_sanitizers_without_a_tool_say_where_they_looked(gpu, monkeypatch):
    monkeypatch.setattr(gpu.shutil, "which", lambda name, path=None: None)
    monkeypatch.setenv("CUDA_HOME", "/toolkit")
    rows = list(gpu.sanitizers(GPU))
    assert [row["is_clean"] for row in rows] == [""] * 4
    assert "neither in /toolkit/bin nor on the PATH" in rows[0]["note"]
