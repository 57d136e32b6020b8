"""The model dashboard: pages of the function and of the command, in a browser. Screenshots are kept in target/screenshots."""

import json
import os
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from harness import browser
from harness.stack import ACCOUNT, REGION, ROOT
from harness.world import World, eventually, folder
from test_cli import driftwarden

NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
SCREENSHOTS = ROOT / "target/screenshots"
POLICY = """
[remediation]
decide_after = "0s"
close_after = 1
automation = "approve"
[alert]
datapoints_to_alert = 2
evaluation_period = 3
"""

in_a_browser = pytest.mark.skipif(
    browser.chromium() is None and not os.environ.get("CI"), reason="no Chromium is installed: apt-get install chromium"
)


@pytest.fixture(scope="module")
def world(pool: Any) -> World:
    return pool.borrow(POLICY, DashboardPages="on")


@pytest.fixture(scope="module")
def pages(world: World, reports, tmp_path_factory) -> Path:
    """Pages of a model that drifts, in a folder."""
    endpoint, schedule = "churn", "churn-data-quality"
    package = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/churn/7"
    world.card(endpoint, "Medium")
    world.stack.stand_in("transform_job", {
        "TransformJobName": "churn-nightly", "TransformJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:transform-job/churn-nightly",
        "TransformJobStatus": "Completed", "CreationTime": (NOW - timedelta(hours=3)).timestamp(),
    })
    world.stack.stand_in("lineage", {"chain": [
        {"type": "DataSet", "source": "s3://ml-data/train/october.csv"},
        {"type": "ModelPackage", "source": package},
    ]})
    for at in (5, 4):
        hour = NOW - timedelta(hours=at)
        world.put_events(world.job_event(folder(endpoint, schedule, hour), schedule))
    for at in (3, 2):
        hour = NOW - timedelta(hours=at)
        where = folder(endpoint, schedule, hour)
        # A feature with too little drift to be in the report.
        drift = {"version": 0.0, "features": [{"name": "total_night_minutes", "distance": 0.02 + at / 100, "threshold": 0.1}]}
        world.stack.client("s3").put_object(Bucket=world.reports, Key=f"{where}/drift.json", Body=json.dumps(drift))
        world.put_report(where, reports("data-quality-drift"))
    eventually(lambda: (world.model(endpoint) or {}).get("incident", {}).get("decision"), "a decision", 60)

    def kept() -> bool:
        found = world.pages()
        return b"AwaitingApproval" in found.get("dashboard/index.html", b"") and b"AwaitingApproval" in found.get("dashboard/models/churn.html", b"")

    # Marked pages are written every minute.
    eventually(kept, "pages with the decision", 180, 0.5)
    target = tmp_path_factory.mktemp("pages")
    for key, body in world.pages().items():
        path = target / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return target / "dashboard"


