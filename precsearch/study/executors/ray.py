"""Several trials at a time on a Ray cluster: one machine, or many. Same driver, same study, same live view."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from precsearch.errors import ClusterError
from precsearch.experiment import Experiment
from precsearch.files import shared_data_folder
from precsearch.plans import TrialPlan
from precsearch.study.cluster.code import runtime_env
from precsearch.study.cluster.quiet import noise_to
from precsearch.study.cluster.storage import RunDirectoryStorage, SharedStorage, Storage, run_name
from precsearch.study.cluster.wire import Parcel
from precsearch.study.executors.base import Job, JobSource, RunTrial
from precsearch.study.interrupts import Interrupts

if TYPE_CHECKING:
    from precsearch.study.cluster.nodes import Nodes


class RayExecutor:
    """Runs jobs on a Ray cluster.

    Connects when the first job or look needs it, so that a study that is finished already never waits for Ray.

    Args:
        experiment: of the study.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._settings = experiment.executor
        self._stack = contextlib.ExitStack()
        self._nodes: Nodes | None = None
        self._folder = ""
        self._session = uuid.uuid4().hex

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def inspect(self, experiment: Experiment) -> TrialPlan:
        """Look at a trial on a node: the driver may have neither its data nor its memory to spare."""
        return self._connected().inspect(experiment, self._session)

    def run(self, source: JobSource, run_trial: RunTrial | None) -> None:
        """Run jobs, as many at a time as the cluster has room for, until there are no more."""
        with Interrupts() as interrupts:
            first = source.next_job()
            if first is None:
                return
            nodes = self._connected()
            storage = self._storage(first)
            from precsearch.study.cluster.desk import Desk
            from precsearch.study.cluster.tuner import run_jobs

            def pack(job: Job) -> Parcel:
                storage.bring(job)
                return Parcel(job, storage, self._settings.max_failures, self._session, run_trial)

            def check() -> None:
                interrupts.check()
                nodes.check_head()

            desk = Desk(source, first, pack, storage.collect, nodes.slots)
            run_jobs(desk, self._settings, self._folder, check)

    def _storage(self, job: Job) -> Storage:
        url = self._settings.storage_path
        return RunDirectoryStorage() if url is None else SharedStorage(url, run_name(job.directory.parents[1]))

    def _connected(self) -> Nodes:
        if self._nodes is None:
            self._folder = tempfile.mkdtemp(prefix="precsearch-ray-")
            for folder in (self._folder, shared_data_folder(self._session)):  # the latter is made by the workers here
                self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._stack.enter_context(noise_to(Path(self._folder) / "ray.log"))
            self._nodes = self._connect()
        return self._nodes

    def _connect(self) -> Nodes:
        """Connect, check the nodes, and bring them the code that they lack."""
        from precsearch.study.cluster.connection import connect, import_ray

        ray = import_ray()
        address = self._settings.address
        log = Path(self._folder) / "ray.log"
        ours = connect(address, log)
        if ours:
            self._stack.callback(ray.shutdown)
        from precsearch.study.cluster.nodes import Nodes

        nodes = Nodes(self._settings)
        nodes.check_room()
        if address != "local" and (code := runtime_env(self._experiment, nodes.lacking)):
            if not ours:
                raise ClusterError(
                    "executor.address: the nodes lack code that trials need, and this process is connected already; "
                    f"call ray.init with runtime_env={code!r}"
                )
            ray.shutdown()
            connect(address, log, code)
        nodes.check_storage()
        return nodes
