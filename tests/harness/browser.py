"""Runs a headless Chromium: screenshots, print, accessibility checks by axe-core, and scripts on pages."""

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from .stack import ROOT

AXE = ROOT / ".venv/pages/lib"


def chromium() -> str | None:
    """Path of the installed browser, if any."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def run(*arguments: str, dark: bool = False, width: int = 1400, height: int = 900) -> str:
    """Runs the browser once, with a new profile, and returns its output."""
    browser = chromium()
    assert browser, "no Chromium is installed"
    with tempfile.TemporaryDirectory(prefix="driftwarden-browser-") as profile:
        command = [
            browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}",
            f"--window-size={width},{height}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        ]
        if os.geteuid() == 0:
            # Chromium's sandbox does not run as root, which containers use.
            command.append("--no-sandbox")
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def screenshot(page: Path, to: Path, width: int, height: int, dark: bool = False) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    run(f"--screenshot={to}", page.as_uri(), dark=dark, width=width, height=height)


def printed(page: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    run(f"--print-to-pdf={to}", "--no-pdf-header-footer", page.as_uri())


def evaluate(page: Path, script: str, dark: bool = False, width: int = 1400) -> Any:
    """Runs a script after the page has loaded. The script passes its result, a JSON value, to `report`."""
    text = page.read_text()
    report = (
        "<script>const report=(value)=>{const p=document.createElement('pre');p.id='result';p.textContent=JSON.stringify(value);"
        f"document.body.append(p)}};addEventListener('load',()=>setTimeout(()=>{{{script}}},0))</script>"
    )
    with tempfile.TemporaryDirectory(prefix="driftwarden-page-") as folder:
        copy = Path(folder) / page.name
        copy.write_text(text.replace("</body>", report + "</body>"))
        dom = run("--virtual-time-budget=60000", "--dump-dom", copy.as_uri(), dark=dark, width=width)
    found = re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the script reported no result"
    return json.loads(html.unescape(found.group(1)))


def accessibility(page: Path, dark: bool = False, width: int = 1400) -> list[str]:
    """Violations that axe-core finds, as descriptions."""
    source = next(AXE.glob("python*/site-packages/axe_playwright_python/axe.min.js")).read_text().replace("</script", "<\\/script")
    text = page.read_text()
    with tempfile.TemporaryDirectory(prefix="driftwarden-page-") as folder:
        copy = Path(folder) / page.name
        copy.write_text(text.replace("</body>", f"<script>{source}</script></body>"))
        violations = evaluate(
            copy,
            "axe.run().then((r)=>report(r.violations.map((v)=>v.id+' ('+v.nodes.length+'): '+v.help+': '+v.nodes[0].html.slice(0,200))))",
            dark=dark,
            width=width,
        )
    return violations
