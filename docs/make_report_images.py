"""Renews the pictures of a report on docs/report.md, at the width of a desk and of a phone; needs Chromium.

precsearch run search_spaces/mnist.yaml --output runs/mnist && python docs/make_report_images.py runs/mnist
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from precsearch.report.page import write_report
from precsearch.results import RunDirectory

IMAGES = Path(__file__).parent / "images"
# name -> (width, height of what is shown, pixels for each)
VIEWS = {"report-desktop": (1280, 1800, 1), "report-phone": (390, 1400, 1.5)}


def browser() -> str:
    """The path of Chromium or Chrome."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("the pictures need a browser: apt-get install chromium")
    return found


def main() -> None:
    """Draw the report of one run, or of several, elsewhere, and photograph it."""
    parser = argparse.ArgumentParser(description="Photograph a report.")
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument("--to", type=Path, default=IMAGES, help="folder of the pictures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = write_report([RunDirectory(path) for path in arguments.runs], Path(folder) / "report.html").path
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        for name, (width, height, scale) in VIEWS.items():
            context = chromium.new_context(
                viewport={"width": width, "height": height}, device_scale_factor=scale, color_scheme="light"
            )
            view = context.new_page()
            view.goto(page.as_uri())
            view.screenshot(path=arguments.to / f"{name}.png")
            print(f"wrote {arguments.to / name}.png")
        chromium.close()


if __name__ == "__main__":
    main()
