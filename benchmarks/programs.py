"""The programs that several benchmarks time: the compiled training of networks on noise, warm."""

from typing import Any, NamedTuple


class Training(NamedTuple):
    """A compiled training.

    Attributes:
      program: runs all steps of an epoch.
      arguments: of the program; the states come first.
      after: the states when it has run once.
      program_bytes: its memory: arguments, results and temporaries.
      data_bytes: the data set's part of that.
    """

    program: Any
    arguments: tuple[Any, ...]
    after: Any
    program_bytes: int
    data_bytes: int


def noise(shape: tuple[int, int, int], examples: int) -> Any:
    """Noise images with random labels of ten classes."""
    import numpy as np

    from cnnlab.data import Dataset

    generator = np.random.Generator(np.random.PCG64(0))
    images = generator.integers(0, 256, (examples, *shape), dtype=np.uint8)
    labels = generator.integers(0, 10, examples, dtype=np.int32)
    return Dataset(images, labels, tuple("0123456789"), "noise")


def recipe(model: str, channels: int, optimizer: Any) -> Any:
    """A recipe of a network of the zoo, without augmentation."""
    from cnnlab import augment, models, train

    normalize = augment.normalize((127.0,) * channels, (64.0,) * channels)
    return train.Recipe(models.create(model), optimizer, normalize)


def compiled(
    recipe: Any, dataset: Any, batch: int, steps: int, *, members: int = 1, states: Any = None
) -> Training:
    """A warm program of one epoch.

    Args:
      recipe: of the networks.
      dataset: of batch * steps examples.
      batch: examples a step.
      steps: of an epoch.
      members: networks, of the seeds 0 to M - 1.
      states: of the networks, ``[M, ...]``, or None for fresh ones.
    """
    import jax
    import numpy as np

    from cnnlab.data.batches import Resident, training_plan
    from cnnlab.mesh import MEMBER, make_mesh, place, sharding
    from cnnlab.train.program import initialise, no_sums, train_program

    mesh = make_mesh(members, devices=jax.devices()[:1])
    source = Resident(dataset, mesh)
    seeds = place(np.arange(members, dtype=np.uint32), sharding(mesh, MEMBER))
    if states is None:
        states, _ = initialise(recipe, dataset, seeds, mesh)
    plan = training_plan(len(dataset), batch, tuple(range(members)), 0)
    (window,) = source.windows(plan, 0, steps)
    arguments = (
        jax.device_put(states, sharding(mesh, MEMBER)),
        no_sums(members, mesh),
        seeds,
        window.own,
        window.shared,
        np.int32(0),
        np.int32(steps),
        jax.numpy.zeros(1, np.int32),
    )
    program = train_program(recipe, source.batch_at, mesh).lower(*arguments).compile()
    after, _, _ = jax.block_until_ready(program(*arguments))
    memory = program.memory_analysis()
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return Training(
        program,
        arguments,
        after,
        sum(getattr(memory, part) for part in parts),
        sum(leaf.nbytes for leaf in jax.tree.leaves(window.shared)),
    )
