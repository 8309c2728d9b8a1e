"""Check and time the CUDA kernels in one call: `python -m benchmarks.gpu` (or tools/gpu_check.sh).

The sweep compares every op with its float64 twin on the device; the sanitizers run the kernels'
self-check under memcheck, racecheck, synccheck and initcheck; the timings compare with torch peers
and with the copy and matrix-product rates measured in the same run. Tables go to
benchmarks/results/gpu_*.csv with device, driver and versions in their first lines. The exit code is
1 where anything was wrong. On a CPU (`--device cpu --size quick`) the same code runs on the CPU's
kernels, to test itself.
"""

import argparse
import csv
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

RESULTS = Path(__file__).resolve().parents[1] / "results"
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
PARTS = ("sweep", "sanitizers", "timings")
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


def timings(device, size, rounds, rates, cases=gpu_cases.cases):
    """Time every case and return its rows; a contender that fails says so in its note."""
    rows = []
    for case in cases(size, device):
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
                }
            if name == case.ours and name in times:
                product = case.operations / (own / 1e3) / rates["bfloat16 product"]
                copied = case.bytes / (own / 1e3) / rates["copy"]
                row["share_of_product_rate"] = f"{product:.3f}"
                row["share_of_copy_rate"] = f"{copied:.3f}"
                row["goal_milliseconds"] = case.goal_ms if size == "full" else ""
            row["note"] = notes.get(name, "")
            rows.append(row)
        for name, reason in case.missing.items():
            note = f"not measured: {reason}"
            rows.append({"case": case.name, "contender": name, "is_ours": False, "note": note})
    return rows


def sanitizers(run=subprocess.run):
    """Run the self-check of the kernels under each tool of compute-sanitizer."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        note = "not run: compute-sanitizer is not on the PATH (it comes with the CUDA toolkit)"
        return [{"tool": tool, "is_clean": "", "note": note} for tool in TOOLS]
    check = (
        "from xferpipe import ops; import sys; found = ops.native_status(check_gpus=True).cuda; "
    )
    check += "print(found); sys.exit(not found or 'torch twins' in str(found))"
    rows = []
    for tool in TOOLS:
        start = time.perf_counter()
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", check]
        # Torch's caching allocator would hide accesses past the end of an allocation.
        environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        done = run(command, capture_output=True, text=True, env=environment)
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        rows.append(
            {
                "tool": tool,
                "is_clean": done.returncode == 0,
                "seconds": f"{time.perf_counter() - start:.0f}",
                "note": last[0] if last else "",
            }
        )
    return rows


def write(path, columns, rows, header):
    """Write rows as CSV after comment lines that say where they were measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.writelines(f"# {line}\n" for line in header)
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def show(columns, rows):
    """Print rows as a table."""
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells)]
    for line in (columns, *cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda:0", help="cuda, cuda:1, ... or cpu")
    parser.add_argument("--size", choices=("full", "quick"), default="full")
    parser.add_argument("--rounds", type=int, default=20)
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
    header, bad = facts(device), 0
    if device.type == "cuda":
        torch.cuda.set_device(device)
        header += [
            f"{name}: {text}" for name, text in ops.native_status(check_gpus=True).cuda.items()
        ]
        bad += any("torch twins" in line for line in header)
    print("\n".join(header))
    for part in options.parts:
        notes = list(header)
        if part == "sweep":
            columns, rows = gpu_sweep.COLUMNS, gpu_sweep.sweep(device, options.size)
            bad += sum(not row["is_right"] for row in rows)
        elif part == "sanitizers":
            columns, rows = SANITIZER_COLUMNS, sanitizers()
            bad += sum(row["is_clean"] is False for row in rows)
        else:
            rates = limits(device, options.size)
            notes += [f"{name}: {rate / 1e12:.3f} T/s" for name, rate in rates.items()]
            columns = TIMING_COLUMNS
            rows = timings(device, options.size, options.rounds, rates)
        print(f"\n== {part}")
        show(columns, rows)
        print(f"-> {write(options.output / f'gpu_{part}.csv', columns, rows, notes)}")
    print(f"\n{bad} wrong" if bad else "\nall right")
    return 1 if bad else 0
