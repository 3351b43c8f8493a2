"""Any Linen module in a recipe: it trains, is evaluated and saved as the zoo's networks are."""

import flax.linen as nn
import numpy as np
import pytest

from cnnlab import augment, data, ensemble, optim, train, transfer
from cnnlab.models.norms import norm
from cnnlab.transfer.features import features


class Plain(nn.Module):
    classes: int = 3

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.classes)(nn.relu(nn.Conv(4, (3, 3))(x)).mean((1, 2)))


class Full(nn.Module):
    own_norm: bool = False

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3))(x)
        if self.own_norm:
            x = norm("batch", name="norm")(x, train)
        else:
            x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x).mean((1, 2)))
        return nn.Dense(3)(x)


@pytest.fixture(scope="module")
def splits():
    return data.load("synthetic:60:6x6x1:3")


def fit(network, splits, **settings):
    recipe = train.Recipe(network, optim.sgd(0.1, weight_decay=1e-4), augment.to_unit_range())
    *_, last = train.fit(
        recipe, splits.train, splits.validation, epochs=3, batch_size=10, seeds=(0, 1), **settings
    )
    return recipe, last


def test_it_is_trained_as_flax_and_optax_would(splits):
    recipe, last = fit(Plain(), splits)
    logits = train.predict(recipe, last.states, splits.test)
    scores = train.evaluate(recipe, last.states, splits.test)
    for index in range(2):
        own = {"params": train.member(last.states, index).params["network"]}
        wanted = Plain().apply(own, splits.test.images / np.float32(255))
        np.testing.assert_allclose(logits[index], wanted, rtol=1e-4, atol=1e-5)
        right = np.mean(wanted.argmax(1) == splits.test.labels)
        np.testing.assert_allclose(scores["accuracy"][index], right, rtol=1e-6)


def test_statistics_and_dropout_follow_the_argument_train(splits):
    recipe, last = fit(Full(), splits)
    statistics = last.states.model_state["batch_stats"]["network"]["BatchNorm_0"]
    assert (np.abs(statistics["mean"]) > 0).any(1).all()
    first, second = (train.predict(recipe, last.states, splits.test) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    samples = ensemble.dropout_logits(recipe, last.states, splits.test, 3)
    assert samples.shape == (2, 3, 12, 3) and samples.std(axis=1).max() > 0
    assert features(recipe, last.states, splits.test)["network"].shape == (2, 12, 3)


def test_a_part_of_it_is_frozen_by_patterns(splits):
    rates = transfer.freeze(
        train.Recipe(Plain(), optim.sgd(0.1), augment.to_unit_range()).network,
        patterns=("network/Conv_0/.*",),
    )
    recipe = train.Recipe(Plain(), optim.sgd(0.1), augment.to_unit_range(), rates=rates)
    positions = train.fit(recipe, splits.train, epochs=2, batch_size=10)
    first, last = (at.states.params["network"] for at in positions)
    np.testing.assert_array_equal(first["Conv_0"]["kernel"], last["Conv_0"]["kernel"])
    assert np.abs(first["Dense_0"]["kernel"] - last["Dense_0"]["kernel"]).max() > 0


def test_statistics_are_taken_anew_of_our_normalisation_only(splits):
    recipe, last = fit(Full(own_norm=True), splits)
    anew = train.recalibrate(recipe, last.states, splits.train)
    assert anew.model_state["batch_stats"]["network"]["norm"]["mean"].shape == (2, 4)
    recipe, last = fit(Full(), splits)
    with pytest.raises(ValueError, match=r"network/BatchNorm_0/mean cannot be taken anew.*norms"):
        train.recalibrate(recipe, last.states, splits.train)


@pytest.mark.parametrize("network", [Plain(2), nn.Sequential([nn.Conv(3, (3, 3))])])
def test_too_few_outputs_are_refused_before_they_train_to_nan(network, splits):
    with pytest.raises(ValueError, match=r"must give logits \[N, 3\] for the classes of syn.*got"):
        fit(network, splits)
