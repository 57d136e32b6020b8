"""Profile two files with whylogs and compute its drift scores: from sketches, on one core.

    python whylogs_peer.py BASELINE CURRENT COLUMNS.json OUTPUT.json
"""

import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import whylogs
from whylogs.core.datatypes import Fractional, Integral, String
from whylogs.core.metrics import StandardMetric
from whylogs.core.resolvers import MetricSpec, ResolverSpec
from whylogs.core.schema import DeclarativeSchema
from whylogs.core.view.column_profile_view import ColumnProfileView
from whylogs.viz.drift.column_drift_algorithms import KS, ChiSquare, Hellinger

SIDES = ("baseline", "current")


def kept(kind: type, *names: str) -> ResolverSpec:
    return ResolverSpec(column_type=kind, metrics=[MetricSpec(StandardMetric[name].value) for name in names])


# Only the required metrics. By default, whylogs also sketches frequent values and the cardinality of numbers.
SCHEMA = DeclarativeSchema(
    [
        kept(Integral, "counts", "distribution"),
        kept(Fractional, "counts", "distribution"),
        kept(String, "counts", "cardinality", "frequent_items"),
    ]
)


def read(file: str, categorical: list[str]) -> pd.DataFrame:
    if file.endswith(".parquet"):
        return pd.read_parquet(file)
    # Several times faster than pandas' own reader. Dates stay strings.
    text = pa.csv.ConvertOptions(column_types={column: pa.string() for column in categorical})
    return pa.csv.read_csv(file, convert_options=text).to_pandas()


def numeric(columns: dict[str, ColumnProfileView]) -> dict:
    found: dict = {}
    for side, column in columns.items():
        distribution = column.get_metric("distribution")
        found[side] = {
            "count": distribution.n,
            "nulls": column.get_metric("counts").null.value,
            "min": distribution.min,
            "max": distribution.max,
            "mean": distribution.mean.value,
            "std_dev": distribution.stddev,
            "quantiles": distribution.kll.value.get_quantiles([n / 10 for n in range(1, 10)]),
        }
    pair = columns["current"], columns["baseline"]
    return found | {"distance": KS().calculate(*pair).statistic, "hellinger": Hellinger().calculate(*pair).statistic}


def categorical(columns: dict[str, ColumnProfileView]) -> dict:
    """whylogs scores categories by chi-square. The largest difference of shares covers the values that it keeps."""
    found, shares = {}, []
    for side, column in columns.items():
        of = column.to_summary_dict()
        frequent = of["frequent_items/frequent_strings"]
        count = of["counts/n"] - of["counts/null"]
        top = [(item.value, item.est) for item in frequent[:10]]
        found[side] = {"count": count, "nulls": of["counts/null"], "distinct": of["cardinality/est"], "top": top}
        shares.append({item.value: item.est / count for item in frequent})
    gaps = [abs(shares[0].get(value, 0) - shares[1].get(value, 0)) for value in {*shares[0], *shares[1]}]
    chi_square = ChiSquare().calculate(columns["current"], columns["baseline"])
    # whylogs keeps no values of a column whose values are all rare.
    return found | {"distance": max(gaps, default=None), "chi_square_pvalue": chi_square.pvalue if chi_square else None}


def main() -> None:
    *files, columns, output = sys.argv[1:]
    asked = json.loads(Path(columns).read_text())
    views = {
        side: whylogs.log(pandas=read(file, asked["categorical"]), schema=SCHEMA).profile().view()
        for side, file in zip(SIDES, files)
    }
    result = {}
    for kind, names in ((numeric, asked["numeric"]), (categorical, asked["categorical"])):
        result |= {name: kind({side: view.get_column(name) for side, view in views.items()}) for name in names}
    Path(output).write_text(json.dumps({"features": result}))


if __name__ == "__main__":
    main()
