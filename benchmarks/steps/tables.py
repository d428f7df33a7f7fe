"""What was measured, as the page has it."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.steps.contestants import PLAIN, layout_of
from benchmarks.steps.memory import MEASURES

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"


def ratios(seconds: dict[str, list[list[float]]], name: str, base: str) -> str:
    """Median and minimum of the rounds' ratios of CPU time."""
    each = [own[0] / of[0] for own, of in zip(seconds[name], seconds[base], strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f})"


def net_table(net: str, figures: dict[str, Any]) -> str:
    """Of one network: time and, where measured, memory."""
    seconds = figures["seconds"]
    head = f"{net}, {figures['parameters'] / 1000:.0f} k, batch {figures['batch']}"
    lines = [
        f"| {head} | ms | to float32 | to float32, same layout | peak memory to float32 | of tensors alone | GPU |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, times in seconds.items():
        took = statistics.median(cpu for cpu, _ in times) * 1000
        cells = [f"{took:.1f}", ratios(seconds, name, PLAIN), ratios(seconds, name, f"float32, {layout_of(name)}")]
        cells += [share(figures.get(kind, {}), name) for kind in MEASURES]
        lines.append(f"| {name} | {' | '.join(cells)} | not measured |")
    for name, why in figures.get("left_out", {}).items():
        lines.append(f"| {name} | left out: {why} | | | | | |")
    return "\n".join(lines)


def share(sizes: dict[str, int], name: str) -> str:
    """A contestant's memory as part of plain float32's, where both were measured."""
    return f"{sizes[name] / sizes[PLAIN]:.2f}" if name in sizes and PLAIN in sizes else "-"


def page(stored: dict[str, Any]) -> str:
    """Every table, and where it was measured."""
    parts = []
    for net, figures in stored.items():
        rounds = len(next(iter(figures["seconds"].values())))
        parts.append(f"{net_table(net, figures)}\n\n{rounds} rounds; {figures['where']}.")
    return "\n\n".join(parts)


def renew(file: Path, mark: str, text: str) -> None:
    """Replace what stands between a page's marks.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = BEGIN.format(mark), END.format(mark)
    before, found, rest = file.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{file} must have the lines {begin} and {end}, but got neither or one")
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
