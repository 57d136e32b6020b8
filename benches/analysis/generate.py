"""Write baseline and current data of twenty mixed columns, as CSV and as Parquet. Half of the columns drift.

    python benches/analysis/generate.py --rows 1000000 --output target/bench-analysis/1000000

The same seed gives the same rows, whatever their number: each chunk has its own generator. Floats have as many
significant digits as exports of such columns, so that the files are as long as real ones.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

SEED, CHUNK = 20_260_901, 250_000
STATES = [f"S{n:02}" for n in range(50)]
# Some cities need quotes in CSV, as addresses do.
CITIES = [f"City {n}, District {n % 7}" if n % 10 == 0 else f"City {n}" for n in range(1000)]
PLANS = ["basic", "plus", "family", "business", "trial"]
FIRST_DAY = np.datetime64("2026-01-01")

# Columns by type, in the order of the file. Names of columns that drift end with `_drifts`.
NUMERIC = [
    "temperature", "score_drifts", "income", "latency_drifts", "returns", "size_drifts", "share", "wait_drifts",
    "age", "calls_drifts", "account", "amount_drifts", "active", "churned_drifts", "credit",
]  # fmt: skip
CATEGORICAL = ["plan_drifts", "state", "city_drifts", "customer", "day_drifts"]


def digits(values: np.ndarray, significant: int) -> np.ndarray:
    """Round values to a number of significant digits, as an export does."""
    with np.errstate(divide="ignore"):
        exponent = significant - 1 - np.floor(np.log10(np.abs(values)))
    power = 10.0 ** np.clip(np.abs(exponent), 0, 22)
    rounded = np.where(exponent >= 0, np.round(values * power) / power, np.round(values / power) * power)
    return np.where(values == 0, 0.0, rounded)


def falling(count: int, steepness: float) -> np.ndarray:
    """Shares of categories that decrease as a power of the rank."""
    weights = 1.0 / np.arange(1, count + 1) ** steepness
    return weights / weights.sum()


def pick(random: np.random.Generator, values: list[str], shares: np.ndarray, rows: int) -> pl.Series:
    codes = np.searchsorted(np.cumsum(shares)[:-1], random.random(rows), side="right")
    return pl.Series(values).gather(codes)


def chunk(number: int, rows: int, drifts: bool) -> pl.DataFrame:
    random = np.random.default_rng([SEED, int(drifts), number])
    d = float(drifts)
    credit = np.where(random.random(rows) < 0.05, np.nan, digits(random.normal(650, 80, rows), 5))
    days = FIRST_DAY + (random.integers(0, 90, rows) + int(30 * d))
    frame = {
        "temperature": digits(random.normal(18, 7, rows), 4),
        "score_drifts": random.normal(0.1 * d, 1, rows),
        "income": digits(random.lognormal(10, 0.6, rows), 7),
        "latency_drifts": digits(random.lognormal(3, 1 + 0.1 * d, rows), 10),
        "returns": random.standard_t(2, rows),
        "size_drifts": digits((random.pareto(1.5 - 0.1 * d, rows) + 1) * 100, 6),
        "share": digits(random.random(rows), 4),
        "wait_drifts": digits(random.exponential(30 * (1 + 0.2 * d), rows), 12),
        "age": random.integers(18, 90, rows),
        "calls_drifts": random.poisson(3 + 0.4 * d, rows),
        "account": random.integers(1_000_000, 2_000_000_000, rows),
        "amount_drifts": random.geometric(1 / (5_000 + 800 * d), rows),
        "active": (random.random(rows) < 0.8).astype(np.int64),
        "churned_drifts": (random.random(rows) < 0.14 + 0.04 * d).astype(np.int64),
        "credit": pl.Series(credit).fill_nan(None),
        "plan_drifts": pick(random, PLANS, np.array([0.5 - 0.1 * d, 0.2, 0.15, 0.1, 0.05 + 0.1 * d]), rows),
        "state": pick(random, STATES, falling(50, 0.8), rows),
        "city_drifts": pick(random, CITIES, falling(1000, 1 + 0.05 * d), rows),
        "customer": "C" + pl.Series(random.integers(100_000_000, 100_200_000, rows)).cast(pl.String),
        "day_drifts": pl.Series(days).cast(pl.String),
    }
    assert list(frame) == NUMERIC + CATEGORICAL
    return pl.DataFrame(frame)


def write(folder: Path, name: str, rows: int, drifts: bool) -> None:
    csv, parquet, writer = folder / f"{name}.csv", folder / f"{name}.parquet", None
    with csv.open("wb") as out:
        for number in range(-(-rows // CHUNK)):
            frame = chunk(number, min(CHUNK, rows - number * CHUNK), drifts)
            frame.write_csv(out, include_header=number == 0)
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(parquet, table.schema, compression="snappy")
            writer.write_table(table)
    if writer:
        writer.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    write(given.output, "baseline", given.rows, drifts=False)
    write(given.output, "current", given.rows, drifts=True)
    columns = {"rows": given.rows, "numeric": NUMERIC, "categorical": CATEGORICAL}
    # Written last: its presence means that the files are complete.
    (given.output / "columns.json").write_text(json.dumps(columns, indent=1) + "\n")


if __name__ == "__main__":
    main()
