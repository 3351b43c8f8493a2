"""Checkpoints: Orbax's, with a checksum of every leaf, so that damage is named and passed over.

Orbax writes asynchronously and atomically, sharded arrays too, and notices what is missing or cut
short. It does not notice a flipped bit: what it restored is checked here against sums that were
taken on the devices when it was saved.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.mesh import run_once_options
from cnnlab.processes import first_process, wait_for_all


class CheckpointError(RuntimeError):
    """No checkpoint could be restored, or one could not be written."""


class NotFiniteError(CheckpointError):
    """A state that was to be saved holds a NaN or an infinity."""


class Checkpoints:
    """The checkpoints of one run: the latest few, the best one, and those of chosen steps.

    Use it as a context manager: leaving it waits until what was saved is on the disk.

    Args:
      folder: where they are; made if it is missing.
      keep: how many of the latest are kept, >= 2 so that there is one before a damaged one. The one
        with the highest score is kept besides.
      keep_steps: the checkpoints of these steps are kept, too.
      read_only: only for reading, perhaps while a run writes there: nothing is cleaned up.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: int = 2,
        keep_steps: Collection[int] = (),
        read_only: bool = False,
    ) -> None:
        if keep < 2:
            raise ValueError(f"keep must be at least 2 checkpoints, got {keep}.")
        self.folder = pathlib.Path(folder).resolve()
        self._policy = _LatestAndBest(keep, frozenset(keep_steps))
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
          score: the higher the better; the best one is kept. None never is the best.

        Raises:
          NotFiniteError: if a number is not finite.
          CheckpointError: if this one or the one before could not be
            written, such as on a full disk.
        """
        import orbax.checkpoint as ocp  # noqa: PLC0415 Orbax is slow to import

        bad = _not_finite(tree)
        if bad:
            raise NotFiniteError(
                f"step {step} is not saved: {bad[0]} is not finite. The training has diverged: "
                "divide the learning rate by 3 to 10. The checkpoints before are as they were."
            )
        with self._writing():
            if step in self._manager.all_steps():
                return
            record = {"meta": meta, "checksums": checksums(tree)}
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    tree=ocp.args.StandardSave(tree),  # type: ignore[call-arg]
                    record=ocp.args.JsonSave({**record, "digest": _digest(record)}),  # type: ignore[call-arg]
                ),
                metrics={"score": None if score is None else float(score)},
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
        """The step with the highest score, or None where none has one."""
        return _best({step: self._manager.metrics(step) for step in self.steps()})

    def restore(
        self,
        like: Any,
        *,
        step: int | None = None,
        say: Callable[[str], Any] = warnings.warn,
    ) -> tuple[int, Any, dict[str, Any]]:
        """Reads the newest checkpoint that is whole.

        Args:
          like: a pytree of ``jax.ShapeDtypeStruct`` with shardings: what is to come back.
          step: only this one; by default the newest, and if that is damaged the one before it, ….
          say: prints a line on each damaged checkpoint.

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
                say(
                    f"checkpoint {self.folder / str(candidate)} cannot be restored, and is passed "
                    f"over: {type(error).__name__}: {reason}"
                )
            else:
                return candidate, tree, meta
        raise CheckpointError(
            f"no checkpoint in {self.folder} could be restored "
            f"(tried step {', '.join(map(str, candidates))}); see the reasons above."
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

        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                tree=ocp.args.StandardRestore(like),  # type: ignore[call-arg]
                record=ocp.args.JsonRestore(),
            ),
        )
        record = dict(restored["record"])
        if record.pop("digest", None) != _digest(record):
            raise CheckpointError("the record of checksums does not fit its own digest")
        actual = checksums(restored["tree"])
        expected = record["checksums"]
        damaged = [name for name in actual if actual[name] != expected.get(name)]
        if damaged or len(actual) != len(expected):
            names = ", ".join(damaged[:3]) or "the list of arrays"
            raise CheckpointError(f"the checksum does not fit in {len(damaged)} arrays: {names}")
        return restored["tree"], record["meta"]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns the errors of a full disk into one whose message has the remedy."""
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
            raise


def checksums(tree: Any) -> dict[str, list[int]]:
    """A checksum for each leaf, taken where the leaf lies: ``{path: [32-bit sum, size]}``.

    The sum of the leaf's 32-bit words, each times an odd number that depends on its place, modulo
    2^32: no single changed word leaves it as it was, and other damage does once in 4 billion.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    sums = _on_device(_sum_words, [leaf for _, leaf in leaves])
    return {
        jax.tree_util.keystr(path): [int(total), int(leaf.size)]
        for (path, leaf), total in zip(leaves, sums, strict=True)
    }


def _on_device(function: Callable[..., Any], leaves: list[jax.Array]) -> list[np.ndarray]:
    """``function`` of the leaves, computed where they lie."""
    if not leaves:
        return []
    device: Any = next(iter(leaves[0].sharding.device_set))
    return jax.device_get(_jit_for_quick_compilation(function, device.platform)(leaves))


@functools.cache
def _jit_for_quick_compilation(function: Callable[..., Any], platform: str) -> Callable[..., Any]:
    return jax.jit(function, compiler_options=run_once_options(platform))


def _sum_words(leaves: list[jax.Array]) -> list[jax.Array]:
    def one(x: jax.Array) -> jax.Array:
        if x.dtype == jnp.bool_:
            x = x.astype(jnp.uint8)
        bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * min(x.dtype.itemsize, 4)}"))
        words = bits.astype(jnp.uint32)
        place = jnp.zeros(words.shape, jnp.uint32)
        for axis, size in enumerate(words.shape):
            place = place * np.uint32(size) + jax.lax.broadcasted_iota(
                jnp.uint32, words.shape, axis
            )
        # Knuth's multiplicative hash of the place, made odd.
        weight = (place * np.uint32(2654435761)) | np.uint32(1)
        return jnp.sum(words * weight, dtype=jnp.uint32)

    return [one(leaf) for leaf in leaves]


def _all_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.isfinite(leaf).all() for leaf in leaves]


def _not_finite(tree: Any) -> list[str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    inexact = [(p, x) for p, x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = _on_device(_all_finite, [x for _, x in inexact])
    return [
        jax.tree_util.keystr(path)
        for (path, _), good in zip(inexact, finite, strict=True)
        if not good
    ]


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _best(metrics: dict[int, dict[str, Any] | None]) -> int | None:
    """The step with the highest score, of equal ones the earliest; None where none has one."""
    scored = {step: m["score"] for step, m in metrics.items() if m and m["score"] is not None}
    return max(scored, key=lambda step: (scored[step], -step)) if scored else None


@dataclasses.dataclass
class _LatestAndBest:
    """Orbax's policy of what is kept. Its own ``BestN`` keeps one without a score as the best."""

    keep: int
    keep_steps: frozenset[int]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        del context
        steps = [info.step for info in checkpoints]
        kept = {*sorted(steps)[-self.keep :], _best({i.step: i.metrics for i in checkpoints})}
        return [step in kept or step in self.keep_steps for step in steps]


def _open_manager(folder: pathlib.Path, policy: _LatestAndBest, read_only: bool) -> Any:
    import orbax.checkpoint as ocp  # noqa: PLC0415 Orbax is slow to import

    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        best_fn=lambda metrics: metrics["score"],  # without one it writes no metrics
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        enable_async_checkpointing=not read_only,
    )
    return ocp.CheckpointManager(
        folder,
        options=options,
        item_handlers={
            "tree": ocp.StandardCheckpointHandler(),
            "record": ocp.JsonCheckpointHandler(),
        },
    )
