"""Members from finished runs: those of another task are refused."""

import dataclasses

import pytest

from cnnlab.studies.build import load_data
from cnnlab.studies.run_predictions import check_same_task
from cnnlab.studies.settings import Training

TINY = Training(dataset="synthetic:90:6x6x1:3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "synthetic:90:6x6x1:4"}, "the same classes"),
        ({"dataset": "synthetic:90:5x5x1:3"}, "the same image shape"),
        ({"split_seed": 3}, "the same (test|validation) part"),
        ({"validation": None}, "the same validation part"),
    ],
)
def test_members_of_other_classes_or_another_split_are_refused(change, message):
    ours = load_data(dataclasses.replace(TINY, **change))
    with pytest.raises(ValueError, match=f"{message}, but other has .* and first has"):
        check_same_task("other", ours, load_data(TINY), "first")
