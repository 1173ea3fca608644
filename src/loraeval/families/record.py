"""What is known of a base-model family, as plain values: everything that other rooms ask it for.

A family is one file of this room. No other file of the package tells families apart by name: it
takes the record out of ``FAMILIES`` and does what the record says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Part = Literal["unet", "vae"]
"""What is compiled: the denoiser (whatever its class) and the VAE's decoder."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What a layer of a family looks like: ``pattern`` is searched for in its path with underscores
    (in its name as written where the pattern has a dot), its part of the pipeline must match
    ``component``, its inputs be one of ``inputs`` (empty: any), its outputs ``ratio`` times them,
    its kernel ``kernel`` wide.
    ``sure``: no other family has such a layer.
    """

    pattern: str
    inputs: tuple[int, ...] = ()
    sure: bool = True
    component: str = "unet"
    ratio: int | None = None
    kernel: int | None = None


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """One trainable layer: ``inputs`` and ``outputs`` in channels, ``kernel`` 0 for a linear layer,
    1 or 3 for a convolution of that width.
    """

    inputs: int
    outputs: int
    kernel: int = 0

    @property
    def parameters_per_rank(self) -> int:
        """Weights that one unit of rank adds: a column down and a column up."""
        return self.inputs * max(1, self.kernel) ** 2 + self.outputs


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers that sd-scripts' ``networks.lora`` trains, by its names.

    ``components`` as its prefixes name them, ``text_encoders`` (layers, width) by component,
    ``cross_attention`` the width of the text states, ``attention`` blocks (name, channels,
    transformer layers), ``residual`` blocks (name, channels in, channels out), ``resamplers``
    (name, channels), ``residual_layers`` what a residual block's first convolution, time
    projection, second convolution and shortcut are called, ``projection`` the kernel of ``proj_in``
    (0: a linear layer).
    """

    components: tuple[str, ...]
    text_encoders: Mapping[str, tuple[int, int]]
    cross_attention: int
    attention: tuple[tuple[str, int, int], ...]
    residual: tuple[tuple[str, int, int], ...]
    resamplers: tuple[tuple[str, int], ...]
    residual_layers: tuple[str, str, str, str]
    projection: int


@dataclass(frozen=True, slots=True)
class Training:
    """How sd-scripts and its metadata call the family, and what training it costs.

    ``script`` is the trainer; ``version`` what ``ss_base_model_version`` records; ``architecture``
    modelspec's, without ``/lora``; ``model_name`` an example of ``ss_sd_model_name``;
    ``file_names`` words that betray it in the name of a base model; ``clip_skip`` whether
    that has an effect; ``forward_tflop`` the work of one pass of the denoiser over one image of
    ``native_size`` pixels
    a side.
    """

    script: str
    version: str
    architecture: str
    implementation: str = "diffusers"
    model_name: str = ""
    file_names: tuple[str, ...] = ()
    clip_skip: bool = False
    forward_tflop: float | None = None
    native_size: int = 1024


@dataclass(frozen=True, slots=True)
class Compiling:
    """What compiling one part costs and brings: seconds of the first compile and of one from the
    cache, each for one batch size, and the part's time after it over that before it.
    """

    cold: float
    warm: float
    share: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """How images of the family are made.

    ``engine`` names the class that samples (``module:class``), ``pipelines`` the classes of
    diffusers that a folder of the family may name, the one to load first; ``options`` go to its
    loader. ``denoiser`` and ``encoders`` are the pipeline's names of what a LoRA may change;
    ``parts`` maps each to what LoRA files call it (``unet`` for any denoiser, ``te``, ``te1``, …:
    ``checkpoints.keys``), sd-scripts' word last; ``names`` says which names of the layers a file
    may use besides diffusers', and ``layers`` which names the original code has for them: one name
    to the layers of diffusers whose rows it stacks, in their order (``loraeval.families.names``).
    ``encode`` names a function of ``render.encode``. ``single_file`` holds a start of keys that
    betrays a whole single-file model. ``configs`` are the published configurations by part, for
    single files, and ``tiny`` what differs in the small random models of the tests. ``blocks`` are
    the classes whose modules repeat, ``images_at_512`` the largest batch tried first on a GPU,
    counted in 512x512 images, ``compiling`` the costs by part, ``vae_overflows`` whether the VAE
    needs float32 where all else is float16. ``multiple`` divides width and height. ``told_by`` is
    what the denoiser's configuration must say where several families share a pipeline class.
    ``steps`` and ``guidance`` are the default recipe's, from ``source``; ``guided`` says how
    guidance works: ``true`` by a second pass for the negative prompt, ``embedded`` as an input of
    the model, which then has no negative prompt, ``by model`` where a folder decides (distilled or
    not); ``scale_name`` is the pipeline's argument for it, ``call`` further ones.
    ``prompt_tokens`` is how many tokens of a prompt are read (None: chunks of 75).
    """

    pipelines: tuple[str, ...]
    encoders: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    engine: str = "loraeval.render.sd:Engine"
    denoiser: str = "unet"
    options: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    names: str | None = None
    layers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    encode: str = ""
    single_file: tuple[str, ...] = ()
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tiny: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    images_at_512: int = 4
    compiling: Mapping[Part, Compiling] = field(default_factory=dict)
    vae_overflows: bool = False
    multiple: int = 8
    told_by: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 30
    guidance: float = 7.5
    guided: Literal["true", "embedded", "by model"] = "true"
    scale_name: str = "guidance_scale"
    call: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A base-model family: ``name`` as files and options spell it, ``title`` as people do.

    ``versions`` are starts of what ``ss_base_model_version``, ``modelspec.architecture``,
    ``ss_network_module`` (without ``lora_``) and OneTrainer's model type record, lower case, words
    parted by dashes. ``signs`` are how its layers are known. ``denoiser`` is what its denoiser is.
    ``text_names`` renames the text encoders of a LoRA file to the family's own (a file may call the
    only one ``te1``). ``layout`` is there where sd-scripts' modules are known one by one,
    ``render`` where images can be made.
    """

    name: str
    title: str
    versions: tuple[str, ...] = ()
    signs: tuple[Sign, ...] = ()
    denoiser: str = "transformer"
    text_names: Mapping[str, str] = field(default_factory=dict)
    training: Training | None = None
    layout: Layout | None = None
    render: Rendering | None = None
