"""The names that a LoRA file may have for a layer of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Target:
    """A layer of a pipeline. ``swapped``: the file has the halves of its rows in the other
    order.
    """

    component: str
    path: str
    swapped: bool = False


Names = dict[tuple[str, str], tuple[Target, ...]]
"""(part of the pipeline, path with underscores), as ``checkpoints.keys`` reads them from a key, to
the layers of the pipeline: more than one where the file stacks their rows in one matrix."""


def names_of(rendering: Rendering, component: str, paths: Iterable[str]) -> Names:
    """Return every name by which a LoRA file may call a layer of ``component``.

    Text encoders are known with and without ``text_model`` (transformers 5 dropped that level).
    """
    table: Names = {}
    listed = list(paths)
    known = set(listed)
    for part in rendering.parts.get(component, ()):
        for path in listed:
            target = (Target(component, path),)
            for name in _spellings(rendering, component, path):
                table[part, name] = target
        if component == rendering.denoiser:
            for theirs, ours in rendering.layers:
                for number in _numbers(ours[0], known):
                    targets = tuple(
                        Target(component, one.removeprefix("~").format(n=number), one[0] == "~")
                        for one in ours
                    )
                    if all(target.path in known for target in targets):
                        table[part, _flat(theirs.format(n=number))] = targets
    return table


def _spellings(rendering: Rendering, component: str, path: str) -> Iterator[str]:
    flat = _flat(path)
    yield flat
    if component == rendering.denoiser:
        if rendering.names == "stability" and (name := _stability_name(path)) is not None:
            yield name
        return
    bare = flat.removeprefix("text_model_").removeprefix("model_")
    yield bare
    yield f"text_model_{bare}"
    yield f"model_{bare}"
    yield f"transformer_text_model_{bare}"


def _numbers(pattern: str, known: set[str]) -> list[int]:
    """Return the numbers that ``{n}`` of a path stands for in a model; one of no meaning where the
    path has none.
    """
    before, found, _ = pattern.partition("{n}")
    if not found:
        return [0]
    starts = (path[len(before) :] for path in known if path.startswith(before))
    return sorted({int(rest.split(".")[0]) for rest in starts if rest.split(".")[0].isdecimal()})


def _flat(path: str) -> str:
    return path.replace(".", "_")


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
