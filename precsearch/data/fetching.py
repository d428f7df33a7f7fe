"""Files that torchvision downloads: looked for, fetched where that is allowed, and never left half-written."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from precsearch.errors import DataError
from precsearch.experiment import DataSettings
from precsearch.files import patient_download

REMEDIES = (
    "Use a folder that has them with `--set data.root=DIR`, or the bundled digits, which need no files: "
    "`precsearch run search_spaces/digits.yaml`"
)


@dataclass(frozen=True)
class Source:
    """A data set's files.

    Attributes:
        name: of the data set, in messages.
        folder: that the files are in, below ``data.root``.
        files: their names.
        fetch: downloads them, in `folder`, below the folder that it is given.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    fetch: Callable[[str], None]


def fetched(source: Source, settings: DataSettings) -> Path:
    """The folder with the files of `source`; downloaded where one is missing and `settings.download` allows.

    Raises:
        DataError: files are missing and cannot be fetched.
    """
    root = Path(settings.root).expanduser().absolute()
    if _missing(source, root):
        if not settings.download:
            raise DataError(f"{_not_found(source, root)}, and `data.download` is false. {REMEDIES}")
        _download(source, root)
    return root / source.folder


def _missing(source: Source, root: Path) -> list[str]:
    missing = []
    for name in source.files:
        try:
            (root / source.folder / name).stat()  # exists() calls a forbidden folder an empty one
        except (FileNotFoundError, NotADirectoryError):
            missing.append(name)
        except OSError as problem:
            raise DataError(f"cannot read the {source.name} folder {root} ({problem}). {REMEDIES}") from problem
    return missing


def _not_found(source: Source, root: Path) -> str:
    return f"no {source.name} in {root / source.folder} (missing: {', '.join(_missing(source, root))})"


def _download(source: Source, root: Path) -> None:
    """Fetch into a temporary folder and move whole files in: nothing half-written stays, workers may race."""
    try:
        with _folder(root), tempfile.TemporaryDirectory(prefix=".download-", dir=root) as folder, patient_download():
            source.fetch(folder)
            place = root / source.folder
            place.mkdir(parents=True, exist_ok=True)
            for name in source.files:
                (Path(folder) / source.folder / name).replace(place / name)
    except (RuntimeError, OSError, HTTPException, EOFError, zlib.error) as problem:
        told = " ".join(str(problem).split()) or type(problem).__name__
        raise DataError(f"{_not_found(source, root)}, and the download failed: {told}. {REMEDIES}") from problem


@contextlib.contextmanager
def _folder(root: Path) -> Iterator[None]:
    """Make `root`, and take away again what of it was made, where nothing came to lie in it."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
