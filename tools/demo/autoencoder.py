"""Train the demo autoencoder on photographs, drawings and pixel art."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

from demo.clock import Average, Stage, set_rate
from demo.models import build_autoencoder


def pixel_art(cells: torch.Tensor) -> torch.Tensor:
    """Show cells [n, 24, 24, 3] at 96 pixels: [n, 3, 96, 96] in -1..1."""
    small = cells.permute(0, 3, 1, 2).float() / 127.5 - 1
    return small.repeat_interleave(4, 2).repeat_interleave(4, 3)


def photographs(photos: torch.Tensor) -> torch.Tensor:
    """Turn uint8 [n, 96, 96, 3] into [n, 3, 96, 96] in -1..1."""
    return photos.permute(0, 3, 1, 2).float() / 127.5 - 1


def draw_batch(data: dict[str, torch.Tensor], size: int) -> torch.Tensor:
    """Draw pictures: half photographs and drawings, half pixel art, a third of it off the lattice.

    Channels are permuted and inverted at random, so that colours are many.
    """
    device = data["photos"].device
    count = len(data["photos"])
    half = size // 2
    smooth = photographs(data["photos"][torch.randint(count, (half,), device=device)])
    hard = pixel_art(data["cells"][torch.randint(count, (size - half,), device=device)])
    third = len(hard) // 3
    down, right = torch.randint(0, 4, (2,)).tolist()
    hard[:third] = hard[:third].roll((down, right), (2, 3))
    pictures = torch.cat([smooth, hard])
    pictures = pictures[:, torch.randperm(3)]
    flips = torch.randint(0, 2, (size, 3, 1, 1), device=device) * 2 - 1
    return pictures * flips


def edges(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return differences of neighbours across and down."""
    return picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]


def train(
    data: dict[str, torch.Tensor],
    stage: Stage,
    *,
    batch: int,
    peak: float,
    vae: AutoencoderKL | None = None,
) -> AutoencoderKL:
    """Train to the end of the stage: L1 + 2 L2 + L1 of edges, with a light KL term."""
    device = data["photos"].device.type
    vae = (vae or build_autoencoder()).to(device).to(memory_format=torch.channels_last)
    average = Average([vae], 0.995)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=1e-3)

    def losses(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latent = vae.encode(pictures).latent_dist
        back = vae.decode(latent.sample()).sample.float()
        error = back - pictures
        loss = error.abs().mean() + 2 * error.square().mean()
        for made, true in zip(edges(back), edges(pictures), strict=True):
            loss = loss + 0.5 * (made - true).abs().mean()
        return loss + 3e-5 * latent.kl().mean() / (4 * 24 * 24) * 4, error.abs().mean()

    while stage.progress() < 1:
        set_rate(optimizer, stage.rate(peak))
        pictures = draw_batch(data, batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss, error = losses(pictures)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(stage.step)
        stage.step += 1
        if stage.step % 200 == 0 or stage.step == 20:
            stage.log(loss=loss.item(), error_levels=error.item() * 127.5)
    average.write()
    check(vae, data, stage)
    return vae


@torch.no_grad()
def check(vae: AutoencoderKL, data: dict[str, torch.Tensor], stage: Stage) -> None:
    """Measure the error on 256 pictures of each kind and set the latents' scale."""
    vae.eval()
    sets = {
        "photograph": photographs(data["photos"][:256]),
        "pixel_art": pixel_art(data["cells"][:256]),
    }
    numbers, latents = {}, []
    for kind, pictures in sets.items():
        latent = vae.encode(pictures).latent_dist.mode()
        back = vae.decode(latent).sample.clamp(-1, 1)
        numbers[f"{kind}_error_levels"] = (back - pictures).abs().mean().item() * 127.5
        latents.append(latent)
    every = torch.cat(latents)
    vae.register_to_config(scaling_factor=float(1 / every.std().item()))
    stage.log(**numbers, latent_std=every.std().item(), latent_mean=every.mean().item())


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Return scaled latents [n, 4, 24, 24] of pictures in -1..1."""
    return vae.encode(pictures).latent_dist.mode() * vae.config.scaling_factor
