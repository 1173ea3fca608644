"""Stable Diffusion on one device: load, swap LoRAs, sample batches, decode. Imports diffusers.

One pipeline lives as long as its ``Engine``. Images are sampled in batches with guidance in the
same batch, decoded in batches, and copied to the host while the next batch is computed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loraeval import torchvision_ops

torchvision_ops.install()

import diffusers as _diffusers  # noqa: E402 - after the operators that torchvision needs
import transformers as _transformers  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402

from loraeval.errors import MissingExtraError, RenderError  # noqa: E402
from loraeval.records import Recipe  # noqa: E402
from loraeval.render.base_configs import write_configs  # noqa: E402
from loraeval.render.base_model import locate_base  # noqa: E402
from loraeval.render.base_safety import pickles_allowed  # noqa: E402
from loraeval.render.economy import default_limit  # noqa: E402
from loraeval.render.encode import Embedding, encode_sd15, encode_sdxl  # noqa: E402
from loraeval.render.lora_merge import Lora, WeightSwapper, read_lora  # noqa: E402
from loraeval.render.plan import Job  # noqa: E402
from loraeval.render.recipe import SCHEDULERS  # noqa: E402

diffusers: Any = _diffusers  # untyped
transformers: Any = _transformers

SDPA_ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""torch's attention kernels in the order tried on CUDA; benchmarks/README.md has their times."""

DECODE_AT_512 = 8
"""Images of 512×512 that the VAE decodes at once; its memory grows faster than the UNet's."""

