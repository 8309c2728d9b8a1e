"""C++ counts by its tokens, and only the files that the build reads count."""

import pytest

from xferpipe.graph.code.kernels import kernel_hash, tokens

SOURCE = '#define TWO 2\n#define ADD(a, b) a + b\nint f(int a) {\n  return a + g("x");\n}\n'


@pytest.mark.parametrize(
    "text",
    [
        SOURCE.replace("return", "// why\n  return"),
        SOURCE.replace("return", "// why \\\n still why\n  return"),
        SOURCE.replace("return", "/* why\n * so */ return"),
        SOURCE.replace("a + g", "a+g").replace("\n  return", " return"),
        SOURCE.replace("a + b", "a \\\n + b"),
        SOURCE.replace("\n", "\r\n"),
        "\n\n" + SOURCE.replace("2\n", "2  // two\n"),
        SOURCE.replace("#define", "#  define"),
    ],
    ids=["comment", "long comment", "block", "layout", "continued", "CRLF", "lines", "directive"],
)
def test_tokens_of_comments_and_layout_are_none(text):
    assert tokens(text) == tokens(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x"', '"y"'),
        ('"x"', '"x // y"'),
        ("a + g", "a - g"),
        ("2\n#define", "2 #define"),
        ("ADD(", "ADD ("),
        ("return a + g", "return a ++g"),
        ("int f", "intf"),
    ],
)
def test_tokens_of_what_compiles_differ(old, new):
    assert tokens(SOURCE.replace(old, new)) != tokens(SOURCE)


@pytest.mark.parametrize(
    ("literal", "others"),
    [
        ('"// a"', '"// b"'),
        ('"\\" /* a */"', '"\\" /* b */"'),
        ('R"x(a" // )" )x"', 'R"x(a" // )"  )x"'),
        ("1'000'000 // a", "1'000'001 // a"),
    ],
    ids=["slashes", "escaped quote", "raw string", "digit separators"],
)
def test_tokens_of_literals_are_kept_whole(literal, others):
    first, second = tokens(f"auto a = {literal}\n;"), tokens(f"auto a = {others}\n;")
    assert first != second
    assert first[-1] == second[-1] == ";"


def test_tokens_of_a_quote_as_a_character_begin_no_string():
    assert tokens("a = '\"'; // b\nc = '\"';") == ["a", "=", "'\"'", ";", "c", "=", "'\"'", ";"]


def test_kernel_hash_of_files_that_the_build_does_not_read_is_unchanged(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "op.cpp").write_text("int a;")
    before = kernel_hash(tmp_path, tmp_path)
    for name in (".DS_Store", "notes.txt", "op.cpp~", "op.cpp.orig", ".#op.cpp", ".op.cpp"):
        (tmp_path / "cpu" / name).write_text("int b;")
    assert kernel_hash(tmp_path, tmp_path) == before


def test_kernel_hash_names_files_by_their_place_below_the_sources(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder / "cpu").mkdir(parents=True)
        (tmp_path / folder / "cpu" / "op.cpp").write_text("int a;")
    here = kernel_hash(tmp_path / "here", tmp_path)
    assert here == kernel_hash(tmp_path / "there", tmp_path)
    (tmp_path / "there" / "cpu").rename(tmp_path / "there" / "cuda")
    assert here != kernel_hash(tmp_path / "there", tmp_path)


def test_kernel_hash_of_an_installed_wheel_is_of_the_name_of_its_extension(tmp_path):
    built = tmp_path / "_native_0123.cpython-311-x86_64-linux-gnu.so"
    built.write_bytes(b"compiled here")
    before = kernel_hash(tmp_path / "csrc", tmp_path)
    built.write_bytes(b"compiled elsewhere")
    assert kernel_hash(tmp_path / "csrc", tmp_path) == before
    built.rename(built.with_name(built.name.replace("0123", "4567")))
    assert kernel_hash(tmp_path / "csrc", tmp_path) != before
