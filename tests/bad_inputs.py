"""Every kind of bad input that a user can hand to `precsearch run`, and what it has to say.

A case is: what to change in the experiment (or its whole text), further arguments, the exit status, and
words that the message has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SPACE = """\
version: 1
name: tiny
data: {name: digits, train_limit: 64, batch_size: 32}
model: {name: mlp, hidden: [8]}
inner:
  bits: [2, 4, 8]
  budget: {kind: average_bits, limit: 3}
  epochs: {warmup: 0, search: 1, finetune: 0}
study: {n_trials: 2, baselines: []}
executor: {threads: 1}
"""
OWN = """\
import torch
from torch import nn
def net(classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
def number(classes): return 3
def narrow(classes): return nn.Sequential(nn.Linear(5, classes))
def empty(classes): return nn.Sequential(nn.Flatten())
def shared(classes):
    layer = nn.Linear(64, 64)
    model = nn.Sequential(nn.Flatten(), layer, nn.Linear(64, 64), nn.Linear(64, classes))
    model[2].weight = layer.weight
    return model
def nans():
    x = torch.full((8, 4), float("nan"))
    return (x, torch.arange(8) % 2), (x, torch.arange(8) % 2)
"""
LAYER = {"name": "fc", "type": "Linear", "numel": 2, "inputs": 1, "macs": 2,
         "targets": {"weight": {"bits": 2}, "activation": {"bits": 2}}}  # fmt: skip
FOREIGN = {"format": "precsearch-allocation", "version": 1, "model": {"name": "Net", "fingerprint": "0" * 16},
           "layers": [LAYER], "cost": {"average_bits": {}, "model_size": 1, "bitops": 1}}  # fmt: skip


@dataclass
class Bad:
    says: list[str]
    change: tuple[str, str] = ("", "")
    text: str | bytes | None = None
    arguments: list[str] = field(default_factory=list)
    status: int = 2


def _set(assignment: str, *says: str, status: int = 2) -> Bad:
    return Bad(list(says), arguments=["--set", assignment], status=status)


def _fixed(allocation: str, *says: str) -> Bad:
    return Bad(list(says), ("inner:", f"inner:\n  sampler: fixed\n  allocation: {allocation}"))


HERE = "space.yaml:"
BAD = {
    # the text
    "unknown key": Bad([f"{HERE}6:3: ", "bit", "did you mean 'bits'?"], ("bits:", "bit:")),
    "wrong type": Bad([f"{HERE}3:35: ", "whole number", "'many'"], ("train_limit: 64", "train_limit: many")),
    "number in quotes": Bad(["'1e-4'", "drop the quotes"], ("inner:", 'inner:\n  logits: {lr: "1e-4"}')),
    "empty file": Bad(["space.yaml", "this is empty", "precsearch init"], text=""),
    "only a comment": Bad(["space.yaml", "this is empty"], text="# to do\n"),
    "a list": Bad([f"{HERE}1:1", "mapping"], text="- 1\n"),
    "not UTF-8": Bad([f"{HERE}2:8", "0xE9", "UTF-8"], text=b"version: 1\nname: t\xe9st\n"),
    "not text at all": Bad([HERE, "UTF-8"], text=bytes(range(128, 256))),
    "key twice": Bad([f"{HERE}11:1", "once", "line 2"], text=SPACE + "name: other\n"),
    "tab": Bad([f"{HERE}6:1", "tab", "spaces"], ("  bits:", "\tbits:")),
    "open bracket": Bad([f"{HERE}11:8", "never closed"], text=SPACE + "space: {inner.logits.lr: 3\n"),
    "version of the future": Bad([f"{HERE}1:10", "7"], ("version: 1", "version: 7")),
    # values
    "negative bits": Bad([f"{HERE}6:9", "1 <= bits <= 16", "-2"], ("[2, 4", "[-2, 4")),
    "bits not sorted": Bad([f"{HERE}6:9", "ascending", "[2, 4, 8]"], ("[2, 4, 8]", "[4, 2, 8]")),
    "bits doubled": Bad([f"{HERE}6:9", "without doubles", "[2, 4]"], ("[2, 4, 8]", "[2, 2, 4]")),
    "unknown metric": Bad([HERE, "'accuracy'", "did you mean 'validation_accuracy'?"],
                          ("{n_trials", "{objectives: [{metric: accuracy, direction: maximize}], n_trials")),
    "test metric": Bad([HERE, "'test_accuracy'", "report only"],
                       ("{n_trials", "{objectives: [{metric: test_accuracy, direction: maximize}], n_trials")),
    "metric of a target that is not quantized": Bad(
        ["--set study.objectives", "'average_bits_activation'", "`inner.targets` is [weight]"],
        ("  bits: [2, 4, 8]", "  bits: [2, 4, 8]\n  targets: [weight]"),
        arguments=["--set", "study.objectives=[{metric: average_bits_activation, direction: minimize}]"]),
    "unknown argument of the sampler": _set("study.sampler={name: tpe, n_startup: 3}", "'n_startup_trials'"),
    "unknown argument of the pruner": _set("study.pruner={name: median, warmup: 3}", "study.pruner", "'warmup'"),
    "value the sampler refuses": _set("study.sampler={name: nsga2, population_size: 1}", "population_size"),
    "unknown sampler": _set("study.sampler.name=tpo", "'tpo'", "did you mean 'tpe'?"),
    "unknown quantizer": _set("inner.quantizer=dorfea", "'dorefa'?"),
    # what is measured
    "attack that is not measured": Bad(
        [HERE, "study.objectives[0].metric", "'validation_pgd_accuracy'", "set `evaluate.attacks` to a list with pgd"],
        ("{n_trials", "{objectives: [{metric: validation_pgd_accuracy, direction: maximize}], n_trials")),
    "corruption that is not measured": Bad(
        [HERE, "study.constraints[0].metric", "set `evaluate.corruptions`"],
        ("{n_trials", "{constraints: [{metric: validation_corrupted_accuracy, min: 0.5}], n_trials")),
    "unknown corruption": _set("evaluate.corruptions=[fog]", "gaussian_noise, impulse_noise", "'fog'"),
    "unknown attack": _set("evaluate.attacks=[cw]", "evaluate.attacks", "'cw'"),
    "epsilons that fall": _set("evaluate.epsilons=[0.2, 0.1]", "ascending", "[0.2, 0.1]"),
    "more flips than a fair coin": _set("evaluate.bit_flips=[0.7]", "evaluate.bit_flips", "0.5", "0.7"),
    "corrupted images that are not there": _set("evaluate.corrupted=nowhere", "`evaluate.corrupted`", "nowhere is no "
                                                "folder", "MNIST-C or CIFAR-10-C", status=1),
    # allocations
    "allocation cut short": _fixed("short.json", "short.json:", "not valid JSON", "cut short"),
    "allocation of another model": _fixed("foreign.json", "another model", "Net"),
    "allocation of the future": _fixed("future.json", "future.json", "version 9", "upgrade"),
    "allocation that is none": _fixed("other.json", "other.json", "not an allocation"),
    "allocation that is missing": _fixed("nowhere.json", "nowhere.json", "No such file"),
    "allocation that is a folder": _fixed("folder", "folder", "directory"),
    "bits for too few layers": _fixed("[2]", "2 layers", "fc1, out", "got 1"),
    "bits above the budget": _fixed("[8, 8]", "average_bits", "at 3 bits", "costs 8"),
    "fixed without an allocation": _set("inner.sampler=fixed", "`allocation` goes with"),
    # layers and budgets
    "unknown layer": _set("inner.pin.fc9=4", "'fc9'", "did you mean 'fc1'?", "fc1, out"),
    "unknown layer with candidates": _set("inner.candidates.fc9=[4]", "`candidates`", "'fc9'", "did you mean 'fc1'?"),
    "unknown layer in a group": _set("inner.groups.both=[fc1, oot]", "`groups.both`", "'oot'", "did you mean 'out'?"),
    "unknown type of layer": _set("inner.pin={'type:Liner': 4}", "'type:Linear'?"),
    "group of one": _set("inner.groups.both=[fc1]", "`groups.both`", "at least two layers"),
    "group that cannot agree": Bad(["must agree", "fc1 (weight) is pinned to 2 bits", "out (weight) is pinned to 4"],
                                   arguments=["--set", "inner.groups.both=[fc1, out]",
                                              "--set", "inner.pin={fc1: 2, out: 4}"]),
    "every layer pinned": _set("inner.pin={'*': 4}", "every layer is pinned"),
    "impossible budget": _set("inner.budget.limit=1.5", "1.5", "cheapest", "costs 2"),
    "impossible bytes": Bad(["100 bytes", "cheapest", "costs 228"],
                            arguments=["--set", "inner.budget={kind: model_size, limit: 100}",
                                       "--set", "inner.targets=[weight]"]),
    "impossible end of the space": Bad(["inner.budget.limit=1.0", "kept at 1 bits", "costs 2"],
                                       text=SPACE + "space: {inner.budget.limit: {type: float, low: 1, high: 4}}\n"),
    "impossible with every choice": Bad(
        ["inner.budget.limit=2.5", "inner.bits=4,8", "costs 4"], text=SPACE + "space:\n"
        "  inner.budget.limit: {type: float, low: 2.5, high: 4}\n"
        '  inner.bits: {type: categorical, choices: ["4,8", "3,4"]}\n'),
    "budget that does not bind": _set("inner.budget={kind: model_size, limit: 99999}", "activation", "bound"),
    "limit of one target of two": _set("inner.budget.limit={weight: 3}", "no 'activation'"),
    "limit by target of what is coupled": _set("inner.budget={kind: bitops, limit: {weight: 3}}", "one limit"),
    # models and data
    "unknown model": _set("model={name: mpl}", "'mpl'", "'mlp'"),
    "argument the model lacks": _set("model.widht=3", "widht"),
    "model in no module": _set("model={name: 'nowhere:net'}", "No module named 'nowhere'"),
    "model with a syntax error": _set("model={name: 'syntax:net'}", "SyntaxError", "(syntax.py, line 1)"),
    "model that is not there": _set("model={name: 'own:nett'}", "has no 'nett'", "'net'"),
    "model that is no module": _set("model={name: 'own:number'}", "nn.Module", "int"),
    "model that does not run": _set("model={name: 'own:narrow'}", "must run on the example", "[2, 1, 8, 8]"),
    "model without layers": _set("model={name: 'own:empty'}", "at least one layer (a weight that enters"),
    "model for larger images": _set("model={name: lenet5}", "12 x 12", "8 x 8"),
    "unknown data": _set("data={name: digts}", "'digts'", "'digits'"),
    "data in no module": _set("data={name: 'nowhere:data'}", "No module named 'nowhere'"),
    "data without numbers": _set("data={name: 'own:nans'}", "finite", "own:nans", status=1),
    "MNIST without its files": _set("data={name: mnist, root: folder, download: false}", "folder", status=1),
    # the command line
    "no trials": Bad(["--trials", "at least 1", "'0'"], arguments=["--trials", "0"]),
    "trials in words": Bad(["--trials", "'few'"], arguments=["--trials", "few"]),
    "malformed override": Bad(["--set inner.bits", "PATH=VALUE"], arguments=["--set", "inner.bits"]),
    "override of nothing": _set("inner.budgt.limit=3", "--set inner.budgt.limit=3", "'inner.budget'?"),
    "override that is no YAML": _set("inner.bits=[2", "--set inner.bits=[2", "never closed"),
    "unknown flag": Bad(["--tirals"], arguments=["--tirals", "3"]),
    "unknown executor": Bad(["'slurm'", "inprocess, ray"], arguments=["--executor", "slurm"]),
    "address of what is not Ray": Bad(["--address", "--executor ray", "inprocess"],
                                      arguments=["--executor", "inprocess", "--address", "auto"]),
    "address without a port": Bad(["HOST:PORT", "'head'"], arguments=["--address", "head"]),
    "address of another protocol": Bad(["ray://HOST:PORT", "'http://head:8265'"],
                                       arguments=["--address", "http://head:8265"]),
    "address without a host": Bad(["HOST:PORT", "':6379'"], arguments=["--address", ":6379"]),
    "address with a port in words": Bad(["HOST:PORT", "'head:ray'"], arguments=["--address", "head:ray"]),
    "empty address": Bad(["HOST:PORT", "''"], arguments=["--address", ""]),
    "no trial at a time": _set("executor.max_concurrent=0", "executor.max_concurrent", "1", "got 0"),
    "half of a second graphics processor": _set("executor.resources.gpu=1.5", "whole number", "fraction", "1.5"),
    "no processor": _set("executor.resources.cpu=0", "executor.resources.cpu", "got 0"),
    "empty storage path": _set("executor.storage_path=''", "executor.storage_path"),
    "one argument too many": Bad(["extra"], arguments=["more.yaml"]),
}  # fmt: skip
