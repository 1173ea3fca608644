"""Scores and samples as the trackers read them back."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from loraeval.errors import UsageError
from loraeval.report.tracking import SAMPLES_PER_EPOCH, log_scores, samples, scalars


def test_scalars_and_samples_by_epoch(study):
    found = scalars(study)
    assert ("eval/health", 2, 1.0) in found
    assert len(found) == 5 * 4
    images = list(samples(study))
    assert [s.epoch for s in images] == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    assert images[0].tag == "validation/portrait_00_42"
    assert images[0].pixels.shape == (96, 96, 3)
    assert len(images) <= SAMPLES_PER_EPOCH * 4


def test_several_runs_keep_apart(study):
    rows = (*study.rows, replace(study.rows[0], run="OTHER RUN"))
    tags = {tag for tag, _, _ in scalars(replace(study, rows=rows))}
    assert {"eval/STUDY/grid", "eval/OTHER_RUN/grid"} <= tags


def test_rows_without_epochs_are_refused(tmp_path, study):
    rows = tuple(replace(row, epoch=None) for row in study.rows)
    with pytest.raises(UsageError, match="scores by epoch"):
        log_scores("tensorboard", replace(study, rows=rows), tmp_path)


def test_tensorboard_reads_back_what_was_logged(tmp_path, study):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    import io

    from PIL import Image
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    place = log_scores("tensorboard", study, tmp_path)
    (file,) = place.glob("events.out.tfevents.*")
    read = defaultdict(dict)
    pictures = {}
    for event in LegacyEventFileLoader(str(file)).Load():
        for value in event.summary.value:
            if value.HasField("simple_value"):
                read[value.tag][event.step] = value.simple_value
            elif value.HasField("image"):
                pictures[value.tag, event.step] = value.image.encoded_image_string
    expected = defaultdict(dict)
    for tag, epoch, mean in scalars(study):
        expected[tag][epoch] = pytest.approx(mean, abs=1e-6)
    assert dict(read) == dict(expected)
    first = next(iter(samples(study)))
    image = Image.open(io.BytesIO(pictures[first.tag, first.epoch]))
    assert np.array_equal(np.asarray(image), first.pixels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_writes_a_run(tmp_path, study, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"),
                        ("WANDB_CONSOLE", "off"), ("HOME", str(tmp_path))):  # fmt: skip
        monkeypatch.setenv(name, value)
    place = log_scores("wandb", study, tmp_path)
    (file,) = place.glob("wandb/offline-run-*/run-*.wandb")
    end = time.monotonic() + 20
    while b"validation/portrait_00_42" not in (content := file.read_bytes()):
        assert time.monotonic() < end, "wandb's service never wrote the run"
        time.sleep(0.2)
    assert b"eval/palette" in content
    assert len(list(place.glob("wandb/offline-run-*/files/media/images/validation/*.png"))) == 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_file_store_reads_back(tmp_path, study, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = log_scores("mlflow", study, tmp_path)
    client = tracking.MlflowClient(tracking_uri=place.resolve().as_uri())
    experiment = client.get_experiment_by_name("loraeval")
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "eval/grid")
    expected = {epoch: mean for tag, epoch, mean in scalars(study) if tag == "eval/grid"}
    assert {m.step: m.value for m in history} == pytest.approx(expected)
    assert len(client.list_artifacts(run.info.run_id, "validation")) == 20
