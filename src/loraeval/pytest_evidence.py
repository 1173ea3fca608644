"""What of the gate a test session saw, and what follows for its exit code and its last lines.

A session that was asked for a gate ends with 0 only if every item of every checkpoint ran and none
of them failed by its own comparison, whatever selected among the items or reported in their place.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from loraeval.shared_run import SharedRun

ITEM, COMPARED = "loraeval.item", "loraeval"
"""Properties of an item's report: which item it is, and the comparison that it rests on."""

LOOKS_ONLY = {
    "collectonly": "--collect-only",
    "showfixtures": "--fixtures",
    "show_fixtures_per_test": "--fixtures-per-test",
    "cacheshow": "--cache-show",
}
"""pytest's options with which nothing is meant to run."""

State = Literal["pass", "fail", "undecided", "refused"]
_STATES: dict[str, State] = {"pass": "pass", "inconclusive": "undecided"}
_OTHER_PATHS = (
    "the exit code is that of the other tests: the checkpoints are named by the configuration, and "
    "this session was given other paths"
)
_ENDED_WELL = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


@dataclass(eq=False)
class Evidence:
    """The reports of a session's gate items; a plugin of the process that decides the exit code.

    ``states`` says of each item that ran what its own comparison came to (``refused``: it failed
    without one), ``compared`` holds the comparisons as JSON texts, ``lines`` what the summary says
    last.
    """

    config: pytest.Config
    shared: SharedRun
    states: dict[str, State] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    earned: bool = True

    def pytest_report_header(self) -> list[str]:
        """Say before anything runs what will not be gated, or not turn the session red."""
        lines = self.shared.not_looked_at()
        if self.shared.request.inconclusive == "pass":
            lines.insert(0, "undecided counts as pass here (--lora-inconclusive pass)")
        from loraeval.outside.runner import unspoken

        return [unspoken(f"LoRA gate: {line}") for line in lines]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what an item of the gate reported."""
        said = dict(report.user_properties)
        item, text = said.get(ITEM), said.get(COMPARED)
        if not isinstance(item, str):
            return
        if report.when == "call" and isinstance(text, str):
            self.compared[item] = text
            self.states[item] = _STATES.get(json.loads(text)["outcome"], "fail")
        elif report.failed:
            self.states[item] = "refused"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report; end with 1 what pytest would end with 0 and has not earned it."""
        if only_looks(self.config) is not None or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        lines: list[str] = []
        written = self._report()
        hook = self.config.hook.pytest_loraeval_verdict
        for run in self.shared.gated() if hook.get_hookimpls() else ():
            hook(verdict=run.verdict)
        exempt = asked_by_configuration(self.config)
        why = why_not_green(
            self.states,
            self.shared.expected(),
            partial=exempt or self.config.getoption("lora_partial"),
            undecided=self.shared.request.inconclusive or "fail",
        )
        self.earned = not why and written
        if session.exitstatus in _ENDED_WELL:  # as other plugins and conftests left it
            lines = why or ([_OTHER_PATHS] if exempt else [])
        self.lines = lines + self.lines

    @pytest.hookimpl(hookwrapper=True)
    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> Generator[None]:
        """Print the table of verdicts and what follows from it."""
        yield
        looks = only_looks(self.config)
        if looks is not None:
            terminalreporter.write_line(f"LoRA gate: nothing is judged with {looks}")
        elif exitstatus != pytest.ExitCode.USAGE_ERROR:
            from loraeval.outside.runner import unspoken

            terminalreporter.section("LoRA gate")
            for line in [*self._table(), *self.lines]:
                terminalreporter.write_line(unspoken(line))

    def _table(self) -> list[str]:
        from loraeval.gate.text import verdict_table
        from loraeval.shared_run import read_verdicts

        run = self.shared
        verdicts = read_verdicts(list(self.compared.values()))
        failed = [v.checkpoint.file for v in verdicts if v.outcome in ("fail", "stale")]
        titles = partial_titles(self.states, run.expected(), failed)
        table = verdict_table(verdicts, titles=titles).splitlines()
        seen = {verdict.checkpoint.file for verdict in verdicts}
        table += [f"{title}  {name}" for name, title in titles.items() if name not in seen]
        return table + run.trained_otherwise(verdicts)

    def _report(self) -> bool:
        """Write the report that was asked for, of what ran; say where, or why not, and return
        whether nothing went wrong.
        """
        from loraeval.errors import LoraevalError

        place = self.shared.request.out_folder
        if place is None or not self.compared:
            return True
        names = list(dict.fromkeys(item.rpartition("::")[0] for item in self.compared))
        try:
            self.lines.append(f"report: {self.shared.write_report(place, names)}")
        except OSError as error:
            why = f"{error.strerror}; choose another folder with --lora-report"
            self.lines.append(f"report: not written, {error.filename or place}: {why}")
            return False
        except LoraevalError as error:
            self.lines.append(f"report: not written, {error}")
            return False
        return True


