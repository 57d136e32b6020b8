"""Distances computed by SciPy and statsmodels, one case per line.

    pip install -r tests/peers/requirements-distances.txt
    python tests/peers/distances.py > crates/analysis/tests/fixtures/distances.jsonl

A case is {"kind", ...input..., "expected": {...}}. Kinds: `numeric` and `categorical` are lines of `driftwarden compute drift`; `weighted` is
`numeric` with [value, rows] instead of rows; `ks_pvalue` is the p-value of a statistic and two row counts; `control` is the
Benjamini-Hochberg procedure.

SciPy has no function for the robust correction, the stability index, Deequ's regrouping, and the bins. These are computed here by their
definitions, with NumPy.
"""

import json
import math
import sys
import warnings

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon
from statsmodels.stats.multitest import multipletests

warnings.simplefilter("ignore")
random = np.random.default_rng(20240611)


def number(value):
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def write(kind, asked, expected):
    expected = {name: number(value) for name, value in expected.items()}
    print(json.dumps({"kind": kind, **asked, "expected": expected}, separators=(",", ":"), ensure_ascii=False))


def robust(simple, n, m):
    return max(0.0, simple - 1.8 * math.sqrt((n + m) / (n * m)))


def stability(p, q):
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return np.sum((p - q) * np.log(p / q))


def binned(sample, baseline):
    distinct = np.unique(baseline)
    if len(distinct) <= 20 and len(baseline) >= 2 * len(distinct):
        known = [np.sum(sample == value) for value in distinct]
        expected = [np.sum(baseline == value) for value in distinct]
        return np.array(known + [len(sample) - sum(known)]), np.array(expected + [0])
    cuts = np.unique(np.quantile(baseline, np.arange(1, 10) / 10, method="inverted_cdf"))
    places = len(cuts) + 1
    return (
        np.bincount(np.searchsorted(cuts, sample, side="left"), minlength=places),
        np.bincount(np.searchsorted(cuts, baseline, side="left"), minlength=places),
    )


def numeric(sample, baseline, weighted=False):
    sample, baseline = np.asarray(sample, dtype=float), np.asarray(baseline, dtype=float)
    test = stats.ks_2samp(sample, baseline)
    p, q = binned(sample, baseline)
    p, q = p / len(sample), q / len(baseline)
    statistic = test.statistic
    expected = {
        "linf_simple": statistic,
        "linf_robust": robust(statistic, len(sample), len(baseline)),
        "ks_statistic": statistic,
        "ks_pvalue": test.pvalue,
        "psi": stability(p, q),
        "jensen_shannon": jensenshannon(p, q),
        "wasserstein": stats.wasserstein_distance(sample, baseline),
    }
    if weighted:
        counts = [[[float(v), int(c)] for v, c in zip(*np.unique(x, return_counts=True))] for x in (sample, baseline)]
        write("weighted", {"sample": counts[0], "baseline": counts[1]}, expected)
    else:
        write("numeric", {"sample": sample.tolist(), "baseline": baseline.tolist()}, expected)


def regrouped(sample, baseline):
    known = sum(sample.get(name, 0) for name in baseline)
    total = sum(baseline.values())
    cells = [[sample.get(name, 0), count / total * known] for name, count in sorted(baseline.items())]
    while len(cells) >= 2:
        limit, allowed = (5, int(0.2 * len(cells))) if len(cells) > 2 else (10, 0)
        if sum(expected < limit for _, expected in cells) <= allowed:
            break
        smallest = cells.pop(min(range(len(cells)), key=lambda i: cells[i][1]))
        into = cells[min(range(len(cells)), key=lambda i: cells[i][1])]
        into[0] += smallest[0]
        into[1] += smallest[1]
    return cells


def categorical(sample, baseline):
    n, m = sum(sample.values()), sum(baseline.values())
    names = sorted(set(sample) | set(baseline))
    p = np.array([sample.get(name, 0) / n for name in names])
    q = np.array([baseline.get(name, 0) / m for name in names])
    simple = np.max(np.abs(p - q))
    cells = regrouped(sample, baseline)
    if len(cells) < 2:
        test = (math.nan, math.nan)
    else:
        observed, expected = np.array(cells).T
        test = stats.chisquare(observed, expected * (observed.sum() / expected.sum()))
    expected = {
        "linf_simple": simple,
        "linf_robust": robust(simple, n, m),
        "chi2_statistic": test[0],
        "chi2_pvalue": test[1],
        "psi": stability(p, q),
        "jensen_shannon": jensenshannon(p, q),
    }
    write("categorical", {"sample": sample, "baseline": baseline}, expected)


