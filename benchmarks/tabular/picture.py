"""Draws hypervolume against trainings, as plain SVG that follows a dark theme, and lists its points as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.tabular.contestants import Contestant

WIDTH, HEIGHT = 840, 380
LEFT, RIGHT, TOP, BOTTOM = 80, 560, 76, 320
MOST = 1200  # trainings at the right edge
LOW = 0.3  # hypervolume at the bottom
CROWDED = 10  # searches of fewer trainings stand side by side

STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .quiet { fill: #59636e; font-size: 12px; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  .line { stroke: #d0d7de; }
  .c0 { color: #cf222e; } .c1 { color: #59636e; } .c2 { color: #0969da; } .c3 { color: #54aeff; }
  .c4 { color: #8250df; } .c5 { color: #9a6700; } .c6 { color: #bf8700; } .c7 { color: #1a7f37; }
  .c8 { color: #4ac26b; } .c9 { color: #bc4c00; } .c10 { color: #bf3989; }
  .mark { fill: currentColor; } .curve { stroke: currentColor; stroke-width: 2; fill: none; }
  .whisker { stroke: currentColor; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    text { fill: #f0f6fc; } .quiet { fill: #9198a1; }
    .line { stroke: #3d444d; }
  }
"""

Measured = Callable[[Contestant], tuple[float, float]]


def draw(title: str, found: Sequence[Contestant], played: Mapping[str, Sequence[Contestant]], volume: Measured) -> str:
    """One point for each search, one curve for each rival.

    Args:
        title: of the problem.
        found: searches; those without any training are left out.
        played: rivals, by trainings.
        volume: hypervolume and half of its 95 % interval.
    """
    points = {contestant.name: [contestant] for contestant in found if contestant.trainings}
    drawn = _axes(title)
    for colour, (name, each) in enumerate({**played, **points}.items()):
        places = [(contestant.trainings, *volume(contestant)) for contestant in each]
        nudge = 1.0 + 0.06 * ((colour * 2) % 5 - 2) if each[0].trainings < CROWDED and len(each) == 1 else 1.0
        drawn += _marks([(count * nudge, mean, wide) for count, mean, wide in places], f"c{colour}")
        y = TOP + 12 + 24 * colour
        drawn.append(f'<circle cx="{RIGHT + 28}" cy="{y}" r="4.5" class="mark c{colour}"/>')
        drawn.append(_text(RIGHT + 42, y + 4, name))
    label = f"Hypervolume against trainings. {title}."
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}">',
            f"<style>{STYLE}</style>",
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" class="card"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def rows(found: Sequence[Contestant], played: Mapping[str, Sequence[Contestant]], volume: Measured) -> str:
    """The points of `draw`, from the same arguments, as the text of a CSV file."""
    text = io.StringIO()
    written = csv.writer(text, lineterminator="\n")
    written.writerow(("name", "trainings", "hypervolume", "half_interval"))
    for contestant in [*(each for kind in played.values() for each in kind), *found]:
        if contestant.trainings:
            mean, wide = volume(contestant)
            written.writerow((contestant.name, f"{contestant.trainings:g}", f"{mean:.6f}", f"{wide:.6f}"))
    return text.getvalue()


def _axes(title: str) -> list[str]:
    drawn = [
        _text(28, 34, f"Hypervolume against trainings. {title}", "title"),
        _text(28, 54, "part of the exhaustive front's; mean and 95 % interval over five seeds", "quiet"),
    ]
    for tenth in range(round(10 * LOW), 11):
        y = _y(tenth / 10)
        drawn.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" class="line"/>')
        drawn.append(_text(LEFT - 10, y + 4, f"{tenth / 10:g}", "quiet end"))
    drawn += [
        _text(_x(count), BOTTOM + 20, str(count), "quiet middle")
        for count in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    ]
    return [*drawn, _text(RIGHT, BOTTOM + 40, "trainings", "quiet end")]


def _marks(places: Sequence[tuple[float, float, float]], colour: str) -> list[str]:
    drawn = []
    for count, mean, wide in places:
        x, low, high = _x(count), _y(max(LOW, mean - wide)), _y(min(1.0, mean + wide))
        drawn.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" class="whisker {colour}"/>')
        drawn.append(f'<circle cx="{x:.1f}" cy="{_y(mean):.1f}" r="4" class="mark {colour}"/>')
    if len(places) > 1:
        steps = " L".join(f"{_x(count):.1f} {_y(mean):.1f}" for count, mean, _ in places)
        drawn.append(f'<path d="M{steps}" class="curve {colour}"/>')
    return drawn


def _x(count: float) -> float:
    return LEFT + 20 + math.log(count) / math.log(MOST) * (RIGHT - LEFT - 20)


def _y(volume: float) -> float:
    return BOTTOM - (max(LOW, volume) - LOW) / (1 - LOW) * (BOTTOM - TOP)


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'
