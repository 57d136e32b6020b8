"""Results of smclarify 0.5 for lines of `driftwarden compute bias` and `compute bias-report`.

    python3 -m venv /tmp/bias && /tmp/bias/bin/pip install -r tests/peers/requirements-bias.txt
    /tmp/bias/bin/python tests/peers/bias.py metrics > crates/analysis/tests/fixtures/bias-metrics.jsonl
    /tmp/bias/bin/python tests/peers/bias.py report > crates/analysis/tests/fixtures/bias-report.jsonl

Each line is {"line": input of the command, "answer": result of smclarify}. The third argument is the number of cases, the fourth the seed.
pandas must be below 3, because smclarify fails on string columns with pandas 3.

Flip tests with 10 or 11 rows, or 2 or 3, outside the facet are left out. For ties, scikit-learn's result depends on the processor there,
because it multiplies matrices, or sorts partially, with vector instructions.
"""

import inspect
import json
import logging
import random
import sys
import warnings

import numpy as np
import pandas as pd
from smclarify.bias import metrics as smclarify_metrics
from smclarify.bias.report import FacetColumn, LabelColumn, StageType, bias_report

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


def number(value):
    value = float(value)
    return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), value)


BY_PROCESSOR = (2, 3, 10, 11)


def answer_metrics(line):
    facet, label = (pd.Series(line[name], dtype=bool) for name in ("facet", "label"))
    predicted = pd.Series(line["predicted"], dtype=bool) if line.get("predicted") is not None else None
    arguments = {
        "df": pd.DataFrame(line.get("features") or {}, index=facet.index),
        "feature": facet,
        "sensitive_facet_index": facet,
        "label": label,
        "positive_label_index": label,
        "predicted_label": predicted,
        "positive_predicted_label_index": predicted,
        "group_variable": pd.Series(line["group"]) if line.get("group") is not None else None,
    }
    stages = list(smclarify_metrics.PRETRAINING_METRICS)
    if predicted is not None:
        stages += smclarify_metrics.POSTTRAINING_METRICS
    values, errors = {}, {}
    for metric in stages:
        name = metric.__name__
        if name == "FT" and line.get("features") and line["facet"].count(0) in BY_PROCESSOR:
            continue
        wanted = inspect.signature(metric).parameters
        try:
            values[name] = number(metric(**{key: arguments[key] for key in wanted}))
        except Exception as error:
            errors[name] = str(error)[:60]
    return {"metrics": values, "errors": errors}


def answer_report(line):
    answer = {}
    try:
        df = pd.DataFrame(line["columns"])
        values = line["facet_values_or_threshold"]
        positive = line["label_values_or_threshold"]
        positive = positive if isinstance(positive, list) else [positive]
        group = df[line["group_variable"]] if line["group_variable"] is not None else None
        predicted = line["predicted_label"]
        stages = [("pre_training", StageType.PRE_TRAINING)]
        if predicted is not None:
            stages.append(("post_training", StageType.POST_TRAINING))
        for name, stage in stages:
            report = bias_report(
                df,
                FacetColumn(line["facet"], list(values) if values is not None else None),
                LabelColumn(line["label"], df[line["label"]], list(positive)),
                stage,
                LabelColumn(predicted, df[predicted], list(positive)) if predicted is not None else None,
                group_variable=group,
            )
            answer[name] = [
                {
                    "value_or_threshold": facet["value_or_threshold"],
                    "metrics": [
                        {"name": m["name"], "value": m["value"]}
                        if m["value"] is not None
                        else {"name": m["name"], "value": None, "error": m["error"][:60]}
                        for m in facet["metrics"]
                    ],
                }
                for facet in report
            ]
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:100]}
    return answer


def features(rng, n):
    makers = [
        lambda: [rng.randint(0, 3) for _ in range(n)],
        lambda: [rng.randint(18, 80) for _ in range(n)],
        lambda: [round(rng.gauss(0, 1), 2) for _ in range(n)],
        lambda: [round(rng.uniform(0, 9), 1) for _ in range(n)],
        lambda: [rng.random() < 0.5 for _ in range(n)],
    ]
    count = rng.choice([1, 1, 2, 2, 3, 4] + ([17] if n < 60 else []))
    chosen = {f"x{i}": rng.choice(makers)() for i in range(count)}
    if rng.random() < 0.04:
        chosen["x0"][rng.randrange(n)] = None
    return chosen


