"""Creates the reports for test_sdk_reads.py: a dataset, its baseline, and a later dataset with drift.

    python tests/peers/sagemaker_sdk/report.py FOLDER

Requires `driftwarden` in PATH. Writes FOLDER/baseline and FOLDER/report.
"""

import pathlib
import random
import subprocess
import sys


def dataset(path: pathlib.Path, seed: int, older: int) -> None:
    """5,000 people with an integer, a decimal number, and a string. Some incomes are missing."""
    rng = random.Random(seed)
    lines = ["age,plan,income"]
    for row in range(5000):
        income = f"{rng.lognormvariate(10, 1):.2f}" if row % 20 else ""
        lines.append(f"{rng.randint(18, 80) + older},{rng.choice(['basic', 'plus', 'family'])},{income}")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    dataset(folder / "then.csv", 1, 0)
    dataset(folder / "now.csv", 2, 15)
    subprocess.run(["driftwarden", "baseline", folder / "then.csv", "--output", folder / "baseline"], check=True)
    analyzed = subprocess.run(["driftwarden", "analyze", folder / "now.csv", "--baseline", folder / "baseline", "--output", folder / "report"], check=False)
    if analyzed.returncode != 2:
        sys.exit(f"error: driftwarden analyze has exit code {analyzed.returncode}: expected 2 (violations)")


if __name__ == "__main__":
    main()
