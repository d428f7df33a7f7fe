"""The nodes of the cluster: whether they can run the trials, and how many of them at a time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from precsearch.errors import ClusterError, ConfigurationError, PrecsearchError
from precsearch.experiment import ExecutorSettings, Experiment
from precsearch.plans import TrialPlan
from precsearch.study.cluster import probe
from precsearch.study.cluster.head import Head
from precsearch.study.cluster.storage import SharedStorage
from precsearch.study.cluster.wire import TrainingError

PACKAGES: Final = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pydantic", "safetensors")
_LOOK_SECONDS: Final = 2.0  # nodes come and go; asking costs a millisecond
_ANSWER_SECONDS: Final = 60.0
_NOTICE_SECONDS: Final = 30.0
_LOGS: Final = "see the logs in /tmp/ray/session_latest/logs on that node"


class Nodes:
    """The cluster that this process is connected to.

    Args:
        settings: what a trial needs.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings
        self._looked = 0.0
        self._slots = 0
        away = settings.address.startswith("ray://")  # Ray's client watches its own connection
        self._head = None if away else Head(ray.get_runtime_context().gcs_address)

    def alive(self) -> list[dict[str, Any]]:
        """The nodes that are up."""
        return [node for node in ray.nodes() if node["Alive"]]

    def slots(self) -> int:
        """How many trials the cluster has room for now, if nobody else used it; none while its head is silent."""
        if self._head is not None and not self._head.answers():
            return 0  # asking Ray would wait until it ends this process
        if time.monotonic() - self._looked > _LOOK_SECONDS or not self._slots:
            self._slots = sum(self._room(node["Resources"]) for node in self.alive())
            self._looked = time.monotonic()
        return min(self._slots, self._settings.max_concurrent or self._slots)

    def check_head(self) -> None:
        """Look whether the head node still answers.

        Raises:
            ClusterError: when it has not for too long.
        """
        if self._head is not None:
            self._head.answers()

    def check_room(self) -> None:
        """Check that a node has what a trial asks for.

        Raises:
            ConfigurationError: when none has.
        """
        have = [node["Resources"] for node in self.alive()]
        wanted = self._settings.resources
        if not any(self._room(resources) for resources in have):
            cpu, gpu = (max((resources.get(kind, 0) for resources in have), default=0) for kind in ("CPU", "GPU"))
            raise ConfigurationError(
                f"executor.resources: one node must have what a trial asks for, cpu {wanted.cpu:g} and gpu "
                f"{wanted.gpu:g}, but the most that one of {len(have)} has is cpu {cpu:g} and gpu {gpu:g}; "
                "ask for less, or join larger nodes"
            )

    def check_storage(self) -> None:
        """Check that every node sees the storage, or that there is one node, this machine, that needs none.

        Raises:
            ConfigurationError: when several nodes have no storage.
            RunDirectoryError: when the storage cannot be written here.
            ClusterError: when a node does not see it.
        """
        url = self._settings.storage_path
        if url is None:
            if self._settings.address != "local" and (elsewhere := self._not_here()):
                raise ConfigurationError(
                    "executor.storage_path: a folder or URL that every node sees must be given where nodes are not "
                    f"this machine alone, but got none, and the cluster has {', '.join(elsewhere)} besides; "
                    "give one, such as --set executor.storage_path=/mnt/shared/precsearch"
                )
            return
        if self._settings.address != "local" and not url.startswith(("/", "~")) and "://" not in url:
            raise ConfigurationError(
                f"executor.storage_path: an absolute path or a URL must be given for a cluster, but got {url!r}, "
                "which each node would look up from a folder of its own; write it out, such as "
                f"{Path.cwd() / url}"
            )
        storage, token = SharedStorage(url), uuid.uuid4().hex
        storage.put_token(token)
        try:
            answers = self._ask(_sees, url, token)
        finally:
            storage.remove_token(token)
        blind = [
            f"{where}{'' if seen is False else f' ({seen})'}" for where, seen in answers.items() if seen is not True
        ]
        if blind:
            raise ClusterError(
                f"executor.storage_path: every node must see {url}, but what this process wrote there is not seen "
                f"on {', '.join(blind)}; mount the same folder there, or give a URL that all can reach"
            )

    def lacking(self, digest: str | None) -> list[str]:
        """The nodes where precsearch is missing, or is not the one of that digest.

        Raises:
            ClusterError: when a node cannot run it at all.
        """
        ray.cloudpickle.register_pickle_by_value(probe)
        try:
            found = self._ask(probe.describe_node, PACKAGES)
        finally:
            ray.cloudpickle.unregister_pickle_by_value(probe)
        own = probe.describe_node(PACKAGES)
        problems = []
        for where, each in found.items():
            missing = [name for name in own["packages"] if name not in each["packages"]]
            if missing:
                problems.append(f"{where} lacks {', '.join(missing)}")
            elif each["python"].rpartition(".")[0] != own["python"].rpartition(".")[0]:
                problems.append(f"{where} has Python {each['python']}, not {own['python']}")
            elif each["packages"]["torch"] != own["packages"]["torch"]:
                problems.append(f"{where} has torch {each['packages']['torch']}, not {own['packages']['torch']}")
        if problems:
            raise ClusterError(
                f"every node must have what trials are made with, but {'; '.join(problems)}; install the same "
                "there: `pip install precsearch` brings all of it"
            )
        return [where for where, each in found.items() if each["precsearch"] != digest]

    def inspect(self, experiment: Experiment, session: str) -> TrialPlan:
        """What the trials would do, looked at on a node; the data it loads is shared in `session`."""
        try:
            look = ray.remote(num_cpus=0)(_inspect)
            answer: TrialPlan | TrainingError = ray.get(look.remote(experiment, session))
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"no node could look at a trial: {_first_line(error)}; {_LOGS}, or try `--executor inprocess`"
            ) from None
        if isinstance(answer, TrainingError):
            if "No module named" in answer.text:
                raise ClusterError(
                    f"a node lacks what trials need: {answer.text}; install it there, or, if it is yours, import it "
                    "at the top of the module of your model or data, so that it travels along"
                )
            raise answer.rebuilt()
        return answer

    def _not_here(self) -> list[str]:
        """The nodes that are not on this machine, for all one can tell."""
        nodes = self.alive()
        if self._settings.address.startswith("ray://"):
            return [node["NodeManagerAddress"] for node in nodes]
        here = ray.get_runtime_context().get_node_id()
        return [node["NodeManagerAddress"] for node in nodes if node["NodeID"] != here]

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """The answers of all nodes: address -> answer. Nodes that leave meanwhile are left out.

        Raises:
            ClusterError: when a node gives none.
        """
        task = ray.remote(num_cpus=0, max_retries=0)(question)
        asked = {}
        for node in self.alive():
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            where = f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']}, node {node['NodeID'][:8]})"
            asked[where] = node["NodeID"], task.options(scheduling_strategy=strategy).remote(*arguments)
        answers = {}
        for where, (node_id, reference) in asked.items():
            try:
                answers[where] = ray.get(reference, timeout=_ANSWER_SECONDS)
            except Exception as error:
                if not isinstance(error, ray.exceptions.RayTaskError) and self._left(node_id):
                    continue
                raise ClusterError(
                    f"the node {where} must run a task, but does not: {_first_line(error)}; {_LOGS}, or take the "
                    "node out of the cluster with `ray stop` there"
                ) from None
        return answers

    def _left(self, node_id: str) -> bool:
        """Whether a node is gone; the cluster takes its time to notice."""
        deadline = time.monotonic() + _NOTICE_SECONDS
        while any(node["NodeID"] == node_id for node in self.alive()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def _room(self, resources: dict[str, float]) -> int:
        wanted = self._settings.resources
        asked = {kind: amount for kind, amount in (("CPU", wanted.cpu), ("GPU", wanted.gpu)) if amount > 0}
        return min(int(resources.get(kind, 0.0) / amount + 1e-9) for kind, amount in asked.items())


def _first_line(error: Exception) -> str:
    """Of the error that a task raised, or else of Ray's."""
    error = getattr(error, "cause", None) or error
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no reason was given')}"


def _inspect(experiment: Experiment, session: str) -> TrialPlan | TrainingError:
    try:
        from precsearch.data import share_data
        from precsearch.study.feasibility import inspect_study

        share_data(session)
        return inspect_study(experiment)
    except Exception as error:
        return TrainingError.of(error)


def _sees(url: str, token: str) -> bool | str:
    """Whether, or why not."""
    try:
        return SharedStorage(url).has_token(token)
    except PrecsearchError as error:  # a package that fsspec needs is missing there
        return str(error)
