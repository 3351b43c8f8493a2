"""Ensembles: many networks, one network many times, and what they say together.

members = joined(snapshots)                                # or fit(..., seeds=range(5))
logits = train.predict(recipe, members, splits.test)       # [M, N, K]
probabilities = combine(logits, "probabilities")           # [N, K]
"""
