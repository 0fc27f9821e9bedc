"""A measured case held against the budget of the device profile."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mmg.board.profiling.figures import latency
from mmg.board.profiling.result import BudgetCheck, Case


def check_budget(case: Case, budget: Mapping[str, float]) -> tuple[BudgetCheck, ...]:
    """One check for each limit, in the budget's order. A limit is kept by a value that is not above it.

    decision_ms: 95th percentile of event to decision, or of the hop where the case was run back to back.
    power_mw: only where a meter measured it; an estimate has the value None and does not pass.
    Raises KeyError for a key that ``mmg_device_profiles.schema.Budget`` does not have.
    """
    values = _values(case)
    return tuple(
        BudgetCheck(key=key, limit=limit, value=values[key], passed=_keeps(values[key], limit))
        for key, limit in budget.items()
    )


def explain(check: BudgetCheck) -> str:
    """One line: by how much, such as ``memory_mib 142.3 is 22.3 over the budget of 120 (19 %)``."""
    if check.value is None:
        return f"{check.key} was not measured, so it does not pass the budget of {check.limit:g}"
    apart = abs(check.value - check.limit)
    if not apart:
        return f"{check.key} {check.value:g} is exactly the budget of {check.limit:g}"
    side = "under" if check.passed else "over"
    decimals = max(1, -math.floor(math.log10(apart)))
    share = f"{100 * apart / check.limit:.{0 if apart >= 0.01 * check.limit else 2}f} %"
    return (
        f"{check.key} {check.value:.{decimals}f} is {apart:.{decimals}f} {side} the budget of {check.limit:g} ({share})"
    )


def _values(case: Case) -> dict[str, float | None]:
    decision = latency(case)
    measured = case.energy if case.energy is not None and case.energy.measured else None
    return {
        "decision_ms": decision.p95_ms if decision else None,
        "cpu_percent": case.cpu_percent,
        "memory_mib": case.memory.peak_mib if case.memory else None,
        "first_decision_s": case.cold.first_decision_s if case.cold else None,
        "power_mw": 1e3 * measured.mean_w if measured else None,
    }


def _keeps(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit
