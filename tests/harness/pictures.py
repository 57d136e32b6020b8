"""Takes the pictures of the documents, in light and dark: pages of the last `make demo`, and the report page of an analysis."""

import subprocess
import tempfile
from pathlib import Path

from . import browser
from .stack import ROOT

IMAGES = ROOT / "docs/images"
# Page, width and height in pixels. The pages are those of `make demo` while its incident is open, and at its end.
PAGES = {
    "model-page": (ROOT / "target/demo/open/dashboard/models/churn.html", 1100, 1180),
    "overview": (ROOT / "target/demo/dashboard/index.html", 1100, 520),
}
REPORT = (1100, 900)
DRIFTWARDEN = ROOT / "target/debug/driftwarden"


def take() -> int:
    for name, (page, width, height) in PAGES.items():
        assert page.exists(), f"{page} does not exist: run `make demo` first"
        both(name, page, width, height)
    with tempfile.TemporaryDirectory(prefix="driftwarden-pictures-") as folder:
        both("report", report(Path(folder)), *REPORT)
    return 0


def both(name: str, page: Path, width: int, height: int) -> None:
    for dark in (False, True):
        to = IMAGES / f"{name}{'-dark' if dark else ''}.png"
        browser.screenshot(page, to, width, height, dark)
        print(to.relative_to(ROOT))


def report(folder: Path) -> Path:
    """Writes the report page of generated data whose income is 30% higher than in training."""
    plans = ("basic", "plus", "pro")
    rows = [(30 + n * 7 % 41, 2000 + n * 37 % 900, plans[n % 7 % 3]) for n in range(2000)]
    for name, factor in (("train", 1.0), ("today", 1.3)):
        lines = [f"{age},{income * factor:.2f},{plan}" for age, income, plan in rows]
        (folder / f"{name}.csv").write_text("\n".join(["age,income,plan", *lines]) + "\n")
    subprocess.run([DRIFTWARDEN, "baseline", "train.csv", "--output", "baseline"], cwd=folder, check=True, capture_output=True)
    page = folder / "report/report.html"
    command = [DRIFTWARDEN, "analyze", "today.csv", "--baseline", "baseline", "--output", "report", "--html"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert page.exists(), done.stderr
    return page
