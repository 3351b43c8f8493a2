"""Ensembles: their members, and rules that combine the members' predictions.

members = ensemble.concatenate_members(snapshots)     # or fit(..., seeds=range(5))
logits = train.predict(recipe, members, splits.test)  # [M, N, K]
probabilities = ensemble.combine(logits)              # [N, K]
"""

from cnnlab.ensemble.averages import Running, average, greedy_soup, members_average
from cnnlab.ensemble.combination import by_count, by_subsets, combine
from cnnlab.ensemble.diversity_measures import diversity
from cnnlab.ensemble.members import bootstrap, concatenate_members, subsets
from cnnlab.ensemble.predictions import dropout_logits, view_logits
from cnnlab.ensemble.selection import greedy_selection, validation_weights

__all__ = [
    "Running",
    "average",
    "bootstrap",
    "by_count",
    "by_subsets",
    "combine",
    "concatenate_members",
    "diversity",
    "dropout_logits",
    "greedy_selection",
    "greedy_soup",
    "members_average",
    "subsets",
    "validation_weights",
    "view_logits",
]
