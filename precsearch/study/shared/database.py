"""The database of a shared study: Optuna's own tables, a lock that one driver holds, heartbeats, clear errors."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from sqlalchemy import exc
from sqlalchemy.engine import ExceptionContext

from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.experiment.storage_url import expanded, secrets

FOUNDING: Final = (
    "precsearch"  # study user attribute: the experiment's fingerprint and the study's id; its row is the lock
)
_HOLDING_SECONDS: Final = 120  # a driver that is stopped while it holds the lock loses it
_LONGEST: Final = 300
_ATTRIBUTES: Final = sqlalchemy.table(
    "study_user_attributes", sqlalchemy.column("study_id"), sqlalchemy.column("key"), sqlalchemy.column("value_json")
)
_TRIALS: Final = sqlalchemy.table(
    "trials",
    *(sqlalchemy.column(name) for name in ("trial_id", "study_id", "number")),
    sqlalchemy.column("state"),
)
_HEARTBEATS: Final = sqlalchemy.table(
    "trial_heartbeats", sqlalchemy.column("trial_id"), sqlalchemy.column("heartbeat", sqlalchemy.DateTime)
)


class Database:
    """A database, reached.

    Whatever goes wrong in it from here on, in Optuna's hands or in ours, is raised as a RunDirectoryError.

    Args:
        url: as the experiment has it.

    Raises:
        RunDirectoryError: when it cannot be reached or written.
        ConfigurationError: when the URL cannot be understood, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._shown = url
        real = expanded(url)
        self._secrets = secrets(real)
        try:
            self._url = sqlalchemy.make_url(real)
            self._secrets += [self._url.password] if self._url.password else []
            self.storage = self._open(real)
        except (exc.ArgumentError, ValueError) as error:
            raise ConfigurationError(f"study.storage: {url} is no database's URL: {self._say(error)}") from None
        except ImportError:
            raise ConfigurationError(
                f"study.storage: {url} needs a database driver that is not installed; {self._install()}"
            ) from None
        except (exc.SQLAlchemyError, OptunaError, RuntimeError) as error:
            raise self._error("cannot use the study's database", error) from None
        self._engine = self.storage.engine
        sqlalchemy.event.listen(self._engine, "connect", self._connected)
        sqlalchemy.event.listen(self._engine, "handle_error", self._failed)
        self._engine.dispose()  # the connections made before the listener was there

    def close(self) -> None:
        """Let go of every connection."""
        self.storage.remove_session()
        self._engine.dispose()

    def claim(self, study_id: int, founding: dict[str, str]) -> None:
        """Write what makes the study ours, unless somebody else was first."""
        row = {"study_id": study_id, "key": FOUNDING, "value_json": json.dumps(founding)}
        with contextlib.suppress(exc.IntegrityError), self._engine.begin() as connection:
            connection.execute(sqlalchemy.insert(_ATTRIBUTES).values(row))

    @contextlib.contextmanager
    def lock(self, study_id: int) -> Iterator[None]:
        """Hold the study for as long as it takes to ask for a trial or to tell one; a dead holder lets go."""
        if self._url.get_backend_name() == "sqlite":  # has no locks on rows: one machine, so a file does
            with Path(f"{self._url.database}.lock").open("a", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        row = (_ATTRIBUTES.c.study_id == study_id, _ATTRIBUTES.c.key == FOUNDING)
        with self._engine.begin() as connection:
            if self._url.get_backend_name() == "postgresql":
                limit = f"SET LOCAL idle_in_transaction_session_timeout = '{_HOLDING_SECONDS}s'"
                connection.execute(sqlalchemy.text(limit))
            connection.execute(sqlalchemy.select(_ATTRIBUTES.c.study_id).where(*row).with_for_update())
            yield

    def silent(self, study_id: int, seconds: float) -> list[int]:
        """The numbers of running trials whose driver has not been heard of for so long, by the server's clock."""
        running = (_TRIALS.c.study_id == study_id, sqlalchemy.cast(_TRIALS.c.state, sqlalchemy.String) == "RUNNING")
        joined = _HEARTBEATS.join(_TRIALS, _HEARTBEATS.c.trial_id == _TRIALS.c.trial_id)
        query = sqlalchemy.select(_TRIALS.c.number, _HEARTBEATS.c.heartbeat, sqlalchemy.func.now())
        with self._engine.connect() as connection:
            rows = connection.execute(query.select_from(joined).where(*running)).all()
        return sorted(
            number for number, heard, now in rows if (now.replace(tzinfo=None) - heard).total_seconds() > seconds
        )

    def _open(self, real: str) -> RDBStorage:
        arguments = self._engine_arguments()
        tries = 10
        while True:
            try:  # to make the tables, with connections that do not outlive a failure
                RDBStorage(real, engine_kwargs={**arguments, "poolclass": sqlalchemy.NullPool})
                return RDBStorage(real, engine_kwargs=arguments)
            except (exc.DBAPIError, OptunaError) as error:
                # Two drivers that come to an empty database at once both make them; one is too late.
                tries -= 1
                said = self._say(error)
                if tries == 0 or not any(words in said for words in ("already exists", "duplicate", "concurrently")):
                    raise
                time.sleep(0.2)

    def _engine_arguments(self) -> dict[str, Any]:
        if self._url.get_backend_name() == "sqlite":
            return {"connect_args": {"timeout": 60}}
        arguments: dict[str, Any] = {"pool_pre_ping": True}  # a server that was restarted in between is no error
        if self._url.get_driver_name() in {"psycopg", "psycopg2"}:
            patient = {"connect_timeout": 20, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
            arguments["connect_args"] = {key: n for key, n in patient.items() if key not in self._url.query}
        return arguments

    def _connected(self, connection: Any, _: object) -> None:
        """One time zone for all: heartbeats are kept without one."""
        zone = {"postgresql": "SET TIME ZONE 'UTC'", "mysql": "SET time_zone = '+00:00'"}
        words = zone.get(self._url.get_backend_name().replace("mariadb", "mysql"))
        if words is not None:
            cursor = connection.cursor()
            cursor.execute(words)
            cursor.close()
            connection.commit()

    def _failed(self, context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if context.is_pre_ping or isinstance(error, exc.IntegrityError):  # answered by the pool, and by Optuna
            return
        if isinstance(error, exc.DBAPIError):  # not Ctrl-C
            raise self._error("lost the study's database", error)

    def _error(self, what: str, error: BaseException) -> RunDirectoryError:
        said = self._say(error)
        return RunDirectoryError(f"{what} {self._shown}: {said}; {_advice(said)}")

    def _say(self, error: BaseException) -> str:
        if isinstance(error, OptunaError) and error.__cause__ is not None:
            error = error.__cause__
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return (said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "...").rstrip(".")

    def _install(self) -> str:
        if self._url.get_backend_name() == "postgresql":
            return "`pip install 'psycopg[binary]'` and write postgresql+psycopg://"
        return f"install the Python package that {self._url.drivername}:// stands for"


def _advice(said: str) -> str:
    low = said.lower()
    if "password" in low or "access denied" in low:
        return "give the right user in `study.storage`, and the password in PGPASSWORD, ~/.pgpass or ${NAME}"
    if "does not exist" in low or "unknown database" in low:
        return "create it first, for instance with `createdb`, or correct `study.storage`"
    if "read-only" in low or "readonly" in low or "permission denied" in low:
        return "the user of `study.storage` must be allowed to make tables there and to write in them"
    if "optuna" in low:
        return "all drivers of a study need the same version of Optuna"
    return "see that the server runs and `study.storage` names it, then run the same command again"
