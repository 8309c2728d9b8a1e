"""A table of the user's own, for classification and for re-identification."""

import polars
import pytest
from PIL import Image

from xferpipe.config.datasets import ImageTable
from xferpipe.config.jobs import ManifestJob, PackJob
from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.findings import findings
from xferpipe.datasets.readers import table
from xferpipe.stages.manifest import listing
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


def test_labels_read_as_numbers_are_rows_of_the_findings(tmp_path):
    """Two lists laid together: one keeps zeros in front, and writes a word before cameras."""
    for i, name in enumerate(REID["path"]):
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(tmp_path / name)
    columns = REID | {
        "identity": ["10", "10", "7", "0099", "99", "99"],
        "camera": ["1", "2", "1", "c1", "1", "2"],
    }
    polars.DataFrame(columns).write_csv(tmp_path / "people.csv")
    dataset = ImageTable(path=tmp_path / "people.csv", root=tmp_path, image_px=8)
    found = listing(ManifestJob(name="people", dataset=dataset, seed=0), tmp_path)
    assert found.rows["identity"].to_list() == [10, 10, 7, 99, 99, 99]
    rows = found.findings.filter(kind="read_as")
    assert rows["path"].to_list() == ["people.csv"] * 2
    assert [text.partition(" are read as ")[0] for text in rows["detail"]] == [
        "column identity: '0099' of the queries and '99' of the gallery",
        "column camera: 'c1' of the queries and '1' of the gallery",
    ]
    told = findings(dataset, found.rows, found.findings)
    assert any(text.startswith("people.csv: column identity: '0099'") for text in told)
    (tmp_path / "people.csv").write_text("path,label\na.jpg,01\nb.jpg,2\nc.jpg,01\nd.jpg,2\n")
    assert table.read_as(dataset, root=tmp_path) == []


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
        {"path": ["a", "b", "c"], "split": ["Train", "valid", "Testing"], "label": [30, 4, 30]},
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
    with pytest.raises(DatasetError, match=r"ends in \.csv, \.tsv, \.parquet"):
        table.read(ImageTable(path=tmp_path / "images.xlsx"), root=tmp_path, seed=0)


def read_text(tmp_path, text, *, name="images.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding, newline="")
    return table.read(ImageTable(path=path, root=tmp_path), root=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ('path,label\n"im/a, b.png",dog\nim/c.png,"cat, large"\n', "utf-8"),
        ("path;label\nim/a, b.png;dog\nim/c.png;cat, large\n", "utf-8"),
        ("path;label\r\nim/a, b.png;dog\r\nim/c.png;cat, large\r\n", "utf-8-sig"),
        ("label\tpath\ndog\tim/a, b.png\ncat, large\tim/c.png\n", "utf-8"),
        ("path|label\nim/a, b.png|dog\nim/c.png|cat, large\n", "utf-8"),
        ("sep=;\r\npath;label\r\nim/a, b.png;dog\r\nim/c.png;cat, large\r\n", "utf-8-sig"),
        (" Path ; Label \n im/a, b.png ; dog \n im/c.png ; cat, large \n", "utf-8"),
        ("note;path;label;;\n1,5;im/a, b.png;dog;;\n;im/c.png;cat, large;;\n;;;;\n", "utf-8"),
        ("path;label\nim\\\\a, b.png;dog\n.\\\\im\\\\c.png;cat, large\n", "utf-8"),
    ],
    ids=["commas", "semicolons", "excel", "tabs", "bars", "sep", "spaces", "empty", "windows"],
)
def test_read_text_in_any_form_is_the_same_table(text, encoding, tmp_path):
    rows = read_text(tmp_path, text.replace("\\\\", "\\"), encoding=encoding)
    assert rows["path"].to_list() == ["im/a, b.png", "im/c.png"]
    assert rows["class_name"].to_list() == ["dog", "cat, large"]
    assert rows["label"].to_list() == [1, 0]
    dataset = ImageTable(path=tmp_path / "images.csv", root=tmp_path)
    assert table.files(dataset) == rows["path"].to_list()
    assert set(table.column_names(dataset.path)) == {"path", "label"}


