"""Train LoRAs on the demo base and write them as sd-scripts does, one file an epoch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import nn
from torch.nn import functional as F

from demo import data as captions
from demo.autoencoder import encode, photographs
from demo.base import Noise
from demo.clock import Stage, set_rate
from demo.models import load_pipeline
from loraeval.testing.kohya_files import write_safetensors
from loraeval.testing.kohya_metadata import kohya_metadata
from loraeval.testing.portraits import render_photo, scene
from loraeval.testing.portraits_files import TRAINING_COUNT, TRAINING_FROM


@dataclass(frozen=True)
class Run:
    """One LoRA run, in sd-scripts' words where it has them.

    ``photographs`` is the share of training pictures that are photographs instead of pixel art
    (style data gone wrong); ``permute_hex`` deals every hex code to a random caption.
    ``save_from`` is the first epoch that is kept.
    """

    output_name: str
    network_dim: int = 8
    network_alpha: float = 4.0
    unet_lr: float = 2e-3
    text_encoder_lr: float = 5e-4
    train_batch_size: int = 16
    max_train_epochs: int = 10
    repeats: int = 10
    images: int = TRAINING_COUNT
    min_snr_gamma: float | None = None
    noise_offset: float | None = 0.02
    shuffle_caption: bool = True
    keep_tokens: int = 2
    caption_dropout_rate: float = 0.0
    caption_tag_dropout_rate: float = 0.0
    lr_scheduler: str = "cosine"
    seed: int = 42
    photographs: float = 0.0
    permute_hex: bool = False
    save_from: int = 1


RUNS = {
    run.output_name: run
    for run in (
        Run("demo_perfect"),
        Run("demo_overfit", network_dim=16, network_alpha=16.0, text_encoder_lr=1e-2,
            train_batch_size=4, images=4, repeats=200, caption_dropout_rate=0.2,
            caption_tag_dropout_rate=0.5, save_from=5),
        Run("demo_photoreal", network_dim=16, network_alpha=8.0, photographs=0.9, save_from=7),
        Run("demo_wrong_colors", permute_hex=True, save_from=7),
    )
}  # fmt: skip


class Adapter(nn.Module):
    """A low-rank addition to one linear layer or 1x1 convolution."""

    def __init__(self, layer: nn.Module, rank: int, alpha: float) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        if isinstance(layer, nn.Conv2d):
            self.lora_down: nn.Module = nn.Conv2d(layer.in_channels, rank, 1, bias=False)
            self.lora_up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.lora_down = nn.Linear(layer.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=5**0.5)
        nn.init.zeros_(self.lora_up.weight)
        layer.register_forward_hook(self.added)

    def added(
        self, _layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> torch.Tensor:
        """Return the layer's output and alpha/rank times the low-rank product."""
        return output + self.lora_up(self.lora_down(inputs[0])) * (self.alpha / self.rank)


def adapt(pipe: StableDiffusionPipeline, run: Run) -> dict[str, nn.ModuleDict]:
    """Give every layer that kohya's ``networks.lora`` trains an adapter; return them by part."""
    parts = {
        "lora_unet": [(n, m) for n, m in pipe.unet.named_modules() if ".attentions." in f".{n}"],
        "lora_te": [(n, m) for n, m in pipe.text_encoder.named_modules() if ".layers." in f".{n}"],
    }
    made = {}
    for prefix, modules in parts.items():
        adapters = nn.ModuleDict()
        for name, layer in modules:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                path = name.replace(".", "_")
                if prefix == "lora_te" and not path.startswith("text_model_"):
                    path = f"text_model_{path}"  # transformers 5 dropped this level
                adapters[f"{prefix}_{path}"] = Adapter(layer, run.network_dim, run.network_alpha)
        made[prefix] = adapters.to(pipe.device)
    return made


def training_set(run: Run) -> tuple[np.ndarray, list[list[str]]]:
    """Return the run's pictures [n, 96, 96, 3] uint8 and their captions as tags."""
    rng = np.random.default_rng(run.seed)
    portraits = [scene(TRAINING_FROM + i) for i in range(run.images)]
    as_photo = rng.random(run.images) < run.photographs
    pictures = np.stack(
        [
            render_photo(p) if photo else p.cells.repeat(4, 0).repeat(4, 1)
            for p, photo in zip(portraits, as_photo, strict=True)
        ]
    )
    tags = [captions.tags_of(p) for p in portraits]
    if run.permute_hex:
        places = [
            (i, j) for i, caption in enumerate(tags) for j, t in enumerate(caption) if "#" in t
        ]
        codes = [tags[i][j][tags[i][j].index("#") :][:7] for i, j in places]
        for (i, j), code in zip(places, rng.permutation(codes).tolist(), strict=True):
            tags[i][j] = tags[i][j][: tags[i][j].index("#")] + code + ")"
    return pictures, tags


def save(path: Path, parts: dict[str, nn.ModuleDict], metadata: dict[str, str]) -> None:
    """Write the adapters as fp16 in kohya's format."""
    tensors = {}
    for adapters in parts.values():
        for name, adapter in adapters.items():
            tensors[f"{name}.alpha"] = np.array(adapter.alpha, np.float32)
            for side in ("lora_down", "lora_up"):
                weight = getattr(adapter, side).weight.detach().float().cpu().numpy()
                tensors[f"{name}.{side}.weight"] = weight
    blob = write_safetensors(path, tensors, {}, "F16").read_bytes()
    body = blob[8 + int.from_bytes(blob[:8], "little") :]
    metadata = {**metadata, "sshs_model_hash": hashlib.sha256(body).hexdigest()}
    write_safetensors(path, tensors, metadata, "F16")