def numeric_cases():
    numeric([1], [1])
    numeric([1], [2])
    numeric([1], [0, 1, 2])
    numeric([1, 1, 1], [1])
    numeric([3, 1, 2], [1, 2, 3])
    numeric([-0.0, 0.0], [0.0])
    numeric([1, 2, 3], [4, 5, 6, 7])
    numeric([0, 2, 4, 6, 8], [1, 3, 5, 7, 9])
    numeric([1e308, -1e308], [1e-308, 5e-324, 0])
    numeric([0.1 + 0.2], [0.3])
    numeric(np.arange(7) * 2, np.arange(7) * 2 + 1)
    for n, m in [(1, 5), (5, 1), (2, 3), (4, 6), (7, 7), (10, 10), (12, 18), (25, 40), (33, 32), (60, 60), (80, 120)]:
        for shift in (0, 0.4, 1.5):
            numeric(np.round(random.normal(shift, 1, n), 3), np.round(random.normal(0, 1, m), 3))
        numeric(random.poisson(3, n), random.poisson(4, m))
        numeric(random.integers(0, 2, n), random.integers(0, 2, m))
        numeric(random.integers(-5, 30, n), random.integers(-4, 31, m))
        numeric(np.round(random.exponential(1, n), 1), np.round(random.lognormal(0, 1, m), 1))
    for n, m in [(400, 500), (500, 500), (1000, 999), (2000, 4000), (3001, 2003), (9999, 10000), (10000, 10000)]:
        numeric(random.poisson(3, n), random.poisson(3.2, m), weighted=True)
        numeric(random.binomial(60, 0.5, n), random.binomial(60, 0.503, m), weighted=True)
        numeric(random.binomial(1, 0.1, n), random.binomial(1, 0.13, m), weighted=True)
        numeric(np.round(random.normal(0, 1, n), 1), np.round(random.normal(0.05, 1, m), 1), weighted=True)
    for n, m in [(10001, 5), (20000, 1), (10001, 300), (30000, 150), (20000, 9000), (50000, 60000), (300000, 200000)]:
        numeric(random.poisson(3, n), random.poisson(3.02, m), weighted=True)
        numeric(np.round(random.normal(0, 1, n), 1), np.round(random.normal(0, 1, m), 1), weighted=True)
        numeric(random.binomial(1, 0.1, n), random.binomial(1, 0.1, m), weighted=True)
        numeric(random.integers(0, 5, n), random.integers(10, 12, m), weighted=True)


def ks_pvalue_cases():
    # Exact p-values: two samples whose statistic is a chosen number of steps.
    for n, m in [(1, 1), (1, 2), (2, 2), (3, 4), (5, 5), (6, 7), (7, 7), (9, 6), (13, 21), (30, 30), (50, 75), (64, 48),
                 (100, 100), (99, 101), (150, 400), (1000, 1000), (1000, 10), (997, 1009), (4000, 2000)]:
        lcm = math.lcm(n, m)
        for part in (1 / lcm, 0.05, 0.1, 0.3, 0.5, 0.8, 1):
            # Only the rows below 0 differ between the samples.
            low = round(part * n)
            sample = np.r_[-np.ones(low), np.ones(n - low)]
            test = stats.ks_2samp(sample, np.ones(m))
            asked = {"statistic": float(test.statistic), "sample": n, "baseline": m}
            write("ks_pvalue", asked, {"pvalue": test.pvalue})
    # Larger samples: SciPy's distribution for each choice of its method.
    for n, m in [(20000, 1), (20000, 2), (10001, 11), (30000, 100), (50000, 141), (12000, 12000), (200000, 300000),
                 (10**6, 10**6), (10**7, 3 * 10**6)]:
        rows = np.round(n * m / (n + m))
        for scaled in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1, 1.2, 1.4, 1.48, 1.49, 1.6, 2, 2.5, 4, 8, 15, 19):
            statistic = scaled / math.sqrt(rows)
            if statistic <= 1:
                asked = {"statistic": statistic, "sample": n, "baseline": m}
                write("ks_pvalue", asked, {"pvalue": stats.kstwo.sf(statistic, rows)})
        for statistic in (0, 0.4 / rows, 0.6 / rows, 1 / rows, 1.5 / rows, 0.3, 0.5, 0.7, 1 - 0.5 / rows, 1):
            asked = {"statistic": statistic, "sample": n, "baseline": m}
            write("ks_pvalue", asked, {"pvalue": stats.kstwo.sf(statistic, rows)})


def categorical_cases():
    categorical({"a": 1}, {"a": 1})
    categorical({"a": 5}, {"b": 5})
    categorical({"a": 50}, {"a": 100, "b": 100})
    categorical({"a": 50, "b": 50}, {"a": 100})
    categorical({"a": 30, "b": 70}, {"a": 50, "b": 50})
    categorical({"a": 3, "b": 7}, {"a": 50, "b": 50})
    categorical({"a": 3, "b": 7, "c": 90}, {"a": 50, "b": 50, "c": 900})
    categorical({"new": 40, "a": 30, "b": 30}, {"a": 100, "b": 110, "gone": 40})
    categorical({"a": 5 * 10**9, "b": 10**10}, {"a": 10**12, "b": 2 * 10**12 + 10**7})
    categorical({"": 12, "ä": 20, "x y": 3}, {"": 10, "ä": 22, "x y": 4})
    for names in (2, 3, 4, 5, 6, 10, 20, 60):
        for n, m in ((10, 15), (60, 200), (1000, 800), (200000, 10**6)):
            for same in (True, False):
                shares = random.dirichlet(np.full(names, 0.7))
                others = shares if same else random.dirichlet(np.full(names, 0.7))
                labels = [f"c{i:02}" for i in range(names)]
                draw = [random.multinomial(n, others), random.multinomial(m, shares)]
                sample, baseline = ({l: int(c) for l, c in zip(labels, d) if c} for d in draw)
                if names > 4 and not same:
                    sample[f"new{n}"] = int(random.integers(1, 1 + n // 10))
                categorical(sample, baseline)


def control_cases():
    for count in (0, 1, 2, 5, 20, 100):
        for rate in (0.01, 0.05, 0.2):
            pvalues = np.round(np.where(random.random(count) < 0.4, random.random(count) * 0.02, random.random(count)), 4)
            if count:
                adjusted = stats.false_discovery_control(pvalues)
                rejected = multipletests(pvalues, rate, method="fdr_bh")[0]
            else:
                adjusted, rejected = np.array([]), np.array([])
            answer = {"adjusted": adjusted.tolist(), "rejected": [bool(value) for value in rejected]}
            line = {"kind": "control", "pvalues": pvalues.tolist(), "rate": rate, "expected": answer}
            print(json.dumps(line, separators=(",", ":")))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    numeric_cases()
    ks_pvalue_cases()
    categorical_cases()
    control_cases()
