"""Evaluations made by hand: what `evaluate:` would leave of a network, without one."""

from __future__ import annotations

from precsearch.measured import (
    AttackCurve,
    BitFlips,
    Calibration,
    Corruption,
    Evaluation,
    MaskingCheck,
    Perturbation,
    ReliabilityBin,
)

BINS = tuple(
    ReliabilityBin(low=low, high=low + 0.5, count=40, confidence=low + 0.3, accuracy=low + 0.25) for low in (0.0, 0.5)
)
CALIBRATION = Calibration(nll=0.2226, brier=0.0654, ece=0.0321, bins=BINS)
FAILED = MaskingCheck(
    check="noise", passed=False, value=0.31, bound=0.52, told="noise of norm 0.2 leaves 31 %, pgd 52 %"
)
PASSED = MaskingCheck(check="transfer", passed=True, value=0.6, bound=0.5, told="transferred 60 %, own 50 %")


def evaluation(less: float = 0.0, passed: bool = False) -> Evaluation:
    """One of everything; accuracies lower by `less` under disturbance."""

    def curve(attack: str, norm: str, at: dict[float, float], steps: int) -> AttackCurve:
        lowered = [accuracy - less * (epsilon > 0) for epsilon, accuracy in at.items()]
        return AttackCurve.model_validate(
            {"attack": attack, "norm": norm, "epsilons": [*at], "accuracies": lowered, "steps": steps, "restarts": 1}
        )

    return Evaluation(
        split="validation",
        images=80,
        seed=7,
        calibration=CALIBRATION,
        attacks=(
            curve("fgsm", "linf", {0.0: 0.95, 0.05: 0.82, 0.1: 0.63, 0.2: 0.25}, 1),
            curve("pgd", "linf", {0.0: 0.95, 0.05: 0.8, 0.1: 0.52, 0.2: 0.12}, 20),
            curve("pgd", "l2", {0.0: 0.95, 0.5: 0.7, 1.0: 0.4}, 20),
        ),
        perturbations=(Perturbation(norm="linf", quartiles=(0.02, 0.0813, None), largest=0.2),),
        masking=(PASSED,) if passed else (FAILED, PASSED),
        corruptions=(
            Corruption(corruption="gaussian_noise", accuracies=(0.9 - less, 0.8 - less)),
            Corruption(corruption="blur", accuracies=(0.7 - less, 0.6 - less)),
        ),
        bit_flips=(
            BitFlips(rate=0.0001, accuracies=(0.94 - less, 0.92 - less)),
            BitFlips(rate=0.001, accuracies=(0.85 - less, 0.75 - less)),
        ),
        seconds=1.5,
    )
