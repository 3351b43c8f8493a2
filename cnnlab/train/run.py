"""A run on the disk: what ``steps`` yields, recorded, checkpointed, shown, interrupted and resumed.

    with Run.create(directory, config) as run:
        for epoch in run.fit(recipe, train, validation, epochs=10, clock=time.perf_counter):
            ...
        run.finish({"test/accuracy": 0.99})

The directory holds config.json, environment.json, metrics.jsonl, TensorBoard events, checkpoints/,
figures/, keep_steps.json where some are kept for ever and, once the run is finished, result.json.
"""

import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cnnlab.data.dataset import Dataset, fingerprint
from cnnlab.mesh import MEMBER, make_mesh, sharding
from cnnlab.train import records
from cnnlab.train.checkpoint import CheckpointError, Checkpoints
from cnnlab.train.fit import Position, steps
from cnnlab.train.metrics import zero_sums
from cnnlab.train.recorder import Recorder, first_process
from cnnlab.train.signals import StopSignals
from cnnlab.train.state import Recipe, TrainState, state_shapes

CONFIG, ENVIRONMENT, RESULT = "config.json", "environment.json", "result.json"
CHECKPOINTS = "checkpoints"
KEEP_STEPS = "keep_steps.json"  # of a run that keeps some for ever


class ResumeError(ValueError):
    """A run cannot be resumed as it was asked for."""


