"""The gallery: prompts down, epochs across, the baseline beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from loraeval.records import ScoreRow

LineKey = tuple[str, int | None]
ColumnKey = tuple[str, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: one checkpoint. ``label`` is short, ``title`` tells the run and file."""

    key: ColumnKey
    label: str
    title: str
    epoch: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line: one prompt and seed. ``cells[i]`` holds the rows of ``Gallery.columns[i]``;
    ``baseline`` the baseline's rows of the same prompt and seed, else of the same prompt.
    """

    prompt_id: str
    seed: int | None
    text: str
    cells: tuple[tuple[ScoreRow, ...], ...]
    baseline: tuple[ScoreRow, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """All images as a table. Lines come in the order of the rows, columns by run and epoch."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def build_gallery(
    rows: Sequence[ScoreRow],
    baseline: Sequence[ScoreRow] = (),
    prompts: Mapping[str, str] | None = None,
) -> Gallery:
    """Return the gallery of ``rows``; several images of one prompt and checkpoint share a cell."""
    cells: defaultdict[LineKey, defaultdict[ColumnKey, list[ScoreRow]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        cells[row.prompt_id, row.seed][column_key(row)].append(row)
    columns = _columns(rows)
    lines = tuple(
        Line(
            prompt_id=prompt_id,
            seed=seed,
            text=(prompts or {}).get(prompt_id, ""),
            cells=tuple(tuple(by_column.get(column.key, ())) for column in columns),
            baseline=matching(baseline, prompt_id, seed),
        )
        for (prompt_id, seed), by_column in cells.items()
    )
    return Gallery(columns, lines)


def column_key(row: ScoreRow) -> ColumnKey:
    """Return what decides a row's column: its run and epoch, its checkpoint where it has none."""
    return row.run, row.epoch, None if row.epoch is not None else row.checkpoint


def matching(
    baseline: Sequence[ScoreRow], prompt_id: str, seed: int | None
) -> tuple[ScoreRow, ...]:
    """Return the baseline's rows of the prompt and seed, else those of the prompt."""
    of_prompt = tuple(row for row in baseline if row.prompt_id == prompt_id)
    same_seed = tuple(row for row in of_prompt if seed is not None and row.seed == seed)
    return same_seed or of_prompt


def _columns(rows: Sequence[ScoreRow]) -> tuple[Column, ...]:
    keys = sorted(
        {column_key(row) for row in rows},
        key=lambda key: (key[0], key[1] is None, key[1] or 0, key[2] or ""),
    )
    several = len({run for run, _, _ in keys}) > 1
    files = {column_key(row): row.checkpoint for row in rows}
    found = []
    for key in keys:
        run, epoch, checkpoint = key
        if epoch is not None:
            label = f"epoch {epoch}"
        else:
            label = PurePath(checkpoint).stem if checkpoint else "images"
        file = files[key]
        found.append(
            Column(
                key=key,
                label=f"{run} {label}" if several and not label.startswith(run) else label,
                title=f"{run}, {label}" + (f" ({PurePath(file).name})" if file else ""),
                epoch=epoch,
            )
        )
    return tuple(found)
