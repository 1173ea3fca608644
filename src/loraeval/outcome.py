"""From verdicts to one outcome and to an exit code, for every door: nothing else decides it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from loraeval.records import Comparison, Outcome, Verdict

Undecided = Literal["pass", "fail", "skip"]
"""What an undecided gate counts as; ``skip`` is neither: exit code 3, and a skipped test."""

UNDECIDED: tuple[Undecided, ...] = ("pass", "fail", "skip")

PASS, FAIL, WRONG, INCONCLUSIVE, BUG, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 70, 130, 143

EXIT_CODES: dict[int, str] = {
    PASS: "pass",
    FAIL: "fail",
    WRONG: "wrong usage or unreadable input, or scores that must not be compared",
    INCONCLUSIVE: "inconclusive",
    BUG: "a bug in loraeval, with its traceback",
    INTERRUPTED: "interrupted (Ctrl-C)",
    TERMINATED: "terminated (SIGTERM)",
}
"""Every exit code of the command line and what it means; under pytest its own codes hold."""

ORDER: tuple[Outcome, ...] = ("stale", "fail", "inconclusive", "pass")
"""Outcomes from the gravest on: what must not be compared says nothing of what passed."""

_CODES: dict[Outcome, int] = {
    "pass": PASS,
    "fail": FAIL,
    "stale": WRONG,
    "inconclusive": INCONCLUSIVE,
}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the gravest of ``outcomes``; raises ``ValueError`` for none: nothing is no pass.

    >>> worst(["pass", "inconclusive", "pass"])
    'inconclusive'
    """
    found = set(outcomes)
    if not found:
        raise ValueError("expected at least one outcome")
    return next(outcome for outcome in ORDER if outcome in found)


def outcome_of(comparisons: Iterable[Comparison]) -> Outcome:
    """Return the outcome of one gate: pass needs every metric, fail needs one."""
    return worst(item.outcome for item in comparisons)


def settled(outcome: Outcome, undecided: Undecided | None) -> Outcome:
    """Return ``outcome``, an undecided one as what the user says that it counts as.

    >>> settled("inconclusive", "fail"), settled("inconclusive", "skip"), settled("stale", "pass")
    ('fail', 'inconclusive', 'stale')
    """
    if outcome == "inconclusive" and undecided in ("pass", "fail"):
        return undecided
    return outcome


def exit_code(verdicts: Iterable[Verdict], undecided: Undecided | None = None) -> int:
    """Return the exit code of all ``verdicts``: the gravest outcome's; 2 where there is none."""
    outcomes = [settled(verdict.outcome, undecided) for verdict in verdicts]
    return _CODES[worst(outcomes)] if outcomes else WRONG


def exit_line() -> str:
    """Return the table of exit codes in one line, for help texts."""
    return "exit codes: " + ", ".join(f"{code} {words}" for code, words in EXIT_CODES.items())
