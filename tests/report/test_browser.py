"""The page in a real browser: opened from disk, driven by mouse and by keyboard alone."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loraeval.report.html import write_report
from loraeval.report.pictures import find_image
from loraeval.report.rating_server import RatingServer, RatingSession
from loraeval.report.ratings import make_pairs, read_ratings

api = pytest.importorskip("playwright.sync_api")
expect = api.expect

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@dataclass
class Opened:
    """A page with what it said and asked for."""

    page: object
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory, study) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), study)


@pytest.fixture
def opened(browser, report) -> Iterator[Opened]:
    yield from open_page(browser, report)


def open_page(browser, path, width=1280, height=800, scheme="light") -> Iterator[Opened]:
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
    )
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda m: found.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", lambda r: found.requests.append(r.url))
    page.goto(path.as_uri())
    page.wait_for_function(
        "document.querySelectorAll('[data-drawn]').length"
        " === document.querySelectorAll('[data-chart]').length",
        timeout=20_000,
    )
    yield found
    context.close()


def test_opens_from_disk_without_errors_or_requests(opened, report):
    assert opened.errors == []
    asked = [url for url in opened.requests if not url.startswith("data:")]
    assert asked == [report.as_uri()]
    assert opened.page.locator("#headline").inner_text().startswith("✓ PASS Keep epoch 3")
    assert opened.page.locator("[data-chart=epochs] svg").count() == 1
    assert opened.page.locator("[data-chart=margins] svg").count() == 1
    broken = "[...document.images].filter(i => i.src && i.complete && !i.naturalWidth).length"
    assert opened.page.evaluate(broken) == 0


def test_hover_shows_values_interval_and_count(opened):
    opened.page.locator("[data-chart=epochs] path[aria-roledescription='point']").first.hover()
    tip = opened.page.locator("#vg-tooltip-element.visible")
    tip.wait_for(timeout=5000)
    text = tip.inner_text()
    for word in ("epoch", "palette", "95 % interval", "prompts", "images", "baseline"):
        assert word in text


def shown_lines(page) -> list[str]:
    return page.locator("#images tbody tr:visible .id").all_inner_texts()


def test_filters_sorts_and_hides_columns(opened, study):
    page = opened.page
    page.select_option("#metric", "style")
    page.select_option("#sort", "worst")
    worst = {}
    for row in study.rows:
        worst[row.prompt_id] = min(worst.get(row.prompt_id, 1), row.scores["style"])
    assert shown_lines(page) == sorted(worst, key=worst.get)

    page.fill("#find", "portrait_02")
    assert shown_lines(page) == ["portrait_02"]
    page.fill("#find", "")
    page.fill("#below", "0.75")
    expected = sum(row.scores["style"] < 0.75 for row in study.rows)
    assert 0 < expected < len(study.rows)
    assert page.locator("#images tbody td[data-column] .shot:visible").count() == expected
    assert page.locator("#shown").inner_text().startswith(f"{expected} images of ")
    page.fill("#below", "")

    page.uncheck("input[data-column='0']")
    assert page.locator("#images thead th:visible").count() == 2 + 3
    assert page.locator("#images tfoot td:visible").count() == 1 + 3


def test_keyboard_alone_reaches_and_drives_the_viewer(opened):
    page = opened.page
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the gallery")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.shot')"):
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_attribute("data-label", "portrait_01, epoch 1")
    page.keyboard.press("Enter")
    expect(page.locator("#viewer-title")).to_have_text("portrait_01, epoch 1")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_have_text("portrait_01, epoch 2")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#viewer-title")).to_have_text("portrait_00, epoch 2")
    page.keyboard.press("0")
    expect(page.locator("#zoom")).to_have_text("1×")
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(page.locator("#zoom")).to_have_text("3×")
    assert page.locator("#frame").bounding_box()["width"] == 3 * 96
    page.keyboard.press("b")
    expect(page.locator("#cut")).to_be_visible()
    page.locator("#cut").focus()
    page.keyboard.press("End")
    whole = re.compile(r"inset\(0px (calc\(0%\)|0%) 0px 0px\)")
    expect(page.locator("#other")).to_have_css("clip-path", whole)
    page.keyboard.press("g")
    lines = page.locator("#lattice path.over").get_attribute("d")
    assert lines.count("V") in (24, 25)
    assert lines.count("H") in (24, 25)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    # The browser tells of a closed dialog in a later task: the focus moves then.
    expect(page.locator(":focus")).to_have_attribute("data-label", "portrait_00, epoch 2")
    assert opened.errors == []


def test_viewer_says_what_is_missing_and_why_unscored(opened, study):
    page = opened.page
    page.locator(".shot[aria-label^='portrait_00, epoch 1']").click()
    row = next(r for r in study.rows if r.prompt_id == "portrait_00" and r.epoch == 1)
    wanted = row.details["palette"]["attributes"][0]["wanted"]
    table = page.locator("#viewer-swatches").inner_text()
    assert wanted in table
    expect(page.locator("#viewer-note")).to_have_text(re.compile("Exact pixels\\.$"))
    page.keyboard.press("Escape")
    page.locator(".shot[aria-label^='portrait_03, epoch 1']").click()
    said = page.locator("#viewer-scores").inner_text()
    assert "no score: the caption names no colour" in said


def test_full_view_holds_the_very_pixels(opened, study):
    page = opened.page
    page.locator(".shot[aria-label^='portrait_02, epoch 2']").click()
    address = page.evaluate("document.getElementById('picture').src")
    image = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    with Image.open(study.images / "epoch02" / "02.png") as source:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(source))


def test_scores_download_as_csv(opened, report):
    with opened.page.expect_download() as waiting:
        opened.page.locator("a[download='scores.csv']").click()
    assert Path(waiting.value.path()).read_text() == (report.parent / "scores.csv").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, report, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for found in open_page(browser, report, scheme=scheme):
        for step in ("page", "viewer"):
            if step == "viewer":
                found.page.locator(".shot").nth(2).click()
                found.page.keyboard.press("b")
            result = axe.run(found.page)
            assert len(result.response["passes"]) > 10
            serious = [
                f"{v['id']}: {v['nodes'][0]['html'][:200]}"
                for v in result.response["violations"]
                if v["impact"] in ("serious", "critical")
            ]
            assert serious == [], step


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800), (1920, 1080)])
def test_nothing_sticks_out_sideways(browser, report, width, height):
    for found in open_page(browser, report, width, height):
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert found.page.evaluate(overflow) <= 0


def test_exact_pixels_beside_the_page_and_a_copy_where_they_are_gone(browser, tmp_path, study):
    page_file = write_report(tmp_path / "report", study, budget=200_000)
    kept = sorted((tmp_path / "report" / "images").iterdir())
    assert kept
    for found in open_page(browser, page_file):
        found.page.locator(".shot").nth(1).click()
        found.page.wait_for_function("document.getElementById('picture').naturalWidth === 96")
        expect(found.page.locator("#viewer-note")).to_have_text(re.compile("Exact pixels\\.$"))
        assert found.errors == []
    for file in kept:
        file.unlink()
    for found in open_page(browser, page_file):
        found.page.locator(".shot").nth(1).click()
        found.page.wait_for_function(
            "document.getElementById('viewer-note').textContent.includes('not beside this page')"
        )
        assert found.page.evaluate("document.getElementById('picture').naturalWidth") > 0


def test_rating_by_keyboard_is_stored_and_blind(browser, tmp_path, study):
    pairs = make_pairs(study.rows[:3], study.baseline.rows, seed=2)
    store = tmp_path / "ratings.jsonl"
    session = RatingSession(
        pairs, {}, store,
        lambda p: (find_image(study.images, p.candidate.image),
                   find_image(study.baseline.images, p.baseline.image)),
        lambda: "the agreement",
    )  # fmt: skip
    with RatingServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        page = browser.new_page()
        errors, asked = [], []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: asked.append(r.url))
        page.goto(server.address)
        for number, key in enumerate(["ArrowLeft", "ArrowRight", "ArrowDown"]):
            expect(page.locator("#progress")).to_contain_text(f"{number} of 3")
            expect(page.locator("#left")).to_have_js_property("naturalWidth", 96)
            assert "epoch" not in page.content()
            page.keyboard.press(key)
        page.wait_for_selector("#end:not([hidden])")
        expect(page.locator("#summary")).to_have_text("the agreement")
        server.shutdown()
        thread.join()
        page.close()
    assert len(read_ratings(store)) == 3
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    assert all(url.removeprefix("blob:").startswith(base) for url in asked)
    assert not any("token" in url for url in asked if "#" not in url)
    assert errors == []
