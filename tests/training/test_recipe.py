"""What follows from a recipe."""

from __future__ import annotations

from fractions import Fraction

from spanpp_core.training.recipe import FURTHER_RATE, NEW_RATE, Recipe


def test_the_rate_is_lower_where_training_goes_on():
    assert Recipe().schedule(500).learning_rate == NEW_RATE
    assert Recipe(weights="some.pth").schedule(500).learning_rate == FURTHER_RATE
    assert Recipe(learning_rate=0.5).schedule(500).learning_rate == 0.5


def test_a_half_is_measured_where_fractions_are_trained():
    half = Fraction(3, 2)
    assert Recipe(scales=(1, 2)).validation_scales() == [1, 2]
    assert Recipe(scales=(1, 2), continuous=True).validation_scales() == [1, half, 2]


def test_the_last_steps_have_a_loss_of_their_own():
    recipe = Recipe(steps=10, last_loss="mse", last=0.3)
    assert [recipe.loss_of(step) for step in (0, 6, 7, 9)] == ["l1", "l1", "mse", "mse"]
    assert Recipe(steps=10).loss_of(9) == "l1"
