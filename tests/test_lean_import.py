from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import make_run
from real_trials import Recorder, experiment

import precsearch
from precsearch.trial import inspect_trial, run_trial

HEAVY = {"torch", "optuna", "ray", "torchvision", "matplotlib", "sklearn", "scipy"}


def loaded(code: str) -> set[str]:
    """Top-level modules loaded by `code` in a fresh interpreter."""
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_precsearch_loads_nothing_heavy() -> None:
    assert not loaded("import precsearch") & (HEAVY | {"pydantic", "numpy", "rich", "typer", "yaml"})


def test_help_loads_nothing_heavy() -> None:
    code = "import precsearch.cli as c\ntry: c.main(['run', '--help'])\nexcept SystemExit: pass"
    assert not loaded(code) & (HEAVY | {"numpy", "rich", "yaml"})


@pytest.mark.parametrize("command", ["list", "show", "export"])
def test_reading_a_run_loads_nothing_heavy(tmp_path: Path, command: str) -> None:
    make_run(tmp_path / "made")
    call = f"c.main([{command!r}, {str(tmp_path / 'made')!r}])"
    code = f"import precsearch.cli as c\ntry: {call}\nexcept SystemExit as e: assert e.code == 0"
    assert not loaded(code) & HEAVY


def test_a_report_loads_no_torch_and_no_ray(tmp_path: Path) -> None:
    make_run(tmp_path / "made")
    call = f"c.main(['report', {str(tmp_path / 'made')!r}])"
    code = f"import precsearch.cli as c\ntry: {call}\nexcept SystemExit as e: assert e.code == 0"
    assert not loaded(code) & {"torch", "torchvision", "ray"}


def test_reading_results_loads_nothing_heavy() -> None:
    rooms = sorted(path.stem for path in (Path(precsearch.__file__).parent / "analysis").glob("*.py"))
    code = "\n".join(f"import precsearch.analysis.{room}" for room in rooms if room != "__init__")
    assert "verdicts" in code
    assert not loaded(code) & (HEAVY | {"moocore"})


def test_a_worker_loads_what_it_needs() -> None:
    assert not loaded("import precsearch.trial") & {"optuna", "ray", "torchvision", "matplotlib", "sklearn", "scipy"}


def test_what_workers_send_loads_nothing_heavy(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    sent = [run_trial(experiment(), recorder), inspect_trial(experiment()), *recorder.told]
    (tmp_path / "sent").write_bytes(pickle.dumps(sent))
    code = f"import pickle; pickle.load(open({str(tmp_path / 'sent')!r}, 'rb'))"
    assert not loaded(code) & HEAVY


@pytest.mark.parametrize("name", [name for name in precsearch.__all__ if not name.startswith("__")])
def test_every_public_name_is_found(name: str) -> None:
    assert name in dir(precsearch)
    assert getattr(precsearch, name).__name__ == name


def test_the_facade_says_the_same_to_editors() -> None:
    text = Path(precsearch.__file__).read_text()
    for name, home in precsearch._HOMES.items():
        assert f"from {home} import {name} as {name}\n" in text
    assert text.count(" import ") - 3 == len(precsearch._HOMES) == len(set(precsearch._HOMES))


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        precsearch.nope  # noqa: B018
