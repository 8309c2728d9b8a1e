"""Check and time the CUDA kernels in one call: `python -m benchmarks.gpu` (or tools/gpu_check.sh).

The tests are those of tests/cuda, which need no GPU; the sweep compares every op with its float64
twin on the device; the sanitizers run the kernels' self-check under memcheck, racecheck, synccheck
and initcheck; the timings compare with torch peers and with the copy and matrix-product rates
measured in the same run. Rows go to benchmarks/results/gpu_*.csv as they come, with device, driver
and versions in the first lines. The exit code is 1 where anything was wrong or was not checked. On
a CPU (`sweep timings --device cpu --size quick`) the same code runs on the CPU's kernels, to test
itself.
"""

import argparse
import csv
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from xferpipe import ops

from . import cases as gpu_cases
from . import sweep as gpu_sweep
from . import training as gpu_training

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
PARTS = ("sweep", "timings", "sanitizers", "training", "tests")  # the most valuable first
CASES = tuple(name for name, _ in gpu_cases.cases("quick", torch.device("cpu")))
# The tool's exit code for its own findings; the self-check has another where it breaks off.
FOUND = 9
SELF_CHECK = """
import sys
from xferpipe import ops
lines = list(ops.native_status(check_gpus=True).cuda.values())
print(*lines, sep="\\n")
sys.exit(0 if lines else "no kernel ran: torch sees no GPU, or the extension has no CUDA kernels")
"""
TIMING_COLUMNS = (
    "case", "contender", "is_ours", "milliseconds", "fastest_milliseconds",
    "times_slower_than_ours", "share_of_product_rate", "share_of_copy_rate", "goal_milliseconds",
    "rounds", "note",
)  # fmt: skip
SANITIZER_COLUMNS = ("tool", "is_clean", "seconds", "note")


def facts(device):
    """Return what the tables say of the machine: never a host name."""
    lines = [f"torch {torch.__version__}, python {platform.python_version()}"]
    status = ops.native_status()
    if status.loaded:
        lines.append(f"extension {status.build['source_hash']}, CUDA {status.build['cuda']}")
    else:
        lines.append(f"torch twins: {status.reason}")
    if device.type != "cuda":
        return [f"{device}, {torch.get_num_threads()} threads", *lines]
    about = torch.cuda.get_device_properties(device)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = "unknown"
    if shutil.which("nvidia-smi"):
        driver = subprocess.run(query, capture_output=True, text=True).stdout.split("\n")[0]
    own = f"{about.name}, compute capability {about.major}.{about.minor}, "
    own += f"{about.multi_processor_count} multiprocessors, {about.total_memory / 2**30:.0f} GiB"
    return [own, f"driver {driver}, CUDA {torch.version.cuda}", *lines]


def milliseconds(function, device, rounds):
    """Return the time of each of some calls, by device events on a GPU; two calls warm up."""
    for _ in range(2):
        function()
    times = []
    for _ in range(rounds):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            before = time.perf_counter()
            function()
            times.append((time.perf_counter() - before) * 1e3)
    return times


def limits(device, size):
    """Measure the rates of this run: bytes copied and products in each dtype, per second."""
    side = 8192 if size == "full" else 256
    generator = torch.Generator().manual_seed(0)
    source = torch.randn((side, side), generator=generator).to(device)
    big = source.repeat(16 if size == "full" else 1, 1)  # 4 GiB: far more than the caches hold
    target = torch.empty_like(big)

    def rate(function, amount):
        return amount / (statistics.median(milliseconds(function, device, 10)) / 1e3)

    found = {"copy": rate(lambda: target.copy_(big), 2.0 * 4 * big.numel())}
    half = source.bfloat16()
    found["bfloat16 product"] = rate(lambda: half @ half, 2.0 * side**3)
    before = torch.backends.cuda.matmul.allow_tf32
    for name, allowed in (("float32 product", False), ("tf32 product", True)):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        found[name] = rate(lambda: source @ source, 2.0 * side**3)
    torch.backends.cuda.matmul.allow_tf32 = before
    return found


def timings(device, size, rounds, rates, cases=gpu_cases.cases, names=None, budget=None):
    """Time cases and yield their rows; a contender that fails says so in its note.

    Args:
        device: Where.
        size: full or quick.
        rounds: Calls timed of each contender.
        rates: What limits() found.
        cases: Function of size and device that yields names and makers of cases.
        names: Cases to time; None is all.
        budget: Seconds after which no further case begins; None is no limit.
    """
    begun = time.monotonic()
    for name, make in cases(size, device):
        if names and name not in names:
            continue
        if budget is not None and time.monotonic() - begun > budget:
            yield {"case": name, "note": f"not measured: the budget of {budget} s was spent"}
            continue
        yield from _timed(make(), device, size, rounds, rates)


def _timed(cases, device, size, rounds, rates):
    for case in cases:
        times, notes = {}, {}
        for name, function in case.contenders.items():
            try:
                times[name] = milliseconds(function, device, rounds)
            except RuntimeError as problem:  # out of memory, above all
                notes[name] = f"not measured: {str(problem).splitlines()[0]}"
        own = statistics.median(times[case.ours]) if case.ours in times else None
        for name in case.contenders:
            row = {"case": case.name, "contender": name, "is_ours": name.startswith("ours")}
            if name in times:
                middle = statistics.median(times[name])
                row |= {
                    "milliseconds": f"{middle:.4f}",
                    "fastest_milliseconds": f"{min(times[name]):.4f}",
                    "times_slower_than_ours": "" if own is None else f"{middle / own:.2f}",
                    "rounds": rounds,
                    "goal_milliseconds": case.goals.get(name, "") if size == "full" else "",
                }
            if name == case.ours and name in times:
                product = case.operations / (own / 1e3) / rates["bfloat16 product"]
                copied = case.bytes / (own / 1e3) / rates["copy"]
                row["share_of_product_rate"] = f"{product:.3f}"
                row["share_of_copy_rate"] = f"{copied:.3f}"
            row["note"] = notes.get(name, "")
            yield row
        for name, reason in case.missing.items():
            note = f"not measured: {reason}"
            yield {"case": case.name, "contender": name, "is_ours": False, "note": note}


