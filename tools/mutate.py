"""Plant faults one at a time, and say which of them the tests catch.

mutmut and cosmic-ray plant every fault that their operators know, thousands here, most of them
of no meaning, under one test command; a list of our own holds faults that somebody could make, each
with the tests that must catch it.

    .venv/bin/python tools/mutate.py                              all of tools/mutants.toml
    .venv/bin/python tools/mutate.py training/ zero_head_ignored  of a folder, file or name

A fault is a change of one token or so. The tests run in a copy of the working tree, never in the
tree itself, and must pass without a fault before a failure counts as a catch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = Path("src/xferpipe"), Path("tests")
#: Libraries that are loaded once: a run of a few tests would take most of its time to load them.
LOADED = ("pytest", "hypothesis", "numpy", "scipy.stats", "sklearn.linear_model", "polars", "torch")
LOADED += ("pyarrow.parquet", "pydantic", "safetensors.torch", "torchvision", "timm", "typer")
#: Exit codes of pytest: tests failed; tests could not be collected.
FAILED, UNCOLLECTED = 1, 2


@dataclass(frozen=True)
class Fault:
    """One change of one file.

    Attributes:
        name: What is wrong, unique.
        file: The file, from the root of the tree.
        old: Text that stands in the file exactly once.
        new: What takes its place.
        tests: Files of tests that must fail, or tests by pytest's names.
    """

    name: str
    file: Path
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: caught, survived, or an error with its reason."""

    fault: Fault
    word: str
    seconds: float = 0.0
    said: str = ""


def read_faults(path: Path) -> list[Fault]:
    """Return the faults of a list.

    Args:
        path: TOML: tables `file` with `path` (below src/xferpipe, or from the root), `tests` (below
            tests; absent: the file that mirrors the source) and `faults` of `name`, `old`, `new`
            and, where they differ, `tests`.
    Raises:
        ValueError: Two faults have one name.
    """
    faults = []
    for block in tomllib.loads(path.read_text())["file"]:
        inside = PACKAGE / block["path"]
        file = inside if (ROOT / inside).exists() else Path(block["path"])
        mirrored = Path(block["path"]).parent / f"test_{file.stem}.py"
        for one in block["faults"]:
            tests = one.get("tests") or block.get("tests") or [str(mirrored)]
            tests = tuple(str(TESTS / test) for test in tests)
            faults.append(Fault(one["name"], file, one["old"], one["new"], tests))
    names = [fault.name for fault in faults]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: names must be unique, but these occur twice: {twice}")
    return faults


def chosen(faults: list[Fault], words: list[str]) -> list[Fault]:
    """Return the faults that a word names, by their name or by a part of their path."""
    if not words:
        return faults
    found = [one for one in faults if any(w == one.name or w in str(one.file) for w in words)]
    for word in words:
        if not any(word == one.name or word in str(one.file) for one in faults):
            raise ValueError(f"{word} is neither the name of a fault nor part of a file's path")
    return found


def reason_against(fault: Fault) -> str | None:
    """Return why a fault cannot be planted, or None."""
    if not (ROOT / fault.file).is_file():
        return f"{fault.file} does not exist"
    times = (ROOT / fault.file).read_text().count(fault.old)
    if times != 1:
        return f"its old text stands {times} times in {fault.file}, not once"
    if fault.old == fault.new:
        return "its new text is the old one"
    gone = [test for test in fault.tests if not (ROOT / test.split("::")[0]).exists()]
    return f"{gone[0]} does not exist: name the tests" if gone else None


