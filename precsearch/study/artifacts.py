"""What optuna-dashboard shows of a trial beside its figures: the allocation, and its bits as a picture.

The files are in `RUN_DIR/artifacts`, under the ids that the study has; so the directory can be moved.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.trial import Trial

from precsearch.allocation import Allocation, LayerPrecision, Target
from precsearch.errors import RunDirectoryError

FOLDER: Final = "artifacts"
_COLOURS: Final[dict[Target, str]] = {"weight": "#1f77b4", "activation": "#ff7f0e", "gradient": "#2ca02c"}
_ROW, _BAR, _LETTER, _BIT = 34, 13, 7.2, 24  # pixels: a layer, a bar and its gap, a letter of a name, a bit
_LEGEND: Final = 130  # pixels from one target's word to the next
_MOST_LETTERS: Final = 40


def leave_artifacts(trial: Trial, run: Path, folder: Path) -> None:
    """Give a trial that is about to complete its files; a kill before its end may have it called twice.

    Args:
        trial: of Optuna, running.
        run: the run directory.
        folder: of the trial, which has an `allocation.json`.

    Raises:
        RunDirectoryError: when `run` cannot be written.
    """
    path = folder / "allocation.json"
    if not path.is_file():
        return
    try:
        (run / FOLDER).mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="precsearch-") as temporary:
            picture = Path(temporary) / "bits.svg"
            picture.write_text(bits_svg(Allocation.from_json(path)), encoding="utf-8")
            for file in (path, picture):
                _upload(trial, run / FOLDER, file)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write {run / FOLDER}: {error.strerror or error}; check its permissions and free space"
        ) from None


def _upload(trial: Trial, folder: Path, file: Path) -> None:
    store = FileSystemArtifactStore(folder)
    there = [meta for meta in get_all_artifact_meta(trial) if meta.filename == file.name]
    if not there:
        upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=trial)
        return
    with file.open("rb") as content:  # Optuna notes the id first, so the file may be missing
        store.write(there[0].artifact_id, content)


def bits_svg(allocation: Allocation) -> str:
    """The bits of each layer as bars, one a target, as SVG; grey text is read on white and on black."""
    targets: list[Target] = [
        target for target in _COLOURS if any(layer.bits(target) is not None for layer in allocation.layers)
    ]
    left = 12 + _LETTER * max((len(_name(layer)) for layer in allocation.layers), default=0)
    widest = max((layer.bits(target) or 0 for layer in allocation.layers for target in targets), default=0)
    parts = [_bars(layer, targets, left, 28 + _ROW * row) for row, layer in enumerate(allocation.layers)]
    legend = "".join(
        f'<rect x="{left + _LEGEND * i:g}" y="8" width="10" height="10" fill="{_COLOURS[target]}"/>'
        f'<text x="{left + _LEGEND * i + 15:g}" y="17">{target} bits</text>'
        for i, target in enumerate(targets)
    )
    width, height = max(left + _BIT * widest + 60, left + _LEGEND * len(targets)), 32 + _ROW * len(allocation.layers)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height}" '
        f'font-family="monospace" font-size="12" fill="#808080">{legend}{"".join(parts)}</svg>\n'
    )


def _bars(layer: LayerPrecision, targets: list[Target], left: float, top: int) -> str:
    drawn = f'<text x="{left - 8:g}" y="{top + _ROW // 2 + 2}" text-anchor="end">{escape(_name(layer))}</text>'
    for i, target in enumerate(targets):
        bits, y = layer.bits(target), top + 3 + _BAR * i
        width = _BIT * (bits or 0)
        drawn += f'<rect x="{left:g}" y="{y}" width="{width}" height="{_BAR - 2}" fill="{_COLOURS[target]}"/>'
        drawn += f'<text x="{left + width + 5:g}" y="{y + 10}">{bits or "float"}</text>'
    return drawn


def _name(layer: LayerPrecision) -> str:
    return layer.name if len(layer.name) <= _MOST_LETTERS else "…" + layer.name[-_MOST_LETTERS + 1 :]
