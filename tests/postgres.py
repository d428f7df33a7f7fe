"""A PostgreSQL server of its own for tests: Debian's or any on the PATH, in a temporary directory, on a socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def binaries() -> Path:
    """Where initdb is; without PostgreSQL a test is skipped, but fails where CI is set."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    places = [*debian[::-1], *([Path(found).parent] if found else [])]
    if not places:
        message = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return places[0]


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bin = binaries()
        # the server refuses to be root
        self._as: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]

    def run(self, *command: str) -> None:
        """Run one of PostgreSQL's own programs."""
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        with log:
            subprocess.run(
                [*self._as, str(self._bin / command[0]), *command[1:]],
                check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def url(self, database: str, user: str = "precsearch") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}"

    def new(self, database: str) -> str:
        """The URL of a new, empty database."""
        self.run("createdb", "-h", str(self.folder), "-U", "precsearch", database)
        return self.url(database)


@contextmanager
def server() -> Iterator[Server]:
    """A running server; gone afterwards."""
    binaries()
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has at most 107 characters
    folder.chmod(0o755)
    made = Server(folder)
    try:
        made.run("initdb", "-D", str(folder / "data"), "-U", "precsearch", "-A", "trust", "--no-sync")
        made.start()
        yield made
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)