def test_read_tab_separated_file_may_end_in_tsv(tmp_path):
    rows = read_text(tmp_path, "path\tlabel\na.png\t1\nb.png\t0\n", name="images.tsv")
    assert rows["label"].to_list() == [1, 0]


def test_read_backslash_of_a_name_that_is_there_is_kept(tmp_path):
    (tmp_path / "a\\b.png").touch()
    rows = read_text(tmp_path, "path,label\na\\b.png,x\na\\c.png,y\n")
    assert rows["path"].to_list() == ["a\\b.png", "a/c.png"]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("./im/a.png", "im/a.png"),
        ("im/./a.png", "im/a.png"),
        ("im//a.png", "im/a.png"),
        ("/im/a.png", "/im/a.png"),
        ("../im/a.png", "../im/a.png"),
        ("im/.a/b..png", "im/.a/b..png"),
        ("007", "007"),
    ],
)
def test_read_path_in_two_writings_is_one_file(written, path, tmp_path):
    rows = read_text(tmp_path, f"path,label\n{written},x\nother.png,y\n")
    assert rows["path"].to_list() == [path, "other.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty CSV"),
        ("\n\n", "empty CSV"),
        (",\na,b\n", "its first line is empty"),
        ("path,label,label\na,b,c\n", "two columns are called 'label' (2 and 3)"),
        ("path,label,Label\na,b,c\n", "columns 'label' and 'Label' are both 'label'"),
        ("path,label\na,b,c\n", "cannot be read"),
        ("path,label\na,\nb,x\n", "1 rows have no label: rows 1"),
        ("path,label\na,x\n,x\n", "1 rows have no path: rows 2"),
        ('path,label\na,x\nb," "\n', "1 rows have no label: rows 2"),
        ("path,class\na,b\n", "neither 'label'"),
    ],
)
def test_read_text_that_is_wrong_says_what_and_where(text, message, tmp_path):
    with pytest.raises(DatasetError) as raised:
        read_text(tmp_path, text)
    assert str(raised.value).startswith(f"table {tmp_path / 'images.csv'}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_read_text_of_another_encoding_says_how_to_save_it(encoding, tmp_path):
    with pytest.raises(DatasetError, match="save it as UTF-8"):
        read_text(tmp_path, "path,label\na.png,größe\nb.png,x\n", encoding=encoding)


CELLS = [
    (["01", "1", "01", "1"], "label '01' (2 rows) and '1' (2 rows) are one number"),
    (["1", "1.0", "2", "2"], "'1' (1 rows) and '1.0' (1 rows) are one number"),
    (["dog", "dog ", "dog", "cat"], "label 'dog' (2 rows) and 'dog ' (1 rows) differ in spaces"),
    (["a b", "a  b", "c", "c"], "differ in spaces alone"),
    (["caf\u00e9", "cafe\u0301", "c", "c"], "or in how a letter is coded"),
    (["0.5", "30", "31.25", "2"], "label holds 0.5; expected classes"),
    (["cat;sky", "sky", "dog;sky", "dog"], "'cat;sky' (1 rows) names several classes, for 'sky'"),
    (["cat;dog", "sky;cat", "sky;dog", "sky;dog"], "names several classes"),
    (["cat|dog", "dog", "cat", "cat"], "'cat|dog' (1 rows) names several classes"),
    (["['cat', 'dog']", "['cat']", "[]", "[]"], "is a list: xferpipe learns one class"),
]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("labels", "message"), CELLS, ids=range(len(CELLS)))
def test_read_labels_that_may_be_another_class_are_refused(labels, message, suffix, tmp_path):
    with pytest.raises(DatasetError) as raised:
        read(tmp_path, {"path": ["a", "b", "c", "d"], "label": labels}, suffix=suffix)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["07", "10", "07", "2"], ["07", "10", "07", "2"], [1, 2, 1, 0]),
        (["10", "9", "-1", "9"], ["10", "9", "-1", "9"], [2, 1, 0, 1]),
        (["1.0", "2.0", "1.0", "2.0"], ["1", "2", "1", "2"], [0, 1, 0, 1]),
        (["v1.5", "v1.0", "2", "2"], ["v1.5", "v1.0", "2", "2"], [2, 1, 0, 0]),
        (["Dog", "dog", "cat;", "a;b"], ["Dog", "dog", "cat;", "a;b"], [0, 3, 2, 1]),
        (["true", "false", "true", "NA"], ["true", "false", "true", "NA"], [2, 1, 2, 0]),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_read_labels_keep_their_writing_and_are_in_order(labels, names, numbers, suffix, tmp_path):
    columns = {"path": ["a", "b", "c", "d"], "label": labels}
    if suffix == ".tsv":
        lines = ["path\tlabel", *("\t".join(row) for row in zip(*columns.values(), strict=True))]
        rows = read_text(tmp_path, "\n".join(lines), name="images.tsv")
    else:
        rows = read(tmp_path, columns, suffix=suffix)
    assert rows["class_name"].to_list() == names
    assert rows["label"].to_list() == numbers