class Copy:
    """A copy of the working tree in which faults are planted.

    Args:
        folder: Where it is made; it does not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        built = [str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE / "ops").glob("_native_*")]
        for name in [*names.rstrip("\0").split("\0"), *built]:
            if (ROOT / name).is_file():  # not: deleted, yet not in the index
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        if (ROOT / ".venv").exists():
            (folder / ".venv").symlink_to(ROOT / ".venv")

    def test(self, tests: tuple[str, ...], timeout: float) -> tuple[int | None, str]:
        """Run tests; return pytest's exit code, None past the timeout in seconds, and its words."""
        temporary = self.folder.with_name(f"{self.folder.name}-tmp")
        said = self.folder.with_name(f"{self.folder.name}.txt")
        options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"]
        options += [f"--basetemp={temporary}", *tests]
        process = multiprocessing.get_context("fork").Process(
            target=_run_pytest, args=(self.folder, options, said)
        )
        process.start()
        process.join(timeout)
        code = process.exitcode
        if code is None:
            os.killpg(process.pid, 9)
            process.join()
        shutil.rmtree(temporary, ignore_errors=True)
        return code, said.read_text(errors="replace")

    def plant(self, fault: Fault) -> None:
        """Change the file, and build the extension where it is one of its sources."""
        text = (ROOT / fault.file).read_text()
        (self.folder / fault.file).write_text(text.replace(fault.old, fault.new))
        self._forget(fault)
        if fault.file.parts[0] == "csrc":
            build = [sys.executable, "setup.py", "build_ext", "--inplace"]
            subprocess.run(build, cwd=self.folder, check=True, capture_output=True)

    def mend(self, fault: Fault) -> None:
        """Put the file back as it was."""
        shutil.copy2(ROOT / fault.file, self.folder / fault.file)
        self._forget(fault)
        if fault.file.parts[0] == "csrc":
            for path in (ROOT / PACKAGE / "ops").glob("_native_*"):
                shutil.copy2(path, self.folder / PACKAGE / "ops" / path.name)

    def _forget(self, fault: Fault) -> None:
        # Python takes a compiled file for current when size and second of the source are the same.
        folder = (self.folder / fault.file).parent / "__pycache__"
        for path in folder.glob(f"{fault.file.stem}.*.pyc"):
            path.unlink()


def _run_pytest(folder: Path, options: list[str], said: Path) -> None:
    """Run pytest in this process, which was forked with all libraries loaded and none of ours."""
    import pytest

    os.setsid()
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.chdir(folder)
    sys.path[0] = str(folder / "src")
    os.environ["PYTHONPATH"] = str(folder / "src")
    code = int(pytest.main(options))
    sys.stdout.flush()
    # At once: threads of libraries that tests started are not waited for.
    os._exit(code)


class Bench:
    """Runs faults in copies, as many at a time as there are copies."""

    def __init__(self, copies: list[Copy], timeout: float) -> None:
        self.free: queue.Queue[Copy] = queue.Queue()
        for copy in copies:
            self.free.put(copy)
        self.timeout = timeout

    def sound(self, tests: tuple[str, ...]) -> str | None:
        """Return why tests say nothing: they fail without a fault; None where they pass."""
        copy = self.free.get()
        try:
            code, said = copy.test(tests, self.timeout)
        finally:
            self.free.put(copy)
        if code == 0:
            return None
        return f"without a fault its tests end with {code}: {last_line(said)}"

    def run(self, fault: Fault) -> Outcome:
        """Plant a fault, run its tests, and put the file back."""
        copy, started = self.free.get(), time.monotonic()
        try:
            copy.plant(fault)
            code, said = copy.test(fault.tests, self.timeout)
        except subprocess.CalledProcessError as error:
            return Outcome(fault, "error", said=f"the extension does not build: {error}")
        finally:
            copy.mend(fault)
            self.free.put(copy)
        words = {0: "survived", FAILED: "caught", UNCOLLECTED: "caught", None: "caught"}
        word = words.get(code, "error")
        said = "timeout" if code is None else last_line(said)
        return Outcome(fault, word, time.monotonic() - started, said)


