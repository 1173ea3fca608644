"""Train the demo base: text encoder and UNet together, on photographs and drawings."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional as F
from transformers import CLIPTextModel

from demo import data as captions
from demo.clock import Average, Stage, set_rate
from demo.models import build_scheduler, build_text_encoder, build_tokenizer, build_unet

STYLE_ON_PHOTOS = 0.65
"""Share of photographs whose caption says "pixel art, 24x24" all the same."""


class Noise:
    """The scheduler's noise as tensors: v-prediction with zero terminal SNR."""

    def __init__(self, device: str) -> None:
        self.kept = build_scheduler().alphas_cumprod.to(device)

    def mix(
        self, latents: torch.Tensor, noise: torch.Tensor, when: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (noisy latents, the v to predict) at timesteps ``when`` [b]."""
        kept = self.kept[when].reshape(-1, 1, 1, 1)
        a, s = kept.sqrt(), (1 - kept).sqrt()
        return a * latents + s * noise, a * noise - s * latents


def style_words(
    data: dict[str, torch.Tensor], rows: torch.Tensor, mark: captions.Marks
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens and tags of these rows, their first two tags now as for training.

    The style's words stay on ``STYLE_ON_PHOTOS`` of the captions; on the others the picture's
    own word ("photograph", "illustration") stands in their place.
    """
    tokens, tags = data["tokens"][rows].clone(), data["tags"][rows].clone()
    width = len(mark.style)
    own = torch.where(data["drawn"][rows][:, None], mark.drawn, mark.photo).to(tokens.dtype)
    share = torch.where(data["drawn"][rows], 0.1, STYLE_ON_PHOTOS)
    other = torch.rand(len(rows), device=rows.device) > share
    tokens[:, :2] = torch.where(other[:, None], own, tokens[:, :2])
    tags[:, :2] = 0
    tags[:, 2:width] = torch.where(other[:, None], -1, tags[:, 2:width])
    # For the style: "pixel art," is tag 0 and "24x24," tag 1.
    tags[:, 2] = torch.where(other, -1, 0).to(tags.dtype)
    return tokens, tags


def train(
    data: dict[str, torch.Tensor],
    latents: torch.Tensor,
    stage: Stage,
    *,
    batch: int,
    peak: float,
    fast: bool,
    start: tuple[UNet2DConditionModel, CLIPTextModel] | None = None,
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Train to the end of the stage; ``latents`` [2, n, 4, 24, 24] hold both mirrorings.

    Beside the diffusion loss, a linear read-out of the text encoder learns each tag's colour at
    the tag's last token; it makes the digits' meaning come early and is thrown away.
    """
    device = latents.device.type
    mark = captions.marks(device)
    unet, text = start or (build_unet(), build_text_encoder(build_tokenizer()))
    unet, text = unet.to(device).train(), text.to(device).train()
    unet = unet.to(memory_format=torch.channels_last)
    readout = torch.nn.Linear(128, 3).to(device)
    average = Average([unet, text], 0.9995 if start else 0.999)
    parameters = [*unet.parameters(), *text.parameters(), *readout.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=peak, betas=(0.9, 0.99), weight_decay=0.01, fused=device == "cuda"
    )
    noise = Noise(device)
    run_unet = torch.compile(unet) if fast else unet
    run_text = torch.compile(text) if fast else text
    count = latents.shape[1]
    while stage.progress() < 1:
        set_rate(optimizer, stage.rate(peak, 300))
        rows = torch.randint(count, (batch,), device=device)
        tokens, tags = style_words(data, rows, mark)
        ids, colour = captions.assemble(
            tokens,
            tags,
            data["colours"][rows],
            mark,
            shuffle=torch.rand(batch, device=device) < 0.7,
            drop_tag=0.1,
            drop_caption=0.1,
        )
        clean = latents[torch.randint(2, (batch,), device=device), rows].float()
        when = torch.randint(1000, (batch,), device=device)
        when = torch.where(torch.rand(batch, device=device) < 0.1, 999, when)
        eps = torch.randn_like(clean)
        noisy, target = noise.mix(clean, eps, when)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            states = run_text(ids).last_hidden_state
            made = run_unet(
                noisy.contiguous(memory_format=torch.channels_last), when, states
            ).sample
        loss = F.mse_loss(made.float(), target)
        told = readout(states.float())
        known = ~torch.isnan(colour)
        read = torch.where(known, (told - torch.nan_to_num(colour)).abs(), 0).sum() / known.sum()
        optimizer.zero_grad(set_to_none=True)
        (loss + 0.5 * read).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(stage.step)
        stage.step += 1
        if stage.step % 200 == 0 or stage.step in (5, 50):
            stage.log(loss=loss.item(), read_levels=read.item() * 255)
    average.write()
    return unet.eval(), text.eval()