@dataclass(frozen=True, eq=False)
class LastWord:
    """A plugin that comes after all others of a session's end: what is not earned is no 0."""

    evidence: Evidence

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """End with 1 what would end with 0, or without a test, and has not earned it."""
        result = yield
        if not self.evidence.earned and session.exitstatus in _ENDED_WELL:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result


def item_name(checkpoint: str, scorer: str) -> str:
    """Return what an item is called, whatever a plugin makes of its node id."""
    return f"{checkpoint}::{scorer}"


def only_looks(config: pytest.Config) -> str | None:
    """Return the option with which this session only lists something, None where it runs."""
    found = (option for name, option in LOOKS_ONLY.items() if config.getoption(name, None))
    return next(found, None)


def asked_by_configuration(config: pytest.Config) -> bool:
    """Return whether the configuration file alone names the checkpoints, in a session on paths that
    the user chose: a session of other tests, of which nobody asked for a gate.
    """
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return False
    added = config.getini("addopts")
    words = shlex.split(added) if isinstance(added, str) else list(added)
    named = sum(word == "--checkpoint" or word.startswith("--checkpoint=") for word in words)
    return bool(named) and named == len(config.getoption("checkpoint"))


def partial_titles(
    states: Mapping[str, State], expected: Mapping[str, Sequence[str]], failed: Sequence[str | None]
) -> dict[str, str]:
    """Return what to call a checkpoint of which only some items ran, or some were refused, instead
    of its outcome; ``failed`` names those of which something that ran failed: they stay failed.
    """
    titles = {}
    for checkpoint, scorers in expected.items():
        ran = [states[i] for i in (item_name(checkpoint, s) for s in scorers) if i in states]
        selected = f"{len(ran)} of {len(scorers)} selected"
        wrong = checkpoint in failed or "refused" in ran
        if len(ran) < len(scorers):
            titles[checkpoint] = f"FAIL ({selected})" if wrong else f"not judged: {selected}"
        elif "refused" in ran:
            titles[checkpoint] = "FAIL"
    return titles


def why_not_green(
    states: Mapping[str, State],
    expected: Mapping[str, Sequence[str]],
    *,
    partial: bool,
    undecided: str,
) -> list[str]:
    """Return why a session that pytest would end with 0 has not earned it; empty where it has.

    ``partial`` is ``--lora-partial``; ``undecided`` what ``--lora-inconclusive`` says.
    """
    items = [item_name(name, scorer) for name, scorers in expected.items() for scorer in scorers]
    missing = [item for item in items if item not in states]
    bad = [item for item in items if states.get(item) in ("fail", "refused")]
    left = [item for item in items if states.get(item) == "undecided"]
    found = []
    if missing and not partial:
        found.append(
            f"{len(missing)} of {len(items)} items of the gate did not run: the session ends with "
            "1 (--lora-partial lets a part of the gate end with 0)"
        )
    if bad:
        found.append(f"{bad[0]} failed, whatever was reported in its place: exit code 1")
    if left and undecided == "skip" and not partial:
        found.append(
            f"{left[0]} is undecided and was skipped, not passed: the session ends with 1 "
            "(--lora-partial lets it end with 0)"
        )
    elif left and undecided not in ("skip", "pass"):
        found.append(f"{left[0]} is undecided, whatever was reported in its place: exit code 1")
    return found
