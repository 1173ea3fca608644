"""The names that a LoRA file may have for a layer of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from loraeval.families.record import Rendering

_RESNET = {
    "conv1": "in_layers_2", "time_emb_proj": "emb_layers_1", "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
}  # fmt: skip
_STEMS = {
    "conv_in": "input_blocks_0_0", "conv_out": "out_2",
    "time_embedding.linear_1": "time_embed_0", "time_embedding.linear_2": "time_embed_2",
    "add_embedding.linear_1": "label_emb_0_0", "add_embedding.linear_2": "label_emb_0_2",
}  # fmt: skip


def names_of(rendering: Rendering, component: str, path: str) -> Iterator[str]:
    """Yield every name by which a LoRA file may call the layer ``path`` of ``component``.

    ``component.path`` is diffusers' and PEFT's, ``lora_…_path`` kohya's. Text encoders are known
    with and without ``text_model`` (transformers 5 dropped that level).
    """
    yield f"{component}.{path}"
    flat = path.replace(".", "_")
    prefixes = rendering.prefixes.get(component, ())
    if component == rendering.denoiser:
        names = [flat]
        if rendering.names == "stability" and (name := _stability_name(path)) is not None:
            names.append(name)
        yield from (f"{prefix}{name}" for prefix in prefixes for name in names)
        return
    bare = flat.removeprefix("text_model_")
    dotted = path.removeprefix("text_model.")
    yield f"{component}.{dotted}"
    yield f"{component}.text_model.{dotted}"
    for prefix in prefixes:
        yield f"{prefix}{bare}"
        yield f"{prefix}text_model_{bare}"


def _stability_name(path: str) -> str | None:
    """Return the name of a module of SDXL's UNet in Stability's code, flattened for kohya.

    Its ``input_blocks`` count the first convolution, then each block's two layers and its
    downsampler; ``output_blocks`` each block's three layers, the upsampler inside the last.
    """
    for stem, name in _STEMS.items():
        if path == stem:
            return name
    parts = path.split(".")
    inner = parts[4:]
    if parts[0] == "mid_block" and len(parts) > 3:
        place = {"attentions": 1}.get(parts[1], 2 * int(parts[2]))
        return _join(f"middle_block_{place}", parts[1], parts[3:])
    if parts[0] not in ("down_blocks", "up_blocks") or len(parts) < 5:
        return None
    block, kind, index = int(parts[1]), parts[2], int(parts[3])
    slot = 1 if kind == "attentions" else 0
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks_{3 * block + 3}_0_op"
        return _join(f"input_blocks_{3 * block + index + 1}_{slot}", kind, inner)
    if kind == "upsamplers":
        return f"output_blocks_{3 * block + 2}_2_conv"
    return _join(f"output_blocks_{3 * block + index}_{slot}", kind, inner)


def _join(stem: str, kind: str, inner: list[str]) -> str:
    name = "_".join(inner)
    return f"{stem}_{_RESNET.get(name, name) if kind == 'resnets' else name}"
