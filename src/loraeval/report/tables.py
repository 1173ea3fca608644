"""Scores as tables for other programs: CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loraeval.errors import MissingExtraError
from loraeval.outside.files import write_bytes_atomically
from loraeval.records import ScoreRow
from loraeval.report.data import ordered_metrics
from loraeval.report.details import reason

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def scores_table(rows: Sequence[ScoreRow]) -> dict[str, list[Any]]:
    """Return ``rows`` as columns: origin, one column a metric, one with its reasons where any."""
    metrics = ordered_metrics(rows)
    table: dict[str, list[Any]] = {
        "run": [row.run for row in rows],
        "checkpoint": [row.checkpoint for row in rows],
        "epoch": [row.epoch for row in rows],
        "prompt_id": [row.prompt_id for row in rows],
        "seed": [row.seed for row in rows],
        "image": [row.image for row in rows],
        "encoder": [row.encoder for row in rows],
    }
    for metric in metrics:
        table[metric] = [row.scores.get(metric) for row in rows]
    for metric in metrics:
        reasons = [
            reason(row.details, metric) if row.scores.get(metric) is None else None for row in rows
        ]
        if any(reasons):
            table[f"{metric}.reason"] = reasons
    return table


def scores_csv(rows: Sequence[ScoreRow]) -> str:
    """Return ``rows`` as CSV (RFC 4180, but line breaks as LF), unscored as an empty field.

    Text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    table = scores_table(rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_cell(name) for name in table)
    writer.writerows([_cell(value) for value in line] for line in zip(*table.values(), strict=True))
    return buffer.getvalue()


def write_parquet(path: Path, rows: Sequence[ScoreRow]) -> None:
    """Write ``rows`` as Parquet, whole or not at all.

    Raises ``MissingExtraError`` without the extra ``parquet``.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "writing Parquet") from error
    table = scores_table(rows)
    kinds = {"epoch": pa.int64(), "seed": pa.int64()}
    kinds |= {name: pa.float64() for name in ordered_metrics(rows)}
    columns = {
        name: pa.array(values, type=kinds.get(name, pa.string())) for name, values in table.items()
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    write_bytes_atomically(path, buffer.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
