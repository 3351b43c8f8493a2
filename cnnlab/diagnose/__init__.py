"""Looking into a network: what its layers read, give and learn from."""

from cnnlab.diagnose.activations import LayerStatistics, Values, activations
from cnnlab.diagnose.units import distinct_units, hidden_units

__all__ = ["LayerStatistics", "Values", "activations", "distinct_units", "hidden_units"]
