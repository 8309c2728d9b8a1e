"""Run the benchmarks: `python -m benchmarks [name ...] [options]`.

A benchmark is a module of this folder. One with a function `cases` measures an op of the extension
and takes `--threads`, `--rounds` and `--size`; each other is a program with options of its own,
which follow its name, or `--` where the ops have an option of that name. Without names, all of them
run: the ops, then the programs.
"""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import torch

from xferpipe import ops

from . import common

_HERE = Path(__file__).parent
_MODULES = {
    path.stem: path.read_text()
    for path in sorted(_HERE.glob("*.py"))
    if path.stem not in ("__init__", "__main__", "common")
}
OPS = tuple(name for name, text in _MODULES.items() if "def cases(" in text)
PROGRAMS = tuple(name for name in _MODULES if name not in OPS)


def main():
    """Run the chosen benchmarks; ops are printed and written as one CSV each."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    given, own = given[:end], given[end + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "names", nargs="*", help=f"some of the ops {', '.join(OPS)}; programs {', '.join(PROGRAMS)}"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--size",
        choices=("full", "quarter", "quick"),
        default="full",
        help="full: the sizes of docs/performance.md; quarter: what a busy machine can do; quick: "
        "seconds in all, no CSV",
    )
    parser.add_argument(
        "--ours", action="store_true", help="leave the peers out, to compare instruction sets"
    )
    parser.add_argument(
        "--suffix", default="", help="ends the names of the CSV files: results of another machine"
    )
    options, further = parser.parse_known_args(given)
    own = [*further, *own]
    names = options.names or [*OPS, *PROGRAMS]
    if unknown := set(names) - set(_MODULES):
        parser.error(f"{sorted(unknown)} is no benchmark: choose from {', '.join(_MODULES)}")
    if own and (len(names) > 1 or names[0] not in PROGRAMS):
        parser.error(f"{' '.join(own)} is for one program; name one of {', '.join(PROGRAMS)}")
    measured = [name for name in names if name in OPS]
    if measured:
        run_ops(measured, options)
    for name in names:
        if name in PROGRAMS:
            print(f"\n== {name}", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{name}", *own]
            if code := subprocess.run(command, check=False).returncode:
                raise SystemExit(
                    f"benchmark {name} ended with exit code {code}; its error is above"
                )


def run_ops(names, options):
    """Measure some ops beside the limits of the machine."""
    torch.set_num_threads(options.threads)
    status = ops.native_status()
    if not status.loaded:
        raise SystemExit(f"the native extension is not in use: {status.reason}")
    for name in names:
        # Beside each op, since a shared machine's limits drift.
        peak, copy = common.measured_peak(options.threads), common.measured_copy(options.threads)
        limits = f"multiply-add peak {peak / 1e9:.0f} GFLOP/s, copy {copy / 1e9:.0f} GB/s"
        print(f"\n== {name}: {limits}, {common.clock(options.threads)[1]} clock")
        rows = []
        for case in importlib.import_module(f".{name}", __package__).cases(options.size):
            if options.ours:
                case.contenders = {
                    name: run for name, run in case.contenders.items() if name.startswith("ours")
                }
                case.missing = {}
            found = common.run(case, options.rounds, options.threads, peak)
            common.show(found)
            rows += found
        if options.size != "quick":
            suffix = f"{name}_{options.size}_threads{options.threads}"
            if options.ours:
                suffix += f"_{status.dispatch['instruction_set']}"
            suffix += f"_{options.suffix}" if options.suffix else ""
            print(f"  -> {common.write(rows, suffix, limits)}")


if __name__ == "__main__":
    main()