_OUT_OF_MEMORY = torch.cuda.OutOfMemoryError


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
        from loraeval.render.plan import batches

        waiting = list(batches(jobs, self.limit))
        while waiting:
            batch = waiting.pop(0)
            try:
                pending = self._sample(batch)
            except _OUT_OF_MEMORY as error:
                if len(batch) == 1:
                    raise RenderError(
                        f"one image of {batch[0].recipe.width}x{batch[0].recipe.height} does not "
                        f"fit into the memory of {self.device}"
                    ) from error
                self.limit = len(batch) // 2
                error.__traceback__ = None
                torch.cuda.empty_cache()
                waiting = [piece for old in [batch, *waiting] for piece in batches(old, self.limit)]
                continue
            yield pending

    def decode(self, latents: torch.Tensor, *, in_float32: bool = False) -> torch.Tensor:
        """Return images [n, 3, H, W] in about [-1, 1] for latents as the UNet leaves them."""
        vae = self.pipe.vae
        config = vae.config
        before = vae.dtype
        if in_float32:
            vae.to(dtype=torch.float32)
        latents = latents.to(vae.dtype)
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        latents = latents / config.scaling_factor
        if mean is not None and std is not None:
            shape = (1, -1, 1, 1)
            latents = latents * latents.new_tensor(std).view(shape)
            latents = latents + latents.new_tensor(mean).view(shape)
        size = max(1, DECODE_AT_512 * 64 * 64 // (latents.shape[2] * latents.shape[3]))
        images = []
        with torch.no_grad():
            for piece in torch.split(latents, size):
                inner = vae.post_quant_conv(piece) if vae.post_quant_conv is not None else piece
                images.append(vae.decoder(inner))
        if in_float32:
            vae.to(dtype=before)
        return torch.cat(images)

    def again(self, pending: Pending, index: int) -> Pending:
        """Decode one image of a batch again with the VAE in float32: the retry of a fault."""
        latents = pending.latents[index : index + 1]
        retried = self._to_host(
            [pending.jobs[index]], latents, self.decode(latents, in_float32=True)
        )
        retried.wait()
        return retried

    def seconds_per_step(self, width: int, height: int, images: int = 1) -> float:
        """Return the seconds that one denoising step of ``images`` images takes, by doing it."""
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
            return self._to_host(batch, latents, self.decode(latents))

    def _to_host(self, jobs: list[Job], latents: torch.Tensor, images: torch.Tensor) -> Pending:
        images = images.float()
        finite = latents.isfinite().flatten(1).all(1) & images.isfinite().flatten(1).all(1)
        pixels = images.nan_to_num(-1.0).div(2).add(0.5).clamp(0, 1).mul(255).round()
        pixels = pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        lit = pixels.flatten(1).amax(1) > 1
        if self.device.type != "cuda":
            return Pending(jobs, pixels, finite, lit, latents, len(jobs))
        host = [_pinned(item) for item in (pixels, finite, lit)]
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return Pending(jobs, host[0], host[1], host[2], latents, len(jobs), event)

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


def initial_noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Return standard normal float32 noise that follows from ``seed`` alone, drawn on the CPU, so
    that it is the same for every batch size and device.
    """
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def load_pipeline(recipe: Recipe, device: torch.device) -> Any:
    """Return the pipeline of a resolved recipe on ``device``: its scheduler set, no safety checker,
    no watermark, weights never fetched. Raises ``RenderError`` where diffusers cannot load it.
    """
    _quieten()
    base = locate_base(recipe.base_model, offline=True)
    xl = recipe.family == "sdxl"
    kind = diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline
    options: dict[str, Any] = {
        "torch_dtype": getattr(torch, recipe.dtype),
        "local_files_only": True,
    }
    options |= (
        {"add_watermarker": False}
        if xl
        else {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    )
    if base.is_dir() and not pickles_allowed():
        options["use_safetensors"] = True  # else diffusers falls back to a pickle beside it
    try:
        if base.is_dir():
            halves = list((base / "unet").glob("*.safetensors"))
            if halves and all(".fp16." in path.name for path in halves):
                options["variant"] = "fp16"
            pipe = kind.from_pretrained(base, **options)
        else:
            with tempfile.TemporaryDirectory() as folder:
                config = str(write_configs(Path(folder), recipe.family))
                pipe = kind.from_single_file(str(base), config=config, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise RenderError(f"{base}: diffusers cannot load this base model ({error})") from error
    pipe.scheduler = make_scheduler(recipe, pipe.scheduler)
    pipe.set_progress_bar_config(disable=True)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if (module := getattr(pipe, part, None)) is not None:
            module.requires_grad_(requires_grad=False)
    if device.type == "cuda":
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    pipe.vae.to(dtype=getattr(torch, recipe.vae_dtype))
    return pipe.to(device)


def make_scheduler(recipe: Recipe, base: Any) -> Any:
    """Return the scheduler of a recipe, with the noise schedule of the base model's own one.

    Raises ``RenderError`` for a base model whose own scheduler draws noise while it runs.
    """
    name = type(base).__name__ if recipe.scheduler == "base" else recipe.scheduler
    if name not in SCHEDULERS:
        raise RenderError(
            f"the base model's own scheduler is {name}, whose steps draw noise; "
            f"set scheduler to one of {', '.join(SCHEDULERS)}"
        )
    kind = type(base) if recipe.scheduler == "base" else getattr(diffusers, name)
    return kind.from_config(base.config, **dict(recipe.scheduler_options))


def set_attention(pipe: Any, attention: str) -> str:
    """Set the attention of the UNet; return the class name of the processor really set.

    Raises ``MissingExtraError`` where xformers is asked for and missing, and ``RenderError`` where
    it does not run here: nothing falls back silently.
    """
    if attention == "xformers":
        try:
            import xformers.ops  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("xformers", "xformers", "attention = xformers") from error
        try:
            pipe.enable_xformers_memory_efficient_attention()
        except (ValueError, RuntimeError, NotImplementedError, ModuleNotFoundError) as error:
            raise RenderError(
                f"xformers cannot run here ({error}); set attention to sdpa"
            ) from error
    elif attention == "sliced":
        pipe.enable_attention_slicing()
    names = {type(processor).__name__ for processor in pipe.unet.attn_processors.values()}
    return "+".join(sorted(names))


def use_compile_cache(folder: Path) -> None:
    """Keep what torch.compile makes below ``folder``, unless the user chose a place already."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
    os.environ.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE", "1")


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def _quieten() -> None:
    """Silence what the libraries say of things that are meant here, and their progress bars."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers)\..*")
