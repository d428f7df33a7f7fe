"""Joining a Ray cluster and asking its nodes, in the small: what is said of each answer. No cluster is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ray_nodes import TOKEN, free_port

from precsearch.errors import ClusterError, ConfigurationError
from precsearch.experiment import ExecutorSettings
from precsearch.study.cluster import connection, reach
from precsearch.study.cluster.connection import connect, import_ray
from precsearch.study.cluster.reach import check_reachable, use_token_at_hand


@dataclass
class Listener:
    """Something at a port, that answers every connection with `answer` and no more."""

    answer: bytes = b""

    def __enter__(self) -> str:
        self._code = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        )
        self._code += f"kept = []\nwhile True:\n    kept.append(s.accept()[0]); kept[-1].sendall({self.answer!r})\n"
        self._code += "    kept[-1].close()\n" if self.answer else ""
        self._process = subprocess.Popen([sys.executable, "-c", self._code], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return f"127.0.0.1:{self._process.stdout.readline().strip()}"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_listens(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    with pytest.raises(ClusterError) as told:
        check_reachable(address)
    for word in ("executor.address", address, "Connection refused", "ray start --head"):
        assert word in str(told.value)


def test_unknown_host() -> None:
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at nowhere\.invalid:6379 \(.+\)"):
        check_reachable("nowhere.invalid:6379")


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"from 1 to 65535 must be given, but got {port} in head:{port}"):
        check_reachable(f"head:{port}")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["mute", "web server"])
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_listens_is_not_ray(monkeypatch: pytest.MonkeyPatch, answer: bytes, scheme: str) -> None:
    monkeypatch.setattr(reach, "_ANSWER_SECONDS", 0.5)
    with Listener(answer) as place, pytest.raises(ClusterError) as told:
        check_reachable(scheme + place)
    for word in ("executor.address", place, "is not Ray, or does not answer", "6379", "10001"):
        assert word in str(told.value)


def test_a_ray_that_cannot_be_asked_so_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.grpc_utils", None)
    with Listener() as place:
        check_reachable(place)


class FakeRay:
    """Ray, as far as `connect` uses it."""

    def __init__(self, error: str = "", initialized: bool = False, failures: int = 9) -> None:
        self.error, self.initialized, self.failures = error, initialized, failures

    def is_initialized(self) -> bool:
        return self.initialized

    def init(self, address: str, **_: Any) -> None:
        self.failures -= 1
        if self.error and self.failures >= 0:
            raise ConnectionError(self.error)

    def shutdown(self) -> None:
        pass


def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, ray: FakeRay, noise: str = "") -> str:
    (tmp_path / "ray.log").write_text(noise)
    monkeypatch.setattr(connection, "import_ray", lambda: ray)
    monkeypatch.setattr(connection, "check_reachable", lambda address: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ClusterError) as told:
        connect(address, tmp_path / "ray.log")
    return str(told.value)


def test_auto_finds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray = FakeRay(
        "Could not find any running Ray instance. Please specify the one to connect to by setting `--address` flag "
        "or `RAY_ADDRESS` environment variable."
    )
    message = said(monkeypatch, tmp_path, "auto", ray)
    assert "`auto` found no running Ray cluster" in message and "`ray start --head`" in message


def test_another_version_of_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray = FakeRay(
        "Version mismatch: The cluster was started with:\n    Ray: 2.49.0\n    Python: 3.12.4\n"
        "This process on 192.168.1.10 was started with:\n    Ray: 2.60.0\n    Python: 3.11.9\n"
    )
    message = said(monkeypatch, tmp_path, "192.168.1.10:6379", ray)
    for word in ("192.168.1.10:6379", "another version of Ray or Python", "2.49.0", "3.12.4", "3.11.9", "install"):
        assert word in message
    assert "\n" not in message


def test_a_token_that_only_the_core_speaks_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    noise = "[gcs_client.cc:210: Failed to get cluster ID: Unauthenticated: RPC error: InvalidAuthToken: missing"
    message = said(monkeypatch, tmp_path, "auto", FakeRay("Failed to connect to Ray cluster"), noise)
    assert "asks for its authentication token" in message


def test_local_in_a_process_that_is_connected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = said(monkeypatch, tmp_path, "local", FakeRay(initialized=True))
    assert "`local` starts" in message and "`auto`" in message and "ray.shutdown()" in message
    assert not connect("auto", tmp_path / "ray.log")


@pytest.mark.parametrize(
    "last",
    [
        "RuntimeError: Starting Ray client server failed. See ray_client_server_23000.err for detailed logs.",
        "psutil.ZombieProcess: PID still exists but it's a zombie (pid=967)",
        '"UNAVAILABLE:Stream removed (Socket closed)"',
    ],
)
def test_a_client_server_that_did_not_start_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last: str
) -> None:
    error = f"Initialization failure from server:\nTraceback (most recent call last):\n  File ...\n{last}\n>\n"
    message = said(monkeypatch, tmp_path, "ray://head:10001", FakeRay(error))
    assert last in message and "Traceback" not in message
    assert "asked 5 times" in message and "GRPC_ENABLE_FORK_SUPPORT=false" in message
    monkeypatch.setattr(connection, "import_ray", lambda: FakeRay(error, failures=4))
    assert connect("ray://head:10001", tmp_path / "ray.log")
    assert said(monkeypatch, tmp_path, "local", FakeRay(error)).startswith("cannot start Ray on this machine")


def test_what_no_other_try_would_mend_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray = FakeRay("no such thing", failures=9)
    said(monkeypatch, tmp_path, "ray://head:10001", ray)
    assert ray.failures == 8


def test_ray_does_not_start_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = said(monkeypatch, tmp_path, "local", FakeRay("AF_UNIX path length cannot exceed 107 bytes\nmore"))
    assert message == (
        "cannot start Ray on this machine: AF_UNIX path length cannot exceed 107 bytes; "
        "`--executor inprocess` needs no Ray"
    )


def test_a_cluster_of_ones_own_is_frugal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[dict[str, Any], dict[str, str]]] = []

    class Noted(FakeRay):
        def init(self, address: str, **options: Any) -> None:
            seen.append((options.get("_system_config", {}), dict(os.environ)))

    monkeypatch.setattr(connection, "import_ray", Noted)
    monkeypatch.setattr(connection, "check_reachable", lambda address: None)
    monkeypatch.setenv("RAY_event_stats", "1")
    monkeypatch.setenv("REPORTER_UPDATE_INTERVAL_MS", "5000")
    monkeypatch.setenv("PYTHONPATH", "mine")
    before = dict(os.environ)
    for address in ("local", "head:6379"):
        connect(address, tmp_path / "ray.log")
        assert dict(os.environ) == before
    (core, servers), (not_ours, unchanged) = seen
    assert core["prestart_worker_first_driver"] is False and "event_stats" not in core  # which the user has set
    assert servers["LOG_NAME_UPDATE_INTERVAL_S"] == "1000000" and servers["REPORTER_UPDATE_INTERVAL_MS"] == "5000"
    assert servers["PYTHONPATH"].split(os.pathsep)[-1] == "mine"
    assert not not_ours and unchanged == before


# tokens


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray", raising=False)


def test_a_token_at_hand_is_used_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_token: None
) -> None:
    use_token_at_hand()
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    use_token_at_hand()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    monkeypatch.delenv("RAY_AUTH_MODE")
    with monkeypatch.context() as imported:  # the core of a Ray that is imported has read the mode already
        imported.setitem(sys.modules, "ray", ModuleType("ray"))
        use_token_at_hand()
        assert "RAY_AUTH_MODE" not in os.environ
    use_token_at_hand()
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), ("\n", "it is empty")])
def test_a_token_file_without_a_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_token: None, content: str | None, says: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    with pytest.raises(ClusterError, match=rf"^RAY_AUTH_TOKEN_PATH: .* got {path} \({says}.*\); `ray get-auth-token`"):
        import_ray()


# nodes


def nodes(monkeypatch: pytest.MonkeyPatch, answers: Callable[[Any], dict[str, Any]]) -> Any:
    from precsearch.study.cluster.nodes import Nodes

    made = Nodes(ExecutorSettings(name="ray", address="auto", storage_path="memory://precsearch"))
    monkeypatch.setattr(made, "_ask", lambda question, *arguments: answers(question))
    return made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"packages": {}}, "head lacks torch, torchvision, numpy"),
        ({"python": "3.9.18"}, "head has Python 3.9.18, not 3."),
        ({"torch": "1.13.1"}, "head has torch 1.13.1, not "),
    ],
)
def test_a_node_with_other_software(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str) -> None:
    from precsearch.study.cluster.nodes import PACKAGES
    from precsearch.study.cluster.probe import describe_node

    own = describe_node(PACKAGES)
    packages = {**own["packages"], **({"torch": change["torch"]} if "torch" in change else {})}
    found = {**own, "packages": packages, **change}
    with pytest.raises(ClusterError) as told:
        nodes(monkeypatch, lambda _: {"same": own, "head": found}).lacking(own["precsearch"])
    assert says in str(told.value) and "same" not in str(told.value).partition(";")[0]
    assert "pip install" in str(told.value)


def test_a_node_without_precsearch_is_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from precsearch.study.cluster.nodes import PACKAGES
    from precsearch.study.cluster.probe import describe_node

    own = describe_node(PACKAGES)
    answers = {"same": own, "none": {**own, "precsearch": None}, "older": {**own, "precsearch": "0" * 16}}
    assert nodes(monkeypatch, lambda _: answers).lacking(own["precsearch"]) == ["none", "older"]


def test_a_node_that_cannot_open_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = nodes(monkeypatch, lambda _: {"head": True, "second": False, "third": "Install s3fs to access S3"})
    with pytest.raises(ClusterError) as told:
        asked.check_storage()
    message = str(told.value)
    assert "every node must see memory://precsearch" in message and "head" not in message
    assert "second, third (Install s3fs to access S3)" in message
