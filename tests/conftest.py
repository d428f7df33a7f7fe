"""What all tests share.

One thread for every test: their operations are small, and threads that share them mostly wait for each other.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; child processes have it too

# One Ray cluster at a time: whoever joins one takes the newest that it finds on the machine.
_STARTS_RAY = {"test_cluster", "test_confirm", "test_inspect", "test_ray_connection", "test_ray_environment"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `pytest -n N --dist loadgroup`, let one process have all tests that start a cluster."""
    for item in items:
        if item.path.stem in _STARTS_RAY:
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(autouse=True)
def large_networks_leave(request: pytest.FixtureRequest) -> Iterator[None]:
    """Networks are in reference cycles of few, large objects: the collector alone lets gigabytes of them pile up."""
    yield
    if request.node.get_closest_marker("slow") is not None:
        gc.collect()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: arguments -> exit status, stdout, stderr."""
    from precsearch.cli import main

    def _call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return _call
