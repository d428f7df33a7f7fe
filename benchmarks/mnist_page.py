"""The tables of docs/mnist-front.md, from the rows that `benchmarks.mnist_front` stores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.trainings import Row, interval

ALLOWED = 0.1  # points that one training may be behind


def page(rows: Sequence[Row]) -> str:
    """Every table; what the rows lack is left out."""
    return _accuracy(rows) + _behind(rows) + _times(rows) + _allocations(rows)


def _limits(rows: Sequence[Row]) -> list[float]:
    return sorted({float(row["limit"]) for row in rows if row["limit"]})


def _of(rows: Sequence[Row], arm: str, limit: float | None = None) -> dict[str, Row]:
    """Rows of an arm at a limit, by seed."""
    return {
        row["seed"]: row
        for row in rows
        if row["arm"] == arm and (limit is None or (row["limit"] and float(row["limit"]) == limit))
    }


def _seeds(count: int) -> str:
    return f"{count} seed" + "s" * (count != 1)


def _accuracy(rows: Sequence[Row]) -> str:
    arms = [arm for arm in ("any budget", "dedicated", "uniform") if _of(rows, arm)]
    text = ""
    for what in ("validation %", "test %"):
        text += f"\n**{what.capitalize()}** (mean, standard deviation over the seeds)\n\n"
        text += "| average bits | " + " | ".join(arms) + " |\n" + "| --- " * (len(arms) + 1) + "|\n"
        for limit in _limits(rows):
            text += f"| {limit:g} | " + " | ".join(_cell(_of(rows, arm, limit), what) for arm in arms) + " |\n"
        text += f"\nFloat32: {_cell(_of(rows, 'plain'), what)}.\n"
    return text


def _cell(own: dict[str, Row], what: str) -> str:
    values = [float(row[what]) for row in own.values()]
    if not values:
        return "-"
    spread = f" ({statistics.stdev(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def _behind(rows: Sequence[Row]) -> str:
    text = "\n**Any budget less dedicated, points** (mean and 95 % interval, paired by seed)\n\n"
    text += f"| average bits | validation | test | within {ALLOWED:g} by validation | seeds |\n"
    text += "| --- | --- | --- | --- | --- |\n"
    for limit in _limits(rows):
        one, other = _of(rows, "any budget", limit), _of(rows, "dedicated", limit)
        seeds = sorted(one.keys() & other.keys())
        if len(seeds) > 1:
            cells, means = [], []
            for what in ("validation %", "test %"):
                mean, half = interval([float(one[seed][what]) - float(other[seed][what]) for seed in seeds])
                cells.append(f"{mean:+.2f} ± {half:.2f}")
                means.append((mean, half))
            text += f"| {limit:g} | {cells[0]} | {cells[1]} | {_verdict(*means[0])} | {len(seeds)} |\n"
    return text


def _verdict(mean: float, half: float) -> str:
    if mean < -ALLOWED:
        return "no" if mean + half < -ALLOWED else "not shown"
    return "yes" if mean - half >= -ALLOWED else "its mean; the interval reaches further"


def _times(rows: Sequence[Row]) -> str:
    plain, searches = _of(rows, "plain"), _of(rows, "any budget")
    seeds = sorted(plain.keys() & searches.keys())
    if not seeds:
        return ""
    floats = {seed: float(plain[seed]["search s"]) for seed in seeds}
    base = statistics.fmean(floats.values())
    text = f"\n**CPU seconds of training** (mean of {_seeds(len(seeds))})\n\n| | seconds | to one plain training |\n"
    text += "| --- | --- | --- |\n"

    def line(name: str, seconds: float) -> str:
        return f"| {name} | {seconds:.1f} | {seconds / base:.2f} |\n"

    text += line("plain float32 training", base)
    total = {seed: float(searches[seed]["search s"]) for seed in seeds}
    text += line("any budget: search", statistics.fmean(total.values()))
    for limit in reversed(_limits(rows)):
        own = {seed: float(_of(rows, "any budget", limit)[seed]["tune s"]) for seed in seeds}
        text += line(f"any budget: fine-tune at {limit:g}", statistics.fmean(own.values()))
        total = {seed: spent + own[seed] for seed, spent in total.items()}
    text += line("**any budget: the whole front**", statistics.fmean(total.values()))
    for arm in ("dedicated", "uniform"):
        own_rows = [row for row in rows if row["arm"] == arm]
        if own_rows:
            spent = [float(row["search s"]) + float(row["tune s"]) for row in own_rows]
            text += line(f"{arm}, one limit", statistics.fmean(spent))
    ratios = [total[seed] / floats[seed] for seed in seeds]
    looks = statistics.fmean(float(row["evaluation s"]) for row in rows)
    return text + (
        f"\nThe whole front to the plain training of its own seed: {min(ratios):.2f} to {max(ratios):.2f}. Not in it: "
        f"{looks:.2f} s to evaluate one network on the validation images.\n"
    )


def _allocations(rows: Sequence[Row]) -> str:
    text = "\n**Bits of each layer, weight/activation** (first seed)\n\n| average bits | any budget | dedicated |\n"
    text += "| --- | --- | --- |\n"
    for limit in _limits(rows):
        cells = []
        for arm in ("any budget", "dedicated"):
            own = _of(rows, arm, limit)
            cells.append(own[min(own)]["bits"] if own else "-")
        text += f"| {limit:g} | " + " | ".join(cells) + " |\n"
    return text
