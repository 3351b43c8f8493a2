"""Checkpoints: Orbax's, with a checksum of every leaf, so that damage is named and passed over.

Orbax writes asynchronously and atomically, sharded arrays too, and notices what is missing or cut
short. It does not notice a flipped bit: what it restored is checked here against sums that were
taken on the devices when it was saved. Nor does it notice that a checkpoint is of another step or
of another run: the record beside the arrays, under a checksum of its own, holds the step, the
score, the run and a digest of its config. Checkpoints of earlier versions, whose records lack these
fields, are read without those checks, and their scores from Orbax's own file.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from cnnlab.files import make_folder
from cnnlab.processes import first_process, wait_for_all
from cnnlab.spelling import some
from cnnlab.train.checksums import checksums, not_finite
from cnnlab.train.late_reads import without_late_traces

# In messages of Orbax's storage.
_OF_THE_DISK = ("PERMISSION_DENIED", "NOT_FOUND", "Permission denied", "Read-only file system")


class CheckpointError(RuntimeError):
    """No checkpoint could be restored, or one could not be written."""


class NotFiniteError(CheckpointError):
    """A state that was to be saved holds a NaN or an infinity."""


def check_keep(keep: int) -> None:
    """Raises ValueError for fewer checkpoints than a run must keep."""
    if keep < 2:
        raise ValueError(f"keep must be at least 2 checkpoints, got {keep}.")


class Checkpoints:
    """The checkpoints of one run: the latest few, the best one, and those of chosen steps.

    Use it as a context manager: leaving it waits until what was saved is on the disk.

    Args:
      folder: where they are; made if it is missing.
      keep: how many of the latest are kept, >= 2 so that there is one before a damaged one. The one
        with the highest score is kept besides.
      keep_steps: the checkpoints of these steps are kept, too.
      read_only: only for reading, perhaps while a run writes there: nothing is cleaned up.
      identity: of the run that they are of, as of ``run_directory.read_identity``; any by default.
      say: prints a line on each damaged checkpoint.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: int = 2,
        keep_steps: Collection[int] = (),
        read_only: bool = False,
        identity: Mapping[str, Any] | None = None,
        say: Callable[[str], Any] = warnings.warn,
    ) -> None:
        check_keep(keep)
        self.folder = pathlib.Path(folder).resolve()
        self._policy = _LatestAndBest(keep, frozenset(keep_steps), self._try_score)
        self._identity = None if identity is None else dict(identity)
        self._say = say
        self._scores: dict[int, float | None] = {}  # of those that were saved or read here
        self._read_only = read_only
        self._opened = False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._opened:
            with self._writing():
                self._manager.close()

    @functools.cached_property
    def _manager(self) -> Any:
        """Orbax's manager, opened when it is first needed: Orbax is slow to import."""
        self._opened = True
        return _open_manager(self.folder, self._policy, self._read_only)

    def save(
        self, step: int, tree: Any, meta: dict[str, Any], *, score: float | None = None
    ) -> None:
        """Begins to write a checkpoint, and returns once the arrays are copied.

        Args:
          step: of the checkpoint; one that is on the disk already is not written again.
          tree: a pytree of arrays. Every inexact number in it must be finite.
          meta: what else a resume needs, JSON-ready.
          score: the higher the better; the best one is kept. None and NaN never are the best.

        Raises:
          NotFiniteError: if a number is not finite.
          CheckpointError: if this one or the one before could not be
            written, such as on a full disk.
        """
        import orbax.checkpoint as ocp  # noqa: PLC0415 Orbax is slow to import

        bad = not_finite(tree)
        if bad:
            raise NotFiniteError(
                f"step {step} is not saved: {bad[0]} is not finite. The training has diverged: "
                "divide the learning rate by 3 to 10. The checkpoints before are as they were."
            )
        with self._writing():
            if step in self._manager.all_steps():
                return
            score = None if score is None or not math.isfinite(score) else float(score)
            record = {"step": step, "score": score, "of": self._identity}
            record |= {"meta": meta, "checksums": checksums(tree)}
            self._scores[step] = score
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    tree=ocp.args.StandardSave(tree),  # type: ignore[call-arg]
                    record=ocp.args.JsonSave({**record, "digest": _digest(record)}),  # type: ignore[call-arg]
                ),
            )

    def wait(self) -> None:
        """Waits until everything saved is on the disk.

        Raises:
          CheckpointError: if it could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """The steps that are there, rising."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step with the highest score, or None where none has one.

        Raises:
          CheckpointError: if the best one is gone or its record damaged.
        """
        records = {step: self._try_record(step) for step in self.steps()}
        whole = {step: record for step, record in records.items() if record is not None}
        best = _best({step: self._score(step, record) for step, record in whole.items()})
        # The newest says which was the best when it was saved: that one may be lost.
        noted = whole[max(whole)]["meta"].get("best") if whole else None
        if noted and noted["step"] != best:
            raise CheckpointError(
                f"the best checkpoint in {self.folder} was that of step {noted['step']}, and is "
                "gone or damaged: bring it back, or take the latest."
            )
        return best

    def restore(self, like: Any, *, step: int | None = None) -> tuple[int, Any, dict[str, Any]]:
        """Reads the newest checkpoint that is whole, and of this run.

        Args:
          like: a pytree of ``jax.ShapeDtypeStruct`` with shardings: what is to come back.
          step: only this one; by default the newest, and if that is damaged the one before it, ….

        Returns:
          The step, the tree and the meta that were saved.

        Raises:
          CheckpointError: if there is none, or none is whole.
        """
        candidates = self.steps()[::-1] if step is None else [step]
        if not candidates:
            raise CheckpointError(f"there is no checkpoint in {self.folder}.")
        for candidate in candidates:
            try:
                tree, meta = self._read(candidate, like)
            except Exception as error:  # Orbax raises many kinds for a damaged file
                reason = " ".join(str(error).split())[:300]
                self._name(candidate, f"{type(error).__name__}: {reason}")
            else:
                return candidate, tree, meta
        raise CheckpointError(
            f"no checkpoint in {self.folder} could be restored "
            f"(tried step {some(map(str, candidates))}); see the reasons above."
        )

    def set_aside_after(self, step: int) -> None:
        """Moves the checkpoints after ``step``, which could not be restored, to ``damaged-STEP``.

        They are moved, not deleted: what looked like damage may have been the disk's bad moment.
        """
        later = [s for s in self.steps() if s > step]
        if later and first_process():
            for each in later:
                target = self.folder.parent / f"damaged-{each}"
                shutil.rmtree(target, ignore_errors=True)
                (self.folder / str(each)).rename(target)
        wait_for_all("set aside")
        self._manager.reload()

    def _read(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        import orbax.checkpoint as ocp  # noqa: PLC0415 Orbax is slow to import

        record = self._record(step)
        with without_late_traces():
            restored = self._manager.restore(
                step, args=ocp.args.Composite(tree=ocp.args.StandardRestore(like))
            )  # type: ignore[call-arg]
        actual = checksums(restored["tree"])
        expected = record["checksums"]
        damaged = [name for name in actual if actual[name] != expected.get(name)]
        if damaged or len(actual) != len(expected):
            names = ", ".join(damaged[:3]) or "the list of arrays"
            raise CheckpointError(f"the checksum does not fit in {len(damaged)} arrays: {names}")
        return restored["tree"], record["meta"]

    def _record(self, step: int) -> dict[str, Any]:
        """What stands beside the arrays of a checkpoint.

        Raises:
          CheckpointError: if it is gone, damaged, of another step or of another run.
        """
        try:
            record = json.loads((self.folder / str(step) / "record" / "metadata").read_bytes())
            digest = record.pop("digest", None)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise CheckpointError(f"its record cannot be read: {error}") from error
        if digest != _digest(record):
            raise CheckpointError("its record does not fit its own digest")
        if record.get("step", step) != step:
            raise CheckpointError(f"it is the checkpoint of step {record['step']}")
        self._check_identity(record.get("of"))
        return record

    def _check_identity(self, of: Mapping[str, Any] | None) -> None:
        """Raises CheckpointError unless a record is of this run, with this config."""
        if self._identity is None or (of is None and self._identity.get("run") is None):
            return  # nobody asks, or a run of a version that gave it no identity
        if of is None or of["run"] != self._identity["run"]:
            raise CheckpointError("it is of another run")
        if of != self._identity:
            raise CheckpointError("it was saved with another config than config.json has now")

    def _try_record(self, step: int) -> dict[str, Any] | None:
        """The record of a checkpoint; where it is not whole, says so."""
        try:
            return self._record(step)
        except CheckpointError as error:
            self._name(step, str(error))
            return None

    def _score(self, step: int, record: Mapping[str, Any]) -> float | None:
        if "score" in record:
            score: float | None = record["score"]
            return score
        try:  # an earlier version gave the score to Orbax
            read = json.loads((self.folder / str(step) / "metrics" / "metrics").read_bytes())
            score = read["score"]
            return None if score is None or not math.isfinite(score) else float(score)
        except (OSError, ValueError, TypeError, KeyError):
            self._say(f"the score of checkpoint {self.folder / str(step)} is damaged: not used.")
            return None

    def _try_score(self, step: int) -> float | None:
        """The score of a checkpoint.

        Raises:
          CheckpointError: if its record is not whole.
        """
        if step not in self._scores:
            self._scores[step] = self._score(step, self._record(step))
        return self._scores[step]

    def _name(self, step: int, reason: str) -> None:
        path = self.folder / str(step)
        self._say(f"checkpoint {path} cannot be restored, and is passed over: {reason}.")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns the errors of the file system into one whose message has the remedy."""
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:
            text = str(error)
            if "No space left" in text or "RESOURCE_EXHAUSTED" in text or "ENOSPC" in text:
                raise CheckpointError(
                    f"the disk is full: a checkpoint could not be written to {self.folder}. Those "
                    "before it are as they were. Free some space and resume the run."
                ) from error
            if isinstance(error, OSError) or any(word in text for word in _OF_THE_DISK):
                reason = " ".join(text.split())[:300]
                raise CheckpointError(
                    f"a checkpoint could not be written to {self.folder}: {reason}. Those before "
                    "it are as they were: see to the folder, and resume the run."
                ) from error
            raise


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _best(scores: Mapping[int, float | None]) -> int | None:
    """The step with the highest score, of equal ones the earliest; None where none has one."""
    scored = {step: score for step, score in scores.items() if score is not None}
    return max(scored, key=lambda step: (scored[step], -step)) if scored else None


