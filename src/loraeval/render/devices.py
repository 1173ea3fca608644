"""The devices of this machine that a renderer works on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from loraeval.errors import UsageError


def choose_devices(devices: str | Sequence[str], workers: int | None = None) -> list[str]:
    """Return the devices to render on, one entry a worker.

    Raises ``UsageError`` for a name that is not ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, a GPU
    that is not there, and more workers than GPUs.
    """
    import torch

    if workers is not None and workers < 1:
        raise UsageError(f"workers must be 1 or more, found {workers}")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = devices.split(",") if isinstance(devices, str) else list(devices)
    chosen: list[str] = []
    for name in (item.strip() for item in names):
        if name in ("auto", "cuda"):
            chosen += [f"cuda:{index}" for index in range(gpus)]
            if name == "auto" and not gpus:
                chosen.append("cpu")
        elif name == "cpu":
            chosen.append(name)
        else:
            index = -1
            with suppress(ValueError):
                index = int(name.removeprefix("cuda:")) if name.startswith("cuda:") else -1
            if not 0 <= index < gpus:
                raise UsageError(f"no device {name!r} here; there are {gpus} CUDA GPUs and cpu")
            chosen.append(name)
    if not chosen:
        raise UsageError("no CUDA GPU here; render on the CPU with devices = cpu")
    if workers is None:
        return chosen
    if set(chosen) == {"cpu"}:
        return ["cpu"] * workers
    if workers > len(chosen):
        raise UsageError(f"{workers} workers asked for, {len(chosen)} GPUs are there: one each")
    return chosen[:workers]
