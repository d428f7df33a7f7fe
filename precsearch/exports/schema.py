"""The JSON Schema of an allocation, format 1: published in the package, made from the models that read it.

``python -m precsearch.exports.schema`` writes it anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from precsearch.allocation import FORMAT, VERSION, Allocation
from precsearch.files import json_text, write_text

SCHEMA_FILE: Final = Path(__file__).parent.parent / "schemas" / f"allocation-{VERSION}.schema.json"
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_COMMENT: Final = (
    "What no schema can say, precsearch checks when it reads: each layer is named once, `tied_to` names a layer before "
    "it, numbers are finite, and whole numbers are written without a point."
)


def allocation_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of an allocation in JSON format 1, as it is published in the package.

    Everything that `Allocation.to_json` writes keeps it, and `Allocation.from_json` refuses what does not. The file is
    ``precsearch/schemas/allocation-1.schema.json`` in the installed package.
    """
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def make_schema() -> dict[str, Any]:
    """The schema, from the models."""
    made = Allocation.model_json_schema()
    kinds = {name: _described(kind) for name, kind in sorted(made.pop("$defs").items())}
    top = _described(made)
    top["properties"]["format"] = {"const": FORMAT, "description": top["properties"]["format"]["description"]}
    top["properties"]["version"] = {"const": VERSION, "description": top["properties"]["version"]["description"]}
    top["required"] = ["format", "version", *top["required"]]  # a document says what it is; the models need not
    return {
        "$schema": _DRAFT,
        "$id": f"urn:precsearch:allocation:{VERSION}",
        "$comment": _COMMENT,
        "title": f"precsearch allocation, JSON format {VERSION}",
        **top,
        "$defs": kinds,
    }


def _described(kind: dict[str, Any]) -> dict[str, Any]:
    """A model's schema with each attribute's description beside it, and no titles, which say the names again."""
    said, _, attributes = str(kind["description"]).partition("\n\nAttributes:\n")
    lines = dict(re.findall(r"^ {4}(\w+): ((?:.|\n {5,})*)", attributes, re.MULTILINE))
    properties = {
        name: {key: value for key, value in each.items() if key != "title"}
        | ({"description": " ".join(lines[name].split())} if name in lines else {})
        for name, each in kind["properties"].items()
    }
    return {
        "description": " ".join(said.split()),
        "type": "object",
        "properties": properties,
        "required": kind["required"],
        "additionalProperties": False,
    }


if __name__ == "__main__":
    write_text(SCHEMA_FILE, json_text(make_schema()))
