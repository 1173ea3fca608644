"""Render two epochs of the demo with one seed. About a minute on a CPU.

python examples/render_a_series.py [STORE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import loraeval

DEMO = Path(__file__).resolve().parent.parent / "demo"


def main(store: str = ".loraeval/store") -> str:
    """Return the sentence that it prints."""
    checkpoints = [
        DEMO / "checkpoints" / f"demo_perfect-{epoch:06d}.safetensors" for epoch in (1, 10)
    ]
    renders = loraeval.render(
        checkpoints,
        prompts="demo",
        base_model=str(DEMO / "base"),
        recipe="demo",
        seeds=[1],
        store=store,
    )
    by_epoch = {epoch: [r for r in renders if r.epoch == epoch] for epoch in (1, 10)}
    return ", ".join(f"epoch {epoch}: {len(found)} images" for epoch, found in by_epoch.items())


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
