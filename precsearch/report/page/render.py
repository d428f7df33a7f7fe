"""Laying the page out: one HTML text with its style, its script and its drawings inside."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from precsearch.report.figures.palette import COLORS

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from precsearch.report.page.content import Page

_FILES: Final = resources.files(__package__) / "files"


def render(page: Page) -> str:
    """The HTML of the page; equal pages give equal texts."""
    script = _file("page.js")
    return _environment().get_template("page.html.jinja").render(
        page=page, policy=_policy(script), style=_style(), script=script
    )  # fmt: skip


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["ours"] = Markup  # style, script and drawings: written by us, not by names in an experiment
    return environment


def _prose(sentence: str) -> Markup:
    """A sentence whose commands and keys, in backticks, are set as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


@cache
def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Nothing is loaded from anywhere, and no script runs but the one with this sum."""
    # the element's text begins with the template's line break
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    """The colours of the drawings, which the page shares, then its own style."""
    light = " ".join(f"--{name}: {colors[0]};" for name, colors in COLORS.items())
    dark = " ".join(f"--{name}: {colors[1]};" for name, colors in COLORS.items())
    return (
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{_file('page.css')}"
    )
