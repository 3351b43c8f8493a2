"""A study: one run directory with a folder for each of its trainings, and one result.json.

    with study.open(config, host) as s:
        splits = s.load_data()
        recipe = build.make_recipe(s.config, splits.train)
        s.begin("dropout-digits", splits.notes)
        trained = s.train("without", recipe, splits.train, splits.validation)
        return s.finish({"accuracy": …}, claims=[…])

Each training is a run directory of its own. A study that was interrupted goes on by ``--resume``:
trainings that are finished are read, the one under way goes on to the same bits.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from cnnlab.data import Dataset, Splits
from cnnlab.data.record import DataRecord
from cnnlab.mesh import MEMBER, make_mesh, place, sharding
from cnnlab.processes import any_process, first_process
from cnnlab.report import drawing
from cnnlab.report.progress import Progress
from cnnlab.run_directory import CONFIG, FIGURES
from cnnlab.studies import claims as claim_rows
from cnnlab.studies import stored
from cnnlab.studies.build import fit_options
from cnnlab.studies.checks import check_augmentation, check_settings
from cnnlab.studies.claims import Claim
from cnnlab.studies.host import Host
from cnnlab.studies.kept_states import Trained, load_states
from cnnlab.studies.network_sources import check_sources
from cnnlab.studies.resume import resumed_config
from cnnlab.studies.run_data import RunData, data_settings
from cnnlab.studies.settings import (
    AnyConfig,
    Training,
    experiment_name,
    to_json,
    with_absolute_paths,
)
from cnnlab.studies.summary import summary_lines
from cnnlab.train import FitOptions, Position, Recipe, TrainState, Watched, run_files
from cnnlab.train.environment import environment
from cnnlab.train.program import initialise
from cnnlab.train.recorder import Interrupted, Recording, epoch_line
from cnnlab.train.run import Run, numbered


def open(config: AnyConfig, host: Host) -> "Study[AnyConfig]":
    """Opens a study, new or with ``config.resume`` an interrupted one; a context manager.

    Nothing is written before ``begin``.

    Raises:
      ResumeError: if there is no run to resume, or a setting disagrees with it.
    """
    config = with_absolute_paths(config)
    return Study(resumed_config(config) if config.resume is not None else config, host)


class Study(Generic[AnyConfig]):
    """One run directory and its trainings. Made by ``open``.

    Attributes:
      config: with ``--resume`` that of the run.
      host: the process around it.
      notes: how its data came about.
      environment: that the run began in, after ``begin``.
    """

    def __init__(self, config: AnyConfig, host: Host) -> None:
        self.config, self.host = config, host
        self.notes = ""
        self.environment: dict[str, Any] = {}
        self._run: Run | None = None
        self._data = RunData()
        self._display: Progress | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Study[AnyConfig]":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    @property
    def run(self) -> Run:
        """The run of the study itself, after ``begin``."""
        if self._run is None:
            raise RuntimeError("the study has no run directory yet: call begin first.")
        return self._run

    @property
    def directory(self) -> pathlib.Path:
        """The run directory, after ``begin``."""
        return self.run.directory

    def say(self, text: str) -> None:
        """Prints a line, unless the config is quiet."""
        if not self.config.quiet:
            self.host.say(text)

    def load_data(self, config: Training | None = None) -> Splits:
        """The data that a config names, the study's own by default.

        A resume has its own data as they were when the run began, whatever was added to them since.
        What trains on them keeps a record of them.

        Raises:
          DataChangedError: if images are gone since.
          ValueError: for an unknown data set or settings that do not fit it.
          FileNotFoundError: if its files are not there.
        """
        config = self.config if config is None else config
        own = data_settings(config) == data_settings(self.config)
        splits = self._data.load(config, self.config.resume if own else None)
        if self.config.resume is None:
            check_augmentation(config, splits.train.image_shape)
        return splits

    def record(self, config: Training) -> DataRecord:
        """The record of the data that ``load_data`` read for the config."""
        record = self._data.record(config)
        assert record is not None
        return record

    def begin(self, name: str, notes: str, *, keep_steps: Collection[int] = ()) -> None:
        """Makes the run directory, or opens the one that is resumed, and prints its path.

        What a study adds to the settings of every training is to be checked before.

        Args:
          name: of the directory, which gets a number, such as "ensemble-digits".
          notes: how the data came about.
          keep_steps: as of ``Run.create``, where the study is one training itself.
        """
        config, host = self.config, self.host
        check_settings(config, self.mesh())
        self._recording()  # which refuses, too
        self.environment = environment(host.project, host.xla_flags)
        settings: Any = {"keep": config.keep, "keep_steps": keep_steps, "say": host.say}
        if config.resume is not None:
            run = Run.resume(config.resume, **settings)
            run_files.give_more_epochs(run.directory, config.epochs)
            self.environment = run_files.first_environment(
                config.resume, self.environment, host.say
            )
        else:
            label = name.replace("/", "-").replace(":", "-")
            directory = config.run_dir or numbered(config.runs, label)
            about = {"experiment": experiment_name(type(config)), **to_json(config)}
            files = self._data.files(config)
            run = Run.create(directory, about, self.environment, files=files, **settings)
        host.opened(run.directory)
        self._run, self.notes = self._stack.enter_context(run), notes
        self.say(f"{notes}\nrun directory: {run.directory}")

    # Training -------------------------------------------------------------------------------

    def fit(
        self,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset | Watched | None = None,
        options: FitOptions | None = None,
    ) -> Iterator[Position]:
        """Trains in the study's own directory: yields after each epoch, once it is recorded.

        Args:
          recipe: network, optimiser, loss, augmentation.
          train: the training part of the data.
          validation: evaluated after each epoch, or None.
          options: ``build.fit_options`` of the config by default.
        """
        return self._epochs(
            self.run, recipe, train, validation, self._with_mesh(options, self.config)
        )

    def train(
        self,
        name: str,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset | Watched | None = None,
        *,
        config: Training | None = None,
        options: FitOptions | None = None,
        keep_epochs: Collection[int] = (),
        missing: Literal["error", "skip"] = "error",
    ) -> Trained:
        """Trains in the study's folder ``name``, goes on there, or reads what is finished.

        Args:
          name: of the training, and of its folder.
          recipe: network, optimiser, loss, augmentation.
          train: the training part of the data.
          validation: evaluated after each epoch; the best checkpoint is chosen by it unless it is
            only ``Watched``.
          config: its epochs, batch size, seeds …, and what ``trained.load_run`` makes its network
            of; the study's by default.
          options: ``build.fit_options(config)`` by default; for other seeds, subsets, initial
            states ….
          keep_epochs: after which epochs the states are kept.
          missing: what to do where a kept checkpoint is gone or damaged: an error that names it, or
            go on without it and say so.

        Raises:
          Interrupted: after SIGTERM or Ctrl-C; its directory is the study's, which can be resumed.
          CheckpointError: if a checkpoint is gone or damaged.
          DivergedError: if a loss is not finite.
        """
        config = self.config if config is None else config
        options = self._with_mesh(options, config)
        per_epoch = options.steps_per_epoch(len(train))
        steps = {epoch: epoch * per_epoch for epoch in keep_epochs}
        with self._open_training(name, config, options, steps.values(), train) as run:
            try:
                for at in self._epochs(run, recipe, train, validation, options):
                    self.show(at)
            except Interrupted as error:
                error.directory = self.directory
                raise
            if any_process(run.stop()):  # in the last epoch: the next training must not begin
                raise Interrupted(self.directory, options.epochs * per_epoch, run.stop.received)
            shape, say = train.image_shape, self.host.say
            last, states, kept = load_states(run, recipe, shape, options, steps, missing, say)
            states, kept = jax.block_until_ready((states, kept))
        return Trained(states, kept, last, run.seconds)

    def load(self, recipe: Recipe, train: Dataset) -> tuple[int, TrainState]:
        """The step and states ``[M, ...]`` of the study's own latest checkpoint, after ``fit``."""
        members, mesh = len(self.config.all_seeds), self.mesh()
        return self.run.load(recipe, train.image_shape, members=members, mesh=mesh)

    def mesh(self, members: int | None = None) -> Mesh:
        """The mesh for ``members`` members, one for each seed of the config by default."""
        members = len(self.config.all_seeds) if members is None else members
        return make_mesh(members, member_axis=self.config.member_axis)

    def show(self, epoch: Position) -> None:
        """Shows the metrics of an epoch, unless the config is quiet."""
        if self._display is not None:
            self._display.epoch(epoch_line(epoch))

    def fresh_states(
        self, recipe: Recipe, train: Dataset, seeds: Sequence[int] | None = None
    ) -> TrainState:
        """Networks at their start, ``[M, ...]``, spread over the devices as ``train`` does it.

        Args:
          recipe: network and initialisation.
          train: the images that they are for, which some initialisations look at.
          seeds: one for each network; the config's by default.
        """
        seeds = self.config.all_seeds if seeds is None else seeds
        mesh = self.mesh(len(seeds))
        placed = place(np.asarray(seeds, np.uint32), sharding(mesh, MEMBER))
        return initialise(recipe, train, placed, mesh)[0]

    # Results --------------------------------------------------------------------------------

    def cached(
        self, path: str, compute: Callable[[], Mapping[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Arrays that are computed once and kept in the study's directory for a resume.

        Args:
          path: of the file within the directory, such as "measured/trained-0.npz".
          compute: gives the arrays by name; called only where the file is missing or damaged.
        """
        return stored.stored_arrays(self.directory, path, compute, self.host.say)

    def cached_json(self, path: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """A JSON object that is computed once and kept in the study's directory for a resume.

        Args:
          path: of the file within the directory, such as "plain20/result.json".
          compute: gives the object; called only where the file is missing or damaged.
        """
        return stored.stored_json(self.directory, path, compute, self.host.say)

    def save_figure(self, name: str, draw: Callable[[], Any]) -> None:
        """Saves a figure as ``figures/NAME.png``.

        Args:
          name: of the file.
          draw: gives the matplotlib figure; called on the process that writes files.
        """
        if first_process():
            drawing.save(draw(), self.directory / FIGURES / f"{name}.png")

    def finish(
        self,
        about: Mapping[str, Any],
        claims: Sequence[Claim] = (),
        summary: Callable[[Mapping[str, Any]], Sequence[str]] = summary_lines,
    ) -> dict[str, Any]:
        """Writes result.json, prints what it holds, and returns it.

        Args:
          about: what was measured; a key of the header that it has, too, counts.
          claims: with their differences.
          summary: of the result, as lines; by default one for each figure over seeds.
        """
        config = self.config
        header = {
            "experiment": experiment_name(type(config)),
            "dataset": config.data_name,
            "data": self.notes,
            "seeds": config.all_seeds,
        }
        rows = {"claims": [claim.to_row() for claim in claims]} if claims else {}
        result = {
            **header,
            **about,
            **rows,
            "config": to_json(config),
            "environment": self.environment,
            "run_dir": str(self.directory),
        }
        lines = ["", *summary(result)]
        if claims:
            lines += ["", *claim_rows.lines(result["claims"])]
        self.host.say("\n".join(lines))  # before it is written: the disk may be full
        self.run.finish(result)
        self.host.say(f"see {self.directory}")
        return result

    # Helpers --------------------------------------------------------------------------------

    def _recording(self) -> Recording:
        return Recording(
            clock=self.host.clock,
            wall_clock=self.host.wall_clock,
            display=None if self.config.quiet else self._make_display,
            checkpoint_steps=self.config.checkpoint_steps,
            say=self.host.say,
        )

    def _with_mesh(self, options: FitOptions | None, config: Training) -> FitOptions:
        """The options with the mesh that the config asks for."""
        options = fit_options(config) if options is None else options
        mesh = options.mesh or make_mesh(options.members, member_axis=config.member_axis)
        return dataclasses.replace(options, mesh=mesh)

    def _open_training(
        self,
        name: str,
        config: Training,
        options: FitOptions,
        keep_steps: Collection[int],
        train: Dataset,
    ) -> Run:
        directory = self.directory / name
        settings: Any = {"keep": config.keep, "keep_steps": keep_steps, "say": self.host.say}
        # The first process decides: the others may look when it has begun to write.
        if any_process(first_process() and (directory / CONFIG).is_file()):
            check_sources(directory, config)
            return Run.resume(directory, **settings)
        seeds = options.seeds
        own = dataclasses.replace(config, seed=seeds[0], seeds=len(seeds), resume=None)
        about = {**to_json(own), "part_of": self.directory.name}
        files = self._data.files(own, train)
        return Run.create(directory, about, self.environment, files=files, **settings)

    def _epochs(
        self,
        run: Run,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset | Watched | None,
        options: FitOptions,
    ) -> Iterator[Position]:
        return run.fit(recipe, train, validation, options, self._recording())

    def _make_display(
        self, steps: int, per_epoch: int, examples: int, clock: Callable[[], float], start: int
    ) -> Progress:
        self._display = Progress(steps, per_epoch, examples, clock, start_step=start)
        return self._display
