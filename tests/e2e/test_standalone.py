"""The loop without Model Monitor, as in `make demo-standalone`, and feature attributions of its model."""

import json
import subprocess

import pytest
from harness.demo import Screen
from harness.standalone import DRIFTWARDEN, ENDPOINT, Model, Story, check, show


@pytest.mark.slow
def test_standalone_demo_passes(world, tmp_path, capsys):
    screen = Screen()
    story = Story(screen, world, tmp_path, drifts_at=3)
    story.play()
    show(screen, story)
    check(screen, story)
    assert not screen.failed, capsys.readouterr().out


def test_kernel_shap_explains_http_endpoint(tmp_path):
    model = Model(tmp_path)
    model.serve()
    config = tmp_path / "analysis_config.json"
    shap = {"seed": 1, "num_samples": 400, "sample_rows": 60}
    config.write_text(json.dumps({"label": "benign", "methods": {"shap": shap}, "predictor": {"content_type": "text/csv"}}))
    url = f"{model.url}/endpoints/{ENDPOINT}/invocations"

    def run(*arguments):
        command = [DRIFTWARDEN, *arguments, "--endpoint-url", url]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    try:
        made = run("baseline", tmp_path / "first.csv", "--monitor-type", "ModelExplainability", "--config", config, "--output", tmp_path / "shap")
        assert made.returncode == 0, made.stderr
        analysis = json.loads((tmp_path / "shap/analysis.json").read_text())
        shapley = analysis["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
        assert set(shapley) == set(model.header[:-1])
        # Symmetry distinguishes malignant from benign tumors least, and the model learned that.
        assert max(shapley, key=shapley.get) in ("worst_radius", "worst_concave_points", "mean_texture", "mean_radius"), shapley
        again = run("analyze", tmp_path / "first.csv", "--baseline", tmp_path / "shap", "--output", tmp_path / "report")
        assert again.returncode == 0, again.stdout + again.stderr
        # A model that uses only one measurement has another order of features.
        rows = [[row[0] if at == 2 else "0" for at, _ in enumerate(row[:-1])] + row[-1:] for row in model.patients]
        (tmp_path / "other.csv").write_text("\n".join(map(",".join, [model.header, *rows])))
        other = run("analyze", tmp_path / "other.csv", "--baseline", tmp_path / "shap", "--output", tmp_path / "other")
        assert other.returncode == 2, other.stdout + other.stderr
    finally:
        model.stop()
    refused = run("analyze", tmp_path / "first.csv", "--baseline", tmp_path / "shap", "--output", tmp_path / "report")
    assert refused.returncode == 1 and "sagemaker:InvokeEndpoint" in refused.stderr, refused.stderr
