"""Stable Diffusion on one device: swap LoRAs, encode texts, sample batches. Imports torch.

One pipeline lives as long as its ``Engine``. Images are sampled in batches with guidance in the
same batch, decoded in batches, and copied to the host while the next batch is computed. Nothing in
between waits for the device, so that it never waits for the host.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from loraeval.errors import RenderError
from loraeval.families import rendering_of
from loraeval.families.record import Part
from loraeval.records import Recipe
from loraeval.render import encode
from loraeval.render.compiling import TOLERANCE, compile_module, decompile, disagreement
from loraeval.render.denoise import conditions, denoise, first_step
from loraeval.render.economy import decode_limit, default_limit
from loraeval.render.encode import Embedding, EmbeddingCache
from loraeval.render.halves import share_halves
from loraeval.render.lora_merge import Lora, WeightSwapper, read_lora
from loraeval.render.pixels import Pending, decode, generator_of, initial_noise, to_device, to_host
from loraeval.render.plan import Job, batches
from loraeval.render.sd_load import load_pipeline, set_attention

SDPA_ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""torch's attention kernels in the order tried on CUDA. On an H200 cuDNN's took 9 % off a step of
SD 1.5 against flash attention's (benchmarks/README.md)."""

_OUT_OF_MEMORY = torch.cuda.OutOfMemoryError


