"""A table of mean scores for the terminal: one line a run and epoch, one column a metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from loraeval.records import ScoreRow


def summary_table(rows: Sequence[ScoreRow], metrics: Sequence[str] | None = None) -> str:
    """Return the mean of each metric by run and epoch as aligned text.

    ``metrics`` defaults to the undotted ones. A mean over fewer images than the line's ``n`` shows
    how many in brackets, ``-`` means that none was measured.
    """
    if metrics is None:
        metrics = list(dict.fromkeys(m for row in rows for m in row.scores if "." not in m))
    groups: dict[tuple[str, str], list[ScoreRow]] = defaultdict(list)
    for row in rows:
        by_step = row.epoch is None and row.step is not None
        place = f"step {row.step}" if by_step else "" if row.epoch is None else str(row.epoch)
        groups[row.run, place].append(row)
    steps = [place.startswith("step ") for _, place in groups]
    head = "step" if all(steps) else "epoch"
    table = [["run", head, "n", *metrics]]
    for (run, place), members in sorted(groups.items(), key=_by_epoch):
        cells = [_cell([m.scores.get(metric) for m in members]) for metric in metrics]
        shown = place.removeprefix("step ") if head == "step" else place
        table.append([run, shown, str(len(members)), *cells])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def _by_epoch(item: tuple[tuple[str, str], list[ScoreRow]]) -> tuple[str, int]:
    (run, epoch), _ = item
    return run, int(epoch.removeprefix("step ")) if epoch else -1


def _cell(values: Sequence[float | None]) -> str:
    measured = [value for value in values if value is not None]
    if not measured:
        return "-"
    mean = f"{sum(measured) / len(measured):.3f}"
    return mean if len(measured) == len(values) else f"{mean} ({len(measured)})"
