"""What can be wrong with a folder of images: one message, before training where it can be known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import draw, load, make_folder
from real_trials import Recorder
from test_images import of_images

from precsearch.data import Batches, pictures
from precsearch.errors import DataError
from precsearch.trial import run_trial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images", count=9)


def picture(folder: Path) -> Path:
    return folder / "train" / "dog" / "003.png"


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def only_one_class(folder: Path) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            remove(folder / part / name)


def no_class_folders(folder: Path) -> None:
    for name in ("cat", "dog", "fox"):
        remove(folder / "train" / name)
    draw(folder / "train" / "a.png")


def no_images(folder: Path) -> None:
    remove(folder / "train" / "cat")
    (folder / "train" / "cat").mkdir()
    (folder / "train" / "cat" / "notes.txt").write_text("later")
    draw(folder / "train" / "cat" / ".hidden.png")


def write(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (picture(folder).write_bytes(content), None)[1]


def cut_short(folder: Path) -> None:
    path = draw(picture(folder).with_suffix(".jpg"))
    path.write_bytes(path.read_bytes()[:-100])


LISTING: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing there": (remove, "a folder of train images must lie in .*images/train, but there is none"),
    "no test": (lambda f: remove(f / "test"), r"in .*/test or .*/val, but there is none \(.* has train\).*`data.test`"),
    "class lacking": (lambda f: remove(f / "test" / "cat"), "must be the same, but .*/test lacks cat"),
    "class too many": (lambda f: draw(f / "test" / "owl" / "0.png"), "must be the same, but .*/train lacks owl"),
    "one class": (only_one_class, "/train must have folders of at least 2 classes, but has only 'fox'"),
    "no class folders": (no_class_folders, r"/train must have a folder for each class, .* but has a\.png"),
    "no images": (no_images, r"train/cat has no images \(\.jpg,"),
    "zero bytes": (write(b""), r"train/dog/003\.png is empty \(0 bytes\)"),
    "link to above": (lambda f: (f / "train" / "dog" / "up").symlink_to(f / "train"), "dog/up/dog.* has no end"),
    "link to itself": (lambda f: (f / "train" / "owl").symlink_to("owl"), "cannot read .*train/owl .*symbolic links"),
    "link to nothing": (lambda f: (f / "test" / "cat" / "x.png").symlink_to("y"), r"cannot read .*x\.png \(No such"),
}
DECODING: dict[str, tuple[Callable[[Path], Any], str]] = {
    "not an image": (
        write(b"<html>not found</html>"),
        r"dog/003\.png is no picture that can be decoded \(of no known format\): dam",
    ),
    "cut short": (cut_short, r"train/dog/003\.jpg is no picture .*truncated.*replace or delete it"),
    "damaged": (lambda f: damage(picture(f)), r"train/dog/003\.png is no picture"),
    "mixed sizes": (
        lambda f: draw(picture(f), (20, 18)),
        r"one size must hold, but .*cat/000\.png has 16 x 16 pixels and .*dog/003\.png has 20 x 18; .*image_size=",
    ),
    "real numbers": (
        lambda f: (draw(picture(f).with_suffix(".tif"), mode="F"), picture(f).unlink()),
        r"003\.tif is no picture .*floating-point",
    ),
}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


@pytest.mark.parametrize("case", LISTING)
@pytest.mark.parametrize("in_memory", [True, False])
def test_known_when_the_folder_is_listed(folder: Path, case: str, in_memory: bool) -> None:
    spoil, told = LISTING[case]
    spoil(folder)
    with pytest.raises(DataError, match=told) as caught:
        load(folder, in_memory=in_memory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", DECODING)
@pytest.mark.parametrize(("in_memory", "workers"), [(True, 0), (True, 1), (False, 0), (False, 2)])
def test_known_when_it_is_decoded(folder: Path, case: str, in_memory: bool, workers: int) -> None:
    spoil, told = DECODING[case]
    spoil(folder)
    with pytest.raises(DataError, match=told) as caught:
        data = load(folder, in_memory=in_memory, workers=workers)
        list(Batches(data.train, 4)), list(Batches(data.validation, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_trial_fails_with_the_file_s_name(folder: Path, tmp_path: Path, workers: int) -> None:
    write(b"no picture")(folder)
    with pytest.raises(DataError, match=r"dog/003\.png is no picture"):
        run_trial(of_images(folder, f"data.workers={workers}", "data.in_memory=false"), Recorder(tmp_path / "trial"))


def test_gone_while_training(folder: Path) -> None:
    data = load(folder, in_memory=False)
    picture(folder).unlink()
    with pytest.raises(DataError, match=r"dog/003\.png is gone"):
        list(Batches(data.train, 4)), list(Batches(data.validation, 4))


def test_a_worker_that_dies_says_what_may_help(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(folder, in_memory=False, workers=1)
    monkeypatch.setattr(pictures, "open_picture", lambda path: os._exit(3))
    with pytest.raises(RuntimeError, match=r"reads images from .*/train ended \(.*fewer `data.workers`") as caught:
        list(Batches(data.train, 4))
    assert not isinstance(caught.value, DataError)  # another try may go well


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["jpg", "png", "bmp", "tif", "webp"]), st.data())
def test_damaged_bytes_are_a_picture_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    path = draw(tmp_path_factory.getbasetemp() / f"fuzzed.{ending}")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert pictures.open_picture(path).mode == "RGB"
    except DataError as problem:
        assert str(path) in str(problem) and "\n" not in str(problem)


def test_flat_validation_folder_of_imagenet(tmp_path: Path) -> None:
    make_folder(tmp_path, parts=("train",))
    draw(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match=r"has ILSVRC2012_val_00000001\.JPEG\. .*torchvision\.datasets\.ImageNet"):
        load(tmp_path, "imagenet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("where", ["train/dog", "train/dog/003.png", "test"])
def test_forbidden(folder: Path, where: str) -> None:
    (folder / where).chmod(0)
    try:
        with pytest.raises(DataError, match=f"cannot read .*{where}.*ermission denied"):
            load(folder)
    finally:
        (folder / where).chmod(0o755)


READER = """
    import signal, sys, time
    from precsearch.data import Batches, load_data
    from precsearch.experiment import DataSettings
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs in the background may inherit "ignored"
    data = load_data(DataSettings(name="image_folder", root=sys.argv[1], validation=9, in_memory=False, workers=2))
    def step():
        print("reading", flush=True)
        time.sleep(60)
    def train():
        for inputs, targets in Batches(data.train, 2):
            step()
    try:
        train()
    except KeyboardInterrupt as problem:
        kept = problem
        print("interrupted", flush=True)
        time.sleep(60)
"""


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_workers_end_with_whoever_started_them(folder: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(READER), str(folder)],
        cwd=Path(__file__).parent.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "reading\n"
        workers = children(process.pid)
        assert len(workers) == 2
        if end == signal.SIGINT:
            os.killpg(process.pid, end)  # as the terminal does: everyone gets it
            assert process.stdout.readline() == "interrupted\n"
        else:
            process.kill()
        patience = time.monotonic() + 30
        while any(alive(int(worker)) for worker in workers):
            assert time.monotonic() < patience, "workers outlive the training"
            time.sleep(0.1)
    finally:
        process.kill()
        assert not process.communicate()[1]


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
