"""What a comparison or a grid says, in the terminal: how arms differ in test error, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
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
    from precsearch.analysis.arm_claims import ArmClaim
    from precsearch.report.arms.reading import ArmsData

_STYLES: Final[dict[Told, str]] = {"yes": "green", "no": "bold", "mixed": "yellow", "not shown": "yellow"}


def print_answers(console: Console, data: ArmsData) -> None:
    """How arms differ in test error, and every question with its answers; nothing where nothing can be said yet."""
    claims = data.compared.claims[ERROR] if data.kind == "compare" else []
    if claims := [claim for claim in claims if claim.differences.against.arm == data.compared.settings.against]:
        console.print(Padding(_differences(data, claims), (1, 0, 0, 0), expand=False))
        console.print(Text(_note(claims), style="dim"))
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


def _differences(data: ArmsData, claims: Sequence[ArmClaim]) -> Table:
    several = len(data.points) > 1
    headers = ("cell",) * several + ("arm", "points", "95 % interval", "seeds", "verdict")
    first = int(several)
    title = f"Test error less that of {claims[0].differences.against.name}"
    made = table(*headers, left=(first, first + 4), title=title)
    before = None
    for claim in claims:
        each, found, told = claim.differences, claim.comparison.difference, claim.measure
        ends = "" if found.low is None or found.high is None else f"{told.text(found.low)} to {told.text(found.high)}"
        made.add_row(
            *([str(each.cell) if each.cell != before else ""] if several else []),
            Text(each.arm.name),
            told.text(found.mean),
            ends,
            f"{found.n}{f' ({each.left_out} out)' if each.left_out else ''}",
            claim.verdict,
        )
        before = each.cell
    return made


def _note(claims: Sequence[ArmClaim]) -> str:
    """What the table's columns mean."""
    told, margin = claims[0].measure, claims[0].comparison.margin
    within = f"; equivalent: within {told.amount(margin)}" if margin is not None else ""
    return f"on the same seeds; below zero is better; shown or not: Holm over {claims[0].comparison.family}{within}"
