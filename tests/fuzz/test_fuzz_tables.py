"""Files of people, damaged or odd: each is read, or refused in one message on purpose.

Tables of images, files of features and labels, and what the workflow and others write beside them.
The drawn files are the same in every run; `python tests/fuzz/test_fuzz_tables.py 10000 7` draws as
many others from seed 7, and prints each that is answered otherwise.
"""

from __future__ import annotations

import io
import math
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import polars
import pytest
import torch
from safetensors.numpy import save

from xferpipe.cli import _on_purpose
from xferpipe.config.datasets import ImageTable
from xferpipe.datasets.readers import table
from xferpipe.retrieval.feature_files import opened
from xferpipe.scores import compute
from xferpipe.scores.feature_files import read_features
from xferpipe.scores.label_files import read_labels

N, D = 12, 3
_R = numpy.random.default_rng(0)
FEATURES = _R.standard_normal((N, D)).astype(numpy.float32)
LABELS = numpy.arange(N) % 3
#: Cells, lines and pieces that people, spreadsheets and programs write.
CELLS = [
    *("", " ", "dog", "dog ", "Dog", "cat;dog", "01", "1", "1.0", "1e3", "0.5", "-1", "nan", "NA"),
    *("inf", "-inf", "1e999", "9" * 40, '"', "'", '"a, b"', '"a\n b"', "a\\b.png", "C:\\a.png"),
    *("größe", "e\u0301", "\u00a0", "\u200b", "\ufeff", "\x00", "\x1b[31m", "../x", "$(id)", "[1]"),
    *(
        "true",
        "None",
        "train",
        "Test",
        "query",
        "gallery",
        "val",
        "1,5",
        "0x1F",
        "1_000",
        "¹",
        "１",
    ),
]
NAMES = [
    *("path", "label", "split", "identity", "camera", "sequence", "feature", "f0", "f1", "row"),
    *("Path", " label", "", "source_probability_0", "Unnamed: 0", "label", "path"),
]
SEPARATORS = [",", ";", "\t", "|", ", ", " ;"]
SUFFIXES = [".csv", ".tsv", ".parquet", ".npy", ".npz", ".safetensors", ".txt", ".pt"]


def written(value: object) -> bytes:
    """Return whole files that a reader takes, of each kind."""
    buffer = io.BytesIO()
    kind, content = value
    if kind == ".npy":
        numpy.save(buffer, content, allow_pickle=False)
    elif kind == ".npz":
        numpy.savez(buffer, **content)
    elif kind == ".parquet":
        polars.DataFrame(content, strict=False).write_parquet(buffer)
    elif kind == ".safetensors":
        return save(content)
    elif kind == ".pt":
        torch.save(content, buffer)
    else:
        polars.DataFrame(content).write_csv(buffer)
    return buffer.getvalue()


ROWS = {"path": [f"{i}.png" for i in range(N)], "label": LABELS.tolist()}
REID = {
    "path": ROWS["path"],
    "split": ["train"] * 4 + ["query"] * 4 + ["gallery"] * 4,
    "identity": [1, 1, 2, 2, 7, 8, 7, 8, 7, 8, 7, 8],
    "camera": [1, 2, 1, 2, 1, 1, 1, 1, 2, 2, 2, 2],
}
LISTS = {"feature": FEATURES.tolist(), "identity": LABELS.tolist(), "label": LABELS.tolist()}
WHOLE = {
    ".csv": [ROWS, REID, {"label": LABELS, "f0": FEATURES[:, 0], "f1": FEATURES[:, 1]}],
    ".tsv": [ROWS, REID],
    ".txt": [{"label": LABELS}],
    ".parquet": [ROWS, REID, LISTS, {"feature": [[1.0], [1.0, 2.0], None], "identity": [1, 2, 3]}],
    ".npy": [FEATURES, LABELS, FEATURES[0], FEATURES.astype("S4"), FEATURES.astype(complex)],
    ".npz": [{"features": FEATURES, "labels": LABELS}, {"labels": LABELS}],
    ".safetensors": [{"features": FEATURES, "labels": LABELS}, {"features": FEATURES}],
    ".pt": [{"features": torch.from_numpy(FEATURES)}],
}


def text(r: numpy.random.Generator) -> bytes:
    """Draw a table as text: names, cells, separators, lines and encodings of all sorts."""
    separator = r.choice(SEPARATORS)
    names = [str(r.choice(NAMES)) for _ in range(r.integers(1, 6))]
    if r.random() < 0.7:
        names = list(dict.fromkeys(["path", "label", *names]))[: r.integers(2, 7)]
    odd = r.random()

    def cell(name: str) -> str:
        if r.random() < 0.3 * odd:
            return str(r.choice(CELLS))
        return f"{r.integers(99)}.png" if name == "path" else str(r.integers(4))

    lines = [separator.join(names)]
    for _ in range(r.integers(0, 9)):
        cells = [cell(name) for name in names]
        if r.random() < 0.1 * odd:
            cells = cells[: r.integers(len(cells) + 1)] + [str(r.choice(CELLS))] * r.integers(3)
        lines.append(separator.join(cells))
    end = r.choice(["\n", "\r\n", "\r", "\n\n"], p=[0.7, 0.2, 0.05, 0.05])
    encoding = r.choice(["utf-8", "utf-8-sig", "utf-16", "latin-1"], p=[0.7, 0.1, 0.1, 0.1])
    return str(end).join(lines).encode(str(encoding), errors="replace")


