"""Adding entries to a study's file."""

from __future__ import annotations

import pytest
import yaml

from xferpipe.config.yaml_edit import with_entries

NEW = {"b.c": {"architecture": "timm:b", "name": "c", "mean": [0.5, 0.5, 0.5]}}


@pytest.mark.parametrize(
    "text",
    [
        "# head\nzoo:\n  # of a\n  a: {x: 1}  # behind\n\n# below\nname: n\n",
        "zoo:\n    a:\n        x: 1\n        # last\nname: n",
        "name: n\nzoo:\n  a:\n    - 1\n    - [2,\n       3]\n",
        "zoo:\n  a: >\n    text\n    more\n\nname: n\n",
        "zoo:\n  a: &x {y: 1}\n  z: {<<: *x}\nname: n\n",
        "name: n\n",
        "name: n\nzoo:\n  a:\n    x: 'two\n      lines'\n",
    ],
)
def test_entries_are_added_and_every_line_stays(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    found = with_entries(path, "zoo", NEW)
    before, after = yaml.safe_load(text), yaml.safe_load(found)
    assert after == before | {"zoo": before.get("zoo", {}) | NEW}
    kept = iter(found.splitlines())
    assert all(line in kept for line in text.splitlines())


@pytest.mark.parametrize("text", ["zoo: {a: 1}\n", "zoo:\n", "{zoo: {a: 1}}\n"])
def test_block_in_one_line_is_refused(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="zoo in line 1 is written in one line"):
        with_entries(path, "zoo", NEW)
