"""A study for TensorBoard: one folder of events for each training, in `RUN_DIR/tensorboard`, named as its own.

The driver writes them from what it is told, so they are the same whoever trains. A file of events follows from the
training's `steps.jsonl` and `result.json`: it grows with every epoch, and is written anew where a driver that was
killed, or that wrote none, left it unlike them. So it has every step once.
"""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from precsearch.allocation import Allocation
from precsearch.errors import RunDirectoryError
from precsearch.results import Progress, RunDirectory, TrialRecord, read_steps

FOLDER: Final = "tensorboard"
_FILES: Final = "events.out.tfevents.*.precsearch"
_LAST_TAG: Final = b"_hparams_/session_end_info"  # of an ended training's last event
_FRAME: Final = 16  # bytes of a record beside its event
_GROUPS: Final = {"_loss": "loss", "_accuracy": "accuracy", "entropy": "search", "temperature": "search"}


class TensorBoardLogs:
    """An `Observer` that writes events.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._written: dict[Path, set[int]] = {}  # folder -> epochs, of what this process began

    def study_started(self, n_trials: int, finished: list[TrialRecord]) -> None:
        """Write the events of what has ended, where they are not whole."""
        for record in self.ended():
            if not _whole(self._log(record.number, record.baseline)):
                self._end(record)

    def ended(self) -> list[TrialRecord]:
        """Every training that has ended, under the name that observers are told."""
        return [*self._directory.records(), *self._directory.baselines()]

    def trial_started(self, number: int, params: dict[str, Any], resumed: bool, baseline: str | None) -> None:
        """Nothing yet."""

    def trial_progressed(self, number: int, progress: Progress, baseline: str | None) -> None:
        """Write an epoch; one that is told again was written."""
        log = self._log(number, baseline)
        if log not in self._written:
            before = [each for each in read_steps(self._trained(number, baseline)) if each.step < progress.step]
            _renew(log, before)
            self._written[log] = {each.step for each in before}
        if progress.step not in self._written[log]:
            _append(log, [_epoch(progress)])
            self._written[log].add(progress.step)

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None:
        """Write what was found."""
        self._end(record)

    def trial_dropped(self, number: int, reason: str) -> None:
        """Another driver trains it."""
        log = self._log(number, None)
        self._written.pop(log, None)
        shutil.rmtree(log, ignore_errors=True)

    def noted(self, text: str) -> None:
        """Nothing."""

    def _end(self, record: TrialRecord) -> None:
        folder, log = self._trained(record.number, record.baseline), self._log(record.number, record.baseline)
        steps = read_steps(folder)
        written = self._written.pop(log, None)
        if written is None or not written.issuperset(each.step for each in steps):  # some come at the end from afar
            _renew(log, steps)
        path = folder / "allocation.json"
        found = Allocation.from_json(path) if record.state == "complete" and path.is_file() else None
        _append(log, _ending(record, found, steps[-1].step if steps else 0))

    def _trained(self, number: int, baseline: str | None) -> Path:
        return self._directory.trial(number) if baseline is None else self._directory.baseline(number, baseline)

    def _log(self, number: int, baseline: str | None) -> Path:
        return self._directory.path / FOLDER / self._trained(number, baseline).name


def _whole(log: Path) -> bool:
    """Whether the newest file there ends with the last event of a training."""
    files = sorted(log.glob(_FILES))
    data = files[-1].read_bytes() if files else b""
    last = end = 0
    while end + _FRAME <= len(data):
        last, end = end, end + _FRAME + int.from_bytes(data[end : end + 8], "little")
    return end == len(data) and _LAST_TAG in data[last:]


def _renew(log: Path, steps: Iterable[Progress]) -> None:
    """Write the events of `steps` into a new file, and remove the old ones.

    The name comes after theirs, and the start of a session puts an end to what they said, so a TensorBoard that reads
    meanwhile follows.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    old = sorted(log.glob(_FILES))
    number = int(old[-1].name.split(".")[3]) + 1 if old else 0
    start = SessionLog(status=SessionLog.START)
    head = [Event(wall_time=time.time(), file_version="brain.Event:2"), Event(wall_time=time.time(), session_log=start)]
    _write(log / f"events.out.tfevents.{number:010d}.precsearch", [*head, *map(_epoch, steps)])
    for path in old:
        path.unlink()


def _append(log: Path, events: Iterable[Any]) -> None:
    _write(max(log.glob(_FILES)), events)


def _write(path: Path, events: Iterable[Any]) -> None:
    """Append events, each as a TFRecord: its length, a checksum of that, the event, a checksum of it."""
    from tensorboardX.record_writer import masked_crc32c

    records = b""
    for event in events:
        data = event.SerializeToString()
        head = struct.pack("<Q", len(data))
        records += head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(records)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write {path}: {error.strerror or error}; check its folder's permissions and free space"
        ) from None


def _epoch(progress: Progress) -> Any:
    """The scalars of one epoch, as one event."""
    values = {f"{_group(name)}/{name}": value for name, value in progress.metrics.items()}
    for layer, targets in progress.bits.items():
        values |= {f"bits_{target}/{layer}": bits for target, bits in targets.items()}
    return _scalars(values, progress.step)


def _group(metric: str) -> str:
    return next((group for end, group in _GROUPS.items() if metric.endswith(end)), "cost")


def _ending(record: TrialRecord, found: Allocation | None, step: int) -> Iterator[Any]:
    """What was found, what was chosen for it, and how it ended; `_LAST_TAG` last."""
    from tensorboardX import summary
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    # not what was measured on the test split: people choose by what they see side by side
    results = {f"result/{name}": value for name, value in record.metrics.items() if "test_" not in name}
    yield _scalars(results, step)
    yield _event(summary.text("trial", _told(record)), step)
    if found is not None:
        yield _event(summary.text("allocation", _bits_table(found)), step)
    chosen = {**record.params, "allocation": record.baseline or "found"}
    experiment, start, end = summary.hparams(chosen, results)
    if record.state != "complete":
        content = end.value[0].metadata.plugin_data
        told = HParamsPluginData.FromString(content.content)
        told.session_end_info.status = Status.Value("STATUS_FAILURE")
        content.content = told.SerializeToString()
    yield from (_event(each, step) for each in (experiment, start, end))


def _told(record: TrialRecord) -> str:
    said = record.model_dump(include={"number", "baseline", "state", "reason", "limit", "seed", "seconds", "node"})
    rows = [f"| {key} | {value} |" for key, value in said.items() if value is not None]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _bits_table(allocation: Allocation) -> str:
    rows = [
        f"| {layer.name} | {layer.type} | {layer.numel} | {layer.bits() or 'float'} | "
        f"{layer.bits('activation') or 'float'} |"
        for layer in allocation.layers
    ]
    heads = "| layer | type | weights | weight bits | activation bits |"
    return "\n".join([heads, "| --- | --- | --- | --- | --- |", *rows])


def _scalars(values: Mapping[str, float], step: int) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary

    return _event(Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]), step)


def _event(summary: Any, step: int) -> Any:
    from tensorboardX.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)
