"""A recipe in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanpp_core.errors import TrainingError
from spanpp_core.training.recipe import Recipe
from spanpp_core.training.recipe_file import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_command_line_goes_before_the_file_and_the_file_before_what_is_usual(
    tmp_path,
):
    path = tmp_path / "recipe.toml"
    path.write_text('steps = 7\nbatch = 3\nscales = [4, 2]\nloss = "mse"\n')
    recipe = read_recipe(path, {"steps": 9})
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
        ("steps = 0", "steps is 0; give 1 or more"),
        ("batch = 0", "batch is 0; give 1 or more"),
        ("choices = -1", "choices is -1; give 1 or more"),
        ("channels = 0", "channels is 0; give 1 or more"),
        ("flat = -0.5", "flat is -0.5; give a share from 0 to 1"),
        ("ema = nan", "ema is nan; give a share from 0 to 1"),
        ("colours = 6", "colours is 6 with branches = true; give a number from 0, and"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(TrainingError) as caught:
        read_recipe(path, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not RECIPES.is_dir(), reason="they are in the repository alone")
def test_the_recipes_of_this_repository_can_be_read():
    found = sorted(RECIPES.glob("*.toml"))
    assert found
    for path in found:
        assert read_recipe(path, {}).draw().scales, path.name


def test_each_share_follows_its_scale(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("scales = [4, 2]\nshares = [1, 3]\n")
    recipe = read_recipe(path, {})
    assert (recipe.scales, recipe.shares) == ((2, 4), (3, 1))
    assert recipe.draw().weights == (0.75, 0.25)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("shares = [1, 2]", r"shares are \[1, 2\]; give a number above 0 for each"),
        ("fractions = 0.6\nbetween = 0.4", "fractions are 0.6 and between is 0.4"),
        ('often = { "5/2" = 0 }', "often has 0 for 5/2; give a number above 0"),
        ('often = { "5/2" = "x" }', "often has 'x' for 5/2; give a number"),
        ('last_loss = "mea"', "last_loss is 'mea'; give one of l1"),
    ],
)
def test_shares_that_cannot_be_are_refused(tmp_path, lines, message):
    path = tmp_path / "recipe.toml"
    path.write_text(lines)
    with pytest.raises(TrainingError, match=message):
        read_recipe(path, {})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('often = { "5/2" = 6 }', "often is of simple fractions, and none are trained"),
        (
            'continuous = true\nfractions = 0\nbetween = 0.5\noften = { "5/2" = 6 }',
            "often is of simple fractions, and none are trained",
        ),
        (
            'continuous = true\nscales = [2]\noften = { "5/2" = 6 }',
            "often names 5/2; the simple fractions are none from x2 to x2",
        ),
        ("between = 0.2", "between is 0.2, and fractional scales are not trained"),
    ],
)
def test_shares_of_scales_that_are_not_trained_are_refused(tmp_path, lines, message):
    path = tmp_path / "recipe.toml"
    path.write_text(lines)
    with pytest.raises(TrainingError, match=message):
        read_recipe(path, {}).draw()
