"""The parts of the benchmark that tunes a whole front, on data that takes no time."""

import pytest
import torch

pytest.importorskip("benchmarks", reason="the benchmarks stand beside the package, not in it")
from benchmarks import mnist_front
from benchmarks.mnist_page import page
from benchmarks.trainings import Steps, interval, read_rows, search, write_below, write_rows
from precsearch.data import Batches, load_data
from precsearch.experiment import load_experiment_text

DIGITS = """
version: 1
name: tiny
data: {name: digits, train_limit: 256, batch_size: 32}
model: {name: mlp}
inner:
  bits: [2, 3, 4, 6, 8]
  budget: {kind: average_bits, range: [2.0, 6.0]}
  epochs: {warmup: 1, search: 1, finetune: 1}
study:
  objectives: [{metric: validation_accuracy, direction: maximize}]
"""


def made_rows(gap):
    """A table in which one training is `gap` points behind the dedicated ones, at twice a plain training's time."""
    times = {"evaluation s": "0.5"}
    for seed in ("20", "21", "22"):
        best = 98 + int(seed) / 100
        right = {"validation %": f"{best}", "test %": f"{best}"}
        yield {"arm": "plain", "seed": seed, "limit": "", "bits": "", "search s": "30", "tune s": "0"} | right | times
        for arm, behind, spent in (("dedicated", 0, ("45", "15")), ("any budget", gap, ("50", "5"))):
            for limit in ("2", "6"):
                right = {"validation %": f"{best - behind:.2f}", "test %": f"{best - behind:.2f}"}
                spent_s = {"search s": spent[0], "tune s": spent[1]}
                yield {"arm": arm, "seed": seed, "limit": limit, "bits": "2/2"} | spent_s | right | times


def test_steps_are_as_many_as_asked_and_go_round_the_images():
    data = load_data(load_experiment_text(DIGITS, "tiny").data)
    whole = Batches(data.train, 100, torch.Generator().manual_seed(0))
    taken = Steps(whole, len(whole) + 1)
    assert len(taken) == len([*taken]) == len(whole) + 1
    assert sum(len(targets) for _, targets in [*taken][: len(whole)]) == len(data.train)
    assert len([*Steps(whole, 1)]) == 1


def test_each_point_starts_from_the_weights_of_the_one_before():
    document = load_experiment_text(DIGITS, "tiny")
    data = load_data(document.data)
    found = search(document, data, 0)
    before = [weight.detach().clone() for weight in found.searchable.model.parameters()]
    for limit in (6.0, 2.0):
        bits, model, seconds = mnist_front.tuned(found, limit, 0.5, document)
        weights = [weight.detach().clone() for weight in found.searchable.model.parameters()]
        assert all(torch.equal(own, tuned) for own, tuned in zip(weights, model.parameters(), strict=True))
        assert not any(torch.equal(own, old) for own, old in zip(weights, before, strict=True))
        before, chosen = weights, [pair.split("/") for pair in bits.split()]
        assert seconds > 0
    assert all(pair == ["2", "2"] for pair in chosen)


def test_the_points_are_the_limits_once_each():
    assert sorted(mnist_front.TUNED) == sorted(mnist_front.LIMITS)
    assert not set(mnist_front.CHOSEN_ON) & set(mnist_front.SHOWN)


def test_a_table_that_was_interrupted_goes_on(tmp_path):
    rows = [*made_rows(0)]
    write_rows(tmp_path / "table.csv", mnist_front.COLUMNS, rows)
    stored = read_rows(tmp_path / "table.csv")
    assert stored == rows
    missing = [job for job in mnist_front.jobs([20]) if not job.known(stored)]
    assert mnist_front.Job("dedicated", 20, 3.0) in missing
    assert mnist_front.Job("dedicated", 20, 2.0) not in missing
    assert not any(job.arm in ("plain", "any budget") for job in missing)


@pytest.mark.parametrize(("gap", "told"), [(0.05, "yes"), (0.3, "no")])
def test_the_page_tells_what_is_within(tmp_path, gap, told):
    text = page([*made_rows(gap)])
    assert f"| 2 | {-gap:+.2f} ± 0.00 | {-gap:+.2f} ± 0.00 | {told} | 3 |" in text
    assert "| **any budget: the whole front** | 60.0 | 2.00 |" in text
    file = tmp_path / "page.md"
    file.write_text("by hand\n<!-- made -->\nold")
    write_below(file, "<!-- made -->\n", text)
    assert file.read_text() == "by hand\n<!-- made -->\n" + text


def test_an_interval_is_students():
    mean, half = interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / 3**0.5, abs=1e-3))
