"""Compute statistics and drift of two files in Polars: exact, on all cores.

    python polars_peer.py BASELINE CURRENT COLUMNS.json OUTPUT.json
"""

import json
import sys
from pathlib import Path

import polars as pl

SIDES = ("baseline", "current")


def read(file: str) -> pl.LazyFrame:
    """Read Parquet lazily, column by column, and CSV once."""
    return pl.scan_parquet(file) if file.endswith(".parquet") else pl.read_csv(file).lazy()


def numeric_statistics(ordered: pl.DataFrame) -> dict[str, dict]:
    """Statistics of sorted columns, in which a quantile is a lookup."""
    every = pl.all()
    asked = {
        "count": every.count(),
        "nulls": every.null_count(),
        "min": every.min(),
        "max": every.max(),
        "mean": every.mean(),
        "std_dev": every.std(ddof=0),
    }
    found = dict(zip(asked, pl.collect_all([ordered.lazy().select(expression) for expression in asked.values()])))
    result = {column: {name: row[column].item() for name, row in found.items()} for column in ordered.columns}
    for column, of in result.items():
        of["quantiles"] = ordered[column].gather([of["count"] * n // 10 for n in range(1, 10)]).to_list()
    return result


def largest_gap(ordered: dict[str, pl.DataFrame], column: str) -> pl.LazyFrame:
    """Largest gap between the two distribution functions: the two-sample Kolmogorov-Smirnov statistic."""
    x, b, c = pl.col("x"), pl.col("b"), pl.col("c")
    baseline, current = (
        ordered[side].lazy().select(x=pl.col(column), b=pl.lit(n == 0), c=pl.lit(n == 1)).drop_nulls().set_sorted("x")
        for n, side in enumerate(SIDES)
    )
    summed = baseline.merge_sorted(current, "x").select(x=x, b=b.cum_sum() / b.sum(), c=c.cum_sum() / c.sum())
    # Equal values count together, so only the last one of each is used.
    return summed.filter(x.ne_missing(x.shift(-1))).select((b - c).abs().max())


def categorical(counts: dict[str, pl.DataFrame]) -> dict:
    """Statistics and distance from the counts of each value on both sides."""
    found, shares = {}, []
    for side, of in counts.items():
        known = of.drop_nulls("value")
        top = known.top_k(10, by="len")
        count = known["len"].sum()
        found[side] = {"count": count, "nulls": of["len"].sum() - count, "distinct": known.height, "top": top.rows()}
        shares.append(known.select("value", share=pl.col("len") / count))
    both = shares[0].join(shares[1], on="value", how="full")
    gap = pl.col("share").fill_null(0) - pl.col("share_right").fill_null(0)
    return found | {"distance": both.select(gap.abs().max()).item()}


def main() -> None:
    *files, columns, output = sys.argv[1:]
    asked = json.loads(Path(columns).read_text())
    frames = {side: read(file) for side, file in zip(SIDES, files)}
    ordered = {side: frame.select(pl.col(asked["numeric"]).sort(nulls_last=True)).collect() for side, frame in frames.items()}
    statistics = {side: numeric_statistics(ordered[side]) for side in SIDES}
    gaps = pl.collect_all([largest_gap(ordered, column) for column in asked["numeric"]])
    result = {
        column: {side: statistics[side][column] for side in SIDES} | {"distance": gap.item()}
        for column, gap in zip(asked["numeric"], gaps)
    }
    del ordered
    counted = [frames[side].group_by(value=column).len() for column in asked["categorical"] for side in SIDES]
    counts = iter(pl.collect_all(counted))
    result |= {column: categorical({side: next(counts) for side in SIDES}) for column in asked["categorical"]}
    Path(output).write_text(json.dumps({"features": result}))


if __name__ == "__main__":
    main()
