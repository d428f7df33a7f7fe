from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_comparisons import COMPARE, EVERY_KIND, ONE_CELL, make_comparison
from made_reports import Made, make_report
from made_runs import listing
from rich.console import Console
from test_report import FIGURE, HOSTILE, Words

from precsearch.report.arms.reading import read_arms_data
from precsearch.report.arms.terminal import answers_dict, print_answers
from precsearch.report.page import Written, write_report
from precsearch.results import RunDirectory, read_training


@pytest.fixture(autouse=True)
def quickly_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds: only slow tests do it."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr("precsearch.report.figures.arms.draw_arms", lambda runs: [FIGURE])


def html_of(written: Written) -> str:
    return written.path.read_text(encoding="utf-8")


def training_rows(html: str) -> list[dict[str, str]]:
    rows = Words(html[html.index('<section id="trials">') :]).rows
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:] if len(row) == len(rows[0])]


def terminal(run: RunDirectory, width: int = 80) -> str:
    text = io.StringIO()
    print_answers(Console(file=text, width=width, highlight=False, markup=False), read_arms_data(run, ""))
    return text.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_comparison(tmp_path_factory.mktemp("made") / "run", seeds=5, failed=((0, "learned", 1),), steps=False)


@pytest.fixture(scope="module")
def written(made: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Written:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precsearch.report.figures.arms.draw_arms", lambda runs: [FIGURE])
        return write_report([made], tmp_path_factory.mktemp("page") / "page.html")


def test_questions_are_answered_at_the_top(made: RunDirectory, written: Written) -> None:
    html = html_of(written)
    text = "".join(Words(html).text)
    data = read_arms_data(made, "run")
    questions = list(dict.fromkeys(answer.question for answer in data.compared.answers))
    assert len(questions) == 6
    for part, question in zip(written.page.questions, questions, strict=True):
        assert part.question == question and question in text
    for answer in data.compared.answers:
        assert answer.sentence in text and answer.at in {"2.5 bits", "4 bits"}
    assert html.index('id="answers"') < html.index('id="in-short"') < html.index('id="verdicts"')
    assert "not finished" in text and "50 of 84" not in text  # 7 arms, 2 cells, 5 of 6 seeds
    assert "70 of 84 trainings have ended" in text and 'content="30"' in html and "precsearch resume" in html


def test_every_claim_stands_in_a_table_and_in_a_sentence(made: RunDirectory, written: Written) -> None:
    html, told = html_of(written), written.to_dict()
    text = "".join(Words(html).text)
    claims = [claim for found in read_arms_data(made, "run").compared.claims.values() for claim in found]
    assert len(claims) == 6 * 2 * 13
    for claim in claims:
        assert claim.sentence in text
    of_page = {(each["cell"], each["arm"], each["against"], each["metric"]): each for each in told["verdicts"]}
    for claim in claims:
        each = claim.differences
        found = of_page[each.cell, each.arm.name, each.against.name, claim.measure.metric]
        assert found["difference"] == pytest.approx(claim.comparison.difference.mean)
        assert (found["verdict"], found["seeds"]) == (claim.verdict, claim.comparison.difference.n)
    disturbed = {metric for *_, metric in of_page if " " in metric}
    assert {
        "attack pgd linf mean",
        "corruption mean",
        "corruption noise",
        "bit flips mean",
        "perturbation linf",
    } <= disturbed
    assert told["answers"] and {each["answer"] for each in told["answers"]} <= {"yes", "no", "mixed", "not shown"}
    assert "robust" not in html.lower()


def test_failed_trainings_are_counted_and_said(written: Written) -> None:
    text = "".join(Words(html_of(written)).text)
    assert "1 training failed (1 training: DivergedError: the loss is nan)" in text
    assert "1 more left out for a failed training" in text
    rows = training_rows(html_of(written))
    [failed] = [row for row in rows if row["state"] == "failed"]
    assert (failed["arm"], failed["seed"], failed["reason"]) == ("learned", "1", "DivergedError: the loss is nan")


def test_every_training_is_in_the_table(made: RunDirectory, written: Written) -> None:
    rows = training_rows(html_of(written))
    found = {(row["limit"], row["arm"], row["seed"]): row for row in rows}
    assert len(rows) == len(found) == len(made.trainings()) == 70
    for _, record in made.trainings():
        row = found[f"{record.params['inner.budget.limit']:g}", record.arm, str(record.index)]
        if record.state == "complete":
            assert float(row["test error %"]) == pytest.approx(100 * (1 - record.metrics["test_accuracy"]), abs=0.006)
            assert float(row["lr"]) == record.params["inner.optimizer.lr"]
            drawn = row["drawn: test error %"]
            assert bool(drawn) == (record.arm == "stochastic")


def test_arms_stand_in_the_order_of_the_experiment(made: RunDirectory, written: Written) -> None:
    data = read_arms_data(made, "")
    wanted = list(data.compared.kinds)
    for cell in data.points:
        own = [training for training in data.trainings if training.cell == cell]
        assert list(dict.fromkeys(training.arm for training in own)) == wanted
        for arm in wanted:
            indices = [training.record.index for training in own if training.arm == arm]
            assert indices == sorted(indices)
    assert list(dict.fromkeys(row["arm"] for row in training_rows(html_of(written)))) == wanted


def test_a_finished_run_without_failures(tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=COMPARE, measured=False)
    html = html_of(write_report([run]))
    assert "not finished" not in html and "refresh" not in html and "failed (" not in html
    assert "precsearch list" in html and "precsearch resume" not in html
    assert 'id="disturbed"' not in html, "nothing was attacked"
    assert run.experiment.read_text() in "".join(Words(html).text)


@pytest.mark.parametrize("seeds", [0, 1])
def test_any_run_has_a_page(seeds: int, tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=ONE_CELL, seeds=seeds)
    html = html_of(write_report([run]))
    text = "".join(Words(html).text)
    assert "not finished" in text
    if seeds == 0:
        assert "nothing can be said yet" in text and "No training has ended yet" in text
        assert terminal(run).strip() == ""
    else:
        assert "One pair tells nothing of chance" in text and "nan" not in text
        assert {answer.told for answer in read_arms_data(run, "").compared.answers} == {"not shown"}


def test_a_single_training_has_a_page(tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=ONE_CELL, seeds=1)
    for folder in sorted((run.path / "trainings").iterdir())[1:]:
        shutil.rmtree(folder)
    html = html_of(write_report([run]))
    assert len(training_rows(html)) == 1 and 'id="verdicts"' not in html and 'id="means"' in html


def test_more_seeds_than_asked_for_are_kept(tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=ONE_CELL.replace("seeds: 6", "seeds: 2"), seeds=2)
    extra = next(folder for folder, record in run.trainings() if record.index == 1)
    record = read_training(extra)
    assert record is not None
    shutil.copytree(extra, run.training(0, record.label, 7))
    run.write_record(run.training(0, record.label, 7), record.model_copy(update={"index": 7}))
    data = read_arms_data(run, "")
    assert data.finished and len(data.trainings) == data.wanted + 1
    shutil.rmtree(extra)
    assert not read_arms_data(run, "").finished


def test_several_comparisons_side_by_side(tmp_path: Path) -> None:
    texts = {"a": ONE_CELL, "b": ONE_CELL.replace("train_limit: 1000", "train_limit: 5000")}
    runs = [make_comparison(tmp_path / name, text=text, seeds=2, measured=False) for name, text in texts.items()]
    written = write_report(runs, tmp_path / "page.html")
    text = "".join(Words(html_of(written)).text)
    assert {row["run"] for row in training_rows(html_of(written))} == {"a", "b"}
    assert "did not learn from the same images" in text and "a: At" not in text
    assert {each["run"] for each in written.to_dict()["verdicts"]} == {"a", "b"}
    assert any(answer.sentence.startswith("b: ") for part in written.page.questions for answer in part.answers)


def test_kinds_are_not_mixed(call: Any, tmp_path: Path) -> None:
    search = make_report(tmp_path / "search", Made(trials=2, seeds=0))
    compare = make_comparison(tmp_path / "compare", text=ONE_CELL, seeds=1)
    before = listing(tmp_path)
    status, out, err = call("report", search.path, compare.path, "--output", tmp_path / "page.html")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "one kind" in err and "is of kind search" in err and "is of kind compare" in err
    assert listing(tmp_path) == before


def test_only_the_report_is_written(made: RunDirectory, tmp_path: Path) -> None:
    before = listing(made.path)
    write_report([made], tmp_path / "page.html")
    assert listing(made.path) == before


def test_hostile_names_are_text(tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=ONE_CELL, seeds=2, failed=((0, "learned", 0),))
    folder, record = next((f, r) for f, r in run.trainings() if r.state == "failed")
    run.write_record(folder, record.model_copy(update={"reason": HOSTILE}))
    parsed = Words(html_of(write_report([run])))
    assert parsed.tags.count("script") == 1 and "img" not in parsed.tags
    assert HOSTILE in "".join(parsed.text)


@pytest.mark.parametrize("name", ["tuned.json", "trainings/0000-float-00/result.json"])
def test_what_cannot_be_read_is_one_message(name: str, call: Any, tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=ONE_CELL, seeds=1)
    (run.path / name).write_text("{")
    status, _, err = call("report", run.path)
    assert status == 1 and err.count("\n") == 1 and Path(name).name in err and "delete" in err


# ---- the terminal


def test_the_terminal_says_the_same(made: RunDirectory) -> None:
    data = read_arms_data(made, "")
    flat = " ".join(terminal(made).split())
    for answer in data.compared.answers:
        assert f"{answer.told}: {answer.sentence}" in flat
    assert "Test error less that of uniform" in flat and "4 (1 out)" in flat
    assert max(len(line.rstrip()) for line in terminal(made).splitlines()) <= 80
    told = answers_dict(data)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert len(told["claims"]) == 6 * 2 * 13 and len(told["answers"]) == len(data.compared.answers)


def test_list_prints_them(call: Any, made: RunDirectory) -> None:
    status, out, _ = call("list", made.path)
    assert status == 0 and "Are learned allocations near-uniform?" in out
    status, out, _ = call("list", made.path, "--json")
    assert status == 0 and json.loads(out)["answers"] and json.loads(out)["claims"]


# ---- drawn


@pytest.mark.slow
def test_thirty_seeds_of_seven_arms_fit_in_one_megabyte(tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", text=EVERY_KIND.replace("seeds: 6", "seeds: 30"), steps=False)
    html = html_of(write_report([run]))
    assert len(training_rows(html)) == 420
    assert len(html.encode()) < 1_000_000


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_comparison(tmp_path / "run", seeds=2)
    first = html_of(write_report([run]))
    files = {name: text for name, (_, text) in listing(run.path / "figures").items()}
    assert html_of(write_report([run])) == first
    assert {name: text for name, (_, text) in listing(run.path / "figures").items()} == files
    assert len(files) == 3 * 16