@pytest.mark.parametrize(
    ("type_", "labels", "names"),
    [
        (polars.Float64, [2.0, 10.0], ["2", "10"]),
        (polars.Int128, [2, 10], ["2", "10"]),
        (polars.UInt64, [2**63, 10], [str(2**63), "10"]),
        (polars.Boolean, [True, False], ["true", "false"]),
        (polars.Categorical, ["b", "a"], ["b", "a"]),
        (polars.Enum(["b", "a"]), ["b", "a"], ["b", "a"]),
        (polars.Decimal(10, 2), ["2.00", "10.00"], ["2", "10"]),
    ],
    ids=str,
)
def test_read_labels_of_any_type_are_classes(type_, labels, names, tmp_path):
    column = polars.Series(labels).cast(type_)
    rows = read(tmp_path, {"path": ["a", "b"], "label": column}, suffix=".parquet")
    assert rows["class_name"].to_list() == names
    # By value where all are numbers; `b` before `a`, true before false and 2^63 before 10 are not.
    assert rows["label"].to_list() == ([0, 1] if names[0] == "2" else [1, 0])


@pytest.mark.parametrize("column", ["label", "path"])
def test_read_lists_in_a_column_are_refused(column, tmp_path):
    columns = {"path": ["a", "b"], "label": ["x", "y"]} | {column: [["a"], ["b", "c"]]}
    with pytest.raises(DatasetError, match=rf"column '{column}' has type List\(String\)"):
        read(tmp_path, columns, suffix=".parquet")


def test_read_identity_or_camera_in_two_writings_is_refused(tmp_path):
    for column, message in (("identity", "identity '010'"), ("camera", "camera '01'")):
        changed = ["010", "10", "7", "99", "99", "99"] if column == "identity" else ["01", *"12112"]
        with pytest.raises(DatasetError, match=message):
            read(tmp_path, REID | {column: changed})


def test_read_identities_with_zeros_in_front_keep_their_names_and_numbers(tmp_path):
    rows = read(tmp_path, REID | {"identity": ["010", "010", "007", "099", "099", "099"]})
    assert rows["class_name"].to_list() == ["010", "010", "007", "099", "099", "099"]
    assert rows["label"].to_list() == [1, 1, 0, None, None, None]


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
    with pytest.raises(DatasetError, match=r"d\.jpg: cannot be decoded"):
        listing(dataset, root=tmp_path)
    (tmp_path / "d.jpg").write_bytes(whole)
    listing(dataset, root=tmp_path)
    (tmp_path / "d.jpg").write_bytes(whole[: len(whole) // 2])
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
    with pytest.raises(DatasetError, match="two columns are called 'identity'"):
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
