"""What a study with a wrong value or key is answered: key, what was given and what to write."""

from __future__ import annotations

import json

import pytest

from xferpipe.config import StudyError, load_study
from xferpipe.config.load import study_of_workflow

STUDY = """\
name: messages
seed: {seed}
datasets:
  digits: {{reader: digits}}
  {dataset}: {{reader: image_folder, root: photos, classes: {classes}}}
targets:
  digits: {{dataset: {target}, validation_fraction: {fraction}}}
finetuning_recipes:
  plain: {{epochs: {epochs}}}
zoo:
  drawn: {{architecture: cifar_resnet8, weights: random}}
finetunes:
  - {{recipes: [plain], seeds: {seeds}, shots: {shots}}}
"""
GOOD = {
    "seed": "0",
    "dataset": "photos",
    "classes": "['003', '005']",
    "target": "digits",
    "fraction": "0.2",
    "epochs": "3",
    "seeds": "[0]",
    "shots": "[full]",
}


def merged(file):
    """The study as Snakemake reads it, which knows nothing of how it was written."""
    import yaml

    return yaml.load(file.read_text(), Loader=yaml.FullLoader)


@pytest.fixture(params=["file", "workflow"])
def refusal(request, tmp_path):
    """Return a function that gives the message about a study, read by us or by Snakemake first."""

    read = {
        "file": load_study,
        "workflow": lambda file: study_of_workflow(merged(file), [file]),
    }

    def message(text=None, **changed):
        file = tmp_path / "study.yaml"
        file.write_text(text or STUDY.format(**GOOD | changed))
        with pytest.raises(StudyError) as error:
            read[request.param](file)
        return str(error.value)

    return message


def test_study_of_these_tests_is_right(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.format(**GOOD))
    assert load_study(tmp_path / "study.yaml").datasets["photos"].classes == ("003", "005")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            {"seed": "true"},
            "seed: expected a number (given: true); write a number, such as 1, not true",
        ),
        (
            {"seed": "yes"},
            "seed: expected a number (given: yes, which YAML reads as true); write a number",
        ),
        (
            {"seed": "1e3"},
            "seed: expected an integer (given: '1e3'); '1e3' is a text in YAML: write 1000",
        ),
        ({"seed": "'1,000'"}, "seed: expected an integer (given: '1,000'); '1,000' is a text"),
        ({"seed": "many"}, "seed: expected an integer (given: 'many')"),
        ({"seed": "1.5"}, "seed: expected an integer (given: 1.5); write 1 or 2"),
        ({"seed": ".nan"}, "seed: Input should be a finite number (given: nan)"),
        ({"seed": "[1]"}, "seed: expected an integer"),
        ({"seed": "010"}, "seed: a number that begins with 0 is octal in YAML (given: 010, which"),
        ({"seed": "010"}, "is read as 8); write '010' in quotes for a name, 10 for a number"),
        ({"seed": ""}, "seed: expected an integer (given: nothing, which YAML reads as null)"),
        (
            {"epochs": "3.5"},
            "finetuning_recipes.plain.epochs: expected an integer (given: 3.5); write 3 or 4",
        ),
        ({"seeds": "[true]"}, "finetunes.0.seeds.0: expected a number (given: true)"),
        ({"seeds": "3"}, "finetunes.0.seeds: expected a list, such as [a, b] (given: 3)"),
        (
            {"shots": "[1e1]"},
            "finetunes.0.shots.0: expected an integer or 'full' (given: '1e1'); '1e1' is a text in "
            "YAML: write 10",
        ),
        ({"fraction": "true"}, "targets.digits.validation_fraction: "),
        ({"fraction": "no"}, "targets.digits.validation_fraction: "),
        ({"fraction": "1.5"}, "targets.digits.validation_fraction: Input should be less than 1"),
        (
            {"classes": "[003, 005]"},
            "datasets.photos.classes.0: a number that begins with 0 is octal in YAML (given: 003, "
            "which is read as 3); write '003' in quotes for a name, 3 for a number",
        ),
        (
            {"classes": "[3, 5]"},
            "datasets.photos.classes.0: expected a text (given: 3); write '3' in quotes",
        ),
        (
            {"classes": "[no, yes]"},
            "datasets.photos.classes.0: expected a text (given: no, which YAML reads as false); "
            "yes, no, on, off, true and false are no texts in YAML: write 'no' in quotes",
        ),
        (
            {"classes": "[2001-01-02, b]"},
            "datasets.photos.classes.0: expected a text (given: 2001-01-02, which YAML reads as",
        ),
        (
            {"dataset": "no"},
            "datasets.no: expected a text as key in line 5 (given: no, which YAML reads as false); "
            "write 'no' in quotes",
        ),
        ({"dataset": "ON"}, "write 'ON' in quotes"),
        ({"dataset": "003"}, "(given: 003, which YAML reads as 3); write '003' in quotes"),
        ({"dataset": "~"}, "(given: ~, which YAML reads as null); write '~' in quotes"),
        ({"dataset": "a b"}, "datasets.a b: expected a name of at most 80 letters"),
        (
            {"target": "off"},
            "targets.digits.dataset: expected a text (given: off, which YAML reads as false); yes, "
            "no, on, off, true and false are no texts in YAML: write 'off' in quotes",
        ),
        ({"classes": "{radnom: 3}"}, "datasets.photos.classes.radnom: unknown key"),
        ({"classes": "{seed: 3}"}, "datasets.photos.classes.random: this key is missing; add it"),
    ],
)
def test_wrong_value_is_named_with_what_to_write(refusal, changed, line):
    assert f" {line}" in refusal(**changed)


