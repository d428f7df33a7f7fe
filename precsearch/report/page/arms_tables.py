"""The tables of a comparison: every verdict, every mean, where the bits lie, and what disturbances do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from precsearch.analysis.arms import COSTS, DRAWN, GAP, METRICS, arm_measure
from precsearch.report import words
from precsearch.report.arms.claims import claim_dict
from precsearch.report.page.grid_tables import grid_tables
from precsearch.report.page.parts import CellPart, TablePart, TablesPart

if TYPE_CHECKING:
    from precsearch.analysis.arm_claims import ArmClaim
    from precsearch.analysis.arms import Arm, MeanRow
    from precsearch.analysis.intervals import Interval
    from precsearch.analysis.verdicts import Verdict
    from precsearch.report.arms.reading import ArmsData

MARKS: Final[dict[Verdict, str]] = {
    "shown better": "yes", "shown worse": "no", "equivalent": "same", "not shown": "open",
}  # fmt: skip
_OPEN: Final = METRICS[:3]  # metrics whose verdicts are not folded
_RULE: Final = (
    "Differences are those of the first arm less the second, on the same seeds, in the same cell. One is shown where a "
    "paired t test, corrected (Holm) over all comparisons of its metric in the run, has p below 0.05; the arms are "
    "equivalent where both one-sided tests against the margin have, and else it is not shown. A pair with a failed "
    "training is left out."
)
_MEANS: Final = (
    "Means over seeds, ± half of the 95 % interval. A stochastic arm is measured twice: frozen, at its most likely "
    "allocation, and as the mean over draws."
)
_BITS: Final = (
    "Distance: bits a layer from the nearest uniform allocation, the mean absolute difference from the median layer."
)
_DISTURBED: Final = (
    "Accuracy in %, means over seeds ± half of the 95 % interval; perturbations in units of inputs that span 0 to 1. "
    "No network was trained to withstand attacks. Where a masking check fails, accuracy under attack may be that of an "
    "attack that fails."
)
_N: Final = "n"


def compare_tables(runs: Sequence[ArmsData]) -> list[TablesPart]:
    """All tables of a comparison, those that there is something for."""
    found = [
        TablesPart("verdicts", "Verdicts", (_RULE,), tuple(_verdicts(runs)), tuple(_told(runs))),
        TablesPart("means", "Means", (_MEANS,), tuple(_each(runs, _means))),
        TablesPart("allocations", "Allocations", (_BITS,), tuple(_each(runs, _allocations))),
        TablesPart("disturbed", "Attack, noise, corruption, flipped bits", (_DISTURBED,), tuple(_disturbed(runs))),
    ]
    return [part for part in found if part.tables]


# kind -> its tables; none where there is nothing
TABLES: Final[dict[str, Callable[[Sequence[ArmsData]], list[TablesPart]]]] = {
    "compare": compare_tables,
    "grid": grid_tables,
}


def _verdicts(runs: Sequence[ArmsData]) -> Iterator[TablePart]:
    for metric in METRICS:
        claims = [(data, claim) for data in runs for claim in data.compared.claims[metric]]
        if claims:
            title = claims[0][1].measure.words
            yield _claims_table(title[0].upper() + title[1:], claims, len(runs) > 1, folded=metric not in _OPEN)


def _disturbed(runs: Sequence[ArmsData]) -> Iterator[TablePart]:
    yield from _each(runs, _conditions)
    every = [(data, claim) for data in runs for claim in data.compared.disturbed_claims]
    for told in dict.fromkeys(claim.measure for _, claim in every):
        own = [(data, claim) for data, claim in every if claim.measure == told]
        table = _claims_table(f"Differences in {told.words}", own, len(runs) > 1, folded=True)
        yield replace(table, sentences=tuple(claim.sentence for _, claim in own if claim.caveat))


def _claims_table(title: str, claims: Sequence[tuple[ArmsData, ArmClaim]], several: bool, folded: bool) -> TablePart:
    told = claims[0][1].measure
    unit = f" ({told.unit})" if told.unit else ""
    at = any(claim.at for _, claim in claims)
    headers = ("run",) * several + ("do they differ?", "arm", "less") + ("at",) * at
    headers += (f"difference{unit}", "95 % interval", "p (Holm)", "could have shown", "pairs", "left out")
    rows = []
    for data, claim in claims:
        found, each = claim.comparison, claim.differences
        start = [CellPart(data.label)] * several + [CellPart(claim.told, f"answer {MARKS[claim.verdict]}")]
        start += [CellPart(each.arm.name), CellPart(each.against.name)] + [CellPart(claim.at)] * at
        numbers = (
            told.text(found.difference.mean),
            _ends(found.difference, told.text),
            "" if found.p_holm is None else f"{found.p_holm:.2g}",
            "" if found.detectable is None else told.amount(found.detectable).removesuffix(f" {told.unit}"),
            str(found.difference.n),
            str(each.left_out or ""),
        )
        rows.append((*start, *(CellPart(number, _N) for number in numbers)))
    return TablePart(title, headers, tuple(rows), tuple(claim.sentence for _, claim in claims), folded)


def _told(runs: Sequence[ArmsData]) -> Iterator[dict[str, Any]]:
    for data in runs:
        compared = data.compared
        for claim in (*(claim for found in compared.claims.values() for claim in found), *compared.disturbed_claims):
            yield {"run": data.label, **claim_dict(claim)}


def _each(runs: Sequence[ArmsData], make: Callable[[ArmsData, int], Iterable[TablePart]]) -> Iterator[TablePart]:
    """The tables of every run and cell, with these in their titles where there are several."""
    for data in runs:
        for cell, place in data.places.items():
            for part in make(data, cell):
                title = ", ".join(filter(None, (data.label if len(runs) > 1 else "", place, part.title)))
                yield replace(part, title=title)


def _means(data: ArmsData, cell: int) -> Iterator[TablePart]:
    rows = [row for row in data.compared.means if row.cell == cell]
    by_arm: dict[Arm, dict[str, MeanRow]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, {})[row.metric] = row
    metrics = [metric for metric in (*METRICS, *COSTS) if any(metric in found for found in by_arm.values())]
    if not metrics:
        return
    spent = data.compared.spent
    headers = ("arm", *map(_header, metrics), "of the budget", "seeds", "failed")
    cells = []
    for arm, found in by_arm.items():
        any_row = next(iter(found.values()))
        numbers = [_level(metric, found[metric].interval) if metric in found else "" for metric in metrics]
        own = "" if arm.kind == DRAWN else spent.get((cell, arm.arm), "")
        numbers += [own, str(any_row.interval.n), str(any_row.failed or "")]
        cells.append((CellPart(arm.name), *(CellPart(number, _N) for number in numbers)))
    yield TablePart("", headers, tuple(cells))


def _header(metric: str) -> str:
    if metric in COSTS:
        return words.metric_header(metric)
    told = arm_measure(metric)
    unit = "%" if told.unit == "points" and metric != GAP else told.unit
    return f"{told.words} ({unit})" if unit else told.words


def _level(metric: str, found: Interval) -> str:
    if metric in COSTS:
        return words.metric_text(metric, found.mean)
    told = arm_measure(metric)
    return _plus_minus(found, told.scale, told.digits)


def _plus_minus(found: Interval, scale: float, digits: int) -> str:
    """`1.23 ± 0.04`; the mean alone where there is no interval."""
    mean = f"{scale * found.mean:.{digits}f}"
    return mean if found.high is None else f"{mean} ± {scale * (found.high - found.mean):.{digits}f}"


def _ends(found: Interval, text: Callable[[float], str]) -> str:
    return "" if found.low is None or found.high is None else f"{text(found.low)} to {text(found.high)}"


def _allocations(data: ArmsData, cell: int) -> Iterator[TablePart]:
    rows = [row for row in data.compared.uniformity if row.cell == cell]
    if not rows:
        return
    headers = ("arm", "of", "mean bits", "distance (bits a layer)", "seeds", "of them uniform")
    yield TablePart("", headers, tuple(
        (CellPart(row.arm), CellPart(row.target), *(CellPart(number, _N) for number in (
            _plus_minus(row.bits, 1, 2), _plus_minus(row.distance, 1, 2), str(row.distance.n), str(row.exact))))
        for row in rows
    ))  # fmt: skip
    layers = [row for row in data.compared.bits if row.cell == cell]
    yield TablePart(
        "layer by layer",
        ("arm", "of", "layer", "mean bits", "sd over seeds", "fewest", "most"),
        tuple(
            (CellPart(row.arm), CellPart(row.target), CellPart(row.layer), *(CellPart(number, _N) for number in (
                f"{row.mean:.2f}", f"{row.sd:.2f}", str(min(row.bits)), str(max(row.bits)))))
            for row in layers
        ),
        folded=True,
    )  # fmt: skip


def _conditions(data: ArmsData, cell: int) -> Iterator[TablePart]:
    rows = [row for row in data.compared.disturbed_means if row.cell == cell]
    arms = [arm for arm in data.compared.arms if any(row.arm == arm for row in rows)]
    found = {(row.condition, row.arm): row for row in rows}
    if not rows:
        return
    lines = []
    shown = (row.condition for row in rows if row.condition.size != 0)  # undisturbed stands in the table of means
    for condition in dict.fromkeys(shown):
        told = condition.measure()
        own = [found.get((condition, arm)) for arm in arms]
        texts = ["" if row is None else _plus_minus(row.interval, told.scale, 1 if told.unit else 4) for row in own]
        lines.append((CellPart(condition.words), *(CellPart(text, _N) for text in texts)))
    caveats = {arm: next((row.caveat for row in rows if row.arm == arm and row.caveat), "") for arm in arms}
    checked = {arm: max(row.checked for row in rows if row.arm == arm) for arm in arms}
    if any(checked.values()):
        texts = [caveats[arm] or (f"none failed in {checked[arm]}" if checked[arm] else "") for arm in arms]
        lines.append((CellPart("masking checks"), *(CellPart(text, "long") for text in texts)))
    yield TablePart("", ("under", *(arm.name for arm in arms)), tuple(lines))
