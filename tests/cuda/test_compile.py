"""What compilers and sanitizers say of the CUDA sources, without a GPU."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "csrc"
HERE = Path(__file__).resolve().parent
TARGETS = ("sm_80", "sm_90a")
# What each file must hold. A spill in any kernel of these files is a failure.
KERNELS = {
    "ranking": (
        "count_kernel", "best_kernel", "check_kernel", "summary_kernel", "bounds_kernel",
        "fill_kernel", "squared_norms_kernel",
    ),
    "split": ("split_kernel", "scale_kernel"),
    "gram": ("add_panel_kernel", "moments_kernel"),
    "label_correlation": ("class_sums_kernel", "class_moments_kernel", "correlation_kernel"),
    "gradient_sketch": (
        "sparse_hash_kernel", "sparse_kernel", "sign_words_kernel", "fold_kernel",
        "hadamard_kernel", "butterfly_kernel",
    ),
    "random": ("signs_kernel", "normals_kernel"),
}  # fmt: skip


def test_every_cuda_source_is_named_here():
    assert {path.stem for path in (SOURCES / "cuda").glob("*.cu")} == set(KERNELS)


@pytest.mark.slow
def test_kernels_have_no_race_under_thread_sanitizer(tmp_path):
    compiler = shutil.which("g++") or shutil.which("c++")
    if not compiler:
        pytest.skip("no C++ compiler")
    flags = [compiler, "-std=c++20", "-O1", "-g", "-pthread", "-fsanitize=thread"]
    flags += ["-DXFERPIPE_SHIM_THREADS", f"-I{SOURCES}", f"-I{HERE / 'shim'}"]
    files = [*sorted((SOURCES / "cuda").glob("*.cu")), HERE / "races.cpp"]

    def compile_one(path):
        done = tmp_path / f"{path.stem}.o"
        command = [*flags, "-x", "c++", "-c", str(path), "-o", str(done)]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return str(done)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, files))
    program = tmp_path / "races"
    subprocess.run([*flags, *objects, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not run under this kernel's address layout")
    assert done.stdout.strip() == "fine", done.stderr[-4000:]
    assert "data race" not in done.stderr


@pytest.mark.parametrize("stem", sorted(KERNELS))
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
    spills = [(name, at) for name, at, *counts in report if counts != ["0", "0"]]
    assert not spills
    for kernel in KERNELS[stem]:
        for target in TARGETS:
            assert any(kernel in name and at == target for name, at, *_ in report)
