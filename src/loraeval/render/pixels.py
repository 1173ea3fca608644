"""Latents and pixels: an image's first noise, decoding, faults, the copy to the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loraeval.render.plan import Job

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Pending:
    """A batch on its way to the host. ``wait`` first; then ``pixels`` is uint8 [n, H, W, 3] and
    ``finite`` and ``lit`` say per image whether it held no NaN and was not black.
    """

    jobs: list[Job]
    pixels: torch.Tensor
    finite: torch.Tensor
    lit: torch.Tensor
    latents: torch.Tensor
    batch: int
    event: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Block until the device has written everything."""
        if self.event is not None:
            self.event.synchronize()

    def faults(self) -> dict[int, str]:
        """Return ``nan`` or ``black`` by the index of each image that is one."""
        return {
            index: "black" if self.finite[index] else "nan"
            for index in range(len(self.jobs))
            if not (self.finite[index] and self.lit[index])
        }


def generator_of(seed: int) -> torch.Generator:
    """Return what draws an image's noise: on the CPU, the same for every batch size and device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def initial_noise(
    seed: int, shape: tuple[int, ...], draws: torch.Generator | None = None
) -> torch.Tensor:
    """Return standard normal float32 noise that follows from ``seed`` alone; ``draws`` is its
    generator where steps go on drawing from it.
    """
    import torch

    return torch.randn(shape, generator=draws or generator_of(seed))


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a host tensor on ``device``, without waiting for what the device does."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def decode(
    vae: Any, latents: torch.Tensor, most: int, *, same: bool = False, in_float32: bool = False
) -> torch.Tensor:
    """Return images [n, 3, H, W] in about [-1, 1] for latents as the UNet leaves them, ``most`` at
    once at most; ``same`` fills the last piece up to the size of the others.
    """
    import torch

    if in_float32:
        before = vae.dtype
        try:
            vae.to(dtype=torch.float32)
            return decode(vae, latents, most, same=same)
        finally:  # also where memory ran out halfway
            vae.to(dtype=before)
    config = vae.config
    latents = latents.to(vae.dtype)
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    latents = latents / config.scaling_factor
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        latents = latents * latents.new_tensor(std).view(shape)
        latents = latents + latents.new_tensor(mean).view(shape)
    count = len(latents)
    size = -(-count // -(-count // most))
    if same and count % size:
        latents = torch.cat([latents, latents[-1:].expand(-count % size, -1, -1, -1)])
    images = []
    with torch.no_grad():
        for piece in torch.split(latents, size):
            inner = vae.post_quant_conv(piece) if vae.post_quant_conv is not None else piece
            images.append(vae.decoder(inner))
    return torch.cat(images)[:count]


def to_host(jobs: list[Job], latents: torch.Tensor, images: torch.Tensor) -> Pending:
    """Turn images [n, 3, H, W] in about [-1, 1] into 8 bits and start their copy to the host."""
    import torch

    images = images.float()
    finite = latents.isfinite().flatten(1).all(1) & images.isfinite().flatten(1).all(1)
    pixels = images.nan_to_num(-1.0).div(2).add(0.5).clamp(0, 1).mul(255).round()
    pixels = pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    lit = pixels.flatten(1).amax(1) > 1
    if images.device.type != "cuda":
        return Pending(jobs, pixels, finite, lit, latents, len(jobs))
    host = [_pinned(item) for item in (pixels, finite, lit)]
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return Pending(jobs, host[0], host[1], host[2], latents, len(jobs), event)


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