class Run:
    """One run directory, open for writing. Made by ``create`` or ``resume``; a context manager."""

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        resumed: bool,
        keep: int = 2,
        keep_steps: Collection[int] = (),
        read_only: bool = False,
    ) -> None:
        self.directory = directory
        self.resumed = resumed
        self._read_only = read_only
        self.seconds = 0.0  # of training, over all sittings
        self._keep, self._keep_steps = keep, keep_steps
        self._checkpoints: Checkpoints | None = None
        self.stop = StopSignals()

    @classmethod
    def create(
        cls,
        directory: pathlib.Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        *,
        keep: int = 2,
        keep_steps: Collection[int] = (),
    ) -> "Run":
        """Begins a run in a directory that does not exist yet, or is empty.

        Args:
          directory: is made, with those above it.
          config: JSON-ready; what a resume compares with.
          environment: ``train.environment.environment()``.
          keep: how many of the latest checkpoints are kept, besides the best.
          keep_steps: the steps whose checkpoints are kept, too, such as the ends of cycles.

        Raises:
          FileExistsError: if something is in the directory: a run never writes into another one.
        """
        if first_process():
            directory.mkdir(parents=True, exist_ok=True)
            # A run that was killed before it had a config has left nothing else.
            files = (ENVIRONMENT, KEEP_STEPS, CONFIG)
            leavings = (*files[:-1], *(f"{name}.tmp" for name in files))
            if any(found.name not in leavings for found in directory.iterdir()):
                raise FileExistsError(
                    f"the run directory {directory} exists already: choose another one, or go on "
                    "with the run in it by --resume."
                )
            records.write_json(directory / ENVIRONMENT, dict(environment))
            (directory / KEEP_STEPS).unlink(missing_ok=True)
            _write_keep_steps(directory, keep_steps)
            records.write_json(directory / CONFIG, dict(config))
        _barrier("created")
        return cls(directory.resolve(), resumed=False, keep=keep, keep_steps=keep_steps)

    @classmethod
    def resume(
        cls, directory: pathlib.Path, *, keep: int = 2, keep_steps: Collection[int] = ()
    ) -> "Run":
        """Goes on with the run in ``directory``.

        Args:
          directory: of the run.
          keep: as of ``create``.
          keep_steps: kept besides those that the run was created with.

        Raises:
          ResumeError: if there is no run.
        """
        read_config(directory)
        path = directory / KEEP_STEPS
        kept = set(records.read_json(path)["steps"]) if path.is_file() else set()
        _barrier("read")  # by all, before the first writes
        if first_process() and not kept.issuperset(keep_steps):
            _write_keep_steps(directory, kept.union(keep_steps))
        return cls(directory.resolve(), resumed=True, keep=keep, keep_steps=kept.union(keep_steps))

    @classmethod
    def read(cls, directory: pathlib.Path) -> "Run":
        """Opens the run in ``directory`` for ``load`` only, perhaps while it still trains.

        Raises:
          ResumeError: if there is no run.
        """
        read_config(directory)
        return cls(directory.resolve(), resumed=True, read_only=True)

    def __enter__(self) -> "Run":
        self._checkpoints = Checkpoints(
            self.directory / CHECKPOINTS,
            keep=self._keep,
            keep_steps=self._keep_steps,
            read_only=self._read_only,
        )
        if not self._read_only:
            self.stop.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop.__exit__(*exception)
        assert self._checkpoints is not None
        self._checkpoints.__exit__(*exception)

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints, while it is open."""
        if self._checkpoints is None:
            raise RuntimeError("the run is not open: use it as `with Run.create(...) as run:`.")
        return self._checkpoints

    def fit(
        self,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        epochs: int,
        clock: Callable[[], float],
        seeds: tuple[int, ...] = (0,),
        initial: TrainState | None = None,
        display: Callable[..., Any] | None = None,
        checkpoint_steps: int | None = None,
        wall_clock: Callable[[], float] | None = None,
        **settings: Any,
    ) -> Iterator[Position]:
        """``train.fit`` on the record: yields after each epoch, written down and saved before.

        Args:
          recipe: network, optimiser, loss, augmentation.
          train: the training part.
          validation: evaluated after each epoch; the best checkpoint is the one with the highest
            accuracy on it (without a score, the lowest loss), the mean over members. Without it
            there is no best.
          epochs: of the whole run.
          clock: seconds, such as ``time.perf_counter``, for rates.
          seeds: one member for each.
          initial: the states ``[M, ...]`` to begin from; fresh ones by default. A resume has those
            of its checkpoint.
          display: a class such as ``report.progress.Progress``, or None.
          checkpoint_steps: save at least every so many updates within an epoch, too.
          wall_clock: seconds since 1970, ``time.time``, for TensorBoard.
          **settings: those of ``train.steps``.

        Raises:
          Interrupted: after SIGTERM or Ctrl-C, once everything is saved.
          DivergedError: if a loss is not finite; the checkpoints are those from before.
          ResumeError: if the data are not those that the run began with.
          CheckpointError: if none could be restored, or one not be written.
        """
        if checkpoint_steps is not None and checkpoint_steps < 1:
            raise ValueError(f"checkpoint_steps must be at least 1, got {checkpoint_steps}.")
        mesh = settings.pop("mesh", None) or make_mesh(len(seeds))
        data = [fingerprint(part) for part in (train, validation) if part is not None]
        begin, meta = self._begin(recipe, train, len(seeds), mesh, data)
        recorder = Recorder(self, recipe, seeds, meta, data, clock, checkpoint_steps)
        iterator = steps(
            recipe,
            train,
            validation,
            epochs=epochs,
            seeds=seeds,
            mesh=mesh,
            initial=initial if begin is None else None,
            begin=begin,
            stop=self.stop,
            **settings,
        )
        return recorder.follow(iterator, epochs, settings, display, wall_clock)

    def load(
        self,
        recipe: Recipe,
        image_shape: tuple[int, int, int],
        *,
        members: int = 1,
        mesh: Mesh | None = None,
        best: bool = False,
        step: int | None = None,
    ) -> tuple[int, TrainState]:
        """The step and states ``[M, ...]`` of the latest checkpoint that is whole, or of another.

        Args:
          recipe: of the run.
          image_shape: of its data.
          members: M, as many as were trained.
          mesh: ``make_mesh(members)`` by default.
          best: the best checkpoint on the validation part.
          step: the checkpoint of this step; not with ``best``.

        Raises:
          ValueError: for ``best`` and ``step`` at once.
          CheckpointError: if there is none, or for ``best`` and ``step`` if that one is damaged.
        """
        if best and step is not None:
            raise ValueError(
                f"load the best checkpoint or that of step {step}, not both: give one."
            )
        mesh = make_mesh(members) if mesh is None else mesh
        like = checkpoint_like(recipe, image_shape, members, mesh)
        self.checkpoints.wait()
        wanted = self.checkpoints.best_step() if best else step
        if step is not None and step not in self.checkpoints.steps():
            there = ", ".join(map(str, self.checkpoints.steps())) or "none"
            latest = "keep=, 2 by default" if self._read_only else f"keep={self._keep}"
            raise CheckpointError(
                f"the run in {self.directory} has no checkpoint of step {step}; it has {there}. "
                f"A run keeps its latest ({latest}), the best one and those of keep_steps=: "
                "train it with more."
            )
        if best and wanted is None:
            raise CheckpointError(
                f"the run in {self.directory} has no best checkpoint, since it had no validation "
                "part: ask for the latest."
            )
        found, tree, _ = self.checkpoints.restore(like, step=wanted, say=print)
        return found, tree["states"]

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes result.json."""
        if first_process():
            records.write_json(self.directory / RESULT, dict(result))

    def _begin(
        self, recipe: Recipe, train: Dataset, members: int, mesh: Any, data: list[str]
    ) -> tuple[Any, dict[str, Any]]:
        """Where to go on, and what the checkpoint says besides."""
        if not self.resumed:
            return None, {"best": None, "seconds": 0.0}
        if not self.checkpoints.steps():
            metrics = self.directory / records.METRICS_FILE
            if metrics.exists() and len(records.read_metrics(metrics)) > 1:
                raise ResumeError(
                    f"the checkpoints of the run in {self.directory} are gone, though it has "
                    f"recorded epochs: bring back {self.checkpoints.folder}, or start a new run."
                )
            print(f"no checkpoint was saved yet in {self.directory}: the run begins again.")
            return None, {"best": None, "seconds": 0.0}
        like = checkpoint_like(recipe, train.image_shape, members, mesh)
        step, tree, meta = self.checkpoints.restore(like, say=print)
        if meta["data"] != data:
            advice = "Give the same files"
            if train.targets is not None:
                advice = (
                    "They hold a teacher's targets, and those computed anew on another machine "
                    "differ in their last digits: give the same targets and files"
                )
            raise ResumeError(
                f"the data are not those that the run in {self.directory} began with: their "
                f"fingerprints were {meta['data']}, and are {data}. {advice}, or start a new run."
            )
        self.checkpoints.set_aside_after(step)
        return (tree["states"], tree["sums"]), meta


