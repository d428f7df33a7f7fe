"""One trial, from experiment to result: the seam between training and the outer search. Tensors end here."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from precsearch.allocation import Allocation
from precsearch.conversion import apply_allocation, preview, reread
from precsearch.data import Batches, hold_out_at_random, load_data, training_batches
from precsearch.evaluation.accuracy import measure
from precsearch.evaluation.alone import candidates_in
from precsearch.evaluation.drawn import evaluate_drawn
from precsearch.evaluation.metrics import bits_by_layer, costs, evaluate
from precsearch.evaluation.whole import SplitName, check_measurable, evaluate_network
from precsearch.experiment import Experiment
from precsearch.files import write_text
from precsearch.measured import DRAWN
from precsearch.models import weights_used
from precsearch.plans import TrialPlan
from precsearch.quantization.whole_model import set_kernels
from precsearch.results import Progress, Session, TrialResult
from precsearch.searchable import SearchableModel
from precsearch.training.building import FLOAT, build_network, make_network
from precsearch.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from precsearch.training.computing import computing, threads
from precsearch.training.continuing import check_continues, trained_with, under_limit
from precsearch.training.drawn import DrawnStage
from precsearch.training.epochs import check_finite, check_metrics
from precsearch.training.floating import FloatStage
from precsearch.training.fronts import leave_front
from precsearch.training.noise import Noise
from precsearch.training.noises import noise_of
from precsearch.training.provenance import origin
from precsearch.training.recalibration import recalibrate
from precsearch.training.stages import FinetuneStage, SearchStage


def run_trial(experiment: Experiment, session: Session, evaluated: SplitName = "validation") -> TrialResult:
    """Train one trial: warm-up, search, discretize, recalibrate, fine-tune, evaluate.

    Continues from ``session.resume()`` where there is a checkpoint; an interrupted and resumed trial equals an
    uninterrupted one to the bit (on one machine, with the same number of threads). What may have changed since
    then is said in `precsearch.training.continuing`. Leaves ``steps.jsonl``, ``allocation.json``, ``evaluation.json``
    and ``weights.safetensors`` in the session's directory; where the budget has a range, `leave_front`'s files as well;
    where it is drawn to the end, ``drawn.json``, and metrics whose names begin with ``drawn_``.

    Args:
        experiment: a resolved point of the search space.
        session: seed, directory, and where to report.
        evaluated: the split that `evaluate:` is measured on; its name comes before those of the metrics.

    Raises:
        DivergedError: when a loss or a metric is no longer finite.
        TrialStopped: when `session.report` asks for the end.
        ConfigurationError, DataError: when the experiment cannot be run at all.
    """
    started = time.monotonic()
    with threads(experiment.executor.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(session.seed)
        training = _Training(experiment, session)
        allocation, model, drawn = training.run()
        asked = (training.data, experiment.evaluate, evaluated, session.seed, training.candidates)
        metrics = check_metrics(evaluate(model, training.data, allocation))
        evaluation = evaluate_network(model, *asked)
        metrics |= check_metrics(evaluation.metrics())
        if drawn is not None:
            as_drawn, further = evaluate_drawn(drawn, *asked)
            metrics |= check_metrics(further)
            as_drawn.write(session.directory, DRAWN)
    provenance = (
        origin(experiment, session)
        | {
            "data": training.data.name,
            "data_checksum": training.data.checksum,
        }
        | weights_used(model)
    )
    allocation = reread(model, allocation).with_context(metrics, provenance)
    allocation.to_json(session.directory / "allocation.json")
    evaluation.write(session.directory)
    save_weights(model, session.directory / "weights.safetensors")
    return TrialResult(metrics=metrics, allocation=allocation, seconds=time.monotonic() - started)


def inspect_trial(experiment: Experiment) -> TrialPlan:
    """Resolve everything that a trial of `experiment` needs, and train nothing.

    Raises:
        ConfigurationError, DataError: as `run_trial` would.
    """
    data = load_data(experiment.data)
    check_measurable(experiment.evaluate, data)
    with torch.random.fork_rng(devices=[]):
        network = make_network(experiment, data, 0)
    sampler = experiment.inner.sampler
    known = network.allocation() if sampler in ("fixed", "uniform", FLOAT) else None
    plan = preview(
        network.conversion,
        network.plan,
        known if sampler == "fixed" else None,
        model=experiment.model.name,
        parameters=sum(p.numel() for p in network.model.parameters()),
        images={"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
    )
    return plan.model_copy(update={"costs": costs(known) if known is not None else {}})


class _Training:
    """The epochs of one trial, one after another, with a checkpoint after each."""

    def __init__(self, experiment: Experiment, session: Session) -> None:
        self.inner = experiment.inner
        self.session = session
        self.data = load_data(experiment.data)
        check_measurable(experiment.evaluate, self.data)
        self.experiment = experiment
        self.computing = computing(experiment.executor)
        self.order = torch.Generator().manual_seed(session.seed)
        self.history: list[Progress] = []
        self.allocation: Allocation | None = None
        network = make_network(experiment, self.data, session.seed)
        self.candidates = candidates_in(network.conversion)
        self.noise_on = noise_of(experiment, self.data, network.conversion, session.seed)
        train, held_out = self.data.train, None
        if self.inner.logits.update == "alternate":
            train, rest = hold_out_at_random(train, self.inner.logits.holdout, self.order)
            held_out = self._batches(rest)
        self.batches = self._batches(train)
        noise = self.noise_on(network.model)
        self.stage: SearchStage | FloatStage | FinetuneStage
        if isinstance(network, SearchableModel):
            self.stage = SearchStage(network, self.inner, self.batches, held_out, self.computing, noise)
        else:
            self.stage = FloatStage(network, self.inner, self.batches, self.computing, noise)

    def _batches(self, split: Any) -> Batches:
        return training_batches(split, self.experiment.data, self.order)

    def run(self) -> tuple[Allocation, nn.Module, SearchableModel | None]:
        """Train to the end -> the allocation found, the model that has it, and that which is drawn to the end."""
        self._resume()
        epochs = self.inner.epochs
        phases = ["warmup"] * epochs.warmup + ["search"] * epochs.search + ["finetune"] * epochs.finetune
        for done in range(len(self.history), len(phases)):
            phase = phases[done]
            if phase == "finetune" and not isinstance(self.stage, FinetuneStage):
                self._discretize(self.stage)
            loss = self._epoch(phase)
            self._report(phase, 1 + phases[:done].count(phase), done + 1, len(phases), loss)
        if not isinstance(self.stage, FinetuneStage):
            self._discretize(self.stage)
        if not phases:
            self._write_steps()
        if self.allocation is None:
            raise RuntimeError("a discretized trial has an allocation")
        if isinstance(self.stage, DrawnStage):
            return self.allocation, *self.stage.part()
        return self.allocation, self.stage.model, None

    def _epoch(self, phase: str) -> float:
        if isinstance(self.stage, FinetuneStage):
            return self.stage.finetune()
        return self.stage.warm_up() if phase == "warmup" else self.stage.search()

    def _discretize(self, stage: SearchStage | FloatStage) -> None:
        self.allocation = stage.settle()
        if isinstance(stage, SearchStage):
            leave_front(self.session.directory, stage.searchable, origin(self.experiment, self.session))
        self.stage = self._finetuning(stage.model if self.inner.stochastic else stage.freeze(), stage.noise)
        recalibrate(self.stage.model, self.batches)

    def _finetuning(self, model: nn.Module, noise: Noise) -> FinetuneStage:
        if isinstance(model, SearchableModel):
            return DrawnStage(model, self.inner, self.batches, self.computing, noise)
        return FinetuneStage(model, self.inner, self.batches, self.computing, noise)

    def _report(self, phase: str, epoch: int, step: int, steps: int, loss: float) -> None:
        measured = measure(self.stage.model, self.data.validation)
        metrics = {
            "train_loss": loss,
            "validation_loss": check_finite("the validation loss", measured.loss),
            "validation_accuracy": measured.accuracy,
        }
        allocation = self.allocation
        if not isinstance(self.stage, FinetuneStage):
            allocation = self.stage.allocation()
            metrics |= self.stage.told()
        if allocation is None:
            raise RuntimeError("a discretized trial has an allocation")
        metrics |= costs(allocation)
        progress = Progress.model_validate(
            {
                "phase": phase,
                "epoch": epoch,
                "step": step,
                "steps": steps,
                "metrics": metrics,
                "bits": bits_by_layer(allocation),
            }
        )
        self.history.append(progress)
        self._write_steps()
        self.session.report(progress, save_checkpoint(self.session.directory, self._state()))

    def _write_steps(self) -> None:
        lines = "".join(progress.model_dump_json() + "\n" for progress in self.history)
        write_text(self.session.directory / "steps.jsonl", lines)

    def _state(self) -> dict[str, Any]:
        return {
            "experiment": trained_with(self.experiment),
            "seed": self.session.seed,
            "stage": self.stage.state_dict(),
            "order": self.order.get_state(),
            "rng": torch.random.get_rng_state(),
            "allocation": self.allocation.to_json() if self.allocation is not None else None,
            "history": [progress.model_dump(mode="json") for progress in self.history],
        }

    def _resume(self) -> None:
        folder = self.session.resume()
        if folder is None:
            return
        state = load_checkpoint(folder)
        check_continues(state.get("experiment"), self.experiment)
        if state["allocation"] is not None:
            self.allocation = under_limit(Allocation.from_json(state["allocation"]), self.inner)
            if self.inner.stochastic:
                self.stage = self._finetuning(self.stage.model, self.stage.noise)
            else:
                model, _ = build_network(self.experiment, self.data)
                apply_allocation(model, self.allocation)
                set_kernels(model, self.experiment.executor.kernels)
                self.stage = self._finetuning(model, self.noise_on(model))
        self.stage.load_state_dict(state["stage"])
        if isinstance(self.stage, DrawnStage):
            self.allocation = self.stage.searchable.allocation()
        self.history = [Progress.model_validate(progress) for progress in state["history"]]
        self._write_steps()
        # Told again: the process may have died between the checkpoint and the report.
        self.session.report(self.history[-1], folder)
        self.order.set_state(state["order"])
        torch.random.set_rng_state(state["rng"])
