"""ComfyUI's graph of an image (the text ``prompt`` of its PNG) taken to prompt, seed and LoRAs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from loraeval.outside import json as strict_json
from loraeval.outside.text import clean

MAX_NODES = 2000
_MAX_STEPS = 40

Node = dict[str, Any]


def graph_of(text: str) -> dict[str, Any] | None:
    """Return what the sampler of a graph was given, as fields of ``Generation``; None for what is
    no such graph. The sampler that starts from an empty picture is taken before one that refines.
    """
    try:
        tree = strict_json.loads(text)
    except ValueError:
        return None
    if not isinstance(tree, dict) or len(tree) > MAX_NODES:
        return None
    nodes: dict[str, Node] = {
        str(key): node for key, node in tree.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }  # fmt: skip
    samplers = [key for key, node in nodes.items() if _samples(node)]
    if not samplers:
        return None
    graph = _Graph(nodes)
    fresh = [key for key in samplers if graph.size(key) is not None]
    return graph.fields((fresh or samplers)[0])


def _samples(node: Node) -> bool:
    kind = str(node.get("class_type", ""))
    inputs = node["inputs"]
    return "Sampler" in kind and ("positive" in inputs or "guider" in inputs)


class _Graph:
    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes

    def linked(self, node: Node, *names: str) -> Node | None:
        """Return the node that an input of ``node`` is linked to."""
        for name in names:
            link = node["inputs"].get(name)
            if isinstance(link, list) and link and str(link[0]) in self.nodes:
                return self.nodes[str(link[0])]
        return None

    def chain(self, node: Node | None, *names: str) -> Iterator[Node]:
        """Yield the node and those that it comes from through inputs of these names."""
        for _ in range(_MAX_STEPS):
            if node is None:
                return
            yield node
            node = self.linked(node, *names)

    def text(self, node: Node | None) -> str:
        """Return the words that a conditioning comes from."""
        names = ("conditioning", "positive", "conditioning_1", "conditioning_to", "text", "text_g",
                 "value", "string")  # fmt: skip
        for step in self.chain(node, *names):
            for name in ("text", "text_g", "t5xxl", "clip_l", "value", "string"):
                value = step["inputs"].get(name)
                if isinstance(value, str) and value.strip():
                    return " ".join(value.split())[:10_000]
        return ""

    def number(self, node: Node | None, *names: str) -> int | float | None:
        """Return a number of a node, or of the node that gives it."""
        if node is None:
            return None
        for name in names:
            value = node["inputs"].get(name)
            if isinstance(value, list):
                other = self.linked(node, name)
                value = other["inputs"].get(name, other["inputs"].get("value")) if other else None
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return value
        return None

    def size(self, key: str) -> tuple[int, int] | None:
        """Return width and height of the empty picture that a sampler starts from."""
        for node in self.chain(self.linked(self.nodes[key], "latent_image", "samples"),
                               "latent", "samples", "latent_image"):  # fmt: skip
            if "Empty" in str(node.get("class_type")):
                width, height = self.number(node, "width"), self.number(node, "height")
                if isinstance(width, int) and isinstance(height, int):
                    return width, height
        return None

    def fields(self, key: str) -> dict[str, Any]:
        sampler = self.nodes[key]
        guider = self.linked(sampler, "guider") or sampler
        noise = self.linked(sampler, "noise") or sampler
        steps = self.linked(sampler, "sigmas") or sampler
        positive = self.linked(guider, "positive", "conditioning")
        seed = self.number(noise, "seed", "noise_seed")
        count = self.number(steps, "steps")
        name = sampler["inputs"].get("sampler_name")
        guidance = self.number(guider, "cfg")
        size = self.size(key)
        loras, model = self._models(guider if "model" in guider["inputs"] else sampler)
        return {
            "prompt": self.text(positive),
            "negative": self.text(self.linked(guider, "negative")),
            "seed": seed if isinstance(seed, int) and 0 <= seed < 2**64 else None,
            "steps": count if isinstance(count, int) and 0 <= count < 10_000 else None,
            "sampler": clean(name, 60) if isinstance(name, str) else None,
            "guidance_scale": float(guidance) if guidance is not None else None,
            "width": size[0] if size else None,
            "height": size[1] if size else None,
            "model": model,
            "loras": tuple(loras),
        }

    def _models(self, node: Node) -> tuple[list[tuple[str, float]], str | None]:
        loras: list[tuple[str, float]] = []
        model = None
        for step in self.chain(self.linked(node, "model"), "model"):
            inputs = step["inputs"]
            name = inputs.get("lora_name")
            if isinstance(name, str) and name != "None":
                strength = self.number(step, "strength_model", "strength")
                loras.append((_stem(name), 1.0 if strength is None else float(strength)))
            for key in ("ckpt_name", "unet_name", "model_name"):
                if isinstance(inputs.get(key), str):
                    model = clean(_stem(inputs[key]), 120)
        return loras[::-1], model


def _stem(name: str) -> str:
    last = re.split(r"[/\\]", name[-500:])[-1]
    return re.sub(r"\.(safetensors|ckpt|pt|sft|gguf)$", "", last, flags=re.IGNORECASE)
