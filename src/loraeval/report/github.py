"""What GitHub Actions shows of a gate: annotations on the run, and the job's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loraeval.outside.files import write_text_atomically
from loraeval.records import Verdict
from loraeval.report.data import RunReport
from loraeval.report.headline import WORDS
from loraeval.report.markdown import summary_markdown

_LEVELS = {"fail": "error", "stale": "error", "inconclusive": "warning"}

SUMMARY_LIMIT_BYTES = 1_000_000
"""GitHub refuses a step summary over 1 MiB whole; a longer one is cut with a line that says so."""


def annotation_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a workflow command a comparison that did not pass, and one for a bare verdict.

    The text is escaped as GitHub's runner reads it, so that a checkpoint's name cannot start a
    command of its own.
    """
    lines = []
    for verdict in verdicts:
        if verdict.outcome not in _LEVELS:
            continue
        blamed = [item for item in verdict.comparisons if item.outcome in _LEVELS]
        for item in blamed:
            title = f"{verdict.checkpoint.label}: {item.metric} {WORDS[item.outcome]}"
            lines.append(_command(_LEVELS[item.outcome], title, item.reason))
        if not blamed:
            title = f"{verdict.checkpoint.label}: {WORDS[verdict.outcome]}"
            lines.append(_command(_LEVELS[verdict.outcome], title, verdict.reason))
    return lines


def write_job_files(folder: Path, data: RunReport) -> None:
    """Write ``job_summary.md``, whose charts need no file of the job, and ``annotations.txt``,
    the workflow commands to print, into ``folder``.
    """
    summary = summary_markdown(
        data.verdicts, rows=data.rows, selection=data.selection, title=data.title, diagrams=True
    )
    write_text_atomically(folder / "job_summary.md", summary)
    lines = annotation_lines(data.verdicts)
    write_text_atomically(folder / "annotations.txt", "".join(line + "\n" for line in lines))


def announce(
    verdicts: Sequence[Verdict], summary: str, environment: Mapping[str, str]
) -> list[str]:
    """Add ``summary`` to the job's summary page and return the annotations to print.

    Does nothing, and returns nothing, outside of GitHub Actions.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    place = environment.get("GITHUB_STEP_SUMMARY")
    if place:
        content = summary.encode()
        if len(content) > SUMMARY_LIMIT_BYTES:
            whole = content[:SUMMARY_LIMIT_BYTES].decode(errors="ignore").rsplit("\n", 1)[0]
            content = f"{whole}\n\n(cut: the report's summary.md has all of it)\n".encode()
        with Path(place).open("ab") as file:
            file.write(content)
    return annotation_lines(verdicts)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    text = "".join(c if c.isprintable() or c in "\r\n" else " " for c in text)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
