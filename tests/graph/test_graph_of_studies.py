"""The jobs, inputs, slices and keys of a dozen studies are those that are committed."""

import json

import pytest
from tests.graph.studies import FIXTURE, figures_of, form_name, forms

KNOWN = json.loads(FIXTURE.read_text())


@pytest.mark.parametrize(("name", "smoke"), forms(), ids=[form_name(*form) for form in forms()])
def test_a_study_has_the_jobs_and_keys_that_are_committed(name, smoke):
    known, found = KNOWN[form_name(name, smoke)], figures_of(name, smoke)
    assert found["stages"] == known["stages"]
    assert found["keys"] == known["keys"]
