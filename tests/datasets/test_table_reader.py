"""A table of the user's own, for classification and for re-identification."""

import polars
import pytest

from xferpipe.config.datasets import ImageTable
from xferpipe.config.jobs import PackJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.readers import table
from xferpipe.stages.pack import pack


def read(tmp_path, columns, *, suffix=".csv"):
    path = tmp_path / f"images{suffix}"
    frame = polars.DataFrame(columns, strict=False)
    if suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    return table.read(ImageTable(path=path, root=tmp_path), root=tmp_path, seed=0)


REID = {
    "path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"],
    "split": ["train", "train", "train", "query", "gallery", "gallery"],
    "identity": [10, 10, 7, 99, 99, 99],
    "camera": [1, 2, 1, 1, 1, 2],
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_read_identities_become_labels_of_the_training_split(suffix, tmp_path):
    rows = read(tmp_path, REID, suffix=suffix)
    assert rows["label"].to_list() == [1, 1, 0, None, None, None]
    assert rows["identity"].to_list() == REID["identity"]
    assert rows["camera"].to_list() == REID["camera"]
    assert rows["sequence"].null_count() == 6


def test_read_names_are_numbered_and_kept(tmp_path):
    named = REID | {
        "identity": ["rex", "rex", "ada", "zoe", "zoe", "zoe"],
        "camera": ["gate", "yard", "gate", "gate", "gate", "yard"],
        "sequence": ["s1", "s1", "s2", "s3", "s3", "s4"],
    }
    rows = read(tmp_path, named)
    assert rows["class_name"].to_list() == named["identity"]
    assert rows["identity"].to_list() == [2, 2, 1, 3, 3, 3]
    assert rows["camera"].to_list() == [1, 2, 1, 1, 1, 2]
    assert rows["sequence"].to_list() == [1, 1, 2, 3, 3, 4]


def test_read_without_cameras_is_allowed_and_said(tmp_path, caplog):
    columns = {name: values for name, values in REID.items() if name != "camera"}
    assert read(tmp_path, columns)["camera"].null_count() == 6
    assert "no image has a camera" in caplog.text


def test_read_some_cameras_missing_stay_null(tmp_path, caplog):
    rows = read(tmp_path, REID | {"camera": [1, 2, 1, 1, None, 2]})
    assert rows["camera"].to_list() == [1, 2, 1, 1, None, 2]
    assert "1 of 3 query and gallery images have no camera: e.jpg" in caplog.text


def test_read_labels_of_classes_are_dense(tmp_path):
    rows = read(
        tmp_path,
        {"path": ["a", "b", "c"], "split": ["Train", "val", "test"], "label": [30, 4, 30]},
    )
    assert rows["label"].to_list() == [1, 0, 1]
    assert rows["class_name"].to_list() == ["30", "4", "30"]
    assert rows["split"].to_list() == ["train", "validation", "test"]


def test_read_without_splits_leaves_them_to_the_manifest(tmp_path):
    rows = read(tmp_path, {"path": ["a", "b"], "label": ["dog", "cat"], "note": ["x", "y"]})
    assert rows["split"].null_count() == 2
    assert rows["label"].to_list() == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": ["train", "train", "train", "query", "gallery", "galery"]}, "galery; allowed"),
        ({"path": ["a", None, "c", "d", "e", "f"]}, "1 rows have no path: rows 2"),
        ({"identity": [10, 10, None, 99, 99, 99]}, "1 rows have no identity: rows 3"),
        ({"split": ["train", None, "train", "query", "gallery", "gallery"]}, "have no split"),
    ],
)
def test_read_wrong_values_are_named(change, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, REID | change)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["a.jpg"]}, "no column 'path' \\(columns: file\\)"),
        ({"path": ["a.jpg"]}, "neither 'label'"),
        ({"path": ["a.jpg"], "split": ["query"], "label": [1]}, "need a column 'identity'"),
    ],
)
def test_read_missing_columns_say_what_is_allowed(columns, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, columns)


def test_read_unknown_format_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"expected a \.csv or \.parquet"):
        table.read(ImageTable(path=tmp_path / "images.xlsx"), root=tmp_path, seed=0)


def test_read_missing_file_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        table.read(ImageTable(path=tmp_path / "images.csv"), root=tmp_path, seed=0)


def test_pack_truncated_jpeg_of_a_table_is_named_and_never_hangs(tmp_path, listing, write_image):
    """Others read such a file again and again; here it ends in one error with its name."""
    for name in REID["path"]:
        write_image(tmp_path / name, size=(64, 64))
    whole = (tmp_path / "d.jpg").read_bytes()
    (tmp_path / "d.jpg").write_bytes(whole[: len(whole) // 2])
    polars.DataFrame(REID).write_csv(tmp_path / "images.csv")
    dataset = ImageTable(path=tmp_path / "images.csv", root=tmp_path)
    listing(dataset, root=tmp_path)
    with pytest.raises(DatasetError, match=r"d\.jpg: cannot be decoded"):
        pack(
            PackJob(dataset=dataset, seed=0),
            manifest=tmp_path / "manifest.parquet",
            root=tmp_path,
            images=tmp_path / "images.npy",
        )


def test_read_spaces_of_headers_and_texts_are_left_out(tmp_path):
    path = tmp_path / "images.csv"
    lines = ["path, split, identity, camera", "a.jpg, train, 7, 1", "b.jpg, train, 8, 2"]
    lines += ["c.jpg, query, 9, 1", " d.jpg , gallery, 9, 2"]
    path.write_text("\n".join(lines) + "\n")
    dataset = ImageTable(path=path, root=tmp_path)
    rows = table.read(dataset, root=tmp_path, seed=0)
    assert rows["identity"].to_list() == [7, 8, 9, 9]
    assert rows["camera"].to_list() == [1, 2, 1, 2]
    assert table.files(dataset) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_read_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "images.csv"
    path.write_text("path,split,identity, identity\na.jpg,train,1,1\n")
    with pytest.raises(DatasetError, match="'identity' is there more than once"):
        table.read(ImageTable(path=path, root=tmp_path), root=tmp_path, seed=0)


def test_read_sides_that_write_numbers_apart_meet(tmp_path, caplog):
    apart = REID | {
        "identity": ["10", "10", "7", "0990", "990", "990"],
        "camera": ["1", "2", "1", "c1", "1", "2"],
    }
    rows = read(tmp_path, apart, suffix=".parquet")
    assert rows["identity"].to_list() == [10, 10, 7, 990, 990, 990]
    assert rows["camera"].to_list() == [1, 2, 1, 1, 1, 2]
    assert rows["label"].to_list() == [1, 1, 0, None, None, None]
    assert "'0990' of the queries and '990' of the gallery are read as" in caplog.text


def test_read_names_of_training_alone_make_names_of_all(tmp_path):
    mixed = REID | {"identity": ["rex", "rex", "ada", "9", "9", "9"]}
    rows = read(tmp_path, mixed, suffix=".parquet")
    assert rows["identity"].to_list() == [3, 3, 2, 1, 1, 1]
