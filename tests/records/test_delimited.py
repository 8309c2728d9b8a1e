"""Text tables in every form: what separates the columns, what they are called, what is refused."""

from __future__ import annotations

import polars
import pytest

from xferpipe.records.delimited import DelimitedFileError, form_of, read_delimited


def written(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("text", "separator", "names"),
    [
        ("a,b\n1,2\n", ",", ("a", "b")),
        ("a;b,c;d\n", ";", ("a", "b,c", "d")),
        ("a\tb, c\td\n", "\t", ("a", "b, c", "d")),
        ('"a;b";c\n', ";", ("a;b", "c")),
        ("path,note;label;x;y\n", ",", ("path", "note;label;x;y")),
        ("alone\n1\n", ",", ("alone",)),
        ("a,,b,\n", ",", ("a", "", "b", "")),
        ("\ufeffsep=|\r\na|b\r\n", "|", ("a", "b")),
    ],
)
def test_form_is_that_of_the_known_names_or_of_most_columns(text, separator, names, tmp_path):
    form = form_of(written(tmp_path, text), ("path",))
    assert (form.separator, form.names) == (separator, names)


def test_columns_that_are_asked_for_are_read_as_they_are_written(tmp_path):
    path = written(tmp_path, "n; label;;x\n01;1,5 ;q;2,5\n1; 2;;3\n")
    form = form_of(path)
    whole = read_delimited(path, form, texts=("n", "label"))
    assert whole.to_dict(as_series=False) == {
        "n": ["01", "1"],
        "label": ["1,5", "2"],
        "column_3": ["q", None],
        "x": [2.5, 3.0],
    }
    part = read_delimited(path, form, only=("x", "n"), texts=None)
    assert part.to_dict(as_series=False) == {"n": ["01", "1"], "x": ["2,5", "3"]}
    assert read_delimited(path, form, only=("y",)).is_empty()


def test_table_without_rows_has_its_columns(tmp_path):
    path = written(tmp_path, "a,b\n")
    assert read_delimited(path, form_of(path), texts=None).schema == dict.fromkeys(
        "ab", polars.String
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty CSV"),
        (b"a,a\n", r"two columns are called 'a' \(1 and 2\)"),
        (b"a, a\n", r"two columns are called 'a' \(1 and 2\)"),
        ("a,b\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        (b"\xff,b\n", "no UTF-8 text"),
        (b"a,b\n\xff,b\n", "no UTF-8 text"),
        (b"a,b\n" + b"x,y\n" * 2_000_000 + b"\xff,b\n", "no UTF-8 text"),
        (b"PK\x03\x04\0\0", "it is no text"),
        (b"a" * 200_000 + b",b\n", "its first line cannot be read"),
        (b"a,b\n1,2,3\n", "found more fields than defined"),
        (b'a,"b\n1,2\n', "column 2 has a name of 2 lines .* is a quote left open"),
        (b"a," + b"b" * 300 + b"\n1,2\n", "of 1 lines and 300 letters"),
    ],
    ids=range(12),
)
def test_file_that_is_no_table_is_refused_in_words(content, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DelimitedFileError, match=message) as raised:
        read_delimited(path, form_of(path), texts=None)
    assert len(str(raised.value).splitlines()) == 1
