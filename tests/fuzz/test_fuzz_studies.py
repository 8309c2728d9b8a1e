"""Hostile studies: whatever the file says, the answer is a study or an error in words.

What is drawn is the same in every run; this draws other cases each time:
pytest --hypothesis-profile fresh tests/fuzz
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from xferpipe.config.load import StudyError, load_study
from xferpipe.config.study import Study

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())

quick = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("../../etc/passwd", "/etc/passwd", "..", ".", "", " ", "a b", "a'b", 'a"b', "$(id)"),
            *("`id`", "a;id", "a|b", "a\nb", "a\x00b", "\u202e", "é", "{x}", "%s", "-rf", "~", "*"),
            *("all", "full", "null", "1e309", "0x10", "a" * 300),
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        TEXTS,
        st.dates(),
        st.binary(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(TEXTS, st.integers(), st.none()), inner, max_size=3),
    ),
    max_leaves=6,
)


def _places(node, path=()):
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items if isinstance(node, dict | list) else ():
        yield from (
            _places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
        )


PLACES = [place for place in _places(DEFAULT) if place]


def answer(source, **options):
    """Return the study, or None where it is refused in words; anything else fails the test."""
    refusal = study = None
    try:
        study = load_study(source, **options)
    except StudyError as error:
        refusal = str(error)
    assert isinstance(study, Study) or len(refusal) > 20, "an error without an explanation"
    return study


@settings(quick, max_examples=600)
@given(place=st.sampled_from(PLACES), value=VALUES, smoke=st.booleans())
def test_study_with_any_value_anywhere_is_checked_or_refused_in_words(place, value, smoke):
    content = copy.deepcopy(DEFAULT)
    node = content
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    answer(content, smoke=smoke)


@settings(quick, max_examples=300)
@given(place=st.sampled_from(PLACES), key=st.one_of(TEXTS, st.integers(), st.none()), value=VALUES)
def test_study_with_any_key_anywhere_is_checked_or_refused_in_words(place, key, value):
    content = copy.deepcopy(DEFAULT)
    node = content
    for step in place:
        node = node[step]
    if isinstance(node, dict):
        node[key] = value
        answer(content)


@settings(quick, max_examples=300)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
@example(content=b"\xff\xfe\x00")
@example(content=b"a: &a [*a]")
@example(content=b"!!python/object/apply:os.system ['touch pwned']")
@example(content=b"[" * 3000)
@example(content=b"name: 2001-99-99")
@example(content=b"? [a, b]\n: c\nname: x")
def test_study_file_of_any_bytes_is_refused_in_words(tmp_path, content):
    file = tmp_path / "study.yaml"
    file.write_bytes(content)
    assert answer(file) is None
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@settings(quick, max_examples=200)
@given(data=st.data())
def test_study_file_with_flipped_bytes_is_checked_or_refused_in_words(tmp_path, data):
    content = bytearray((ROOT / "config.yaml").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "study.yaml"
    file.write_bytes(content)
    answer(file)


def test_study_file_of_nested_aliases_is_answered_at_once(tmp_path):
    """Nine levels of nine references each: a file of bytes that stands for gigabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    file = tmp_path / "study.yaml"
    file.write_text("\n".join(lines))
    assert answer(file) is None


HOSTILE_NAMES = ["../up", "/root", "a/b", "a b", "a'b", 'a"b', "$(id)", "`id`", "a;b", "a\nb", "é"]


@pytest.mark.parametrize("block", ["datasets", "targets", "zoo", "finetuning_recipes"])
@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "..", ".", "", "-rf", "a{b}", "a" * 300])
def test_name_that_would_leave_the_results_folder_or_meet_a_shell_is_refused(block, name):
    content = copy.deepcopy(DEFAULT)
    content[block][name] = copy.deepcopy(next(iter(content[block].values())))
    assert answer(content) is None
