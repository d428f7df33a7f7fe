"""Starting or joining a Ray cluster; whatever goes wrong there is one message with a remedy."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from precsearch.errors import ClusterError
from precsearch.study.cluster.quiet import set_environment
from precsearch.study.cluster.reach import check_reachable, token_error, use_token_at_hand

_OBJECT_STORE_BYTES: Final = 128 * 2**20  # trials travel as a few kilobytes; Ray would set aside a third of memory
# Of a cluster that is ours alone, where nobody reads what its servers would gather. Each may be set as RAY_NAME.
_FRUGAL: Final = {
    "prestart_worker_first_driver": False,  # Tune's workers have an environment of their own, and start anew
    "task_events_report_interval_ms": 0,
    "enable_metrics_collection": False,
    "event_stats": False,
}
_SERVERS: Final = {
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",  # with the next: look for logs to follow ten times a second no more
    "LOG_NAME_UPDATE_INTERVAL_S": "1000000",
    "REPORTER_UPDATE_INTERVAL_MS": "3600000",  # of every process's memory, for the dashboard
}
# By ray://, now and then: the server that Ray forks for a driver, beside threads in gRPC, dies at once (its issue
# 63202). One in five did on a busy machine.
_UNLUCKY: Final = ("Starting Ray client server failed", "ZombieProcess", "Stream removed (Socket closed)")
_TRIES: Final = 5
_AUTHENTICATION: Final = ("InvalidAuthToken", "Unauthenticated", "AuthenticationError", "authentication token")


def connect(address: str, log: Path, runtime_env: dict[str, Any] | None = None) -> bool:
    """Connect this process to the cluster at `address`; ``local`` starts one.

    Args:
        address: as `executor.address` has it.
        log: where Ray's own words go; its core tells reasons there that its exceptions do not.
        runtime_env: what Ray brings to the nodes.

    Returns:
        Whether it is ours to leave: False where this process was connected before.

    Raises:
        ClusterError: saying what is wrong and what to do.
    """
    ray = import_ray()
    if ray.is_initialized():
        if address == "local":
            raise ClusterError(
                "executor.address: `local` starts a Ray cluster of its own, but this process is connected to one "
                "already; give `auto` to use that, or call ray.shutdown() first"
            )
        return False
    place = _place(address)
    if place is not None:
        check_reachable(place)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        frugal = {name: value for name, value in _FRUGAL.items() if f"RAY_{name}" not in os.environ}
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, "_system_config": frugal}
    if runtime_env:
        options["runtime_env"] = runtime_env
    for more in reversed(range(_TRIES)):
        try:
            with _servers_environment() if address == "local" else contextlib.nullcontext():
                ray.init(address=address, **options)
            break
        except Exception as error:
            ray.shutdown()
            if not (more and _unlucky(str(error))):
                raise _told(address, str(error), log.read_text(errors="replace")) from None
    return True


@contextlib.contextmanager
def _servers_environment() -> Iterator[None]:
    """For processes started now: settings, and where the modules are that this process finds.

    Ray tells its workers of the script's folder only.
    """
    own = [path for path in sys.path if path and not path.startswith((sys.prefix, sys.base_prefix))]
    paths = dict.fromkeys([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
    before = dict(os.environ)
    os.environ.update({**_SERVERS, **before, "PYTHONPATH": os.pathsep.join(paths)})
    try:
        yield
    finally:
        for name in (*_SERVERS, "PYTHONPATH"):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


def import_ray() -> Any:
    """Ray with Tune.

    Raises:
        ClusterError: when it is not installed.
    """
    set_environment()
    use_token_at_hand()
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise ClusterError(
            f"executor.name: `ray` needs Ray with Tune, but it cannot be imported ({error}); "
            "run `pip install 'ray[default,tune]'`, or use `--executor inprocess`"
        ) from None
    return ray


def _place(address: str) -> str | None:
    """The HOST:PORT to join, as far as it is known before Ray looks; `auto` is RAY_ADDRESS where that is set."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    return address if re.fullmatch(r"(ray://)?[^/\s]+:\d+", address) else None


def _unlucky(text: str) -> bool:
    return any(sign in text for sign in _UNLUCKY)


def _told(address: str, text: str, noise: str) -> ClusterError:
    lines = [line.strip() for line in text.splitlines() if re.search(r"\w", line)] or ["no reason was given"]
    first = lines[-1] if lines[0].endswith(":") else lines[0]  # a title, and a traceback below it
    if any(word.lower() in (text + noise).lower() for word in _AUTHENTICATION):
        return token_error(address)
    if "version mismatch" in text.lower():
        return ClusterError(
            f"executor.address: the cluster at {address} runs another version of Ray or Python than this process; "
            f"install the same on both: {' '.join(text.split())}"
        )
    if address == "auto":
        return ClusterError(
            f"executor.address: `auto` found no running Ray cluster on this machine ({first}); start one with "
            "`ray start --head`, or use `--executor ray` without --address, which starts one for this study alone"
        )
    if address == "local":
        return ClusterError(f"cannot start Ray on this machine: {first}; `--executor inprocess` needs no Ray")
    if _unlucky(text):
        return ClusterError(
            f"executor.address: the cluster at {address} was asked {_TRIES} times, and each time the server that Ray "
            f"starts there for a driver from afar died ({first}); start the head node with "
            "GRPC_ENABLE_FORK_SUPPORT=false in its environment, or run this on a node, with HOST:6379"
        )
    return ClusterError(
        f"executor.address: no Ray cluster could be joined at {address}: {first}; the head node listens for "
        "drivers on port 6379 and for ray:// on port 10001 unless told otherwise"
    )
