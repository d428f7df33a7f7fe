"""Whether a Ray cluster answers at an address and lets us in: asked in a moment, where Ray tries for up to a minute."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any, Final

from precsearch.errors import ClusterError, ConfigurationError

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
_DRIVERS: Final = ("/ray.rpc.NodeInfoGcsService/GetClusterId", b"")  # a method that changes nothing, and its request
_CLIENTS: Final = ("/ray.rpc.RayletDriver/ClusterInfo", b"\x08\x04")  # the request is a ping
_START: Final = "`ray start --head` starts a cluster and prints its address"


def use_token_at_hand() -> None:
    """Send the token that is there; Ray sends it only to clusters that it starts itself.

    Has an effect before ray is imported. A cluster without tokens does not mind one.

    Raises:
        ClusterError: when the file that should hold it does not.
    """
    source = _token_source()
    if source is not None and "ray" not in sys.modules:  # else its core has read the mode already
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if source == "RAY_AUTH_TOKEN_PATH" and os.environ.get("RAY_AUTH_MODE") == "token":
        path = Path(os.environ[source])
        try:
            what = "" if path.read_text(encoding="utf-8").strip() else "it is empty"
        except (OSError, UnicodeError) as error:
            what = getattr(error, "strerror", None) or str(error)
        if what:
            raise ClusterError(
                f"RAY_AUTH_TOKEN_PATH: a file with Ray's authentication token must be named, but got {path} ({what}); "
                "`ray get-auth-token` on the cluster's head node prints the token"
            )


def check_reachable(address: str) -> None:
    """Check that a cluster answers at HOST:PORT or ray://HOST:PORT, and takes our token.

    Raises:
        ConfigurationError: when the port is none.
        ClusterError: when nobody, or somebody else, answers, or we are not let in.
    """
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    if not 1 <= int(port) <= 65535:  # noqa: PLR2004 -- TCP's own numbers
        raise ConfigurationError(
            f"executor.address: a port from 1 to 65535 must be given, but got {port} in {address}; {_START}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise ClusterError(
            f"executor.address: no Ray cluster answers at {address} ({what}); {_START}, "
            "and `--executor ray` without --address uses this machine alone"
        ) from None
    away = address.startswith("ray://")
    status = _knock(place, *(_CLIENTS if away else _DRIVERS))
    if status == "UNAUTHENTICATED":
        raise token_error(address)
    if status == "UNIMPLEMENTED":
        raise ClusterError(
            f"executor.address: {place} is a port of a Ray cluster, but not one for {'ray://' if away else 'drivers'}; "
            "those are 6379 for HOST:PORT and 10001 for ray://HOST:PORT unless `ray start --head` was told otherwise"
        )
    if status in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}:
        raise ClusterError(
            f"executor.address: what listens at {place} is not Ray, or does not answer; {_START}, with port 6379 "
            "for HOST:PORT and 10001 for ray://HOST:PORT unless told otherwise"
        )


def token_error(address: str) -> ClusterError:
    """What to say when a cluster does not take our token."""
    mode, source = os.environ.get("RAY_AUTH_MODE"), _token_source()
    if source is None:
        sent = "found none in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
    elif mode == "token":
        sent = f"got another one, that of {source}"
    else:
        sent = f"got none, since RAY_AUTH_MODE is {mode!r}"
    return ClusterError(
        f"executor.address: the cluster at {address} asks for its authentication token, but {sent}; "
        "`ray get-auth-token` on its head node prints the token: put it into RAY_AUTH_TOKEN or ~/.ray/auth_token here, "
        "and set RAY_AUTH_MODE=token"
    )


def _knock(place: str, method: str, request: bytes) -> str | None:
    """The gRPC status of one call; None where it went well, or Ray has no such means."""
    try:
        import grpc  # type: ignore[import-untyped]
        from ray._private.grpc_utils import init_grpc_channel
    except ImportError:
        return None
    try:
        channel: Any = init_grpc_channel(place, options=[("grpc.enable_http_proxy", 0)])
        with contextlib.closing(channel):
            channel.unary_unary(method)(request, timeout=_ANSWER_SECONDS, metadata=[("client_id", "precsearch")])
    except grpc.RpcError as error:
        return str(error.code().name)
    except Exception:  # a token file that cannot be read: Ray says it better when it connects
        return None
    return None


def _token_source() -> str | None:
    """Where Ray would take a token from."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(name):
            return name
    try:
        return "~/.ray/auth_token" if (Path.home() / ".ray" / "auth_token").is_file() else None
    except (OSError, RuntimeError):  # no home
        return None
