"""Checkpoints: what is kept, and that damage is named and passed over."""

import contextlib
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.train import checkpoint
from cnnlab.train.checkpoint import CheckpointError, Checkpoints
from cnnlab.train.checksums import checksums


def tree(number):
    key = jax.random.key(number)
    return {
        "kernel": jax.random.normal(key, (16, 16)),
        "half": jax.random.normal(key, (5,)).astype(jnp.bfloat16),
        "step": jnp.int32(number),
    }


@pytest.fixture(scope="module")
def like():
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree(0)
    )


def saved(folder, scores, keep=2):
    with Checkpoints(folder, keep=keep) as checkpoints:
        for step, score in enumerate(scores, start=1):
            checkpoints.save(step, tree(step), {"of": step}, score=score)
    return folder


def restored(folder, like, **options):
    messages = []
    with Checkpoints(folder, say=messages.append) as checkpoints:
        step, actual, meta = checkpoints.restore(like, **options)
    assert meta == {"of": step}
    for name, value in tree(step).items():
        assert actual[name].dtype == value.dtype
        assert (np.asarray(actual[name]) == np.asarray(value)).all()
    return step, messages


def test_the_latest_two_and_the_best_are_kept(tmp_path, like):
    saved(tmp_path, [0.1, 0.9, 0.9, None, 0.5, 0.8])
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 5, 6]
        assert checkpoints.best_step() == 2  # of equal ones the earliest
    assert restored(tmp_path, like) == (6, [])
    assert restored(tmp_path, like, step=2) == (2, [])


def test_chosen_steps_are_kept_besides(tmp_path):
    with Checkpoints(tmp_path, keep_steps=(1, 3)) as checkpoints:
        for step in range(1, 7):
            checkpoints.save(step, tree(step), {"of": step})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 3, 5, 6]


def test_no_score_is_never_the_best(tmp_path):
    saved(tmp_path, [None, None, None])
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step() is None
        assert checkpoints.steps() == [2, 3]


def data_file(folder, step):
    return max((folder / str(step) / "tree").rglob("d/*"), key=lambda path: path.stat().st_size)


def test_any_flipped_bit_in_the_arrays_is_found(tmp_path, like):
    saved(tmp_path, [None, None])
    path = data_file(tmp_path, 2)
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 12).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        step, messages = restored(tmp_path, like)  # compares every number, too
        assert step == 2 or (step == 1 and "2 cannot be restored" in messages[0])
    path.write_bytes(whole)
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1
    path.write_bytes(middle)
    assert restored(tmp_path, like)[0] == 1


@pytest.mark.parametrize("how", ["truncated", "deleted", "zeroed", "record", "manifest"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, like, how):
    saved(tmp_path, [None, None])
    path = data_file(tmp_path, 2)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "deleted":
        path.unlink()
    elif how == "zeroed":
        path.write_bytes(b"\0" * path.stat().st_size)
    elif how == "manifest":
        (tmp_path / "2/tree/manifest.ocdbt").write_bytes(b"")
    else:
        record = tmp_path / "2/record/metadata"
        record.write_text(record.read_text().replace('"of": 2', '"of": 7').replace('"of":2', "7"))
    step, messages = restored(tmp_path, like)
    assert step == 1
    assert len(messages) == 1 and str(tmp_path / "2") in messages[0]


def test_no_undamaged_checkpoint_is_an_error(tmp_path, like):
    saved(tmp_path, [None])
    data_file(tmp_path, 1).unlink()
    with (
        Checkpoints(tmp_path, say=lambda text: None) as checkpoints,
        pytest.raises(CheckpointError, match="could be restored"),
    ):
        checkpoints.restore(like)
    with (
        Checkpoints(pathlib.Path(tmp_path / "empty")) as checkpoints,
        pytest.raises(CheckpointError, match="no checkpoint"),
    ):
        checkpoints.restore(like)


def test_states_that_are_not_finite_are_not_saved(tmp_path, like):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree(1), {"of": 1})
        bad = tree(2) | {"kernel": tree(2)["kernel"].at[3, 3].set(jnp.nan)}
        with pytest.raises(CheckpointError, match="kernel.*not finite"):
            checkpoints.save(2, bad, {"of": 2}, score=1.0)
    assert restored(tmp_path, like)[0] == 1


