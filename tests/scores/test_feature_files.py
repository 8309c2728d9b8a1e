"""Features and labels from every kind of file are the arrays that were written, or an error."""

from __future__ import annotations

from pathlib import Path

import numpy
import polars
import pytest
from safetensors.numpy import save_file

from xferpipe.scores.feature_files import read_features
from xferpipe.scores.label_files import read_labels

R = numpy.random.default_rng(0)
N, D = 12, 3
FEATURES = R.normal(size=(N, D))
LABELS = numpy.arange(N) % 2 + 3
NAMES = numpy.array(["ash tree", "birch"])[LABELS - 3]
LOGITS = R.normal(size=(N, 4))
SOFTMAX = numpy.exp(LOGITS) / numpy.exp(LOGITS).sum(axis=1, keepdims=True)


def written(path: Path, labels: numpy.ndarray | None) -> Path:
    """Write features, labels and source probabilities as a file of each kind holds them."""
    has = {} if labels is None else {"label": labels}
    if path.suffix == ".parquet":
        lists = {"feature": FEATURES.tolist(), "source_probability": SOFTMAX.tolist()}
        polars.DataFrame(has | lists).write_parquet(path)
    elif path.suffix == ".csv":
        numbers = {f"f{i}": FEATURES[:, i] for i in range(D)}
        numbers |= {f"source_probability_{i}": SOFTMAX[:, i] for i in range(4)}
        polars.DataFrame({"path": ["a.png"] * N} | has | numbers).write_csv(path)
    elif path.suffix == ".npz":
        arrays = {} if labels is None else {"labels": labels}
        numpy.savez(path, features=FEATURES, source_probabilities=SOFTMAX, **arrays)
    elif path.suffix == ".npy":
        numpy.save(path, FEATURES)
    else:
        arrays = {} if labels is None else {"labels": labels}
        save_file({"features": FEATURES, "logits": LOGITS, "rows": LABELS, **arrays}, path)
    return path


@pytest.mark.parametrize(
    ("suffix", "labels"),
    [
        *((suffix, LABELS) for suffix in ("parquet", "csv", "npz", "safetensors")),
        *((suffix, NAMES) for suffix in ("parquet", "csv", "npz")),  # Tensors hold no text.
    ],
)
def test_features_of_a_file_with_labels_are_what_was_written(tmp_path, suffix, labels):
    found = read_features(written(tmp_path / f"it's [a] *.{suffix}", labels))
    assert found.labels.tolist() == labels.tolist()
    assert found.features == pytest.approx(FEATURES)
    assert found.source_probabilities == pytest.approx(SOFTMAX)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "npz", "safetensors", "npy"])
@pytest.mark.parametrize("kind", ["npy", "txt", "csv", "parquet"])
def test_labels_of_a_second_file_take_the_place_of_the_first(tmp_path, suffix, kind):
    path = tmp_path / f"labels.{kind}"
    if kind == "npy":
        numpy.save(path, NAMES)
    elif kind == "txt":
        path.write_text("\n".join(NAMES) + "\n")
    else:
        table = polars.DataFrame({"row": range(N), "label": NAMES})
        (table.write_csv if kind == "csv" else table.write_parquet)(path)
    # What the file itself has is not looked at: figures that are no classes.
    own = LABELS + 0.5
    found = read_features(written(tmp_path / f"features.{suffix}", own), path)
    assert found.labels.tolist() == NAMES.tolist()
    assert found.features == pytest.approx(FEATURES)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "npz", "safetensors", "npy"])
def test_features_without_labels_say_how_to_give_them(tmp_path, suffix):
    with pytest.raises(ValueError, match=r"--labels FILE gives one a row"):
        read_features(written(tmp_path / f"f.{suffix}", None))


def test_head_with_one_class_gives_no_probabilities(tmp_path):
    path = tmp_path / "f.safetensors"
    save_file({"features": FEATURES, "labels": LABELS, "logits": LOGITS[:, :0]}, path)
    assert read_features(path).source_probabilities is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("3\n4\n3\n", [3, 4, 3]),
        ("1.0\n2.0\n", [1, 2]),
        ("a\n 7 \n", ["a", "7"]),
    ],
)
def test_labels_of_lines_are_numbers_where_all_are(tmp_path, lines, expected):
    (tmp_path / "labels.txt").write_text(lines)
    assert read_labels(tmp_path / "labels.txt").tolist() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty CSV"),
        ("1,0.5\n2,0.5\n", "its first line holds numbers"),
        ("label,f\n", "has 0 rows and columns label, f"),
        ("label,path\n1,a\n2,b\n", "a column of numbers for each feature"),
        ("klass,f\na,1\nb,2\n", "column 'klass' holds 'a' in row 0"),
        ("f,g\n1,1\n2,2\n", "has columns f, g but not label; --labels FILE"),
        ("label,f\na,1\nb,x\n", "column 'f' holds 'x' in row 1"),
        ("label,f\na,1\nb,\n", "column 'f' holds nothing in row 1"),
        ("label,f\na,1\nb,inf\n", "hold inf in row 1, column 0"),
        ("label,f\na,1\n,2\n", "1 rows have no label, the first is row 1"),
        ("label,f\na,1\na,2\n", "all 2 labels are a"),
        ("label,f\n0.25,1\n0.5,2\n", "label holds 0.25; expected classes"),
        ("label,f\na,1,2\n", "cannot be read as CSV"),
        ("label,f,f\na,1,2\n", "two columns are called 'f' (2 and 3)"),
        (",label,f\n0,a,1\n1,b,2\n", "column 1 has no name"),
        ("Unnamed: 0,label,f\n0,a,1\n1,b,2\n", "column 1 has no name"),
        ("label,f\n01,1\n1,2\n", "'01' (1 rows) and '1' (1 rows) are one number"),
    ],
)
def test_csv_that_is_wrong_says_what_and_where(tmp_path, content, message):
    path = tmp_path / "f.csv"
    path.write_text(content)
    with pytest.raises(ValueError) as raised:
        read_features(path)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        "label,f0,f1\nash,0.5,1\nbirch,-2,1e3\n",
        "\ufefflabel;f0;f1\r\nash;0,5;1\r\nbirch;-2;1e3\r\n",
        "label;f0;f1\nash;0.5;1\nbirch;-2.0;1000\n",
        "f0\tf1\tlabel\n0.5\t1\tash\n-2\t1e3\tbirch\n",
        " label , f0, f1\nash, 0.5, 1\nbirch,-2,1e3\n",
        'label,path,f0,f1\n"ash","a, b.png",0.5,1\nbirch,c.png,-2,1e3\n',
    ],
    ids=["commas", "decimal commas", "semicolons", "tabs", "spaces", "quotes"],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_csv_of_any_form_is_the_same_features(content, suffix, tmp_path):
    path = tmp_path / f"f.{suffix}"
    path.write_text(content, encoding="utf-8", newline="")
    found = read_features(path)
    assert found.labels.tolist() == ["ash", "birch"]
    assert found.features.tolist() == [[0.5, 1.0], [-2.0, 1000.0]]


