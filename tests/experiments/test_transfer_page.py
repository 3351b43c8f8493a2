"""The page of transfer, of made results: what each experiment says, its claims and its figures."""

import importlib
import json

import pytest

from cnnlab.report.statistics import over_seeds, paired, paired_bootstrap, verdict
from experiments import transfer_page

ACCURACY = over_seeds([0.91, 0.93])
DIFFERENCE = paired([0.91, 0.93], [0.88, 0.895])
TOLD = "+3.25 points (95 % interval +0.07 to +6.43)"
CLAIM = {"claim": "it is better", **DIFFERENCE, "verdict": verdict(DIFFERENCE["interval"])}


def finetune():
    recipe = {"test_accuracy": ACCURACY, "validation_accuracy": None, "learning_rate": 0.1}
    recipe |= {"epochs": 3, "parameters": 10, "cached": "stage1", "cache_seconds": 0.1}
    recipe |= {"seconds": 4.0, "rates": [], "diverged": False}
    lost = dict.fromkeys(recipe) | {"learning_rate": 9.0, "rates": [], "diverged": True}
    budget = {"epochs": 3, "seconds": 4.0, "scratch_epochs": 3, "scratch_seconds": 5.0}
    return {
        "origin": "resnet8 of a run",
        "recipes": {"linear": {**recipe, "epochs": 3}, "all": lost},
        "claims": [{**CLAIM, **budget}],
        "recommended": {"recipe": "linear", "reason": "There are few images."},
    }


def probe():
    point = {**ACCURACY, "network": "trained", "method": "ridge", "stage": "head"}
    over_images = paired_bootstrap([1.0, 1.0, 0.0], [0.0, 1.0, 0.0], resamples=10)
    rows = [
        {**CLAIM, "interval_over": "seeds"},
        {**CLAIM, **over_images, "interval_over": "images"},
    ]
    return {
        "points": [{**point, "interval": DIFFERENCE["interval"], "interval_over": "seeds"}],
        "claims": [{**row, "at": "head against stem", "method": "ridge"} for row in rows],
    }


def transfer_grid():
    place = {"amount": "little data", "similarity": "similar"}
    recipes = {name: {"test_accuracy": ACCURACY} for name in ("linear", "scratch")}
    row = {**CLAIM, **place, "ours": "linear", "theirs": "scratch", "won": "linear"}
    cell = {**place, "images": 20, "recipes": recipes, "recommended": "linear"}
    return {"cells": [cell], "claims": [row]}


def transferability():
    treated = {"treatment": "AnB", "depth": 2, "test_accuracy": ACCURACY}
    row = {**CLAIM, "cut": "random", "difference": "AnB - base", "published": 0.016}
    return {"cuts": {"random": {"base": ACCURACY, "treatments": [treated]}}, "claims": [row]}


def autoencoder():
    scores = {name: {**ACCURACY, "image_error": 0.01} for name in ("psnr", "ssim", "error")}
    images = paired_bootstrap([0.91, 0.93, 0.95], [0.88, 0.895, 0.93], resamples=10)
    row = {**CLAIM, "score": "psnr", "ours": "unet", "theirs": "PCA", "images": images}
    return {"task": "plain", "methods": {"unet": scores, "PCA": scores}, "claims": [row]}


def pretrain():
    point = {"method": "rbm", "labels": 5, "test_accuracy": ACCURACY, "train_accuracy": ACCURACY}
    place = {"at": "5 a class", "ours": "rbm", "theirs": "none"}
    ratio = {**CLAIM, **place, "claim": "they vary less", "ratio": 2.0, "interval": [-0.1, 1.5]}
    return {"points": [point], "claims": [{**CLAIM, **place}, ratio]}


def deepening():
    point = {"method": "grown", "started": 2, "before": ACCURACY}
    point |= {"train_error": ACCURACY, "test_error": ACCURACY}
    return {"points": [point], "claims": [{**CLAIM, "difference": "test errors"}]}


def segment():
    point = {"loss": "dice", "start": "scratch", "scenes": 30, "seconds": 3.0}
    point |= dict.fromkeys(("mean_iou", "mean_iou_digits", "mean_dice"), ACCURACY)
    claims = {"dice overlaps more": {**CLAIM, "difference": "dice - cross-entropy"}}
    classifier = {"scenes": 30, "test_accuracy": ACCURACY}
    return {"points": [point], "claims": claims, "classifier": classifier}


