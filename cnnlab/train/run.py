"""A run on the disk: a training that is recorded, checkpointed, shown, interrupted and resumed.

    with Run.create(directory, config, environment) as run:
        recording = Recording(clock=time.perf_counter)
        for epoch in run.fit(recipe, train, validation, FitOptions(epochs=10), recording):
            ...
        run.finish({"test/accuracy": 0.99})

The directory holds config.json, environment.json, data.npz, metrics.jsonl, TensorBoard events,
checkpoints/, figures/, keep_steps.json where some are never deleted, lock while a process writes
and, once the run is finished, result.json. Directories of earlier versions, without an identity in
config.json and in their checkpoints, are read and resumed.
"""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any

import jax
from jax.sharding import Mesh

from cnnlab.data.dataset import Dataset, fingerprint
from cnnlab.files import write_checked_json
from cnnlab.mesh import MEMBER, make_mesh, sharding
from cnnlab.processes import first_process, from_first_process, wait_for_all
from cnnlab.run_directory import (
    CHECKPOINTS,
    METRICS,
    RESULT,
    ResumeError,
    read_config,
    read_identity,
)
from cnnlab.signals import StopSignals
from cnnlab.train import run_files
from cnnlab.train.checkpoint import CheckpointError, Checkpoints, check_keep
from cnnlab.train.fit import Position, steps
from cnnlab.train.metrics import Sums, zero_sums
from cnnlab.train.options import FitOptions, Watched
from cnnlab.train.recorder import Interrupted, Recorder, Recording, metrics_digest
from cnnlab.train.records import read_metrics
from cnnlab.train.state import Recipe, TrainState, state_shapes


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
        say: Callable[[str], Any] = warnings.warn,
        lock: IO[str] | None = None,
    ) -> None:
        self._lock = lock  # until the run is closed
        self.directory = directory
        self.resumed = resumed
        self._read_only = read_only
        self.seconds = 0.0  # of training, over all sittings
        self._keep, self._keep_steps = keep, keep_steps
        self._checkpoints: Checkpoints | None = None
        self._say = say
        self.stop = StopSignals()  # listens while ``fit`` trains

    @classmethod
    def create(
        cls,
        directory: pathlib.Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        *,
        files: Mapping[str, bytes] | None = None,
        keep: int = 2,
        keep_steps: Collection[int] = (),
        say: Callable[[str], Any] = warnings.warn,
    ) -> "Run":
        """Begins a run in a directory that does not exist yet, or is empty.

        Args:
          directory: is made, with those above it.
          config: JSON-ready; what a resume compares with.
          environment: ``train.environment.environment()``.
          files: by name, perhaps "folder/name", what it keeps unchanged, such as its data's record;
            ``run_directory.read_file`` reads them as they were.
          keep: how many of the latest checkpoints are kept, besides the best.
          keep_steps: the steps whose checkpoints are kept, too, such as the ends of cycles.
          say: prints a line, such as one on a damaged checkpoint.

        Raises:
          FileExistsError: if something is in the directory: a run never writes into another one.
          ResumeError: if another process writes to it.
          ValueError: for fewer than 2 checkpoints to keep.
        """
        check_keep(keep)
        lock = run_files.create(directory, config, environment, keep_steps, files or {})
        wait_for_all("created")
        return cls(
            directory.resolve(), resumed=False, keep=keep, keep_steps=keep_steps, say=say, lock=lock
        )

    @classmethod
    def resume(
        cls,
        directory: pathlib.Path,
        *,
        keep: int = 2,
        keep_steps: Collection[int] = (),
        say: Callable[[str], Any] = warnings.warn,
    ) -> "Run":
        """Goes on with the run in ``directory``.

        Args:
          directory: of the run.
          keep: as of ``create``.
          keep_steps: kept besides those that the run was created with.
          say: as of ``create``.

        Raises:
          ResumeError: if there is no run, or another process writes to it.
        """
        read_config(directory)
        lock = run_files.lock(directory)
        kept = run_files.read_keep_steps(directory, say)
        wait_for_all("read")  # by all, before the first writes
        if first_process() and not kept.issuperset(keep_steps):
            run_files.write_keep_steps(directory, kept.union(keep_steps))
        keep_steps = kept.union(keep_steps)
        return cls(
            directory.resolve(), resumed=True, keep=keep, keep_steps=keep_steps, say=say, lock=lock
        )

    @classmethod
    def read(cls, directory: pathlib.Path, *, say: Callable[[str], Any] = warnings.warn) -> "Run":
        """Opens the run in ``directory`` for ``load`` only, perhaps while it still trains.

        Raises:
          ResumeError: if there is no run.
        """
        read_config(directory)
        return cls(directory.resolve(), resumed=True, read_only=True, say=say)

    def __enter__(self) -> "Run":
        self._checkpoints = Checkpoints(
            self.directory / CHECKPOINTS,
            keep=self._keep,
            keep_steps=self._keep_steps,
            read_only=self._read_only,
            identity=read_identity(self.directory),
            say=self._say,
        )
        return self

    def __exit__(self, *exception: Any) -> None:
        assert self._checkpoints is not None
        self._checkpoints.__exit__(*exception)
        if self._lock is not None:
            self._lock.close()

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
        validation: Dataset | Watched | None,
        options: FitOptions,
        recording: Recording,
    ) -> Iterator[Position]:
        """``train.fit`` on the record: yields after each epoch, written down and saved before.

        Args:
          recipe: network, optimiser, loss, augmentation.
          train: the training part.
          validation: evaluated after each epoch; the best checkpoint is the one with the highest
            accuracy on it (without a score, the lowest loss), the mean over members. Without it,
            and with a part that is ``Watched``, there is no best.
          options: how long, in what batches, which members. A resume goes on from the states of its
            checkpoint in the place of ``options.initial``.
          recording: clocks, display, how often it is saved.

        Raises:
          Interrupted: after SIGTERM or Ctrl-C, once everything is saved.
          DivergedError: if a loss is not finite; the checkpoints are those from before.
          ResumeError: if the data are not those that the run began with.
          CheckpointError: if none could be restored, or one not be written.
          ValueError: if the validation part is the test part of its data.
        """
        check_no_test_part(validation)
        watched = validation.dataset if isinstance(validation, Watched) else validation
        mesh = make_mesh(options.members) if options.mesh is None else options.mesh
        data = [fingerprint(part) for part in (train, watched) if part is not None]
        resume_from, meta = self._restore(recipe, train, options.members, mesh, data)
        seeds = tuple(options.seeds)
        recorder = Recorder(
            self.directory,
            self.checkpoints,
            recording,
            recipe,
            seeds,
            meta,
            data,
            resumed=self.resumed,
        )
        self.seconds = meta["seconds"]
        positions = steps(
            recipe,
            train,
            validation,
            options,
            resume_from=resume_from,
            stop=self.stop,
            every=recording.checkpoint_steps,
        )
        return self._follow(positions, recorder, options)

    def _follow(
        self, positions: Iterator[Position], recorder: Recorder, options: FitOptions
    ) -> Iterator[Position]:
        """Yields the ends of epochs, once they are recorded."""
        first = next(positions, None)  # compiled: a signal until here has nothing to save
        if first is None:
            return  # the run was over already
        with self.stop:
            try:
                recorder.start(first, options.epochs * first.steps_per_epoch, options.batch_size)
                for at in positions:
                    recorder.record(at)
                    self.seconds = recorder.seconds
                    if at.metrics is not None:
                        yield at
                    if at.stopped:
                        self.checkpoints.wait()
                        raise Interrupted(self.directory, at.step, self.stop.received)
                self.checkpoints.wait()
            finally:
                recorder.close()

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
        restored, tree, _ = self.checkpoints.restore(like, step=wanted)
        if wanted is None and restored == self.checkpoints.steps()[-1]:
            self._check_newest(restored)
        return restored, tree["states"]

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes result.json."""
        if first_process():
            write_checked_json(self.directory / RESULT, result)

    def _restore(
        self, recipe: Recipe, train: Dataset, members: int, mesh: Any, data: list[str]
    ) -> tuple[tuple[TrainState, Sums] | None, dict[str, Any]]:
        """The states and sums to go on from, if any, and what was saved besides."""
        if not self.resumed:
            return None, {"best": None, "seconds": 0.0}
        if not self.checkpoints.steps():
            # The first checkpoint is on the disk before a second epoch is recorded.
            metrics = self.directory / METRICS
            if metrics.exists() and len(read_metrics(metrics)) > 1:
                raise ResumeError(
                    f"the checkpoints of the run in {self.directory} are gone, though it has "
                    f"recorded epochs: bring back {self.checkpoints.folder}, or start a new run."
                )
            self._say(f"no checkpoint was saved yet in {self.directory}: the run begins again.")
            return None, {"best": None, "seconds": 0.0}
        like = checkpoint_like(recipe, train.image_shape, members, mesh)
        step, tree, meta = self.checkpoints.restore(like)
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
        if first_process() and "metrics" in meta:
            self._check_metrics(step, meta["metrics"])
        self.checkpoints.set_aside_after(step)
        return (tree["states"], tree["sums"]), meta

    def _check_newest(self, step: int) -> None:
        """Says so where epochs were recorded after the newest checkpoint."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            recorded = read_metrics(self.directory / METRICS)[-1]["step"]
            if recorded > step:
                self._say(
                    f"{self.directory} has records up to step {recorded}, but no checkpoint after "
                    f"step {step}: that one is used."
                )

    def _check_metrics(self, step: int, expected: str | None) -> None:
        """Says so where the records up to a checkpoint are not those that were there then."""
        if metrics_digest(self.directory, step) != expected:
            self._say(
                f"{self.directory / METRICS} is not what it was at step {step}: lines were lost or "
                "changed. The networks do not depend on it, but its curves do: bring it back from "
                "a copy, or read them in TensorBoard."
            )


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


def check_no_test_part(validation: Dataset | Watched | None) -> None:
    """Refuses to choose checkpoints by a test part.

    Raises:
      ValueError: then.
    """
    if isinstance(validation, Dataset) and validation.part == "test":
        raise ValueError(
            "checkpoints must not be chosen by the test part, got it as the validation part. To "
            "see its metrics after each epoch give Watched(dataset)."
        )


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
    return parent / f"{name}-{from_first_process(number)}"
