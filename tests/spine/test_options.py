"""One table of options behind both doors."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

from loraeval.cli import main
from loraeval.commands.options import add_options, request_of
from loraeval.errors import UsageError
from loraeval.evaluation.request import Request
from loraeval.evaluation.setup import check_complete
from loraeval.options import BY_NAME, OPTIONS, option_table


def lines_of(text: str, flag: str) -> str:
    """What a help says of an option, on one line."""
    words = text.split()
    start = words.index(flag)
    ends = [i for i, w in enumerate(words[start + 1 :], start + 1) if w.startswith("--")]
    return " ".join(words[start : ends[0] if ends else None])


def test_both_doors_have_the_same_options_with_the_same_words(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--help"]) == 0
    ours = capsys.readouterr().out.partition("what is gated:")[2].replace("[", " ")
    theirs = pytester.runpytest("--help").stdout.str().partition("loraeval: gate LoRA")[2]
    cli = [line.partition(" ")[0] for line in option_table("command line").splitlines()]
    plugin = [line.partition(" ")[0].rstrip(":") for line in option_table("pytest").splitlines()]
    assert len(cli) == len(plugin) == len(OPTIONS)
    for option, flag, other in zip(OPTIONS, cli, plugin, strict=True):
        assert option.help.split("(")[0].strip() in lines_of(ours, flag.rstrip(":")), flag
        assert option.help.split()[0] in theirs.partition(other)[2][:400], other
    for word in ("offline", "scorers", "lattice", "seeds", "power", "workers", "batch-size",
                 "compile", "ray", "choose-epoch", "renders", "inconclusive"):  # fmt: skip
        assert f"--{word}" in ours
        assert f"--lora-{word}" in theirs


def test_a_request_has_a_field_for_every_option_and_no_other() -> None:
    names = {item.name for item in fields(Request)} - {"checkpoints", "here", "root", "door"}
    assert names == {option.field for option in OPTIONS}


def test_the_command_line_gives_the_request_typed_values() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    words = "--seeds 1,3-5 --lattice none --max-images 8 --alpha 0.1 --offline --scorers a,b"
    request = request_of(parser.parse_args(words.split()))
    assert request == Request(seeds=(1, 3, 4, 5), lattice=None, max_images=8, alpha=0.1,
                              offline=True, scorers=("a", "b"))  # fmt: skip
    assert request_of(parser.parse_args([])) == Request()
    assert request.to_json() == {"seeds": [1, 3, 4, 5], "lattice": None, "max_images": 8,
                                 "alpha": 0.1, "offline": True, "scorers": ["a", "b"]}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("alpha", "0", "above 0"), ("alpha", "nan", "above 0"), ("power", "1", "below 1"),
        ("workers", "0", "1 or more"), ("max-images", "1.5", "whole number"),
        ("lattice", "big", "COLUMNSxROWS"), ("seeds", "x", "1,2,5-8"),
        ("compile", "often", "auto, always, never"), ("offline", "perhaps", "true or false"),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_was_expected_and_what_came(
    name: str, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        BY_NAME[name].value(text)
    assert repr(text) in str(caught.value)
    if not BY_NAME[name].flag:
        assert main(["run", "x", f"--{name}", text]) == 2
        assert f"--{name}" in capsys.readouterr().err


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"--base-model.*--renders.*--prompts"):
        check_complete(Request(), None)
    with pytest.raises(UsageError, match=r"--lora-base-model.*--lora-renders.*--lora-prompts"):
        check_complete(Request(door="pytest"), None)


def test_options_of_the_gate_without_a_baseline_are_refused_not_ignored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "x", "--max-images", "3", "--choose-epoch"]) == 2
    error = capsys.readouterr().err
    assert "--choose-epoch, --max-images: there is no baseline to gate against" in error
