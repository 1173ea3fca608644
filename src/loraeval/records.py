"""The records that flow through loraeval: prompts and recipes in, scores and verdicts out.

All are frozen and hold plain Python values, so that they pickle, compare and serialise without
help. Numbers are built-in ``float`` and ``int``. Nothing here imports numpy or torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["pass", "fail", "inconclusive", "stale"]
"""What a comparison or a whole gate ends in; ``stale`` means it must not be compared."""

Pairing = Literal["prompt+seed", "prompt", "unpaired"]
"""How candidate and baseline images were matched, strongest first."""

Method = Literal["fixed", "sequential"]
"""How a gate tests: once on a fixed set of images, or while they are rendered."""

FamilyName = str
"""Base-model family that a LoRA was trained on and a pipeline belongs to: a key of
``loraeval.families.FAMILIES``."""


RENDER_VERSION = 2
"""Goes up whenever the same recipe, checkpoint, prompt and seed may give another image: stored
renders are then made anew, and baselines that were rendered are stale."""


def canonical_json(value: object) -> str:
    """Return ``value`` as JSON that depends on the content only: sorted keys, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_of(value: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of ``canonical_json(value)``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class NamedColour:
    """One colour that a caption asks for.

    ``attribute`` is one of ``background, hair, eyes, lips, skin, clothing, accessory, other``;
    ``hex`` is ``#rrggbb`` in lower case, or None where the caption gives only colour words, which
    then stand in ``name``; ``text`` is the phrase as written. ``noun`` is the noun that owns the
    colour ("" where there is none); attribute ``other`` is any noun of no known attribute.
    Colours of the same ``choice`` other than 0 are alternatives: one of them is asked for.
    """

    attribute: str
    hex: str | None
    name: str | None
    text: str
    noun: str = ""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption taken to its colours; see ``loraeval.prompts.caption.parse_caption``.

    ``colours`` in order of appearance; ``palette`` the hex codes of the ``palette:`` list and
    ``tail`` the bare hex codes after it, both ``#rrggbb`` in lower case without repeats;
    ``background_kind`` one of ``solid, split, gradient, checkered,
    transparent, unknown``; ``unassigned`` the
    phrases that look like colour but could not be assigned. A caption "lists a full palette" when
    ``palette`` is not empty.
    """

    text: str
    colours: tuple[NamedColour, ...] = ()
    palette: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    background_kind: str = "unknown"
    unassigned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a set. ``overrides`` holds recipe fields that this prompt sets for itself
    (``width, height, steps, guidance_scale, seed, lora_scale``), as sd-scripts' lines can.
    """

    id: str
    text: str
    caption: Caption
    negative: str = ""
    tags: tuple[str, ...] = ()
    overrides: Mapping[str, float | int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of everything about the prompt that changes a pixel or a score."""
        return digest_of([self.text, self.negative, dict(self.overrides)])


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Prompts with distinct ids, in file order; ``notes`` on what of their file was not taken."""

    name: str
    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        """Digest of ids and prompts, independent of their order and of the set's name."""
        return digest_of(sorted([prompt.id, prompt.digest] for prompt in self.prompts))

    def by_id(self) -> dict[str, Prompt]:
        """Return the prompts by id."""
        return {prompt.id: prompt for prompt in self.prompts}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything besides checkpoint, prompt and seed that changes a pixel.

    ``base_model`` is a hub id, a diffusers folder or a single file; ``base_model_hash`` the
    SHA-256 that ``loraeval.render`` computes for it (None until then). ``width`` and ``height``
    in pixels; ``family`` is ``auto`` until the base model tells it; ``attention`` one of ``auto,
    sdpa, xformers, sliced``; ``max_prompt_chunks`` the number of 75-token chunks a prompt may fill
    (3 = sd-scripts' ``max_token_length`` 225).
    ``guidance_rescale`` is the share of CFG rescale (arXiv 2305.08891, section 3.4);
    ``prompt_layout`` joins chunks as training does (``training``) or as A1111 and ComfyUI do
    (``ui``); ``vae`` names a file or folder with another VAE, ``vae_hash`` its content.
    ``seeds`` are the seeds to render per prompt; they are part of a render's key, not of
    ``digest``, so that more seeds do not make a baseline stale.
    """

    base_model: str
    base_model_hash: str | None = None
    family: FamilyName = "auto"
    width: int = 512
    height: int = 512
    steps: int = 30
    guidance_scale: float = 7.5
    scheduler: str = "DPMSolverMultistepScheduler"
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float16"
    vae_dtype: str = "auto"
    attention: str = "auto"
    lora_scale: float = 1.0
    clip_skip: int | None = None
    guidance_rescale: float = 0.0
    prompt_layout: str = "training"
    vae: str | None = None
    vae_hash: str | None = None
    max_prompt_chunks: int = 3
    negative_prompt: str = ""
    seeds: tuple[int, ...] = (42,)
    name: str = "default"

    @property
    def digest(self) -> str:
        """Digest of the version of rendering and of every field but ``seeds``, ``name`` and, once
        hashed, the base's path.
        """
        fields = {key: value for key, value in asdict(self).items() if key not in ("seeds", "name")}
        fields["render_version"] = RENDER_VERSION
        if self.vae_hash is not None:
            del fields["vae"]
        if self.base_model_hash is not None:
            del fields["base_model"]
        return digest_of(fields)


@dataclass(frozen=True, slots=True)
class Render:
    """One image, found or made, with what is known of its origin.

    ``image`` is where the file lies; ``name`` how the scores file calls it (relative, ``/``).
    ``base_image`` is the render of the same prompt and seed at LoRA scale 0, where there is one.
    ``problem`` says why the file must not be opened (a link out of its folder, a broken row of a
    manifest); ``image`` is then the null device, and every metric is unscored for that reason.
    ``prompt_problem`` says why the caption could not be read; ``prompt`` has then no text.
    ``step`` counts optimizer steps; ``strength`` is the LoRA strength asked for, before a prompt's
    own override; both None where nothing tells. ``made_with`` names what rendered it: loraeval,
    torch, diffusers, device, attention processor; empty for images that were found.
    """

    image: Path
    name: str
    run: str
    prompt: Prompt
    checkpoint: str | None = None
    epoch: int | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    recipe: str | None = None
    base_image: Path | None = None
    problem: str | None = None
    prompt_problem: str | None = None
    step: int | None = None
    strength: float | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number is: it travels with the scorer that makes it.

    Every score lies in ``bounds`` and higher is better. ``version`` goes up whenever the same
    image may get another number; old baselines are then stale. ``weights_license`` names the
    license of the weights that a score depends on, None where there are none.
    """

    name: str
    version: str
    unit: str = "share"
    bounds: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    weights_license: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A finite number in [0, 1], or None with the reason why it could not be measured.

    Raises ``ValueError`` for NaN, infinities and numbers outside [0, 1], and where value and
    reason are both given or both missing: a default number can not slip in. ``wants_prompt`` says
    that there is no number because the prompt lacks something.
    """

    metric: str
    value: float | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    wants_prompt: bool = False

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"{self.metric}: a score has either a value or a reason")
        if self.value is not None and not (
            math.isfinite(self.value) and -1e-9 <= self.value <= 1 + 1e-9
        ):
            raise ValueError(f"{self.metric}: {self.value!r} is not a number in [0, 1]")
        if self.value is not None:
            object.__setattr__(self, "value", min(1.0, max(0.0, float(self.value))))

    @classmethod
    def unscored(cls, metric: str, reason: str, **details: object) -> Score:
        """Return a score that says why there is no number."""
        return cls(metric, None, reason, details)

    @classmethod
    def without_prompt(cls, metric: str, reason: str) -> Score:
        """Return a score that has no number because of what the prompt lacks, as ``reason`` says:
        where the caption could not be read, the panel adds why.
        """
        return cls(metric, None, reason, wants_prompt=True)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The scores of one image: one line of a scores file (``loraeval.scores_file``).

    ``scores`` maps metric name to number or None; ``details`` maps scorer name to what a person
    can act on, with ``reason`` where the number is None. ``versions`` maps metric name to metric
    version, ``encoder`` names the encoder and its weights hash, ``prompt_digest`` and ``recipe``
    hold the digests that decide whether two rows may be compared. ``step`` and ``strength`` as in
    ``Render``.
    """

    image: str
    run: str
    checkpoint: str | None
    epoch: int | None
    prompt_id: str
    seed: int | None
    scores: Mapping[str, float | None]
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    encoder: str | None = None
    prompt_digest: str | None = None
    recipe: str | None = None
    step: int | None = None
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint, as verdicts and reports know it: what is not known is None.

    ``run`` is its training run, ``epoch`` counts completed epochs from 1 and ``step`` optimizer
    steps. ``file`` names its file, with a folder before it where two files share the name;
    ``sha256`` is that file's. ``strength`` is the LoRA strength of the images; ``beside`` names the
    other LoRAs rendered with it, each ``FILE:STRENGTH``, in order.

    >>> Checkpoint("run", 7).label, Checkpoint("run", step=1400).label
    ('run epoch 7', 'run step 1400')
    >>> Checkpoint("run", 7, file="run-000007.safetensors", strength=0.8).label
    'run-000007.safetensors at strength 0.8'
    """

    run: str
    epoch: int | None = None
    step: int | None = None
    file: str | None = None
    sha256: str | None = None
    strength: float | None = None
    beside: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Render | ScoreRow) -> Checkpoint:
        """Return the checkpoint that an image or its scores belong to."""
        file = item.checkpoint
        if file is not None:
            file = file.replace("\\", "/").rsplit("/", 1)[-1]
        return cls(item.run, item.epoch, item.step, file, strength=item.strength)

    @property
    def label(self) -> str:
        """How people are told of it: its file's name, else its run with epoch or step."""
        name = self.run
        if self.file is not None:
            name = self.file
        else:
            name += "" if self.epoch is None else f" epoch {self.epoch}"
            name += "" if self.step is None else f" step {self.step}"
        if self.strength not in (None, 1.0):
            name += f" at strength {self.strength:g}"
        return " with ".join([name, *self.beside])


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scorer, candidate against baseline.

    ``estimate`` is candidate minus baseline in the scorer's own unit (negative is worse), with
    the interval ``low`` to ``high`` at ``confidence``; ``margin`` the loss that is still
    accepted; ``n`` the candidate images used, ``more`` how many further images would probably
    decide (None where decided or unknown). ``reason`` is the one line a person reads.
    """

    metric: str
    outcome: Outcome
    reason: str
    margin: float
    n: int
    pairing: Pairing | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    baseline_mean: float | None = None
    candidate_mean: float | None = None
    more: int | None = None
    bad: int | None = None
    bad_level: float | None = None
    bad_note: str = ""
    strict: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        """The change's interval (low, high); None where it is unknown, or as wide as all that is
        possible, -1 to 1, which says nothing.
        """
        if self.low is None or self.high is None or (self.low <= -1 and self.high >= 1):
            return None
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of one checkpoint.

    ``method`` is the test it was gated by: ``sequential`` (images rendered until it decides, at
    most ``planned``) or ``fixed`` (all images that were there). ``images`` is how many it saw.
    ``notes`` say what weakens the verdict (a softened baseline, images that are missing, copies
    that were not looked for), ``advice`` which prompts, tags and attributes carry a loss;
    ``missing`` names the images of the plan that were not given.
    """

    checkpoint: Checkpoint
    baseline: str
    outcome: Outcome
    comparisons: tuple[Comparison, ...]
    reason: str
    method: Method = "fixed"
    images: int = 0
    planned: int | None = None
    notes: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
