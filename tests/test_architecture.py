from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

# design, section 4: a file imports only from lines above its own
LISTING = [
    "errors", "files", "documents", "allocation", "torchvision_import", "imports", "space", "plans", "records",
    "results", "measured", "experiment", "selection", "quantization", "precision", "layers", "conversion",
    "searchable", "data", "models", "training", "evaluation", "trial", "study", "analysis", "report", "exports",
    "commands", "arms", "options", "cli", "__main__",
]  # fmt: skip
LIGHT = {"errors", "files", "documents", "allocation", "imports", "space", "plans", "records", "results", "measured",
         "experiment", "selection", "torchvision_import", "analysis", "report", "exports", "commands", "arms",
         "options", "cli", "__init__"}  # fmt: skip
HEAVY = {"torch", "torchvision", "optuna", "ray", "matplotlib"}
HEAVY_ROOMS = ("exports.network",)  # of a light one
ROOT = Path(__file__).parent.parent / "precsearch"
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names that one import statement may load: the module, and each name in case it is a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute: they say where a name lives"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_top(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: no function bodies, nothing for type checkers only."""
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if lazy or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            continue
        yield child
        yield from at_top(child)


def module(dotted: str) -> str | None:
    """The file behind `precsearch.a.b` or `precsearch.a.b.name`; None outside precsearch."""
    inside = dotted.removeprefix("precsearch.")
    tried = (inside, f"{inside}.__init__", inside.rpartition(".")[0], f"{inside.rpartition('.')[0]}.__init__")
    return next((name for name in tried if name in FILES), None) if inside != dotted else None


@pytest.mark.parametrize("name", [name for name in FILES if name != "__init__"])
def test_imports_come_from_lines_above(name: str) -> None:
    own = name.partition(".")[0]
    for node in ast.walk(TREES[name]):
        for found in filter(None, map(module, imported(node))):
            line = found.partition(".")[0]
            assert line == own or LISTING.index(line) < LISTING.index(own), f"{name} imports {found}"


def test_no_cycles() -> None:
    graph = {
        name: {found for node in at_top(tree) for found in map(module, imported(node)) if found not in {None, name}}
        for name, tree in TREES.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.partition(".")[0] in LIGHT and not name.startswith(HEAVY_ROOMS)]
)
def test_nothing_heavy_at_the_top(name: str) -> None:
    tops = {found.partition(".")[0] for node in at_top(TREES[name]) for found in imported(node)}
    assert not tops & HEAVY


def test_executors_do_not_know_each_other() -> None:
    folder = "study.executors."
    for name in FILES:
        if name.startswith(folder) and not name.endswith("__init__"):
            found = {module(dotted) for node in ast.walk(TREES[name]) for dotted in imported(node)}
            assert {each for each in found if each and each.startswith(folder)} <= {f"{folder}base"}, name


@pytest.mark.parametrize("name", FILES)
def test_rooms_are_small(name: str) -> None:
    assert len(FILES[name].read_text().splitlines()) < 250
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 < 50, node.name
