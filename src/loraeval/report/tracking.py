"""Scores and sample images for the trackers that people already look at.

Names are the field's: ``eval/METRIC`` for a score by epoch, as Hugging Face's trainers log theirs,
and ``validation/PROMPT`` for the images, as diffusers' training scripts do. The step is the epoch.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import ImageError, MissingExtraError, UsageError
from loraeval.images.reading import read_image
from loraeval.report.data import RunReport, ordered_metrics
from loraeval.report.pictures import find_image
from loraeval.report.series import epoch_points

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SAMPLES_PER_EPOCH = 8
"""Sample images logged for each epoch: the first prompts in the rows' order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image to log: its tag, its epoch, its pixels (uint8, (H, W, 3)), the prompt's text."""

    tag: str
    epoch: int
    pixels: npt.NDArray[np.uint8]
    caption: str


def log_scores(target: str, data: RunReport, folder: Path) -> Path:
    """Log ``data`` to ``target`` (``tensorboard``, ``wandb`` or ``mlflow``); return its folder.

    Nothing leaves the machine unless the tracker is told to: wandb runs offline unless WANDB_MODE
    says otherwise, mlflow writes into ``folder`` unless MLFLOW_TRACKING_URI is set.

    Raises ``MissingExtraError`` where the tracker is not installed, ``UsageError`` where no row
    has an epoch to log by.
    """
    if all(row.epoch is None for row in data.rows):
        raise UsageError(
            "--log-to logs scores by epoch: expected rows with an epoch, found none; "
            "give the images' epochs in the renders manifest"
        )
    place = folder / target
    place.mkdir(parents=True, exist_ok=True)
    _TARGETS[target](data, place)
    return place


def scalars(data: RunReport) -> list[tuple[str, int, float]]:
    """Return (tag, epoch, mean) of every metric and run; one run's tags have no run's name."""
    runs = list(dict.fromkeys(row.run for row in data.rows))
    found = []
    for run in runs:
        rows = [row for row in data.rows if row.run == run]
        prefix = "eval" if len(runs) == 1 else f"eval/{_word(run)}"
        found += [
            (f"{prefix}/{_word(point.metric)}", point.epoch, point.mean)
            for point in epoch_points(rows, ordered_metrics(rows))
        ]
    return found


def samples(data: RunReport) -> Iterator[Sample]:
    """Yield the sample images that can be read, epoch by epoch."""
    runs = list(dict.fromkeys(row.run for row in data.rows))
    counts: dict[tuple[str, int], int] = {}
    for row in sorted(data.rows, key=lambda row: row.epoch or 0):
        if row.epoch is None or counts.get((row.run, row.epoch), 0) >= SAMPLES_PER_EPOCH:
            continue
        path = data.image_files.get(row.image) or find_image(data.images, row.image)
        if path is None:
            continue
        try:
            pixels, _ = read_image(path, row.image)
        except ImageError:
            continue
        counts[row.run, row.epoch] = counts.get((row.run, row.epoch), 0) + 1
        prefix = "validation" if len(runs) == 1 else f"validation/{_word(row.run)}"
        seed = "" if row.seed is None else f"_{row.seed}"
        tag = f"{prefix}/{_word(row.prompt_id)}{seed}"
        yield Sample(tag, row.epoch, pixels, data.prompts.get(row.prompt_id, row.prompt_id))


def _tensorboard(data: RunReport, folder: Path) -> None:
    try:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "tensorboard", "--log-to tensorboard") from error
    from tensorboard.compat.proto.event_pb2 import Event

    writer = EventFileWriter(str(folder))
    try:
        for tag, epoch, value in scalars(data):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(step=epoch, summary=summary))
        for sample in samples(data):
            height, width, _ = sample.pixels.shape
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=_png(sample.pixels)
            )
            summary = Summary(value=[Summary.Value(tag=sample.tag, image=image)])
            writer.add_event(Event(step=sample.epoch, summary=summary))
    finally:
        writer.close()


def _wandb(data: RunReport, folder: Path) -> None:
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb", "wandb", "--log-to wandb") from error
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "loraeval"),
        name=data.title,
        dir=str(folder),
        mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
        config={"recipe": dict(data.recipe), "versions": dict(data.versions)},
    )
    try:
        by_epoch: dict[int, dict[str, Any]] = {}
        for tag, epoch, value in scalars(data):
            by_epoch.setdefault(epoch, {})[tag] = value
        for sample in samples(data):
            picture = wandb.Image(sample.pixels, caption=sample.caption)
            by_epoch.setdefault(sample.epoch, {})[sample.tag] = picture
        for epoch in sorted(by_epoch):
            run.log({"epoch": epoch, **by_epoch[epoch]}, step=epoch)
    finally:
        run.finish()


def _mlflow(data: RunReport, folder: Path) -> None:
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingExtraError("mlflow-skinny", "mlflow", "--log-to mlflow") from error
    place = os.environ.get("MLFLOW_TRACKING_URI")
    if not place:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder needs no database
        place = folder.resolve().as_uri()
    client = MlflowClient(tracking_uri=place)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "loraeval")
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(number, run_name=data.title)
    for tag, epoch, value in scalars(data):
        client.log_metric(run.info.run_id, tag, value, step=epoch)
    for sample in samples(data):
        file = folder / f"{_word(sample.tag.replace('/', '_'))}_epoch{sample.epoch:02d}.png"
        file.write_bytes(_png(sample.pixels))
        client.log_artifact(run.info.run_id, str(file), sample.tag.rsplit("/", 1)[0])
        file.unlink()
    client.set_terminated(run.info.run_id)


_TARGETS: Mapping[str, Callable[[RunReport, Path], None]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:100] or "_"


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
