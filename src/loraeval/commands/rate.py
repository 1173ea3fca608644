"""Judge pairs of images blind, and see how far each scorer agrees with your eyes.

RUN is a scores file or a folder with scores.jsonl. Pairs are made of the run's images and the
baseline's of the same prompts, shuffled; the page says neither which is which nor what they
scored. It is served on this machine only and uploads nothing. Choices are stored beside the
scores, in ratings.jsonl; judging can be interrupted and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loraeval.records import ScoreRow
    from loraeval.report.ratings import Pair, Rating


MAX_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval rate``."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="scores file, or a folder with scores.jsonl"
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="a baseline, or a scores file, to compare with"
    )
    parser.add_argument(
        "--against", metavar="SELECT", help="compare with rows of RUN: 'run=NAME,epoch=7-9'"
    )
    parser.add_argument(
        "--select", metavar="SELECT", help="judge only these rows of RUN: 'epoch=10'"
    )
    parser.add_argument(
        "--renders", type=Path, metavar="ROOT", help="images of RUN (default: beside the scores)"
    )
    parser.add_argument(
        "--baseline-renders", type=Path, metavar="ROOT", help="images of the baseline"
    )
    parser.add_argument(
        "--prompts", metavar="SET", help="prompt set, to show the prompts (default: the renders')"
    )
    parser.add_argument("--ratings", type=Path, metavar="FILE", help="where choices are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle (default 0)")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument(
        "--summary", action="store_true", help="print the agreement so far and leave"
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until it is done with (Ctrl-C); print the agreement; return 0."""
    from loraeval.report.ratings import make_pairs, read_ratings
    from loraeval.scores_file import read_scores

    scores = args.run / "scores.jsonl" if args.run.is_dir() else args.run
    rows = read_scores(scores)
    candidates, baseline, baseline_root = _sides(args, rows, scores.parent)
    pairs = make_pairs(candidates, baseline, seed=args.seed)
    store = args.ratings or scores.parent / "ratings.jsonl"
    ratings = read_ratings(store)
    if not args.summary:
        _serve(args, pairs, ratings, store, (args.renders or scores.parent, baseline_root))
    print(agreement_text(pairs, ratings))
    return 0


def agreement_text(pairs: Sequence[Pair], ratings: dict[str, Rating]) -> str:
    """Return how many pairs were judged, what was preferred, and each scorer's agreement."""
    from loraeval.report.agreement import agreement_table, agreements
    from loraeval.report.data import ordered_metrics
    from loraeval.report.ratings import judged_scores

    judged = judged_scores(pairs, ratings)
    choices = [choice for _, _, choice in judged]
    metrics = ordered_metrics([row for pair in pairs for row in (pair.candidate, pair.baseline)])
    counts = (
        f"{len(judged)} of {len(pairs)} pairs judged: candidate preferred in {choices.count(1)}, "
        f"baseline in {choices.count(-1)}, no difference in {choices.count(0)}"
    )
    return f"{counts}\n{agreement_table(agreements(judged, metrics))}"


def _sides(
    args: argparse.Namespace, rows: list[ScoreRow], beside: Path
) -> tuple[list[ScoreRow], list[ScoreRow], Path]:
    from loraeval.baselines.select import parse_selection, select_rows
    from loraeval.errors import UsageError
    from loraeval.scores_file import read_scores

    if (args.baseline is None) == (args.against is None):
        raise UsageError(
            "rate: expected one thing to compare with, --baseline NAME or --against SELECT"
        )
    own = args.renders or beside

    def selected(option: str, text: str) -> list[ScoreRow]:
        found = select_rows(rows, parse_selection(text))
        if not found:
            runs = ", ".join(sorted({row.run for row in rows}))
            raise UsageError(f"{option} '{text}' matches no row; the runs there are: {runs}")
        return found

    chosen = selected("--select", args.select) if args.select else rows
    if args.against is not None:
        return chosen, selected("--against", args.against), args.baseline_renders or own
    path = Path(args.baseline)
    if path.is_file():
        return chosen, read_scores(path), args.baseline_renders or path.parent
    from loraeval.baselines import read_baseline

    return chosen, list(read_baseline(args.baseline).rows), args.baseline_renders or own


def _serve(
    args: argparse.Namespace,
    pairs: Sequence[Pair],
    ratings: dict[str, Rating],
    store: Path,
    roots: tuple[Path, Path],
) -> None:
    import webbrowser

    from loraeval.errors import UsageError
    from loraeval.report.pictures import find_image
    from loraeval.report.rating_server import RatingServer, RatingSession, doorway

    def locate(pair: Pair) -> tuple[Path | None, Path | None]:
        return find_image(roots[0], pair.candidate.image), find_image(roots[1], pair.baseline.image)

    if not any(all(locate(pair)) for pair in pairs):
        raise UsageError(
            f"rate: expected the images of both sides under {roots[0]} and {roots[1]}, found no "
            "pair of them; name their folders with --renders and --baseline-renders"
        )
    session = RatingSession(
        pairs, ratings, store, locate, lambda: agreement_text(pairs, ratings),
        _prompt_texts(args.prompts, roots[0]),
    )  # fmt: skip
    try:
        if not 0 <= args.port <= MAX_PORT:  # the system would take it modulo 65,536
            raise ValueError(args.port)
        server = RatingServer(session, args.port)
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", None) or "ports go from 0 to 65535"
        raise UsageError(
            f"--port {args.port}: cannot be used ({why}); leave it out to take a free one"
        ) from error
    with server, tempfile.TemporaryDirectory(prefix="loraeval-rate-") as folder:
        print(f"open {server.address}\nstop with Ctrl-C; choices are kept in {store}", flush=True)
        if not args.no_browser:
            webbrowser.open(doorway(Path(folder), server.address).as_uri())
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _prompt_texts(prompts: str | None, renders: Path) -> dict[str, str]:
    """Return the prompts' texts by id: of the set that is named, else as far as the manifest of
    the renders tells them.
    """
    from loraeval.errors import LoraevalError
    from loraeval.prompts.sets import read_prompts
    from loraeval.sources import find_renders

    if prompts is not None:
        return {prompt.id: prompt.text for prompt in read_prompts(prompts).prompts}
    manifests = [renders / name for name in ("renders.jsonl", "manifest.jsonl")]
    source = next((path for path in manifests if path.is_file()), renders)
    try:
        return {r.prompt.id: r.prompt.text for r in find_renders(source) if r.prompt.text}
    except LoraevalError:
        return {}  # the prompts are a help; without them pairs can be judged all the same
