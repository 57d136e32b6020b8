"""Trains and serves real models on real data, for the demos.

Runs in the environment `.venv/demo`, separate from the harness:

    python served_model.py rows OUTPUT            writes the data set as CSV: eight measurements and the label
    python served_model.py train ROWS MODEL SCORED [COLUMNS]  trains a model, on all columns or only on COLUMNS; writes to SCORED
                                                  the rows with the score in front
    python served_model.py serve MODEL CAPTURE    serves the model as SageMaker Runtime does, and captures requests and predictions
    python served_model.py containers FOLDER      serves every model in FOLDER as their containers do

The data set is Breast Cancer Wisconsin (Diagnostic), which scikit-learn contains: for each of 569 patients, a model predicts from
measurements of cell nuclei whether a tumor is benign. The drift is realistic: a scanner is recalibrated, and two measurements become
20% larger.
"""

import argparse
import csv
import json
import pickle
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = ["mean radius", "mean texture", "mean smoothness", "mean compactness", "mean concavity", "mean symmetry", "worst radius", "worst concave points"]
LABEL, SCORE = "benign", "score"


def rows(output: Path) -> None:
    data = load_breast_cancer()
    names = list(data.feature_names)
    chosen = data.data[:, [names.index(name) for name in FEATURES]]
    with output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(name.replace(" ", "_") for name in FEATURES), LABEL])
        writer.writerows([*map(float, row), int(label)] for row, label in zip(chosen, data.target, strict=True))


def read(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    table = np.array(lines, dtype=float)
    return header[:-1], table[:, :-1], table[:, -1].astype(int)


def scores(model: Any, features: np.ndarray) -> list[float]:
    return [round(float(score), 6) for score in model.predict_proba(features)[:, 1]]


def train(source: Path, model: Path, scored: Path, columns: str | None = None) -> None:
    names, features, labels = read(source)
    used = [names.index(name) for name in columns.split(",")] if columns else list(range(len(names)))
    scaled = ColumnTransformer([("scaled", StandardScaler(), used)])
    fitted = make_pipeline(scaled, LogisticRegression(max_iter=1000)).fit(features, labels)
    model.write_bytes(pickle.dumps(fitted))
    with scored.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([SCORE, *names, LABEL])
        writer.writerows(
            [score, *map(float, row), int(label)] for score, row, label in zip(scores(fitted, features), features, labels, strict=True)
        )
    print(f"{fitted.score(features, labels):.4f}")


class Endpoint(BaseHTTPRequestHandler):
    """POST /endpoints/NAME/invocations returns predictions. POST /model replaces the model. The header `X-Hour` sets the hour."""

    protocol_version = "HTTP/1.1"
    model: Any = None
    capture = Path()
    lock = threading.Lock()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/model":
            Endpoint.model = pickle.loads(Path(body).read_bytes())
            return self.answer(200, b"")
        try:
            features = np.array([line.split(",") for line in body.splitlines()], dtype=float)
            answer = "\n".join(map(str, scores(Endpoint.model, features)))
        except ValueError as error:
            return self.answer(400, str(error).encode())
        if hour := self.headers.get("X-Hour"):
            self.keep(datetime.fromisoformat(hour), body, answer)
        self.answer(200, answer.encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def keep(self, hour: datetime, request: str, response: str) -> None:
        """Appends a line in the format of SageMaker's data capture, to the folder of the hour."""
        side = lambda mode, data: {"observedContentType": "text/csv", "mode": mode, "data": data, "encoding": "CSV"}
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": hour.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if inference_id := self.headers.get("X-Amzn-SageMaker-Inference-Id"):
            metadata["inferenceId"] = inference_id
        line = {
            "captureData": {"endpointInput": side("INPUT", request), "endpointOutput": side("OUTPUT", response)},
            "eventMetadata": metadata,
            "eventVersion": "0",
        }
        folder = Endpoint.capture / f"{hour.astimezone(timezone.utc):%Y/%m/%d/%H}"
        with Endpoint.lock:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "captured.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")


def serve(model: Path, capture: Path) -> None:
    Endpoint.model, Endpoint.capture = pickle.loads(model.read_bytes()), capture
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    # The parent process waits for this line.
    print(server.server_address[1], flush=True)
    server.serve_forever()


class Containers(Endpoint):
    """POST /NAME/SECONDS responds like the container of the model NAME, with a delay of SECONDS."""

    disable_nagle_algorithm = True
    models: dict[str, Any] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        _, name, seconds = self.path.split("/")
        time.sleep(float(seconds))
        try:
            features = np.array([line.split(",") for line in body.splitlines()], dtype=float)
            self.answer(200, "\n".join(map(str, scores(Containers.models[name], features))).encode())
        except ValueError as error:
            self.answer(400, str(error).encode())


def containers(folder: Path) -> None:
    Containers.models = {file.stem: pickle.loads(file.read_bytes()) for file in folder.glob("*.model")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Containers)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    known = {"rows": ["output"], "train": ["rows", "model", "scored"], "serve": ["model", "capture"], "containers": ["folder"]}
    for command, arguments in known.items():
        of = commands.add_parser(command)
        for name in arguments:
            of.add_argument(name, type=Path)
        if command == "train":
            of.add_argument("columns", nargs="?")
    given = vars(parser.parse_args())
    {"rows": rows, "train": train, "serve": serve, "containers": containers}[given.pop("command")](*given.values())
    return 0


if __name__ == "__main__":
    sys.exit(main())
