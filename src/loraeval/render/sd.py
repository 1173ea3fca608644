"""Stable Diffusion on one device: swap LoRAs, encode texts, sample batches. Imports torch.

One pipeline lives as long as its ``Engine``. Images are sampled in batches with guidance in the
same batch, decoded in batches, and copied to the host while the next batch is computed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from loraeval.errors import RenderError
from loraeval.records import Recipe
from loraeval.render.economy import default_limit
from loraeval.render.encode import Embedding, encode_sd15, encode_sdxl
from loraeval.render.lora_merge import Lora, WeightSwapper, read_lora
from loraeval.render.pixels import Pending, decode, initial_noise, to_host
from loraeval.render.plan import Job, batches
from loraeval.render.sd_load import load_pipeline, set_attention

SDPA_ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""torch's attention kernels in the order tried on CUDA; they were not timed side by side."""

_OUT_OF_MEMORY = torch.cuda.OutOfMemoryError


class Engine:
    """One base model on one device, with at most one LoRA in its weights.

    ``recipe`` must be resolved. ``limit`` is the largest batch, in images of the
    recipe's size; it is halved whenever memory runs out. Not thread-safe: one thread at a time.
    """

    def __init__(self, recipe: Recipe, device: str, *, limit: int | None = None) -> None:
        self.recipe = recipe
        self.device = torch.device(device)
        self.pipe = load_pipeline(recipe, self.device)
        self.limit = limit or default_limit(recipe, device)
        self.processor = set_attention(self.pipe, recipe.attention)
        parts = ("unet", "text_encoder", "text_encoder_2")
        components = {p: m for p in parts if (m := getattr(self.pipe, p, None)) is not None}
        self._swapper = WeightSwapper(components, recipe.family, self._keep_on(components))
        self._embeddings: dict[tuple[tuple[str, float], str, int, int | None], Embedding] = {}
        self._weights: tuple[str, float] = ("base", 0.0)
        self._text: tuple[str, float] = ("base", 0.0)
        self._sizes: dict[tuple[int, int, int], set[int]] = {}
        self.compiled = False
        self.reader: Callable[[Path], Lora] = read_lora

    @property
    def device_name(self) -> str:
        """Name of the GPU, or ``cpu``."""
        on_gpu = self.device.type == "cuda"
        return torch.cuda.get_device_name(self.device) if on_gpu else str(self.device.type)

    @property
    def applied(self) -> int:
        """Number of modules that the current LoRA changed."""
        return self._swapper.applied

    def check(self, lora: Lora) -> int:
        """Return how many modules of ``lora`` the base model takes; all, or it raises
        ``CheckpointError``.
        """
        return len(self._swapper.place(lora))

    def use(self, path: Path | None, sha256: str, scale: float) -> None:
        """Put the LoRA at ``path`` into the weights at ``scale``; nothing to do if it is there."""
        wanted = ("base", 0.0) if path is None or scale == 0 else (sha256, scale)
        if wanted == self._weights:
            return
        lora = None if path is None or scale == 0 else self.reader(path)
        self._swapper.apply(lora, scale)
        self._weights = wanted
        text = wanted if lora is not None and lora.trains_text else ("base", 0.0)
        if text != self._text:
            for key in [key for key in self._embeddings if key[0][0] != "base"]:
                del self._embeddings[key]
            self._text = text

    def embed(self, texts: Sequence[str], chunks: int, clip_skip: int | None) -> list[Embedding]:
        """Return the embeddings of ``texts`` by the text encoders as they are now; each once."""
        state, pipe = self._text, self.pipe
        new = [
            t for t in dict.fromkeys(texts) if (state, t, chunks, clip_skip) not in self._embeddings
        ]
        if new and self.recipe.family == "sdxl":
            tokenizers = (pipe.tokenizer, pipe.tokenizer_2)
            encoders = (pipe.text_encoder, pipe.text_encoder_2)
            made = encode_sdxl(tokenizers, encoders, new, chunks)
        elif new:
            made = encode_sd15(pipe.tokenizer, pipe.text_encoder, new, chunks, clip_skip)
        for text, embedding in zip(new, made if new else [], strict=True):
            self._embeddings[state, text, chunks, clip_skip] = embedding
        return [self._embeddings[state, text, chunks, clip_skip] for text in texts]

    def run(self, jobs: Sequence[Job]) -> Iterator[Pending]:
        """Sample ``jobs`` (of one group) in batches of at most ``limit``; halve on out-of-memory.

        Raises ``RenderError`` when not even one image fits.
        """
        waiting = list(batches(jobs, self.limit))
        while waiting:
            batch = waiting.pop(0)
            try:
                pending = self._sample(batch)
            except _OUT_OF_MEMORY as error:
                if len(batch) == 1:
                    recipe = batch[0].recipe
                    raise self._too_large(recipe.width, recipe.height) from error
                self.limit = len(batch) // 2
                error.__traceback__ = None
                torch.cuda.empty_cache()
                waiting = [piece for old in [batch, *waiting] for piece in batches(old, self.limit)]
                continue
            yield pending

    def again(self, pending: Pending, index: int) -> Pending:
        """Decode one image of a batch again with the VAE in float32: the retry of a fault."""
        latents = pending.latents[index : index + 1]
        images = decode(self.pipe.vae, latents, in_float32=True)
        retried = to_host([pending.jobs[index]], latents, images)
        retried.wait()
        return retried

    def seconds_per_step(self, width: int, height: int, images: int = 1) -> float:
        """Return the seconds that one denoising step of ``images`` images takes, by doing it; where
        so many do not fit into memory, by doing half as many.

        Raises ``RenderError`` when not even one image fits.
        """
        try:
            return self._time_step(width, height, images)
        except _OUT_OF_MEMORY as error:
            if images == 1:
                raise self._too_large(width, height) from error
            error.__traceback__ = None
        torch.cuda.empty_cache()
        half = images // 2
        return self.seconds_per_step(width, height, half) * images / half

    def _time_step(self, width: int, height: int, images: int) -> float:
        text = self.embed([""], 1, self.recipe.clip_skip)[0]
        hidden = text.states.expand(2 * images, -1, -1)
        cell = self.pipe.vae_scale_factor
        channels = self.pipe.unet.config.in_channels
        shape = (2 * images, channels, height // cell, width // cell)
        latents = initial_noise(0, shape).to(self.device, hidden.dtype)
        added = None
        if text.pooled is not None:
            ids = hidden.new_tensor([[height, width, 0, 0, height, width]])
            pooled = text.pooled.expand(2 * images, -1)
            added = {"text_embeds": pooled, "time_ids": ids.expand(2 * images, -1)}
        seconds = 0.0
        for _ in range(2 if self.device.type == "cuda" else 1):
            start = time.perf_counter()
            with torch.no_grad(), self._kernels():
                self.pipe.unet(latents, 500, encoder_hidden_states=hidden, added_cond_kwargs=added)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds = time.perf_counter() - start
        return seconds

    def _sample(self, batch: list[Job]) -> Pending:
        recipe, first = batch[0].recipe, batch[0]
        self.use(first.checkpoint.path, first.checkpoint.sha256, recipe.lora_scale)
        filled = [*batch, *[batch[-1]] * (self._padded(batch) - len(batch))]
        texts = [job.prompt.text for job in filled]
        others = [job.prompt.negative or recipe.negative_prompt for job in filled]
        embedded = self.embed([*texts, *others], first.chunks, recipe.clip_skip)
        positive, negative = embedded[: len(filled)], embedded[len(filled) :]
        dtype = positive[0].states.dtype
        cell = self.pipe.vae_scale_factor
        size = (recipe.height // cell, recipe.width // cell)
        shape = (1, self.pipe.unet.config.in_channels, *size)
        noise = torch.cat([initial_noise(job.seed, shape) for job in filled]).to(self.device, dtype)
        arguments: dict[str, Any] = {
            "prompt_embeds": torch.cat([item.states for item in positive]),
            "negative_prompt_embeds": torch.cat([item.states for item in negative]),
        }
        if positive[0].pooled is not None:
            arguments["pooled_prompt_embeds"] = torch.cat(
                [i.pooled for i in positive if i.pooled is not None]
            )
            arguments["negative_pooled_prompt_embeds"] = torch.cat(
                [i.pooled for i in negative if i.pooled is not None]
            )
        with self._kernels():
            latents = self.pipe(
                **arguments,
                latents=noise,
                num_inference_steps=recipe.steps,
                guidance_scale=recipe.guidance_scale,
                width=recipe.width,
                height=recipe.height,
                output_type="latent",
            ).images[: len(batch)]
        with self._kernels():
            return to_host(batch, latents, decode(self.pipe.vae, latents))

    def _too_large(self, width: int, height: int) -> RenderError:
        return RenderError(
            f"one image of {width}x{height} does not fit into the memory of {self.device}"
        )

    def _padded(self, batch: list[Job]) -> int:
        """Return the size to run ``batch`` at: with compiled code, one that is compiled already."""
        shape = _shape(batch[0])
        if not self.compiled:
            return len(batch)
        sizes = self._sizes.setdefault(shape, set())
        size = min((s for s in sizes if len(batch) <= s <= self.limit), default=len(batch))
        sizes.add(size)
        return size

    def _kernels(self) -> contextlib.AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return sdpa_kernel(SDPA_ORDER, set_priority=True)
        return contextlib.nullcontext()

    def compile(self) -> None:
        """Compile from the next batch on: SD 1.5's UNet whole, SDXL's repeated blocks, of which
        there are two kinds (its whole UNet takes minutes). Each batch size compiles by itself, so
        smaller batches are filled up to one that was compiled.
        """
        if self.compiled:
            return
        self.compiled = True
        if self.recipe.family == "sdxl":
            self.pipe.unet.compile_repeated_blocks(fullgraph=True, dynamic=False)
        else:
            self.pipe.unet.compile(fullgraph=True, dynamic=False)

    def _keep_on(self, components: dict[str, torch.nn.Module]) -> torch.device | None:
        """Keep base weights beside the model, or on the host where a quarter of the device's
        memory would not hold them.
        """
        if self.device.type != "cuda":
            return None
        size = sum(p.nbytes for module in components.values() for p in module.parameters())
        total = torch.cuda.get_device_properties(self.device).total_memory
        return torch.device("cpu") if size > total / 4 else None


def _shape(job: Job) -> tuple[int, int, int]:
    return job.recipe.width, job.recipe.height, job.chunks
