"""config.yaml, written by hand: its values, and its comments beside the types' descriptions."""

import json
import re
from pathlib import Path

import pytest
import yaml

from xferpipe.config import load_study
from xferpipe.config.document import config_schema
from xferpipe.datasets.readers import reader_module

ROOT = Path(__file__).parents[2]
DEFAULT, DIGITS = ROOT / "config.yaml", ROOT / "studies" / "digits.yaml"
#: Comment lines right above a key.
_EXPLAINED = re.compile(r"^( *)# .*\n(?:\1# .*\n)*\1(\w+):", re.MULTILINE)


def descriptions():
    """Return what the types say of the keys of each name; of a reader, what it reads."""
    schema = json.loads(config_schema())
    found = {}
    for block in [schema, *schema["$defs"].values()]:
        for name, field in block.get("properties", {}).items():
            text = block["description"].splitlines()[0] if name == "reader" else None
            found.setdefault(name, set()).add(text or field["description"])
    return found


def wrong_comments(text):
    """Name the keys whose comment does not begin with a description of such a key."""
    known = descriptions()
    wrong = []
    for match in _EXPLAINED.finditer(text):
        key = match[2]
        lines = match[0].splitlines()[:-1]
        comment = " ".join(line.strip().removeprefix("# ") for line in lines)
        if key in known and not comment.startswith(tuple(known[key])):
            wrong.append(f"{key}: {comment}")
    return wrong


def test_comment_of_a_key_begins_with_what_its_type_says():
    text = DEFAULT.read_text()
    assert len(_EXPLAINED.findall(text)) > 40
    assert wrong_comments(text) == [], "write what docs/configuration.md says, then your own words"


def test_comment_that_a_type_no_longer_says_is_found():
    text = "zoo:\n  a:\n    # Where weights\n    # come from.\n    weights: random\n"
    assert wrong_comments(text) == ["weights: Where weights come from."]
    # The name of an entry is no key of a type: whatever is said of it.
    assert wrong_comments("zoo:\n  # The best.\n  mine: {}\n") == []


@pytest.mark.parametrize("path", [DEFAULT, DIGITS], ids=lambda path: path.stem)
def test_value_of_the_file_is_the_value_of_the_study(path):
    """Nothing is a text that the types turn into a number, or the other way round."""
    content = yaml.safe_load(path.read_text())
    del content["smoke"]
    assert load_study(path).model_dump(mode="json", exclude_unset=True) == content


def test_recipes_that_the_default_study_takes_from_the_history_are_those_of_the_history():
    """A race believes what the history says of a recipe of that name."""
    own = load_study(DEFAULT).finetuning_recipes
    known = load_study(ROOT / "studies" / "history" / "history.yaml").finetuning_recipes
    assert {"head", "gentle", "strong"} <= set(own)
    for name in set(own) & set(known):
        assert own[name] == known[name], name


def test_no_source_of_the_default_study_has_an_image_or_a_class_of_a_target():
    """Scores and fine-tunes of a model that has seen the test images would say nothing."""
    study = load_study(DEFAULT)
    sources = {entry.source for entry in study.zoo.values() if entry.source is not None}
    targets = {target.dataset for target in study.targets.values()} - {"vehicles"}
    assert sources
    assert targets
    assert not sources & targets
    content = {name: _images_and_classes(study, name) for name in sources | targets}
    for source in sources:
        for target in targets:
            for ours, theirs in zip(content[source], content[target], strict=True):
                assert not ours & theirs, (source, target)


def _images_and_classes(study, name):
    """Return the different images of a data set, and its classes by what is drawn or scanned."""
    dataset = study.datasets[name]
    reader = reader_module(dataset.reader)
    table = reader.read(dataset, root=None, seed=study.seed)
    batches = list(reader.images(dataset, table, seed=study.seed))
    images = {image.tobytes() for batch in batches for image in batch}
    assert len(images) > 100
    return images, {(getattr(dataset, "kind", "digits"), name) for name in table["class_name"]}
