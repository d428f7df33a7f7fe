"""Files that are missing, empty or no text: one clear error each, before anything is parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.errors import ConfigurationError
from precsearch.experiment import load_experiment, load_experiment_text


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n"])
def test_empty_text_is_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^e\.yaml: .*empty.*precsearch init"):
        load_experiment_text(text, "e.yaml")


def test_unreadable_files_are_one_clear_error_each(tmp_path: Path) -> None:
    (tmp_path / "mnist.yaml").write_text("name: a")
    (tmp_path / "latin.yaml").write_bytes("name: a\n# fa\xe7ade\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"mnits\.yaml: there is no such file; did you mean 'mnist\.yaml'"):
        load_experiment(tmp_path / "mnits.yaml")
    with pytest.raises(ConfigurationError, match="there is no such file"):
        load_experiment(tmp_path / "no" / "folder.yaml")
    with pytest.raises(ConfigurationError, match="this is a folder"):
        load_experiment(tmp_path)
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2:5: UTF-8 .* 0xE7; save the file as UTF-8"):
        load_experiment(tmp_path / "latin.yaml")
    with pytest.raises(ConfigurationError, match=r"mnist\.yaml/x\.yaml: cannot be read: Not a directory"):
        load_experiment(tmp_path / "mnist.yaml" / "x.yaml")


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        load_experiment_text("model: " + "[" * 5000 + "]" * 5000)
