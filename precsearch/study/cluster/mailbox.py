"""The desk from afar: Tune runs in a thread or on the head node, and asks this thread through a mailbox.

The driver keeps the study and its run directory, so the desk stays in its thread, which people interrupt and
which sees when the cluster is gone; what Tune takes along posts each question and waits for the answer.
"""

from __future__ import annotations

import asyncio
import queue
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from precsearch.errors import ClusterError

_HEAD: Final = "node:__internal_head__"
_WAIT_SECONDS: Final = 0.5
_REMOVE_SECONDS: Final = 10.0

Question = tuple[Any, str, tuple[Any, ...]]  # whom to answer, method of the desk, its arguments


class _ClosedError(BaseException):
    """The driver has left; no `Exception`, or Tune would wait for its actors before it ends."""


class Mailbox(Protocol):
    """Questions one way, answers the other."""

    def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Post a question; returns its answer."""

    def question(self, seconds: float) -> Question | None:
        """The next question, or None if none comes in time."""

    def answer(self, to: Any, value: Any) -> None:
        """Answer a question."""

    def close(self) -> None:
        """Nobody answers any more."""


class ThreadMailbox:
    """For a Tune that runs in another thread of this process."""

    def __init__(self) -> None:
        self._questions: queue.Queue[Question] = queue.Queue()
        self._closed = threading.Event()

    def __reduce__(self) -> tuple[type[ThreadMailbox], tuple[()]]:
        return ThreadMailbox, ()  # Tune pickles what it runs to restore it one day, which nobody does

    def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Post a question; returns its answer."""
        answer: Future[Any] = Future()
        self._questions.put((answer, method, arguments))
        while True:
            try:
                return answer.result(_WAIT_SECONDS)
            except TimeoutError:
                if self._closed.is_set():
                    raise _ClosedError from None

    def question(self, seconds: float) -> Question | None:
        """The next question, or None if none comes in time."""
        try:
            return self._questions.get(timeout=seconds)
        except queue.Empty:
            return None

    def answer(self, to: Any, value: Any) -> None:
        """Answer a question."""
        to.set_result(value)

    def close(self) -> None:
        """Nobody answers any more."""
        self._closed.set()


class ClusterMailbox:
    """For a Tune that runs on the head node: an actor there."""

    def __init__(self) -> None:
        self._actor: Any = ray.remote(num_cpus=0)(_MailboxActor).remote()

    def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Post a question; returns its answer."""
        return ray.get(self._actor.ask.remote(method, arguments))

    def question(self, seconds: float) -> Question | None:
        """The next question, or None if none comes in time."""
        found: Question | None = ray.get(self._actor.question.remote(seconds))
        return found

    def answer(self, to: Any, value: Any) -> None:
        """Answer a question."""
        ray.get(self._actor.answer.remote(to, value))

    def close(self) -> None:
        """Nothing: the actor ends with this process's connection."""


class _MailboxActor:
    def __init__(self) -> None:
        self._questions: asyncio.Queue[Question] = asyncio.Queue()
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._count = 0

    async def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self._count += 1
        number = self._count
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        await self._questions.put((number, method, arguments))
        return await answer

    async def question(self, seconds: float) -> Question | None:
        try:
            return await asyncio.wait_for(self._questions.get(), seconds)
        except TimeoutError:
            return None

    async def answer(self, number: int, value: Any) -> None:
        self._open.pop(number).set_result(value)


class AwayDesk:
    """A `Desk` that asks the driver's own.

    Args:
        mailbox: where to.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments: self._mailbox.ask(method, arguments)


def answer_while(fit: Callable[[], object], desk: Any, mailbox: Mailbox, check: Callable[[], object]) -> None:
    """Answer Tune's questions in this thread until `fit`, in another, returns.

    Args:
        fit: runs Tune.
        desk: answers.
        mailbox: where questions come in.
        check: called at least twice a second; raises to leave Tune behind.

    Raises:
        ClusterError: when `fit` raised.
        Exception: what the desk or `check` raised.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            fit()
        except BaseException as error:  # told below, in the thread that people wait for
            failures.append(error)

    thread = threading.Thread(target=run, name="precsearch-tune", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            check()
            question = mailbox.question(_WAIT_SECONDS)
            if question is not None:
                to, method, arguments = question
                mailbox.answer(to, getattr(desk, method)(*arguments))
    finally:
        mailbox.close()
    if failures:
        last = (str(failures[0]).strip().splitlines() or [type(failures[0]).__name__])[-1]
        raise ClusterError(
            f"Ray Tune gave up: {last}; everything done so far is kept, run the same command again to go on"
        ) from failures[0]


def remove_on_head(folder: str) -> None:
    """Remove a folder that Tune made on the head node; what cannot be removed is left."""
    head = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and _HEAD in node["Resources"])
    strategy = NodeAffinitySchedulingStrategy(head, soft=False)
    remove = ray.remote(num_cpus=0)(_remove).options(scheduling_strategy=strategy)
    ray.get(remove.remote(folder), timeout=_REMOVE_SECONDS)


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
