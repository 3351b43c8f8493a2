"""Ensembles: many networks, one network many times, and what they say together.

members = ensemble.joined(snapshots)                       # or fit(..., seeds=range(5))
logits = train.predict(recipe, members, splits.test)       # [M, N, K]
probabilities = ensemble.combine(logits)                   # [N, K]
"""

from cnnlab.ensemble.averages import Running, average, greedy_soup, members_average
from cnnlab.ensemble.combination import by_count, by_subsets, combine
from cnnlab.ensemble.diversity_measures import diversity
from cnnlab.ensemble.members import bootstrap, joined, subsets
from cnnlab.ensemble.predictions import dropout_logits, view_logits
from cnnlab.ensemble.selection import greedy_selection, validation_weights

__all__ = [
    "Running",
    "average",
    "bootstrap",
    "by_count",
    "by_subsets",
    "combine",
    "diversity",
    "dropout_logits",
    "greedy_selection",
    "greedy_soup",
    "joined",
    "members_average",
    "subsets",
    "validation_weights",
    "view_logits",
]
