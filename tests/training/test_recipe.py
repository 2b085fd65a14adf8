"""A recipe in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanpp_core.errors import TrainingError
from spanpp_core.training.recipe import FURTHER_RATE, NEW_RATE, Recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_command_line_goes_before_the_file_and_the_file_before_what_is_usual(
    tmp_path,
):
    path = tmp_path / "recipe.toml"
    path.write_text('steps = 7\nbatch = 3\nscales = [4, 2]\nloss = "mse"\n')
    recipe = Recipe.read(path, {"steps": 9})
    assert (recipe.steps, recipe.batch, recipe.patch) == (9, 3, Recipe.patch)
    assert (recipe.scales, recipe.loss) == ((2, 4), "mse")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", "stepz is no setting; they are scales,"),
        ("steps = 'many'", "steps is 'many'; give something like 20000"),
        ("steps = true", "steps is True; give something like 20000"),
        ("loss = 'l7'", "loss is 'l7'; give one of l1, charbonnier, mse, "),
        ("scales = [1, 9]", "--scales 1 9: give whole numbers from 1 to 8, each once"),
        ("learning_rate = 0", "the learning rate is 0; give more than 0"),
        ("steps =", "recipe.toml: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(TrainingError) as caught:
        Recipe.read(path, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rate_is_lower_where_training_goes_on():
    assert Recipe().schedule(500).learning_rate == NEW_RATE
    assert Recipe(weights="some.pth").schedule(500).learning_rate == FURTHER_RATE
    assert Recipe(learning_rate=0.5).schedule(500).learning_rate == 0.5


@pytest.mark.skipif(not RECIPES.is_dir(), reason="they are in the repository alone")
def test_the_recipes_of_this_repository_can_be_read():
    found = sorted(RECIPES.glob("*.toml"))
    assert found
    for path in found:
        assert Recipe.read(path, {}).steps > 0