def test_later_checkpoints_can_be_removed_and_written_again(tmp_path, like):
    folder = saved(tmp_path / "checkpoints", [None, None])
    with Checkpoints(folder) as checkpoints:
        checkpoints.set_aside_after(1)
        assert checkpoints.steps() == [1]
        checkpoints.save(2, tree(2), {"of": 2})
    assert restored(folder, like)[0] == 2
    assert (tmp_path / "damaged-2" / "tree").is_dir()


def test_reading_leaves_what_is_being_written_alone(tmp_path, like):
    saved(tmp_path, [None])
    unfinished = tmp_path / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore(like)[0] == 1
    assert unfinished.is_dir()


def test_a_checksum_sees_every_bit_and_every_exchange():
    x = np.arange(40, dtype=np.float32).reshape(8, 5)
    base = checksums({"x": jnp.asarray(x)})
    for bit in range(32):
        flipped = x.copy()
        flipped.view(np.uint32)[3, 2] ^= np.uint32(1 << bit)
        assert checksums({"x": jnp.asarray(flipped)}) != base
    exchanged = x[[1, 0, *range(2, 8)]]
    assert checksums({"x": jnp.asarray(exchanged)}) != base
    assert checksums({"x": jnp.asarray(x[:, ::-1])}) != base
    assert checksums({"x": jnp.asarray(x)}) == base


def test_fewer_than_two_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 2"):
        Checkpoints(tmp_path, keep=1)


def test_a_full_disk_says_what_to_do_and_keeps_what_was_there(tmp_path, like, monkeypatch):
    saved(tmp_path, [None])
    with Checkpoints(tmp_path) as checkpoints:

        def full(*args, **kwargs):
            raise ValueError("RESOURCE_EXHAUSTED: … No space left on device [os_error_code='28']")

        monkeypatch.setattr(checkpoints._manager, "save", full)
        with pytest.raises(CheckpointError, match=r"disk is full.*Free some space"):
            checkpoints.save(2, tree(2), {"of": 2})
    assert restored(tmp_path, like)[0] == 1


RUN = {"run": "0123", "config": "abcd"}


def saved_by_run(folder, scores, of=RUN):
    with Checkpoints(folder, identity=of, keep=9) as checkpoints:
        for step, score in enumerate(scores, start=1):
            checkpoints.save(step, tree(step), {"of": step}, score=score)
    return folder


def restored_by_run(folder, like, of=RUN):
    messages = []
    with Checkpoints(folder, identity=of, keep=9, say=messages.append) as checkpoints:
        return checkpoints.restore(like)[0], messages


def test_a_checkpoint_under_the_name_of_another_step_is_named_and_passed_over(tmp_path, like):
    saved_by_run(tmp_path, [None, None, None])
    (tmp_path / "3").rename(tmp_path / "300")
    step, messages = restored_by_run(tmp_path, like)
    assert step == 2 and "300" in messages[0] and "checkpoint of step 3" in messages[0]
    (tmp_path / "2").rename(tmp_path / "x")  # two that change places
    (tmp_path / "300").rename(tmp_path / "2")
    (tmp_path / "x").rename(tmp_path / "3")
    step, messages = restored_by_run(tmp_path, like)
    assert step == 1 and len(messages) == 2


@pytest.mark.parametrize(
    ("other", "reason"),
    [({"run": "4567"}, "of another run"), ({"config": "ef"}, "another config")],
)
def test_a_checkpoint_of_another_run_or_config_is_passed_over(tmp_path, like, other, reason):
    saved_by_run(tmp_path / "other", [None, None], RUN | other)
    saved_by_run(tmp_path / "mine", [None])
    (tmp_path / "other/2").rename(tmp_path / "mine/2")
    step, messages = restored_by_run(tmp_path / "mine", like)
    assert step == 1 and reason in messages[0]


