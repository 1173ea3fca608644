"""Gate each epoch as the trainer saves it, and say when to stop.

DIR is where the trainer saves. A file counts once it is whole: its header fits its size and it has
not changed since the last look. After every epoch the report is written anew and the epoch to keep
is named. The watch ends when the scores say that further epochs no longer help (exit 0 if the
recommended epoch passes the gate), so that a script can end the training then:

    loraeval watch output/ --baseline NAME --base-model PATH && kill $TRAINER
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.commands.options import (
    add_gate_arguments,
    add_panel_arguments,
    add_render_arguments,
    check_out,
    panel_choice,
    render_choice,
)
from loraeval.outcome import exit_code

if TYPE_CHECKING:
    from loraeval.evaluation.gate_run import GateRun
    from loraeval.gate.epochs import EpochSelection
    from loraeval.records import Checkpoint, Verdict

Gate = Callable[[Path], "GateRun"]
Choose = Callable[[Sequence["GateRun"]], "EpochSelection | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval watch``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the trainer saves")
    parser.add_argument("--baseline", required=True, metavar="NAME", help="gate against this")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the report's folder (default: reports/DIR's name)"
    )
    parser.add_argument(
        "--renders", type=Path, metavar="FILE", help="use these images instead of rendering"
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=2,
        metavar="N",
        help="stop once N epochs after the recommended one did no better (default 2)",
    )
    parser.add_argument(
        "--poll", type=float, default=20.0, metavar="SECONDS", help="between looks (default 20)"
    )
    parser.add_argument(
        "--once", action="store_true", help="gate what is there now and leave (nightly jobs)"
    )
    add_render_arguments(parser)
    add_panel_arguments(parser)
    add_gate_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until the scores say stop; return the exit code of the epoch to keep."""
    import contextlib

    from loraeval.baselines import read_baseline
    from loraeval.errors import UsageError
    from loraeval.evaluation.gate_run import GateSetup, gate_checkpoint
    from loraeval.evaluation.panels import build_panel, say
    from loraeval.evaluation.reporting import selection_of, write_run_report
    from loraeval.evaluation.setup import (
        choose_prompts,
        choose_recipe,
        gate_options,
        make_renderer,
    )

    if not args.folder.is_dir():
        raise UsageError(f"{args.folder}: expected the folder that the trainer saves into")
    if args.patience < 1 or not 0 < args.poll < math.inf:
        raise UsageError(
            f"expected --patience of 1 or more and --poll above 0, "
            f"found {args.patience} and {args.poll:g}"
        )
    check_out(args.out, folder=True)
    baseline = read_baseline(args.baseline)
    choice = render_choice(args)
    panel = build_panel(panel_choice(args), baseline, quiet=False)
    options = gate_options(
        alpha=args.alpha, power=args.power, max_images=args.max_images, min_images=args.min_images
    )
    out = args.out or Path("reports") / args.folder.resolve().name
    with contextlib.ExitStack() as stack:
        if args.renders is not None:
            from loraeval.sources import find_renders, problem_words

            found = tuple(find_renders(args.renders, None))
            for words in problem_words(found):
                say(words)
            setup, prompts, recipe = GateSetup(baseline, panel, options, found=found), None, None
        else:
            prompts, recipe = choose_prompts(choice, baseline), choose_recipe(choice, baseline)
            renderer = stack.enter_context(make_renderer(choice, recipe))
            setup = GateSetup(baseline, panel, options, renderer=renderer, prompts=prompts)

        def report(runs: Sequence[GateRun], paths: Mapping[Checkpoint, Path]) -> None:
            page = write_run_report(
                out, runs, baseline, checkpoints=paths, prompts=prompts, recipe=recipe
            )
            print(f"report: {page}", flush=True)

        watch = Watch(
            args.folder,
            gate=lambda path: gate_checkpoint(path, setup),
            choose=lambda runs: selection_of([row for r in runs for row in r.rows], baseline),
            report=report,
            patience=args.patience,
        )
        kept = watch.until_stop(poll=args.poll, once=args.once)
    return exit_code([] if kept is None else [kept], args.inconclusive)


