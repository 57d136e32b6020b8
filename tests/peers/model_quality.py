"""Model quality metrics of scikit-learn for a few hundred sets of labels, predictions, and scores.

    pip install -r tests/peers/requirements-model-quality.txt
    python tests/peers/model_quality.py crates/analysis/tests/fixtures

writes `model-quality-<part>.jsonl`, one case per line: `question` is a line of `driftwarden compute model-quality`, `metrics` the expected
result. The test `model_quality_peer.rs` reads these files.
"""

import json
import math
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier
from sklearn.isotonic import IsotonicRegression

warnings.filterwarnings("ignore")
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
# Maximum number of rows for comparing curves point by point.
WHOLE_CURVES = 40


def plain(value):
    value = float(value)
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def name(label):
    return str(label).lower() if isinstance(label, bool) else str(label)


def matrix(labels, predictions, classes):
    counts = sk.confusion_matrix(labels, predictions, labels=classes)
    return {name(t): {name(p): int(n) for p, n in zip(classes, row)} for t, row in zip(classes, counts)}


def constant(labels):
    """Always predicts the most frequent label."""
    rows = np.zeros((len(labels), 1))
    return DummyClassifier(strategy="most_frequent").fit(rows, labels).predict(rows)


def binary(labels, predictions, scores, classes, positive_label=None):
    """`classes`: negative, positive."""
    negative, positive = classes
    y, h = (np.array([int(value == positive) for value in column]) for column in (labels, predictions))
    def rates(y, h, suffix=""):
        out = {
            "recall": sk.recall_score(y, h, zero_division=0),
            "precision": sk.precision_score(y, h, zero_division=0),
            "accuracy": sk.accuracy_score(y, h),
        }
        out |= {f: sk.fbeta_score(y, h, beta=beta, zero_division=0) for f, beta in BETAS.items()}
        return {key + suffix: value for key, value in out.items()}
    out = rates(y, h) | rates(y, constant(y), "_best_constant_classifier")
    out["true_positive_rate"] = out["recall"]
    out["true_negative_rate"] = sk.recall_score(y, h, pos_label=0, zero_division=0)
    out["false_positive_rate"] = 1 - out["true_negative_rate"] if (y == 0).any() else 0
    out["false_negative_rate"] = 1 - out["recall"] if (y == 1).any() else 0
    answer = {}
    if scores is not None:
        both = len(set(y)) == 2
        out["auc"] = sk.roc_auc_score(y, scores) if both else math.nan
        # Every distinct score, from the highest, as in Spark.
        order = np.argsort(-np.array(scores), kind="stable")
        last = np.r_[np.diff(np.array(scores)[order]) != 0, True]
        tp, fp = np.cumsum(y[order])[last], np.cumsum(1 - y[order])[last]
        if both:
            fpr, tpr, _ = sk.roc_curve(y, scores, drop_intermediate=False)
            assert np.allclose(fpr[1:], fp / fp[-1]) and np.allclose(tpr[1:], tp / tp[-1])
            p, r, _ = sk.precision_recall_curve(y, scores, drop_intermediate=False)
            assert np.allclose(p[-2::-1], tp / (tp + fp)) and np.allclose(r[-2::-1], tp / tp[-1])
        fpr, tpr = (x / x[-1] if x[-1] else x * 0.0 for x in (fp, tp))
        precisions = np.r_[tp[0] / (tp[0] + fp[0]), tp / (tp + fp)]
        recalls = np.r_[0, tpr]
        out["au_prc"] = sk.auc(recalls, precisions) if len(recalls) > 1 else 0
        if len(labels) <= WHOLE_CURVES:
            answer["receiver_operating_characteristic_curve"] = {
                "false_positive_rates": [0.0, *map(plain, fpr), 1.0],
                "true_positive_rates": [0.0, *map(plain, tpr), 1.0],
            }
            answer["precision_recall_curve"] = {
                "precisions": list(map(plain, precisions)),
                "recalls": list(map(plain, recalls)),
            }
    answer |= {key: plain(value) for key, value in out.items()}
    answer["confusion_matrix"] = matrix(labels, predictions, list(classes))
    question = {"problem_type": "BinaryClassification", "label": labels, "prediction": predictions}
    if scores is not None:
        question["probability"] = scores
    if positive_label is not None:
        question["positive_label"] = positive_label
    return {"question": question, "metrics": answer}


