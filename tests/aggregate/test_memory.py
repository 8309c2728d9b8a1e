"""Gathering holds a bounded number of rows, whatever their sum."""

from __future__ import annotations

import os
import subprocess
import sys

import polars
import pytest

from xferpipe.records import empty, write_table

ROWS = 20_000

CHILD = """
import sys
from pathlib import Path
import polars
from xferpipe.aggregate.gather import gather
file, files, output, how = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
if how == "gather":
    table = output / "retrieval_queries.parquet"
    gather("retrieval_queries", [file] * files, table)
else:
    table = output / "eager.parquet"
    rows = polars.concat([polars.read_parquet(file) for _ in range(files)], rechunk=True)
    rows.write_parquet(table)
print(polars.scan_parquet(table).select(polars.len()).collect().item())
# Not ru_maxrss: it starts from that of the process which this one was forked from.
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_memory_of_gathering_does_not_grow_with_the_rows_and_that_of_reading_all_does(tmp_path):
    values = polars.int_range(ROWS, eager=True)
    rows = empty("retrieval_queries").select(
        (values if type_ == polars.Int64 else values.cast(polars.Float64)).alias(name)
        if type_.is_numeric()
        else polars.lit(None, type_).alias(name)
        for name, type_ in empty("retrieval_queries").schema.items()
    )
    file = tmp_path / "rows.parquet"
    write_table("retrieval_queries", rows, file)

    def peak(how, files):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(file), str(files), str(tmp_path), how],
            env={**os.environ, "POLARS_MAX_THREADS": "2"},
            capture_output=True,
            text=True,
            check=True,
        )
        count, peak_kib = map(int, done.stdout.split())
        assert count == ROWS * files
        return peak_kib / 1024

    few, many = 10, 40
    grown = {how: peak(how, many) - peak(how, few) for how in ("gather", "eager")}
    added = (many - few) * rows.estimated_size("mb")
    assert grown["eager"] > added / 2, "the peer does not hold the rows: nothing is shown"
    assert grown["gather"] < grown["eager"] / 4, f"{grown} MiB for {added:.0f} MB of further rows"
