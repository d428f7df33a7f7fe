from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from fake_trials import Watcher, experiment, run_trial
from postgres import Server, server
from shared_drivers import ENQUEUED, Process, check_whole, document, drive, during, interrupt, told

from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.experiment.loading import fingerprint, load_experiment
from precsearch.results import RunDirectory
from precsearch.study.driver import run_study
from precsearch.study.shared import joining
from precsearch.study.shared.database import Database

AT_ONCE = -2.0  # a grace after which every other driver counts as dead; SQLite's clock counts seconds


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    made: str = request.getfixturevalue("postgres").new(f"d{abs(hash(tmp_path))}")
    return made


@pytest.fixture
def lite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def test_a_second_driver_sees_all_that_the_first_did(url: str, tmp_path: Path) -> None:
    made = document(url, f"n_trials: 5, baselines: [uniform, random], {ENQUEUED}")
    first, _ = drive(tmp_path / "a", made)
    second, watcher = drive(tmp_path / "b", made)
    assert (second.best, second.front, second.complete) == (first.best, first.front, 5)
    assert watcher.started == [] and len(watcher.before) == 5
    check_whole(url, tmp_path / "a", tmp_path / "b", n_trials=5, enqueued=(3.0, 6.0))
    one, two = (json.loads((tmp_path / name / "pareto.json").read_text()) for name in "ab")
    assert all(member["weights"].endswith(".safetensors") for member in one["front"])
    assert all(member["weights"] is None for member in two["front"])
    assert [{**member, "weights": 0} for member in one["front"]] == [
        {**member, "weights": 0} for member in two["front"]
    ]
    assert (tmp_path / "a" / "best.json").read_bytes() == (tmp_path / "b" / "best.json").read_bytes()


def test_drivers_at_once_share_the_trials(url: str, tmp_path: Path) -> None:
    made = document(url, f"n_trials: 6, baselines: [uniform], {ENQUEUED}")
    others: list[Any] = []
    first, watcher = drive(tmp_path / "a", made, during(1, lambda: others.append(drive(tmp_path / "b", made))))
    second, other = others[0]
    assert [number for number, _, baseline in watcher.started if baseline is None] == [0, 1]
    assert [number for number, _, baseline in other.started if baseline is None] == [2, 3, 4, 5]
    assert other.notes == ["1 trial is still running in other drivers; run the same command again to see the end"]
    assert (second.elsewhere, second.complete, first.elsewhere, first.complete) == (1, 5, 0, 6)
    drive(tmp_path / "b", made)
    check_whole(url, tmp_path / "a", tmp_path / "b", n_trials=6, enqueued=(3.0, 6.0))
    fronts = [json.loads((tmp_path / name / "pareto.json").read_text())["front"] for name in "ab"]
    for one, two in zip(*fronts, strict=True):
        assert one["baselines"] == two["baselines"] and set(one["baselines"]) == {"uniform"}
        assert [one["weights"] is None, two["weights"] is None].count(True) == 1


def test_more_trials_can_be_asked_for_by_any_driver(lite: str, tmp_path: Path) -> None:
    drive(tmp_path / "a", document(lite, "n_trials: 2, baselines: []"))
    drive(tmp_path / "b", document(lite, "n_trials: 4, baselines: []"))
    drive(tmp_path / "a", document(lite, "n_trials: 3, baselines: []"))
    check_whole(lite, tmp_path / "a", tmp_path / "b", n_trials=4)


def test_a_driver_goes_on_with_its_own_trial(url: str, tmp_path: Path) -> None:
    made = document(url)
    with pytest.raises(KeyboardInterrupt):
        drive(tmp_path / "a", made, during(1, interrupt))
    _, other = drive(tmp_path / "b", made)
    assert [number for number, _, baseline in other.started if baseline is None] == [2, 3, 4]
    _, watcher = drive(tmp_path / "a", made)
    assert [number for number, _, baseline in watcher.started if baseline is None] == [1]
    drive(tmp_path / "b", made)
    check_whole(url, tmp_path / "a", tmp_path / "b", n_trials=5)
    assert len(told(url)) == 5


