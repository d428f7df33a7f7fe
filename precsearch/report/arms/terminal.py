"""What a comparison or a grid says, in the terminal: how arms differ in test error, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.text import Text

from precsearch.analysis.arms import ERROR
from precsearch.report.arms.answers import answers_of
from precsearch.report.arms.claims import claim_dict
from precsearch.report.tables import table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from precsearch.analysis.answers import Told
    from precsearch.report.arms.reading import ArmsData

_STYLES: Final[dict[Told, str]] = {"yes": "green", "no": "bold", "mixed": "yellow", "not shown": "yellow"}
_NOTE: Final = (
    "first arm less second on the same seeds, below zero the first is better; Holm over all comparisons; means: 95 %"
)


def print_answers(console: Console, data: ArmsData) -> None:
    """How arms differ in test error, and every question with its answers; nothing where nothing can be said yet."""
    if data.kind == "compare" and data.compared.claims[ERROR]:
        console.print(Padding(_differences(data), (1, 0, 0, 0), expand=False))
        console.print(Text(_NOTE, style="dim"))
    question = None
    for answer in answers_of(data):
        if answer.question != question:
            question = answer.question
            console.print()
            console.print(Text(question, style="bold"))
        told = Text(f"{answer.told}: ", style=_STYLES[answer.told])
        console.print(Padding(told + Text(answer.sentence, style="not bold default"), (0, 0, 0, 2)))


def answers_dict(data: ArmsData) -> dict[str, Any]:
    """The same as plain objects.

    Keys: ``answers`` (a list of ``question``, ``at``, ``answer``, ``sentence``) and, of a comparison, ``claims`` (a
    list of ``cell``, ``at``, ``arm``, ``against``, ``metric``, ``verdict``, ``difference``, ``low``, ``high``,
    ``seeds``, ``left_out``, ``p``, ``margin``, ``p_equivalent``, ``detectable``, ``sentence``).
    """
    answers = [
        {"question": each.question, "at": each.at, "answer": each.told, "sentence": each.sentence}
        for each in answers_of(data)
    ]
    if data.kind != "compare":
        return {"answers": answers}
    claims = (claim for found in data.compared.claims.values() for claim in found)
    return {"answers": answers, "claims": [claim_dict(claim) for claim in claims]}


def _differences(data: ArmsData) -> Table:
    several = len(data.points) > 1
    headers = ("cell",) * several + ("arm", "less", "points", "95 % interval", "seeds", "do they differ?")
    first = int(several)
    made = table(*headers, left=(first, first + 1, first + 5), title="Differences in test error")
    before = None
    for claim in data.compared.claims[ERROR]:
        each, found = claim.differences, claim.comparison.difference
        told = claim.measure
        ends = "" if found.low is None or found.high is None else f"{told.text(found.low)} to {told.text(found.high)}"
        made.add_row(
            *([str(each.cell) if each.cell != before else ""] if several else []),
            Text(each.arm.name),
            Text(each.against.name),
            told.text(found.mean),
            ends,
            f"{found.n}{f' ({each.left_out} out)' if each.left_out else ''}",
            Text(claim.told),
        )
        before = each.cell
    return made