def damaged(r: numpy.random.Generator, content: bytes) -> bytes:
    """Flip, cut, repeat, or put in some bytes."""
    found = bytearray(content)
    for _ in range(r.integers(0, 4)):
        place = int(r.integers(len(found) + 1))
        kind = r.integers(4)
        if kind == 0 and place < len(found):
            found[place] ^= int(r.integers(1, 256))
        elif kind == 1:
            del found[place : place + int(r.integers(1, 40))]
        elif kind == 2:
            found[place:place] = str(r.choice(CELLS)).encode()
        else:
            found[place:place] = found[: int(r.integers(40))]
    return bytes(found[: int(r.integers(len(found) + 1))]) if r.random() < 0.2 else bytes(found)


def files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield endings and contents."""
    r = numpy.random.default_rng(seed)
    whole = {kind: [written((kind, one)) for one in found] for kind, found in WHOLE.items()}
    for _ in range(count):
        suffix = str(r.choice(SUFFIXES, p=[0.3, 0.1, 0.2, 0.12, 0.12, 0.08, 0.04, 0.04]))
        if suffix in (".csv", ".tsv", ".txt") and r.random() < 0.7:
            content = text(r)
        else:
            kind = str(r.choice(list(whole))) if r.random() < 0.05 else suffix
            content = whole[kind][int(r.integers(len(whole[kind])))]
        yield suffix, damaged(r, content) if r.random() < 0.8 else content


def _opened(path: Path) -> int:
    with opened(path) as found:
        return len(found.labels)


def readers(path: Path, beside: Path) -> dict[str, Callable[[], object]]:
    """Name what may be asked to read a file."""
    dataset = ImageTable(path=path, root=path.parent)
    return {
        "table": lambda: table.read(dataset, root=path.parent, seed=0).height,
        "listed": lambda: len(table.files(dataset)),
        "columns": lambda: len(table.column_names(path)),
        "score": lambda: len(read_features(path).labels),
        "score with labels": lambda: len(read_features(path, beside).labels),
        "labels": lambda: len(read_labels(path)),
        "retrieve": lambda: _opened(path),
    }


def answers(seed: int, count: int, folder: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield reader, what it answered, and what is wrong with that answer."""
    beside = folder / "labels.csv"
    beside.write_text("\n".join(["label", *map(str, LABELS)]))
    for suffix, content in files(seed, count):
        path = folder / f"file{suffix}"
        path.write_bytes(content)
        if suffix == ".npy":
            sidecar = path.with_suffix(".csv")
            sidecar.write_text("\n".join(["identity", *map(str, LABELS)]))
        for name, read in readers(path, beside).items():
            yield name, *answer(read, path)
        for left in folder.glob("file.*"):
            left.unlink()


def answer(read: Callable[[], object], path: Path) -> tuple[str, str | None]:
    """Return `read` or `refused`, and what is wrong with that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read()
        return "read", None
    except (ValueError, OSError) as error:
        words = str(error)
        if not _on_purpose(error):
            return "raised", traceback.format_exc()
        if str(path) not in words and "labels.csv" not in words:
            return "refused", f"does not name the file: {words}"
        if len(words) > 1200 or len(words.splitlines()) > 6:
            return "refused", f"is no message: {words[:2000]}"
        return "refused", None
    except BaseException:
        return "raised", traceback.format_exc()


def wrong(seed: int, count: int, folder: Path) -> tuple[list[str], Counter]:
    """Return the answers that are none, and how often each reader answered how."""
    told, found = Counter(), []
    for name, kind, fault in answers(seed, count, folder):
        told[name, kind] += 1
        if fault is not None:
            found.append(f"{name}: {fault}")
    return found, told


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_files_of_any_content_are_read_or_refused_in_one_message(count, tmp_path):
    found, told = wrong(count, count, tmp_path)
    assert not found, "\n\n".join(found[:3])
    for name in ("table", "score", "labels", "retrieve"):
        assert told[name, "read"] > count / 100, "what is drawn must exercise the reader"
        assert told[name, "refused"] > count / 100


def extreme(r: numpy.random.Generator) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Draw features whose squares leave float64, or that are hardly features at all."""
    n, d = int(r.integers(2, 16)), int(r.integers(1, 8))
    sizes = 10.0 ** r.integers(-320, 308, size=d if r.random() < 0.5 else 1)
    features = r.standard_normal((n, d)) * sizes
    if r.random() < 0.3:
        features[r.integers(n)] = r.choice([0.0, 1e308, -1e308, 5e-324])
    return features, r.integers(0, r.integers(1, 5), n)


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_features_of_any_size_leave_every_score_a_value_or_a_reason(count):
    r = numpy.random.default_rng(count)
    for _ in range(count):
        features, labels = extreme(r)
        rows = compute(features, labels, bootstrap_samples=10)
        for row in rows.iter_rows(named=True):
            assert (row["value"] is None) <= bool(row["reason"])
            assert row["value"] is None or math.isfinite(row["value"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        faults, counted = wrong(int(sys.argv[2]), int(sys.argv[1]), Path(place))
    for one in faults:
        print(one)
    print(dict(sorted(counted.items())), len(faults), "faults")
