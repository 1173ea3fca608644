"""What follows from the parameters of runs, said in sentences: scale, steps, schedule, captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from loraeval.checkpoints.parameters import Parameters
from loraeval.checkpoints.schedule import epoch_factors, steps_of
from loraeval.checkpoints.sizes import size_candidates
from loraeval.checkpoints.values import number, same, shown
from loraeval.families import DEFAULT, of_training


def truths_of(runs: Sequence[Parameters]) -> Iterator[str]:
    """Yield one sentence a fact, for each run and then between the runs."""
    yield from _scales(runs)
    yield from _steps(runs)
    yield from _schedules(runs)
    for run in runs:
        yield from _tokens(run)
        yield from _size(run)
        yield from _captions_read(run)
    yield from _caption_sets(runs)
    for run in runs:
        for warning in run.warnings:
            yield f"{run.name}: {warning}."
        for name, reason in run.ignored.items():
            yield f"{run.name}: {name} had no effect ({reason})."


def _scales(runs: Sequence[Parameters]) -> Iterator[str]:
    known = [run for run in runs if run["scale"] is not None]
    if len(known) > 1 and all(same(run["scale"], known[0]["scale"]) for run in known):
        names = " and ".join(run.name for run in known)
        yield f"LoRA scale is unchanged: alpha / dim = {shown(known[0]['scale'])} in {names}."
    else:
        for run in known:
            yield f"{run.name}: LoRA scale alpha / dim = {shown(run['scale'])}."


def _steps(runs: Sequence[Parameters]) -> Iterator[str]:
    for run in runs:
        steps = steps_of(run)
        if steps is not None:
            yield (
                f"{run.name}: {steps.total} steps ({steps.per_epoch} an epoch, {steps.how}), "
                f"{steps.samples} samples seen."
            )
        elif isinstance(run["images"], int) and run["train_batch_size"] is not None:
            yield f"{run.name}: steps can not be told, the folder's repeats are not known."


def _schedules(runs: Sequence[Parameters]) -> Iterator[str]:
    said: dict[tuple[bool, tuple[float, ...]], list[str]] = {}
    for run in runs:
        factors = epoch_factors(run)
        if factors and len({round(f, 3) for f in factors}) > 1:
            restarts = run["lr_scheduler"] == "cosine_with_restarts"
            said.setdefault((restarts, tuple(factors)), []).append(run.name)
    for (restarts, values), names in said.items():
        shown_factors = " ".join(f"{value:.2f}" for value in values[:20])
        low = [str(i) for i, v in enumerate(values, 1) if v < 0.15]
        # A rise is a restart; the first epoch's high factor is none.
        rises = pairwise(values)
        high = [str(i) for i, (a, b) in enumerate(rises, 2) if restarts and b > max(a, 0.85)]
        yield (
            f"{', '.join(names)}: learning-rate factor at the end of epochs 1 to {len(values)}: "
            f"{shown_factors}."
            + (f" Epochs {', '.join(low)} are saved where it is near zero" if low else "")
            + (f", {', '.join(high)} just after a restart" if low and high else "")
            + ("; part of the difference between epochs is this." if low else "")
        )


def _tokens(run: Parameters) -> Iterator[str]:
    if not run.known("max_token_length"):
        return
    limit = number(run["max_token_length"]) or 75
    low, high, middle = (number(run[f"caption_tokens_{word}"]) for word in ("min", "max", "median"))
    images = run["images"]
    if low is not None and high is not None:
        cut = run[f"captions_over_{limit}"]
        many = "all" if cut == images or low > limit else "none" if high <= limit else shown(cut)
        of = f" of {images}" if many not in ("all", "none") else f" {images}"
        yield (
            f"{run.name}: captions have {low} to {high} CLIP tokens (median {shown(middle)}); at "
            f"{limit}, {many}{of if images else ''} captions are cut."
        )
        return
    least = number(run["caption_tokens_at_least"])
    if least is not None:
        verb = "are cut" if least > limit else "may fit"
        yield (
            f"{run.name}: captions have at least {least} CLIP tokens on average (from the tag "
            f"counts), max_token_length holds {limit}: captions {verb}."
        )


def _size(run: Parameters) -> Iterator[str]:
    text = run["file_size"]
    if not isinstance(text, str):
        return
    family = of_training(run["training_script"]) or DEFAULT
    if family.layout is None:
        return
    found = size_candidates(text, family.name)
    if found:
        options = " or ".join(f"rank {c.rank} in {c.bits} bit" for c in found)
        proof = "it does not prove a rank" if len(found) > 1 else "which fits"
        yield f"{run.name}: a file of {text} is {options}; {proof}."


def _captions_read(run: Parameters) -> Iterator[str]:
    if run["captions_read"] is False:
        yield (
            f"{run.name}: the captions were never read: the only tag is the folder's class word. "
            "sd-scripts looks for .caption files unless caption_extension says otherwise."
        )


def _caption_sets(runs: Sequence[Parameters]) -> Iterator[str]:
    prints = {run.name: run["caption_fingerprint"] for run in runs}
    known = {name: value for name, value in prints.items() if value is not None}
    if len(known) > 1:
        verb = "identical" if len(set(known.values())) == 1 else "different"
        yield f"Caption sets are {verb} by their tag counts: {', '.join(known)}."