def flags(rng, n, share=None):
    share = rng.choice([0, 0.05, 0.3, 0.5, 0.5, 0.7, 0.95, 1]) if share is None else share
    return [int(rng.random() < share) for _ in range(n)]


def metrics_line(rng):
    n = rng.choice([1, 2, 3, 5, 9, 12, 16, 20, 25, 40, 60, 80, 130, 240])
    line = {"facet": flags(rng, n), "label": flags(rng, n)}
    if rng.random() < 0.85:
        line["predicted"] = flags(rng, n) if rng.random() < 0.5 else [
            y if rng.random() < 0.7 else 1 - y for y in line["label"]
        ]
    if rng.random() < 0.6:
        values = rng.choice([["a", "b"], ["x"], ["u", "v", "w"], [0, 1, 2], [1.5, 2.5, None], ["a", None], ["a", 1]])
        line["group"] = [rng.choice(values) for _ in range(n)]
    if rng.random() < 0.6:
        line["features"] = features(rng, n)
    return line


def facet_column(rng, n):
    """A facet and its selected values."""
    def pick(values):
        return [rng.choice(values) for _ in range(n)]

    kind = rng.choice(["text", "text", "code", "code", "bool", "age", "age", "age", "score", "score", "text code",
                       "text age", "null", "mixed", "negative", "odd"])
    if kind == "text":
        return pick(["f", "m", "x"]), rng.choice([None, None, [], ["f"], ["f", "x"], ["zz"], [1], ["f", 1], [None]])
    if kind == "code":
        return pick([0, 1, 2]), rng.choice([None, [0], [1], [1, 2], ["1"], ["1.0"], [1.0], [True], ["x"], [7], [1.5],
                                            ["1.5", 2], [None], [1, "a"], ["2", "0"], [1e300], [False, True]])
    if kind == "bool":
        return pick([True, False]), rng.choice([None, [True], [False], [1], [0], ["True"], [""], [True, False], [0.0]])
    if kind == "age":
        return [rng.randint(20, 60) for _ in range(n)], rng.choice(
            [None, [40], [40.0], ["40"], [60], [59.5], [75], [-1], [True], ["old"], [None], [30, 40], [" 4_0 "], [1e16]])
    if kind == "score":
        return [round(rng.gauss(1, 2), rng.choice([1, 3, 3, 15])) for _ in range(n)], rng.choice(
            [None, [0.5], [1], ["0.25"], [1e-5], [100], [-9.5], [0.5, 1.0], ["1e0"]])
    if kind == "text code":
        return pick(["0", "1"]), rng.choice([None, ["0"], [1], [1.0], ["0", "1"], [True]])
    if kind == "text age":
        return [str(rng.randint(20, 60)) for _ in range(n)], rng.choice([None, [40], ["40"], [33.3], ["40", "41"], ["x"]])
    if kind == "null":
        values = rng.choice([["f", "m", None], [True, False, None], [1, 2, None], [0.5, 1.5, None], [None], ["1", "2", None]])
        return pick(values), rng.choice([None, [values[0]], [1], ["f"], [True], [1, 2], ["q"], ["1"], [1.5, "2"]])
    if kind == "mixed":
        values = rng.choice([["a", 1, 2.5], [1, True, "b"], [True, 2], [1.5, "2"], [1, 2.5, True], [True, 0.5], ["3", 3]])
        return pick(values), rng.choice([None, [1], ["a"], [True], [2.5], ["1"], [1, "a"], [2], ["zz"], [3, "3"], [0.75]])
    if kind == "negative":
        return [-rng.randint(2, 30) for _ in range(n)], rng.choice([[-10], [2], [3], [-10.5], [0]])
    values = rng.choice([["1_0", "2"], [" 1", "2 "], ["+5", "6"], ["5.0", "6"], ["99999999999999999999", "2"], ["", "1"],
                         ["nan", "1"], [1e17, 1e-7], [9007199254740993, 5]])
    return pick(values), rng.choice([None, [values[0]], [1], ["1"], [5], [1e-7], [10]])


