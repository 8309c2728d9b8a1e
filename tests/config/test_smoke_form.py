import pytest
import yaml

from xferpipe.config.load import StudyError, study_of_workflow

STUDY = {
    "name": "whole",
    "datasets": {"digits": {"reader": "digits"}},
    "targets": {"digits": {"dataset": "digits"}},
    "zoo": {"drawn": {"architecture": "cifar_resnet8", "weights": "random"}},
    "smoke": {"name": "cut"},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


@pytest.mark.parametrize(
    ("smoke", "name"),
    [(True, "cut"), ("true", "cut"), ("True", "cut"), (False, "whole"), ("false", "whole")],
)
def test_smoke_given_on_the_command_line_cuts_the_study(file, smoke, name):
    # Snakemake leaves `true` a text and turns `True` into a bool.
    assert study_of_workflow(STUDY | {"smoke": smoke}, [file]).name == name


def test_smoke_not_given_runs_the_whole_study(file):
    assert study_of_workflow(STUDY, [file]).name == "whole"


def test_smoke_that_is_neither_true_nor_false_is_refused(file):
    with pytest.raises(StudyError, match="expected true or false"):
        study_of_workflow(STUDY | {"smoke": "yes"}, [file])


def test_name_that_would_share_a_smoke_forms_folder_is_refused():
    with pytest.raises(StudyError, match="name 'a-smoke' ends in '-smoke'"):
        study_of_workflow(STUDY | {"name": "a-smoke", "smoke": None}, [])
