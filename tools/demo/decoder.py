"""Sharpen the autoencoder's decoder while its encoder, so the base's latents, stay as they are."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

from demo.autoencoder import edges, photographs, pixel_art
from demo.clock import Average, Stage, set_rate

NOISE = 0.12
"""Most noise given to latents, as a share of their spread: the decoder learns to see past it."""


def train(
    vae: AutoencoderKL, data: dict[str, torch.Tensor], stage: Stage, *, batch: int, peak: float
) -> AutoencoderKL:
    """Train the decoder to the end of the stage: L1 + 2 L2 + L1 of edges, noise on the latents.

    Six pictures of ten are pixel art, the rest photographs and drawings.
    """
    device = data["photos"].device.type
    vae = vae.to(device).requires_grad_(False)
    parts = [vae.post_quant_conv, vae.decoder]
    for part in parts:
        part.requires_grad_(True)
    vae = vae.to(memory_format=torch.channels_last)
    latents = {"hard": [], "soft": []}
    with torch.no_grad():
        for i in range(0, len(data["photos"]), 256):
            hard, soft = (
                pixel_art(data["cells"][i : i + 256]),
                photographs(data["photos"][i : i + 256]),
            )
            latents["hard"].append(vae.encode(hard).latent_dist.mode())
            latents["soft"].append(vae.encode(soft).latent_dist.mode())
    known = {kind: torch.cat(made) for kind, made in latents.items()}
    spread = known["hard"].std((0, 2, 3), keepdim=True)
    average = Average(parts, 0.998)
    weights = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(
        weights, lr=peak, betas=(0.9, 0.98), weight_decay=1e-4, fused=device == "cuda"
    )
    count, many = len(data["photos"]), round(0.6 * batch)
    while stage.progress() < 1:
        set_rate(optimizer, stage.rate(peak))
        hard = torch.randint(count, (many,), device=device)
        soft = torch.randint(count, (batch - many,), device=device)
        target = torch.cat([pixel_art(data["cells"][hard]), photographs(data["photos"][soft])])
        latent = torch.cat([known["hard"][hard], known["soft"][soft]])
        level = NOISE * torch.rand(batch, 1, 1, 1, device=device)
        latent = latent + level * spread * torch.randn_like(latent)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            back = vae.decode(latent.contiguous(memory_format=torch.channels_last)).sample
        error = back.float() - target
        loss = error.abs().mean() + 2 * error.square().mean()
        for made, true in zip(edges(back.float()), edges(target), strict=True):
            loss = loss + 0.5 * (made - true).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        average.update(stage.step)
        stage.step += 1
        if stage.step % 250 == 0:
            stage.log(
                pixel_art_error_levels=error[:many].abs().mean().item() * 127.5,
                photograph_error_levels=error[many:].abs().mean().item() * 127.5,
            )
    average.write()
    return vae.eval()
