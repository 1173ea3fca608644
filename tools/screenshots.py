"""Take the README's screenshots of a report: python tools/screenshots.py runs/demo reports

Drives Debian's chromium through Playwright. Writes NAME_verdict, NAME_gallery and NAME_viewer as
PNG, light at 1280 and dark at 1920 pixels, NAME being the report's folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZES = ((1280, 800, "light"), (1920, 1080, "dark"))
DRAWN = (
    "document.querySelectorAll('[data-drawn]').length"
    " === document.querySelectorAll('[data-chart]').length"
)


def shoot(page_file: Path, out: Path) -> list[Path]:
    """Return the pictures taken of the report at ``page_file``."""
    from playwright.sync_api import sync_playwright

    name = page_file.parent.name
    out.mkdir(parents=True, exist_ok=True)
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        for width, height, scheme in SIZES:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page = context.new_page()
            page.goto(page_file.resolve().as_uri())
            page.wait_for_function(DRAWN, timeout=30_000)

            def keep(part: str, page=page, width=width, scheme=scheme) -> None:
                path = out / f"{name}_{part}_{width}_{scheme}.png"
                page.screenshot(path=str(path))
                taken.append(path)

            keep("verdict")
            page.evaluate("document.getElementById('gallery').scrollIntoView()")
            keep("gallery")
            worst = page.locator("#images tbody td[data-column] .shot").first
            if page.locator("#images .base .shot").count():
                page.select_option("#sort", "worst")
            worst.click()
            for key in "bg":
                page.keyboard.press(key)
            page.wait_for_function("document.getElementById('picture').complete")
            keep("viewer")
            context.close()
        browser.close()
    return taken


def main() -> int:
    """Read the two folders from the command line; return 2 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="folder of a report, with index.html")
    parser.add_argument("out", type=Path, help="where the pictures go")
    args = parser.parse_args()
    page = args.report / "index.html"
    for path, what in ((CHROMIUM, "apt-get install chromium"), (page, "loraeval report")):
        if not path.exists():
            print(f"screenshots: expected {path}; get it with: {what}", file=sys.stderr)
            return 2
    for path in shoot(page, args.out):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
