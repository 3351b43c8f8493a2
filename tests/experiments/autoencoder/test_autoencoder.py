"""The experiment of autoencoders: known answers, scores, and what is refused."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp
from scipy import stats
from sklearn.decomposition import PCA

from cnnlab.ensemble import concatenate_members
from cnnlab.files import read_checked_json
from cnnlab.losses.reconstruction import reconstruction
from cnnlab.models.autoencoder import dense_autoencoder
from cnnlab.studies import claims as claim_rows
from cnnlab.studies import study
from cnnlab.studies.study import Study
from cnnlab.train import states_of
from experiments import autoencoder
from experiments.autoencoder import data
from experiments.autoencoder.claims import compare, compare_saturation
from experiments.autoencoder.config import resolve_defaults
from experiments.autoencoder.recipe import make_loss
from experiments.autoencoder.scores import Scores, summarize, with_both_interval
from experiments.autoencoder.summary import summary_lines

RESULTS = pathlib.Path(__file__).parents[3] / "results"

TINY = autoencoder.Config(
    dataset="synthetic:60:6x6x1:3",
    model="dense_autoencoder",
    model_options=("widths=(4,)", "activation=identity"),
    epochs=6,
    batch_size=18,
    seeds=2,
    quiet=True,
)


def result_of(directory):
    return read_checked_json(directory / "result.json")


# The linear autoencoder


@pytest.mark.parametrize("tied", [True, False])
def test_a_linear_autoencoder_comes_to_the_principal_components(tied):
    """Baldi and Hornik, 1989: the same error, and the same subspace."""
    generator = np.random.Generator(np.random.PCG64(0))
    scales = np.asarray([2.0, 1.5, 1.0, 0.4, 0.3, 0.2, 0.2, 0.1, 0.1])
    rotation, _ = np.linalg.qr(generator.normal(size=(9, 9)))
    flat = (generator.normal(size=(60, 9)) * scales @ rotation + 0.5).astype(np.float32)
    pca = PCA(3).fit(flat)
    least = np.mean((pca.inverse_transform(pca.transform(flat)) - flat) ** 2)

    network = dense_autoencoder(1, widths=(3,), activation="identity", tied=tied)
    images, labels = jnp.asarray(flat).reshape(60, 3, 3, 1), jnp.zeros(60, jnp.int32)
    params = network.init(jax.random.key(0), images)["params"]
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 2000))

    def loss(params):
        outputs = network.apply({"params": params}, images)
        return reconstruction()(outputs, labels, images).mean()

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def train(params):
        (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), length=2000)
        return params, values

    params, values = train(params)
    assert np.min(values) >= least * (1 - 1e-5)
    assert values[-1] == pytest.approx(least, rel=1e-3)
    span, _ = np.linalg.qr(params["stage1"]["dense"]["kernel"])
    cosines = np.linalg.svd(pca.components_ @ span, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A linear autoencoder, trained for a moment, and its result."""
    directory = tmp_path_factory.mktemp("runs") / "plain"
    return directory, autoencoder.run(dataclasses.replace(TINY, run_dir=directory))


def test_no_linear_autoencoder_has_a_smaller_training_error_than_the_components(plain):
    directory, result = plain
    assert result_of(directory) == json.loads(json.dumps(result))
    assert result["code"]["numbers"] == 4 and result["code"]["of"] == 36
    assert min(result["code"]["training_error_over_pca"]["values"]) >= 1
    (claim,) = result["claims"]
    assert (claim["ours"], claim["theirs"]) == ("dense_autoencoder", "PCA")
    errors = {name: np.asarray(each["error"]["values"]) for name, each in result["methods"].items()}
    np.testing.assert_allclose(
        claim["values"], errors["PCA"] - errors["dense_autoencoder"], rtol=1e-9
    )


def test_its_figures_are_drawn_and_finishing_again_gives_the_same(plain):
    directory, result = plain
    for name in ("autoencoder", "scores", "filters"):
        assert (directory / f"figures/{name}.png").is_file()
    again = autoencoder.run(autoencoder.Config(resume=directory, quiet=True))
    assert again["methods"] == result["methods"] and again["claims"] == result["claims"]


# Autoencoders that change nothing


def run_identity(directory, monkeypatch, **settings):
    """The experiment with networks that change nothing in the place of trained ones."""

    def train_identity(s, name, recipe, train, validation=None):
        size = int(np.prod(train.image_shape))
        dense = {"kernel": jnp.eye(size), "bias": jnp.zeros(size)}
        params = {"stage1": {"dense": dense}, "up1": {"dense": {"bias": jnp.zeros(size)}}}
        one = states_of(recipe, {"params": params})
        return study.Trained(concatenate_members([one] * len(s.config.all_seeds)), {}, 1, 1.0)

    monkeypatch.setattr(Study, "train", train_identity)
    monkeypatch.setattr(Study, "save_figure", lambda *figure: None)
    channels = 3 if settings["task"] == "colour" else 1
    return autoencoder.run(
        dataclasses.replace(
            TINY,
            dataset=f"synthetic:60:6x6x{channels}:3",
            model_options=(f"widths=({36 * channels},)", "activation=identity"),
            run_dir=directory,
            **settings,
        )
    )


