"""Expected attribution drift (ndcg_score of scikit-learn) and local SHAP values (KernelExplainer of shap).

    pip install -r tests/peers/requirements-attribution.txt
    python tests/peers/attribution.py > crates/analysis/tests/fixtures/attribution.jsonl

Kinds of cases: `ndcg` is a line of `driftwarden compute attribution` with its `expected` nDCG. `shap` has the rows of a baseline, the
row to explain, the name of the model (defined below and in the test), and the `expected` values by label. All coalitions are computed, so
results are not random.
"""

import json
import sys

import numpy as np
import shap
from sklearn.metrics import ndcg_score

random = np.random.default_rng(20240612)


def ndcg(baseline, live):
    baseline, live = np.asarray(baseline, dtype=float), np.asarray(live, dtype=float)
    names = [f"f{i:03}" for i in range(len(baseline))]
    # Sums of large numbers overflow. Only the order matters, so the values are scaled.
    unit = max(1.0, float(np.max(np.abs(baseline))))
    line = {
        "kind": "ndcg",
        "baseline": dict(zip(names, baseline.tolist())),
        "live": dict(zip(names, live.tolist())),
        "expected": float(ndcg_score([baseline / unit], [live])),
    }
    print(json.dumps(line, separators=(",", ":")))


def ndcg_cases():
    # Example of the developer guide.
    ndcg([0.70, 0.50, 0.05], [0.10, 0.20, 0.70])
    ndcg([1, 0], [0, 1])
    ndcg([1, 0], [1, 1])
    ndcg([0, 0, 0], [1, 2, 3])
    ndcg([1, 1, 1], [3, 2, 1])
    ndcg([0.0, 1.0], [0.0, -0.0])
    ndcg([3, 2, 1], [-3, -2, -1])
    ndcg([1e308, 1e308, 1e-308], [1, 2, 3])
    for features in (2, 3, 4, 5, 8, 12, 20, 50, 120):
        for _ in range(4):
            baseline = np.round(random.exponential(1, features), 4)
            ndcg(baseline, np.round(baseline * random.lognormal(0, 0.3, features), 4))
            ndcg(baseline, np.round(random.exponential(1, features), 4))
            ndcg(baseline, np.round(random.exponential(1, features), 0))
            ndcg(random.integers(0, 3, features), random.integers(0, 3, features))
            ndcg(baseline, np.round(random.normal(0, 1, features), 1))


def linear(rows):
    return 0.5 + rows @ np.arange(1, rows.shape[1] + 1)


def product(rows):
    return np.prod(rows, axis=1) + np.sin(rows[:, 0])


def classes(rows):
    """Probabilities of three labels."""
    scores = np.stack([rows[:, 0] - rows[:, 1], rows[:, 1] * rows[:, -1], np.tanh(rows.sum(axis=1))], axis=1)
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


def step(rows):
    return ((rows > 0.3).sum(axis=1) >= 2) * 0.6 + 0.2


MODELS = {"linear": linear, "product": product, "classes": classes, "step": step}


def local(model, baseline, row, use_logit=False):
    explainer = shap.KernelExplainer(MODELS[model], baseline, link="logit" if use_logit else "identity")
    values = explainer.shap_values(row, nsamples=2**20, l1_reg=False, silent=True)
    expected = np.atleast_1d(explainer.expected_value)
    values = values.T if values.ndim == 2 else values[None, :]
    line = {
        "kind": "shap",
        "model": model,
        "use_logit": use_logit,
        "baseline": baseline.tolist(),
        "row": row.tolist(),
        "expected": {"values": values.tolist(), "expected_value": expected.tolist()},
    }
    print(json.dumps(line, separators=(",", ":")))


def shap_cases():
    for features in (2, 3, 4, 5, 7, 10):
        for rows in (1, 2, 6):
            baseline = np.round(random.normal(0, 1, (rows, features)), 3)
            row = np.round(random.normal(0, 1, features), 3)
            for model in MODELS:
                local(model, baseline, row)
            local("classes", baseline, row, use_logit=True)
            local("step", baseline, row, use_logit=True)
    # Features with the same value in all rows.
    baseline = np.round(random.normal(0, 1, (3, 5)), 3)
    for same in (1, 3, 4, 5):
        row = np.round(random.normal(0, 1, 5), 3)
        constant = baseline.copy()
        constant[:, :same] = row[:same]
        local("product", constant, row)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    ndcg_cases()
    shap_cases()
