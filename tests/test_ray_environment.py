"""A Ray cluster, storage or machine that is not as it must be: one message that says why, and nothing begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bad_inputs import SPACE
from made_runs import listing
from ray_nodes import Cluster, cluster, environment
from test_ray_connection import Listener

MISSING = "raise ImportError('No module named ray')"
SIBLING = "WIDTH = 8\n"
OWN = """\
from pathlib import Path
from torch import nn
import parts

def net(classes):
    with Path({log!r}).open("a") as file:
        file.write(parts.__file__ + "\\n")
    return nn.Sequential(nn.Flatten(), nn.Linear(64, parts.WIDTH), nn.ReLU(), nn.Linear(parts.WIDTH, classes))

def late(classes):
    import alone
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder to be in; everything is listed before and after, temporary files too."""
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "own.py").write_text(OWN.format(log=str(tmp_path / "log.txt")))
    (tmp_path / "parts.py").write_text(SIBLING)
    (tmp_path / "alone.py").write_text(SIBLING)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "tmp").mkdir()
    return tmp_path


def call(home: Path, variables: dict[str, str | None], *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(home / "tmp"),
        **variables,
    }
    env = {name: value for name, value in env.items() if value is not None}
    command = [sys.executable, "-m", "precsearch", "run", "space.yaml", "--output", "out", *arguments, "--json"]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False, timeout=200)  # type: ignore[arg-type]


def refused(home: Path, variables: dict[str, str | None], *arguments: str) -> tuple[int, str]:
    """Exit status and message of a command that has to say one thing and write nothing."""
    before = listing(home)
    done = call(home, variables, *arguments)
    told = json.loads(done.stdout)
    assert done.stderr == f"error: {told['error']}\n", done.stderr
    assert told == {"error": told["error"], "exit_status": done.returncode}
    assert "Traceback" not in done.stderr and "this is a bug" not in done.stderr
    after = listing(home)
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in after if name != "tmp")
    return done.returncode, told["error"]


# no cluster


@pytest.mark.parametrize("module", ["ray/__init__.py", "ray/tune.py"])
def test_ray_is_not_installed(home: Path, module: str) -> None:
    (home / "ray").mkdir()
    (home / "ray" / "__init__.py").touch()
    (home / module).write_text(MISSING)
    status, message = refused(home, {"PYTHONPATH": str(home)}, "--executor", "ray")
    assert status == 1
    for word in ("executor.name", "No module named ray", "pip install 'ray[default,tune]'", "--executor inprocess"):
        assert word in message


@pytest.mark.slow
def test_a_mute_port_does_not_hang_the_command(home: Path) -> None:
    started = time.monotonic()
    with Listener() as place:
        status, message = refused(home, {}, "--address", place)
    assert time.monotonic() - started < 60
    assert status == 1 and f"what listens at {place} is not Ray" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("ray://nowhere.invalid:10001", 1, "no Ray cluster answers at ray://nowhere.invalid:10001"),
        ("127.0.0.1:99999", 2, "from 1 to 65535"),
        ("auto", 1, "no Ray cluster answers at 127.0.0.1:1 (Connection refused)"),
    ],
)
def test_no_cluster_there(home: Path, address: str, status: int, says: str) -> None:
    found, message = refused(home, {"RAY_ADDRESS": "127.0.0.1:1"}, "--address", address)
    assert found == status and message.startswith("executor.address: ") and says in message


# a cluster of two nodes that asks for a token


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        made.join()
        yield made


@dataclass
class Case:
    """Arguments, of which HEAD and CLIENT are the cluster's addresses; environment; what is said."""

    arguments: list[str]
    says: list[str]
    status: int = 1
    variables: dict[str, str | None] = field(default_factory=dict)


def _set(*assignments: str, says: list[str], status: int = 2) -> Case:
    return Case(["--address", "HEAD", *(word for each in assignments for word in ("--set", each))], says, status)


