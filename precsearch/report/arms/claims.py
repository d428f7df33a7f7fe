"""Claims about arms as plain objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from precsearch.analysis.arm_claims import ArmClaim


def claim_dict(claim: ArmClaim) -> dict[str, Any]:
    """One claim as a plain object; differences in the metric's own unit."""
    found, each = claim.comparison, claim.differences
    return {
        "cell": each.cell,
        "at": claim.at,
        "arm": each.arm.name,
        "against": each.against.name,
        "metric": claim.measure.metric,
        "verdict": claim.verdict,
        "difference": found.difference.mean,
        "low": found.difference.low,
        "high": found.difference.high,
        "seeds": found.difference.n,
        "left_out": each.left_out,
        "p": found.p_holm,
        "margin": found.margin,
        "p_equivalent": found.p_equivalent,
        "detectable": found.detectable,
        "sentence": claim.sentence,
    }
