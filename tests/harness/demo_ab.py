"""The demo of A/B tests: five endpoints with real models get five candidates, and no operator intervenes.

Each endpoint serves a champion, and its model package group gets a new version, as from the last step of a retraining pipeline.
The functions do the rest: they deploy the candidate beside the champion, read captured data, late labels, and CloudWatch metrics,
and conclude each experiment.
"""

import csv
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from .demo import Screen, parse
from .experiments import Callers, Hosted, Request, ticked
from .stack import REGION, ROOT, Failed, running
from .standalone import DRIFTWARDEN, SERVED, driftwarden
from .world import World

PLOTS = ROOT / "target/demo-ab"
POLICY = """\
[promotion]
alpha = 0.02

[[analysis]]
schedule = "better-drift"
endpoint = "better"
expression = "rate(1 hour)"
data = "s3://{bucket}/capture/better"
baseline = "s3://{bucket}/baselines/better/first"
output = "s3://{bucket}/reports"

"""
# Features of each model: all eight measurements, three, or one.
WEAK, WEAKER = "mean_texture,mean_smoothness,mean_symmetry", "mean_symmetry"
MODELS = {"full": None, "weak": WEAK, "weaker": WEAKER}
SLOW = 0.4
# Champion, candidate, and additional policy settings of each endpoint.
STORIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "better": ("weak", "full", {"traffic": [20.0, 50.0], "step_lasts": "5s", "bake": "5s"}),
    "equal": ("full", "full", {"traffic": [50.0], "inconclusive": "roll-back"}),
    "worse": ("full", "weaker", {"traffic": [20.0, 50.0], "step_lasts": "5s"}),
    "slow": ("full", "full", {"traffic": [20.0], "guardrails": [{"metric": "latency_p50", "margin": 0.5, "limit": SLOW * 1e6 / 2}]}),
    "skewed": ("full", "full", {"traffic": [10.0], "assignment": "weights"}),
}
ENDS = {"better": "Promoted", "equal": "Inconclusive", "worse": "RolledBack", "slow": "RolledBack", "skewed": "Invalid"}
BECAUSE = {"better": "Superior", "equal": "TimeOver", "worse": "Inferior", "slow": "GuardrailBroken", "skewed": "SampleRatioMismatch"}


