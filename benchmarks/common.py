"""Timing, limits and result tables that the benchmarks share.

Contenders of a case take turns, round by round, so that a machine that slows down slows all of
them; the figure is the best round. With `--threads 1` the clock is the processor time of the
process, which a busy machine does not stretch; with more threads it is the wall clock.
"""

import csv
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from xferpipe import ops
from xferpipe.ops import loading

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = (
    "case", "contender", "is_ours", "seconds", "median_seconds", "times_slower_than_ours",
    "share_of_peak", "extra_memory_mb", "rounds", "threads", "clock", "note",
)  # fmt: skip


@dataclass
class Case:
    """One comparison.

    Attributes:
        name: What is computed and its size.
        ours: Name of our contender.
        contenders: Functions without arguments, by name.
        operations: Floating-point operations that the result needs, None where bytes count.
        missing: Peers that are not here, by name, with the reason.
        notes: Remarks by contender name.
    """

    name: str
    ours: str
    contenders: dict
    operations: float | None = None
    missing: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)


def clock(threads):
    """Return the clock and its name."""
    if threads == 1:
        return time.process_time, "processor"
    return time.perf_counter, "wall"


def measured_peak(threads):
    """Return floating-point operations per second of a multiply-add loop, best of five."""
    now, _ = clock(threads)
    best = 0.0
    for _ in range(5):
        start = now()
        operations = loading.multiply_add_operations(8_000_000)
        best = max(best, operations / (now() - start))
    return best


def measured_copy(threads):
    """Return bytes per second (read plus written) of a copy of 256 MB, best of five."""
    now, _ = clock(threads)
    source = torch.ones(1 << 26)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        start = now()
        target.copy_(source)
        best = max(best, 2 * 4 * source.numel() / (now() - start))
    return best


def extra_memory_mb(function):
    """Return how far a call raises the resident memory above what it was, in MB (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None

    def read(key):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
        return 0.0

    before = read("VmRSS:")
    function()
    return read("VmHWM:") - before


def run(case, rounds, threads, peak):
    """Time a case and return its rows."""
    now, clock_name = clock(threads)
    # The first call of each is the warm-up, and the one whose memory is read.
    memory = {name: extra_memory_mb(function) for name, function in case.contenders.items()}
    seconds = {name: [] for name in case.contenders}
    for _ in range(rounds):
        for name, function in case.contenders.items():
            start = now()
            function()
            seconds[name].append(now() - start)
    own = min(seconds[case.ours])
    rows = []
    for name, times in seconds.items():
        share = case.operations / min(times) / peak if case.operations else None
        rows.append(
            {
                "case": case.name,
                "contender": name,
                "is_ours": name == case.ours,
                "seconds": f"{min(times):.4f}",
                "median_seconds": f"{sorted(times)[len(times) // 2]:.4f}",
                "times_slower_than_ours": f"{min(times) / own:.2f}",
                "share_of_peak": "" if share is None else f"{share:.2f}",
                "extra_memory_mb": "" if memory[name] is None else f"{memory[name]:.0f}",
                "rounds": rounds,
                "threads": threads,
                "clock": clock_name,
                "note": case.notes.get(name, ""),
            }
        )
    for name, reason in case.missing.items():
        note = f"not measured: {reason}"
        rows.append({"case": case.name, "contender": name, "is_ours": False, "note": note})
    return rows


def show(rows):
    """Print the rows of one case."""
    print(f"\n{rows[0]['case']}")
    for row in rows:
        if row.get("seconds") is None:
            print(f"  {row['contender']:44} {row['note']}")
            continue
        share = f"{float(row['share_of_peak']):4.0%} of peak" if row["share_of_peak"] else ""
        memory = f"{row['extra_memory_mb']:>6} MB" if row["extra_memory_mb"] else ""
        print(
            f"  {row['contender']:44} {row['seconds']:>9} s {row['times_slower_than_ours']:>8} x "
            f"{memory} {share} {row['note']}"
        )


def write(rows, name, limits):
    """Write the rows to results/<name>.csv, after comment lines that say where and how."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    status = ops.native_status()
    with path.open("w", newline="") as file:
        file.write(
            f"# {processor()}, torch {torch.__version__}, python {platform.python_version()}\n"
        )
        file.write(f"# instruction set {status.dispatch['instruction_set']}, {limits}\n")
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def processor():
    """Return the processor's family, model and flags that matter, never a host name."""
    info = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    name = f"{info.get('model name')}, family {info.get('cpu family')} model {info.get('model')}"
    return f"{name}, {torch.get_num_threads()} threads"
