"""Lock what CI installs: requirements-ci.txt, every package of constraints.txt with its hashes.

    python tools/lock.py

Asks pip which wheel it would install for each supported Python on 64-bit Linux and writes the
SHA-256 that the index gives. torch and torchvision are left out: their builds (CPU, CUDA versions)
differ by machine, so CI installs them by version from the index that it trusts. Then::

    pip install --require-hashes --no-deps -r requirements-ci.txt
    pip install --no-deps -c constraints.txt torch torchvision
    pip install --no-deps --no-build-isolation -e .
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "requirements-ci.txt"
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
             "manylinux_2_39_x86_64", "manylinux_2_34_x86_64", "linux_x86_64")  # fmt: skip
LOCAL = ("torch", "torchvision")
BUILD = ("hatchling", "editables", "trove-classifiers")
"""What builds the package itself, so that nothing is fetched without a hash for that either."""


def wanted() -> list[str]:
    """Return the requirements to lock: constraints.txt without ``LOCAL``, and the build tools."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if re.match(r"[A-Za-z0-9]", line)]
    return [pin for pin in pins if pin.split("==")[0] not in LOCAL] + list(BUILD)


def report(python: str, pins: list[str]) -> list[dict[str, Any]]:
    """Return what pip would install for ``python``, without installing it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps",
                   "--ignore-installed", "--only-binary", ":all:", "--python-version", python,
                   "--implementation", "cp", "--target", folder, "--report", str(file)]  # fmt: skip
        for platform in PLATFORMS:
            command += ["--platform", platform]
        subprocess.run([*command, *pins], check=True)
        return list(json.loads(file.read_text("utf-8"))["install"])


def main() -> None:
    """Write requirements-ci.txt."""
    found: dict[str, tuple[str, set[str]]] = {}
    pins = wanted()
    for python in PYTHONS:
        for item in report(python, pins):
            meta, archive = item["metadata"], item["download_info"]["archive_info"]
            name = re.sub(r"[-_.]+", "-", meta["name"]).lower()
            version, hashes = found.setdefault(name, (meta["version"], set()))
            if version != meta["version"]:
                raise SystemExit(f"{name}: {version} and {meta['version']}")
            hashes.add(archive["hashes"]["sha256"])
        pins = [f"{name}=={version}" for name, (version, _) in found.items()]
    lines = ["# Written by tools/lock.py; install with: pip install --require-hashes --no-deps -r"]
    for name, (version, hashes) in sorted(found.items()):
        row = [f"{name}=={version}", *(f"    --hash=sha256:{digest}" for digest in sorted(hashes))]
        lines.append(" \\\n".join(row))
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{OUT.name}: {len(found)} packages")


if __name__ == "__main__":
    main()
