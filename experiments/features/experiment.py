"""The features of networks on a data set, in a file."""

import pathlib

from cnnlab.data import Dataset
from cnnlab.studies import trained, weights_files
from cnnlab.studies.class_names import in_order_of
from cnnlab.studies.settings import other_data_name, parse_pool
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.transfer.features import features, save_features

from ..cli import host
from .config import Config, check


def run(config: Config) -> pathlib.Path:
    """Writes the file, and prints its arrays.

    Returns:
      Its path.

    Raises:
      ResumeError: if there is no run.
      ValueError: for an unknown stage or one that gives a tuple, data of another shape, weights of
        another network, or a file that does not end with .npz.
    """
    check(config)
    say = host().say
    networks, dataset, name = _load(config)
    dataset = _in_network_order(networks, dataset)
    if networks.report is not None:
        say(str(networks.report))
    arrays = features(
        networks.recipe,
        networks.states,
        dataset,
        config.stages or None,
        pool=parse_pool(config.pool),
        batch_size=config.batch_size,
    )
    name = f"{name} on {dataset.name}, {config.part} part"
    path = _target(config, networks)
    rows = [f"  {stage:<10} {array.dtype} {list(array.shape)}" for stage, array in arrays.items()]
    say("\n".join([f"{path}: {name}", *rows]))
    return save_features(path, arrays, dataset, f"{name}, pool {config.pool}")


def _load(config: Config) -> tuple[TrainedNetworks, Dataset, str]:
    """The networks, the images that they are shown, and the networks' name."""
    if config.run is None:
        assert config.weights is not None
        networks, dataset = weights_files.load_weights_on(
            config, config.part, config.dataset, config.data_dir, config.image_size
        )
        return networks, dataset, f"{networks.model} with {config.weights.name}"
    data = None
    if config.dataset is not None:
        data = trained.other_data(config.run, config.dataset, config.data_dir)
    networks, dataset = trained.load_run_on(
        config.run, config.part, data, data_dir=config.data_dir, best=config.best
    )
    if note := trained.unfinished_note(config.run):
        host().say(note)
    return networks, dataset, f"{networks.name} at step {networks.step:,}"


def _in_network_order(networks: TrainedNetworks, dataset: Dataset) -> Dataset:
    """The data with the labels of the network, where its classes have the same names."""
    if not networks.class_names:
        return dataset
    if set(networks.class_names) != set(dataset.class_names):
        host().say(f"note: labels are those of {dataset.name}, whose classes the network has not.")
        return dataset
    return in_order_of(dataset, networks.class_names, networks.name)


def _target(config: Config, networks: TrainedNetworks) -> pathlib.Path:
    if config.to is not None:
        return config.to
    assert config.run is not None and networks.config is not None
    name = (
        networks.config.data_name
        if config.dataset is None
        else other_data_name(config.dataset, config.data_dir)
    )
    name += "-best" * config.best
    return config.run / f"features-{config.part}-{name.replace('/', '-').replace(':', '-')}.npz"