@dataclasses.dataclass
class _LatestAndBest:
    """Orbax's policy of what is kept. Its own ``BestN`` keeps one without a score as the best.

    A checkpoint whose score cannot be read is kept: it may be the best, and the disk's bad moment.
    """

    keep: int
    keep_steps: frozenset[int]
    score: Callable[[int], float | None]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        del context
        steps = [info.step for info in checkpoints]
        kept, scores = {*sorted(steps)[-self.keep :], *self.keep_steps}, {}
        for step in steps:
            try:
                scores[step] = self.score(step)
            except CheckpointError:
                kept.add(step)
        kept.add(_best(scores))
        return [step in kept for step in steps]


def _open_manager(folder: pathlib.Path, policy: _LatestAndBest, read_only: bool) -> Any:
    import orbax.checkpoint as ocp  # noqa: PLC0415 Orbax is slow to import

    if not read_only:
        make_folder(folder)

    class Manager(ocp.CheckpointManager):
        def metrics(self, step: int) -> None:
            """None: the score is in our record, where a checksum is; here a damaged one raises."""

    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        enable_async_checkpointing=not read_only,
    )
    return Manager(
        folder,
        options=options,
        item_handlers={
            "tree": ocp.StandardCheckpointHandler(),
            "record": ocp.JsonCheckpointHandler(),
        },
    )
