"""Trains two small residual nets on all devices and prints what came out, for test_devices.

Their stem is frozen.
"""

import json
import sys
from typing import Any

import jax
import numpy as np

from cnnlab import augment, data, models, optim, train
from cnnlab.mesh import make_mesh
from cnnlab.rates import Rates


def main() -> None:
    splits = data.load("synthetic:80:8x8x1:3")
    statistics = splits.train.statistics
    recipe = train.Recipe(
        models.create("resnet8", 3, width=2),
        optim.sgd(0.02, nesterov=True, weight_decay=5e-4),
        augment.normalize(statistics.mean, statistics.std),
        augment.compose(augment.crop(1), augment.flip(), augment.cutout(2)),
        rates=Rates((("stem/.*", 0.0), ("(?!stem/).*", 1.0))),
    )
    test = splits.test.take(np.arange(13))  # a number that no count of devices divides
    out = []
    for axis in json.loads(sys.argv[1]):
        mesh = make_mesh(2, member_axis=axis)
        losses = []
        before = np.zeros(2)
        options = train.FitOptions(
            epochs=5, batch_size=16, seeds=(0, 1), mesh=mesh, steps_per_call=1
        )
        for at in train.steps(recipe, splits.train, None, options):
            total = np.asarray(jax.device_get(at.sums.loss), np.float64)
            if at.step == 0:
                began = jax.device_get((at.states.params["stem"], at.states.model_state))
            else:
                losses.append(((total - before) / 16).tolist())
            before = total if at.metrics is None else np.zeros(2)
        ended = jax.device_get((at.states.params["stem"], at.states.model_state))
        figures = train.evaluate(recipe, at.states, test, batch_size=8, mesh=mesh)
        logits = train.predict(recipe, at.states, test, batch_size=8, mesh=mesh)
        spread = {str(d.id) for leaf in [at.states.step] for d in leaf.sharding.device_set}
        out.append(
            {
                "mesh": dict(mesh.shape),
                "losses": losses,
                "test": {name: value.tolist() for name, value in figures.items()},
                "correct": (logits.argmax(-1) == test.labels).sum(axis=1).tolist(),
                "devices": len(spread),
                "still": same(began[0], ended[0])
                and same(began[1]["batch_stats"]["stem"], ended[1]["batch_stats"]["stem"])
                and not same(began[1], ended[1]),
            }
        )
    print(json.dumps(out))


def same(left: Any, right: Any) -> bool:
    """True where all arrays of two trees are the same to the bit."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


if __name__ == "__main__":
    main()