def multiclass(labels, predictions):
    classes = sorted(set(labels) | set(predictions))
    def weighted(h, suffix=""):
        out = {
            "accuracy": sk.accuracy_score(labels, h),
            "weighted_recall": sk.recall_score(labels, h, average="weighted", zero_division=0),
            "weighted_precision": sk.precision_score(labels, h, average="weighted", zero_division=0),
        }
        for f, beta in BETAS.items():
            out[f"weighted_{f}"] = sk.fbeta_score(labels, h, beta=beta, average="weighted", zero_division=0)
        return {key + suffix: plain(value) for key, value in out.items()}
    answer = weighted(predictions) | weighted(list(constant(labels)), "_best_constant_classifier")
    answer["confusion_matrix"] = matrix(labels, predictions, classes)
    question = {"problem_type": "MulticlassClassification", "label": labels, "prediction": predictions}
    return {"question": question, "metrics": answer}


def exact_r2(labels, predictions):
    labels, predictions = ([Fraction(value) for value in column] for column in (labels, predictions))
    mean = sum(labels) / len(labels)
    rest = sum((y - h) ** 2 for y, h in zip(labels, predictions))
    return float(1 - rest / sum((y - mean) ** 2 for y in labels))


def regression(labels, predictions):
    mse = sk.mean_squared_error(labels, predictions)
    answer = {
        "mae": sk.mean_absolute_error(labels, predictions),
        "mse": mse,
        "rmse": sk.root_mean_squared_error(labels, predictions),
        # Undefined for constant labels, where scikit-learn returns 0 or 1.
        "r2": sk.r2_score(labels, predictions) if len(set(labels)) > 1 else math.nan,
    }
    # Large labels with small differences: scikit-learn rounds the mean, which changes r2.
    if len(set(labels)) > 1 and not math.isclose(answer["r2"], exact_r2(labels, predictions), rel_tol=1e-13):
        answer["r2"] = exact_r2(labels, predictions)
    question = {"problem_type": "Regression", "label": labels, "prediction": predictions}
    return {"question": question, "metrics": {key: plain(value) for key, value in answer.items()}}


def binary_cases(rng):
    spellings = [(0, 1), ("0", "1"), (-1, 1), ("no", "yes"), (False, True), ("good", "risk"), (2, 10)]
    for case in range(200):
        n = int(rng.choice([1, 2, 3, 5, 8, 13, 20, 40, 60, 120]))
        share = rng.choice([0.0, 0.03, 0.3, 0.5, 0.9, 1.0], p=[0.05, 0.2, 0.3, 0.25, 0.15, 0.05])
        y = (rng.random(n) < share).astype(int)
        skill = rng.choice([-1.0, 0.0, 1.0, 3.0, 40.0])
        logit = skill * (y - 0.5) + rng.normal(size=n)
        digits = int(rng.choice([0, 1, 2, 6]))
        scores = np.round(1 / (1 + np.exp(-logit)), digits)
        h = (scores >= rng.choice([0.2, 0.5, 0.8])).astype(int)
        kind = rng.integers(8)
        if kind == 0:
            h[:] = rng.integers(2)
        elif kind == 1:
            h = y.copy()
        elif kind == 2:
            scores = np.round(logit * 100, digits)
        elif kind == 3:
            scores[:] = 0.5
        classes = spellings[case % len(spellings)]
        # A single class, which can be the positive or the negative one.
        if isinstance(classes[0], str) and classes[0] == "good" or classes == (2, 10):
            if len(set(y) | set(h)) < 2:
                classes = (0, 1)
        if classes == (-1, 1) and not (set(y) | set(h)) & {0}:
            classes = (0, 1)
        word = [classes[0], classes[1]]
        labels, predictions = [word[i] for i in y], [word[i] for i in h]
        yield binary(labels, predictions, None if case % 7 == 3 else [float(s) for s in scores], classes)
    # The other class is positive.
    yield binary(["good", "bad", "bad"], ["bad", "bad", "good"], [0.9, 0.7, 0.4], ("good", "bad"), "bad")
    # More than a thousand scores, all distinct.
    for share, n in [(0.5, 1200), (0.02, 2600), (0.97, 1500)]:
        y = (rng.random(n) < share).astype(int)
        scores = [float(s) for s in np.round(rng.normal(size=n) + y, 5)]
        yield binary([int(v) for v in y], [int(s > 0.5) for s in scores], scores, (0, 1))


