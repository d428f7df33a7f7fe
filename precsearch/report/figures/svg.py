"""From matplotlib's SVG to one that is small, themed by CSS variables, and safe beside others in one page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree

from precsearch.report.figures.palette import COLORS

CLASS: Final = "precsearch-figure"
_FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_JOINERS: Final = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_NUMBER: Final = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_DOT: Final = re.compile(r"M(\S+ \S+?)L\1(?=[MLz]|$)")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_NAMES: Final = {light: name for name, (light, _) in COLORS.items()}
_PAINTS: Final = ("fill", "stroke")
# What a renderer does anyway, or what the root says for all.
_IDLE: Final = {
    "font-family": None,
    "stroke-dashoffset": "0",
    "stroke-linecap": "butt",
    "stroke-linejoin": None,
    "text-anchor": "start",
}


def themed(source: str, name: str, title: str, description: str, tips: Mapping[str, str]) -> str:
    """`source` made fit for a page.

    Args:
        source: what matplotlib's SVG backend wrote.
        name: of the figure; every id in the result begins with it.
        title: its accessible name.
        description: what a screen reader says after it.
        tips: group id in `source` -> text to show where a pointer rests on it.
    """
    read = ElementTree.fromstring(source.encode())
    width, height = (float(value) for value in read.attrib["viewBox"].split()[2:])
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": CLASS,
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
            "aria-label": title,
            "font-family": _FONTS,
            "stroke-linejoin": "round",
        },
    )
    ElementTree.SubElement(root, "desc").text = printable(description)
    style = ElementTree.SubElement(root, "style")
    used = _used(read)
    for child in read:
        root.extend(_cleaned(child, name, used, tips))
    style.text = _css({value for each in root.iter() for value in each.attrib.values()})
    return ElementTree.tostring(root, encoding="unicode")


def printable(text: str) -> str:
    """`text` in one line, without what XML refuses."""
    return "".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in text)


def _used(read: ElementTree.Element) -> set[str]:
    """Ids that something refers to."""
    found = set()
    for element in read.iter():
        for key, value in element.attrib.items():
            if key == _LINK:
                found.add(value[1:])
            found.update(_REFERENCE.findall(value))
    return found


def _cleaned(
    element: ElementTree.Element, name: str, used: set[str], tips: Mapping[str, str]
) -> list[ElementTree.Element]:
    """The element and what is in it; groups that say nothing are left out, their content is not."""
    tag = element.tag.rpartition("}")[2]
    if tag in {"style", "metadata"}:
        return []
    inside = [kept for child in element for kept in _cleaned(child, name, used, tips)]
    made = ElementTree.Element(tag, _attributes(element, name, used))
    made.text = (element.text or "").strip() or None
    tip = tips.get(element.attrib.get("id", ""))
    if tag in {"g", "defs"} and tip is None and (not inside or (tag == "g" and not made.attrib)):
        return inside
    if tag == "path" and "id" in made.attrib:  # a marker: each use of it says how it is painted
        made.attrib = {key: value for key, value in made.attrib.items() if key in {"id", "d"}}
    elif tag == "path" and made.get("fill") == "none" and "stroke" not in made.attrib:
        return []
    if tip is not None:
        ElementTree.SubElement(made, "title").text = printable(tip)
    made.extend(inside)
    return [made]


def _attributes(element: ElementTree.Element, name: str, used: set[str]) -> dict[str, str]:
    """Attributes with numbers rounded, ids prefixed, and the style as attributes, which any style sheet overrides."""
    kept = {}
    for key, value in element.attrib.items():
        if key == "id":
            if value in used:
                kept["id"] = f"{name}-{value}"
        elif key == _LINK:
            kept["href"] = f"#{name}-{value[1:]}"
        elif key == "style":
            kept |= _style(value)
        elif key == "d":
            kept["d"] = _path(value)
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        else:
            kept[key] = _REFERENCE.sub(rf"url(#{name}-\1)", _NUMBER.sub(_rounded, value))
    return kept


def _style(text: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in text.split(";") if part.strip())
    said = {key.strip(): _NUMBER.sub(_rounded, value.strip()) for key, _, value in pairs}
    return {
        key: value.removesuffix("px")
        for key, value in said.items()
        if not (key in _IDLE and _IDLE[key] in {None, value})
    }


def _path(text: str) -> str:
    """The commands without needless spaces, coordinates to a tenth of a unit."""
    short = re.sub(r" ?([MLQCzZ]) ?", r"\1", " ".join(_NUMBER.sub(_tenths, text).split()))
    return _DOT.sub(r"M\1h0", short)


def _tenths(match: re.Match[str]) -> str:
    short = f"{float(match[0]):.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _css(values: set[str]) -> str:
    """Variables for the file on its own, then a rule for each colour that is used; the page's variables win."""
    names = [name for light, name in _NAMES.items() if light in values]
    light, dark = (
        "".join(f"--{name}:{COLORS[name][theme]};" for name in dict.fromkeys([*names, "paper"])) for theme in (0, 1)
    )
    rules = "".join(
        f'.{CLASS} [{paint}="{COLORS[name][0]}"]{{{paint}:var(--{name},{COLORS[name][0]})}}'
        for name in names
        for paint in _PAINTS
    )
    return f"svg:root{{{light}background:var(--paper)}}@media (prefers-color-scheme:dark){{svg:root{{{dark}}}}}{rules}"
