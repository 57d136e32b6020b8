"""Compute statistics and drift of two files in Evidently, on pandas, with custom drift methods.

    python evidently_peer.py BASELINE CURRENT COLUMNS.json OUTPUT.json

Evidently's own Kolmogorov-Smirnov drift score is the p-value, and it has no largest difference of shares. Both distances
are registered as its documentation describes, the first with the SciPy test that Evidently calls too.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import MaxValue, MeanValue, MinValue, MissingValueCount, QuantileValue, StdValue, UniqueValueCount, ValueDrift
from scipy.stats import ks_2samp

# A distinct label in every fifth row: the report's plots and counts by label take minutes for such a column.
LEFT_OUT = {"customer"}


def ks_statistic(reference: pd.Series, current: pd.Series) -> float:
    return ks_2samp(reference, current).statistic


def l_infinity(reference: pd.Series, current: pd.Series) -> float:
    shares = reference.value_counts(normalize=True), current.value_counts(normalize=True)
    return shares[0].sub(shares[1], fill_value=0).abs().max()


def register(distance: Callable[[pd.Series, pd.Series], float], kind: ColumnType) -> str:
    def score(reference: pd.Series, current: pd.Series, kind: ColumnType, threshold: float) -> tuple[float, bool]:
        found = distance(reference, current)
        return found, found > threshold

    name = distance.__name__
    register_stattest(StatTest(name, name, [kind], default_threshold=0.1), score)
    return name


def read(file: str, categorical: list[str]) -> pd.DataFrame:
    if file.endswith(".parquet"):
        return pd.read_parquet(file)
    # Several times faster than pandas' own reader. Dates stay strings.
    text = pa.csv.ConvertOptions(column_types={column: pa.string() for column in categorical})
    return pa.csv.read_csv(file, convert_options=text).to_pandas()


def main() -> None:
    *files, columns, output = sys.argv[1:]
    asked = json.loads(Path(columns).read_text())
    numeric, categorical = asked["numeric"], [column for column in asked["categorical"] if column not in LEFT_OUT]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    baseline, current = (
        Dataset.from_pandas(read(file, asked["categorical"])[numeric + categorical], definition) for file in files
    )

    # Single metrics: presets for the same work compute the drift of each column three times, and plot it.
    metrics = [MissingValueCount(column=column) for column in numeric + categorical]
    for column in numeric:
        metrics += [kind(column=column) for kind in (MinValue, MaxValue, MeanValue, StdValue)]
        metrics += [QuantileValue(column=column, quantile=share) for share in (0.25, 0.5, 0.75)]
    metrics += [UniqueValueCount(column=column) for column in categorical]
    number, category = register(ks_statistic, ColumnType.Numerical), register(l_infinity, ColumnType.Categorical)
    metrics += [ValueDrift(column=column, method=number) for column in numeric]
    metrics += [ValueDrift(column=column, method=category) for column in categorical]
    # Each metric is computed for the baseline too. The report's JSON contains the current values.
    found = json.loads(Report(metrics).run(current, baseline).json())["metrics"]

    result: dict[str, dict] = {column: {"current": {}} for column in numeric + categorical}
    for metric in found:
        kind, of = metric["metric_name"].split("(")[0], metric["config"]
        if kind == "ValueDrift":
            result[of["column"]]["distance"] = metric["value"]
        else:
            name = f"{kind} {of['quantile']}" if kind == "QuantileValue" else kind
            result[of["column"]]["current"][name] = metric["value"]
    Path(output).write_text(json.dumps({"features": result}))


if __name__ == "__main__":
    main()