def label_columns(rng, n):
    """Label, predicted label, and positive values."""
    kind = rng.choice(["code", "code", "code", "code", "text", "text", "bool", "score", "grade", "null", "odd"])
    if kind == "code" and n <= 40 and rng.random() < 0.8:
        kind = "text"  # so few codes are continuous, and none is above the threshold 1
    share = rng.choice([0.1, 0.3, 0.5, 0.5, 0.9])
    y = flags(rng, n, share)
    h = [v if rng.random() < 0.75 else 1 - v for v in y] if rng.random() < 0.9 else flags(rng, n)
    if kind == "code":
        return y, h, rng.choice([[1], [1], [1], [0], [0.5], 1, ["1"], [2], [0, 1], []])
    if kind == "text":
        names = {0: "no", 1: "yes"}
        return [names[v] for v in y], [names[v] for v in h], rng.choice([["yes"], ["yes"], "yes", ["no"], ["yes", "no"], [1]])
    if kind == "bool":
        if rng.random() < 0.3:
            return [bool(v) for v in y], h, rng.choice([[True], [1], ["True"], [0, 1]])
        return [bool(v) for v in y], [bool(v) for v in h], rng.choice([[True], [False], [1], ["True"], [0]])
    if kind == "score":
        s = [round(v + rng.random(), 3) for v in y]
        p = [round(v + rng.random(), 2) for v in h] if rng.random() < 0.8 else [v + rng.randint(0, 2) for v in h]
        return s, p, rng.choice([[0.5], [1], ["1"], 1.2, [5], [0.5, 1.0]])
    if kind == "grade":
        s = [rng.randint(0, 9) for _ in range(n)]
        p = [min(9, max(0, v + rng.randint(-2, 2))) for v in s]
        if rng.random() < 0.3:
            p = [v + rng.random() for v in p]
        if rng.random() < 0.2:
            s, p = [str(v) for v in s], [str(int(v)) for v in p]
        return s, p, rng.choice([[5], [5], [4.5], ["6"], [7, 8, 9], ["7", "8"]])
    if kind == "null":
        names = rng.choice([{0: "no", 1: "yes"}, {0: 0, 1: 1}, {0: False, 1: True}, {0: None, 1: 1.5}])
        def holes(values):
            return [names[v] if rng.random() < 0.9 else None for v in values]
        return holes(y), holes(h) if rng.random() < 0.5 else [names[v] for v in h], rng.choice([["yes"], [1], [True], [0.5], [0]])
    return y, [str(v) for v in h], rng.choice([[1], ["1"], [0, 1]])


def report_line(rng):
    n = rng.choice([1, 3, 8, 15, 25, 40, 41, 41, 45, 60])
    facet, values = facet_column(rng, n)
    label, predicted, positive = label_columns(rng, n)
    columns = [("facet", facet), ("label", label), ("predicted", predicted)]
    line = {"group_variable": None}
    if rng.random() < 0.5:
        groups = rng.choice([["a", "b"], ["a", "b"], [0, 1], [0, 1, 2], [0.5, 1.5, None], ["a", None], [True, False], ["a", 1],
                             [True, 2]])
        columns.append(("group", [rng.choice(groups) for _ in range(n)]))
        line["group_variable"] = "group"
    columns += list(features(rng, n).items()) if rng.random() < 0.85 else []
    if rng.random() < 0.05:
        columns.append(("note", [rng.choice("pq") for _ in range(n)]))
    rng.shuffle(columns)
    names = {"facet": "facet", "label": "label", "predicted_label": "predicted"}
    odd = rng.random()
    if odd < 0.02:
        names["facet"] = "label"
    elif odd < 0.03:
        names["facet"] = "predicted"
    elif odd < 0.05:
        names["predicted_label"] = "label"
    elif odd < 0.06:
        names[rng.choice(list(names))] = "absent"
    elif odd < 0.09:
        names["predicted_label"] = None
    return {
        "columns": dict(columns),
        "facet_values_or_threshold": values,
        "label_values_or_threshold": positive,
        **names,
        **line,
    }


def drop_by_processor(line, answer):
    """Removes flip tests whose result depends on the processor."""
    for before, after in zip(answer.get("pre_training", []), answer.get("post_training", [])):
        imbalance = next(m["value"] for m in before["metrics"] if m["name"] == "CI")
        rows = len(line["columns"][line["label"]])
        if imbalance is not None and round(rows * (1 + imbalance) / 2) in BY_PROCESSOR:
            after["metrics"] = [m for m in after["metrics"] if m["name"] != "FT"]


def main():
    part = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else {"metrics": 250, "report": 215}[part]
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 5)
    for _ in range(count):
        if part == "metrics":
            line = metrics_line(rng)
            answer = answer_metrics(line)
        else:
            line = report_line(rng)
            answer = answer_report(json.loads(json.dumps(line)))
            drop_by_processor(line, answer)
        print(json.dumps({"line": line, "answer": answer}, separators=(",", ":")))


main()
