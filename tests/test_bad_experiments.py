"""Every mistake in an experiment gets one line: where exactly, what rule, what value, what to do."""

from __future__ import annotations

import pytest

from precsearch.errors import ConfigurationError
from precsearch.experiment import load_experiment_text

# text, (line, column), words the one message must have
BAD = {
    "unknown key": (
        "inner:\n  budget:\n    limt: 3\n",
        (3, 5),
        ["inner.budget.limt", "did you mean 'limit'?"],
    ),
    "unknown key, nothing near": ("colour: red\n", (1, 1), ["unknown key 'colour'", "version, kind, name, data"]),
    "unknown key in a list": (
        "study:\n  objectives:\n    - {metric: bitops, direction: minimize}\n"
        "    - {metric: model_size, direction: minimize, weight: 3}\n",
        (4, 49),
        ["study.objectives[1].weight", "metric, direction"],
    ),
    "misspelt key of named data": ("data: {batchsize: 3}", (1, 8), ["did you mean 'batch_size'?"]),
    "quoted number": ('inner: {budget: {limit: "1e-4"}}', (1, 25), ["'1e-4'", "drop the quotes"]),
    "quoted whole number": ('study:\n  n_trials: "3"', (2, 13), ["whole number", "drop the quotes"]),
    "text for a number": ("inner: {logits: {lr: fast}}", (1, 22), ["a number must be given", "'fast'"]),
    "bool for a whole number": ("data: {batch_size: true}", (1, 20), ["whole number", "true"]),
    "bool for a number": ("inner: {logits: {lr: true}}", (1, 22), ["a number must be given", "true"]),
    "real for whole": ("data: {batch_size: 64.0}", (1, 20), ["64.0", "write 64"]),
    "word for a bool": ("data: {download: off}", (1, 18), ["true or false", "write false"]),
    "number for a text": ("data: {root: 3}", (1, 14), ["a text must be given", "'3'"]),
    "null for a number": ("data: {batch_size: null}", (1, 20), ["null", "leave the key out"]),
    "infinite": ("inner: {budget: {limit: .inf}}", (1, 25), ["finite"]),
    "out of range": ("inner:\n  budget: {limit: -1}", (2, 19), ["`limit > 0`", "-1"]),
    "below one": ("study: {n_trials: 0}", (1, 19), ["`n_trials >= 1`", "0"]),
    "too large": ("study: {seed: 4294967296}", (1, 15), ["`seed < ", "4294967296"]),
    "zero for one target": ("inner: {budget: {limit: {weight: 0}}}", (1, 34), ["limit.weight", "> 0"]),
    "limit for unknown target": (
        "inner: {budget: {limit: {weigth: 3}}}",
        (1, 26),
        ["did you mean 'weight'?"],
    ),
    "no such choice": (
        "inner:\n  sampler: pertub-and-map",
        (2, 12),
        ["gumbel-softmax", "'perturb-and-map'?"],
    ),
    "scalar for a list": ("inner: {bits: 4}", (1, 15), ["a list must be given", "write [4]"]),
    "real among bits": ("inner: {bits: [2, 3.0]}", (1, 19), ["inner.bits[1]", "write 3"]),
    "bits not ascending": ("inner: {bits: [4, 2]}", (1, 15), ["ascending", "[2, 4]"]),
    "no bits": ("inner: {bits: []}", (1, 15), ["at least 1 entry"]),
    "scalar for a block": ("inner: 3", (1, 8), ["mapping", "3"]),
    "block rule": ("inner:\n  sampler: fixed", (1, 1), ["`allocation` goes with `sampler: fixed`"]),
    "pinned to a word": ("inner: {pin: {fc1: flot}}", (1, 20), ["inner.pin.fc1", "'float'"]),
    "unknown version": ("version: 2", (1, 10), ["version: 1", "2"]),
    "name with a space": ("name: my run", (1, 7), ["letters", "'my run'"]),
    "test metric": (
        "study: {objectives: [{metric: test_accuracy, direction: maximize}]}",
        (1, 31),
        ["validation_accuracy", "report only"],
    ),
    "unknown metric": (
        "study: {constraints: [{metric: model_sise, max: 3}]}",
        (1, 32),
        ["average_bits", "did you mean 'model_size'?"],
    ),
    "metric twice": (
        "study:\n  objectives:\n"
        "    - {metric: bitops, direction: minimize}\n    - {metric: bitops, direction: maximize}\n",
        (2, 3),
        ["'bitops' twice"],
    ),
    "unbounded constraint": ("study: {constraints: [{metric: bitops}]}", (1, 23), ["`min`, `max` or both"]),
    "no objective": ("study: {objectives: []}", (1, 21), ["at least 1"]),
    # the search space
    "dimension without type": (
        "space:\n  inner.budget.limit: {low: 1, high: 2}",
        (2, 23),
        ["`type` is missing", "type: float"],
    ),
    "dimension of unknown type": (
        "space: {inner.budget.limit: {type: flot, low: 1, high: 2}}",
        (1, 36),
        ["space.inner.budget.limit.type", "did you mean 'float'?"],
    ),
    "dimension with a misspelt key": (
        "space: {inner.budget.limit: {type: float, low: 1, high: 2, stpe: 1}}",
        (1, 60),
        ["did you mean 'step'?"],
    ),
    "dimension without an end": (
        "space: {inner.budget.limit: {type: float, low: 1}}",
        (1, 29),
        ["`high` is missing"],
    ),
    "low above high": (
        "space: {inner.budget.limit: {type: float, low: 3, high: 2}}",
        (1, 29),
        ["`low <= high`"],
    ),
    "log from zero": (
        "space: {inner.budget.limit: {type: float, low: 0, high: 2, log: true}}",
        (1, 29),
        ["`low > 0`"],
    ),
    "step that misses high": (
        "space: {inner.budget.limit: {type: float, low: 1, high: 2, step: 0.3}}",
        (1, 29),
        ["whole number of steps", "write high=1.9"],
    ),
    "unknown path": (
        "space:\n  inner.budget.limt: {type: float, low: 1, high: 2}",
        (2, 3),
        ["did you mean 'inner.budget.limit'?"],
    ),
    "path without its head": (
        "space: {budget.limit: {type: float, low: 1, high: 2}}",
        (1, 9),
        ["did you mean 'inner.budget.limit'?"],
    ),
    "searching the study": (
        "space: {study.seed: {type: int, low: 1, high: 2}}",
        (1, 9),
        ["data, model or inner"],
    ),
    "end that is not allowed": (
        "space: {inner.budget.limit: {type: float, low: -1, high: 2}}",
        (1, 48),
        ["`limit > 0`", "-1"],
    ),
    "choice that is not allowed": (
        "space: {inner.quantizer: {type: categorical, choices: [dorefa, dorfa]}}",
        (1, 64),
        ["'dorfa'", "did you mean 'dorefa'?"],
    ),
    "text of bits that is not allowed": (
        'space: {inner.bits: {type: categorical, choices: ["2,4", "4,2"]}}',
        (1, 58),
        ["'4,2'", "ascending"],
    ),
    "list as a choice": (
        "space: {inner.bits: {type: categorical, choices: [[2, 4]]}}",
        (1, 51),
        ["single value", '"2,4,8"'],
    ),
    "choice twice": (
        "space: {inner.quantizer: {type: categorical, choices: [dorefa, dorefa]}}",
        (1, 55),
        ["'dorefa' twice"],
    ),
    "part of a searched path": (
        "space:\n  inner.budget.limit: {type: float, low: 1, high: 2}\n"
        "  inner.budget.limit.weight: {type: float, low: 1, high: 2}",
        (3, 3),
        ["`inner.budget.limit` is searched too"],
    ),
    "when of what is not searched": (
        "space:\n  inner.logits.lr: {type: float, low: 0.1, high: 1, when: {inner.sampler: [multinomial]}}",
        (2, 60),
        ["must name a searched dimension", "'inner.sampler'"],
    ),
    "when of what comes later": (
        "space:\n  inner.logits.lr: {type: float, low: 0.1, high: 1, when: {inner.sampler: [random]}}\n"
        "  inner.sampler: {type: categorical, choices: [random, uniform]}",
        (2, 60),
        ["above", "move `inner.sampler` up"],
    ),
    "when of a value that cannot be": (
        "space:\n  inner.sampler: {type: categorical, choices: [random, uniform]}\n"
        "  inner.logits.lr: {type: float, low: 0.1, high: 1, when: {inner.sampler: [multinomial]}}",
        (3, 76),
        ["'multinomial'", "one of 'random', 'uniform'"],
    ),
    "when without a list": (
        "space:\n  inner.sampler: {type: categorical, choices: [random, uniform]}\n"
        "  inner.logits.lr: {type: float, low: 0.1, high: 1, when: {inner.sampler: random}}",
        (3, 75),
        ["a list must be given", "write [random]"],
    ),
    "enqueued but not searched": (
        "study: {enqueue: [{inner.budget.limit: 3}]}",
        (1, 20),
        ["inner.budget.limit", "add `inner.budget.limit` to `space`"],
    ),
    "enqueued out of range": (
        "space: {inner.budget.limit: {type: float, low: 2, high: 6, step: 0.5}}\n"
        "study: {enqueue: [{inner.budget.limit: 3.2}]}",
        (2, 40),
        ["2.0 to 6.0 in steps of 0.5", "3.2"],
    ),
    "grid without steps": (
        "study: {sampler: {name: grid}}\nspace: {inner.logits.lr: {type: float, low: 0.1, high: 1}}",
        (2, 26),
        ["countable", "give it a step"],
    ),
    "grid of nothing": ("study: {sampler: {name: grid}}", (1, 18), ["`space` is empty"]),
    # the text itself
    "key twice": ("name: a\ndata: {}\nname: b\n", (3, 1), ["once", "first on line 1"]),
    "tab": ("inner:\n\tbits: [2]", (2, 1), ["tab", "spaces"]),
    "open bracket": ("name: a\ninner: {bits: [2, 3\n", (2, 15), ["bracket", "never closed"]),
    "open quote": ('name: "a\n', (1, 7), ["quote", "never closed"]),
    "second colon": ("name: a: b", (1, 8), ["second `:`", "quotes"]),
    "two documents": ("name: a\n---\nname: b\n", (2, 1), ["one document", "---"]),
    "unknown alias": ("name: *a", (1, 7), ["alias", "&name"]),
    "alias of itself": ("model: {hidden: &a [*a]}", (1, 17), ["alias", "inside"]),
    "tag": ("name: !!python/object:os.system x", (1, 7), ["tags are not read", "drop the tag"]),
    "control character": ("name: a\nmodel: {x: \0}", (2, 12), ["U+0000", "delete"]),
    "a list": ("- 1", (1, 1), ["mapping", "[1]"]),
    "a word": ("hello", (1, 1), ["mapping", "'hello'"]),
    "list as a key": ("[a]: 3", (1, 1), ["a key must be a text"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_experiment_is_told_in_one_line_with_its_place(case: str) -> None:
    text, (line, column), words = BAD[case]
    with pytest.raises(ConfigurationError) as caught:
        load_experiment_text(text, "bad.yaml")
    message = str(caught.value)
    assert message.startswith(f"bad.yaml:{line}:{column}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_all_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
nmae: x
data: {batch_size: 0}
data: {}
inner:
  budget: {limt: 3}
study: {enqueue: [{inner.x: 3}]}
space:
  inner.logits.l: {type: float, low: 1, high: 2}
  inner.logits.lr: {type: float, low: 2, high: 1}
"""
    with pytest.raises(ConfigurationError) as caught:
        load_experiment_text(text, "f.yaml", ["inner.sampler=x", "a.b=3"])
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [
        "--set a.b=3",
        "--set inner.sampler=x",
        *("f.yaml:1:1", "f.yaml:2:20", "f.yaml:3:1", "f.yaml:5:12"),
        *("f.yaml:6:20", "f.yaml:8:3", "f.yaml:9:20"),
    ]
