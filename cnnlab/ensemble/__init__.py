"""Ensembles: their members, and rules that combine the members' predictions.

members = ensemble.concatenate_members(snapshots)     # or fit(..., seeds=range(5))
logits = train.predict(recipe, members, splits.test)  # [M, N, K]
probabilities = ensemble.combine(logits)              # [N, K]
"""

from cnnlab.ensemble.averages import RunningAverage, average, average_members, greedy_soup
from cnnlab.ensemble.combination import combine, combine_by_count, score_subsets
from cnnlab.ensemble.diversity_measures import diversity
from cnnlab.ensemble.members import bootstrap, concatenate_members, subsets
from cnnlab.ensemble.predictions import dropout_logits, view_logits
from cnnlab.ensemble.selection import greedy_selection, validation_weights

__all__ = [
    "RunningAverage",
    "average",
    "average_members",
    "bootstrap",
    "combine",
    "combine_by_count",
    "concatenate_members",
    "diversity",
    "dropout_logits",
    "greedy_selection",
    "greedy_soup",
    "score_subsets",
    "subsets",
    "validation_weights",
    "view_logits",
]
