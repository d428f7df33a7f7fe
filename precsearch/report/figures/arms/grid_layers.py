"""What quantizing one layer alone costs, directly and after retraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from precsearch.analysis.complexity import GAP
from precsearch.analysis.grid import Grid, point_text
from precsearch.report.figures.arms import grid_marks as marks
from precsearch.report.figures.arms.grid_gap import shown
from precsearch.report.figures.base import Cell, Figure, Table
from precsearch.report.figures.marks import name_rows
from precsearch.report.figures.palette import hex_of, run_color
from precsearch.report.figures.sheet import sheet
from precsearch.report.figures.svg import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from precsearch.analysis.complexity import GridGap
    from precsearch.report.arms.reading import ArmsData
    from precsearch.report.figures.sheet import Sheet

SECTION: Final = "Layers"
_AROUND: Final = 50.0
_BAR: Final = 8.0  # height of one bit-width of a layer
_BETWEEN: Final = 8.0
_MOST_CELLS: Final = 2  # of a run, drawn
_Panel = tuple["ArmsData", "Grid", list["GridGap"]]


def layer_alone(runs: Sequence[ArmsData]) -> Figure | None:
    """Test error added by quantizing one layer alone, by layer and bits, a panel for each cell and arm."""
    found = [(run, grid, run.gridded.layers) for run, grid in marks.grids(runs, lambda grid: grid.alone)]
    panels = [panel for run, grid, rows in found for panel in _panels(run, grid, rows)]
    if not panels:
        return None
    bits = marks.widths(grid for _, grid, _ in found)
    rooms = [len(_layers(rows)) * _room(rows) + _AROUND for *_, rows in panels]
    with sheet(sum(rooms) + 24, len(panels), ratios=rooms) as page:
        for axes, (run, grid, rows) in zip(page.panels, panels, strict=True):
            axes.set_title(printable(f"{marks.prefixed_label(runs, run)}{_where(grid, rows[0])}"))
            _draw(page, axes, rows, bits)
        page.panels[-1].set_xlabel("points of test error that one layer alone adds")
        page.legend([(marks.key(place), marks.bits_text(each)) for place, each in enumerate(bits)])
        caption = _caption(runs, panels)
        name, title = "grid-layers", "What quantizing one layer alone costs"
        return Figure(name, SECTION, title, caption, _table(found), page.svg(name, title, caption))


def _panels(run: ArmsData, grid: Grid, rows: Sequence[GridGap]) -> list[_Panel]:
    """The smallest and the largest cell that have layers alone, by arm."""
    cells = list(dict.fromkeys(row.network.cell for row in sorted(rows, key=lambda row: (row.size, row.network.cell))))
    drawn = cells if len(cells) <= _MOST_CELLS else [cells[0], cells[-1]]
    groups = ([row for row in rows if (row.network.cell, row.network.arm) == (cell, arm)]
              for cell in drawn for arm in marks.ARMS)  # fmt: skip
    return [(run, grid, own) for own in groups if own]


def _layers(rows: Sequence[GridGap]) -> list[str]:
    return list(dict.fromkeys(str(row.network.layer) for row in rows))


def _room(rows: Sequence[GridGap]) -> float:
    return _BAR * len({row.network.bits for row in rows}) + _BETWEEN


def _where(grid: Grid, row: GridGap) -> str:
    return ", ".join(filter(None, [point_text(row.network.at), marks.ARMS[row.network.arm]]))


def _draw(page: Sheet, axes: Axes, rows: Sequence[GridGap], bits: Sequence[int]) -> None:
    axes.axvline(0, color=hex_of("ink"), linewidth=0.9, zorder=1)
    layers, own = _layers(rows), sorted({row.network.bits or 0 for row in rows})
    for row in rows:
        width = row.network.bits or 0
        place, difference = bits.index(width), row.comparison.difference
        y = layers.index(str(row.network.layer)) + (own.index(width) - (len(own) - 1) / 2) * _BAR / _room(rows)
        if difference.low is not None and difference.high is not None:
            ends = [marks.POINTS * difference.low, marks.POINTS * difference.high]
            axes.plot(ends, [y, y], color=hex_of(run_color(place)), linewidth=1.4, alpha=0.6)
        tip = f"{row.network.layer} alone at {marks.bits_text(width)}: {GAP.signed(difference.mean)}"
        marks.mark(page, axes, (marks.POINTS * difference.mean, y), tip, **marks.look(place, not shown(row)))
    name_rows(axes, layers, _room(rows))
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.grid(axis="x", visible=True)
    axes.grid(axis="y", visible=False)


def _caption(runs: Sequence[ArmsData], panels: Sequence[_Panel]) -> str:
    text = (
        "All other layers are float; mean over pairs of the same seed with its own 95 % interval. Filled: shown, with"
        " Holm's correction over all layers, bits and networks of the arm."
    )
    for run, grid, rows in panels:
        first = rows[0].network
        told = [each for each in run.gridded.sensitive if (each.cell, each.arm) == (first.cell, first.arm)]
        if not told:
            continue
        least = min(told, key=lambda each: each.bits)
        where = f"{marks.prefixed_label(runs, run)}{_where(grid, rows[0])}"
        carried = "the seeds carry it" if least.shown else "not shown against every other layer"
        text += f" {where[0].upper()}{where[1:]}, {marks.bits_text(least.bits)}: {least.layer} costs most,"
        text += f" {GAP.signed(least.cost.mean)}, {GAP.amount(least.over.mean)} more than {least.after} ({carried})."
    cells = {(run.label, row.network.cell) for run, _, rows in panels for row in rows}
    every = {(run.label, each.cell) for run, grid, _ in panels for each in grid.alone}
    return text + (f" Drawn: the smallest and the largest of {len(every)} networks." if every != cells else "")


def _table(found: Sequence[_Panel]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for run, _, own in found:
        for row in own:
            each, test = row.network, row.comparison
            rows.append(
                (run.label, each.cell, point_text(each.at), each.arm, each.layer, each.bits, test.difference.mean,
                 test.difference.low, test.difference.high, test.difference.n, test.p_holm)
            )  # fmt: skip
    names = ("run", "cell", "network", "arm", "layer", "bits", "added_error", "low", "high", "seeds", "p_holm")
    return Table(names, tuple(rows))
