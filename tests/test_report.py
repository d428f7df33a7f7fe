from __future__ import annotations

import gc
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_reports import Made, make_report
from made_runs import FAILED, TRIALS, listing, make_run, record

from precsearch.errors import DataError
from precsearch.files import write_text
from precsearch.report import redraw
from precsearch.report.figures import Figure, Table
from precsearch.report.page import write_report
from precsearch.results import RunDirectory, TrialRecord

SMALL = Made(trials=4, seeds=0)
FIGURE = Figure(
    "one", "Section", "One & only", "What <it> shows.", Table(("a",), ((1,), (None,))), "<svg><path/></svg>"
)
HOSTILE = """<script>alert("1")</script>'"&{{ 7 * 7 }}"""


@pytest.fixture(autouse=True)
def quickly_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds: only slow tests do it."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr("precsearch.report.figures.draw", lambda runs: [FIGURE])


class Words(HTMLParser):
    """The text of a page, its elements, and how its tables read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data


def trial_rows(html: str) -> list[dict[str, str]]:
    """The trial table, header -> cell."""
    rows = Words(html[html.index('<section id="trials">') :]).rows
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:] if len(row) == len(rows[0])]


def page(*runs: RunDirectory, output: Path | None = None) -> str:
    return write_report(runs, output).path.read_text(encoding="utf-8")


def test_every_training_is_in_the_table(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made")
    rows = trial_rows(page(run))
    found = {(row["trial"], row["bits"]): row for row in rows}
    assert len(rows) == len(found) == len(run.records()) + len(run.baselines())
    for each in run.records() + run.baselines():
        row = found[str(each.number), each.baseline or "found"]
        assert row["state"] == each.state
        assert row["reason"] == (each.reason or "")
        if each.state == "complete":
            assert float(row["validation %"]) == pytest.approx(100 * each.metrics["validation_accuracy"])
            assert float(row["BitOPs (M)"]) == pytest.approx(each.metrics["bitops"] / 1e6)
            assert float(row["size (kB)"]) == pytest.approx(2.345)
    assert found["1", "found"]["bits per layer"] == "3/4 4/3 2/2"
    assert found["2", "found"]["bits per layer"] == "4/4 f/4 8/2"
    assert found["2", "found"]["limit"] == "4" and found["2", "uniform"]["limit"] == ""
    assert [row["trial"] for row in rows if row["front"]] == ["0", "1", "2"]


def test_the_head_says_what_was_found(tmp_path: Path) -> None:
    text = " ".join(Words(page(make_run(tmp_path / "made"))).text)
    for wanted in ("95.50 %", "uniform 94.50 %", "94.10 %", "1.23 M", "2.35 kB", "3 complete, 1 pruned",
                   "precsearch export", "median pruner at step 3"):  # fmt: skip
        assert wanted in text
    assert "not finished" not in text


def test_the_experiment_and_the_machine_are_on_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made")
    run.environment.write_text(json.dumps({"packages": {"torch": "9.8.7"}, "command": ["precsearch", "run"]}))
    html = page(run)
    assert run.experiment.read_text() in "".join(Words(html).text)
    assert ["torch", "9.8.7"] in Words(html).rows and ["command", "precsearch run"] in Words(html).rows
    run.environment.write_text("[1")
    assert "cannot be read" in page(run)


@pytest.mark.slow
def test_nothing_is_loaded_and_no_other_script_runs(tmp_path: Path) -> None:
    html = page(make_report(tmp_path / "made", SMALL))
    parsed = Words(html)
    assert parsed.tags.count("script") == 1
    assert not {"iframe", "object", "embed", "form", "audio", "video", "base"} & set(parsed.tags)
    links = [value or "" for name, value in parsed.attributes if name in {"href", "src", "xlink:href", "srcset"}]
    assert links and not [link for link in links if re.match(r"[a-z]+:(?!,$)|//", link)]
    assert "default-src 'none'" in dict(parsed.attributes)["content"] or "default-src &#39;none&#39;" in html
    assert not re.search(r"@import|url\((?!#|data:)", html)


@pytest.mark.slow
def test_hostile_names_are_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "<img src=x onerror='alert(1)'>", last=FAILED.model_copy(update={"reason": HOSTILE}))
    bits = TRIALS[0][1]
    layer = bits.layers[0].model_copy(update={"name": HOSTILE})
    bits.model_copy(update={"layers": (layer, *bits.layers[1:])}).to_json(run.trial(0) / "allocation.json")
    hostile = record(5, 0.9, 1e6, 2.0).model_copy(update={"params": {"model.activation": HOSTILE}})
    run.write_record(run.trial(5), hostile)
    run.environment.write_text(json.dumps({HOSTILE: HOSTILE}))
    parsed = Words(page(run))
    assert parsed.tags.count("script") == 1 and "img" not in parsed.tags
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    rows = trial_rows(page(run))
    assert rows[-1]["activation"] == HOSTILE
    assert HOSTILE in [row["reason"] for row in rows]


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", SMALL)
    first = page(run), listing(run.path / "figures")
    files = {name: text for name, (_, text) in first[1].items()}
    assert page(run) == first[0]
    assert {name: text for name, (_, text) in listing(run.path / "figures").items()} == files


def test_garbage_is_collected_again_even_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "made")
    write_report([run])
    assert gc.isenabled()

    def fail(_: object) -> list[Figure]:
        assert not gc.isenabled()
        raise DataError("no ink")

    monkeypatch.setattr("precsearch.report.figures.draw", fail)
    with pytest.raises(DataError):
        write_report([run])
    assert gc.isenabled()


def test_only_the_report_is_written(tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", SMALL)
    before = listing(run.path)
    write_report([run])
    after = {name: each for name, each in listing(run.path).items() if not re.match(r"report\.html|figures", name)}
    assert after == before


def test_numbers_lie_beside_every_figure(call: Any, tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", SMALL)
    told = json.loads(call("report", run.path, "--json")[1])
    assert [figure["name"] for figure in told["figures"]] == ["one"]
    assert told["report"] == str(run.path / "report.html") and told["finished"] is True
    html = Path(told["report"]).read_text()
    for figure in told["figures"]:
        for kind in ("svg", "csv", "json"):
            path = Path(figure[kind])
            assert path.is_file() and f'href="figures/{path.name}"' in html
        assert Path(figure["svg"]).read_text() in html
        assert figure["title"] in "".join(Words(html).text)


@pytest.mark.parametrize("given", [[], ["--output", "there.html"]])
def test_several_runs_side_by_side(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [make_run(tmp_path / folder / "made") for folder in "ab"]
    status, out, err = call("report", *(run.path for run in runs), *given)
    name = given[1] if given else "report.html"
    assert (status, out, err) == (0, "", f"wrote {name}\n")
    rows = trial_rows((tmp_path / name).read_text())
    assert {row["run"] for row in rows} == {"a/made", "b/made"} and len(rows) == 2 * 10
    assert not (runs[0].path / "report.html").exists()


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b")]
    assert "comparable" not in page(*runs, output=tmp_path / "out.html")
    text = runs[1].experiment.read_text()
    objectives = "  objectives: [{metric: validation_loss, direction: minimize}]\n"
    runs[1].experiment.write_text(
        text.replace("  n_trials: 4\n", f"  n_trials: 4\n{objectives}") + "data: {validation: 0.3}\n"
    )
    html = page(*runs, output=tmp_path / "out.html")
    assert "minimize validation_loss" in html and "not comparable" in html and "same images" in html


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "note"),
    [
        (Made(trials=1, pruned=0, failed=0, seeds=0), None),
        (Made(trials=0, pruned=0, failed=0), "0 of 1 trial"),
        (Made(trials=0, pruned=1, failed=2), None),
        (Made(trials=3, measured=False, steps=False, seeds=0), None),
        (Made(trials=3, constant=True, baselines=()), "baselines are still to come"),
    ],
)
def test_any_run_has_a_page(call: Any, tmp_path: Path, made: Made, note: str | None) -> None:
    run = make_report(tmp_path / "made", made)
    assert call("report", run.path)[0] == 0
    html = (run.path / "report.html").read_text()
    assert ('http-equiv="refresh"' in html) == ("not finished" in html) == (note is not None)
    assert note is None or note in html


def test_an_unfinished_run_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made", last=None)
    html = page(run)
    assert "3 of 4 trials have ended" in html and 'content="30"' in html and "precsearch resume" in html
    run.write_record(run.trial(3), FAILED)
    html = page(run)
    assert "not finished" not in html and "refresh" not in html and "precsearch resume" not in html


def test_a_grid_that_was_walked_is_finished(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made")
    grid = "  n_trials: 100\n  sampler: {name: grid}\n"
    run.experiment.write_text(run.experiment.read_text().replace("  n_trials: 4\n", grid))
    assert "4 of 5 trials" in page(run)
    run.write_record(run.trial(4), FAILED.model_copy(update={"number": 4}))
    assert "not finished" not in page(run)


def test_what_cannot_be_reported_is_one_message(call: Any, tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", SMALL)
    for arguments, status, words in [
        ([tmp_path], 1, "not a run directory"),
        ([tmp_path / "nowhere"], 1, "not a run directory"),
        ([run.path, run.path.parent / "made" / "."], 2, "twice"),
        ([run.path, "--output", tmp_path], 2, "is a folder"),
        ([run.path, "--output", run.experiment / "x.html"], 1, "--output"),
        ([], 2, "RUN_DIR"),
    ]:
        found, out, err = call("report", *arguments)
        assert (found, out, err.count("\n")) == (status, "", 1) and words in err
    (run.trial(0) / "evaluation.json").write_text("{")
    found, _, err = call("report", run.path)
    assert found == 1 and err.count("\n") == 1 and "evaluation.json" in err and "delete the file" in err


def test_a_read_only_copy_is_reported_elsewhere(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(make_run(tmp_path / "made").path, copied)

    def refusing(path: Path, text: str) -> None:
        if path.is_relative_to(copied):  # root may write everywhere, so the file system cannot play this part
            return write_text(Path("/proc/nowhere") / path.name, text)
        return write_text(path, text)

    monkeypatch.setattr("precsearch.report.page.write.write_text", refusing)
    before = listing(copied)
    status, _, err = call("report", copied)
    assert status == 1 and "--output FILE" in err and err.count("\n") == 1
    assert call("report", copied, "--output", tmp_path / "out" / "page.html")[0] == 0
    assert (tmp_path / "out" / "page.html").is_file()
    assert listing(copied) == before


class Drawing:
    """Stands for the process that draws."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.stopped = False

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.stopped = True

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        return "", "no room\n"


