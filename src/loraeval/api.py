"""The functions that ``import loraeval`` gives: the commands' work, on values instead of words.

Each imports what it needs when it is called. A mistake raises a ``LoraevalError``: one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.records import ScoreRow

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.checkpoints.anatomy import Anatomy
    from loraeval.checkpoints.compare import ParameterComparison
    from loraeval.evaluation.run_folder import Run
    from loraeval.gate.compare import Difference
    from loraeval.records import Render, Verdict


def inspect(path: str | Path) -> Anatomy:
    """Return what a LoRA file is made of, read from its header: no torch, no weights.

    Raises ``CheckpointError`` for a file that cannot be read.

    >>> from tempfile import mkdtemp
    >>> from loraeval.testing.kohya_files import write_lora
    >>> file = write_lora(Path(mkdtemp()) / "mine-000007.safetensors", rank=4, components=("te",))
    >>> found = inspect(file)
    >>> found.family, sorted(found.ranks)
    ('sd15', [4])
    """
    from loraeval.checkpoints.anatomy import read_anatomy

    return read_anatomy(path)


def score(
    source: str | Path,
    *,
    prompts: str | None = None,
    baseline: Baseline | None = None,
    scorers: Sequence[str] | None = None,
    encoder: str = "auto",
    reference: str | Path | None = None,
    lattice: tuple[int, int] | str | None = "caption",
    offline: bool = False,
) -> list[ScoreRow]:
    """Score images that exist: a renders manifest or a folder; one row an image, in its order.

    ``prompts`` is a set of prompts/ or a path, for images that carry no caption; ``baseline``
    gives lattice, encoder and reference where they are left open. ``encoder`` is ``auto``,
    ``none`` or a name; ``reference`` a folder of images in the style; ``lattice`` (columns, rows),
    None for none, ``"caption"`` for what each prompt says. Every number lies in [0, 1], or is None
    with its reason in ``details``. Raises ``LoraevalError`` for what cannot be read.

    >>> from tempfile import mkdtemp
    >>> from PIL import Image
    >>> from loraeval.testing.portraits import render_pixel_art, scene
    >>> folder = Path(mkdtemp())
    >>> Image.fromarray(render_pixel_art(scene(1), 96)).save(folder / "one.png")
    >>> _ = (folder / "one.txt").write_text(scene(1).caption)
    >>> (row,) = score(folder, scorers=("grid", "health"), encoder="none", lattice=(24, 24))
    >>> row.image, row.scores["health"], row.scores["grid"] > 0.9
    ('one.png', 1.0, True)
    """
    from loraeval.evaluation.panels import SCORERS, PanelChoice, build_panel
    from loraeval.prompts.sets import read_prompts
    from loraeval.sources import find_renders

    known = read_prompts(prompts) if prompts is not None else None
    choice = PanelChoice(
        scorers=SCORERS if scorers is None else tuple(scorers),
        encoder=encoder,
        reference=None if reference is None else Path(reference),
        lattice=lattice,
        offline=offline,
    )
    panel = build_panel(choice, baseline, quiet=True)
    return list(panel.score(find_renders(Path(source), known)))


def render(
    checkpoints: Sequence[str | Path],
    *,
    prompts: str,
    base_model: str | None = None,
    recipe: str = "default",
    seeds: Sequence[int] = (),
    store: str | Path = ".loraeval/store",
    devices: str = "auto",
    offline: bool = False,
) -> list[Render]:
    """Render every LoRA file with every prompt and seed, or take what the store holds.

    ``prompts`` and ``recipe`` are names or paths; ``base_model`` a diffusers folder, a file or a
    hub id (None: the recipe's); ``seeds`` empty: the recipe's. Images lie in ``store`` under their
    keys. The order is by checkpoint, prompt and seed. Raises ``LoraevalError`` for what cannot be
    rendered, before the first image. ``examples/render_a_series.py`` runs it on the demo.
    """
    from loraeval.evaluation.full_run import in_order
    from loraeval.evaluation.request import Request
    from loraeval.evaluation.setup import choose_prompts, choose_recipe, make_renderer

    request = Request(
        prompts=prompts,
        base_model=base_model,
        recipe=recipe,
        seeds=tuple(seeds),
        store=str(store),
        devices=devices,
        offline=offline,
    )
    paths, wanted = [Path(path) for path in checkpoints], choose_prompts(request, None)
    with make_renderer(request, choose_recipe(request, None)) as renderer:
        made = renderer.render(paths, wanted, renderer.recipe.seeds)
        return in_order(made, paths, wanted)


def gate(
    rows: Sequence[ScoreRow],
    baseline: Baseline,
    *,
    alpha: float = 0.05,
    margins: Mapping[str, float] | None = None,
) -> list[Verdict]:
    """Gate scores against a baseline: one verdict a checkpoint (run, epoch or step, strength).

    ``alpha`` is the chance of a wrong verdict that is accepted; ``margins`` replaces a metric's
    loss that is still accepted. ``loraeval.exit_code(verdicts)`` is the command line's answer.
    Raises ``UsageError`` for values outside their range and ``ScoresError`` for no rows.

    >>> import random
    >>> chance = random.Random(1)
    >>> def images(level, run):
    ...     return [ScoreRow(f"{p}-{s}.png", run, None, 1, f"p{p}", s,
    ...             {"grid": chance.gauss(level, 0.03), "health": 1.0})
    ...             for p in range(12) for s in range(4)]
    >>> golden = freeze_baseline("golden", images(0.8, "good"), gated=("grid", "health"))
    >>> [v.outcome for v in gate([*images(0.84, "new"), *images(0.6, "bad")], golden)]
    ['pass', 'fail']
    """
    from loraeval.gate import GateOptions, gate_rows

    return gate_rows(baseline, rows, GateOptions(alpha=alpha, margins=dict(margins or {})))


def compare(
    first: Sequence[ScoreRow], second: Sequence[ScoreRow], *, alpha: float = 0.05
) -> list[Difference]:
    """Compare two runs without a baseline: ``first`` minus ``second`` a metric, then by prompt.

    ``Difference.answer`` is ``better``, ``worse`` or ``cannot be told`` at ``alpha`` for all
    metrics together. Raises ``ScoresError`` and ``StaleError`` for rows that cannot be compared.

    >>> def images(level):
    ...     return [ScoreRow(f"{p}-{s}.png", "r", None, 1, f"p{p}", s,
    ...             {"grid": level + 0.01 * ((p * 7 + s) % 5)}) for p in range(9) for s in range(3)]
    >>> compare(images(0.8), images(0.5))[0].answer
    'better'
    """
    from loraeval.gate.compare import compare_rows

    return compare_rows(first, second, alpha)


def compare_parameters(*files: str | Path) -> ParameterComparison:
    """Compare how LoRAs were trained: files, training scripts or parameters.json, the first being
    the reference. Raises ``CheckpointError`` for what tells nothing.

    >>> from tempfile import mkdtemp
    >>> from loraeval.testing.kohya_files import write_lora
    >>> folder = Path(mkdtemp())
    >>> a, b = (write_lora(folder / f"{n}.safetensors", rank=r, components=("te",))
    ...         for n, r in (("a", 4), ("b", 8)))
    >>> "network_dim" in {row.name for row in compare_parameters(a, b).differences}
    True
    """
    from loraeval.checkpoints.compare import compare_parameters as compared
    from loraeval.checkpoints.parameters import training_parameters

    return compared([training_parameters(file) for file in files])


def read_baseline(name: str | Path, root: str | Path | None = None) -> Baseline:
    """Read the baseline called ``name`` in ``root`` (default ``baselines/``), or at that path.

    Raises ``BaselineError`` where there is none, or where its files are broken.
    """
    from loraeval.baselines import read_baseline as read

    return read(name, root=None if root is None else Path(root))


def freeze_baseline(
    name: str,
    rows: Sequence[ScoreRow],
    *,
    gated: Sequence[str],
    lattice: tuple[int, int] | None = None,
    folder: str | Path | None = None,
    **more: Any,
) -> Baseline:
    """Freeze the scores of the golden checkpoint as a baseline that gates the metrics ``gated``.

    With ``folder`` it is written there, for ``read_baseline``. ``more`` goes to
    ``loraeval.baselines.freeze`` (prompt set, recipe, parameters …). Raises ``BaselineError`` for
    rows that cannot be a baseline.

    >>> from tempfile import mkdtemp
    >>> rows = [ScoreRow(f"{p}-{s}.png", "good", None, 7, f"p{p}", s,
    ...         {"grid": 0.8 + 0.01 * (s % 3), "health": 1.0}) for p in range(8) for s in range(4)]
    >>> place = Path(mkdtemp()) / "golden"
    >>> frozen = freeze_baseline("golden", rows, gated=("grid", "health"), folder=place)
    >>> read_baseline(place).margins == frozen.margins
    True
    """
    from loraeval.baselines import Profile, freeze, write_baseline

    frozen = freeze(name, rows, profile=Profile(name, tuple(gated), lattice=lattice), **more)
    if folder is not None:
        write_baseline(frozen, Path(folder))
    return frozen


def read_run(folder: str | Path) -> Run:
    """Read the folder that ``loraeval run``, ``gate``, ``watch`` and pytest write: verdicts,
    scores, prompts, images, baseline. Raises ``InputError`` for what is no whole run.
    ``examples/read_a_run.py`` runs it.
    """
    from loraeval.evaluation.run_folder import read_run as read

    return read(Path(folder))
