"""Any family by diffusers' own pipeline on one device: swap LoRAs, encode once, sample. Imports
torch.

The pipeline's own call does the work, so that an image is what a user gets of diffusers with one
CPU generator an image. Three things are put in its way: texts are encoded one by one and once (an
image does not depend on what it is sampled with), only images whose texts have the same shape share
a batch, and what the VAE is given is kept, to decode it again in float32 where it came out broken.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from loraeval.errors import RenderError
from loraeval.families.record import Part
from loraeval.records import Recipe
from loraeval.render.general_load import load_general
from loraeval.render.lora_merge import WeightSwapper
from loraeval.render.pixels import Pending, generator_of, to_host
from loraeval.render.plan import Job
from loraeval.render.sd import Engine

_TEXTS = ("prompt", "prompt_2", "prompt_3", "prompt_4", "negative_prompt", "negative_prompt_2",
          "negative_prompt_3", "negative_prompt_4")  # fmt: skip
"""Arguments of a pipeline's ``encode_prompt`` that hold a text an image."""

SHARE = 0.7
"""Part of a GPU's memory up to which text encoders stay there beside the denoiser."""


class _Texts(dict[tuple[Any, ...], Any]):
    """Encoded texts by (weights of the encoders, arguments)."""

    def drop(self, which: Any) -> None:
        """Forget those whose key ``which`` is true of."""
        for key in [key for key in self if which(key)]:
            del self[key]


class _EncodedAll(Exception):  # noqa: N818 - no error: all texts of an image are encoded
    pass


