"""Which trainings would be trained alike, were they given the same seed."""

from __future__ import annotations

import json
from typing import Any, Final

from precsearch.experiment import Experiment
from precsearch.experiment.outer import UNQUANTIZED

# What a network in which nothing is quantized follows from, of `inner`; with noise of the weights all of it.
_UNQUANTIZED: Final = ("targets", "epochs", "optimizer", "logits", "noise")
_ALONE: Final = ("bits", "candidates", "pin", "quantizer", "scale", "granularity")  # what `evaluate.alone` looks at


def alike(experiment: Experiment) -> str:
    """A text that is the same for experiments whose trainings with one seed come to the same, cost for cost."""
    at: dict[str, Any] = experiment.model_dump(mode="json", include={"data", "model", "inner"})
    inner = at["inner"]
    if experiment.inner.sampler == UNQUANTIZED and (inner.get("noise") or {}).get("kind") != "weight":
        wanted = _UNQUANTIZED + (_ALONE if experiment.evaluate.alone else ())
        inner = {key: inner[key] for key in wanted if key in inner}
    pin = list(experiment.inner.pin.items())  # the order in which patterns are matched counts
    return json.dumps({**at, "inner": inner, "pin": pin if "pin" in inner else None}, sort_keys=True, default=str)