def last_line(said: str) -> str:
    """Return the line that names the test that failed, or the last one."""
    lines = [line for line in said.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return (failed or lines or [""])[-1].split(" - ")[0]


def line_of(outcome: Outcome) -> str:
    """Return an outcome as a line of a Markdown table."""
    fault = outcome.fault
    file = fault.file.relative_to(PACKAGE) if PACKAGE in fault.file.parents else fault.file
    said = outcome.said.replace("|", "\\|") if outcome.word != "survived" else ""
    cells = (fault.name, str(file), outcome.word, f"{outcome.seconds:.0f}", said)
    return f"| {' | '.join(cells)} |"


def write_result(path: Path, outcomes: list[Outcome], faults: list[Fault]) -> None:
    """Write the outcomes as a Markdown table, beside those of earlier runs that this one left out.

    Args:
        path: The file.
        outcomes: Of this run.
        faults: All faults of the list, in whose order the table is.
    """
    kept = path.read_text().splitlines() if path.exists() else []
    lines = {line.split(" | ")[0][2:]: line for line in kept if line.startswith("| ")}
    lines |= {outcome.fault.name: line_of(outcome) for outcome in outcomes}
    known = [lines[fault.name] for fault in faults if fault.name in lines]
    head = ["| fault | file | outcome | seconds | said by |", "| --- | --- | --- | ---: | --- |"]
    said = summary([line.split(" | ")[2] for line in known])
    path.write_text("\n".join([said, "", *head, *known]) + "\n")


def summary(words: list[str]) -> str:
    """Return the line that says how many were caught."""
    caught, survived = words.count("caught"), words.count("survived")
    share = f" ({caught / (caught + survived):.1%})" if caught + survived else ""
    rest = len(words) - caught - survived
    return f"{caught} of {caught + survived} faults caught{share}; not applicable: {rest}"


def main() -> int:
    """Run the chosen faults; return 1 where one survived or could not be planted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="names of faults, or parts of paths of files")
    parser.add_argument("--list", type=Path, default=ROOT / "tools/mutants.toml")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
    parser.add_argument("--timeout", type=float, default=600, help="seconds; past it: caught")
    parser.add_argument(
        "--result", type=Path, help="Markdown table to write, or to bring up to date"
    )
    parser.add_argument("--load", nargs="*", default=LOADED, help="libraries to load once")
    parser.add_argument(
        "--sound", action="store_true", help="the tests are known to pass without a fault"
    )
    parser.add_argument("--check", action="store_true", help="only see whether all can be planted")
    options = parser.parse_args()
    try:
        every = read_faults(options.list)
        faults = chosen(every, options.only)
    except ValueError as error:
        parser.error(str(error))
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        said = f"  {outcome.said}" if outcome.said and outcome.word != "survived" else ""
        print(f"{outcome.word:<15}{outcome.fault.name}{said}", flush=True)
        if options.result:
            write_result(options.result, outcomes, every)

    possible = []
    for fault in faults:
        if reason := reason_against(fault):
            tell(Outcome(fault, "not applicable", said=reason))
        else:
            possible.append(fault)
    if options.check:
        print(f"{len(possible)} of {len(faults)} faults can be planted")
        return int(len(possible) < len(faults))
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # Of a test run that this one is a part of.
    for name in options.load:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutate-") as scratch:
        copies = [Copy(Path(scratch) / f"tree{i}") for i in range(options.jobs)]
        bench = Bench(copies, options.timeout)
        with ThreadPoolExecutor(options.jobs) as pool:
            sets = [] if options.sound else list(dict.fromkeys(one.tests for one in possible))
            unsound = dict(zip(sets, pool.map(bench.sound, sets), strict=True))
            for fault in possible:
                if unsound.get(fault.tests):
                    tell(Outcome(fault, "not applicable", said=unsound[fault.tests]))
            sure = [fault for fault in possible if not unsound.get(fault.tests)]
            for outcome in pool.map(bench.run, sure):
                tell(outcome)
    print(summary([outcome.word for outcome in outcomes]))
    return int(any(outcome.word != "caught" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
