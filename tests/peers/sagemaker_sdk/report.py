"""Makes the reports that test_sdk_reads.py reads: a dataset, a baseline of it, and a later dataset that drifted.

    python tests/peers/sagemaker_sdk/report.py FOLDER

Needs `driftwarden` on the path; writes FOLDER/baseline and FOLDER/report.
"""

import pathlib
import random
import subprocess
import sys


def dataset(path: pathlib.Path, seed: int, older: int) -> None:
    """5,000 people: numbers whole and fractional, a text, and some incomes missing."""
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
    analysed = subprocess.run(["driftwarden", "analyze", folder / "now.csv", "--baseline", folder / "baseline", "--output", folder / "report"], check=False)
    if analysed.returncode != 2:
        sys.exit(f"driftwarden analyze ended with {analysed.returncode}, and the data have drifted: it should be 2")


if __name__ == "__main__":
    main()
