"""The data of a file of weights: what its network was trained and tested on, or others."""

import pathlib
import warnings

from cnnlab.data import Splits
from cnnlab.data.record import DataChangedError
from cnnlab.studies.build import load_data
from cnnlab.studies.file_description import describe
from cnnlab.studies.provenance import PastTraining
from cnnlab.studies.run_data import check_unseen, load_recorded
from cnnlab.studies.settings import Training


def load_data_for(path: pathlib.Path, config: Training, *, own: bool = False) -> Splits:
    """The data that the config names, for the network of a file of weights.

    Where the file says which images its network was trained and tested on, and they are there, the
    parts are the same ones.

    Args:
      path: of the file.
      config: names the data.
      own: whether they must be those of the network; if not, there is a warning where data of this
        name are others.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      DataChangedError: if they are not the network's ``own``.
      ValueError: for an unknown data set, or if the network has trained on images of the test part.
    """
    known = describe(path)
    if known is None or not known.records:
        return load_data(config)
    whose = f"the network of {path.name}"
    source = config.dataset.partition(":")[0]
    if source == known.data.get("dataset"):
        try:
            return load_recorded(config, known.records[0], whose)
        except DataChangedError as error:
            if own:
                raise DataChangedError(f"{error} For other data: --dataset {source}.") from error
            warnings.warn(
                f"{whose} was trained and tested on other images than these, so parts are made "
                "anew. Of images that were changed since, some may be tested that it trained on.",
                stacklevel=2,
            )
    splits = load_data(config)
    for part in filter(None, (splits.test, splits.validation)):
        for record in known.records:
            check_unseen(record, None, part, whose)
    return splits


def file_history(path: pathlib.Path) -> list[PastTraining]:
    """The trainings of the network of a file of weights, as far as the file knows them."""
    known = describe(path)
    if known is None or not known.records:
        return []
    own, *earlier = known.records
    configs = [{**known.data}, *({"dataset": record.name} for record in earlier)]
    return [*map(PastTraining, configs, (own, *earlier))]