NO_TOKEN: dict[str, str | None] = {"RAY_AUTH_MODE": None, "RAY_AUTH_TOKEN": None, "RAY_AUTH_TOKEN_PATH": None}
TOKEN_WANTED = ["HEAD asks for its authentication token", "`ray get-auth-token`", "RAY_AUTH_MODE=token"]
STORED = "executor.storage_path=/tmp"
CASES = {
    "tokens switched off": Case(["--address", "HEAD"], [*TOKEN_WANTED, "got none, since RAY_AUTH_MODE is 'disabled'"],
                                variables={"RAY_AUTH_MODE": "disabled"}),
    "no token": Case(["--address", "HEAD"], [*TOKEN_WANTED, "found none in RAY_AUTH_TOKEN"],
                     variables={**NO_TOKEN, "HOME": "/nowhere"}),
    "another token": Case(["--address", "HEAD"], [*TOKEN_WANTED, "got another one, that of RAY_AUTH_TOKEN;"],
                          variables={**NO_TOKEN, "RAY_AUTH_TOKEN": "6a" * 32}),
    "no token from afar": Case(["--address", "CLIENT"], ["CLIENT asks for", "got none"],
                               variables={"RAY_AUTH_MODE": "disabled"}),
    "drivers' port for ray://": Case(["--address", "ray://HEAD"], ["HEAD is a port of a Ray", "not one for ray://"]),
    "ray:// port for drivers": Case(["--address", "PLACE"], ["PLACE is a port of a Ray", "not one for drivers"]),
    "too many processors": _set("executor.resources.cpu=64", says=[
        "executor.resources", "cpu 64 and gpu 0", "the most that one of 2 has is cpu 1 and gpu 0", "ask for less"]),
    "a graphics processor": _set("executor.resources.gpu=0.5", says=["gpu 0.5", "gpu 0;"]),
    "no storage": _set("executor.name=ray", says=["executor.storage_path", "every node sees", "got none", "besides"]),
    "relative storage": _set("executor.storage_path=shared", says=["an absolute path or a URL", "'shared'"]),
    "storage below a file": _set("executor.storage_path=/dev/null/x", status=1, says=[
        "executor.storage_path", "cannot read or write /dev/null/x: Not a directory", "permissions"]),
    "storage where nobody writes": _set("executor.storage_path=/proc/precsearch", status=1, says=[
        "cannot read or write /proc/precsearch: No such file or directory"]),
    "storage of an unknown scheme": _set("executor.storage_path=foo://bar", says=["'foo://bar'", "Protocol not known"]),
    "storage without its package": _set("executor.storage_path=s3://bucket/x", says=["'s3://bucket/x'", "s3fs"]),
    "storage that nodes do not see": _set("executor.storage_path=memory://x", status=1, says=[
        "every node must see memory://x", "is not seen on", "mount the same folder"]),
    "model in no module": _set("model={name: 'nowhere:net'}", STORED, says=["No module named 'nowhere'"]),
    "module that lacks a package": _set("model={name: 'broken:net'}", STORED, says=[
        "broken", "nowhere_to_be_found"]),
    "module that nodes lack": Case(
        ["--address", "CLIENT", "--set", "model={name: 'own:late'}", "--set", STORED],
        ["a node lacks what trials need", "No module named 'alone'", "install it there", "at the top"]),
    "data that nodes lack": _set("data={name: mnist, root: /nowhere, download: false}", STORED, status=1, says=[
        "/nowhere"]),
    "budget that nothing keeps": _set("inner.budget.limit=1.5", STORED, says=["1.5", "cheapest", "costs 2"]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_environment(home: Path, running: Cluster, name: str) -> None:
    case = CASES[name]
    place = f"127.0.0.1:{running.client_port}"

    def filled(text: str) -> str:
        return text.replace("HEAD", running.address).replace("CLIENT", f"ray://{place}").replace("PLACE", place)

    status, message = refused(home, {**environment(), **case.variables}, *map(filled, case.arguments))
    assert status == case.status, message
    for word in case.says:
        assert filled(word) in message


@pytest.mark.slow
def test_another_experiment_is_refused_before_the_cluster_is_asked(home: Path) -> None:
    (home / "out").mkdir()
    (home / "out" / "experiment.yaml").write_text(SPACE.replace("limit: 3", "limit: 4"))
    status, message = refused(home, {}, "--address", "127.0.0.1:1")
    assert status == 1 and message.startswith("out holds the experiment 'tiny'") and "--output" in message


@pytest.mark.slow
def test_modules_beside_the_models_travel(home: Path, running: Cluster) -> None:
    address = f"ray://127.0.0.1:{running.client_port}"  # on one machine, drivers by HOST:PORT lend nodes their path
    variables: dict[str, str | None] = {**environment(), "RAY_AUTH_MODE": None}  # the token at hand is used
    done = call(
        home, variables, "--address", address, "--trials", "1", "--set", "model={name: 'own:net'}",
        "--set", f"executor.storage_path={home / 'shared'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["counts"] == {"complete": 1, "pruned": 0, "failed": 0}
    assert "py_modules" in (home / "log.txt").read_text()
    assert not list((home / "tmp").iterdir())
