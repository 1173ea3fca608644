"""What evaluation asks of an engine: files read once a gate, and no more than the protocol."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from loraeval.baselines import Profile, freeze
from loraeval.checkpoints import anatomy, series
from loraeval.evaluation.full_run import render_and_score
from loraeval.evaluation.gate_run import GateSetup, gate_checkpoint
from loraeval.evaluation.panels import PanelChoice, build_panel
from loraeval.gate import GateOptions
from loraeval.render import known_files
from loraeval.render.store import Store
from loraeval.testing.fake_renderer import (
    FakeRenderer,
    fake_checkpoints,
    fake_recipe,
    portrait_prompts,
)

SIZE = 96


class OnlyTheProtocol:
    """Passes on what the protocol names; asked for anything else it fails."""

    NAMES = ("recipe", "describe", "render", "render_jobs", "close")

    def __init__(self, engine: FakeRenderer) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        assert name in self.NAMES, f"evaluation asks the engine for {name}"
        return getattr(self._engine, name)


def test_a_gate_reads_and_orders_a_checkpoint_once_and_asks_only_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = fake_checkpoints(tmp_path / "checkpoints", 3)
    prompts = portrait_prompts(8)
    renderer = FakeRenderer(fake_recipe(SIZE, (1, 2, 3, 4)), Store(tmp_path / "store"))
    engine = OnlyTheProtocol(renderer)
    panel = build_panel(PanelChoice(scorers=("grid", "health"), encoder="none"), quiet=True)
    rows = render_and_score(engine, panel, checkpoints[:1], prompts, tmp_path / "golden")  # type: ignore[arg-type]
    profile = Profile(gated=("grid", "health"), lattice=(24, 24), size=(SIZE, SIZE))
    baseline = freeze("FAKE", rows, profile=profile)
    calls: Counter[str] = Counter()

    def counted(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*args: object, **more: object) -> object:
            calls[name] += 1
            return real(*args, **more)

        monkeypatch.setattr(module, name, call)

    monkeypatch.setattr(known_files, "SETTLED_SECONDS", -1.0)  # else read anew while so young
    counted(anatomy, "read_anatomy")
    counted(series, "find_series")
    setup = GateSetup(
        baseline,
        panel,
        GateOptions(),
        renderer=engine,
        prompts=prompts,
        chunk=2,  # type: ignore[arg-type]
    )
    runs = [gate_checkpoint(path, setup) for path in checkpoints[1:]]
    assert all(len(run.rows) > 2 for run in runs), "several chunks, or nothing is shown"
    assert calls == {"read_anatomy": 2}, "the folder was ordered when epoch 1 was rendered"
    checkpoint = runs[0].checkpoint
    assert (checkpoint.run, checkpoint.epoch, checkpoint.strength) == ("FAKE", 2, 1.0)
    assert checkpoint.sha256 == renderer.store.file_sha256(checkpoints[1])
    assert {(row.epoch, row.strength) for row in runs[1].rows} == {(3, 1.0)}


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    first, second = fake_checkpoints(tmp_path, 2)
    renderer = FakeRenderer(fake_recipe(SIZE), Store(tmp_path / "store"))
    (before,) = renderer.describe([first])
    first.unlink()
    first.write_bytes(second.read_bytes())
    (after,) = renderer.describe([first])
    assert after.sha256 == renderer.describe([second])[0].sha256 != before.sha256
