"""A headless Chromium that looks at pages: screenshots, print, accessibility by axe-core, and how long a page takes."""

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
    """The browser of this machine, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def run(*arguments: str, dark: bool = False, width: int = 1400, height: int = 900) -> str:
    """Runs the browser once, with a profile of its own, and returns what it wrote."""
    browser = chromium()
    assert browser, "no Chromium is installed"
    with tempfile.TemporaryDirectory(prefix="driftwarden-browser-") as profile:
        command = [
            browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}",
            f"--window-size={width},{height}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        ]
        if os.geteuid() == 0:
            # Chromium's sandbox refuses root, which containers run as.
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


def told(page: Path, script: str, dark: bool = False, width: int = 1400) -> Any:
    """What a script says once the page is loaded: it calls `tell` with something that JSON can hold."""
    text = page.read_text()
    tell = (
        "<script>const tell=(what)=>{const p=document.createElement('pre');p.id='told';p.textContent=JSON.stringify(what);"
        f"document.body.append(p)}};addEventListener('load',()=>setTimeout(()=>{{{script}}},0))</script>"
    )
    with tempfile.TemporaryDirectory(prefix="driftwarden-page-") as folder:
        copy = Path(folder) / page.name
        copy.write_text(text.replace("</body>", tell + "</body>"))
        dom = run("--virtual-time-budget=60000", "--dump-dom", copy.as_uri(), dark=dark, width=width)
    found = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the page's script said nothing"
    return json.loads(html.unescape(found.group(1)))


def accessibility(page: Path, dark: bool = False, width: int = 1400) -> list[str]:
    """The violations that axe-core finds, each in words."""
    source = next(AXE.glob("python*/site-packages/axe_playwright_python/axe.min.js")).read_text().replace("</script", "<\\/script")
    text = page.read_text()
    with tempfile.TemporaryDirectory(prefix="driftwarden-page-") as folder:
        copy = Path(folder) / page.name
        copy.write_text(text.replace("</body>", f"<script>{source}</script></body>"))
        violations = told(
            copy,
            "axe.run().then((r)=>tell(r.violations.map((v)=>v.id+' ('+v.nodes.length+'): '+v.help+': '+v.nodes[0].html.slice(0,200))))",
            dark=dark,
            width=width,
        )
    return violations
