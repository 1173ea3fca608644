"""The page as text: hostile metadata stays text, nothing asks for a network, size is bounded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from loraeval.records import Checkpoint
from loraeval.report.data import RunReport
from loraeval.report.html import write_report

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}"


class Tags(HTMLParser):
    """Collects tags with their attributes, and the scripts' texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self.tags.append(("/" + tag, {}))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)


def parsed(page) -> Tags:
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    return tags


def hostile(study) -> RunReport:
    details = {"palette": {"attributes": [{"attribute": EVIL, "wanted": EVIL, "found": "#000000;x",
                                           "delta_e": 50.0}], "note": EVIL},
               "grid": {"reason": EVIL}}  # fmt: skip
    rows = tuple(
        replace(row, run=EVIL, prompt_id=EVIL, checkpoint=EVIL, details=details,
                scores={**row.scores, EVIL: 0.5, "grid": None})
        for row in study.rows
    )  # fmt: skip
    comparison = replace(study.verdicts[0].comparisons[0], metric=EVIL, reason=EVIL)
    verdict = replace(
        study.verdicts[0],
        checkpoint=Checkpoint(EVIL, file=EVIL),
        reason=EVIL,
        comparisons=(comparison,),
    )
    return replace(
        study, title=EVIL, rows=rows, verdicts=(verdict,), prompts={EVIL: EVIL},
        recipe={EVIL: EVIL}, versions={EVIL: EVIL}, hashes={EVIL: EVIL}, provenance={EVIL: [EVIL]},
        baseline=replace(study.baseline, name=EVIL),
    )  # fmt: skip


def test_hostile_text_stays_text(tmp_path, study):
    page = parsed(write_report(tmp_path, hostile(study)))
    assert not [a for tag, a in page.tags if tag == "img" and a.get("src") == "x"]
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]
    runnable = [text for a, text in page.scripts if a.get("type") is None]
    assert len(runnable) == 4
    assert not any("alert(" in text for text in runnable[1:])
    shots = next(text for a, text in page.scripts if a.get("id") == "shots")
    assert json.loads(shots)[0]["prompt"] == EVIL


@pytest.fixture(scope="module")
def written(tmp_path_factory, study):
    data = replace(study, parameters_html="<table><tr><td>a &lt; b</td></tr></table>")
    return write_report(tmp_path_factory.mktemp("written"), data)


def test_policy_allows_these_scripts_and_no_request(written):
    page = parsed(written)
    policy = next(a["content"] for _, a in page.tags
                  if a.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    assert not re.search(r"https?:|\*", policy)
    for attributes, text in page.scripts:
        if attributes.get("type") is None:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, value[:80])


def test_equal_input_gives_an_equal_page(tmp_path, study):
    data = replace(study, verdicts=study.verdicts[:1])
    first = write_report(tmp_path / "a", data).read_bytes()
    assert first == write_report(tmp_path / "b", data).read_bytes()


def test_no_image_no_baseline_no_epoch_still_makes_a_page(tmp_path, study):
    rows = tuple(replace(row, epoch=None) for row in study.rows)
    data = RunReport(title="bare", rows=rows)
    text = write_report(tmp_path, data).read_text()
    assert "nothing is gated" in text
    assert "No chart: a chart by epoch needs rows with an epoch" in text
    assert "the image file is not at hand" in text


def test_parameters_fragment_is_shown_as_it_is(written):
    assert "<td>a &lt; b</td>" in written.read_text()


def test_files_beside_the_page(written, study):
    names = {path.name for path in written.parent.iterdir()}
    assert names == {
        "index.html", "scores.csv", "summary.md", "epochs.png", "epochs.svg",
        "job_summary.md", "annotations.txt",
    }  # fmt: skip
    assert "```mermaid" in (written.parent / "job_summary.md").read_text()
    assert (written.parent / "annotations.txt").read_text().startswith("::error title=")
    lines = (written.parent / "scores.csv").read_text().splitlines()
    assert len(lines) == 1 + len(study.rows)


@pytest.mark.nightly
def test_ten_epochs_of_forty_prompts_stay_under_25_mb(tmp_path, make_study):
    run = make_study(tmp_path, epochs=10, prompts=40, size=512, noise=1.6)
    page = write_report(tmp_path / "report", run)
    assert page.stat().st_size < 25_000_000
    shots = page.read_text().count('id="view-')
    assert shots == 10 * 40 + 40
