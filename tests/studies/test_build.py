"""Data, network and recipe made of the settings of a training."""

import dataclasses

import numpy as np
import pytest

from cnnlab import schedules
from cnnlab.studies import build
from cnnlab.studies.settings import Training

CONFIG = Training(dataset="synthetic:60:6x6x1:3", model="mlp", batch_size=18, epochs=1)


@pytest.fixture(scope="module")
def images():
    return build.load_data(CONFIG).train  # 54 images: 3 steps an epoch


@pytest.mark.parametrize(("epochs", "steps", "rising"), [(1, 3, 2), (2, 6, 3)])
def test_the_default_warm_up_is_an_epoch_or_half_of_a_single_one(images, epochs, steps, rising):
    recipe = build.make_recipe(dataclasses.replace(CONFIG, epochs=epochs), images)
    wanted = schedules.create("cosine", CONFIG.learning_rate, steps, warmup_steps=rising)
    rates = [float(recipe.schedule(step)) for step in range(steps)]
    np.testing.assert_allclose(rates, [wanted(step) for step in range(steps)], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_epochs": 2.0}, "--warmup-epochs 2 must be less than --epochs 1"),
        ({"epochs": 0}, "--epochs must be at least 1, got 0"),
        ({"epochs": -1}, "--epochs must be at least 1, got -1"),
        ({"warmup_epochs": -1.0}, "--warmup-epochs must be at least 0, got -1"),
        ({"warmup_epochs": float("nan")}, "--warmup-epochs must be at least 0, got nan"),
    ],
)
def test_a_training_without_room_for_its_warm_up_is_refused(images, settings, message):
    with pytest.raises(ValueError, match=message):
        build.make_recipe(dataclasses.replace(CONFIG, **settings), images)
