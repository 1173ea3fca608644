"""The epoch chart: numbers, marks, the same bytes twice."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from statistics import fmean

import pytest
from PIL import Image

from loraeval.errors import ScoresError
from loraeval.records import ScoreRow
from loraeval.report.chart_theme import chart_config
from loraeval.report.charts import MIN_SPAN, axis_domain, chart_sentence, epoch_chart
from loraeval.report.series import epoch_points, in_epoch_order


def row(epoch, prompt, value, run="R", metric="grid") -> ScoreRow:
    return ScoreRow(f"{epoch}-{prompt}.png", run, None, epoch, prompt, None, {metric: value})


def test_points_count_prompts_images_and_unscored():
    rows = [
        row(1, "a", 0.2),
        row(1, "a", 0.4),
        row(1, "b", 0.9),
        row(1, "c", None),
        row(2, "a", 0.5),
    ]
    first, second = epoch_points(rows, ["grid"])
    assert (first.n, first.images, first.unscored) == (2, 3, 1)
    assert first.mean == pytest.approx(fmean([0.2, 0.4, 0.9]))
    assert first.low <= first.mean <= first.high
    assert (second.n, second.low, second.high) == (1, None, None)


def test_an_epoch_without_a_number_has_no_point():
    assert epoch_points([row(1, "a", None), row(None, "a", 0.5)], ["grid"]) == []


def test_chart_holds_every_mean_the_baseline_and_the_recommended_epoch(study):
    spec = json.loads(
        epoch_chart(study.rows, baseline=study.baseline, selection=study.selection).to_json()
    )
    assert [panel["title"]["text"] for panel in spec["concat"]] == [
        "palette", "grid", "style", "realism", "health",
    ]  # fmt: skip
    grid = spec["concat"][1]
    data = (
        [record for layer in grid["layer"] for record in layer["data"]["values"]]
        if ("data" in grid["layer"][0])
        else [r for values in spec["datasets"].values() for r in values]
    )
    means = {r["epoch"]: r["mean"] for r in data if "mean" in r}
    for epoch in (1, 2, 3, 4):
        own = [r.scores["grid"] for r in study.rows if r.epoch == epoch]
        assert means[epoch] == pytest.approx(fmean(own))
    assert {"level": study.baseline.means["grid"]} in data
    assert {r["epoch"] for r in data if r.get("chosen")} == {3}
    assert f"baseline {study.baseline.means['grid']:.3f}" in grid["title"]["subtitle"]
    assert spec["title"]["subtitle"][0].startswith("Epoch 3")


def test_equal_input_gives_equal_bytes_in_another_process_too(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from loraeval.records import ScoreRow\n"
        "from loraeval.report.charts import epoch_chart, save_chart\n"
        "rows = [ScoreRow(f'{e}{p}', 'R', None, e, str(p), None, {'grid': .5 + e * p / 20})"
        " for e in (1, 2) for p in (1, 2, 3)]\n"
        "save_chart(epoch_chart(rows), Path('OUT'), 'c')\n"
    )
    for name in ("one", "two"):
        where = str(tmp_path / name)
        subprocess.run([sys.executable, "-c", code.replace("OUT", where)], check=True, timeout=120)
    for suffix in ("png", "svg"):
        first = (tmp_path / "one" / f"c.{suffix}").read_bytes()
        assert first == (tmp_path / "two" / f"c.{suffix}").read_bytes()
    with Image.open(tmp_path / "one" / "c.png") as image:
        assert image.width > 300
    root = ET.fromstring((tmp_path / "one" / "c.svg").read_text())
    assert root.tag.endswith("svg")
    assert not [
        e for e in root.iter() if e.get("href") or e.get("{http://www.w3.org/1999/xlink}href")
    ]


def test_several_runs_get_a_block_each_and_no_recommendation(study):
    rows = [*study.rows, row(1, "x", 0.4, run="OTHER"), row(2, "x", 0.5, run="OTHER")]
    spec = json.loads(epoch_chart(rows, selection=study.selection).to_json())
    assert [block["title"] for block in spec["vconcat"]] == ["STUDY", "OTHER"]
    assert "diamond" not in " ".join(spec["title"]["subtitle"])


def test_no_epoch_is_refused_with_what_to_do():
    with pytest.raises(ScoresError, match="score a series of checkpoints"):
        epoch_chart([row(None, "a", 0.5)])


def test_axis_never_blows_up_a_small_spread():
    low, high = axis_domain(
        epoch_points([row(1, "a", 0.5), row(2, "a", 0.501)], ["grid"]), None, None
    )
    assert high - low >= MIN_SPAN - 1e-6
    low, high = axis_domain(epoch_points([row(1, "a", 1.0)], ["grid"]), 1.0, (0.99, 1.0))
    assert high <= 1.02
    assert low >= -0.01


def test_sentence_names_the_marks(study):
    points = epoch_points(study.rows, ["grid"])
    said = chart_sentence(points, study.baseline, study.selection)
    assert said == (
        "Epoch 3 has the highest scores of the series. Mean over 5 prompts an epoch, "
        "band: 95 % interval of the mean; dashed: baseline GOLD and its interval in grey; "
        "diamond: epoch 3."
    )


def luminance(code: str) -> float:
    parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_marks_stand_out_from_the_ground(dark):
    config = chart_config(dark=dark)
    ground = luminance(config["background"])
    for style in ("score-line", "baseline-line", "chosen-rule", "margin-limit"):
        mark = luminance(config["style"][style]["color"])
        ratio = (max(mark, ground) + 0.05) / (min(mark, ground) + 0.05)
        assert ratio >= 3, style  # WCAG 1.4.11


def test_epochs_rise_within_a_run_and_runs_keep_their_order(study):
    mixed = [*study.rows[::-1]]
    ordered = in_epoch_order(mixed)
    assert sorted(map(id, ordered)) == sorted(map(id, mixed))
    assert [row.run for row in ordered[:1]] == [mixed[0].run]
    for run in {row.run for row in mixed}:
        epochs = [row.epoch for row in ordered if row.run == run]
        assert epochs == sorted(epochs)
        for epoch in set(epochs):
            own = [row for row in mixed if (row.run, row.epoch) == (run, epoch)]
            assert [row for row in ordered if (row.run, row.epoch) == (run, epoch)] == own
