import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from precsearch.errors import ConfigurationError, DataError, ModelError
from precsearch.imports import call_own, load_object, nearest, registered


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory that modules can be written to; what it puts on the path is taken off again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(textwrap.dedent(text))


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=folder,
        env={"PYTHONPATH": root, "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


class TestLoadObject:
    def test_finds_a_module_in_the_current_directory(self, here):
        write(here, "mine_here.py", "class Box:\n    def make(): return 7\n")
        assert load_object("mine_here:Box.make")() == 7

    def test_finds_an_installed_module(self):
        assert load_object("pathlib:Path") is Path

    @pytest.mark.parametrize("path", ["", "a", ":f", "a:", "a:b:c", "a b:c", ".a:f", "a:1"])
    def test_refuses_what_is_no_import_path(self, path):
        with pytest.raises(ConfigurationError, match=r"an import path `package.module:function` must hold"):
            load_object(path)

    @pytest.mark.parametrize(
        ("path", "hint"),
        [
            ("a.b.f", "did you mean 'a.b:f'"),
            ("mine.py:f", "without `.py`: mine:f"),
            ("./sub/mine.py:f", "without `.py`: sub.mine:f"),
        ],
    )
    def test_says_how_to_write_it(self, path, hint):
        with pytest.raises(ConfigurationError, match=hint):
            load_object(path)

    def test_missing_module_says_where_it_looked(self, here):
        with pytest.raises(ConfigurationError, match="No module named 'no_such_module'") as caught:
            load_object("no_such_module:f")
        assert f"the current directory {here} is on the path" in str(caught.value)

    def test_missing_submodule(self, here):
        write(here, "mine_flat.py", "")
        with pytest.raises(ConfigurationError, match="'mine_flat' is not a package"):
            load_object("mine_flat.deeper:f")

    def test_missing_name_tells_the_nearest(self, here):
        write(here, "mine_near.py", "def build(): pass\n")
        with pytest.raises(ConfigurationError, match=r"has no 'buidl'; nearest: 'build'") as caught:
            load_object("mine_near:buidl")
        assert str(here / "mine_near.py") in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("1 / 0", "raised ZeroDivisionError: division by zero"),
            ("import no_such_dependency", "raised ModuleNotFoundError: No module named 'no_such_dependency'"),
            ("import sys; sys.exit(3)", "raised SystemExit: 3"),
            ("def f(:", "raised SyntaxError"),
        ],
    )
    def test_a_module_that_raises(self, here, text, told):
        write(here, "mine_raises.py", text)
        with pytest.raises(ConfigurationError, match="cannot load 'mine_raises:f'") as caught:
            load_object("mine_raises:f")
        assert told in str(caught.value)

    def test_tells_where_it_raised(self, here):
        write(here, "mine_where.py", "x = 1\n\nx.y\n")
        with pytest.raises(ConfigurationError, match=r"mine_where\.py:3"):
            load_object("mine_where:f")

    def test_a_module_that_imports_torchvision(self, tmp_path):
        write(tmp_path, "mine_vision.py", "import torchvision\ndef f(): return torchvision.models.resnet18\n")
        done = python(
            """
            from precsearch.imports import load_object
            print(load_object("mine_vision:f")().__name__)
            """,
            tmp_path,
        )
        assert done.stdout == "resnet18\n", done.stderr


class TestCallOwn:
    def call(self, function, given, error=ModelError, **offered):
        return call_own(function, "m:f", given, offered, section="model", refused=ModelError, raised=error)

    def test_offers_only_what_is_named(self):
        assert self.call(lambda a, b=2: (a, b), {"b": 3}, a=1, c=9) == (1, 3)
        assert self.call(lambda **rest: rest, {"x": 1}, a=1) == {"x": 1}

    def test_what_the_user_gives_wins(self):
        assert self.call(lambda a: a, {"a": 5}, a=1) == 5

    def test_unknown_argument_names_the_nearest(self):
        with pytest.raises(ModelError, match=r"`model\.widht` .* accepts width, depth; nearest: 'width'"):
            self.call(lambda classes, width, depth=1: 0, {"widht": 2}, classes=3)

    def test_missing_argument(self):
        with pytest.raises(ModelError, match=r"needs the argument width: give `model\.width`"):
            self.call(lambda classes, width: 0, {}, classes=3)

    def test_not_callable(self):
        with pytest.raises(ModelError, match="must be callable, but it is a int"):
            self.call(3, {})

    def test_what_it_raises_is_told_with_its_place(self):
        def broken():
            raise KeyError("x")

        with pytest.raises(DataError, match=r"raised KeyError: 'x' \(.*test_imports\.py:\d+\)"):
            self.call(broken, {}, error=DataError)

    def test_our_own_errors_pass(self):
        def broken():
            raise ModelError("width")

        with pytest.raises(ModelError, match=r"^width$"):
            self.call(broken, {}, error=DataError)


class TestNames:
    def test_registered(self):
        assert registered("mnist", {"mnist": 1}, "data.name") == "mnist"
        with pytest.raises(ConfigurationError, match=r"one of digits, mnist, .* got 'mnits'; nearest: 'mnist'"):
            registered("mnits", ["mnist", "digits"], "data.name")
        with pytest.raises(ConfigurationError, match=r"did you mean 'torchvision.models:resnet18'"):
            registered("torchvision.models.resnet18", ["mlp"], "model.name")

    def test_nearest_is_silent_where_nothing_resembles(self):
        assert not nearest("zzz", ["mlp"])


def test_loads_no_torch(tmp_path):
    done = python(
        "import sys, precsearch.imports as i; i.load_object('json:loads'); print('torch' in sys.modules)",
        tmp_path,
    )
    assert done.stdout == "False\n", done.stderr


class TestTorchvision:
    def test_data_sets_and_models_work(self, tmp_path):
        done = python(
            """
            from precsearch.torchvision_import import import_torchvision
            import torch
            vision = import_torchvision()
            assert import_torchvision() is vision
            assert vision.datasets.MNIST.__name__ == "MNIST"
            print(list(vision.models.resnet18(num_classes=3).eval()(torch.randn(1, 3, 32, 32)).shape))
            """,
            tmp_path,
        )
        assert done.stdout == "[1, 3]\n", done.stderr

    def test_after_somebody_else_failed_to_import_it(self, tmp_path):
        done = python(
            """
            try:
                import torchvision
            except RuntimeError:
                pass
            from precsearch.torchvision_import import import_torchvision
            print(import_torchvision().models.resnet18.__name__)
            """,
            tmp_path,
        )
        assert done.stdout == "resnet18\n", done.stderr

    @pytest.mark.parametrize(
        "text",
        ["raise ImportError('broken')", "raise RuntimeError('operator torchvision::x does not exist')"],
    )
    def test_another_failure_is_told(self, tmp_path, text):
        (tmp_path / "torchvision").mkdir()
        write(tmp_path / "torchvision", "__init__.py", text)
        done = python(
            """
            from precsearch.torchvision_import import import_torchvision
            from precsearch.errors import DataError
            try:
                import_torchvision()
            except DataError as problem:
                print(problem)
            """,
            tmp_path,
        )
        assert "torchvision cannot be imported" in done.stdout, done.stderr
        assert "search_spaces/digits.yaml" in done.stdout
