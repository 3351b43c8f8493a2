"""Fixtures for the trainings of every experiment."""

import pytest

from cnnlab.train.options import Watched
from cnnlab.train.run import Run


@pytest.fixture(scope="module", autouse=True)
def checkpoints_are_chosen_on_the_validation_part():
    """Fails every test whose experiment chooses its best checkpoint on anything but validation.

    ``Run.fit`` refuses what is marked as the test part; here a part without a mark is refused, too.
    """
    fit = Run.fit

    def checked(self, recipe, train, validation, options, recording):
        chooses = validation is not None and not isinstance(validation, Watched)
        assert not chooses or validation.part == "validation", self.directory
        return fit(self, recipe, train, validation, options, recording)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "fit", checked)
        yield
