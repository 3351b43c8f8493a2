"""Claims: verdicts in three values, the published effect beside them, rows of any age."""

import numpy as np
import pytest
from scipy import stats

from cnnlab.report.statistics import paired, paired_over_both
from cnnlab.studies import claims
from cnnlab.studies.claims import Claim


@pytest.mark.parametrize(
    ("interval", "wanted"),
    [
        ((0.1, 0.3), "reproduced"),
        ((-0.3, -0.1), "contradicted"),
        ((-0.1, 0.3), "undecided"),
        ((0.0, 0.3), "undecided"),
        (None, "undecided"),
    ],
)
def test_the_verdict_is_the_side_of_zero_that_the_interval_lies_on(interval, wanted):
    assert claims.verdict(interval) == wanted


def claim(mean, spread, published=None, **settings):
    """A claim over five seeds of differences around ``mean``."""
    values = mean + spread * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    return Claim(
        "ours beats theirs",
        "ours - theirs",
        paired(values, np.zeros(5)),
        **settings | {"published": published},
    )


def test_an_undecided_claim_says_whether_the_published_effect_is_still_possible():
    possible = claims.explain(claim(0.004, 0.02, published=0.01).to_row())
    assert possible.startswith(
        "undecided; too small to tell from the published +1.00 points, about"
    )
    excluded = claims.explain(claim(0.004, 0.02, published=0.08).to_row())
    assert excluded == "undecided; the interval excludes the published +8.00 points"
    assert claims.explain(claim(0.004, 0.02).to_row()) == "undecided"
    assert claims.explain(claim(0.5, 0.02, published=0.01).to_row()) == "reproduced"


def test_one_seed_is_undecided_and_says_so():
    figure = paired([0.2], [0.1])
    assert (
        claims.explain(Claim("a", "b", figure).to_row()) == "undecided; one seed gives no interval"
    )


def test_what_cannot_be_compared_has_no_verdict():
    row = claim(0.5, 0.02, comparable=False, note="scratch had less time").to_row()
    assert claims.explain(row) == "not comparable; scratch had less time"


def test_the_repetitions_needed_are_the_first_whose_interval_is_narrow_enough():
    row = claim(0.0, 0.02).to_row()
    deviation = np.std(row["values"], ddof=1)

    def reach(repetitions):
        return stats.t.ppf(0.975, repetitions - 1) * deviation / np.sqrt(repetitions)

    for effect in (0.5, 0.03, 0.01, 0.002):
        needed = claims.repetitions_needed(row, effect)
        assert reach(needed) < effect
        assert needed == 2 or reach(needed - 1) >= effect
    assert claims.repetitions_needed(row, -0.01) == claims.repetitions_needed(row, 0.01)


def test_nothing_is_said_of_repetitions_where_the_interval_is_not_over_seeds():
    row = claim(0.0, 0.02, over="images").to_row()
    assert claims.repetitions_needed(row, 0.01) is None
    one = Claim("a", "b", paired([0.2], [0.1])).to_row()
    assert claims.repetitions_needed(one, 0.01) is None


def test_a_line_has_the_difference_its_interval_and_the_verdict():
    (line,) = claims.lines([claim(0.02, 0.002, at="stage2").to_row()])
    low, high = stats.t.interval(
        0.95, 4, loc=2.0, scale=np.std([-0.2, -0.1, 0, 0.1, 0.2], ddof=1) / np.sqrt(5)
    )
    assert line == (
        "ours beats theirs, stage2 (ours - theirs): +2.00 points (95 % interval "
        f"{low:+.2f} to {high:+.2f}): reproduced"
    )


def test_decibels_are_not_multiplied():
    row = claim(1.5, 0.1, unit="dB").to_row()
    assert claims.difference(row).startswith("+1.50 dB (95 % interval +")


def test_a_ratio_is_shown_as_such_and_other_units_with_four_digits():
    figure = {"mean": np.log(5), "interval": [np.log(2), np.log(12.5)], "confidence": 0.95}
    row = Claim("a", "b", figure, unit="log ratio", over="by Pitman and Morgan").to_row()
    assert claims.difference(row) == (
        "5.00 times (95 % interval by Pitman and Morgan 2.00 to 12.50)"
    )
    error = {"mean": 0.004173, "interval": [0.003696, 0.004632], "confidence": 0.95}
    row = Claim("a", "b", error, unit="squared error", over="seeds and images").to_row()
    assert claims.difference(row) == (
        "+0.004173 squared error (95 % interval over seeds and images +0.003696 to +0.004632)"
    )


