"""The desk from afar: over ``ray://`` Tune runs on the head node, and asks this process through an actor.

The driver keeps the study and its run directory, so the desk stays with it; what Tune takes along is a stand-in
that posts each question and waits for the answer.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_HEAD: Final = "node:__internal_head__"
_WAIT_SECONDS: Final = 1.0
_REMOVE_SECONDS: Final = 10.0


class Mailbox:
    """An actor on the head node: questions one way, answers the other."""

    def __init__(self) -> None:
        self._questions: asyncio.Queue[tuple[int, str, tuple[Any, ...]]] = asyncio.Queue()
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._count = 0

    async def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Post a question; returns its answer."""
        self._count += 1
        number = self._count
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        await self._questions.put((number, method, arguments))
        return await answer

    async def question(self, seconds: float) -> tuple[int, str, tuple[Any, ...]] | None:
        """The next question (number, method, arguments), or None if none comes in time."""
        try:
            return await asyncio.wait_for(self._questions.get(), seconds)
        except TimeoutError:
            return None

    async def answer(self, number: int, value: Any) -> None:
        """Answer a question."""
        self._open.pop(number).set_result(value)


class AwayDesk:
    """A `Desk` that asks the driver's own.

    Args:
        mailbox: handle of the actor.
    """

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments: ray.get(self._mailbox.ask.remote(method, arguments))


def open_mailbox() -> Any:
    """A mailbox on the cluster."""
    return ray.remote(num_cpus=0)(Mailbox).remote()


def remove_on_head(folder: str) -> None:
    """Remove a folder that Tune made on the head node; what cannot be removed is left."""
    head = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and _HEAD in node["Resources"])
    strategy = NodeAffinitySchedulingStrategy(head, soft=False)
    remove = ray.remote(num_cpus=0)(_remove).options(scheduling_strategy=strategy)
    ray.get(remove.remote(folder), timeout=_REMOVE_SECONDS)


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def answer_while(fit: Callable[[], object], desk: Any, mailbox: Any) -> None:
    """Answer the questions of a Tune that runs elsewhere, in this thread, until `fit` returns.

    Raises:
        Exception: what `fit` or the desk raised.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            fit()
        except BaseException as error:  # raised again below, in the thread that people wait for
            failures.append(error)

    thread = threading.Thread(target=run, name="precsearch-tune", daemon=True)
    thread.start()
    while thread.is_alive():
        question = ray.get(mailbox.question.remote(_WAIT_SECONDS))
        if question is not None:
            number, method, arguments = question
            ray.get(mailbox.answer.remote(number, getattr(desk, method)(*arguments)))
    if failures:
        raise failures[0]
