"""What every figure must be as a drawing, whatever it shows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple
from xml.etree import ElementTree

from matplotlib.textpath import TextPath

from precsearch.report.figures import Figure
from precsearch.report.figures.palette import COLORS
from precsearch.report.figures.sheet import WIDTH

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '_a <b> & "c" $d$ \x07\n\u4e2d'


def rows(figure: Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(figure.table.to_csv())))


class Placed(NamedTuple):
    """A text and the box it fills."""

    text: str
    left: float
    right: float
    top: float
    bottom: float


@cache
def extents(text: str, size: float) -> tuple[float, float, float]:
    """Width, and the ends above the baseline."""
    box = TextPath((0, 0), text.strip("\N{ZERO WIDTH NON-JOINER}"), size=size, usetex=False).get_extents()
    return float(box.width), float(box.y0), float(box.y1)


def texts(figure: Figure) -> Iterator[Placed]:
    for element in ElementTree.fromstring(figure.svg).iter(f"{SVG}text"):
        text, size = element.text or "", float(element.attrib["font-size"])
        width, low, high = extents(text, size)
        x = float(element.attrib.get("x") or element.attrib["transform"].split("(")[1].split(" ")[0])
        y = float(element.attrib.get("y") or element.attrib["transform"].split("(")[1].rstrip(")").split(" ")[1])
        left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[element.attrib.get("text-anchor", "start")]
        yield Placed(text, left, left + width, y - high, y - low)


def check_texts(figure: Figure) -> None:
    """They lie on the sheet, and not on each other."""
    height = float(ElementTree.fromstring(figure.svg).attrib["height"])
    found = list(texts(figure))
    assert found
    for text in found:
        assert -1 <= text.left <= text.right <= WIDTH + 1, text
        assert -1 <= text.top <= text.bottom <= height + 1, text
    for one, two in combinations(found, 2):
        apart = one.right <= two.left or two.right <= one.left or one.bottom <= two.top or two.bottom <= one.top
        assert apart, (one, two)


def check_readable_on_a_phone(figure: Figure) -> None:
    """In the fonts of the page, none too small."""
    phone = 390 - 2 * 16
    elements = list(ElementTree.fromstring(figure.svg).iter(f"{SVG}text"))
    assert min(float(element.attrib["font-size"]) for element in elements) * phone / WIDTH >= 9
    assert all("font-family" not in element.attrib for element in elements)


def check_colours(figure: Figure) -> None:
    """Each has a variable for the dark, and a rule where there is no page."""
    root = ElementTree.fromstring(figure.svg)
    light = {values[0] for values in COLORS.values()}
    used = {element.attrib[paint] for element in root.iter() for paint in ("fill", "stroke") if paint in element.attrib}
    assert used - {"none"} <= light
    assert used - {"none"} <= set(re.findall(r"#[0-9a-f]{6}", str(root.findtext(f"{SVG}style"))))


def check_stands_in_any_page(figure: Figure) -> None:
    """Named and described; it runs nothing, asks for nothing, and its rules and ids reach nothing outside."""
    root = ElementTree.fromstring(figure.svg)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == figure.title
    assert root.find(f"{SVG}desc") is not None
    assert "<?xml" not in figure.svg
    assert "<script" not in figure.svg
    assert re.findall(r"https?://[^\"]+", figure.svg) == ["http://www.w3.org/2000/svg"]
    # rules begin with the class of a figure, or with an SVG that is the document
    css = str(root.findtext(f"{SVG}style")).replace("@media (prefers-color-scheme:dark){", "").replace("}}", "}")
    for selector in re.findall(r"([^{}]+)\{", css):
        assert selector.startswith((".precsearch-figure ", "svg:root")), selector
    own = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert all(each.startswith(f"{figure.name}-") for each in own)
    assert len(set(own)) == len(own)
    references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', figure.svg)
    assert {"".join(each) for each in references} == set(own)


def check_caption_and_table(figure: Figure) -> None:
    """They say what there is, and the JSON says what the CSV does."""
    assert figure.caption.endswith(".")
    assert not re.search(r"\b(nan|None|inf)\b|  ", figure.caption)
    assert figure.table.rows
    assert all(len(row) == len(figure.table.columns) for row in figure.table.rows)
    assert len(set(figure.table.columns)) == len(figure.table.columns)
    loaded = json.loads(figure.table.to_json())
    assert [tuple(row.values()) for row in loaded] == list(figure.table.rows)


CHECKS = [check_texts, check_readable_on_a_phone, check_colours, check_stands_in_any_page, check_caption_and_table]