class GeneralEngine(Engine):
    """One base model of any family on one device, with at most one LoRA in its weights."""

    def __init__(self, recipe: Recipe, device: str, *, limit: int | None = None) -> None:
        self._set_up(recipe, device)
        self.pipe = load_general(recipe, self.device)
        self.limit = limit or max(
            1, self.rendering.images_at_512 * 512 * 512 // (recipe.width * recipe.height)
        )
        self.processor = recipe.attention
        names = (self.rendering.denoiser, *self.rendering.encoders)
        parts = {name: part for name in names if (part := getattr(self.pipe, name, None))}
        self._encoders = [part for name, part in parts.items() if name != names[0]]
        self._swapper = WeightSwapper(parts, recipe.family, self._keep_on(parts))
        self._embeddings: Any = _Texts()
        self._decoded: list[tuple[torch.Tensor, torch.Tensor]] = []
        size = sum(p.nbytes for part in parts.values() for p in part.parameters())
        self._away = self.device.type == "cuda" and size > SHARE * self._memory()
        self._accepts = set(inspect.signature(type(self.pipe).__call__).parameters)
        self._encode = self.pipe.encode_prompt
        self.pipe.encode_prompt = self._encoded
        self._prepare = self.pipe.prepare_latents
        self.pipe.prepare_latents = self._latents
        self._used: list[Any] = []
        self._shapes: dict[Any, tuple[Any, ...]] = {}
        self._probing = False
        self._decode = self.pipe.vae.decode
        self.pipe.vae.decode = self._decode_and_keep
        self.pipe.transformer.to(self.device)
        self.pipe.vae.to(self.device)
        self._move_encoders(torch.device("cpu") if self._away else self.device)

    def times(self) -> dict[Part, float]:
        """Return the seconds an image that the denoiser and all else take, by trying one and two
        steps.
        """
        spent = []
        for steps in (1, 2):
            started = time.perf_counter()
            self._call([""], [""], [0], self.recipe, steps)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            spent.append(time.perf_counter() - started)
        step = max(spent[1] - spent[0], 0.0)
        return {"unet": step * self.recipe.steps, "vae": max(spent[0] - step, 0.0)}

    def run(self, jobs: Sequence[Job]) -> Iterator[Pending]:
        """Sample ``jobs`` (of one group) in batches of at most ``limit`` whose encoded texts have
        one shape. Raises ``RenderError`` where not even one image fits, and for a negative prompt
        that the family would ignore.
        """
        self._used.clear()
        groups: dict[Any, list[Job]] = {}
        for job in jobs:
            self.use(job.checkpoint.path, job.checkpoint.sha256, job.recipe.lora_scale)
            if job.prompt.negative and self.rendering.guided != "true":
                raise RenderError(
                    f"the prompt {job.prompt.id} has a negative prompt, which this family has no "
                    "use for; take it out of the prompt set"
                )
            groups.setdefault(self._shape_of(job), []).append(job)
        self._send_away()
        for members in groups.values():
            yield from super().run(members)

    def again(self, pending: Pending, index: int) -> Pending | None:
        """Decode one image of a batch again with the VAE in float32: the retry of a fault."""
        vae, before = self.pipe.vae, self.pipe.vae.dtype
        latents = pending.latents[index : index + 1]
        try:
            vae.to(dtype=torch.float32)
            with torch.no_grad():
                images = _image(self._decode(latents.float(), return_dict=False)[0])
        except torch.cuda.OutOfMemoryError:
            return None
        finally:
            vae.to(dtype=before)
        retried = to_host([pending.jobs[index]], latents, images)
        retried.wait()
        return retried

    def _sample(self, batch: list[Job]) -> Pending:
        recipe, first = batch[0].recipe, batch[0]
        self.use(first.checkpoint.path, first.checkpoint.sha256, recipe.lora_scale)
        texts = [job.prompt.text for job in batch]
        others = [job.prompt.negative or recipe.negative_prompt for job in batch]
        latents, images = self._call(texts, others, [job.seed for job in batch], recipe)
        return to_host(batch, latents, images)

    def _call(
        self, texts: list[str], others: list[str], seeds: list[int], recipe: Recipe,
        steps: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return what the VAE was given and what it made of it, [n, 3, H, W] in about [-1, 1]."""
        self._decoded.clear()
        given: dict[str, Any] = {
            "prompt": list(texts),
            "width": recipe.width,
            "height": recipe.height,
            "num_inference_steps": steps or recipe.steps,
            "generator": [generator_of(seed) for seed in seeds],
            "output_type": "pt",
            self.rendering.scale_name: recipe.guidance_scale,
            **self.rendering.call,
        }
        if self.rendering.guided == "true":
            given["negative_prompt"] = list(others)
        if "max_sequence_length" in self._accepts and self.rendering.prompt_tokens:
            given["max_sequence_length"] = self.rendering.prompt_tokens
        with self.kernels(), torch.no_grad():
            self.pipe(**given)
        latents = torch.cat([one for one, _ in self._decoded])
        return latents, torch.cat([_image(image) for _, image in self._decoded])

    def _shape_of(self, job: Job) -> tuple[Any, ...]:
        """Return the shapes of a job's encoded texts: jobs of one shape may share a batch. The
        pipeline is called as for the image, and stopped where it turns to the latents.
        """
        negative = job.prompt.negative or job.recipe.negative_prompt
        key = ("shape", self._text, job.prompt.text, negative)
        if key not in self._shapes:
            self._used, self._probing = [], True
            try:
                self._call([job.prompt.text], [negative], [0], job.recipe)
            except _EncodedAll:
                pass
            finally:
                self._probing = False
            self._shapes[key] = tuple(
                tuple(one.shape) if isinstance(one, torch.Tensor) else None
                for made in self._used
                for one in (made if isinstance(made, (tuple, list)) else (made,))
            )
        return self._shapes[key]

    def _latents(self, *args: Any, **given: Any) -> Any:
        if self._probing:
            raise _EncodedAll
        return self._prepare(*args, **given)

    def _encoded(self, *args: Any, **given: Any) -> Any:
        """Stand in for the pipeline's ``encode_prompt``: each text by itself, each once."""
        names = inspect.signature(self._encode).parameters
        given |= dict(zip(names, args, strict=False))
        prompts = given["prompt"]
        if isinstance(prompts, str):
            prompts = [prompts]
        rows = []
        for index in range(len(prompts)):
            alone = {
                key: value[index] if key in _TEXTS and isinstance(value, list) else value
                for key, value in given.items()
            }
            rows.append(self._encode_alone(alone))
        return tuple(_joined(column) for column in zip(*rows, strict=True))

    def _encode_alone(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        texts = {name: given.get(name) for name in _TEXTS if given.get(name) is not None}
        rest = {key: value for key, value in given.items() if key not in _TEXTS}
        guided = rest.get("do_classifier_free_guidance")
        key = (self._text, *sorted(texts.items()), guided)
        if key not in self._embeddings:
            if self._away:
                self._move_encoders(self.device)
            rest["device"] = self.device
            lists = {
                name: None if given[name] is None else [given[name]]
                for name in _TEXTS
                if name in given
            }
            names = inspect.signature(self._encode).parameters
            if "max_sequence_length" in names and self.rendering.prompt_tokens:
                rest.setdefault("max_sequence_length", self.rendering.prompt_tokens)
            known = {name: value for name, value in rest.items() if name in names}
            with torch.no_grad():
                self._embeddings[key] = self._encode(**lists, **known)
        found: tuple[Any, ...] = self._embeddings[key]
        self._used.append(found)
        return found

    def _send_away(self) -> None:
        if self._away:
            self._move_encoders(torch.device("cpu"))

    def _move_encoders(self, device: torch.device) -> None:
        for encoder in self._encoders:
            encoder.to(device)

    def _decode_and_keep(self, latents: torch.Tensor, *args: Any, **given: Any) -> Any:
        with torch.no_grad():
            out = self._decode(latents, *args, **given)
        image = out[0] if isinstance(out, tuple) else out.sample
        self._decoded.append((latents, image))
        return out


def _image(decoded: torch.Tensor) -> torch.Tensor:
    """Return [n, 3, H, W] of what a VAE made: that of a video family has one frame."""
    return decoded[:, :, 0] if decoded.dim() == 5 else decoded


def _joined(column: Sequence[Any]) -> Any:
    """Join what ``encode_prompt`` returned for each text: rows are stacked, lists strung together,
    and what has no row a text (positions of tokens) is the same for all.
    """
    first = column[0]
    if isinstance(first, list):
        return [item for one in column for item in one]
    if isinstance(first, torch.Tensor) and first.shape[0] == 1:
        return torch.cat(list(column))
    return first
