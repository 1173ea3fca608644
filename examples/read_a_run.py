"""Read a run's folder, as a dashboard or a release script would.

python examples/read_a_run.py runs/demo
"""

from __future__ import annotations

import sys

import loraeval


def main(folder: str) -> list[str]:
    """Return a line a checkpoint: what the gate said, and of the worst metric by how much."""
    run = loraeval.read_run(folder)
    lines = []
    for verdict in run.verdicts:
        known = [item for item in verdict.comparisons if item.estimate is not None]
        worst = min(known, key=lambda item: item.estimate or 0.0, default=None)
        tail = "" if worst is None else f" ({worst.metric} {worst.estimate:+.3f})"
        lines.append(f"{verdict.outcome}: {verdict.checkpoint.label}{tail}")
    return lines


if __name__ == "__main__":
    print("\n".join(main(sys.argv[1])))
