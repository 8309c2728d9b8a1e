"""The name that somebody may have meant, and the keys that a place of a study has."""

from __future__ import annotations

import pytest

from xferpipe.config import Study
from xferpipe.config.nearest import keys_at, suggestion
from xferpipe.config.recipes import Recipe
from xferpipe.config.scores import METHODS, Gradients


@pytest.mark.parametrize("name", METHODS)
def test_name_with_two_letters_swapped_is_found(name):
    swapped = name[1] + name[0] + name[2:]
    known = [one for one in METHODS if sorted(one) == sorted(name)]
    if swapped != name:
        assert suggestion(swapped, METHODS) in [f" (did you mean {one!r}?)" for one in known]


def test_capitals_do_not_count_and_the_name_is_told_as_it_is_written():
    assert suggestion("resnet18", ["ResNet18", "vgg"]) == " (did you mean 'ResNet18'?)"


@pytest.mark.parametrize("known", [[], ["something_else"]])
def test_name_that_is_near_to_nothing_gets_no_word(known):
    assert suggestion("lfc", known) == ""


def test_keys_of_a_place_are_those_of_its_block():
    assert keys_at(Study, ()) == set(Study.model_fields)
    assert keys_at(Study, ("scores", "gradients")) == set(Gradients.model_fields)
    assert keys_at(Study, ("finetuning_recipes", "sgd")) == set(Recipe.model_fields)
    # A list by its number; of a data set, the blocks of its reader alone.
    assert "recipes" in keys_at(Study, ("finetunes", 0))
    assert "classes" in keys_at(Study, ("datasets", "d", "digits"))
    assert "download" not in keys_at(Study, ("datasets", "d", "digits"))
