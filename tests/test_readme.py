from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from precsearch.cli import app
from precsearch.experiment.loading import load_experiment_text

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def output(name: str) -> str:
    found = re.search(rf"<!-- output: {name} -->\n```text\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def script(path: str) -> ModuleType:
    spec = spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["run", "test"])
def test_set_up_commands_are_one_line_each(name: str) -> None:
    marked = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.*)\n```$", README.read_text(), re.MULTILINE)
    assert len(marked) == 1
    assert marked[0].startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ")


@pytest.mark.slow
def test_python_block_prints_what_the_readme_shows() -> None:
    (code,) = blocks(README, "python")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # on a busy machine, threads of so small a network only wait
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)
    assert ran.returncode == 0, ran.stderr
    assert re.sub(r"\d+", "0", ran.stdout.replace(",", "")) == re.sub(r"\d+", "0", output("python").replace(",", ""))
    spent, limit = re.findall(r"([\d.]+) of ([\d.]+) bits", ran.stdout)[0]
    assert float(spent) <= float(limit)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#][^)]*)\)", page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_blocks_load(page: Path) -> None:
    for block in blocks(page, "yaml"):
        assert load_experiment_text(block, page.name).version == 1


def test_search_space_page_is_current() -> None:
    written = (ROOT / "docs" / "search-space.md").read_text()
    assert written == script("docs/make_reference.py").render(), "run `python docs/make_reference.py`"


def test_every_option_is_on_the_command_line_page() -> None:
    rows = re.findall(r"^\| (`\w+`)? ?\| (.*?) \|", (ROOT / "docs" / "command-line.md").read_text(), re.MULTILINE)
    told: dict[str, set[str]] = {}
    command = ""
    for name, options in rows:
        command = name.strip("`") or command
        told.setdefault(command, set()).update(re.findall(r"`(-[-\w]+)`", options))
    for name, click_command in get_command(app).commands.items():  # type: ignore[attr-defined]
        options = {option for parameter in click_command.params for option in parameter.opts if option.startswith("-")}
        assert told.get(name, set()) >= options - {"--help", "-h"}, name


def test_picture_is_drawn_by_its_script() -> None:
    namespace = "{http://www.w3.org/2000/svg}"
    picture = ET.parse(ROOT / "docs" / "images" / "digits.svg").getroot()
    names = [text.text for text in picture.iter(f"{namespace}text")]
    best = output("run").partition("Best allocation, trial ")[2]
    bits = re.findall(r"^(\w+) +[\d,]+ +\S+ +(\d+) +\S+ +(\d+)$", best, re.MULTILINE)
    assert bits, "the README shows the best allocation"
    drawn = [name for name in names if name is not None]
    for layer, weight, activation in bits:
        place = drawn.index(layer)
        assert drawn[place + 1 : place + 3] == [weight, activation], "run `python docs/make_readme.py`"
