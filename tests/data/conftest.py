"""A check that the tests of all sources share."""

from collections.abc import Callable

import pytest

from cnnlab.data import Splits, subset


@pytest.fixture(scope="session")
def check_marks() -> Callable[[Splits], None]:
    """``check_marks(splits)``: each part is marked, and so are its subsets."""

    def check(splits: Splits) -> None:
        assert splits.train.part == "train"
        assert splits.test.part == "test"
        assert splits.validation is None or splits.validation.part == "validation"
        assert splits.test.take([0]).part == "test"
        assert subset(splits.test, per_class=1).part == "test"

    return check
