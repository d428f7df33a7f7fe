"""Run directories really trained, on the bundled digits, as small as they can be: a second or two each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from precsearch.cli import main

HEAD: Final = """
version: 1
data: {name: digits, train_limit: 96, batch_size: 48}
model: {name: mlp, hidden: [8]}
executor: {threads: 1}
"""
EPOCHS: Final = "optimizer: {lr: 1e-2}, epochs: {warmup: 1, search: 1, finetune: 1}"
SPACES: Final = {
    "search": f"""{HEAD}name: search
inner: {{bits: [2, 3, 8], budget: {{kind: average_bits, limit: 3.0}}, {EPOCHS}}}
study: {{n_trials: 1, baselines: [uniform]}}
""",
    "range": f"""{HEAD}name: range
inner: {{bits: [2, 3, 8], budget: {{kind: average_bits, range: [2.0, 6.0]}}, {EPOCHS}}}
study: {{n_trials: 1, baselines: []}}
""",
    "compare": f"""{HEAD}name: compare
kind: compare
inner: {{bits: [2, 3, 8], budget: {{kind: average_bits, limit: 3.0}}, {EPOCHS}}}
compare: {{seeds: 2, arms: {{float: {{kind: float}}, learned: {{kind: learned}}}}}}
""",
    "grid": f"""{HEAD}name: grid
kind: grid
inner: {{targets: [weight], quantizer: symmetric, {EPOCHS}}}
grid: {{seeds: 1, bits: [2], layers: true}}
""",
}


_DONE: Final[dict[str, Path]] = {}


def trained(folder: Path, name: str) -> Path:
    """Train one of `SPACES` into a folder -> its run directory, which is not to be changed; no page is drawn.

    In one process it is trained once.
    """
    if name in _DONE:
        return _DONE[name]
    path = folder / f"{name}.yaml"
    path.write_text(SPACES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        patch.setattr("precsearch.report.redraw.closing_report", lambda run, tell: None)
        with pytest.raises(SystemExit) as ended:
            main(["run", str(path), "--output", str(folder / name)])
    assert not ended.value.code
    _DONE[name] = folder / name
    return _DONE[name]
