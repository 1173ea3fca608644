"""The cases of ``parity.py``: what is compared, and how far apart it is."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._parity_others import SdScripts, WithTextModel

from loraeval.records import Caption, Prompt, Recipe
from loraeval.render.base_configs import clip_tokenizer
from loraeval.render.encode import encode_last, encode_penultimate
from loraeval.render.lora_merge import WeightSwapper, read_lora
from loraeval.render.pixels import generator_of
from loraeval.render.random_models import build_base, lora_layers, random_parts, write_lora
from loraeval.render.recipe import read_recipe, resolve_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.samplers import resolve_sampler
from loraeval.render.sd_load import import_diffusers, load_pipeline
from loraeval.render.store import Store
from loraeval.render.tokens import token_ids

ROOT = Path(__file__).resolve().parent.parent
WORDS = ("red hat on a grey cat near the old harbour wall with three small boats " * 30).split()
LENGTHS = (1, 10, 40, 60, 74, 75, 76, 100, 149, 150, 151, 190, 224, 225, 300)
TYPOGRAPHIC = (
    "a girl’s red hat", "“quoted” words", "fish &amp; chips", "&lt;b&gt; tag", "ﬁsh ﬂower",
    "naïve café", "ｐｉｘｅｌ　ａｒｔ", "cafÃ© wall", "dash – and — dash", "ellipsis…", "½ cup",
    "a\u00a0b", "x² + y²", "‘single’", "tab\tand\nline", "ÀÉÎ", "日本語 text", "emoji 🙂 face",
    "don't", "it’s “fine”", "ℌello", "№ 5", "€ 10", "ßtraße", "Ⅳ king", "plain words",
)  # fmt: skip
SCALES = (1.0, 0.5, 0.0, 1.5, -1.0)


@dataclass(slots=True)
class Row:
    """The largest difference over ``cases`` cases, and the largest value of the other side."""

    worst: float = 0.0
    size: float = 0.0
    cases: int = 0

    def add(self, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        """Count one case."""
        self.worst = max(self.worst, float((ours.double() - theirs.double()).abs().max()))
        self.size = max(self.size, float(theirs.double().abs().max()))
        self.cases += 1


def _text(tokenizer: Any, count: int) -> str:
    text, words = "", iter(WORDS)
    while len(token_ids(tokenizer, text)) < count:
        text = f"{text} {next(words)}".strip()
    return text


@functools.cache
def _encoder(kind: str, layers: int, width: int) -> Any:
    import transformers

    torch.manual_seed(layers + width)
    config = transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=2, projection_dim=width, bos_token_id=49406, eos_token_id=49407,
        pad_token_id=1,
    )  # fmt: skip
    return getattr(transformers, kind)(config).eval()


def states_sd15(scripts: SdScripts, _: Path) -> Row:
    """Hidden states of SD 1.5's encoder by 15 lengths and three layers."""
    row, tokenizer = Row(), clip_tokenizer()
    encoder = _encoder("CLIPTextModel", 4, 32)
    module = scripts.module("library.strategy_sd")
    for length in LENGTHS:
        text = _text(tokenizer, length)
        chunks = min(3, max(1, -(-length // 75)))
        for skip in (None, 1, 2):
            strategy = _Strategy(module.SdTokenizeStrategy, tokenizer, 75 * chunks)
            encoding = module.SdTextEncodingStrategy(skip)
            with torch.no_grad():
                (theirs,) = encoding.encode_tokens(
                    strategy, [WithTextModel(encoder)], strategy.tokenize(text)
                )
            (ours,) = encode_last([tokenizer], [encoder], [text], chunks, skip)
            row.add(ours.states, theirs)
    return row


def states_sdxl(scripts: SdScripts, _: Path) -> Row:
    """Hidden and pooled states of SDXL's two encoders by 15 lengths."""
    row, first, second = Row(), clip_tokenizer(), clip_tokenizer("!")
    encoders = [_encoder("CLIPTextModel", 12, 32),
                _encoder("CLIPTextModelWithProjection", 6, 48)]  # fmt: skip
    module = scripts.module("library.strategy_sdxl")
    for length in LENGTHS:
        text = _text(first, length)
        chunks = min(3, max(1, -(-length // 75)))
        strategy = _Strategy(module.SdxlTokenizeStrategy, first, 75 * chunks, second)
        with torch.no_grad():
            one, two, pooled = module.SdxlTextEncodingStrategy().encode_tokens(
                strategy, encoders, strategy.tokenize(text)
            )
        (ours,) = encode_penultimate([first, second], encoders, [text], chunks)
        row.add(ours.states, torch.cat([one, two], dim=-1))
        assert ours.pooled is not None
        row.add(ours.pooled, pooled)
    return row


def _Strategy(kind: Any, tokenizer: Any, length: int, second: Any = None) -> Any:  # noqa: N802
    """Return a tokenize strategy of sd-scripts around a tokenizer that is here already."""
    made = kind.__new__(kind)
    made.tokenizer = made.tokenizer1 = tokenizer
    made.tokenizer2 = second
    made.max_length = length + 2
    return made


def tokens(_: Any, __: Path) -> Row:
    """Token ids of typographic texts by open_clip's tokenizer, which takes them through ftfy."""
    from open_clip.tokenizer import SimpleTokenizer

    row, ours, theirs = Row(), clip_tokenizer(), SimpleTokenizer()
    for text in TYPOGRAPHIC:
        found = [token_ids(ours, text), theirs.encode(theirs.clean_fn(text))]
        longest = max(map(len, found))
        padded = [torch.tensor(ids + [0] * (longest - len(ids))).float() for ids in found]
        row.add(padded[0], padded[1])
    return row


@functools.cache
def _parts(family: str) -> dict[str, Any]:
    torch.manual_seed(7)
    return {name: part.eval() for name, (part, _) in random_parts(family, "tiny").items()}


def _fresh(family: str = "sd15") -> dict[str, Any]:
    parts = copy.deepcopy(_parts(family))
    return {name: part.requires_grad_(False) for name, part in parts.items() if name != "vae"}


def _forward(parts: dict[str, Any]) -> torch.Tensor:
    draws = generator_of(5)
    unet = parts["unet"]
    width = unet.config.cross_attention_dim
    latents, states = (
        torch.randn(2, 4, 8, 8, generator=draws),
        torch.randn(2, 77, width, generator=draws),
    )
    with torch.no_grad():
        out: torch.Tensor = unet(latents, 500, encoder_hidden_states=states).sample
    return out


def _text_out(encoder: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = encoder(torch.arange(77)[None] * 31).last_hidden_state
    return found


def _lora_files(folder: Path) -> list[Path]:
    layers = lora_layers("sd15")
    return [
        write_lora(folder / f"r{rank}.safetensors", layers, rank=rank, alpha=alpha, seed=rank,
                   strength=0.2, dtype="float32")
        for rank, alpha in ((4, 2.0), (8, 8.0), (1, 0.5))
    ]  # fmt: skip


def lora_unet(scripts: SdScripts, folder: Path) -> Row:
    """UNet and text encoder with kohya LoRAs, applied by ``networks.lora`` beside the weights."""
    row, lora = Row(), scripts.module("networks.lora")
    for file in _lora_files(folder):
        for scale in SCALES:
            theirs, ours = _fresh(), _fresh()
            wrapped = WithTextModel(theirs["text_encoder"])
            network, weights = lora.create_network_from_weights(
                scale, str(file), None, wrapped, theirs["unet"], for_inference=True
            )
            network.apply_to(wrapped, theirs["unet"])
            network.load_state_dict(weights, strict=False)
            WeightSwapper(ours, "sd15").apply(read_lora(file), scale)
            row.add(_forward(ours), _forward(theirs))
            row.add(_text_out(ours["text_encoder"]), _text_out(wrapped))
    return row


def lora_weights(scripts: SdScripts, folder: Path) -> Row:
    """Weights with kohya LoRAs merged by ``networks.lora``."""
    row, lora = Row(), scripts.module("networks.lora")
    for file in _lora_files(folder):
        theirs, ours = _fresh(), _fresh()
        wrapped = WithTextModel(theirs["text_encoder"])
        network, weights = lora.create_network_from_weights(
            1.0, str(file), None, wrapped, theirs["unet"], for_inference=True
        )
        network.merge_to(wrapped, theirs["unet"], weights, torch.float32, "cpu")
        WeightSwapper(ours, "sd15").apply(read_lora(file), 1.0)
        for part in ("unet", "text_encoder"):
            pairs = zip(ours[part].parameters(), theirs[part].parameters(), strict=True)
            for one, other in pairs:
                row.add(one, other)
    return row


def lycoris(algo: str, **options: Any) -> Callable[[Any, Path], Row]:
    """Return a case: LyCORIS' own layers of one kind beside the weights of the UNet."""

    def case(_: Any, folder: Path) -> Row:
        from lycoris import create_lycoris
        from safetensors.torch import save_file

        row = Row()
        scales = (1.0,) if options.get("dora_wd") else (1.0, 0.5, -1.0, 1.5)
        for scale in scales:
            theirs, ours = _fresh(), _fresh()
            torch.manual_seed(3)
            network = create_lycoris(
                theirs["unet"], scale, linear_dim=4, linear_alpha=2.0, algo=algo, **options
            )
            network.apply_to()
            with torch.no_grad():
                for parameter in network.parameters():
                    if parameter.dim() > 1 and not options.get("dora_wd"):
                        parameter.copy_(torch.randn_like(parameter) * 0.1)
                    elif parameter.dim() > 1:
                        parameter.add_(torch.randn_like(parameter) * 0.02)
            state = {
                key.replace("lycoris_", "lora_unet_", 1): value.detach().contiguous().clone()
                for key, value in network.state_dict().items()
            }
            file = folder / f"{algo}{scale}{len(options)}.safetensors"
            save_file(state, file)
            network.eval()
            for loop in network.loras:
                loop.multiplier = scale
            WeightSwapper({"unet": ours["unet"]}, "sd15").apply(read_lora(file), scale)
            row.add(_forward(ours), _forward(theirs))
        return row

    return case


def peft(**options: Any) -> Callable[[Any, Path], Row]:
    """Return a case: a UNet with PEFT's layers, saved by diffusers and read here."""

    def case(_: Any, folder: Path) -> Row:
        from peft import LoraConfig, get_peft_model_state_dict

        theirs, ours = _fresh(), _fresh()
        torch.manual_seed(4)
        config = LoraConfig(
            r=4, lora_alpha=6, init_lora_weights=False,
            target_modules=["to_q", "to_k", "to_v", "to_out.0", "proj_in", "conv1"], **options,
        )  # fmt: skip
        theirs["unet"].add_adapter(config, "default")
        row = Row()
        state = get_peft_model_state_dict(theirs["unet"], adapter_name="default")
        import_diffusers().StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=state, weight_name="peft.safetensors",
            unet_lora_adapter_metadata=config.to_dict(),
        )  # fmt: skip
        WeightSwapper({"unet": ours["unet"]}, "sd15").apply(read_lora(folder / "peft.safetensors"))
        row.add(_forward(ours), _forward(theirs))
        return row

    return case


SAMPLERS = ("ddim", "dpmpp_2m_karras", "euler_a", "dpmpp_2m_sde")


def images(name: str, count: int) -> Callable[[Any, Path], Row]:
    """Return a case: images of ``count`` seeds in one batch, and of diffusers' own pipeline."""

    def case(_: Any, folder: Path) -> Row:
        row = Row()
        for sampler in SAMPLERS:
            scheduler, options = resolve_sampler(sampler, {})
            if name == "demo":
                recipe = read_recipe("demo", base_model=str(ROOT / "demo" / "base"), steps=3)
            else:
                base = folder / name
                if not base.is_dir():
                    build_base(base, name)
                recipe = Recipe(base_model=str(base), width=64, height=64, steps=4)
            recipe = replace(
                recipe, scheduler=scheduler, scheduler_options=options, negative_prompt="blurred"
            )
            recipe = resolve_recipe(recipe, device="cpu")
            text, seeds = "a red cat on a wall", range(11, 11 + count)
            with Renderer(
                recipe, Store(folder / f"s-{name}-{count}-{sampler}"), devices="cpu",
                compile="never", batch_size=count, progress=False,
            ) as renderer:  # fmt: skip
                prompt = Prompt("p", text, Caption(text))
                made = {r.seed: r.image for r in renderer.render([None], [prompt], seeds)}
            pipe = load_pipeline(recipe, torch.device("cpu"))
            found = pipe(
                [text] * count, negative_prompt=["blurred"] * count,
                num_inference_steps=recipe.steps,
                guidance_scale=recipe.guidance_scale, width=recipe.width, height=recipe.height,
                generator=[generator_of(seed) for seed in seeds], output_type="np",
            ).images  # fmt: skip
            for image, seed in zip(found, seeds, strict=True):
                levels = torch.from_numpy(np.round(image * 255)).double()
                row.add(_pixels(made[seed]), levels)
        return row

    return case


def _pixels(path: Path) -> torch.Tensor:
    from PIL import Image

    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image).astype(np.float64))


def _cases() -> Sequence[tuple[str, str, Callable[[Any, Path], Row]]]:
    kinds: list[tuple[str, Callable[[Any, Path], Row]]] = [
        ("LoCon", lycoris("locon")),
        ("LoHa", lycoris("loha")),
        ("LoKr", lycoris("lokr", factor=4)),
        ("DoRA on LoCon", lycoris("locon", dora_wd=True)),
    ]
    pefts: list[tuple[str, Callable[[Any, Path], Row]]] = [
        ("alpha", peft()),
        ("rslora", peft(use_rslora=True)),
        ("DoRA", peft(use_dora=True)),
        ("rank and alpha patterns", peft(rank_pattern={"to_q": 2}, alpha_pattern={"to_k": 1})),
        ("alpha patterns that overlap", peft(alpha_pattern={
            r".*attn2\.to_q": 1, "to_q": 3, r"down_blocks.*\.to_v": 2})),
    ]  # fmt: skip
    return [
        ("SD 1.5 text states, 15 lengths, clip skip none, 1, 2", "sd-scripts", states_sd15),
        ("SDXL text states and pooled, 15 lengths", "sd-scripts", states_sdxl),
        ("token ids of typographic texts", "open_clip_torch", tokens),
        ("UNet and text encoder with LoRAs, scales 1, .5, 0, 1.5, -1", "sd-scripts", lora_unet),
        ("merged weights", "sd-scripts", lora_weights),
        *((f"UNet with {name}", "lycoris_lora", case) for name, case in kinds),
        *((f"UNet with PEFT's {name}", "peft", case) for name, case in pefts),
        *(
            (f"images, {name}, {count} in a batch, samplers (levels)", "diffusers",
             images(name, count))
            for name in ("sd15", "sdxl", "demo")
            for count in (1, 8)
        ),
    ]  # fmt: skip


CASES = _cases()
