"""The generated files agree with the types they are generated from."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from xferpipe.config import load_study
from xferpipe.config.document import config_schema, generated_files
from xferpipe.records import markdown

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted(generated_files("")))
def test_generated_file_is_what_the_types_say(path):
    text = generated_files(markdown())[path]
    assert (ROOT / path).read_text() == text, "run `make docs` and commit what it wrote"


@pytest.mark.parametrize(
    "path",
    [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_study_file_is_valid_as_written_and_in_smoke_form(path):
    content = yaml.safe_load(path.read_text())
    load_study(path)
    load_study(path, smoke=True)
    jsonschema.validate(content, json.loads(config_schema()))


def test_schema_refuses_an_unknown_key():
    content = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "epocs": 3}, json.loads(config_schema()))


def test_every_key_of_the_configuration_is_explained():
    schema = json.loads(config_schema())
    blocks = [schema, *schema["$defs"].values()]
    silent = [
        f"{block['title']}.{name}"
        for block in blocks
        for name, field in block.get("properties", {}).items()
        if "description" not in field and name != "reader"
    ]
    assert silent == []
