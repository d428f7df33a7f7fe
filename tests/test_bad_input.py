"""Bad input end to end: one clear message, the right exit status, no traceback, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bad_inputs import BAD, FOREIGN, OWN, SPACE
from bad_layerwise import BAD_LAYERWISE, lay_out
from made_runs import listing

from precsearch.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with everything the cases name."""
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "syntax.py").write_text("def net(:\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "short.json").write_text(json.dumps(FOREIGN)[:60])
    (tmp_path / "foreign.json").write_text(json.dumps(FOREIGN))
    (tmp_path / "future.json").write_text(json.dumps({**FOREIGN, "version": 9}))
    (tmp_path / "other.json").write_text('{"layers": 3}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and message of a call that has to say one thing and write nothing, with and without --json."""
    before = listing(home)
    told = []
    for flags in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *flags])
        out, err = capsys.readouterr()
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert "Traceback" not in err and "this is a bug" not in err
        message = err.removeprefix("error: ").rstrip("\n")
        if flags:
            assert json.loads(out) == {"error": message, "exit_status": ended.value.code}
        else:
            assert out == ""
        told.append((ended.value.code, message))
    assert told[0] == told[1]
    assert listing(home) == before
    return int(told[0][0] or 0), told[0][1]


def only_set(arguments: list[str]) -> bool:
    """Whether `inspect` takes them as well."""
    return all(flag == "--set" for flag in arguments[::2])


@pytest.mark.parametrize("case", [case for case in BAD if only_set(BAD[case].arguments)])
def test_inspect_refuses_in_the_same_words(capsys: pytest.CaptureFixture[str], home: Path, case: str) -> None:
    bad = BAD[case]
    text = bad.text if bad.text is not None else SPACE.replace(*bad.change, 1)
    (home / "space.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    told = refused(capsys, home, "inspect", "space.yaml", *bad.arguments)
    assert told == refused(capsys, home, "run", "space.yaml", "--dry-run", *bad.arguments)
    assert told[0] == bad.status


@pytest.mark.parametrize("dry", [False, True], ids=["run", "dry-run"])
@pytest.mark.parametrize("case", BAD | BAD_LAYERWISE)
def test_bad_input(capsys: pytest.CaptureFixture[str], home: Path, case: str, dry: bool) -> None:
    bad = (BAD | BAD_LAYERWISE)[case]
    if case in BAD_LAYERWISE:
        lay_out(home)
    assert bad.change[0] in SPACE
    text = bad.text if bad.text is not None else SPACE.replace(*bad.change, 1)
    (home / "space.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    flags = ["--dry-run"] if dry else []
    status, message = refused(capsys, home, "run", "space.yaml", "--output", "out", *bad.arguments, *flags)
    assert status == bad.status
    for word in bad.says:
        assert word in message