@pytest.mark.parametrize(("task", "same"), [("denoise", "noisy image"), ("colour", "grey image")])
def test_a_network_that_changes_nothing_scores_as_what_it_was_shown(
    tmp_path, monkeypatch, task, same
):
    result = run_identity(tmp_path / "run", monkeypatch, task=task)
    ours, theirs = result["methods"]["dense_autoencoder"], result["methods"][same]
    for score in ("psnr", "ssim", "error"):
        np.testing.assert_allclose(ours[score]["values"], theirs[score]["values"] * 2, rtol=1e-5)
    rows = [each for each in result["claims"] if each.get("theirs") == same]
    assert [row["score"] for row in rows] == ["psnr", "ssim"]
    assert all(abs(row["mean"]) < 1e-4 for row in rows)
    assert result["ssim_window"] == 5
    if task == "colour":
        (paler,) = (each for each in result["claims"] if each["score"] == "saturation")
        assert paler["ratio"] == pytest.approx(0, abs=1e-5)
        assert paler["mean"] > 0


def test_the_noise_is_of_the_amount_asked_for_and_the_same_for_all():
    config = dataclasses.replace(TINY, task="denoise", amount=0.3)
    test = data.load(config).test
    first, again = (data.corrupt_images(config, test, "test") for _ in range(2))
    np.testing.assert_array_equal(first.seen, again.seen)
    np.testing.assert_array_equal(first.clean, test.images / np.float32(255))
    noise = first.seen - first.clean
    assert noise.std() == pytest.approx(0.3, rel=4 / np.sqrt(2 * noise.size))
    other = data.corrupt_images(config, test, "train")
    assert not np.array_equal(first.seen, other.seen)


# Claims

SCORED = Scores(*np.random.default_rng(0).normal(20, 1, (3, 2, 9)))


def claim_of(ours, theirs):
    """The claim that ours ``[S, N]`` have a higher PSNR."""
    scores = {"ours": Scores(ours, ours, ours), "theirs": Scores(theirs, theirs, theirs)}
    (claim,) = compare("ours", scores, ("psnr",))
    return claim


def test_a_claim_holds_only_where_other_seeds_and_other_images_would_bear_it_out():
    generator = np.random.Generator(np.random.PCG64(0))
    base = generator.normal(20, 1, (1, 50))
    steady = base + 1 + generator.normal(0, 0.1, (3, 50))
    seeds_differ = steady + np.asarray([[-3.0], [0.0], [3.0]])
    images_differ = base + generator.normal(0.1, 3, (1, 50)) + np.asarray([[-1e-3], [0], [1e-3]])
    verdicts = {
        name: claim_of(ours, base).verdict
        for name, ours in (("steady", steady), ("seeds", seeds_differ), ("images", images_differ))
    }
    assert verdicts["steady"] == "reproduced"
    assert verdicts["seeds"] == verdicts["images"] == "undecided"


def test_the_interval_over_seeds_and_images_is_student_s_and_the_images_at_a_right_angle():
    generator = np.random.Generator(np.random.PCG64(1))
    ours = generator.normal(20, 1, (1, 400)) + np.asarray([[-1.0], [0.5], [0.5]])
    figure = summarize(Scores(ours, ours, ours))["psnr"]
    over_seeds = stats.t.ppf(0.975, 2) * stats.sem(ours.mean(1))
    over_images = 1.959964 * stats.sem(ours[0])
    low, high = with_both_interval(figure)["interval"]
    assert (high - low) / 2 == pytest.approx(np.hypot(over_seeds, over_images))
    row = claim_of(ours, np.zeros_like(ours)).to_row()
    assert row["over"] == "seeds and images"
    low, high = row["interval"]
    assert (high - low) / 2 == pytest.approx(np.hypot(over_seeds, over_images), rel=0.01)
    low, high = row["over_seeds"]
    assert (high - low) / 2 == pytest.approx(over_seeds)
    low, high = row["images"]["interval"]
    assert (high - low) / 2 == pytest.approx(over_images, rel=0.05)
    # Of one network, or of what leaves nothing to chance, there are the images only.
    alone = summarize(Scores(ours[:1], ours[:1], ours[:1]))["psnr"]
    low, high = with_both_interval(alone)["interval"]
    assert (high - low) / 2 == pytest.approx(over_images)
    row = claim_of(ours[:1], ours[:1] - 1).to_row()
    assert claim_rows.explain(row) == "undecided; one seed gives no interval"