class Silent:
    """Stands for the live view."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def trial_finished(self, record: TrialRecord, front: list[TrialRecord]) -> None: ...

    def trial_progressed(self, *_: object) -> None: ...

    def noted(self, text: str) -> None:
        self.told.append(text)


def test_a_running_study_is_drawn_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Drawing] = []
    monkeypatch.setattr(redraw, "_draw", lambda path: drawn.append(Drawing()) or drawn[-1])
    now, silent = [0.0], Silent()
    with redraw.Redrawn(silent, RunDirectory(tmp_path), lambda: now[0]) as observer:  # type: ignore[arg-type]

        def at(seconds: float, ended: bool) -> int:
            now[0] = seconds
            if ended:
                observer.trial_finished(FAILED, [])
            else:
                observer.trial_progressed(0, None, None)  # type: ignore[arg-type]
            return len(drawn)

        assert at(31, ended=False) == 0  # nothing has ended
        assert at(32, ended=True) == 1
        assert at(100, ended=True) == 1  # still drawing
        drawn[0].returncode = 1
        assert at(101, ended=False) == 1 and silent.told == ["the report could not be drawn meanwhile: no room"]
        assert at(721, ended=False) == 1  # drawing takes a tenth of the time at most
        assert at(722, ended=False) == 2
        drawn[1].returncode = 1
        assert at(723, ended=True) == 2
        assert at(751, ended=True) == 2  # too soon
        assert at(752, ended=False) == 3 and len(silent.told) == 1
        assert at(900, ended=False) == 3
    assert [each.stopped for each in drawn] == [False, False, True]


@pytest.mark.slow
def test_drawing_happens_in_another_process_that_can_be_stopped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made")
    drawing = redraw._draw(run.path)
    drawing.communicate()
    assert drawing.returncode == 0 and (run.path / "report.html").is_file()
    stopped = redraw._draw(run.path)
    redraw._stop(stopped)
    assert stopped.returncode != 0 and not list(run.path.rglob("*.tmp"))


def test_a_report_that_fails_loses_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, said = make_run(tmp_path / "made"), []
    assert redraw.closing_report(run, said.append) == run.path / "report.html" and said == []
    for error in (ZeroDivisionError("by 0"), KeyboardInterrupt()):

        def fail(_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("precsearch.report.page.write_report", fail)
        assert redraw.closing_report(run, said.append) is None
    assert "by 0" in said[0] and "interrupted" in said[1] and "precsearch report" in said[0]


@pytest.mark.slow
def test_a_thousand_trials_fit_in_two_megabytes(tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", Made(trials=960, pruned=20, failed=20))
    html = page(run)
    assert len(html.encode()) < 2_000_000
    assert len({row["trial"] for row in trial_rows(html)}) == 1000


@pytest.mark.slow
def test_a_usual_run_fits_in_one_megabyte(tmp_path: Path) -> None:
    assert len(page(make_report(tmp_path / "made", Made(trials=40))).encode()) < 1_000_000


def test_fresh_seeds_carry_the_verdicts(tmp_path: Path) -> None:
    run = make_report(tmp_path / "made", Made(trials=4, seeds=3))
    written = write_report([run])
    rows = [row.told for row in written.page.verdicts.rows]
    records = [record for _, record in run.confirmations()]
    for told in rows:
        if told["trial"] is None:
            continue
        mine = {
            each.seed: each.metrics[told["metric"]]
            for each in records
            if each.number == told["trial"] and each.baseline == "found"
        }
        other = {
            each.seed: each.metrics[told["metric"]]
            for each in records
            if each.number == told["trial"] and each.baseline == told["against"]
        }
        gaps = [mine[seed] - other[seed] for seed in mine]
        assert told["difference"] == pytest.approx(sum(gaps) / len(gaps)) and told["seeds"] == len(gaps) == 3
    assert {told["metric"] for told in rows} >= {"test_accuracy"} and {told["against"] for told in rows} == {
        "uniform",
        "random",
    }
    lead = " ".join(written.page.lead)
    assert "3 fresh seeds" in lead and "uniform bits at the same budget" in lead and "random bits" in lead
    text = "".join(Words(written.path.read_text()).text)
    for row in written.page.verdicts.rows:
        assert row.sentence in text


def test_single_trainings_show_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "made")
    written = write_report([run])
    rows = written.page.verdicts.rows
    assert len(rows) == 6 and {row.told["verdict"] for row in rows} == {"not shown"}
    assert [row.told["difference"] for row in rows if row.told["against"] == "uniform"] == pytest.approx([0.01] * 3)
    lead = " ".join(written.page.lead)
    assert "not shown" in lead and "precsearch confirm" in lead and "+1.00 points against uniform" in lead


def test_a_command_within_a_sentence_is_set_as_code(tmp_path: Path) -> None:
    folder = tmp_path / "<b>x"
    text = page(make_run(folder))
    command = re.search(r"<code>(precsearch confirm .*?)</code> trains fresh seeds", text)
    assert command is not None and "&lt;b&gt;x" in command[1] and "<b>" not in command[1]
    assert "`" not in text.partition("<main")[2].partition("<section")[0]


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    without = write_report([make_report(tmp_path / "a", Made(trials=2, baselines=(), seeds=0))])
    assert "No baseline has ended" in without.page.lead[0] and not without.page.verdicts.rows
    empty = write_report([make_report(tmp_path / "b", Made(trials=0, failed=0, pruned=0))])
    assert "No trial has completed" in empty.page.lead[0]