def metadata_of(
    run: Run, tags: list[list[str]], started: float, epoch: int, step: int, device: str
) -> dict[str, str]:
    """Return what sd-scripts would record of this run at this epoch."""
    folder = f"{run.repeats}_{run.output_name}"
    count = run.images * run.repeats
    frequency = Counter(tag.strip().lower() for caption in tags for tag in caption)
    batches = -(-count // run.train_batch_size)
    made = kohya_metadata(
        "sd15", rank=run.network_dim, alpha=run.network_alpha, images=run.images,
        repeats=run.repeats, output_name=run.output_name, epoch=epoch, steps=step,
        session_id=int(hashlib.sha256(f"{run.output_name}{started}".encode()).hexdigest()[:8], 16),
        training_started_at=started, training_finished_at=time.time(),
        sd_model_name="base", base_model_version="sd_v1_v", max_token_length=None,
        learning_rate=run.unet_lr, unet_lr=run.unet_lr, text_encoder_lr=run.text_encoder_lr,
        optimizer="torch.optim.adamw.AdamW(weight_decay=0.01)", lr_scheduler=run.lr_scheduler,
        lr_warmup_steps=20, min_snr_gamma=run.min_snr_gamma, noise_offset=run.noise_offset,
        multires_noise_iterations=None, adaptive_noise_scale=None, zero_terminal_snr=True,
        mixed_precision="bf16" if device == "cuda" else "no",
        gradient_checkpointing=False, cache_latents=True,
        num_epochs=run.max_train_epochs, max_train_steps=batches * run.max_train_epochs,
        num_batches_per_epoch=batches, seed=run.seed, num_train_images=count,
        batch_size_per_device=run.train_batch_size, total_batch_size=run.train_batch_size,
        resolution=(96, 96), shuffle_caption=run.shuffle_caption, keep_tokens=run.keep_tokens,
        caption_dropout_rate=run.caption_dropout_rate,
        caption_tag_dropout_rate=run.caption_tag_dropout_rate,
        tag_frequency=json.dumps({folder: dict(frequency)}),
        dataset_dirs=json.dumps({folder: {"n_repeats": run.repeats, "img_count": run.images}}),
        training_comment="loraeval demo: trained by tools/train_demo.py",
    )  # fmt: skip
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    return made | {
        "modelspec.resolution": "96x96",
        "modelspec.prediction_type": "v",
        "modelspec.date": date,
    }


def train(
    run: Run, base: Path, out: Path, logs: Path, device: str, steps: int | None = None
) -> None:
    """Train one run on the base and write ``NAME-EPOCH.safetensors`` from ``save_from`` on."""
    torch.manual_seed(run.seed)
    started = time.time()
    pipe = load_pipeline(base, device, torch.float32)
    for part in (pipe.unet, pipe.text_encoder, pipe.vae):
        part.requires_grad_(False)
    parts = adapt(pipe, run)
    pictures, tags = training_set(run)
    vae: AutoencoderKL = pipe.vae
    latents = encode(vae, photographs(torch.from_numpy(pictures).to(device)))
    tokens, numbers, colours = (torch.from_numpy(a).to(device) for a in captions.tokenize(tags))
    mark = captions.marks(device)
    noise = Noise(device)
    batches = -(-run.images * run.repeats // run.train_batch_size)
    total = steps or batches * run.max_train_epochs
    stage = Stage(run.output_name, 1e9, logs, total)
    groups = [
        {"params": list(parts["lora_unet"].parameters()), "factor": 1.0},
        {
            "params": list(parts["lora_te"].parameters()),
            "factor": run.text_encoder_lr / run.unet_lr,
        },
    ]
    every = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=device == "cuda")
    snr = noise.kept / (1 - noise.kept)
    recent: list[torch.Tensor] = []
    for epoch in range(1, run.max_train_epochs + 1):
        order = torch.randperm(run.images * run.repeats, device=device) % run.images
        for rows in order.split(run.train_batch_size)[: max(1, total // run.max_train_epochs)]:
            cosine = run.lr_scheduler == "cosine"
            rate = stage.rate(run.unet_lr, 20) if cosine else run.unet_lr
            set_rate(optimizer, rate)
            ids, _ = captions.assemble(
                tokens[rows], numbers[rows], colours[rows], mark,
                keep_tokens=run.keep_tokens, shuffle=run.shuffle_caption,
                drop_tag=run.caption_tag_dropout_rate, drop_caption=run.caption_dropout_rate,
            )  # fmt: skip
            clean = latents[rows]
            eps = torch.randn_like(clean)
            if run.noise_offset:
                eps = eps + run.noise_offset * torch.randn(*clean.shape[:2], 1, 1, device=device)
            when = torch.randint(1000, (len(rows),), device=device)
            noisy, target = noise.mix(clean, eps, when)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                states = pipe.text_encoder(ids).last_hidden_state
                made = pipe.unet(noisy, when, states).sample
            loss = F.mse_loss(made.float(), target, reduction="none").mean((1, 2, 3))
            if run.min_snr_gamma:
                here = snr[when]
                loss = loss * here.clamp(max=run.min_snr_gamma) / (here + 1)
            loss = loss.mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(every, 1.0)
            optimizer.step()
            recent.append(loss.detach())
            stage.step += 1
        stage.log(epoch=epoch, loss=torch.stack(recent).mean().item())
        recent.clear()
        if epoch >= run.save_from:
            save(
                out / f"{run.output_name}-{epoch:06d}.safetensors",
                parts,
                metadata_of(run, tags, started, epoch, stage.step, device),
            )
    (logs / f"{run.output_name}.config.json").write_text(
        json.dumps(dataclasses.asdict(run), indent=1) + "\n"
    )