def test_intervals_over_patches_of_photographs_have_their_condition():
    methods = {"ours": summarize(SCORED)}
    result = {"methods": methods, "dataset": "photographs:8"}
    assert "nothing is said of other photographs" in summary_lines(result)[-1]
    others = summary_lines({**result, "dataset": "cifar10"})
    assert not any("photographs" in line for line in others)


def test_of_errors_less_is_better_and_of_scores_more():
    low, high = np.full((2, 5), 1.0), np.full((2, 5), 3.0)
    scores = {"ours": Scores(high, high, low), "theirs": Scores(low, low, high)}
    rows = [claim.to_row() for claim in compare("ours", scores, ("psnr", "error"))]
    assert [row["mean"] for row in rows] == [2, 2]
    psnr, error = claim_rows.lines(rows)
    assert psnr.startswith(
        "ours is better than theirs (PSNR: ours - theirs): +2.00 dB (95 % interval over seeds and "
        "images"
    )
    assert error.startswith(
        "ours is better than theirs (squared error: theirs - ours): +2 squared error"
    )
    summary = summarize(scores["ours"])
    assert summary["psnr"]["mean"] == 3 and summary["psnr"]["image_error"] == 0


def test_the_claim_of_pale_colours_is_of_the_originals_saturation():
    truth = np.linspace(0.1, 0.3, 9)
    row = compare_saturation("ours", np.stack([truth / 2, truth / 2.1]), truth).to_row()
    assert row["ratio"] == pytest.approx((1 / 2 + 1 / 2.1) / 2)
    assert (row["unit"], row["verdict"]) == ("saturation", "reproduced")


def test_kept_results_are_summarised_and_their_claims_read():
    for path in sorted(RESULTS.glob("autoencoder-*.json")):
        result = json.loads(path.read_text())
        lines = summary_lines(result)
        assert len(lines) == len(result["methods"]) and all("PSNR" in line for line in lines)
        rows = claim_rows.read_rows(result)
        assert {row["unit"] for row in rows} <= {"dB", "SSIM", "saturation"}
        assert {row["over"] for row in rows} == {"seeds and images"}


def test_colours_are_learned_and_grey_values_need_not_be(quick_jit):
    """The loss of a colouring network does not see what is added to all channels alike."""
    config = dataclasses.replace(TINY, task="colour")
    loss = quick_jit(make_loss(config))
    outputs, targets = jax.random.uniform(jax.random.key(0), (2, 3, 4, 4, 3))
    labels = jnp.zeros(3, jnp.int32)
    grey = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    actual = loss(outputs, labels, targets)
    np.testing.assert_allclose(loss(outputs + grey, labels, targets), actual, rtol=1e-4)
    np.testing.assert_allclose(loss(targets + grey, labels, targets), 0, atol=1e-10)
    assert np.min(actual) > 0.01


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "colour"}, "colour needs images of 3 channels, got synthetic with 1"),
        ({"task": "denoise", "amount": 25.0}, r"in \(0, 1\], where white is 1, got 25.0"),
        ({"task": "denoise", "amount": 0.0}, "got 0.0"),
        ({"task": "denoise", "noise": "masking", "amount": -0.5}, "got -0.5"),
        ({"task": "denoise", "validation": None}, "denoise needs a validation part"),
        ({"model": "unet", "model_options": ()}, "plain needs a network with a narrow code"),
        ({"model": "resnet8"}, "unknown autoencoder"),
        ({"model_options": ("widths=(36,)",)}, "narrower than the image's 36 numbers, got 36"),
        (
            {"model_options": ("widths=(19,)",), "per_class": 6, "validation": None},
            "at most 18 numbers, as many as training images, got 19: .* principal components",
        ),
        (
            {"model": "conv_autoencoder", "model_options": ("widths=(2,2)",)},
            "multiple of 4 pixels .* got 6 x 6. Pad them to 8 x 8",
        ),
        (
            {"task": "denoise", "model": "unet", "model_options": ("padding=VALID", "depth=1"),
             "dataset": "synthetic:60:20x20x1:3"},
            r"must be images of \(20, 20, 1\), got \(4, 4, 1\)",
        ),
        ({"loss": "square"}, "Did you mean 'squared'"),
        (
            {"task": "colour", "dataset": "synthetic:60:6x6x3:3", "loss": "bernoulli"},
            "the loss of colour must be squared or absolute",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path, settings, message
):
    directory = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        autoencoder.run(dataclasses.replace(TINY, run_dir=directory, **settings))
    assert not directory.exists()


def test_a_task_has_a_model_and_a_model_has_options_of_its_own():
    colour = resolve_defaults(autoencoder.Config(task="colour"))
    assert (colour.model, colour.model_options) == ("unet", ("width=8", "depth=2"))
    coded = resolve_defaults(autoencoder.Config(model="conv_autoencoder"))
    assert "code=16" in coded.model_options
    assert resolve_defaults(coded) == coded
