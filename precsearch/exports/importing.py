"""Reading an allocation that another tool, or a hand, wrote: for the model of an experiment, or for one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from precsearch.allocation import Allocation
from precsearch.errors import AllocationError, ConfigurationError
from precsearch.exports.dialects import DIALECTS, dialect_named
from precsearch.exports.dialects.base import Dialect, Given, Part, Types
from precsearch.exports.dialects.source import MOST, Source, read_source
from precsearch.imports import nearest

if TYPE_CHECKING:
    from torch import nn

    from precsearch.experiment import Experiment
    from precsearch.layers import Example


SEARCHED: Final = "searched"
Pin = int | str | None  # bits, `SEARCHED`, or float


@dataclass(frozen=True)
class Missing:
    """What targets get that the file does not give.

    Attributes:
        refused: nothing: it is an error.
        bits: that they get; None leaves them in float32.
    """

    refused: bool = True
    bits: int | None = None


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes:
        format: its name.
        allocation: for the model; it keeps no budget.
        notes: what the file does not carry, or says beyond bits, a sentence each.
    """

    format: str
    allocation: Allocation
    notes: tuple[str, ...] = ()


@dataclass
class Reading:
    """A file that is read for a model.

    Attributes:
        source: the document.
        format: of it.
        missing: what targets get that it does not give.
        notes: what was found on the way.
    """

    source: Source
    format: str
    missing: Missing
    notes: list[str] = field(default_factory=list)

    @property
    def dialect(self) -> Dialect:
        """Of the format."""
        return dialect_named(self.format)

    def give(self, types: Types, uncovered: Mapping[Part, str], pins: Mapping[Part, Pin]) -> dict[Part, int | None]:
        """The bits of every target that is asked for.

        Args:
            types: layer -> class name of its module, every layer of the model.
            uncovered: targets that cannot have bits -> why.
            pins: targets that can -> what they are pinned to, or `SEARCHED`.

        Raises:
            AllocationError: when a layer is unknown, a target missing, or a pin contradicted.
        """
        given = self.dialect.read(self.source, types)
        self._check_layers(given, types)
        self._check_pins(given, pins)
        self.notes.extend(given.notes)
        self._tell_untaken(given, uncovered, pins)
        lost = [part for part, pin in pins.items() if pin == SEARCHED and part not in given.entries]
        if lost and self.missing.refused:
            raise AllocationError(self._lost_text(lost))
        if lost:
            self.notes.append(f"not given by the file, so {_bits(self.missing.bits)}: {_names(lost)}")
        pinned = {part: pin for part, pin in pins.items() if not isinstance(pin, str)}
        return dict.fromkeys(lost, self.missing.bits) | {
            part: given.entries[part].bits if part in given.entries else pinned[part]
            for part in pins
            if part not in lost
        }

    @staticmethod
    def _check_pins(given: Given, pins: Mapping[Part, Pin]) -> None:
        for (layer, target), entry in given.entries.items():
            pin = pins.get((layer, target), SEARCHED)
            if not isinstance(pin, str) and pin != entry.bits:
                raise AllocationError(
                    f"{entry.at}: the {target} of {layer} has {_bits(entry.bits)} here, but it is pinned to "
                    f"{_bits(pin)}; change the file, or the pin"
                )

    def _check_layers(self, given: Given, types: Types) -> None:
        unknown = {layer: entry.at for (layer, _), entry in given.entries.items() if layer not in types}
        if unknown:
            told = "\n".join(
                f"{at}: the model has no layer {name!r}{nearest(name, types)}" for name, at in unknown.items()
            )
            raise AllocationError(f"{told}\nits layers: {', '.join(types)}")

    def _tell_untaken(self, given: Given, uncovered: Mapping[Part, str], pins: Mapping[Part, Pin]) -> None:
        reasons: dict[str, list[Part]] = {}
        for part, entry in given.entries.items():
            if entry.bits is not None and part not in pins:
                why = uncovered.get(part, "it is not among `inner.targets`")
                reasons.setdefault(why, []).append(part)
        self.notes.extend(f"not taken: {_names(parts)}; {why}" for why, parts in reasons.items())

    def _lost_text(self, lost: list[Part]) -> str:
        carries, targets = self.dialect.carries, sorted({target for _, target in lost})
        never = [target for target in targets if target not in carries]
        whose = f" ({self.format} carries no bits of the {' and '.join(never)})" if never else ""
        return (
            f"{self.source.path}: bits must be given for {_names(lost)}, but the file gives none{whose}; "
            "`--missing float` leaves them in float32, `--missing 8` gives them 8 bits (`missing=` in Python), and "
            "what is pinned needs none"
        )


