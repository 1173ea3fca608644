"""Ray on two hosts: as many actors as the cluster has GPUs, wherever they are."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loraeval.errors import RenderError, UsageError
from loraeval.records import Prompt, Recipe
from loraeval.render import fleet
from loraeval.render.dispatch import run_units
from loraeval.render.plan import BASE_MODEL, batches, make_job
from loraeval.render.recipe import resolve_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store
from loraeval.render.worker import Setup

pytestmark = [pytest.mark.nightly, pytest.mark.slow]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A driver's host without a GPU, joined; the test adds hosts with made-up ones."""
    fleet.import_ray()
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
    made.connect()
    yield made
    fleet.import_ray().shutdown()
    made.shutdown()


def test_one_actor_a_gpu_of_every_host_whatever_the_driver_has(cluster: Any) -> None:
    assert fleet.plan_actors("auto") == fleet.Plan(1, "cpu")
    with pytest.raises(UsageError, match="no host of this Ray cluster has a GPU"):
        fleet.plan_actors("cuda")
    for gpus in (2, 1):
        cluster.add_node(num_cpus=4, num_gpus=gpus)
    cluster.wait_for_nodes()
    assert fleet.plan_actors("auto") == fleet.Plan(3, "cuda", 1)
    assert fleet.plan_actors("cuda", 2) == fleet.Plan(2, "cuda", 1)
    assert fleet.plan_actors("cpu", 4) == fleet.Plan(4, "cpu")
    with pytest.raises(UsageError, match="4 workers asked for, 3 GPUs are free"):
        fleet.plan_actors("auto", 4)
    with pytest.raises(UsageError, match="Ray chooses the GPU"):
        fleet.plan_actors("cuda:1")


def test_images_of_actors_on_two_hosts_one_of_them_killed_are_those_of_one(
    cluster: Any, recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    hosts = [cluster.add_node(num_cpus=2, num_gpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    wanted = resolve_recipe(recipe, device="cpu")
    store = Store(tmp_path / "two")
    # Made-up GPUs place the actors; what they render on is the CPU.
    crew = fleet.RayCrew(Setup(wanted, store, "cuda"), fleet.Plan(2, "cpu", 1))
    jobs = [make_job(wanted, BASE_MODEL, prompts[0], seed) for seed in range(12)]
    try:
        crew.prepare([], 6, 1)
        places = crew.places
        assert {node for node, _, _ in places} == {host.node_id for host in hosts}
        assert [given for _, given, _ in places] == [["0"], ["0"]]
        os.kill(crew.pids[0], signal.SIGKILL)
        made = [item for unit in run_units(crew, list(batches(jobs, 2))) for item in unit]
        assert crew._restarts == 1
    finally:
        crew.close()
    assert sorted(item.key for item in made) == sorted(job.key for job in jobs)
    with Renderer(recipe, Store(tmp_path / "one"), devices="cpu") as renderer:
        alone = list(renderer.render([None], prompts[:1], range(12)))
    for job, render in zip(jobs, alone, strict=True):
        pixels = [np.asarray(Image.open(p), dtype=int) for p in (store.path(job.key), render.image)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_a_host_that_is_lost_leaves_the_work_to_the_others(
    cluster: Any, recipe: Recipe, prompts: list[Prompt], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fleet, "FREED_SECONDS", 2.0)
    hosts = [cluster.add_node(num_cpus=2, num_gpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    wanted = resolve_recipe(recipe, device="cpu")
    crew = fleet.RayCrew(Setup(wanted, Store(tmp_path), "cuda"), fleet.Plan(2, "cpu", 1))
    jobs = [make_job(wanted, BASE_MODEL, prompts[0], seed) for seed in range(8)]
    try:
        crew.prepare([], 4, 1)
        cluster.remove_node(hosts[0], allow_graceful=False)
        made = [item for unit in run_units(crew, list(batches(jobs, 1))) for item in unit]
    finally:
        crew.close()
    assert sorted(item.key for item in made) == sorted(job.key for job in jobs)


def test_a_host_whose_gpu_torch_does_not_find_is_named(
    cluster: Any, recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    cluster.add_node(num_cpus=2, num_gpus=1)
    cluster.wait_for_nodes()
    with Renderer(recipe, Store(tmp_path), ray="auto") as renderer:
        assert renderer.devices == ["cuda"]
        assert renderer.recipe.dtype == "float16"
        with pytest.raises(RenderError, match="where torch finds none"):
            list(renderer.render([None], prompts[:1], [1]))
