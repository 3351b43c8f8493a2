"""Trains or reads the members, combines them, and compares them with one network."""

from collections.abc import Sequence
from typing import Any

from cnnlab import ensemble
from cnnlab.data import Splits
from cnnlab.studies import study, trained
from cnnlab.studies.methods import (
    Comparison,
    Cost,
    Method,
    accuracy_by_count,
    combine_networks,
    compare_methods,
    diversity_by_repetition,
    member_accuracies,
    networks_alone,
    save_figures,
    score_methods,
)
from cnnlab.studies.run_predictions import MemberPredictions, predict_runs

from ..cli import host
from .config import Config, check
from .members import member_recipes, train_members, train_single
from .summary import summary_lines


def run(config: Config) -> dict[str, Any]:
    """Trains or reads the members, combines them, and writes the run directory.

    Returns:
      The content of result.json: ``methods`` (of ``score_methods``), ``alone`` (each member's
      accuracy), ``weights`` of the members chosen on the validation part, ``by_count`` (accuracy by
      the number of members), ``diversity`` (for each repetition), ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      CheckpointError: if a member's checkpoint is gone or damaged, and ``missing`` is "error".
    """
    with study.open(config, host()) as s:
        config = s.config
        check(config)
        if config.of:
            first = trained.run_config(config.of[0], config.data_dir)
            splits = trained.load_data(config.of[0], config.data_dir)
            members = predict_runs(config.of, splits, config.missing, config.data_dir, s.host.say)
            s.begin(f"ensemble-{first.data_name}", splits.notes)
        else:
            first, splits = config, s.load_data()
            recipes = member_recipes(config, splits.train)
            s.begin(f"ensemble-{config.data_name}", splits.notes)
            members = train_members(s, splits, recipes)
        methods, weights = combine_members(members, splits)
        alone, together = methods[0].name, methods[1].name
        if config.single and not config.of:
            methods.insert(0, train_single(s, splits, round(sum(members.epochs))))
        baseline, labels = methods[0].name, splits.test.labels
        scores = score_methods(
            methods, labels, baseline=baseline, examples_per_epoch=len(splits.train)
        )
        about: dict[str, Any] = {
            "dataset": first.data_name,
            "model": first.model,
            "seeds": None if config.of else config.all_seeds,
            "members": members.names,
            "methods": scores,
            "alone": member_accuracies(members.names, members.test, labels),
            "weights": weights,
            "by_count": accuracy_by_count(members.test, labels),
            "diversity": diversity_by_repetition(members.test, labels),
        }
        differ = f"members differ by {config.differ}, {config.epochs} epochs each"
        save_figures(
            s.save_figure,
            scores,
            methods,
            labels,
            {"the first m members": about["by_count"]},
            calibrated=(baseline, together),
            title=f"{first.data_name}, {'members are finished runs' if config.of else differ}",
        )
        comparisons = ensemble_comparisons(len(members.names), together, alone, baseline)
        return s.finish(about, compare_methods(scores, comparisons), summary_lines)


def combine_members(
    members: MemberPredictions, splits: Splits
) -> tuple[list[Method], dict[str, Any]]:
    """The ways to combine the members, and the weights that the validation part gives to them."""
    count, repetitions = members.test.shape[:2]
    epochs, multiply_adds = sum(members.epochs), sum(members.multiply_adds) / count
    share = None if members.seconds is None else members.seconds / count
    one, all_of_them = (
        Cost(epochs / count, multiply_adds, share),
        Cost(epochs, multiply_adds, members.seconds),
    )

    def combine(name: str, rule: str = "probabilities", weights: Any = None) -> Method:
        return combine_networks(name, "ensemble", members.test, all_of_them, rule, weights)

    methods = [
        networks_alone(f"a member alone, the mean of {count}", "one network", members.test, one),
        combine(f"mean of {count} probabilities"),
        combine(f"mean of {count} logits", "logits"),
        combine(f"vote of {count}", "vote"),
    ]
    weights: dict[str, Any] = {}
    if members.validation is None or splits.validation is None or count == 1:
        return methods, weights
    labels = splits.validation.labels
    for name, choose in (
        ("weights of the validation part", ensemble.validation_weights),
        ("greedy selection", ensemble.greedy_selection),
    ):
        chosen = [choose(members.validation[:, r], labels) for r in range(repetitions)]
        methods.append(combine(name, weights=chosen))
        weights[name] = {
            member: [float(each[m]) for each in chosen] for m, member in enumerate(members.names)
        }
    return methods, weights


def ensemble_comparisons(
    members: int, together: str, alone: str, baseline: str
) -> Sequence[Comparison]:
    """The claims of the docstring, by names of methods; none for an ensemble of one network."""
    if members == 1:
        return []
    against_one = Comparison(
        "the ensemble beats one of its members",
        together,
        alone,
        published=0.006,
        source="CIFAR-10, WRN-28-10 x 4, accuracy 96.6 against 96.0",
    )
    if baseline == alone:
        return [against_one]
    claim = "the ensemble beats one network trained for as many epochs as all members"
    return [against_one, Comparison(claim, together, baseline, source="not compared")]
