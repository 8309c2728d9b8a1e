"""The whole sweep of the ops once under AddressSanitizer and UndefinedBehaviorSanitizer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def runtime(name):
    """Return the path of a sanitizer's run-time library, or None."""
    found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True)
    path = found.stdout.strip()
    return path if os.path.isabs(path) else None


@pytest.mark.slow
def test_ops_run_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path):
    if not shutil.which("g++") or not runtime("libasan.so"):
        pytest.skip("g++ and its sanitizer libraries are not here")
    for name in ("csrc", "src", "tests/ops"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("*.so", "__pycache__", "test_sanitizers.py"),
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
    environment = {
        **os.environ,
        "CXX": "g++",
        "XFERPIPE_CXX_FLAGS": flags + " -O1",
        "XFERPIPE_NO_CUDA": "1",
        "PYTHONPATH": str(tmp_path / "src"),
    }
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(build, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert list((tmp_path / "src/xferpipe/ops").glob("_native_*.so")), done.stdout + done.stderr
    environment |= {
        # Python itself leaks by design; the preloaded library must come first.
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    # opcheck traces through torch's compiler, whose own code is not what is examined here; the
    # twins run no native code.
    tests = [sys.executable, "-m", "pytest", "tests/ops", "-q", "-x", "-p", "no:cacheprovider"]
    tests += ["--deselect", "tests/ops/test_loading.py", "-k", "not opcheck and not twin]"]
    done = subprocess.run(tests, cwd=tmp_path, env=environment, capture_output=True, text=True)
    report = done.stdout[-4000:] + done.stderr[-8000:]
    assert done.returncode == 0, report
    assert "passed" in done.stdout, report
    assert "runtime error" not in report
