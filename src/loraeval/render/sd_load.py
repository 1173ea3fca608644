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
from loraeval.render.base_files import loads_half
from loraeval.render.base_model import locate_base
from loraeval.render.base_safety import pickles_allowed
from loraeval.render.other_vae import load_other_vae
from loraeval.render.samplers import OPTIONS, SAMPLERS

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
        if recipe.vae is not None:
            path = Path(recipe.vae).expanduser()
            options["vae"] = load_other_vae(path, recipe.family, options["torch_dtype"])
        if base.is_dir():
            if loads_half(path.relative_to(base).as_posix() for path in base.glob("unet/*")):
                options["variant"] = "fp16"
            pipe = kind.from_pretrained(base, **options)
        else:
            with tempfile.TemporaryDirectory() as folder:
                config = str(write_configs(Path(folder), recipe.family))
                pipe = kind.from_single_file(str(base), config=config, **options)
    except Exception as error:  # whatever a library raises while loading
        raise _unloadable(base, error) from error
    check_complete(base, pipe)
    pipe.scheduler = make_scheduler(recipe, pipe.scheduler)
    pipe.set_progress_bar_config(disable=True)
    for part in (rendering.denoiser, "vae", *rendering.encoders):
        if (module := getattr(pipe, part, None)) is not None:
            module.requires_grad_(requires_grad=False)
    pipe.vae.to(dtype=getattr(torch, recipe.vae_dtype))
    return pipe.to(device)


def check_complete(base: Path, pipe: Any) -> None:
    """Raise ``RenderError`` where a part of ``pipe`` got no weights for some of its tensors."""
    for part, module in pipe.components.items():
        if not hasattr(module, "named_parameters"):
            continue
        empty = [name for name, tensor in module.named_parameters() if tensor.is_meta]
        if empty:
            raise RenderError(
                f"{base}: this base model lacks {len(empty)} tensors of its {part}, {empty[0]} for "
                "one; the file is pruned or damaged: take a whole one"
            )


def _unloadable(base: Path, error: Exception) -> RenderError:
    text = " ".join(str(error).split()) or type(error).__name__
    return RenderError(f"{base}: diffusers cannot load this base model ({text[:400]})")


def make_scheduler(recipe: Recipe, base: Any) -> Any:
    """Return the scheduler of a recipe, with the noise schedule of the base model's own one.

    Raises ``RenderError`` for a base model whose own scheduler is none that is known here.
    """
    name = type(base).__name__ if recipe.scheduler == "base" else recipe.scheduler
    if name not in OPTIONS:
        raise RenderError(
            f"the base model's own scheduler is {name}, which is not known here; "
            f"set scheduler to one of {', '.join(SAMPLERS)}"
        )
    kind = type(base) if recipe.scheduler == "base" else getattr(import_diffusers(), name)
    options = dict(recipe.scheduler_options)
    if "clip_sample" in OPTIONS[name] and "clip_sample" not in base.config:
        options.setdefault("clip_sample", False)  # latents know no bounds; diffusers' default does
    return kind.from_config(base.config, **options)


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
