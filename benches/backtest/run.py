"""Replay ten million datapoints through alert window and lifecycle on one core, and compare with a naive peer in Python.

    python benches/backtest/run.py

The peer only evaluates windows (no decisions, no lifecycle, no documents), on a tenth of the datapoints. Its time is given
per datapoint.
"""

import json
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
M, N = 3, 5
MONITORS, EXECUTIONS = 400, 2_500


def peer() -> tuple[float, int]:
    """Seconds per datapoint, and number of alerts, for a straightforward evaluation of M of N."""
    random, alerts, took = 0x20261123, 0, 0.0
    for _ in range(MONITORS):
        states = []
        for _ in range(EXECUTIONS):
            random = (random * 6364136223846793005 + 1442695040888963407) % 2**64
            states.append(random >> 40 & 15 == 0)
        begun = time.perf_counter()
        window: deque[bool] = deque(maxlen=N)
        in_alert = False
        for breaches in states:
            window.append(breaches)
            was, in_alert = in_alert, sum(window) >= M
            alerts += in_alert and not was
        took += time.perf_counter() - begun
    return took / (MONITORS * EXECUTIONS), alerts


def main() -> int:
    bench = ["cargo", "bench", "--quiet", "--locked", "-p", "driftwarden-backtest", "--bench", "replay"]
    ours = json.loads(subprocess.run(bench, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    seconds, _ = peer()
    theirs = seconds * 1e9
    print(f"backtest: {ours['datapoints']:,} datapoints through window and lifecycle in {ours['seconds']:.2f} s on one core")
    print(f"  {ours['nanoseconds_a_datapoint']:.0f} ns per datapoint, {ours['alerts']:,} alerts, {ours['retrainings']:,} retrainings")
    ratio = ours["nanoseconds_a_datapoint"] / theirs
    print(f"  only M of N, in Python: {theirs:.0f} ns per datapoint; the full replay takes {ratio:.1f} times as long")
    return 0


if __name__ == "__main__":
    sys.exit(main())
