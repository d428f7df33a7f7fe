"""Watching the head node: without it Ray's core ends this process after a minute, and says nothing."""

from __future__ import annotations

import socket
import time
from typing import Final

from precsearch.errors import ClusterError

_LOOK_SECONDS: Final = 2.0
_CONNECT_SECONDS: Final = 2.0
_FORGIVEN_SECONDS: Final = 20.0


class Head:
    """Where the cluster's own records are kept.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._looked = self._seen = time.monotonic()
        self._up = True

    def answers(self) -> bool:
        """Whether it answered when it was asked last, at most two seconds ago; to be called often.

        Raises:
            ClusterError: when it has not answered for 20 seconds.
        """
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._up = self._connects()
            self._looked = time.monotonic()
            self._seen = self._looked if self._up else self._seen
        if now - self._seen > _FORGIVEN_SECONDS:
            raise ClusterError(
                f"the head node of the cluster, {self.address}, has not answered for {_FORGIVEN_SECONDS:.0f} s; "
                "everything done so far is kept: start the cluster again and run the same command to go on"
            )
        return self._up

    def _connects(self) -> bool:
        try:
            socket.create_connection(self._place, timeout=_CONNECT_SECONDS).close()
        except OSError:
            return False
        return True