def test_pages_show_alert_and_decision(world: World, pages: Path):
    overview, model = (pages / "index.html").read_text(), (pages / "models/churn.html").read_text()
    for text in ("models/churn.html", "InAlert", "2 of 3, alert at 2", "churn-1", "risk medium", "churn-nightly", "Not configured: ModelQuality"):
        assert text in overview, text
    for text in ("driftwarden approve churn-1", "total_day_minutes", "0.2318", "total_night_minutes", "0.04", "constraint_violations.json", "the request expires at"):
        assert text in model, text
    head = world.stack.client("s3").head_object(Bucket=world.state, Key="dashboard/index.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
    assert not world.dead_letters.drain()


def test_pages_load_no_external_resources(pages: Path):
    for page in pages.rglob("*.html"):
        text = page.read_text()
        for loads in ("src=", "@import", "url(", "<link", "fetch("):
            assert loads not in text, f"{page.name} has {loads}"


def test_command_writes_same_pages(world: World, pages: Path, tmp_path: Path):
    done = driftwarden(world, "dashboard", "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done
    assert "1 model" in done.stdout
    assert "driftwarden approve churn-1" in (tmp_path / "out/models/churn.html").read_text()
    summary = driftwarden(world, "dashboard", "--json", "--output", str(tmp_path / "json"), "churn")
    assert json.loads(summary.stdout)["incident"]["id"] == "churn-1", summary


def test_command_reads_copy_of_state_bucket(world: World, pages: Path, tmp_path: Path):
    s3 = world.stack.client("s3")
    for entry in s3.list_objects_v2(Bucket=world.state)["Contents"]:
        path = tmp_path / "copy" / entry["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get_object(Bucket=world.state, Key=entry["Key"])["Body"].read())
    command = [ROOT / "target/debug/driftwarden", "dashboard", "--from", str(tmp_path / "copy"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert "AwaitingApproval" in (tmp_path / "out/index.html").read_text()


@in_a_browser
def test_takes_screenshots(pages: Path):
    looks = {"desktop": (1500, 1000, False), "dark": (1500, 1000, True), "phone": (500, 1600, False)}
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    for name, page in {"overview": pages / "index.html", "model": pages / "models/churn.html"}.items():
        for look, (width, height, dark) in looks.items():
            to = SCREENSHOTS / f"{name}-{look}.png"
            browser.screenshot(page, to, width, height if name == "overview" else 2600, dark)
            assert to.stat().st_size > 20_000, to
        browser.printed(page, SCREENSHOTS / f"{name}-printed.pdf")
        assert (SCREENSHOTS / f"{name}-printed.pdf").read_bytes().startswith(b"%PDF")


@in_a_browser
@pytest.mark.parametrize("dark", [False, True])
def test_pages_have_no_accessibility_violations(pages: Path, dark: bool):
    for page in (pages / "index.html", pages / "models/churn.html"):
        for width in (1400, 500):
            assert browser.accessibility(page, dark, width) == [], f"{page.name} at {width}"


@in_a_browser
def test_pages_fit_phone_width(pages: Path):
    for page in (pages / "index.html", pages / "models/churn.html"):
        wide = browser.evaluate(page, "report(document.documentElement.scrollWidth - document.documentElement.clientWidth)", width=500)
        assert wide <= 0, f"{page.name} is {wide} pixels too wide"


@in_a_browser
@pytest.mark.parametrize("width", [500, 1000, 1260, 1440, 1920])
def test_columns_of_overview_do_not_overlap(thousand: Path, width: int):
    script = """
    const cells = [...document.querySelectorAll("#models tbody tr")].slice(0, 20).flatMap((row) => [...row.cells]);
    report(cells.filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent));
    """
    assert browser.evaluate(thousand / "index.html", script, width=width) == []


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    """Pages of 1,000 generated models."""
    to = tmp_path_factory.mktemp("thousand")
    subprocess.run([ROOT / "target/debug/examples/fleet", to, "1000"], check=True, timeout=300, stdout=subprocess.DEVNULL)
    return to


def test_overview_of_1000_models_is_below_2_mb(thousand: Path):
    size = (thousand / "index.html").stat().st_size
    print(f"overview of 1,000 models: {size} bytes")
    assert size < 2_000_000


@in_a_browser
def test_overview_of_1000_models_searches_filters_and_sorts(thousand: Path):
    script = """
    const opened = Math.round(performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd);
    const set = (id, value, event) => { const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event(event)); };
    const shown = () => [...document.querySelectorAll("#models tbody tr")].filter((r) => !r.hidden);
    const all = shown().length;
    set("q", "churn-007", "input"); const found = shown().length;
    set("q", "", "input"); set("f", "a", "change"); const alerting = shown().every((r) => r.textContent.includes("InAlert")) && shown().length;
    set("f", "", "change"); set("s", "name", "change"); const first = shown()[0].dataset.k.split("|")[0];
    report({ opened, all, found, alerting, first, count: document.getElementById("shown").textContent });
    """
    result = browser.evaluate(thousand / "index.html", script)
    print(f"opened after {result['opened']} ms")
    assert result["all"] == 1000 and result["found"] == 1 and result["first"] == "ad-clicks", result
    assert result["alerting"] == 400 and result["count"] == "1000 of 1000 models", result