TWO_MEANINGS = [
    (["01", "1", "2", "2"], "label '01' (1 rows) and '1' (1 rows) are one number"),
    (["dog", "dog ", "cat", "cat"], "'dog' (1 rows) and 'dog ' (1 rows) differ in spaces"),
    (["cat;dog", "dog", "cat", "cat"], "'cat;dog' (1 rows) names several classes"),
]


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet", "npy"])
@pytest.mark.parametrize(("labels", "message"), TWO_MEANINGS, ids=["zero", "space", "several"])
def test_labels_of_two_meanings_are_refused_in_any_file(kind, labels, message, tmp_path):
    path = tmp_path / f"labels.{kind}"
    if kind == "txt":
        labels = [label.replace("dog ", "dog\u00a0") for label in labels]
        message = message.replace("'dog '", r"'dog\xa0'")
        path.write_text("\n".join(labels), encoding="utf-8")
    elif kind == "npy":
        numpy.save(path, numpy.array(labels))
    else:
        table = polars.DataFrame({"label": labels})
        (table.write_csv if kind == "csv" else table.write_parquet)(path)
    with pytest.raises(ValueError) as raised:
        read_labels(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (numpy.array([True, False]), [1, 0]),
        (numpy.array([3.0, 4.0], numpy.float16), [3, 4]),
        (numpy.array([3, 4], ">i2"), [3, 4]),
        (numpy.array([b"a", b"b"]), ["a", "b"]),
        (polars.Series([2**40, 3], dtype=polars.Int128), [2**40, 3]),
        (polars.Series(["02", "03"]), ["02", "03"]),
    ],
    ids=["bool", "half", "big-endian", "bytes", "int128", "zeros in front"],
)
def test_labels_of_any_type_are_numbers_or_names(labels, expected, tmp_path):
    if isinstance(labels, polars.Series):
        path = tmp_path / "labels.parquet"
        labels.alias("label").to_frame().write_parquet(path)
    else:
        path = tmp_path / "labels.npy"
        numpy.save(path, labels)
    assert read_labels(path).tolist() == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (numpy.array([2**63, 1], numpy.uint64), "at most 64 bits"),
        (numpy.array([1e300, 1.0]), "at most 64 bits"),
        (numpy.array([b"\xff\xfe", b"a"]), "bytes that are no text"),
    ],
    ids=["unsigned", "large", "bytes"],
)
def test_labels_that_are_no_classes_are_refused_in_words(labels, message, tmp_path):
    numpy.save(tmp_path / "labels.npy", labels)
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / "labels.npy")


def test_labels_of_another_count_name_both_files(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\n")
    features = written(tmp_path / "f.npy", None)
    with pytest.raises(ValueError, match=r"f\.npy has 12 rows but .*labels\.txt has 2 labels"):
        read_features(features, tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": FEATURES}, "has arrays X but not features"),
        ({"features": FEATURES[0], "labels": LABELS}, r"shape \(3,\)"),
        ({"features": FEATURES[:, :0], "labels": LABELS}, "12 rows of 0 features"),
        ({"features": FEATURES, "labels": LABELS[:, None]}, r"labels have shape \(12, 1\)"),
        ({"features": FEATURES, "labels": LABELS, "logits": LOGITS[:5]}, "but 5 of source"),
    ],
)
def test_arrays_that_are_wrong_say_what_is_expected(tmp_path, arrays, message):
    numpy.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_features(tmp_path / "f.npz")


@pytest.mark.parametrize("suffix", ["parquet", "npz", "npy", "safetensors", "txt"])
def test_file_of_another_kind_is_named(tmp_path, suffix):
    path = tmp_path / f"f.{suffix}"
    path.write_bytes(b"label,feature\n")
    with pytest.raises(ValueError, match=rf"f\.{suffix}: (cannot be read|expected)"):
        read_features(path)
