"""Whatever an experiment holds, writing it and reading it again gives the same experiment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.experiment import Experiment, dump_experiment, fingerprint, load_experiment_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TRICKY = st.sampled_from(
    ["1e-4", "off", "null", "~", "", "0o17", "3", "1:30", "yes", "- a", "a: b", "#", " x", "=", "<<"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS, TRICKY
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | TRICKY, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(
    st.from_regex(r"[a-z][a-z_0-9.]{0,8}", fullmatch=True).filter(lambda key: key != "name"),
    VALUES,
    max_size=3,
)
POSITIVE = st.floats(1e-12, 1e12)
SHARES = st.integers(1, 10**6) | st.floats(0.001, 0.99)
LIMITS = POSITIVE | st.dictionaries(st.sampled_from(["weight", "activation"]), POSITIVE, min_size=1)
PINS = st.dictionaries(TEXTS | TRICKY, st.integers(1, 16) | st.just("float"), max_size=3)
CHOICES = st.lists(TEXTS | TRICKY, min_size=1, max_size=3, unique=True)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    low = draw(POSITIVE)
    high = draw(st.floats(low, 1e13))
    return Experiment.model_validate(
        {
            "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)),
            "data": {"root": draw(TEXTS | TRICKY), "validation": draw(SHARES)},
            "model": {"name": draw(TEXTS | TRICKY), **draw(ARGUMENTS)},
            "inner": {
                "bits": sorted(draw(st.sets(st.integers(1, 16), min_size=1))),
                "budget": {"limit": draw(LIMITS)},
                "pin": draw(PINS),
                "optimizer": {"lr": draw(POSITIVE), "finetune_lr": draw(st.none() | POSITIVE)},
            },
            "study": {
                "sampler": {"name": "tpe", **draw(ARGUMENTS)},
                "constraints": [{"metric": "bitops", "max": draw(POSITIVE)}],
                "enqueue": [{"inner.temperature.start": draw(st.floats(low, high))}],
            },
            "space": {
                "inner.temperature.start": {"type": "float", "low": low, "high": high, "log": True},
                "model.text": {"type": "categorical", "choices": draw(CHOICES)},
            },
        }
    )


@settings(max_examples=60, deadline=None)
@given(experiments())
def test_dumping_and_loading_gives_an_equal_experiment(experiment: Experiment) -> None:
    text = dump_experiment(experiment)
    again = load_experiment_text(text)
    assert again == experiment
    assert dump_experiment(again) == text
    assert fingerprint(again) == fingerprint(experiment)
