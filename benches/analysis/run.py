"""Compare `driftwarden baseline` and `driftwarden analyze` with peers: statistics and drift of two files.

    python benches/analysis/run.py --driftwarden target/release/driftwarden

Every run is a whole process, from the files to a JSON file of results. The runs of all tools are interleaved. The script
prints medians, writes all runs to target/bench-analysis.json, and fails if exact tools disagree about a distance.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ["duckdb", "polars", "whylogs", "evidently"]
# Peers whose distances are estimates, with the reason.
ESTIMATES = {"whylogs": "sketches"}
# Disable the telemetry of peers.
ENVIRONMENT = os.environ | {"DO_NOT_TRACK": "1", "WHYLOGS_NO_ANALYTICS": "True"}
EXACT, CLOSE = 1e-9, 0.01
# GNU time. Without it, a peak is never below this script's own, because a process inherits the peak of its parent.
TIME = shutil.which("time")


class Run(NamedTuple):
    seconds: float
    cpu_seconds: float
    megabytes: float


class Failed(Exception):
    pass


def measured(commands: list[list[str]], allowed: tuple[int, ...] = (0,)) -> Run:
    """Run commands sequentially. Return the total time and the highest peak of resident memory."""
    seconds = cpu = megabytes = 0.0
    for command in commands:
        with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile("r") as peak:
            wrapped = [TIME, "--quiet", "--format", "%M", "--output", peak.name, *command] if TIME else command
            begun = time.perf_counter()
            process = subprocess.Popen(wrapped, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
            seconds += time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in allowed:
                output.seek(0)
                last = output.read().decode(errors="replace").strip().splitlines()[-1:]
                raise Failed(f"`{' '.join(command[:2])}` exited with {process.returncode}: {' '.join(last)}")
            kilobytes = int(peak.read()) if TIME else usage.ru_maxrss
        cpu += usage.ru_utime + usage.ru_stime
        megabytes = max(megabytes, kilobytes * 1024 / 1e6)
    return Run(seconds, cpu, megabytes)


def driftwarden(binary: Path, files: list[Path], work: Path) -> tuple[Run, dict[str, float]]:
    baseline, output = work / "driftwarden-baseline", work / "driftwarden"
    commands = [
        [str(binary), "baseline", str(files[0]), "--output", str(baseline)],
        [str(binary), "analyze", str(files[1]), "--baseline", str(baseline), "--output", str(output)],
    ]
    # Exit code 2: violations found.
    run = measured(commands, allowed=(0, 2))
    return run, driftwarden_distances(output)


def driftwarden_distances(output: Path) -> dict[str, float]:
    report = output / "drift.json"
    if not report.exists():
        return {}
    return {feature["name"]: feature["linf_simple"] for feature in json.loads(report.read_text())["features"]}


def peer(name: str, files: list[Path], work: Path) -> tuple[Run, dict[str, float]]:
    result = work / f"{name}.json"
    python, script = ROOT / f".venv/bench-{name}/bin/python", HERE / f"peers/{name}_peer.py"
    run = measured([[str(of) for of in (python, script, *files, files[0].parent / "columns.json", result)]])
    features = json.loads(result.read_text())["features"]
    return run, {column: of["distance"] for column, of in features.items() if of["distance"] is not None}


def version(name: str) -> str:
    lock = ROOT / f"tests/requirements/bench-{name}.txt"
    found = re.search(rf"^{name}==(\S+)", lock.read_text(), re.MULTILINE)
    return found[1] if found else ""


def data(rows: int) -> Path:
    folder = ROOT / f"target/bench-analysis/{rows}"
    made = [folder / "columns.json", HERE / "generate.py"]
    if not made[0].exists() or made[0].stat().st_mtime < made[1].stat().st_mtime:
        print(f"writing {rows:,} rows twice, as CSV and Parquet, to {folder.relative_to(ROOT)} …", file=sys.stderr)
        made[0].unlink(missing_ok=True)
        python = ROOT / ".venv/bench-polars/bin/python"
        subprocess.run([python, made[1], "--rows", str(rows), "--output", folder], check=True)
    return folder


class Measured(NamedTuple):
    runs: dict[str, list[Run]]
    distances: dict[str, dict[str, float]]
    left_out: dict[str, str]


def measure(files: list[Path], runs: int, names: list[str], binary: Path | None) -> Measured:
    found = Measured({name: [] for name in names}, {}, {})
    for number in range(runs):
        left = [name for name in names if name not in found.left_out]
        # Rotate the order, so that slow moments of the machine do not always affect the same tool.
        first = number % max(len(left), 1)
        for name in left[first:] + left[:first]:
            print(f"{files[0].suffix[1:]}, run {number + 1} of {runs}: {name} …", file=sys.stderr)
            with tempfile.TemporaryDirectory() as work:
                try:
                    if binary and name == "driftwarden":
                        run, found.distances[name] = driftwarden(binary, files, Path(work))
                    else:
                        run, found.distances[name] = peer(name, files, Path(work))
                except Failed as failed:
                    print(f"  {name} is excluded: {failed}", file=sys.stderr)
                    found.left_out[name] = str(failed)
                    continue
            found.runs[name].append(run)
    for name in found.left_out:
        del found.runs[name]
        found.distances.pop(name, None)
    return found


def summary(taken: dict[str, list[Run]]) -> dict[str, dict]:
    found = {
        name: {
            "version": "" if name == "driftwarden" else version(name),
            **{field: [getattr(run, field) for run in runs] for field in Run._fields},
            "median": {field: statistics.median(getattr(run, field) for run in runs) for field in Run._fields},
        }
        for name, runs in taken.items()
    }
    if ours := found.get("driftwarden"):
        for of in found.values():
            of["ratio_to_driftwarden"] = {field: of["median"][field] / ours["median"][field] for field in Run._fields}
    return found


def show(found: dict[str, dict]) -> None:
    print(f"  {'':<20} {'seconds':>8} {'from':>7} {'to':>7} {'ratio':>7} {'CPU s':>8} {'peak MB':>9} {'ratio':>7}")
    for name, of in found.items():
        median, ratio = of["median"], of.get("ratio_to_driftwarden")
        times, memory = (f"{ratio[field]:.1f}x" if ratio else "-" for field in ("seconds", "megabytes"))
        print(
            f"  {name + ' ' + of['version']:<20} {median['seconds']:>8.2f} {min(of['seconds']):>7.2f} {max(of['seconds']):>7.2f} {times:>7}"
            f" {median['cpu_seconds']:>8.2f} {median['megabytes']:>9.0f} {memory:>7}"
        )


def agreement(distances: dict[str, dict[str, float]], columns: list[str]) -> tuple[list[dict], bool]:
    """Largest difference of each pair of tools, and whether all exact tools agree."""
    pairs, agree = [], True
    for one, other in itertools.combinations(distances, 2):
        both = distances[one].keys() & distances[other].keys()
        if not both:
            continue
        difference, column = max((abs(distances[one][column] - distances[other][column]), column) for column in both)
        estimate = [f"{name}: {ESTIMATES[name]}" for name in (one, other) if name in ESTIMATES]
        limit = None if estimate else CLOSE if "driftwarden" in (one, other) else EXACT
        fits = limit is None or difference <= limit
        agree &= fits
        pairs.append({"of": [one, other], "largest_difference": difference, "column": column, "estimates": estimate, "agree": fits})
        note = f" ({', '.join(estimate)})" if estimate else ""
        print(f"  {one} and {other}: distances differ by at most {difference:.2g}, {column}{note}{'' if fits else ': DISAGREEMENT'}")
    for name, of in distances.items():
        if missing := [column for column in columns if column not in of]:
            print(f"  {name} has no distance for {', '.join(missing)}")
    return pairs, agree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driftwarden", type=Path, help="binary, built with `cargo build --profile bench -p driftwarden --no-default-features`")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--formats", nargs="+", default=["csv", "parquet"], choices=["csv", "parquet"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--output", type=Path, default=ROOT / "target/bench-analysis.json")
    given = parser.parse_args()
    binary = given.driftwarden.resolve() if given.driftwarden else None
    if binary and not binary.exists():
        parser.error(f"{binary} does not exist")
    names = (["driftwarden"] if binary else []) + given.peers
    columns = json.loads((data(given.rows) / "columns.json").read_text())
    report = {"rows": given.rows, "columns": 20, "cores": os.cpu_count(), "runs": given.runs, "formats": {}}
    agree = True
    for kind in given.formats:
        files = [data(given.rows) / f"{side}.{kind}" for side in ("baseline", "current")]
        taken = measure(files, given.runs, names, binary)
        size = files[1].stat().st_size / 1e6
        print(f"{kind}: {given.rows:,} rows of 20 columns in each of two files of {size:.0f} MB, {os.cpu_count()} cores, medians of {given.runs}")
        found = summary(taken.runs)
        show(found)
        for name, reason in taken.left_out.items():
            print(f"  {name} is excluded: {reason}")
        pairs, fits = agreement(taken.distances, columns["numeric"] + columns["categorical"])
        agree &= fits
        details = {"left_out": taken.left_out, "distances": taken.distances, "agreement": pairs}
        report["formats"][kind] = {"file_megabytes": size, "results": found, **details}
        print()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"results: {given.output}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
