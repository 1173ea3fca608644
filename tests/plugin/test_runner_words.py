"""No stranger's name or text is a command to a CI runner.

The parser here is written after what runners document, not after our code. GitHub (docs, "Workflow
commands for GitHub Actions", and the runner's own reader): a line that, blanks before it aside,
begins with ``::name parameters::value``, an unknown name being a token that ends a stop; and the
older ``##[name parameters]value`` anywhere in a line. GitLab (docs, "Custom collapsible sections"):
``section_start:UNIX_TIMESTAMP:NAME`` and ``section_end:…``.
"""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loraeval.cli import main
from loraeval.outside.runner import guarded_output, print_commands, unspoken
from loraeval.scores_file import read_scores, write_scores
from loraeval.testing.kohya_files import write_lora, write_safetensors

OLD_FORM = {
    "add-mask", "add-matcher", "add-path", "command", "debug", "echo", "endgroup", "error", "group",
    "notice", "remove-matcher", "save-state", "section", "set-env", "set-output", "stop-commands",
    "warning",
}  # fmt: skip
STOPS = [
    "##[stop-commands]t",
    "::stop-commands::tok",
    "a ::error file=x::y",
    "section_start:1700000000:x",
    "##[group]z",
]


def obeyed_by_github(output: str) -> list[str]:
    """Every line that GitHub's runner would act upon."""
    found = []
    for line in re.split(r"\r\n|\n|\r", output):
        begun = line.lstrip()
        new = begun.startswith("::") and begun.find("::", 2) > 2
        start = line.find("##[")
        end = line.find("]", start)
        old = start >= 0 and end > 0 and line[start + 3 : end].split(" ")[0].lower() in OLD_FORM
        if new or old:
            found.append(line)
    return found


def obeyed_by_gitlab(output: str) -> list[str]:
    return re.findall(r"section_(?:start|end):\d+:[A-Za-z0-9._-]+", output)


def test_the_parser_obeys_what_the_documentation_shows() -> None:
    shown = "::set-output name=a::b\n  ::endgroup::\nx ##[error]y\nx ::error::no\n##[what]no\n::no"
    assert len(obeyed_by_github(shown)) == 3
    assert obeyed_by_gitlab("\x1b[0Ksection_start:1560896352:my_first\r\x1b[0KHeader") != []


pieces = st.lists(
    st.sampled_from(
        [":", "::", "#", "##", "[", "##[", "error", "group]", "\n", "\r", " ", "x", "]"]
    )
    | st.text(max_size=3),
    max_size=30,
)


@given(pieces)
def test_whatever_is_written_in_whatever_pieces_nothing_is_obeyed(parts: list[str]) -> None:
    for environment in ({"GITHUB_ACTIONS": "true"}, {"GITLAB_CI": "true"}, {}):
        out = io.StringIO(newline="")
        before, sys.stdout = sys.stdout, out
        try:
            with guarded_output(environment):
                for part in parts:
                    sys.stdout.write(part)
                print_commands(["::error title=own::kept"] if parts == [] else [])
        finally:
            sys.stdout = before
        written = out.getvalue()
        if "GITHUB_ACTIONS" in environment:
            own = [line for line in obeyed_by_github(written) if "own" not in line]
            assert own == []
            assert obeyed_by_github(unspoken("".join(parts), environment)) == []
        elif not environment:
            assert written.startswith("".join(parts))
        assert written.replace(" ", "").startswith("".join(parts).replace(" ", ""))


@pytest.fixture
def hostile(tmp_path: Path, world: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose runs, images, prompts, reasons, tensors and metadata are runner's words."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for number, row in enumerate(read_scores(world.root / "scores.jsonl")):
        if row.run in ("good", "photo"):
            word = STOPS[number % len(STOPS)]
            run = f"{STOPS[0]} {STOPS[3]}" if row.run == "photo" else STOPS[1]
            long = "a" * 97 + f" {word}"
            rows.append(
                replace(row, run=run, image=f"{long}{number}", details={"grid": {"reason": long}})
            )
    write_scores(tmp_path / "scores.jsonl", rows)
    said = {f"ss_{n}": "\n".join(STOPS) for n in ("output_name", "sd_model_name", "network_args")}
    write_lora(tmp_path / "::error::x.safetensors", rank=1, components=("te",))
    stem = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    tensors = {f"{stem}.lora_down.weight": np.ones((1, 8), np.float32), STOPS[1]: np.ones(1)}
    write_safetensors(tmp_path / "odd.safetensors", tensors, {**said, **dict.fromkeys(STOPS, "x")})
    return tmp_path


COMMANDS = [
    ["gate", "--scores", "scores.jsonl", "--baseline", "{golden}"],
    ["gate", "--scores", "scores.jsonl", "--baseline", "{golden}", "--json"],
    ["report", "--scores", "scores.jsonl", "--baseline", "{golden}", "--out", "page"],
    ["chart", "--scores", "scores.jsonl", "--out", "charts"],
    ["inspect", "odd.safetensors"],
    ["inspect", "odd.safetensors", "--json"],
    ["inspect", "::error::x.safetensors"],
    ["params", "odd.safetensors"],
    ["params", "odd.safetensors", "--json"],
    ["score", "::stop-commands::tok"],
    ["gate", "--scores", "##[group]x.jsonl", "--baseline", "::error::y"],
    ["##[error]what"],
]


@pytest.mark.parametrize("runner", ["GITHUB_ACTIONS", "GITLAB_CI"])
def test_a_hostile_run_says_nothing_that_a_runner_obeys(
    hostile: Path, world: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    monkeypatch.setenv(runner, "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(hostile / "summary.md"))
    golden = str(world.baselines / "golden")
    whole = ""
    for words in COMMANDS:
        main([word.format(golden=golden) for word in words])
        out, err = capfd.readouterr()
        if words[-1] == "--json":
            assert json.loads(out), err
        whole += out + err
    assert "stop-commands" in whole, "the words did reach the terminal"
    if runner == "GITLAB_CI":
        assert obeyed_by_gitlab(whole) == []
    else:
        own = [
            line for line in obeyed_by_github(whole) if re.match(r"::(error|warning) title=", line)
        ]
        assert own, "our own annotations are to be obeyed"
        assert [line for line in obeyed_by_github(whole) if line not in own] == []


def test_a_hostile_session_of_pytest_neither(
    session: pytest.Pytester, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = session.mkdir("out")
    names = [f"{word.replace('/', '')}.safetensors" for word in STOPS[:4]]
    for name in names:
        write_safetensors(folder / name, {"x": np.ones(2, np.float32)}, {})
    write_lora(folder / "  ::error::good-000002.safetensors", rank=1, components=("te",))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITLAB_CI", "true")
    for extra in ((), ("-v",), ("--collect-only", "-q")):
        result = session.runpytest_inprocess("--checkpoint", "out", "-rA", *extra)
        text = result.stdout.str() + result.stderr.str()
        assert "stop-commands" in text
        assert obeyed_by_github(text) == []
        assert obeyed_by_gitlab(text) == []