def import_allocation(
    source: str | Path,
    format: str,
    experiment: Experiment | str | Path | None = None,
    *,
    model: nn.Module | None = None,
    example_input: Example | None = None,
    missing: str | int | None = None,
    **settings: Any,
) -> Allocation:
    """Read an allocation that another tool wrote, for the model of an experiment or for one of your own.

    Args:
        source: the file, JSON.
        format: a key of `precsearch.exports.dialects.DIALECTS`, such as ``hawq``.
        experiment: whose model it is for; its `inner` says how targets are quantized.
        model: instead of an experiment; not changed.
        example_input: with `model`, a batch as it takes it.
        missing: what targets get that the file does not give: ``float``, a bit-width, or None, an error.
        settings: with `model`, those of `SearchableModel` that say what is quantized and how: ``targets``,
            ``quantizer``, ``scale``, ``granularity``, ``pin``, ``groups``, ``share``.

    Returns:
        The allocation; it keeps no budget. `apply_allocation` takes it, and so does `inner.allocation` once written.

    Raises:
        AllocationError: when the file cannot be read, is of another format, or does not fit the model.
        ConfigurationError: for an unknown format, or arguments that do not go together.
    """
    reading = begin(source, format, missing)
    if experiment is not None and model is None and example_input is None and not settings:
        from precsearch.experiment.loading import load_experiment

        loaded = load_experiment(experiment) if isinstance(experiment, str | Path) else experiment
        return finish(reading, loaded).allocation
    if experiment is not None or model is None or example_input is None:
        raise ConfigurationError(
            "an allocation is imported for an experiment, which says everything itself, or for `model`, with "
            "`example_input` (a batch as it takes it) and settings; give one of both"
        )
    from precsearch.exports.network.imported import describe_for_model

    return describe_for_model(reading, model, example_input, settings)


def begin(source: str | Path, format: str, missing: str | int | None) -> Reading:
    """Read the file, and see that it is of the format.

    Raises:
        AllocationError: when it cannot be read, or is of another.
        ConfigurationError: for an unknown format, or bits that are none.
    """
    dialect, left = dialect_named(format), _missing(missing)
    found = read_source(Path(source))
    if not dialect.speaks(found.data):
        others = [name for name, other in DIALECTS.items() if other.speaks(found.data)]
        hint = f"; it looks like `--format {others[0]}`" if others else "; known formats: " + ", ".join(DIALECTS)
        raise AllocationError(f"{found.path}: this is not {dialect.what} (format {format!r}){hint}")
    return Reading(found, format, left)


def finish(reading: Reading, experiment: Experiment) -> Imported:
    """Read the file for the model of an experiment."""
    from precsearch.exports.network.imported import describe_for_experiment

    allocation = describe_for_experiment(reading, experiment)
    return Imported(reading.format, allocation, tuple(reading.notes))


def _missing(given: str | int | None) -> Missing:
    if given is None:
        return Missing()
    if given == "float":
        return Missing(refused=False)
    digits = str(given)
    if not digits.isdecimal() or not 1 <= int(digits) <= MOST:
        raise ConfigurationError(f"what is missing gets `float` or 1 to {MOST} bits, but got {given!r}")
    return Missing(refused=False, bits=int(digits))


def _names(parts: list[Part]) -> str:
    found: dict[str, list[str]] = {}
    for layer, target in parts:
        found.setdefault(target, []).append(layer)
    return "; ".join(f"{target} of {', '.join(layers)}" for target, layers in found.items())


def _bits(bits: int | None) -> str:
    return "float32" if bits is None else f"{bits} bits"