def test_older_rows_with_scores_get_verdicts_over_seeds_and_images():
    figure = paired_over_both(*np.random.default_rng(0).normal(20, 1, (2, 3, 9)), resamples=50)
    old = {"claim": "a beats b", "ours": "a", "theirs": "b", **figure, "verdict": "reproduced"}
    del old["both"]  # older files do not even have it
    psnr, error = claims.read_rows({"claims": [{**old, "score": s} for s in ("psnr", "error")]})
    assert psnr["interval"] == figure["both"] and psnr["over_seeds"] == figure["interval"]
    assert (psnr["over"], psnr["verdict"]) == ("seeds and images", "undecided")
    assert (psnr["difference"], psnr["unit"]) == ("PSNR: a - b", "dB")
    assert (error["difference"], error["unit"]) == ("squared error: b - a", "squared error")


def test_rows_of_before_name_the_probe_and_both_stages():
    figure = {"mean": 0.1, "interval": [0.05, 0.15], "confidence": 0.95, "verdict": "reproduced"}
    old = {"claim": "c", "at": "stage1 against stem", "method": "logistic", **figure}
    (row,) = claims.read_rows({"claims": [{**old, "interval_over": "images"}]})
    assert (row["at"], row["difference"]) == ("stage1, logistic", "accuracy: stage1 - stem")
    assert "over images by bootstrap" in claims.difference(row)
    (alone,) = claims.read_rows({"claims": [{**old, "at": "stem"}]})
    assert (alone["at"], alone["difference"]) == ("stem, logistic", "accuracy: ours - theirs")
    new = {**old, "at": "stage1, logistic probe", "difference": "d", "unit": "points"}
    (row,) = claims.read_rows({"claims": [new]})
    assert (row["at"], row["difference"]) == ("stage1, logistic probe", "d")


def test_conditions_of_a_verdict_are_its_note_once():
    figure = {"mean": 0.1, "interval": [0.05, 0.15], "confidence": 0.95, "verdict": "reproduced"}
    budget = {"epochs": 20, "seconds": 127.2, "scratch_epochs": 4, "scratch_seconds": 1804.4}
    result = {"claims": [{"claim": "c", "note": "one teacher", "third": "a third", **figure}]}
    result["claims"] += [{"claim": "c", "won": "linear", **figure}, {"claim": "c", **figure}]
    result["claims"] += [{"claim": "c", **budget, **figure}]
    rows = claims.read_rows(result)
    assert [row["note"] for row in rows] == [
        "one teacher; a third",
        "best mean: linear",
        "",
        "20 epochs in 127 s, from scratch 4 epochs in 1804 s",
    ]
    assert claims.read_rows({"claims": rows}) == rows


def test_rows_of_before_that_name_both_sides_have_a_difference():
    sides = {"ours": "rbm", "theirs": "none", "confidence": 0.95, "verdict": "reproduced"}
    gain = {"claim": "helps", **sides, "mean": 0.1, "interval": [0.05, 0.15]}
    ratio = {"claim": "varies less", **sides, "ratio": 2.0, "mean": 0.7, "interval": [0.1, 1.3]}
    rows = claims.read_rows({"claims": [gain, ratio]})
    assert [row["difference"] for row in rows] == ["rbm - none", "standard deviation: none / rbm"]
    assert [row["unit"] for row in rows] == ["points", "log ratio"]


def test_older_rows_are_read_and_get_new_verdicts():
    figure = {"mean": 0.01, "interval": [-0.02, 0.04], "confidence": 0.95, "values": [0.0, 0.02]}
    old = {"verdict": "not reproduced at this size: no difference was found"}
    named = {
        "claims": {"a beats b": {**figure, **old, "published": "5 against 6", "difference": "d"}}
    }
    (row,) = claims.read_rows(named)
    assert (row["claim"], row["verdict"], row["source"]) == (
        "a beats b",
        "undecided",
        "5 against 6",
    )
    parts = {
        "claims": {
            "deeper is worse": {
                "difference": "d",
                "train": {**figure, **old},
                "test": {**figure, **old},
            }
        }
    }
    assert [each["difference"] for each in claims.read_rows(parts)] == [
        "train error: d",
        "test error: d",
    ]
    overlaps = {"0.5": {**figure, **old}, "0.75": {**figure, **old}}
    boxes = {"claims": {"boxes matter": {"difference": "d", "overlaps": overlaps}}}
    assert [each["at"] for each in claims.read_rows(boxes)] == ["IoU 0.5", "IoU 0.75"]
    budget = {"claim": "c", **figure, "verdict": "not comparable: scratch had less"}
    (row,) = claims.read_rows({"claims": [budget]})
    assert claims.explain(row) == "not comparable; scratch had less"


def test_a_row_that_was_written_is_read_as_it_is():
    row = claim(0.02, 0.002, published=0.01, at="stage2").to_row()
    (back,) = claims.read_rows({"claims": [row]})
    assert {name: back[name] for name in row} == row
