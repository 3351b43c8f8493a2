"""Claims and their verdicts: one row of result.json for each, and one way to render it.

    claim = Claim(
        "snapshots beat the single network",
        "accuracy: snapshots - single",
        paired(snapshots, single),
        published=0.0383,
        source="CIFAR-100, ResNet-110, error 28.02 -> 24.19",
    )

A claim says that a difference is positive. Its verdict is *reproduced* where the whole interval
lies above zero, *contradicted* where it lies below, and *undecided* where it holds zero; then
its text has whether the interval holds the published effect, and how many repetitions would decide.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnlab.report.statistics import over_both

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NOT_COMPARABLE = "not comparable"

_SCORES = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", "SSIM"),
    "error": ("squared error", "squared error"),
    "saturation": ("saturation", "saturation"),
}
"""Of the ``score`` of rows that were written before they had units -> its name and unit."""
_SCALES = {"points": 100, "dB": 1}
_OVER = {
    "seeds": "",
    "images": "over images by bootstrap",
    "seeds and images": "over seeds and images",
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A difference that a claim states to be positive.

    Attributes:
      text: the claim in words.
      difference: what is subtracted from what, such as "test error: plain56 - plain20".
      figure: its ``mean``, ``interval`` (None for one seed) and ``confidence``, as
        ``report.statistics.paired`` gives them, perhaps with more.
      at: where it was tested, such as a stage or a part of the classes.
      published: the published difference, in the unit of ``mean``; None where there is none.
      source: the published figures and where they are from, as text.
      over: what the interval is over: "seeds", "images", "seeds and images", or other words.
      unit: "points" for differences of fractions, "dB", "log ratio", or another one's name.
      note: a condition of the verdict, such as unequal budgets.
      comparable: False where the two sides cannot be compared at all; ``note`` says why.
      extra: further fields of the row.
    """

    text: str
    difference: str
    figure: Mapping[str, Any]
    at: str = ""
    published: float | None = None
    source: str = ""
    over: str = "seeds"
    unit: str = "points"
    note: str = ""
    comparable: bool = True
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One of "reproduced", "contradicted", "undecided"; "not comparable" for no verdict."""
        return verdict(self.figure["interval"]) if self.comparable else NOT_COMPARABLE

    def to_row(self) -> dict[str, Any]:
        """The claim as a row of result.json."""
        return {
            "claim": self.text,
            "at": self.at,
            "difference": self.difference,
            **self.extra,
            **self.figure,
            "published": self.published,
            "source": self.source,
            "over": self.over,
            "unit": self.unit,
            "verdict": self.verdict,
            "note": self.note,
        }


def verdict(interval: Sequence[float] | None) -> str:
    """The verdict on the claim that a difference is positive.

    Args:
      interval: the ends of the difference's interval; None where there was one seed only.
    """
    if interval is None or interval[0] <= 0 <= interval[1]:
        return UNDECIDED
    return REPRODUCED if interval[0] > 0 else CONTRADICTED


def repetitions_needed(row: Mapping[str, Any], effect: float) -> int | None:
    """How many repetitions would tell an effect of this size from none.

    It is the smallest number R at which Student's interval, of the standard deviation that was
    measured, is narrower than the effect on either side. None where nothing is known of it: of an
    interval that is not over seeds, or of fewer than two of them; and beyond a million.

    Args:
      row: with ``values``, one difference a repetition, and ``confidence``.
      effect: in the unit of the values.
    """
    from scipy import stats  # noqa: PLC0415 scipy.stats is slow to import

    values = row.get("values")
    if row.get("over", "seeds") != "seeds" or not values or len(values) < 2 or not effect:
        return None
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    level = (1 + row["confidence"]) / 2

    def tells(repetitions: int) -> bool:
        reach: float = stats.t.ppf(level, repetitions - 1) * deviation / math.sqrt(repetitions)
        return reach < abs(effect)

    high = 2
    while not tells(high):
        if high > 10**6:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high


def explain(row: Mapping[str, Any]) -> str:
    """The verdict of a row with what it leaves open: the published effect, the note."""
    parts = [row["verdict"]]
    published, interval = row.get("published"), row["interval"]
    if row["verdict"] == UNDECIDED:
        if interval is None:
            parts.append("one seed gives no interval")
        elif isinstance(published, float | int):
            effect = _with_unit(published, row)
            if interval[0] <= published <= interval[1]:
                needed = repetitions_needed(row, published)
                more = "" if needed is None else f", about {needed} repetitions would tell"
                parts.append(f"too small to tell from the published {effect}{more}")
            else:
                parts.append(f"the interval excludes the published {effect}")
    if row.get("note"):
        parts.append(row["note"])
    return "; ".join(parts)


def difference(row: Mapping[str, Any]) -> str:
    """The difference of a row as text: ``+1.20 points (95 % interval +0.35 to +2.05)``."""
    if row["mean"] is None:
        return "not measured"
    text = _with_unit(row["mean"], row)
    if row["interval"] is None:
        return text
    low, high = (_number(end, row) for end in row["interval"])
    over = row.get("over", "seeds")
    named = " ".join(
        filter(None, [f"{100 * row.get('confidence', 0.95):g} % interval", _OVER.get(over, over)])
    )
    return f"{text} ({named} {low} to {high})"


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every claim as a line of text."""
    return [
        f"{row['claim']}{_place_text(row)} ({row['difference']}): {difference(row)}: {explain(row)}"
        for row in rows
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The claims as a table: a head, then claim, difference, published, measured, verdict."""
    head = ["claim", "difference", "published", "measured", "verdict"]
    return [
        head,
        *(
            [
                f"{row['claim']}{_place_text(row)}",
                row["difference"],
                row.get("source") or _published(row),
                difference(row),
                explain(row),
            ]
            for row in rows
        ),
    ]


def read_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The claims of a result.json, also of one that was written before rows had one shape.

    Verdicts are taken anew from the intervals.
    """
    claims = result.get("claims") or []
    named = (
        claims.items() if isinstance(claims, Mapping) else ((row["claim"], row) for row in claims)
    )
    return [row for text, fields in named for row in _read(text, fields)]


def _read(text: str, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "overlaps" in fields:  # a difference for each IoU from which on a box is right
        for overlap, figure in fields["overlaps"].items():
            own = {**fields, "at": f"IoU {overlap}", **figure}
            yield from _read(text, {name: own[name] for name in own if name != "overlaps"})
        return
    if "interval" not in fields:  # a difference for each part of the data
        for part, figure in fields.items():
            if isinstance(figure, Mapping):
                for row in _read(text, {**fields, **figure}):
                    row["difference"] = f"{part} error: {row['difference']}"
                    yield row
        return
    row = {"claim": text, "at": "", "difference": "", "source": "", "note": "", "unit": "points"}
    row |= fields
    published = fields.get("published")
    if isinstance(published, str):
        row |= {"published": None, "source": published}
    if not row["at"]:
        places = ("amount", "similarity", "cut", "at")
        row["at"] = ", ".join(str(fields[name]) for name in places if fields.get(name))
    row["over"] = fields.get("over", fields.get("interval_over", "seeds"))
    if "unit" not in fields:
        row |= _older_fields(fields)
    if str(fields["verdict"]).startswith(NOT_COMPARABLE):
        row["verdict"] = NOT_COMPARABLE
        row["note"] = row["note"] or fields["verdict"].partition(": ")[2]
    else:
        row["verdict"] = verdict(row["interval"])
        if not row["note"] and "(" in fields["verdict"]:
            row["note"] = fields["verdict"].partition("(")[2].rstrip(")")
    notes = [row["note"], *(each for each in _conditions(fields) if each not in row["note"])]
    row["note"] = "; ".join(filter(None, notes))
    yield row


def _conditions(fields: Mapping[str, Any]) -> Iterator[str]:
    """The conditions of a verdict, in words, from the row's further fields."""
    if fields.get("third"):
        yield fields["third"]
    if fields.get("won"):
        yield f"best mean: {fields['won']}"
    if "scratch_epochs" in fields:
        ours, scratch = (
            f"{fields[f'{side}epochs']} epochs in {fields[f'{side}seconds']:.0f} s"
            for side in ("", "scratch_")
        )
        yield f"{ours}, from scratch {scratch}"


def _older_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The difference, unit and interval of a row that was written before rows had units."""
    row: dict[str, Any] = {}
    ours, theirs = fields.get("ours"), fields.get("theirs")
    if "method" in fields:  # a probe at a stage, perhaps against another stage
        place, _, other = str(fields.get("at", "")).partition(" against ")
        row["at"] = f"{place}, {fields['method']}"
        row["difference"] = f"accuracy: {place} - {other}" if other else "accuracy: ours - theirs"
    if "score" in fields:  # the interval was over seeds alone, the verdict was not
        name, row["unit"] = _SCORES[fields["score"]]
        left, right = (theirs, ours) if fields["score"] == "error" else (ours, theirs)
        row |= {"difference": f"{name}: {left} - {right}", "over": "seeds and images"}
        row |= {"over_seeds": fields["interval"], "interval": over_both(fields)}
    elif "ratio" in fields:
        row |= {"difference": f"standard deviation: {theirs} / {ours}", "unit": "log ratio"}
    elif theirs is not None and "difference" not in fields:
        row["difference"] = f"{ours} - {theirs}"
    return row


def _place_text(row: Mapping[str, Any]) -> str:
    return f", {row['at']}" if row.get("at") else ""


def _published(row: Mapping[str, Any]) -> str:
    return "" if row.get("published") is None else _with_unit(row["published"], row)


def _with_unit(value: float, row: Mapping[str, Any]) -> str:
    unit = row.get("unit", "points")
    return f"{_number(value, row)} {'times' if unit == 'log ratio' else unit}"


def _number(value: float, row: Mapping[str, Any]) -> str:
    unit = row.get("unit", "points")
    if unit == "log ratio":
        return f"{math.exp(value):.2f}"
    return f"{_SCALES[unit] * value:+.2f}" if unit in _SCALES else f"{value:+.4g}"
