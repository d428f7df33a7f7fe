"""`--json` in a real process: stdout is exactly one JSON object, whoever else writes to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import SPACE

CHATTER = """
import os, subprocess
from torch import nn

print("imported")

def net(classes):
    print("printed")
    os.write(1, b"from C\\n")
    subprocess.run(["echo", "from a child"], check=True)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))
"""


def call(home: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    ended = subprocess.run(
        [sys.executable, "-m", "precsearch", *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    return ended.returncode, json.loads(ended.stdout), ended.stderr  # a second object would be an error


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "chatty.py").write_text(CHATTER)
    return tmp_path


def test_run_and_list(home: Path) -> None:
    status, told, err = call(
        home, "run", "space.yaml", "--output", "run", "--set", "model={name: 'chatty:net'}", "--json"
    )
    assert status == told["exit_status"] == 0 and told["finished"] and told["counts"]["complete"] == 2
    for noise in ("imported", "printed", "from C", "from a child", "trial 0: complete"):
        assert noise in err
    status, listed, err = call(home, "list", "run", "--json")
    assert (status, err) == (0, "") and listed["trials"] == told["trials"]


@pytest.mark.slow
def test_errors_and_plans(home: Path) -> None:
    chatty = ("--set", "model={name: 'chatty:net'}", "--json")
    status, told, err = call(home, "run", "space.yaml", "--dry-run", *chatty)
    assert status == 0 and told["plan"]["model"] == "chatty:net" and "from C" in err
    status, told, err = call(home, "run", "space.yaml", "--set", "inner.pin.nope=3", *chatty)
    assert status == told["exit_status"] == 2 and "'nope'" in told["error"] and told["error"] in err
    status, told, err = call(home, "run", "space.yaml", "--trials", "0", "--json")
    assert status == told["exit_status"] == 2 and err == f"error: {told['error']}\n"
    status, told, err = call(home, "export", "nowhere", "--json")
    assert status == told["exit_status"] == 1 and err == f"error: {told['error']}\n"
    assert {path.name for path in home.iterdir()} - {"__pycache__"} == {"chatty.py", "space.yaml"}
