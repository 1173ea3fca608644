"""A pipeline of diffusers from a base model: loaded, its scheduler and attention set.

diffusers and transformers are imported inside the functions, after what torchvision needs.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import MissingExtraError, RenderError
from loraeval.families import rendering_of
from loraeval.records import Recipe
from loraeval.render.base_configs import write_configs
from loraeval.render.base_model import locate_base
from loraeval.render.base_safety import pickles_allowed
from loraeval.render.recipe import SCHEDULERS

if TYPE_CHECKING:
    import torch


def import_diffusers() -> Any:
    """Return diffusers, imported after the operators that torchvision needs; it has no types."""
    from loraeval import torchvision_ops

    torchvision_ops.install()
    import diffusers

    return diffusers


def load_pipeline(recipe: Recipe, device: torch.device) -> Any:
    """Return the pipeline of a resolved recipe on ``device``: its scheduler set, no safety checker,
    no watermark, weights never fetched. Raises ``RenderError`` where diffusers cannot load it.
    """
    import torch

    diffusers = import_diffusers()
    quieten()
    base = locate_base(recipe.base_model, offline=True)
    rendering = rendering_of(recipe.family)
    kind = getattr(diffusers, rendering.pipelines[0])
    options: dict[str, Any] = {
        "torch_dtype": getattr(torch, recipe.dtype),
        "local_files_only": True,
    }
    options |= rendering.options
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
    for part in (rendering.denoiser, "vae", *rendering.encoders):
        if (module := getattr(pipe, part, None)) is not None:
            module.requires_grad_(requires_grad=False)
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
    kind = type(base) if recipe.scheduler == "base" else getattr(import_diffusers(), name)
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


def quieten() -> None:
    """Silence what the libraries say of things that are meant here, and their progress bars."""
    diffusers = import_diffusers()
    transformers: Any = importlib.import_module("transformers")  # untyped functions
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers)\..*")
