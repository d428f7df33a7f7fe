"""`study.storage:` the URL of a database, which no password stands in and no file keeps one from."""

from __future__ import annotations

import os
import re
from typing import Final

from precsearch.errors import ConfigurationError

DIALECTS: Final = ("postgresql", "mysql", "mariadb", "sqlite")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRETS: Final = re.compile(r"[?&](?:password|passwd)=([^&]*)")


def checked(url: str) -> str:
    """`url` as it was given.

    Raises:
        ValueError: when it is no database's, or has a password; the message does not repeat it.
    """
    if "://" in url or not _VARIABLE.search(url):
        _check_dialect(url)
    if any(_VARIABLE.sub("", each) for each in secrets(url)):
        raise ValueError(
            "a URL without a password must be given, since the run directory keeps it; give the password in "
            "PGPASSWORD or ~/.pgpass, or write ${NAME} for the environment variable NAME"
        )
    return url


def expanded(url: str) -> str:
    """The URL with its variables' values; never to be shown or written.

    Raises:
        ConfigurationError: when a variable is not set, or the values make no database's URL.
    """
    for name in _VARIABLE.findall(url):
        if not os.environ.get(name):
            raise ConfigurationError(f"study.storage: the environment variable {name} must be set, but is not")
    real = _VARIABLE.sub(lambda found: os.environ[found[1]], url)
    try:
        _check_dialect(real)
    except ValueError as error:
        raise ConfigurationError(f"study.storage: in {url}: {error}") from None
    return real


def secrets(url: str) -> list[str]:
    """The passwords in a URL."""
    user = re.match(r"[^:/]*://([^@]*)@", url)
    between = user[1].partition(":")[2] if user else ""
    return [each for each in (between, *_SECRETS.findall(url)) if each]


def _check_dialect(url: str) -> None:
    scheme, _, rest = url.partition("://")
    dialect = scheme.partition("+")[0]
    if dialect not in DIALECTS:
        hint = "; write postgresql+psycopg://" if dialect == "postgres" else ""
        got = repr(dialect) if re.fullmatch(r"\w+", dialect) and rest else "something else"
        raise ValueError(
            f"a URL that begins with one of {', '.join(f'{each}://' for each in DIALECTS)} must be given, "
            f"but got {got}{hint}"
        )
    if dialect == "sqlite" and (not rest.strip("/") or ":memory:" in rest):
        raise ValueError("a database that others can open must be given, but got SQLite in memory")