def detect():
    point = {"name": "fine-tuned", "start": "the classifier", "regression": "applied"}
    point |= {"average_precision": {"0.5": ACCURACY}, "recall": {"0.5": ACCURACY}, "seconds": 3.0}
    claims = {"it is better": {"difference": "a - b", "overlaps": {"0.5": CLAIM}}}
    classifier = {"cuts": 30, "test_accuracy": ACCURACY, "seconds": 1.0}
    return {"points": [point], "claims": claims, "classifier": classifier}


MADE = {
    "finetune": finetune,
    "probe": probe,
    "transfer_grid": transfer_grid,
    "transferability": transferability,
    "autoencoder": autoencoder,
    "pretrain": pretrain,
    "deepening": deepening,
    "segment": segment,
    "detect": detect,
}
# Of what is said, what no other experiment says; intervals that are not Student's t among it.
SAID = {
    "finetune": ["linear: test accuracy 92.00 ± 1.00 % (2 seeds)", "few images"],
    "probe": ["(95 % interval over seeds", "(95 % interval over images by bootstrap"],
    "transfer_grid": ["little data, similar: 20 images", "linear - scratch", TOLD],
    "transferability": ["n=2 92.00", "[random]: AnB - base", TOLD, "published +1.6"],
    "autoencoder": [
        "unet  PSNR",
        "(95 % interval over seeds and images",
        "over images by bootstrap",
    ],
    "pretrain": [TOLD, "2.00 times less (Pitman and Morgan's 95 % interval 0.90 to 4.48)"],
    "deepening": ["2 of 2 started", f"it is better (test errors): {TOLD}"],
    "segment": ["dice, from scratch, 30 scenes", TOLD],
    "detect": ["92.00 ± 1.00 % (2 seeds) at IoU 0.5", "it is better: a - b"],
}


@pytest.fixture
def page(tmp_path):
    """``page(name, **more)``: of one experiment's made result, with two figures beside it."""

    def made(name, **more):
        result = {
            "experiment": name,
            "dataset": "digits",
            "data": "1,438 images",
            "model": "resnet8 width=4",
            "seeds": [0, 1],
            "seconds": 95.0,
            "environment": {"platform": "cpu", "cpu_count": 2},
            **MADE[name](),
            **more,
        }
        path = tmp_path / "results" / f"{name}-digits.json"
        path.parent.mkdir(exist_ok=True)
        for figure in (f"{name}-digits.png", f"{name}-digits-curves.png", "stranger-digits.png"):
            (path.parent / figure).touch()
        return transfer_page.page({name: [(path, json.loads(json.dumps(result)))]})

    return made


def test_every_experiment_of_the_page_is_made_here():
    assert tuple(MADE) == transfer_page.EXPERIMENTS == tuple(SAID)


@pytest.mark.parametrize("name", transfer_page.EXPERIMENTS)
def test_an_experiment_has_its_title_claims_figures_and_what_it_says(page, name):
    text = page(name)
    module = importlib.import_module(f"experiments.{name}")
    title = module.__doc__.splitlines()[0].rstrip(".")
    assert f"\n## {title}: digits" in text
    head, _, said = text.partition("```text\n")
    claims = module.__doc__[module.__doc__.index("Claim") : module.__doc__.index("Measured:")]
    assert " ".join(claims.split()) in " ".join(head.split())
    assert "python -m" not in head.partition("## ")[2]
    assert f"![{name}-digits](../results/{name}-digits.png)" in head
    assert f"(../results/{name}-digits-curves.png)" in head and "stranger" not in head
    assert "resnet8 width=4, 2 seeds (1,438 images) on 2 CPU cores in 2 minutes; [config" in head
    for text in ("reproduced", *SAID[name]):
        assert text in said, said


def test_a_task_is_in_the_title_and_a_moment_is_no_minute(page):
    text = page("autoencoder", seconds=10.0)
    assert text.partition("## ")[2].splitlines()[0].endswith(": digits, plain")
    assert "CPU cores in under a minute;" in text
    device = {"platform": "gpu", "cpu_count": 2, "device_count": 2, "device_kind": "H"}
    assert "on 2 x H in 1 minute;" in page("deepening", environment=device, seconds=60.0)


def test_experiments_without_a_kept_result_are_left_out(page):
    assert transfer_page.page({}) == transfer_page.HEAD.rstrip() + "\n"
    assert page("segment").count("\n## ") == 1
