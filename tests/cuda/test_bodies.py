"""The CUDA kernels without a GPU: their bodies on the CPU, and what the compiler says of them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "csrc"
HERE = Path(__file__).resolve().parent
TARGETS = ("sm_80", "sm_90a")
# Kernels whose inner loop is the cost of an op: a spill there is a slow kernel.
HOT = {
    "rank_metrics": ("rank_metrics_count_kernel", "rank_metrics_pair_kernel"),
    "symmetric": ("symmetric_kernel", "class_sums_kernel"),
    "gradient_sketch": ("sparse_hash_kernel", "sparse_gather_kernel"),
}


def build_and_run_bodies(tmp_path, *flags):
    compiler = shutil.which("g++") or shutil.which("c++")
    if not compiler:
        pytest.skip("no C++ compiler")
    program = tmp_path / "bodies"
    command = [compiler, "-std=c++20", "-O1", "-pthread", f"-I{SOURCES}", *flags]
    command += [str(HERE / "bodies.cpp"), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return subprocess.run([str(program)], capture_output=True, text=True)


def test_kernel_bodies_on_the_cpu_equal_loops(tmp_path):
    done = build_and_run_bodies(tmp_path)
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.slow
def test_kernel_bodies_have_no_race_under_thread_sanitizer(tmp_path):
    done = build_and_run_bodies(tmp_path, "-fsanitize=thread", "-g")
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not run under this kernel's address layout")
    assert done.stdout.strip() == "fine", done.stderr
    assert "data race" not in done.stderr


@pytest.mark.parametrize("stem", sorted(HOT))
def test_cuda_sources_compile_for_each_target_without_spills(tmp_path, stem):
    nvcc = shutil.which("nvcc")
    if not nvcc:
        pytest.skip("nvcc is not here: CUDA sources are compiled where it is")
    command = [nvcc, "-std=c++17", "-O3", "-Xptxas", "-v", "-c", str(SOURCES / f"cuda/{stem}.cu")]
    for target in TARGETS:
        command.append(f"-gencode=arch={target.replace('sm', 'compute')},code={target}")
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "object.o")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report = re.findall(
        r"Compiling entry function '(\S+)' for '(\S+)'.*?(\d+) bytes spill stores, (\d+) bytes "
        r"spill loads",
        done.stderr,
        re.DOTALL,
    )
    for kernel in HOT[stem]:
        for target in TARGETS:
            spills = [(s, ld) for name, at, s, ld in report if kernel in name and at == target]
            assert spills, f"{kernel} was not compiled for {target}"
            assert set(spills) == {("0", "0")}, f"{kernel} spills on {target}: {spills}"