def is_whole(path: Path) -> bool:
    """Say whether a trainer has finished writing ``path``: its header fits the file's size."""
    from loraeval.checkpoints.header import read_header
    from loraeval.errors import CheckpointError

    try:
        read_header(path)
    except (CheckpointError, OSError):
        return False
    return True


def stop_sentence(
    selection: EpochSelection | None, epochs: Sequence[int], patience: int
) -> str | None:
    """Return why training can stop, None where it should go on.

    It can stop where the series surely got worse after its best epoch, or where ``patience``
    epochs came after the recommended one and none of them was better.
    """
    if selection is None or selection.epoch is None:
        return None
    if selection.trend == "overtrained":
        return f"Stop, and keep epoch {selection.epoch}. {selection.trend_reason}"
    later = [epoch for epoch in epochs if epoch > selection.epoch]
    if selection.trend != "improving" and len(later) >= patience:
        return (
            f"Stop, and keep epoch {selection.epoch}: the {len(later)} epochs after it did no "
            "better."
        )
    return None


@dataclass
class Watch:
    """One watched folder. ``gate`` judges a checkpoint, ``choose`` names the epoch to keep among
    the runs so far, ``report`` is called with them after each new one.
    """

    folder: Path
    gate: Gate
    choose: Choose
    report: Callable[[Sequence[GateRun], Mapping[Checkpoint, Path]], None]
    patience: int = 2
    say: Callable[[str], None] = lambda text: print(text, flush=True)
    sleep: Callable[[float], None] = time.sleep
    runs: dict[Path, GateRun] = field(default_factory=dict)
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def until_stop(self, *, poll: float, once: bool = False) -> Verdict | None:
        """Gate new epochs until they say stop, or with ``once`` those that are there; return the
        verdict of the epoch to keep, of the newest where none is recommended.
        """
        if not once:
            self.say(f"watching {self.folder}, a look every {poll:g} s; stop with Ctrl-C")
        while True:
            stop = self.look(settled=once)
            if once or stop:
                return self.kept()
            self.sleep(poll)

    def look(self, *, settled: bool = False) -> bool:
        """Gate what is new and whole; return whether training can stop. ``settled`` takes files
        at the first sight of them instead of the second.
        """
        stop = False
        for path in self._new(settled):
            self.say(f"{path.name}: new, gating it")
            run = self.gate(path)
            self.runs[path] = run
            self.say(f"{run.verdict.outcome.upper()} {run.checkpoint.label}: {run.verdict.reason}")
            self.report(list(self.runs.values()), {r.checkpoint: p for p, r in self.runs.items()})
            selection = self.choose(list(self.runs.values()))
            sentence = stop_sentence(selection, self._epochs(), self.patience)
            if sentence is not None:
                self.say(sentence)
                stop = True
            elif selection is not None:
                self.say(f"Go on. {selection.reason}")
        return stop

    def kept(self) -> Verdict | None:
        """Return the verdict of the recommended epoch, else of the newest; None without any."""
        if not self.runs:
            self.say(f"{self.folder}: no whole .safetensors file is there yet")
            return None
        selection = self.choose(list(self.runs.values()))
        for run in self.runs.values():
            if selection is not None and any(row.epoch == selection.epoch for row in run.rows):
                return run.verdict
        return list(self.runs.values())[-1].verdict

    def _new(self, settled: bool) -> list[Path]:
        ready = []
        for path in sorted(self.folder.glob("*.safetensors"), key=_age):
            if path in self.runs or not path.is_file():
                continue
            facts = path.stat()
            state = (facts.st_size, facts.st_mtime_ns)
            if settled or self._seen.get(path) == state:
                if is_whole(path):
                    ready.append(path)
                elif settled:
                    self.say(f"{path.name}: left out, it is damaged or still being written")
            self._seen[path] = state
        return ready

    def _epochs(self) -> list[int]:
        return sorted(
            {row.epoch for run in self.runs.values() for row in run.rows if row.epoch is not None}
        )


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name
