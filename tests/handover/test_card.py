"""Words of a model's card."""

from __future__ import annotations

from typing import get_args

import pytest

from xferpipe.config.recipes import Recipe
from xferpipe.handover.card import recipe_words


@pytest.mark.parametrize("opt", get_args(Recipe.model_fields["opt"].annotation))
def test_every_optimiser_has_its_name_in_papers(opt):
    words = recipe_words(Recipe(opt=opt, epochs=3, lr=0.5, batch_size=8, lr_scheduler="constant"))
    name = {"sgd": "SGD", "sgd_nesterov": "Nesterov SGD", "adam": "Adam", "adamw": "AdamW"}[opt]
    assert (
        words == f"3 epochs of {name} at a learning rate of 0.5, batches of 8, all layers trained"
    )


def test_vote_is_told_as_one_that_trains_nothing():
    words = recipe_words(Recipe(preset="knn"))
    assert "nothing is trained" in words
    assert "20 training images" in words
    assert "epochs" not in words
