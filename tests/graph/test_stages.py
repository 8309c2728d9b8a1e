"""Every stage has a record, a rule and a function of one name, and they agree."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from tests.graph.studies import forms, study_of

from xferpipe.config import load_study
from xferpipe.graph.document import inputs_of, stages_markdown
from xferpipe.graph.graph import all_jobs, needs_of
from xferpipe.graph.stage import SIDECAR, Stage
from xferpipe.graph.stages import STAGES, job_of

ROOT = Path(__file__).parents[2]
DIGITS = yaml.safe_load((ROOT / "studies" / "digits.yaml").read_text())
every_stage = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)


def function_of(stage: Stage):
    return getattr(import_module(f"xferpipe.stages.{stage.name}"), stage.name)


@pytest.fixture(scope="module")
def needed() -> dict[str, set[tuple[str, ...]]]:
    """Names of the inputs of every job of a dozen studies, by stage."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for name, smoke in forms():
        study = study_of(name, smoke)
        for job in all_jobs(study):
            found.setdefault(job[0], set()).add(tuple(needs_of(study, job)))
    return found


@every_stage
def test_function_takes_the_job_then_every_input_checkpoint_and_output_of_the_record(stage, needed):
    parameters = inspect.signature(function_of(stage)).parameters
    written = [name for name in stage.outputs if name != SIDECAR]
    names = [*inputs_of(stage), *(["checkpoint"] if stage.trains else []), *written]
    assert set(parameters) == {"job", *names}
    for inputs in needed.get(stage.name, ()):
        assert set(inputs) == set(inputs_of(stage))


def test_every_stage_is_in_one_of_the_studies(needed):
    assert set(STAGES) - set(needed) == set()


@every_stage
def test_rule_stands_in_the_file_that_is_named_like_the_module_of_its_record(stage):
    module = type(stage).__module__.rpartition(".")[2]
    text = (ROOT / "workflow" / "rules" / f"{module}.smk").read_text()
    (rule,) = re.findall(
        rf"^(?:rule|checkpoint) {stage.name}:\n(.*?)(?=^rule |\Z)", text, re.M | re.S
    )
    assert set(re.findall(r'RULES\.\w+\("(\w+)"\)', rule)) == {stage.name}


@every_stage
def test_words_and_files_name_wildcards_of_the_place(stage):
    named = re.findall(r"{(\w+)}", " ".join([stage.does, *stage.files.values()]))
    assert set(named) <= set(stage.wildcards)
    assert stage.tables.keys() <= stage.outputs.keys()
    assert set(stage.kept) <= set(stage.files)


def test_no_two_stages_write_one_file_but_those_that_make_zoo_entries():
    paths = [
        stage.output(name)
        for stage in STAGES.values()
        if stage.folder != "zoo"
        for name in stage.files
    ]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("scores", "scalars"),
    [
        ({"methods": ["lfc"]}, None),
        ({"methods": ["lfc"], "layers": ["layer1"]}, ()),
        ({"methods": ["lfc", "lgc"]}, ("ntk_trace",)),
    ],
)
def test_gradients_are_taken_where_a_method_needs_them(scores, scalars):
    """Layers need a pass of their own, but no gradient."""
    study = load_study(DIGITS | {"scores": scores})
    jobs = [job for job in all_jobs(study) if job[0] == "gradients"]
    assert bool(jobs) == (scalars is not None)
    assert {job_of(study, *job).gradients.scalars for job in jobs} == {scalars} - {None}


@pytest.mark.parametrize("method", ["rsa", "rsa_zscored", "parc"])
def test_reference_is_trained_where_a_method_compares_with_it(method):
    reference = {"model": "resnet8_random", "recipe": "sgd"}
    study = load_study(DIGITS | {"scores": {"methods": [method], "reference": reference}})
    assert ("reference" in {job[0] for job in all_jobs(study)}) == (method != "parc")


def test_page_of_stages_is_what_the_records_say():
    text = (ROOT / "docs" / "stages.md").read_text()
    assert text == stages_markdown(), "run `make docs` and commit what it wrote"