class Containers:
    """Trains and serves the models in a process of another Python environment, in place of the containers of an endpoint."""

    def __init__(self, folder: Path):
        self.folder, self.python = folder, ROOT / ".venv/demo/bin/python"
        if not self.python.exists():
            raise Failed("error: scikit-learn is not installed\nhint: run `bash tests/setup.sh demo`")
        self._run("rows", folder / "all.csv")
        with (folder / "all.csv").open(newline="") as file:
            self.header, *patients = csv.reader(file)
        random.Random(1).shuffle(patients)
        # 60% of the patients are for training, the others for requests.
        trained, self.patients = patients[: len(patients) * 3 // 5], patients[len(patients) * 3 // 5 :]
        self.trained = len(trained)
        with (folder / "training.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header, *trained])
        for name, columns in MODELS.items():
            self._run("train", folder / "training.csv", folder / f"{name}.model", folder / f"{name}-scored.csv", *([columns] if columns else []))

    def _run(self, *arguments: Any) -> None:
        done = subprocess.run([self.python, SERVED, *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"error: the model process failed: {done.stderr.strip()}")

    def __enter__(self) -> "Containers":
        self.process = subprocess.Popen([self.python, SERVED, "containers", self.folder], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        port = self.process.stdout.readline().strip()
        if not port:
            raise Failed("error: the process that serves the models did not start")
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        self.process.wait()

    def url_for(self, model: str, slower_by: float = 0) -> str:
        return f"{self.url}/{model}/{slower_by}"

    def training_data(self, model: str) -> bytes:
        """Training data of a model, with its predictions in front, as in captured data, and without labels."""
        with (self.folder / f"{model}-scored.csv").open(newline="") as file:
            return "".join(",".join(row[:-1]) + "\n" for row in csv.reader(file)).encode()

    def request(self, chance: random.Random) -> Request:
        some = chance.choices(self.patients, k=2)
        return [",".join(row[:-1]) for row in some], [row[-1] for row in some]


class Story:
    """Plays five champions and five candidates."""

    def __init__(self, screen: Screen, world: World, containers: Containers, equal_lasts: str = "60s"):
        self.screen, self.world, self.stack, self.containers = screen, world, world.stack, containers
        more = {"better": self.baselines(), "equal": {"maximum_duration": equal_lasts}}
        self.hosted = {name: Hosted(self.world, name, {"champion": (1.0, containers.url_for(champion))}) for name, (champion, _, _) in STORIES.items()}
        self.monitored(self.hosted["better"])
        policy = POLICY.format(bucket=self.world.reports)
        for name, (_, _, settings) in STORIES.items():
            policy += self.hosted[name].policy(**settings | more.get(name, {}))
        self.world.put_policy(policy)
        screen.step("infra/template.yaml is deployed; five endpoints are in service, each with its champion")
        self.shown: set[str] = set()

    def baselines(self) -> dict[str, Any]:
        bucket = self.world.reports
        return {"baselines": {"output": f"s3://{bucket}/baselines/better", "training_data": f"s3://{bucket}/training/better/{{version}}.csv"}}

    def monitored(self, hosted: Hosted) -> None:
        """Adds a Model Monitor schedule and a native analysis to the endpoint, both with the baseline of the first model."""
        data = self.containers.training_data("weak")
        self.put("training/better/1.csv", data)
        (self.containers.folder / "first.csv").write_bytes(data)
        made = self.containers.folder / "baseline"
        driftwarden("baseline", self.containers.folder / "first.csv", "--output", made)
        for file in made.iterdir():
            self.put(f"baselines/better/first/{file.name}", file.read_bytes())
        output = {"S3Uri": f"s3://{self.world.reports}/reports", "LocalPath": "/opt/ml/processing/output"}
        first, name = f"s3://{self.world.reports}/baselines/better/first", "better-data-quality"
        hosted.sagemaker.create_data_quality_job_definition(
            JobDefinitionName=f"{name}-1",
            DataQualityBaselineConfig={
                "ConstraintsResource": {"S3Uri": f"{first}/constraints.json"},
                "StatisticsResource": {"S3Uri": f"{first}/statistics.json"},
            },
            DataQualityAppSpecification={"ImageUri": "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"},
            DataQualityJobInput={"EndpointInput": {"EndpointName": hosted.name, "LocalPath": "/opt/ml/processing/input"}},
            DataQualityJobOutputConfig={"MonitoringOutputs": [{"S3Output": output}]},
            JobResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}},
            RoleArn="arn:aws:iam::000000000000:role/monitor",
        )
        self.world.schedule(name, hosted.name, MonitoringType="DataQuality", MonitoringJobDefinitionName=f"{name}-1")

    def put(self, key: str, body: bytes) -> None:
        self.stack.client("s3").put_object(Bucket=self.world.reports, Key=key, Body=body)

    def play(self) -> None:
        callers = Callers(requests_a_second=15)
        for at, (name, hosted) in enumerate(self.hosted.items()):
            chance = random.Random(at)
            ask = lambda chance=chance: self.containers.request(chance)
            # A faulty caller that chooses variants at random and ignores their weights.
            turn = (lambda variants: variants[random.Random().randrange(len(variants))]) if name == "skewed" else None
            callers.add(hosted, ask, turn)
        with callers:
            self.screen.step("callers send each endpoint 15 requests per second, with two patients each; labels arrive two seconds later")
            self.packages = {}
            for name, (_, candidate, _) in STORIES.items():
                if name == "better":
                    self.put("training/better/2.csv", self.containers.training_data(candidate))
                self.packages[name] = self.hosted[name].package(self.containers.url_for(candidate, SLOW if name == "slow" else 0))
            self.screen.step("a retraining pipeline registers a new model package for each; from now on, no operator intervenes")
            ticked(self.world, self.over, "the end of all five experiments", 300, 1.5)
            ticked(self.world, self.based, "the monitors of the promoted model on its baselines", 120, 1.5)

    def over(self) -> bool:
        for name, hosted in self.hosted.items():
            for change in hosted.changes():
                if change["id"] not in self.shown:
                    self.shown.add(change["id"])
                    self.screen.step(f"{name:<7} {change['stage']:<12} {outcome(change)}")
        return all(hosted.ended() for hosted in self.hosted.values())

    def schedules(self) -> list[str]:
        return ["better-data-quality", "better-drift"]

    def baseline(self, schedule: str) -> Any:
        return (self.world.document(f"baselines/{schedule}.json") or {}).get("change")

    def based(self) -> bool:
        return all(self.baseline(schedule) for schedule in self.schedules())

    def looks(self, name: str) -> list[Any]:
        return list(self.hosted[name].ended()["experiment"]["looks"])

    def plot(self, name: str) -> Path:
        """Draws the confidence sequence with the command line."""
        PLOTS.mkdir(parents=True, exist_ok=True)
        file = PLOTS / f"{name}.svg"
        file.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": self.stack.url,
            "AWS_ENDPOINT_URL_SAGEMAKER": self.stack.sagemaker_url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        command = [DRIFTWARDEN, "experiment", "status", name, "--state-bucket", self.world.state, "--plot", file]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise Failed(f"error: driftwarden experiment status failed: {done.stderr.strip()}")
        return file


def show(screen: Screen, story: Story) -> None:
    for name, hosted in story.hosted.items():
        champion, candidate, _ = STORIES[name]
        slower = f", slower by {SLOW} s" if name == "slow" else ""
        screen.title(f"{name}: champion `{champion}`, candidate `{candidate}`{slower}")
        changes = hosted.changes()
        begun = parse(changes[0]["time"])
        for change in changes:
            since = (parse(change["time"]) - begun) / timedelta(seconds=1)
            screen.line(f"  {since:6.1f} s  {change['stage']:<12} {outcome(change)}")
        looks = [look for look in story.looks(name) if look.get("interval")]
        for look in looks[:: max(len(looks) // 6, 1)][-7:]:
            since, interval = (parse(look["time"]) - begun) / timedelta(seconds=1), look["interval"]
            screen.line(
                f"  {since:6.1f} s  step {look['step'] + 1}: {mean(look['champion'])} and {mean(look['candidate'])}, candidate − champion "
                f"{interval['estimate']:+.3f} in [{interval['low']:+.3f}, {interval['high']:+.3f}]: {look['outcome']}"
            )
        seen = hosted.describe()
        weights = ", ".join(f"{variant} {weight:g}" for variant, weight in seen["weights"].items())
        screen.line(f"  endpoint: {seen['status']}, {seen['config']}, {weights}")
        screen.line(f"  plot: {story.plot(name).relative_to(ROOT)}")
    screen.title("Baselines of the promoted model")
    for schedule in story.schedules():
        change = story.baseline(schedule)
        screen.line(f"  {schedule}: {change['previousBaselineUri']} → {change['baselineUri']}")


def outcome(change: dict[str, Any]) -> str:
    """The end of the sentence. Its beginning names candidate and endpoint, which stay the same."""
    return str(change["sentence"]).rsplit(f"on endpoint `{change['endpoint']}`", 1)[-1].lstrip(",;. ")


def mean(sample: dict[str, Any]) -> str:
    return f"{sample['sum'] / sample['count']:.1%} of {sample['count']}" if sample["count"] else "no outcomes"


def check(screen: Screen, story: Story) -> None:
    screen.title("Checks")
    for name, hosted in story.hosted.items():
        ended = hosted.ended()
        screen.check(f"{name}: ended with {ENDS[name]}", ended["conclusion"] == ENDS[name], ended["conclusion"])
        screen.check(f"{name}: the reason is {BECAUSE[name]}", BECAUSE[name] in hosted.reasons(), hosted.reasons())
        once = story.world.experiments(name)["experiments"] == 1 and ended["experiment"]["package"]["arn"] == story.packages[name]
        screen.check(f"{name}: there is one experiment, of the registered model package", once, ended["experiment"]["package"])
        seen = hosted.describe()
        if ENDS[name] == "Promoted":
            served = hosted.sagemaker.describe_endpoint_config(EndpointConfigName=seen["config"])["ProductionVariants"]
            packages = [hosted.sagemaker.describe_model(ModelName=one["ModelName"])["PrimaryContainer"]["ModelPackageName"] for one in served]
            screen.check(f"{name}: only the candidate is on the endpoint", packages == [story.packages[name]] and len(seen["weights"]) == 1, packages)
            screen.check(f"{name}: only the final endpoint configuration and its model are left of the test", len(hosted.leftovers()) == 2, hosted.leftovers())
        else:
            screen.check(f"{name}: the endpoint is restored, and nothing of the test is left", hosted.is_restored(), (seen, hosted.leftovers()))
        screen.check(f"{name}: there is a plot", "<svg" in (PLOTS / f"{name}.svg").read_text(), name)
    for schedule in story.schedules():
        change = story.baseline(schedule)
        screen.check(f"{schedule}: the baseline is that of the promoted model", change["modelPackageArn"] == story.packages["better"], change)
    sagemaker = story.hosted["better"].sagemaker
    config = sagemaker.describe_monitoring_schedule(MonitoringScheduleName="better-data-quality")["MonitoringScheduleConfig"]
    definition = sagemaker.describe_data_quality_job_definition(JobDefinitionName=config["MonitoringJobDefinitionName"])
    constraints = definition["DataQualityBaselineConfig"]["ConstraintsResource"]["S3Uri"]
    continues = constraints.startswith(story.baseline("better-data-quality")["baselineUri"]) and "ScheduleConfig" in config
    screen.check("the Model Monitor schedule continues, with a job definition of that baseline", continues, constraints)
    subjects = {message["Subject"] for message in story.world.messages()}
    screen.check("there are notifications about all five", all(any(name in subject for subject in subjects) for name in STORIES), subjects)
    dead = story.world.dead_letters.drain()
    screen.check("the dead-letter queue is empty", not dead, dead)


def play() -> int:
    screen = Screen()
    with running() as stack:
        screen.step("LocalStack and a simulated SageMaker are running")
        folder = stack.folder / "models"
        folder.mkdir()
        containers = Containers(folder)
        screen.step(f"three models are trained on {containers.trained} patients, with eight measurements, with three, and with one")
        with containers:
            story = Story(screen, World(stack), containers)
            story.play()
            show(screen, story)
            check(screen, story)
    return screen.conclude(f"Plots: {PLOTS.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(play())
