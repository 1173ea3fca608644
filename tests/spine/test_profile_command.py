"""``loraeval profile``: every shipped profile is listed and explained."""

from __future__ import annotations

import json

import pytest

from loraeval.baselines.profile import read_profile, shipped_profiles
from loraeval.cli import main
from loraeval.scorers.meanings import MEANINGS


def test_every_profile_is_listed_with_its_first_line(capsys):
    assert main(["profile", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == set(shipped_profiles())
    assert {"style", "character", "anime", "photo", "pixel_24x24"} <= set(shipped_profiles())
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", ["style", "character", "anime", "photo", "pixel_24x24"])
def test_a_profile_is_explained_metric_by_metric(name, capsys):
    assert main(["profile", "show", name]) == 0
    text = capsys.readouterr().out
    for metric in read_profile(shipped_profiles()[name]).gated:
        assert MEANINGS[metric] in text
    assert main(["profile", "show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == name


def test_an_unknown_profile_names_the_known_ones(capsys):
    assert main(["profile", "show", "pixle"]) == 2
    assert "known are" in capsys.readouterr().err
