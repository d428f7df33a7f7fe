"""The tables of a grid: effective compression, gaps to the float networks, and layers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from precsearch.analysis.complexity import GAP, GridGap
from precsearch.analysis.compression import ALL_CELLS, ratio_text
from precsearch.analysis.grid import point_text
from precsearch.analysis.sentences import arms_sentence
from precsearch.analysis.statistics import ALPHA
from precsearch.analysis.verdicts import VERDICTS, judge
from precsearch.report import words
from precsearch.report.page.parts import CellPart, TablePart, TablesPart

if TYPE_CHECKING:
    from precsearch.analysis.complexity import Vanishing
    from precsearch.analysis.compression import CompressionRow
    from precsearch.analysis.intervals import Interval
    from precsearch.analysis.statistics import Comparison
    from precsearch.report.arms.reading import ArmsData

_RATIO: Final = (
    "How many times larger the float network is that errs as little: its size, read off the float curve of error "
    "against size, over the size of the quantized network. ≤ and ≥ are bounds: the network is worse, or better, than "
    "every float network of the curve. Intervals resample the seeds, and stand each for itself."
)
_GAP: Final = (
    "Test error less that of the float network of the same cell and seed. Shown where a paired t test, corrected "
    "(Holm) over all networks of the arm, has p below 0.05; equivalent where both one-sided tests against "
    "`grid.margin` have. A pair with a failed training is left out."
)
_LAYER: Final = (
    "Test error added by quantizing one layer alone, all others float, on the same seeds; corrected (Holm) over all "
    "layers, bits and networks of the arm."
)
_MARKS: Final = dict(zip(VERDICTS, ("yes", "no", "same", "open"), strict=True))
_WORDS: Final = dict(zip(VERDICTS, ("better", "worse", "equivalent", "not shown"), strict=True))
_VANISHES: Final = {"yes": "yes", "no": "no", "not shown": "open"}
_N: Final = "n"


def grid_tables(runs: Sequence[ArmsData]) -> list[TablesPart]:
    """All tables of a grid, those that there is something for."""
    found = [
        TablesPart("ratios", "Effective compression", (_RATIO,), tuple(_by_arm(runs, "ratios")), tuple(_ratios(runs))),
        TablesPart("gaps", "Gap to the float network", (_GAP,), tuple(_gap_tables(runs)), tuple(_gaps(runs))),
        TablesPart("layers", "Layers alone", (_LAYER,), tuple(_by_arm(runs, "layers"))),
    ]
    return [part for part in found if part.tables]


def _by_arm(runs: Sequence[ArmsData], which: str) -> Iterator[TablePart]:
    """A table for each run and arm, of its ratios, gaps or layers."""
    for data in runs:
        rows: Sequence[Any] = getattr(data.gridded, which)
        for arm in dict.fromkeys(row.network.arm for row in rows):
            title = ", ".join(filter(None, (data.label if len(runs) > 1 else "", arm)))
            own = [row for row in rows if row.network.arm == arm]
            yield _MAKE[which](data, title, own)


def _ratio_table(_: ArmsData, title: str, rows: Sequence[CompressionRow]) -> TablePart:
    """A line for each network; what its family says stands beside what all cells say."""
    by_network = [(row, [other for other in rows if other.network == row.network and other.curve != ALL_CELLS])
                  for row in rows if row.curve == ALL_CELLS]  # fmt: skip
    families = any(others for _, others in by_network)
    headers: tuple[str, ...] = ("network", "bits", "test error (%)", "size", "by bytes", "effective", "95 % interval")
    headers += ("among", "effective there", "95 % interval") * families
    cells = []
    for row, others in by_network:
        numbers = [
            str(row.network.bits),
            f"{100 * row.error.mean:.2f}",
            words.metric_text("model_size", row.network.size),
        ]
        numbers += [ratio_text(row.nominal), row.ratio.text, row.ratio.interval_text]
        line = [CellPart(point_text(row.network.at)), *_numbers(numbers)]
        if families:
            own = others[0] if others else None
            line.append(CellPart(own.curve if own else ""))
            line += _numbers([own.ratio.text, own.ratio.interval_text] if own else ["", ""])
        cells.append(tuple(line))
    return TablePart(_upper(title), headers, tuple(cells))


def _gap_tables(runs: Sequence[ArmsData]) -> Iterator[TablePart]:
    headers = ("arm", "bits", "vanishes?", "with each doubling", "95 % interval", "p (Holm)", "in the largest",
               "95 % interval", "p (Holm)")  # fmt: skip
    for data in runs:
        rows = tuple(map(_vanishing_row, data.gridded.vanishings))
        if rows:
            title = f"{data.label}, over size" if len(runs) > 1 else "Over size"
            yield TablePart(f"{title} ({GAP.unit})", headers, rows)
    yield from _by_arm(runs, "gaps")


def _vanishing_row(found: Vanishing) -> tuple[CellPart, ...]:
    return (
        CellPart(found.arm),
        CellPart(str(found.bits), _N),
        CellPart(found.told, f"answer {_VANISHES[found.told]}"),
        *_numbers(_tested(found.slope) if found.slope is not None else ["", "", ""]),
        *_numbers(_tested(found.largest)),
    )


def _gap_table(data: ArmsData, title: str, rows: Sequence[GridGap]) -> TablePart:
    headers = ("network", "bits", "verdict", f"gap ({GAP.unit})", "95 % interval", "p (Holm)", "could have shown",
               "pairs", "left out")  # fmt: skip
    lines = []
    for row in rows:
        found, verdict = row.comparison, judge(row.comparison, GAP)
        could = "" if found.detectable is None else f"{GAP.scale * found.detectable:.{GAP.digits}f}"
        lines.append(
            (CellPart(point_text(row.network.at)), CellPart(str(row.network.bits), _N),
             CellPart(_WORDS[verdict], f"answer {_MARKS[verdict]}"),
             *_numbers([*_tested(found), could, str(found.difference.n), str(_left_out(data, row) or "")]))
        )  # fmt: skip
    sentences = tuple(_sentence(data, row) for row in rows)
    return TablePart(_upper(title), headers, tuple(lines), sentences, folded=True)


def _layer_table(_: ArmsData, title: str, rows: Sequence[GridGap]) -> TablePart:
    headers = ("network", "layer", "bits", "shown?", f"adds ({GAP.unit})", "95 % interval", "p (Holm)", "pairs")
    lines = []
    for row in rows:
        shown = row.comparison.p_holm is not None and row.comparison.p_holm < ALPHA
        mark = CellPart("shown" if shown else "not shown", f"answer {'yes' if shown else 'open'}")
        lines.append(
            (CellPart(point_text(row.network.at)), CellPart(str(row.network.layer)),
             CellPart(str(row.network.bits), _N), mark,
             *_numbers([*_tested(row.comparison), str(row.comparison.difference.n)]))
        )  # fmt: skip
    return TablePart(_upper(title), headers, tuple(lines), folded=True)


def _tested(found: Comparison) -> list[str]:
    """Mean, interval and p."""
    p = "" if found.p_holm is None else f"{found.p_holm:.2g}"
    return [GAP.text(found.difference.mean), _ends(found.difference), p]


def _ends(found: Interval) -> str:
    return "" if found.low is None or found.high is None else f"{GAP.text(found.low)} to {GAP.text(found.high)}"


def _numbers(texts: Iterable[str]) -> list[CellPart]:
    return [CellPart(text, _N) for text in texts]


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _label(row: GridGap | CompressionRow) -> str:
    return f"{row.network.arm}-{row.network.bits}"


def _left_out(data: ArmsData, row: GridGap) -> int:
    """Pairs of which a training failed."""
    labels, cell = {_label(row), row.against}, row.network.cell
    return len({each.record.index for each in data.failed if each.cell == cell and each.label in labels})


def _sentence(data: ArmsData, row: GridGap) -> str:
    at, arms = point_text(row.network.at), (_label(row), row.against)
    return arms_sentence(at, arms, GAP, row.comparison, judge(row.comparison, GAP), _left_out(data, row))


def _gaps(runs: Sequence[ArmsData]) -> Iterator[dict[str, Any]]:
    for data in runs:
        for row in data.gridded.gaps:
            found = row.comparison
            yield {
                **_start(data, row),
                "metric": GAP.metric,
                "verdict": judge(found, GAP),
                "difference": found.difference.mean,
                "low": found.difference.low,
                "high": found.difference.high,
                "seeds": found.difference.n,
                "left_out": _left_out(data, row),
                "p": found.p_holm,
                "margin": found.margin,
                "p_equivalent": found.p_equivalent,
                "detectable": found.detectable,
                "sentence": _sentence(data, row),
            }


_MAKE: Final[dict[str, Callable[[ArmsData, str, Sequence[Any]], TablePart]]] = {
    "ratios": _ratio_table,
    "gaps": _gap_table,
    "layers": _layer_table,
}


def _ratios(runs: Sequence[ArmsData]) -> Iterator[dict[str, Any]]:
    for data in runs:
        for row in data.gridded.ratios:
            yield {
                **_start(data, row),
                "metric": "effective_compression_ratio",
                "curve": row.curve,
                "ratio": row.ratio.value,
                "bound": row.ratio.bound,
                "low": row.ratio.low,
                "high": row.ratio.high,
                "seeds": row.ratio.seeds,
                "by_bytes": row.nominal,
            }


def _start(data: ArmsData, row: GridGap | CompressionRow) -> dict[str, Any]:
    each = row.network
    against = row.against if isinstance(row, GridGap) else "float"
    return {"run": data.label, "cell": each.cell, "at": point_text(each.at), "arm": _label(row), "against": against}