def test_key_of_an_earlier_version_is_told_to_be_removed(refusal):
    line = "selection.bootstrap_samples: no key any more, as intervals over models are closed forms"
    assert line in refusal(STUDY.format(**GOOD) + "selection: {bootstrap_samples: 1000}\n")


@pytest.mark.parametrize(
    "changed", [{"classes": "[3, '5']"}, {"shots": "[1e1]"}, {"seed": "1e3"}, {"seed": "true"}]
)
def test_wrong_value_is_one_line(refusal, changed):
    """Of a value that may be a list, a word or a block, each kind had a line of its own."""
    assert len(refusal(**changed).splitlines()) == 2


def test_unknown_reader_lists_those_there_are(refusal):
    text = STUDY.format(**GOOD).replace("image_folder", "folder")
    assert "datasets.photos: reader: expected one of 'digits', " in refusal(text)
    assert "(given: 'folder')" in refusal(text)
    assert "datasets.photos: the key 'reader' is missing" in refusal(
        STUDY.format(**GOOD).replace("reader: image_folder, ", "")
    )


def test_key_that_is_there_twice_is_named_with_both_lines(refusal):
    text = STUDY.format(**GOOD) + "seed: 1\nselection: {confidence: 0.9, 'confidence': 0.5}\n"
    message = refusal(text)
    assert "study.yaml cannot be run:\n" in message
    assert "  seed: this key is there twice, in lines 2 and 14; expected once: keep one" in message
    assert "  selection.confidence: this key is there twice, in lines 15 and 15" in message


def test_key_that_is_there_twice_below_a_smoke_block_is_found(refusal):
    text = STUDY.format(**GOOD) + "smoke:\n  seed: 1\n  seed: 2\n"
    assert "smoke.seed: this key is there twice, in lines 15 and 16" in refusal(text)


def test_merge_keys_lay_a_block_over_another(tmp_path):
    text = STUDY.format(**GOOD).replace(
        "  plain: {epochs: 3}", "  plain: &plain {epochs: 3}\n  long: {<<: *plain, epochs: 9}"
    )
    file = tmp_path / "study.yaml"
    file.write_text(text)
    assert load_study(file).finetuning_recipes["long"].epochs == 9
    assert study_of_workflow(merged(file), [file]).finetuning_recipes["long"].epochs == 9


def test_value_that_overrides_a_merged_one_is_shown_as_it_is_written(refusal):
    text = STUDY.format(**GOOD).replace(
        "  plain: {epochs: 3}", "  plain: &plain {epochs: 3}\n  long: {<<: *plain, epochs: yes}"
    )
    assert "finetuning_recipes.long.epochs: expected a number (given: yes, which" in refusal(text)


def test_value_of_the_command_line_is_not_mixed_up_with_the_file(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(**GOOD | {"seed": "yes"}))
    with pytest.raises(StudyError, match=r"seed: expected an integer \(given: 1\.5\)"):
        study_of_workflow(merged(file) | {"seed": 1.5}, [file])


def test_boolean_key_without_a_file_is_refused_too():
    content = {"datasets": {False: {"reader": "digits"}}}
    with pytest.raises(StudyError, match=r"datasets\.false: expected a text \(given: false\); yes"):
        load_study(content)


def test_value_of_the_smoke_form_is_shown_as_it_is_written(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(**GOOD) + "smoke: {seed: on}\n")
    load_study(file)
    with pytest.raises(StudyError, match=r"seed: expected a number \(given: on, which"):
        load_study(file, smoke=True)


def test_options_of_torchvision_may_hold_booleans(tmp_path):
    text = STUDY.format(**GOOD).replace(
        "{reader: image_folder, root: photos, classes: ['003', '005']}",
        "{reader: torchvision, name: CIFAR10, root: x, download: yes, options: {extra: [true, 1]}}",
    )
    (tmp_path / "study.yaml").write_text(text)
    block = load_study(tmp_path / "study.yaml").datasets["photos"]
    assert (block.download, block.options) == (True, {"extra": [True, 1]})


def test_numbers_in_scientific_form_are_numbers_where_fractions_are_wanted(tmp_path):
    text = STUDY.format(**GOOD | {"epochs": "3, lr: 1e-3"})
    (tmp_path / "study.yaml").write_text(text)
    assert load_study(tmp_path / "study.yaml").finetuning_recipes["plain"].lr == 0.001


def test_study_in_json_with_tabs_is_read_as_snakemake_reads_it(tmp_path):
    import yaml

    content = yaml.safe_load(STUDY.format(**GOOD))
    file = tmp_path / "study.json"
    file.write_text(json.dumps(content, indent="\t"))
    assert study_of_workflow(content, [file]) == load_study(content) == load_study(file)