def multiclass_cases(rng):
    for case in range(120):
        n = int(rng.choice([1, 2, 4, 9, 25, 60, 150]))
        k = int(rng.choice([1, 2, 3, 5, 12]))
        weights = rng.dirichlet(np.full(k, rng.choice([0.3, 1.0, 20.0])))
        y = rng.choice(k, size=n, p=weights)
        right = rng.random(n) < rng.choice([0.0, 0.4, 0.8, 1.0])
        h = np.where(right, y, rng.choice(k + int(rng.integers(2)), size=n))
        if case % 10 == 0:
            h[:] = h[0]
        words = [int, lambda i: "abcdefghijklm"[i], lambda i: f"class {i:02}", lambda i: int(i) * 7 - 20][case % 4]
        yield multiclass([words(i) for i in y], [words(i) for i in h])


def regression_cases(rng):
    for case in range(120):
        n = int(rng.choice([1, 2, 3, 10, 50, 200]))
        scale, offset = rng.choice([1e-6, 1.0, 1e5]), rng.choice([0.0, 0.0, -3.0, 1e6, 1e9])
        labels = rng.normal(size=n) * scale + offset
        kind = case % 6
        if kind == 0:
            labels[:] = labels[0]
        elif kind == 1:
            labels = np.round(labels)
        predictions = labels + rng.normal(size=n) * scale * rng.choice([0.0, 0.1, 1.0, 5.0])
        if kind == 2:
            predictions[:] = labels.mean()
        yield regression([float(v) for v in labels], [float(v) for v in predictions])


def estimate_cases(rng):
    """Confidence-based estimates: a row counts as positive with its probability p, and as negative with 1 - p."""
    for case in range(40):
        n = int(rng.choice([1, 2, 5, 20, 100]))
        p = np.round(rng.beta(*rng.choice([[1, 1], [0.3, 0.3], [2, 8]]), size=n), int(rng.choice([1, 3, 12])))
        h = (p > rng.choice([0.3, 0.5])).astype(int) if case % 5 else rng.integers(2, size=n)
        y = np.r_[np.ones(n), np.zeros(n)]
        twice, weights, scores = np.r_[h, h], np.r_[p, 1 - p], np.r_[p, p]
        kwargs = {"sample_weight": weights}
        possible = 0 < p.sum() < n
        yield {
            "prediction": [int(v) for v in h],
            "probability": [float(v) for v in p],
            "estimates": {
                "estimated_accuracy": plain(sk.accuracy_score(y, twice, **kwargs)),
                "estimated_precision": plain(sk.precision_score(y, twice, zero_division=0, **kwargs)),
                "estimated_recall": plain(sk.recall_score(y, twice, zero_division=0, **kwargs)),
                "estimated_f1": plain(sk.f1_score(y, twice, zero_division=0, **kwargs)),
                "estimated_auc": plain(sk.roc_auc_score(y, scores, **kwargs) if possible else math.nan),
            },
        }


def calibration_cases(rng):
    for _ in range(30):
        n = int(rng.choice([1, 3, 10, 80]))
        scores = np.round(rng.random(n), int(rng.choice([1, 2, 6])))
        labels = (rng.random(n) < scores ** rng.choice([0.5, 1.0, 3.0])).astype(int)
        at = [0.0, 1.0, -0.5, 2.0, *(float(v) for v in np.round(rng.random(10), 3)), *(float(v) for v in scores[:3])]
        fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
        yield {
            "label": [int(v) for v in labels],
            "probability": [float(v) for v in scores],
            "at": at,
            "isotonic": [plain(v) for v in fitted.predict(at)],
        }


def main(folder):
    parts = [binary_cases, multiclass_cases, regression_cases, estimate_cases, calibration_cases]
    for seed, cases in enumerate(parts):
        path = Path(folder) / f"model-quality-{cases.__name__.removesuffix('_cases')}.jsonl"
        with path.open("w") as file:
            for case in cases(np.random.default_rng(seed)):
                file.write(json.dumps(case, separators=(",", ":"), allow_nan=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