def test_a_dead_drivers_trial_is_tried_again_by_another(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = document(url, f"n_trials: 4, baselines: [], {ENQUEUED}")
    with pytest.raises(KeyboardInterrupt):
        drive(tmp_path / "a", made, during(1, interrupt))
    monkeypatch.setattr(joining, "GRACE_SECONDS", AT_ONCE)
    summary, watcher = drive(tmp_path / "b", made)
    assert (summary.complete, summary.failed, summary.elsewhere) == (4, 0, 0)
    assert [number for number, _, _ in watcher.started] == [2, 3, 4]
    assert (tmp_path / "a" / "trials" / "0001").is_dir()
    _, back = drive(tmp_path / "a", made)  # comes back
    assert back.started == [] and not (tmp_path / "a" / "trials" / "0001").exists()
    check_whole(url, tmp_path / "a", tmp_path / "b", n_trials=4, enqueued=(3.0, 6.0))


@pytest.mark.parametrize("pruner", ["none", "median"])
@pytest.mark.parametrize("objectives", ["", ", objectives: [{metric: validation_accuracy, direction: maximize}]"])
def test_a_driver_that_was_only_asleep_drops_what_was_taken(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruner: str, objectives: str
) -> None:
    made = document(url, f"n_trials: 4, baselines: [], pruner: {{name: {pruner}}}{objectives}")

    def asleep() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(joining, "GRACE_SECONDS", AT_ONCE)
            drive(tmp_path / "b", made)

    summary, watcher = drive(tmp_path / "a", made, during(1, asleep))
    (dropped,) = watcher.dropped
    assert dropped[0] == 1 and dropped[1].endswith("is tried again as trial 2")
    assert summary.failed == 0
    check_whole(url, tmp_path / "a", tmp_path / "b", n_trials=4)


def test_a_trial_that_kills_its_drivers_is_given_up(lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = document(lite, "n_trials: 3, baselines: []")
    monkeypatch.setattr(joining, "GRACE_SECONDS", AT_ONCE)
    for number in range(3):
        with pytest.raises(KeyboardInterrupt):
            drive(tmp_path / f"{number}", made, during(number, interrupt))
    summary, _ = drive(tmp_path / "last", made)
    assert (summary.complete, summary.failed) == (2, 1)
    records = RunDirectory(tmp_path / "last").records()
    assert [(record.number, record.state) for record in records] == [(2, "failed"), (3, "complete"), (4, "complete")]
    assert records[0].reason == "its driver disappeared, as those of 2 tries before"


def test_pruning_compares_with_what_other_drivers_reported(lite: str, tmp_path: Path) -> None:
    pruner = "pruner: {name: median, n_startup_trials: 3, n_warmup_steps: 0, bands: 1}"
    study = f"n_trials: 12, baselines: [], {pruner}"
    drive(tmp_path / "a", document(lite, study.replace("12", "4")))
    drive(tmp_path / "b", document(lite, study))
    states = [record.state for record in RunDirectory(tmp_path / "b").records()]
    assert "pruned" in states[4:]
    journal = experiment(f"sampler: {{name: random}}, {study}")
    run_study(journal, RunDirectory(tmp_path / "alone"), Watcher(), run_trial)
    assert states == [record.state for record in RunDirectory(tmp_path / "alone").records()]


def test_a_grid_is_walked_once_though_a_driver_died(lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = "\nspace:\n  inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 1.0}\n"
    made = experiment(f"storage: '{lite}', n_trials: 99, baselines: [], sampler: {{name: grid}}", space)
    with pytest.raises(KeyboardInterrupt):
        drive(tmp_path / "a", made, during(1, interrupt))
    monkeypatch.setattr(joining, "GRACE_SECONDS", AT_ONCE)
    drive(tmp_path / "b", made)
    limits = [record.limit for record in RunDirectory(tmp_path / "b").records()]
    assert sorted(limits, key=str) == [2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_copied_run_directory_is_another_driver_and_a_moved_one_the_same(lite: str, tmp_path: Path) -> None:
    made = document(lite, "n_trials: 3, baselines: []")
    with pytest.raises(KeyboardInterrupt):
        drive(tmp_path / "a", made, during(1, interrupt))
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    (tmp_path / "a").rename(tmp_path / "moved")
    _, copy = drive(tmp_path / "copy", made)
    assert [number for number, _, _ in copy.started] == [2]
    _, moved = drive(tmp_path / "moved", made)
    assert moved.started == [(1, False, None)]
    drive(tmp_path / "copy", made)
    check_whole(lite, tmp_path / "copy", tmp_path / "moved", n_trials=3)


class TestWhatIsRefused:
    def test_another_experiment_of_the_same_name(self, url: str, tmp_path: Path) -> None:
        made, other = document(url), document(url, "n_trials: 5, seed: 1")
        drive(tmp_path / "a", made)
        with pytest.raises(RunDirectoryError) as raised:
            drive(tmp_path / "b", other)
        for words in ("'fake'", fingerprint(made), fingerprint(other), "another `name:`"):
            assert words in str(raised.value)
        assert not (tmp_path / "b").exists()

    def test_a_study_that_somebody_else_made(self, lite: str, tmp_path: Path) -> None:
        study = optuna.create_study(study_name="fake", storage=lite, directions=["maximize", "minimize"])
        study.tell(study.ask(), [1.0, 2.0])
        with pytest.raises(RunDirectoryError, match="was not made by precsearch"):
            drive(tmp_path / "a", document(lite))
        assert not (tmp_path / "a").exists()

    def test_an_empty_study_with_other_objectives(self, lite: str, tmp_path: Path) -> None:
        optuna.create_study(study_name="fake", storage=lite, directions=["minimize"])
        with pytest.raises(RunDirectoryError, match="was not made by precsearch"):
            drive(tmp_path / "a", document(lite))

    def test_a_run_directory_of_another_place(self, lite: str, tmp_path: Path) -> None:
        made, alone = document(lite, "n_trials: 2"), experiment("n_trials: 2, sampler: {name: random}")
        run_study(alone, RunDirectory(tmp_path / "journal"), Watcher(), run_trial)
        with pytest.raises(RunDirectoryError, match=r"in a journal of its own; leave `study\.storage` out"):
            drive(tmp_path / "journal", made)
        drive(tmp_path / "shared", made)
        with pytest.raises(RunDirectoryError, match="holds trials of a study in a database"):
            run_study(alone, RunDirectory(tmp_path / "shared"), Watcher(), run_trial)
        for known in (False, True):
            elsewhere = document(f"sqlite:///{tmp_path}/other.db", "n_trials: 2")
            if known:
                drive(tmp_path / "third", elsewhere)
            with pytest.raises(RunDirectoryError, match="holds trials of another study than 'fake'"):
                drive(tmp_path / "shared", elsewhere)

    def test_a_database_that_lost_trials(self, lite: str, tmp_path: Path) -> None:
        drive(tmp_path / "a", document(lite, "n_trials: 1"))
        shutil.copy(tmp_path / "study.db", tmp_path / "backup")
        drive(tmp_path / "a", document(lite, "n_trials: 3"))
        shutil.copy(tmp_path / "backup", tmp_path / "study.db")
        with pytest.raises(RunDirectoryError, match=r"lacks trial 1, which has a result .* restore the database"):
            drive(tmp_path / "a", document(lite, "n_trials: 3"))


class TestThePassword:
    @pytest.mark.parametrize(
        "storage",
        [
            "postgresql+psycopg://me:hunter2@host/db",
            "postgresql://me:hunter2%40x@host:5432/db",
            "mysql+pymysql://me:hunter2/x@host/db",
            "postgresql+psycopg://host/db?user=me&password=hunter2",
            "postgresql+psycopg://me:${NOBODY}hunter2@host/db",
        ],
    )
    def test_is_refused_in_the_url_and_not_repeated(self, storage: str) -> None:
        with pytest.raises(ConfigurationError, match=r"study\.storage: a URL without a password") as raised:
            experiment(f"storage: '{storage}'")
        assert "hunter2" not in str(raised.value) and "PGPASSWORD" in str(raised.value)

    @pytest.mark.parametrize("storage", ["${WHOLE}", "postgresql+psycopg://me:${PART}@localhost:1/db"])
    def test_may_come_from_the_environment_and_is_shown_nowhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
    ) -> None:
        made = document(storage)
        with pytest.raises(ConfigurationError, match=r"the environment variable (WHOLE|PART) must be set, but is not"):
            drive(tmp_path / "a", made)
        monkeypatch.setenv("WHOLE", "postgresql+psycopg://me:hunter2@localhost:1/db")
        monkeypatch.setenv("PART", "hunter2")
        with pytest.raises(RunDirectoryError, match="cannot use the study's database") as raised:
            drive(tmp_path / "a", made)
        assert "hunter2" not in str(raised.value)
        assert not (tmp_path / "a").exists()

    def test_stays_out_of_the_run_directory(self, lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STUDIES", lite)
        drive(tmp_path / "a", document("${STUDIES}", "n_trials: 1"))
        assert load_experiment(tmp_path / "a" / "experiment.yaml").study.storage == "${STUDIES}"
        for file in (tmp_path / "a").rglob("*"):
            assert not file.is_file() or lite.encode() not in file.read_bytes()


class TestTheDatabase:
    @pytest.mark.parametrize(
        ("storage", "words"),
        [
            ("mongodb://host/db", "begins with one of postgresql://, mysql://"),
            ("postgres://host/db", "write postgresql\\+psycopg://"),
            ("sqlite://", "SQLite in memory"),
            ("sqlite:///:memory:", "SQLite in memory"),
            ("study.db", "must be given, but got something else"),
        ],
    )
    def test_url_of_none(self, storage: str, words: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"experiment\.yaml:4:\d+: study\.storage: .*{words}"):
            experiment(f"storage: '{storage}'")

    @pytest.mark.parametrize(
        ("storage", "words"),
        [
            ("postgresql+psycopg2://host/db", r"not installed; `pip install 'psycopg\[binary\]'`"),
            ("mysql+mysqldb://host/db", "not installed; install the Python package that mysql"),
            ("postgresql+nothing://host/db", "is no database's URL"),
            ("postgresql+psycopg://host:port/db", "is no database's URL"),
        ],
    )
    def test_drivers_that_are_missing(self, tmp_path: Path, storage: str, words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            drive(tmp_path / "a", document(storage))
        assert not (tmp_path / "a").exists()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (("dbname", "nowhere"), 'database "nowhere" does not exist; create it first'),
            (("user", "nobody"), 'role "nobody" does not exist'),
            (("host", "/tmp/no-such-folder"), "see that the server runs"),
        ],
    )
    def test_that_is_not_there(self, postgres: Server, tmp_path: Path, change: tuple[str, str], words: str) -> None:
        key, value = change
        parts = {"dbname": "postgres", "user": "precsearch", "host": str(postgres.folder)} | {key: value}
        storage = "postgresql+psycopg://{user}@/{dbname}?host={host}".format(**parts)
        with pytest.raises(RunDirectoryError, match=words) as raised:
            drive(tmp_path / "a", document(storage))
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "a").exists()

    def test_that_may_not_be_written(self, postgres: Server, tmp_path: Path) -> None:
        storage = postgres.new("readonly")
        engine = sqlalchemy.create_engine(postgres.url("postgres"))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE ROLE reader LOGIN"))
            connection.execute(sqlalchemy.text("ALTER DATABASE readonly SET default_transaction_read_only = on"))
        engine.dispose()
        with pytest.raises(RunDirectoryError, match=r"read-only transaction.*must be allowed to make tables"):
            drive(tmp_path / "a", document(storage))
        postgres.new("others")
        with pytest.raises(RunDirectoryError, match=r"permission denied.*must be allowed to make tables"):
            drive(tmp_path / "a", document(postgres.url("others", "reader")))
        assert not (tmp_path / "a").exists()

    def test_that_goes_away_and_comes_back(self, postgres: Server, tmp_path: Path) -> None:
        made = document(postgres.new("gone"), "n_trials: 3, baselines: []")
        with pytest.raises(RunDirectoryError, match=r"lost the study's database .* run the same command again"):
            drive(tmp_path / "a", made, during(1, postgres.stop))
        postgres.start()
        summary, _ = drive(tmp_path / "a", made, during(2, restarted(postgres)))
        assert summary.complete == 3
        check_whole(postgres.url("gone"), tmp_path / "a", n_trials=3)
        assert len(told(postgres.url("gone"))) == 3


def restarted(postgres: Server) -> Any:
    """Between two words to the server its restart goes unnoticed."""

    def act() -> None:
        postgres.stop()
        postgres.start()

    return act


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.slow
@pytest.mark.parametrize("other", [False, True])
def test_killed_at_any_commit_no_trial_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    """The driver itself goes on, or another one that takes over; then the first comes back."""
    left = [0]
    opened = Database._open

    def opening(self: Database, real: str) -> Any:
        storage = opened(self, real)

        def commit(_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        sqlalchemy.event.listen(storage.engine, "commit", commit)
        return storage

    monkeypatch.setattr(Database, "_open", opening)
    monkeypatch.setattr(joining, "GRACE_SECONDS", AT_ONCE)
    study = f"n_trials: 3, baselines: [uniform], {ENQUEUED}"
    drive(tmp_path / "through", document(f"sqlite:///{tmp_path}/through.db", study))
    commits = -left[0]
    assert commits > 60
    for at in range(1 + other, commits, 6):  # both together meet every third
        lite = f"sqlite:///{tmp_path}/{at}.db"
        made, a, b = document(lite, study), tmp_path / f"{at}a", tmp_path / f"{at}b"
        left[0] = at
        with pytest.raises(Killed):
            drive(a, made)
        left[0] = 0
        for path in (b, a, b) if other else (a, b):
            drive(path, made)
        check_whole(lite, a, b, n_trials=3, enqueued=(3.0, 6.0))
        fronts = [json.loads((path / "pareto.json").read_text())["front"] for path in (a, b)]
        assert [member["baselines"] for member in fronts[0]] == [member["baselines"] for member in fronts[1]]


@pytest.mark.slow
def test_drivers_that_come_and_go_and_die(postgres: Server, tmp_path: Path) -> None:
    url, n_trials = postgres.new("many"), 24
    stays, dies, leaves = (Process(tmp_path / name, url, n_trials, 0.15) for name in ("stays", "dies", "leaves"))
    dies.wait_for("started")
    late = Process(tmp_path / "late", url, n_trials, 0.15)
    leaves.wait_for("started")
    leaves.send(signal.SIGINT)
    dies.send(signal.SIGKILL)
    assert (dies.end(), leaves.end()) == (-signal.SIGKILL, 130)
    late.wait_for("started")
    late.send(signal.SIGSTOP)  # a laptop that is closed
    assert stays.end() == 0, stays.said
    late.send(signal.SIGCONT)
    assert late.end() == 0, late.said
    names = ("dies", "leaves", "late", "stays")
    for name in (*names, *names):  # those that died come back; then everybody looks once more
        again = Process(tmp_path / name, url, n_trials, 0.0)
        assert again.end() == 0, again.said
    check_whole(url, *(tmp_path / name for name in names), n_trials=n_trials, enqueued=(3.0, 6.0))
    retries = [trial for trial in told(url) if "retry_of" in trial.user_attrs]
    assert 1 <= len(retries) <= 4
    assert "dropped" in late.said