def checkpoint_like(
    recipe: Recipe, image_shape: tuple[int, int, int], members: int, mesh: Any
) -> dict[str, Any]:
    """The shapes, dtypes and places of what a checkpoint holds, for ``Checkpoints.restore``."""

    def stacked(tree: Any, where: Any) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((members, *x.shape), x.dtype, sharding=where), tree
        )

    state = state_shapes(recipe, image_shape)
    return {
        "states": stacked(state, sharding(mesh, MEMBER)),
        "sums": stacked(jax.eval_shape(zero_sums), sharding(mesh)),
    }


def read_config(directory: pathlib.Path) -> dict[str, Any]:
    """The config of the run in ``directory``.

    Raises:
      ResumeError: if there is no run.
    """
    path = pathlib.Path(directory) / CONFIG
    if not path.is_file():
        raise ResumeError(
            f"there is no run in {directory}: {CONFIG} is missing. Give the run directory itself, "
            "the one that was printed when the run began."
        )
    return records.read_json(path)


def numbered(parent: pathlib.Path, name: str) -> pathlib.Path:
    """Makes the first of ``parent/name-1``, ``parent/name-2`` … that does not exist.

    Two runs that begin at once get two directories; the processes of one run get the same.
    """
    number = 1
    while first_process():
        try:
            (parent / f"{name}-{number}").mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        number = int(multihost_utils.broadcast_one_to_all(np.int32(number)))
    return parent / f"{name}-{number}"


def _write_keep_steps(directory: pathlib.Path, steps: Collection[int]) -> None:
    if steps:
        records.write_json(directory / KEEP_STEPS, {"steps": sorted(int(step) for step in steps)})


def _barrier(name: str) -> None:
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