class Engine:
    """One base model on one device, with at most one LoRA in its weights.

    ``recipe`` must be resolved. ``limit`` is the largest batch, in images of the
    recipe's size; it is halved whenever memory runs out. Not thread-safe: one thread at a time.
    """

    def __init__(self, recipe: Recipe, device: str, *, limit: int | None = None) -> None:
        self._set_up(recipe, device)
        self.pipe = load_pipeline(recipe, self.device)
        self.limit = limit or default_limit(recipe, device)
        self.processor = set_attention(self.pipe, recipe.attention)
        share_halves(self.pipe.unet)
        parts = (self.rendering.denoiser, *self.rendering.encoders)
        components = {p: m for p in parts if (m := getattr(self.pipe, p, None)) is not None}
        self._swapper = WeightSwapper(components, recipe.family, self._keep_on(components))
        self._embeddings = EmbeddingCache()
        self.decode_limit = decode_limit(recipe, self._memory())

    def _set_up(self, recipe: Recipe, device: str) -> None:
        """Set what every engine starts with."""
        self.recipe = recipe
        self.device = torch.device(device)
        self.rendering = rendering_of(recipe.family)
        self._weights: tuple[str, float] | None = ("base", 0.0)
        self._text: tuple[str, float] | None = ("base", 0.0)
        self._sizes: dict[tuple[int, int, int], set[int]] = {}
        self._verified: set[tuple[object, ...]] = set()
        self.parts: tuple[Part, ...] = ()
        """What is compiled, from the next batch on."""
        self._gave_up = False
        self.stop = threading.Event()
        """Once set, ``run`` ends before the next step of denoising with ``Stopped``."""
        self.ready: set[Part] = set()
        """What was compiled already, and found to compute the same."""
        self.reader: Callable[[Path, str], Lora] = _read

    def times(self) -> dict[Part, float] | None:
        """Return the seconds an image that each part takes, None where a worker times them."""
        return None

    @property
    def device_name(self) -> str:
        """Name of the GPU, or ``cpu``."""
        on_gpu = self.device.type == "cuda"
        return torch.cuda.get_device_name(self.device) if on_gpu else str(self.device.type)

    @property
    def compiled(self) -> bool:
        """Whether the UNet is compiled."""
        return "unet" in self.parts

    @property
    def applied(self) -> int:
        """Number of modules that the current LoRA changed."""
        return self._swapper.applied

    def check(self, lora: Lora) -> int:
        """Return how many modules of ``lora`` the base model takes; all, or it raises
        ``CheckpointError``.
        """
        placed = len(self._swapper.place(lora))
        if self.recipe.dtype != "float32" and self.recipe.lora_scale:
            # Here, where nothing waits for the device yet.
            self._swapper.rounding_error(lora, self.recipe.lora_scale)
        return placed

    def use(self, path: Path | None, sha256: str, scale: float) -> None:
        """Put the LoRA at ``path`` into the weights at ``scale``; nothing to do if it is there.

        While weights change, and after an error that came then, nothing counts as being there.
        """
        wanted = ("base", 0.0) if path is None or scale == 0 else (sha256, scale)
        if wanted == self._weights:
            return
        lora = None if path is None or scale == 0 else self.reader(path, sha256)
        before, self._weights, self._text = self._text, None, None
        self._swapper.apply(lora, scale)
        if self._swapper.rests.changed:
            self._swapper.rests.changed = False
            self._compile_anew()
        text = wanted if lora is not None and lora.trains_text else ("base", 0.0)
        if text != before:
            self._embeddings.drop(lambda key: key[0][0] != "base")
        self._weights, self._text = wanted, text

    def embed(self, texts: Sequence[str], chunks: int, clip_skip: int | None) -> list[Embedding]:
        """Return the embeddings of ``texts`` by the text encoders as they are now; each once."""
        if self._text is None:  # an error came while weights changed
            self.use(None, "base", 0.0)
        state, pipe = self._text, self.pipe
        assert state is not None
        keys = {text: (state, text, chunks, clip_skip) for text in texts}
        known = {text: self._embeddings.get(key) for text, key in keys.items()}
        new = [text for text, found in known.items() if found is None]
        made: list[Embedding] = []
        if new:
            names = self.rendering.encoders
            encoders = [getattr(pipe, name) for name in names]
            tokenizers = [getattr(pipe, n.replace("text_encoder", "tokenizer")) for n in names]
            function = getattr(encode, self.rendering.encode)
            made = function(tokenizers, encoders, new, chunks, clip_skip, self.recipe.prompt_layout)
        for text, embedding in zip(new, made, strict=True):
            known[text] = embedding
            self._embeddings.put(keys[text], embedding)
        return [found for text in texts if (found := known[text]) is not None]

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
                    raise self.too_large(batch[0].recipe) from error
                self.limit = len(batch) // 2
                error.__traceback__ = None
                torch.cuda.empty_cache()
                waiting = [piece for old in [batch, *waiting] for piece in batches(old, self.limit)]
                continue
            yield pending

    def again(self, pending: Pending, index: int) -> Pending | None:
        """Decode one image of a batch again with the VAE in float32: the retry of a fault. None
        where there is no memory for that, also once what is unused was given back.
        """
        latents = pending.latents[index : index + 1]
        images = None
        for _ in range(2):
            try:
                with torch.compiler.set_stance("force_eager"):
                    images = decode(self.pipe.vae, latents, 1, in_float32=True)
                break
            except _OUT_OF_MEMORY as error:
                error.__traceback__ = None
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
        if images is None:
            return None
        retried = to_host([pending.jobs[index]], latents, images)
        retried.wait()
        return retried

    def _sample(self, batch: list[Job]) -> Pending:
        recipe, first = batch[0].recipe, batch[0]
        self.use(first.checkpoint.path, first.checkpoint.sha256, recipe.lora_scale)
        filled = [*batch, *[batch[-1]] * (self._padded(batch) - len(batch))]
        texts = [job.prompt.text for job in filled]
        others = [job.prompt.negative or recipe.negative_prompt for job in filled]
        embedded = self.embed([*texts, *others], first.chunks, recipe.clip_skip)
        positive, negative = embedded[: len(filled)], embedded[len(filled) :]
        given = conditions(self.pipe, recipe, positive, negative)
        draws = [generator_of(job.seed) for job in filled]
        noise = self.noise(recipe, [job.seed for job in filled], given.states.dtype, draws)
        with self.kernels():
            shape = (*noise.shape, *given.states.shape)
            self._verify("unet", shape, lambda: first_step(self.pipe, recipe, noise, given))
            latents = denoise(self.pipe, recipe, noise, given, draws, self.stop.is_set)
            images = self.decode(latents)
        return to_host(batch, latents[: len(batch)], images[: len(batch)])

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return images [n, 3, H, W] in about [-1, 1], by ``decode_limit`` at once at most."""
        vae, most = self.pipe.vae, self.decode_limit
        self._verify("vae", latents.shape, lambda: decode(vae, latents, most, same=True))
        return decode(vae, latents, most, same="vae" in self.parts)

    def noise(
        self, recipe: Recipe, seeds: Sequence[int], dtype: torch.dtype,
        draws: Sequence[torch.Generator] = (),
    ) -> torch.Tensor:  # fmt: skip
        """Return the first noise of images [n, channels, height / cell, width / cell], drawn from
        ``draws`` where steps go on drawing.
        """
        cell = self.pipe.vae_scale_factor
        size = (recipe.height // cell, recipe.width // cell)
        shape = (1, self.pipe.unet.config.in_channels, *size)
        drawn = draws or [generator_of(seed) for seed in seeds]
        pairs = zip(seeds, drawn, strict=True)
        noise = torch.cat([initial_noise(seed, shape, one) for seed, one in pairs])
        return to_device(noise, self.device).to(dtype)

    def too_large(self, recipe: Recipe) -> RenderError:
        """Return the error for an image of ``recipe`` that does not fit."""
        size = f"{recipe.width}x{recipe.height}"
        return RenderError(f"one image of {size} does not fit into the memory of {self.device}")

    def _padded(self, batch: list[Job]) -> int:
        """Return the size to run ``batch`` at: with compiled code, one that is compiled already."""
        shape = _shape(batch[0])
        if not self.compiled:
            return len(batch)
        sizes = self._sizes.setdefault(shape, set())
        size = min((s for s in sizes if len(batch) <= s <= self.limit), default=len(batch))
        sizes.add(size)
        return size

    def kernels(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which models run: torch's attention kernels in our order."""
        if self.device.type == "cuda":
            return sdpa_kernel(SDPA_ORDER, set_priority=True)
        return contextlib.nullcontext()

    def compile(self, parts: Iterable[Part]) -> None:
        """Compile ``parts`` from the next batch on, unless that failed before. Each batch size
        compiles by itself, so smaller batches are filled up to one that was compiled.
        """
        for part in parts:
            if part not in self.parts and not self._gave_up:
                compile_module(self._module(part), self.recipe.family)
                self.parts = (*self.parts, part)

    def _compile_anew(self) -> None:
        """Compile what is compiled once more: compiled code does not see that layers gained or lost
        a rest.
        """
        parts, self.parts = self.parts, ()
        if parts:
            for part in parts:
                decompile(self._module(part))
            torch.compiler.reset()
            self._verified.clear()
            self._sizes.clear()
            self.compile(parts)

    def _module(self, part: Part) -> Any:
        return self.pipe.unet if part == "unet" else self.pipe.vae.decoder

    def _verify(self, part: Part, shape: Sequence[int], call: Callable[[], torch.Tensor]) -> None:
        """Compile for a new shape, and compare with what the plain model computes. Where that fails
        or differs, all goes on uncompiled, and a line says so.
        """
        if part not in self.parts or (part, *shape) in self._verified:
            return
        self._verified.add((part, *shape))
        try:
            found = disagreement(call)
            dtype = self.recipe.dtype if part == "unet" else self.recipe.vae_dtype
            reason = "" if found <= TOLERANCE[dtype] else f"it changed the output by {found:.1%}"
        except _OUT_OF_MEMORY:
            self._verified.discard((part, *shape))
            raise
        except Exception as error:  # noqa: BLE001 - compilers raise all kinds
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if not reason:
            self.ready.add(part)
        else:
            for old in self.parts:
                decompile(self._module(old))
            self.parts, self._gave_up = (), True
            text = f"torch.compile does not work here ({reason}); rendering goes on without it"
            print(f"loraeval: {text}", file=sys.stderr)

    def _keep_on(self, components: dict[str, torch.nn.Module]) -> torch.device | None:
        """Keep base weights beside the model, or on the host where a quarter of the device's
        memory would not hold them.
        """
        if self.device.type != "cuda":
            return None
        size = sum(p.nbytes for module in components.values() for p in module.parameters())
        return torch.device("cpu") if size > self._memory() / 4 else None

    def _memory(self) -> int:
        """Return the bytes of memory of a GPU, 0 for a CPU."""
        if self.device.type != "cuda":
            return 0
        return int(torch.cuda.get_device_properties(self.device).total_memory)


def _read(path: Path, sha256: str) -> Lora:
    return read_lora(path, sha256=sha256)


def read_beside(path: Path, device: str, sha256: str) -> Lora:
    """Return ``read_lora`` of ``path`` for a thread beside the one that drives the device: on a
    stream of its own, since a copy on the device's first stream waits for all that is queued there.
    """
    if not device.startswith("cuda"):
        return read_lora(path, device, sha256)
    drives = torch.cuda.current_stream(device)
    if device not in _SIDE:
        _SIDE[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side = _SIDE[device]
    with torch.cuda.stream(side):
        lora = read_lora(path, device, sha256)
    side.synchronize()
    for tensor in lora.tensors.values():
        tensor.record_stream(drives)
    return lora


_SIDE: dict[str, torch.cuda.Stream] = {}


def _shape(job: Job) -> tuple[int, int, int]:
    return job.recipe.width, job.recipe.height, job.chunks
