"""Where a trial's files are between workers: the run directory itself, or a storage that every node sees.

A worker writes its checkpoint before it reports an epoch, and the place follows from the trial's number, so a
trial goes on after the loss of its worker, its node or the driver, whoever takes it up. Tune's own checkpoints
would add a second record of where they are, kept by a driver that may be gone.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.files import write_text
from precsearch.study.executors.base import START, Job

RUN_ID: Final = ".run-id"
_PARTIAL: Final = ".partial"


class Storage(Protocol):
    """Where trials leave their files. Travels to workers, so it holds plain data."""

    def bring(self, job: Job) -> None:
        """Bring the weights that `job` starts from to where workers see them. Called by the driver."""

    def open(self, job: Job) -> contextlib.AbstractContextManager[Path]:
        """A folder on this node to train `job` in, with what earlier workers left."""

    def keep(self, job: Job, folder: Path, files: Sequence[Path]) -> None:
        """Make `files`, which a worker wrote into `folder`, survive the worker."""

    def collect(self, job: Job) -> None:
        """Bring the files of a finished job into its run directory. Called by the driver."""


@dataclass(frozen=True)
class RunDirectoryStorage:
    """Workers write into the run directory: they are on its machine."""

    def bring(self, job: Job) -> None:
        """Nothing: workers see the run directory."""

    @contextlib.contextmanager
    def open(self, job: Job) -> Iterator[Path]:
        """The trial's own folder."""
        if not job.directory.is_dir():
            raise RunDirectoryError(
                f"a node cannot see {job.directory}, where its trial has to write; "
                "set executor.storage_path to a folder or URL that every node sees"
            )
        yield job.directory

    def keep(self, job: Job, folder: Path, files: Sequence[Path]) -> None:
        """Nothing: they were written where they are kept."""

    def collect(self, job: Job) -> None:
        """Nothing: they are there."""


@dataclass(frozen=True)
class SharedStorage:
    """Workers write locally and copy to a folder or object store that every node sees.

    Args:
        url: of a folder, such as ``/mnt/shared/precsearch`` or ``s3://bucket/precsearch``.
        run: name of the run's own folder there.
    """

    url: str
    run: str = ""

    def bring(self, job: Job) -> None:
        """Copy them beside the checkpoint, where `open` finds them and `collect` leaves them out."""
        if job.start is not None:
            self.keep(job, job.start.parent, [job.start], under=START)

    @contextlib.contextmanager
    def open(self, job: Job) -> Iterator[Path]:
        """A temporary folder with the files of the last attempt."""
        with tempfile.TemporaryDirectory(prefix="precsearch-trial-", ignore_cleanup_errors=True) as name:
            folder = Path(name) / job.directory.name  # a trial reads its name off its folder
            folder.mkdir()
            filesystem, root = self._of(job)
            with _told(self.url):
                for file in _whole_files(filesystem, root):
                    local = folder / PurePosixPath(file).relative_to(root)
                    local.parent.mkdir(parents=True, exist_ok=True)
                    filesystem.get_file(file, str(local))
            yield folder

    def keep(self, job: Job, folder: Path, files: Sequence[Path], under: str = "") -> None:
        """Copy `files`, each whole or not at all; `under` a folder of the training's own."""
        filesystem, root = self._of(job)
        root = f"{root}/{under}" if under else root
        with _told(self.url):
            for path in files:
                target = f"{root}/{path.relative_to(folder).as_posix()}"
                partial = f"{target}.{uuid.uuid4().hex}{_PARTIAL}"
                filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
                filesystem.put_file(str(path), partial)
                filesystem.mv(partial, target)

    def collect(self, job: Job) -> None:
        """Copy all but the checkpoint, then remove the copy."""
        filesystem, root = self._of(job)
        with _told(self.url):
            for file in _whole_files(filesystem, root):
                inside = PurePosixPath(file).relative_to(root)
                if len(inside.parts) > 1:  # the folders of the checkpoint and of the start
                    continue
                temporary = job.directory / f".{inside.name}.{os.getpid()}.tmp"
                filesystem.get_file(file, str(temporary))
                temporary.replace(job.directory / inside.name)
            if filesystem.exists(root):
                filesystem.rm(root, recursive=True)

    def put_token(self, token: str) -> None:
        """Leave a file by which another node recognizes this storage.

        Raises:
            ConfigurationError: when fsspec cannot open such a URL.
            RunDirectoryError: when the storage cannot be written.
        """
        filesystem, root = self._filesystem()
        with _told(self.url):
            filesystem.makedirs(root, exist_ok=True)
            filesystem.pipe_file(f"{root}/.precsearch-{token}", token.encode())

    def has_token(self, token: str) -> bool:
        """Whether the file that `put_token` left is seen here."""
        filesystem, root = self._filesystem()
        try:
            return bool(filesystem.cat_file(f"{root}/.precsearch-{token}") == token.encode())
        except OSError:
            return False

    def remove_token(self, token: str) -> None:
        """Remove what `put_token` left."""
        filesystem, root = self._filesystem()
        with contextlib.suppress(OSError):
            filesystem.rm_file(f"{root}/.precsearch-{token}")

    def _of(self, job: Job) -> tuple[Any, str]:
        filesystem, root = self._filesystem()
        inside = job.directory.relative_to(job.directory.parents[1])
        return filesystem, f"{root}/{self.run}/{inside.as_posix()}"

    def _filesystem(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            filesystem, root = url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"executor.storage_path: a folder, or a URL that fsspec can open, must be given, but got "
                f"{self.url!r}: {error}"
            ) from None
        return filesystem, str(root).rstrip("/")


def run_name(run: Path) -> str:
    """A name for a run directory in a storage that several share: its own, and an id that the directory keeps."""
    path = run / RUN_ID
    if not path.is_file():
        write_text(path, uuid.uuid4().hex[:12])
    return f"{run.name}-{path.read_text(encoding='utf-8').strip()}"


def _whole_files(filesystem: Any, root: str) -> list[str]:
    found = filesystem.find(root) if filesystem.exists(root) else []
    return [str(file) for file in found if not str(file).endswith(_PARTIAL)]


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"executor.storage_path: cannot read or write {url}: {error.strerror or error}; check that the folder "
            "or bucket exists, its permissions and free space"
        ) from None
