"""Numbers and bits as short text, the same wherever they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from precsearch.allocation import Allocation, LayerPrecision, Target

if TYPE_CHECKING:
    from precsearch.experiment import StudySettings

NOTHING = "-"
TARGETS: tuple[Target, ...] = ("weight", "activation")

# layer -> target -> bits; a target left in float32 is absent or None
Bits = Mapping[str, Mapping[str, int | None]]

_HEADERS = {
    "bitops": "BitOPs",
    "model_size": "size",
    "activation_memory": "memory",
    "average_bits_weight": "weight bits",
    "average_bits_activation": "activation bits",
    "test_accuracy": "test %",
}
_MINUTE, _HOUR = 60, 3600
_KILO = 1000.0


def about(seconds: float) -> str:
    """An estimate, no finer than it deserves: `40 s`, `3 min` or `2 h 03 min`."""
    if seconds < _MINUTE - 5:
        return f"{max(10, 10 * round(seconds / 10))} s"
    return duration(seconds) if seconds >= _HOUR else f"{round(seconds / _MINUTE)} min"


def metric_header(metric: str) -> str:
    """Column header of `metric`: short, with its unit where the cells do not carry it."""
    if metric in _HEADERS:
        return _HEADERS[metric]
    name = metric.replace("_", " ")
    return name.replace("accuracy", "%") if metric.endswith("accuracy") else name


def metric_text(metric: str, value: float | None) -> str:
    """`value` as people read it: accuracies in %, bytes and BitOPs with a prefix, bits with two decimals."""
    if value is None:
        return NOTHING
    if metric.endswith("accuracy"):
        return f"{100 * value:.2f}"
    if metric in {"model_size", "activation_memory"}:
        return f"{prefixed(value)}B"
    if metric == "bitops":
        return prefixed(value)
    if metric.startswith("average_bits"):
        return f"{value:.2f}"
    return f"{value:.4g}"


def prefixed(value: float) -> str:
    """Three significant digits and an SI prefix: 1234567 is `1.23 M`; whole below a thousand."""
    for prefix in ("", "k", "M", "G", "T"):
        # 999.95 k would print as 1e+03 k: it belongs to the next prefix
        if abs(value) < _KILO * 0.9995 or prefix == "T":
            digits = f"{value:.0f}" if prefix == "" else f"{value:#.3g}".rstrip(".")
            return f"{digits} {prefix}"
        value /= _KILO
    raise AssertionError("the last prefix always returns")


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 05 s` or `2 h 03 min`."""
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"


def bits_of(layers: Iterable[LayerPrecision]) -> dict[str, dict[str, int | None]]:
    """Layer -> target -> bits, as `bits_text` takes it."""
    return {layer.name: {target: precision.bits for target, precision in layer.targets.items()} for layer in layers}


def bits_text(bits: Bits) -> str:
    """`fc1 4/3  fc2 8/f`: weight / activation bits, `f` for float32; one number where only weights are."""
    pair = any("activation" in targets for targets in bits.values())
    return "  ".join(f"{layer} {bits_pair(targets, pair)}" for layer, targets in bits.items())


def bits_pair(targets: Mapping[str, int | None], pair: bool) -> str:
    """`4/3`: weight / activation bits of one layer; only the weight's without `pair`."""
    shown = [targets.get(target) for target in (TARGETS if pair else TARGETS[:1])]
    return "/".join("f" if bits is None else str(bits) for bits in shown)


def average_bits(values: Mapping[Any, float]) -> str:
    """`2.98/3.10`: mean weight bits / mean activation bits, of an allocation's cost or a trial's metrics."""
    found = [values.get(target, values.get(f"average_bits_{target}")) for target in TARGETS]
    return "/".join(f"{bits:.2f}" for bits in found if bits is not None) or NOTHING


def allocation_average_bits(allocation: Allocation | None, metrics: Mapping[str, float]) -> str:
    """Average bits by the allocation's own cost, or by the metrics where there is no allocation."""
    return average_bits(allocation.cost.average_bits if allocation is not None else metrics)


def params_text(params: Mapping[str, Any], brief: bool = False) -> str:
    """What the outer search chose: `budget.limit=3.5, temperature.start=2`, without the common `inner.`.

    Args:
        params: dotted path -> value.
        brief: only the last word of each path, where no other path ends with it: `limit=3.5, start=2`.
    """
    ends = [path.rpartition(".")[2] for path in params]
    names = [
        end if brief and ends.count(end) == 1 else path.removeprefix("inner.")
        for path, end in zip(params, ends, strict=True)
    ]
    return ", ".join(f"{name}={_value(value)}" for name, value in zip(names, params.values(), strict=True))


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def limit_text(limit: float | Mapping[Any, float] | None) -> str:
    """A budget's limit: one number, or one a target."""
    if limit is None:
        return NOTHING
    if isinstance(limit, Mapping):
        return ", ".join(f"{target} {number:g}" for target, number in limit.items())
    return f"{limit:g}"


def baselines_text(study: StudySettings) -> str:
    """`uniform and random beside each member of the front, float beside the best trial`."""
    each = study.beside(best=False)
    only = [kind for kind in study.beside(best=True) if kind not in each]
    parts = [f"{' and '.join(each)} beside each member of the front"] if each else []
    parts += [f"{' and '.join(only)} beside the best trial"] if only else []
    return ", ".join(parts) or "none"


def count(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
