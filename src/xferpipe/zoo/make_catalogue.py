"""Write the table of pretrained models: `python -m xferpipe.zoo.make_catalogue [--anew]`.

What the libraries say of each is written down; how many parameters an architecture has, and which
sides it takes, is tried on torch's meta device, about a second each. Architectures that the table
has of the same version of the library are not tried again, unless `--anew` asks for it.
"""

from __future__ import annotations

import csv
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from importlib.metadata import version

from xferpipe.config.catalogue import TABLE, Listed, read, written
from xferpipe.config.catalogue_sources import described
from xferpipe.zoo.catalogue_trials import tried

#: What is found out by trying, the same for all weights of an architecture.
TRIED = ("parameters", "fixed", "side_step", "problem")


def rows(old: dict[tuple[str, str], Listed]) -> Iterator[Listed]:
    """Yield the rows of both libraries.

    Args:
        old: Rows, by architecture and source, whose trials still count.
    """
    found: dict[str, dict[str, object]] = {}
    for row in described():
        if row.architecture not in found:
            known = old.get((row.architecture, row.source))
            found[row.architecture] = (
                tried(row)
                if known is None
                else {name: value for name, value in asdict(known).items() if name in TRIED}
            )
            print(row.architecture, found[row.architecture], file=sys.stderr)
        # What stands in the way of one set of weights need not do so for the architecture.
        yield replace(
            row, **found[row.architecture] | ({"problem": row.problem} if row.problem else {})
        )


def main(arguments: list[str]) -> None:
    """Write the table."""
    warnings.simplefilter("ignore")
    # Trials make their own weights; where timm does not take them, it is not to fetch others.
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable()
    old = {} if "--anew" in arguments or not TABLE.exists() else _known()
    table = list(rows(old))
    with TABLE.open("w", newline="") as file:
        names = [field.name for field in fields(Listed)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(written, table))
    print(f"{len(table)} rows of {', '.join(f'{p} {version(p)}' for p in ('torchvision', 'timm'))}")


def _known() -> dict[tuple[str, str], Listed]:
    return {(row.architecture, row.source): row for row in read(TABLE) if row.usual}


if __name__ == "__main__":
    main(sys.argv[1:])