def as_of_an_earlier_version(folder, step, score):
    """Takes from a checkpoint what earlier versions did not write."""
    path = folder / str(step) / "record" / "metadata"
    record = json.loads(path.read_text())
    kept = {name: record[name] for name in ("meta", "checksums")}
    path.write_text(json.dumps(kept | {"digest": checkpoint._digest(kept)}))
    (folder / str(step) / "metrics").mkdir()
    (folder / str(step) / "metrics/metrics").write_text(json.dumps({"score": score}))


def test_checkpoints_of_earlier_versions_are_read_with_their_scores(tmp_path, like):
    saved(tmp_path, [None, None, None], keep=9)
    for step, score in ((1, 0.2), (2, 0.7), (3, 0.5)):
        as_of_an_earlier_version(tmp_path, step, score)
    old = {"run": None, "config": "abcd"}
    assert restored_by_run(tmp_path, like, old) == (3, [])
    with Checkpoints(tmp_path, identity=old) as checkpoints:
        assert checkpoints.best_step() == 2
        checkpoints.save(4, tree(4), {}, score=0.1)
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3, 4]
    with pytest.raises(CheckpointError):  # a run that has an identity takes none without
        restored_by_run(tmp_path, like)


@pytest.mark.parametrize("damage", [b"", b'{"score": NaN}', b'{"score": 0.9', b"[]", b"null"])
def test_a_damaged_score_of_an_earlier_version_moves_nothing(tmp_path, like, damage):
    saved(tmp_path, [None, None], keep=9)
    for step, score in ((1, 0.2), (2, 0.1)):
        as_of_an_earlier_version(tmp_path, step, score)
    (tmp_path / "2/metrics/metrics").write_bytes(damage)
    assert restored(tmp_path, like) == (2, [])
    with Checkpoints(tmp_path, say=lambda text: None) as checkpoints:
        assert checkpoints.best_step() == 1


def test_a_score_that_was_changed_moves_nothing(tmp_path, like):
    """The score stands in the record: where that is changed, the checkpoint is passed over."""
    saved(tmp_path, [0.2, 0.1, 0.15], keep=9)
    path = tmp_path / "2/record/metadata"
    path.write_text(path.read_text().replace("0.1", "0.9"))
    messages = []
    with Checkpoints(tmp_path, keep=2, say=messages.append) as checkpoints:
        assert checkpoints.best_step() == 1
        assert len(messages) == 1 and str(tmp_path / "2") in messages[0]
        checkpoints.save(4, tree(4), {}, score=0.0)
        checkpoints.wait()
        assert 1 in checkpoints.steps()  # the best is not deleted, nor is the damaged one
        assert 2 in checkpoints.steps()


def test_a_best_checkpoint_that_is_gone_is_an_error_not_the_next_best(tmp_path):
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for step, score in ((1, 0.9), (2, 0.5), (3, 0.1)):
            checkpoints.save(step, tree(step), {"best": {"step": 1, "score": 0.9}}, score=score)
    shutil.rmtree(tmp_path / "1")
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match="best checkpoint .* step 1, and is gone"),
    ):
        checkpoints.best_step()


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"x"', "[" * 10**5])
def test_a_record_of_another_kind_is_passed_over(tmp_path, like, text):
    saved_by_run(tmp_path, [0.1, 0.2])
    (tmp_path / "2/record/metadata").write_text(text)
    messages = []
    with Checkpoints(tmp_path, read_only=True, say=messages.append) as checkpoints:
        assert checkpoints.restore(like)[0] == 1
        with contextlib.suppress(CheckpointError):
            checkpoints.best_step()
    assert all("2 cannot be restored, and is passed over" in line for line in messages)


def test_every_flip_and_cut_of_a_record_is_seen(tmp_path, like):
    saved_by_run(tmp_path, [0.1, 0.2])
    path = tmp_path / "2/record/metadata"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with Checkpoints(tmp_path, identity=RUN, say=lambda text: None) as checkpoints:
            assert checkpoints._try_record(2) is None
    for data in (b"", whole[:40], b"null", b"[]"):
        path.write_bytes(data)
        assert restored_by_run(tmp_path, like)[0] == 1
