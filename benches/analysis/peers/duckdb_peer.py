"""Compute statistics and drift of two files in DuckDB's SQL: exact, on all cores.

    python duckdb_peer.py BASELINE CURRENT COLUMNS.json OUTPUT.json
"""

import json
import sys

import duckdb

DECILES = [n / 10 for n in range(1, 10)]
SIDES = ("baseline", "current")


def numeric_statistics(database: duckdb.DuckDBPyConnection, side: str, columns: list[str]) -> dict[str, dict]:
    """Statistics of all columns in one pass."""
    names = ["count", "min", "max", "mean", "std_dev", "quantiles", "distinct"]
    asked = ", ".join(
        f"count({c}), min({c}), max({c}), avg({c}), stddev_pop({c}), quantile_disc({c}, {DECILES}), approx_count_distinct({c})"
        for c in columns
    )
    rows, *values = database.execute(f"select count(*), {asked} from {side}").fetchone()
    width = len(names)
    found = {c: dict(zip(names, values[n * width : (n + 1) * width])) for n, c in enumerate(columns)}
    return {c: of | {"nulls": rows - of["count"]} for c, of in found.items()}


def largest_gap(database: duckdb.DuckDBPyConnection, column: str, statistics: dict[str, dict]) -> float:
    """Largest gap between the two distribution functions: the two-sample Kolmogorov-Smirnov statistic."""
    b, c = (statistics[side]["count"] for side in SIDES)
    union = f"""select {column} as x, 1 as b, 0 as c from baseline where {column} is not null
        union all select {column}, 0, 1 from current where {column} is not null"""
    # Grouping first is faster if values repeat. Without it, a window over RANGE counts equal values together.
    if max(statistics[side]["distinct"] for side in SIDES) < (b + c) / 10:
        union = f"select x, sum(b)::bigint as b, sum(c)::bigint as c from ({union}) group by x"
    query = f"select max(abs(b / {b} - c / {c})) from (select sum(b) over w as b, sum(c) over w as c from ({union}) window w as (order by x))"
    return database.execute(query).fetchone()[0]


def categorical(database: duckdb.DuckDBPyConnection, column: str) -> dict:
    database.execute(f"""create or replace temp table counts as
        select {column} as value, count(*) filter (side = 0) as b, count(*) filter (side = 1) as c
        from (select {column}, 0 as side from baseline union all select {column}, 1 from current) group by all""")
    found = {}
    for side, n in (("baseline", "b"), ("current", "c")):
        nulls, count, distinct = database.execute(
            f"""select coalesce(sum({n}) filter (value is null), 0)::bigint, sum({n}) filter (value is not null)::bigint,
            count(value) filter ({n} > 0) from counts"""
        ).fetchone()
        top = database.execute(f"select value::varchar, {n} from counts where value is not null order by {n} desc, value limit 10").fetchall()
        found[side] = {"count": count, "nulls": nulls, "distinct": distinct, "top": top}
    b, c = (found[side]["count"] for side in SIDES)
    distance = database.execute(f"select max(abs(b / {b} - c / {c})) from counts where value is not null").fetchone()[0]
    return found | {"distance": distance}


def main() -> None:
    *files, columns, output = sys.argv[1:]
    asked = json.loads(open(columns).read())
    database = duckdb.connect()
    for side, file in zip(SIDES, files):
        # Parquet is read lazily, column by column; CSV is read once.
        kept = "view" if file.endswith(".parquet") else "table"
        database.execute(f"create {kept} {side} as from '{file}'")
    numeric = {side: numeric_statistics(database, side, asked["numeric"]) for side in SIDES}
    result = {}
    for column in asked["numeric"]:
        of = {side: numeric[side][column] for side in SIDES}
        result[column] = of | {"distance": largest_gap(database, column, of)}
    result |= {column: categorical(database, column) for column in asked["categorical"]}
    with open(output, "w") as out:
        json.dump({"features": result}, out)


if __name__ == "__main__":
    main()