def passes_tests(run=subprocess.run):
    """Run the tests that need no GPU and tell whether they passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", "4"]
    return run([*command, "tests/cuda"], cwd=ROOT).returncode == 0


def sanitizers(device, tools=TOOLS, run=subprocess.run):
    """Run the self-check of the kernels under tools of compute-sanitizer and yield their rows."""
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    name = "compute-sanitizer"
    program = shutil.which(name, path=f"{home}/bin") or shutil.which(name)
    absent = None if program else f"{name} is neither in {home}/bin nor on the PATH"
    if device.type != "cuda":
        absent = "the tools watch kernels on a GPU"
    for tool in tools:
        if absent:
            yield {"tool": tool, "is_clean": "", "note": f"not run: {absent}"}
            continue
        start = time.perf_counter()
        command = [program, "--tool", tool, "--error-exitcode", str(FOUND)]
        # Torch's caching allocator would hide accesses past the end of an allocation.
        environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        done = run(
            [*command, sys.executable, "-c", SELF_CHECK],
            capture_output=True,
            text=True,
            env=environment,
        )
        text = (done.stdout + done.stderr).strip()
        note = text.splitlines()[-1] if text else ""
        if done.returncode not in (0, FOUND):
            note = f"the self-check broke off with exit code {done.returncode}: {note}"
        elif "torch twins" in text:
            note = f"some families on torch twins; {note}"
        if done.returncode:
            print(text[:4000], flush=True)
        yield {
            "tool": tool,
            "is_clean": done.returncode == 0,
            "seconds": f"{time.perf_counter() - start:.0f}",
            "note": note,
        }


def write(path, columns, rows, header):
    """Print rows and write them as CSV, each as it comes: a run that is cut short leaves its rows.

    Comment lines before the table say where it was measured.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with path.open("w", newline="", buffering=1) as file:  # a line at a time
        file.writelines(f"# {line}\n" for line in header)
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        print(*columns, sep="  ")
        for row in rows:
            writer.writerow(row)
            print(*(row.get(column, "") for column in columns), sep="  ", flush=True)
            written.append(row)
    print(f"-> {path}")
    return written


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda:0", help="cuda, cuda:1, ... or cpu")
    parser.add_argument("--size", choices=("full", "quick"), default="full")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--case", action="append", choices=CASES, help="what to time, all if none is given"
    )
    parser.add_argument(
        "--budget", type=float, metavar="S", help="seconds after which no further case is begun"
    )
    parser.add_argument(
        "--tool", action="append", choices=TOOLS, help="a sanitizer, all if none is given"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV files")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"{sorted(unknown)} is no part: choose from {', '.join(PARTS)}")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds} but must be at least 1")
    options.parts = options.parts or list(PARTS)
    options.device = torch.device(options.device)
    return options


def main(arguments=None):
    """Run the chosen parts; return the exit code."""
    options = parse(arguments)
    device = options.device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", 0)
    if options.dry_run:
        print(f"would run {', '.join(options.parts)} on {device}, size {options.size}")
        print(f"would write to {options.output}/gpu_*.csv")
        return 0
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            f"benchmarks.gpu: torch {torch.__version__} sees no GPU; try --device cpu --size quick"
        )
        return 2
    header, bad, parts = facts(device), 0, options.parts
    if device.type == "cuda":
        torch.cuda.set_device(device)
        try:
            status = ops.native_status(check_gpus=True)
        except RuntimeError as problem:  # a kernel ended this process's CUDA work
            header.append(f"{device}: {problem}")
            bad += 1
            parts = [part for part in parts if part in ("tests", "sanitizers")]
        else:
            if not status.cuda:  # twins would be compared with twins
                reason = status.reason or status.build["cuda"]
                print(f"benchmarks.gpu: there are no CUDA kernels to check: {reason}")
                return 1
            header += [f"{name}: {text}" for name, text in status.cuda.items()]
            bad += any("torch twins" in line for line in header)
    print("\n".join(header))
    for part in parts:
        print(f"\n== {part}", flush=True)
        path = options.output / f"gpu_{part}.csv"
        if part == "tests":
            bad += not passes_tests()
        elif part == "sweep":
            rows = gpu_sweep.sweep(device, options.size)
            rows = write(path, gpu_sweep.COLUMNS, rows, header)
            bad += sum(not row["is_right"] for row in rows)
        elif part == "sanitizers":
            rows = sanitizers(device, options.tool or TOOLS)
            rows = write(path, SANITIZER_COLUMNS, rows, header)
            if device.type == "cuda":
                bad += sum(not row["is_clean"] for row in rows)
        elif part == "training":
            rows = gpu_training.rows(device, options.size, options.rounds)
            write(path, gpu_training.COLUMNS, rows, header)
        else:
            rates = limits(device, options.size)
            notes = [f"{name}: {rate / 1e12:.3f} T/s" for name, rate in rates.items()]
            chosen = {"names": options.case, "budget": options.budget}
            rows = timings(device, options.size, options.rounds, rates, **chosen)
            write(path, TIMING_COLUMNS, rows, [*header, *notes])
    print(f"\n{bad} wrong or not checked" if bad else "\nall right")
    return 1 if bad else 0
