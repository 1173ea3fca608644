"""The renderer end to end on the CPU: resume, order, batches, workers that die."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loraeval.errors import CheckpointError, RenderError, UsageError
from loraeval.records import Prompt, Recipe
from loraeval.render.devices import choose_devices
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store


def pictures(renders: Any) -> dict[str, np.ndarray]:
    return {r.name: np.asarray(Image.open(r.image), dtype=int) for r in renders}


def worst(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> int:
    assert a.keys() == b.keys()
    return max(int(np.abs(a[name] - b[name]).max()) for name in a)


def listening() -> list[str]:
    """Return the address of every port that this process and those it started listen on."""
    psutil = pytest.importorskip("psutil")
    here = psutil.Process()
    return [
        connection.laddr.ip
        for process in [here, *here.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_a_series_with_its_labels_and_never_twice(
    recipe: Recipe, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    with Renderer(recipe, Store(tmp_path), devices="cpu") as renderer:
        made = list(renderer.render([None, *series["sd15"]], prompts, [1, 2]))
        assert len(made) == 24
        assert renderer.health == {"ok": 24}
        assert {(r.run, r.epoch) for r in made} == {
            ("base", None),
            ("run", 1),
            ("run", 2),
            ("run", 3),
        }
        assert all(r.base_image is not None for r in made if r.epoch)
        assert {r.recipe for r in made} == {renderer.recipe.digest}
        again = list(renderer.render([None, *series["sd15"]], prompts, [1, 2]))
        assert renderer.health == {"ok": 24}
        assert {r.image for r in again} == {r.image for r in made}
        images = pictures(made)
        assert worst({"x": images["base/p0-1.png"]}, {"x": images["run-000001/p0-1.png"]}) > 8
        made[0].image.write_bytes(b"damaged")
        assert len(list(renderer.render([None], prompts, [1, 2]))) == 6
        assert renderer.health == {"ok": 25}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_same_image_whatever_the_batch_and_the_order(
    bases: Any, series: Any, prompts: list[Prompt], recipe: Recipe, tmp_path: Path, family: str
) -> None:
    wanted = replace(recipe, base_model=str(bases[family]))
    made = []
    for name, size, checkpoints in (("a", 8, series[family]), ("b", 1, series[family][::-1])):
        with Renderer(wanted, Store(tmp_path / name), devices="cpu", batch_size=size) as renderer:
            made.append(pictures(renderer.render(checkpoints, prompts[::-1], [2, 1])))
    assert worst(*made) <= 1


def test_pairs_in_the_order_given_and_the_loras_scale(
    recipe: Recipe, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    pairs = [(prompts[1], 5), (prompts[0], 4), (prompts[1], 4)]
    with Renderer(recipe, store, devices="cpu") as renderer:
        made = list(renderer.render_jobs(series["sd15"][0], pairs))
        assert [(r.prompt.id, r.seed) for r in made] == [("p1", 5), ("p0", 4), ("p1", 4)]
        base = list(renderer.render_jobs(None, pairs))
    with Renderer(replace(recipe, lora_scale=0.0), store, devices="cpu") as renderer:
        zero = list(renderer.render_jobs(series["sd15"][0], pairs))
        assert renderer.health == {}
    assert [r.image for r in zero] == [r.image for r in base]


def test_refused_before_any_rendering(
    recipe: Recipe, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    with Renderer(recipe, Store(tmp_path), devices="cpu") as renderer:
        with pytest.raises(CheckpointError):
            list(renderer.render([*series["sd15"], series["sdxl"][0]], prompts, [1]))
        assert renderer.health == {}
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        choose_devices("cuda:99")
    with pytest.raises(UsageError, match="compile must be"):
        Renderer(recipe, Store(tmp_path), compile="perhaps")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:{closed}", "nothing answers there"),
        ("ray://127.0.0.1:{closed}", "nothing answers there"),
        ("nonsense", "no host and port"),
        ("host:many", "no host and port"),
    ],
)
def test_a_cluster_that_is_not_there_is_named_at_once(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, address: str, said: str
) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(closed=free.getsockname()[1])
        begun = time.monotonic()  # it waits rather than computes: CPU time would tell nothing
        with pytest.raises(RenderError, match="expected a running Ray cluster") as told:
            Renderer(recipe, Store(tmp_path), devices="cpu", ray=address)
    assert said in str(told.value)
    assert address in str(told.value)
    assert time.monotonic() - begun < 120


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_a_killed_workers_work_is_taken_up_again(
    recipe: Recipe, series: Any, prompts: list[Prompt], tmp_path: Path, kind: str
) -> None:
    if kind == "ray":
        pytest.importorskip("ray")
    with Renderer(recipe, Store(tmp_path / "one"), devices="cpu") as renderer:
        alone = pictures(renderer.render(series["sd15"], prompts, range(5)))
    with Renderer(
        recipe, Store(tmp_path / "two"), devices="cpu", workers=2, batch_size=2,
        ray="local" if kind == "ray" else None,
    ) as renderer:  # fmt: skip
        renders = renderer.render(series["sd15"], prompts, range(5))
        first = next(renders)
        if kind == "ray":
            ports = listening()
            assert len(ports) >= 5
            assert {host.removeprefix("::ffff:") for host in ports} == {"127.0.0.1"}
        victim = renderer._team.pids[0]
        threading.Timer(0.05, os.kill, (victim, signal.SIGKILL)).start()
        time.sleep(0.1)
        made = pictures([first, *renders])
        assert renderer._team._restarts == 1
    assert len(made) == 45
    assert worst(made, alone) <= 1
