//! Candidates on AWS in memory: a package is registered, traffic comes minute by minute by the weights that the endpoint has,
//! labels come late, and the function decides.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use promote::{Handled, Promote, World};
use promotion::{
    BaselineDocument, BaselinesCreated, Conclusion, ExperimentDocument, ExperimentStage, ModelPackage, MonitorBaseline,
    Variant,
};
use serde_json::{Value, json};
use shell::{memory::Memory, ports::DescribedModelPackage};
use std::fmt::Write as _;

const CHAMPION: &str = "arn:aws:sagemaker:us-east-1:111122223333:model-package/churn/1";
const RUN: &str = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/churn/execution/e1";

const POLICY: &str = r#"
[[model]]
name = "churn"

[model.promotion]
mode = "variants"
traffic = [20.0, 50.0]
step_lasts = "10m"
bake = "10m"
maximum_duration = "3h"
inconclusive = "roll-back"
minimum_sample = 200
effect = 0.05
guardrails = [{ metric = "latency_p99", margin = 0.2, limit = 900000.0 }, { metric = "errors_5xx", margin = 0.02 }]
capture = { data = "s3://data/capture/churn", ground_truth = "s3://data/labels", config = "s3://data/analysis_config.json" }
"#;

const BASELINES: &str = r#"
[model.promotion.baselines]
output = "s3://data/baselines"
training_data = "s3://data/training/{version}.csv"

[[analysis]]
schedule = "churn-data-quality"
endpoint = "churn"
data = "s3://data/capture/churn/AllTraffic"
baseline = "s3://data/baselines/first"
output = "s3://data/reports"
"#;

fn package(version: u64, status: &str) -> DescribedModelPackage {
    DescribedModelPackage {
        package: ModelPackage {
            arn: CHAMPION.replace("churn/1", &format!("churn/{version}")),
            version,
            approval_status: status.to_owned(),
            generated_by: Some(RUN.to_owned()),
            metric: None,
            drift_check_baselines: std::collections::BTreeMap::new(),
        },
        group: "churn".to_owned(),
        status: "Completed".to_owned(),
        model_quality: None,
        created: "2026-11-23T09:59:00Z".parse().unwrap(),
    }
}

/// How a candidate does.
#[derive(Clone, Copy)]
struct Truth {
    accuracy: f64,
    /// `ModelLatency`, microseconds.
    latency: f64,
    /// Of the requests that are meant for it so many are lost on the way.
    lost: f64,
}

const BETTER: Truth = Truth {
    accuracy: 0.93,
    latency: 40_000.0,
    lost: 0.0,
};
const EQUAL: Truth = Truth {
    accuracy: 0.8,
    ..BETTER
};
const WORSE: Truth = Truth {
    accuracy: 0.6,
    ..BETTER
};
const SLOW: Truth = Truth {
    latency: 1_500_000.0,
    ..BETTER
};
const SKEWED: Truth = Truth { lost: 0.7, ..BETTER };

struct Play {
    world: Memory,
    promote: Promote,
    truth: Truth,
    rng: Rng,
    requests: u32,
    calls: u64,
}

impl Play {
    fn new(policy: &str, truth: Truth) -> Self {
        let world = Memory::at("2026-11-23T10:00:00Z".parse().unwrap());
        world.put_document("policy.toml", policy);
        world.put_endpoint("churn", "base", &[("AllTraffic", 1.0, Some(CHAMPION))]);
        world.put_package(DescribedModelPackage {
            created: "2026-06-01T00:00:00Z".parse().unwrap(),
            ..package(1, "Approved")
        });
        let config = json!({"problem_type": "BinaryClassification", "inference_attribute": "0"});
        world.put_object("s3://data/analysis_config.json", config.to_string());
        Self {
            world,
            promote: Promote::default(),
            truth,
            rng: Rng::with_seed(7),
            requests: 0,
            calls: 0,
        }
    }

    fn event(source: &str, detail_type: &str, detail: &Value) -> String {
        json!({"id": "1", "source": source, "detail-type": detail_type, "time": "2026-11-23T10:00:00Z", "detail": detail})
            .to_string()
    }

    async fn send(&mut self, event: &str) -> Result<Handled, promote::PromoteError> {
        self.calls += 1;
        let id = format!("request-{}", self.calls);
        self.promote.handle(&self.world, event, &id, Timestamp::MAX).await
    }

    /// As Lambda does: three attempts under the same id.
    async fn deliver(&mut self, event: &str) -> Handled {
        self.calls += 1;
        let id = format!("request-{}", self.calls);
        for _ in 0..2 {
            if let Ok(handled) = self.promote.handle(&self.world, event, &id, Timestamp::MAX).await {
                return handled;
            }
        }
        self.promote
            .handle(&self.world, event, &id, Timestamp::MAX)
            .await
            .unwrap()
    }

    async fn tick(&mut self) {
        // One that fails is followed by the next.
        drop(
            self.send(&Self::event("aws.events", "Scheduled Event", &json!({})))
                .await,
        );
    }

    async fn offer(&mut self, version: u64, status: &str) -> Handled {
        let package = package(version, status);
        let detail = json!({
            "ModelPackageGroupName": "churn", "ModelPackageVersion": version, "ModelPackageArn": package.package.arn,
            "ModelPackageStatus": "Completed", "ModelApprovalStatus": status,
        });
        self.world.put_package(package);
        let event = Self::event("aws.sagemaker", "SageMaker Model Package State Change", &detail);
        self.deliver(&event).await
    }

    /// A minute of traffic, as the weights of the endpoint split it.
    fn traffic(&mut self, requests: u32) {
        let now = self.world.time();
        let (_, variants) = self.world.hosted("churn").unwrap();
        let total: f64 = variants.iter().map(|variant| variant.weight).sum();
        let hour = now.strftime("%Y/%m/%d/%H").to_string();
        let mut labels = String::new();
        for Variant { name, weight } in &variants {
            let ours = name.starts_with("candidate");
            let lost = if ours { self.truth.lost } else { 0.0 };
            let (accuracy, latency) = if ours {
                (self.truth.accuracy, self.truth.latency)
            } else {
                (0.8, 40_000.0)
            };
            let mut captured = String::new();
            let mut served = 0;
            for _ in 0..requests {
                if self.rng.f64() >= weight / total || self.rng.f64() < lost {
                    continue;
                }
                served += 1;
                self.requests += 1;
                let (id, label) = (self.requests, self.rng.bool());
                let right = self.rng.f64() < accuracy;
                let answer = u8::from(label == right);
                let data = |data: &str| json!({"data": data, "encoding": "CSV", "observedContentType": "text/csv"});
                let line = json!({
                    "captureData": {"endpointInput": data("1"), "endpointOutput": data(&answer.to_string())},
                    "eventMetadata": {"eventId": id.to_string(), "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()},
                });
                writeln!(captured, "{line}").unwrap();
                // One of ten labels never comes.
                if self.rng.u8(..10) > 0 {
                    let label = json!({
                        "groundTruthData": {"data": u8::from(label).to_string(), "encoding": "CSV"},
                        "eventMetadata": {"eventId": id.to_string()},
                    });
                    writeln!(labels, "{label}").unwrap();
                }
            }
            if served > 0 {
                self.append(
                    &format!("s3://data/capture/churn/{name}/{hour}/captured.jsonl"),
                    &captured,
                );
                let value = |metric: &str, value: f64, count: u64| {
                    self.world
                        .put_value("AWS/SageMaker", metric, "churn", name, value, count);
                };
                value("Invocations", 1.0, served);
                value("ModelLatency", latency * (0.95 + self.rng.f64() / 10.0), served);
            }
        }
        self.append(&format!("s3://data/labels/{hour}/labels.jsonl"), &labels);
    }

    fn append(&self, uri: &str, lines: &str) {
        let mut body = self.world.object(uri).unwrap_or_default();
        body.extend_from_slice(lines.as_bytes());
        self.world.put_object(uri, body);
    }

    /// Minutes of traffic and ticks, until the experiment is over.
    async fn run(&mut self, minutes: u32) {
        for _ in 0..minutes {
            self.traffic(60);
            self.world.pass(SignedDuration::from_mins(1));
            self.tick().await;
            let document = self.document();
            if document.experiment.is_none() && document.outbox.is_empty() {
                return;
            }
        }
        let open = self.document().experiment.map(|open| (open.stage, open.waits_for));
        panic!("not over after {minutes} minutes: {open:?}");
    }

    fn document(&self) -> ExperimentDocument {
        let body = self
            .world
            .document("experiments/churn.json")
            .expect("the model has experiments");
        serde_json::from_slice(&body).unwrap()
    }

    fn conclusion(&self) -> Conclusion {
        self.document().ended.last().expect("an experiment is over").conclusion
    }

    /// Detail of every event of a type.
    fn told(&self, detail_type: &str) -> Vec<Value> {
        let events = self.world.events().into_iter();
        let of_type = events.filter(|(known, _)| known == detail_type);
        of_type
            .map(|(_, detail)| serde_json::from_str(&detail).unwrap())
            .collect()
    }
}

/// What AWS in memory lends a function must be all that it asks for.
fn is_a_world(_: &impl World) {}

#[tokio::test]
async fn a_better_candidate_is_promoted_and_what_is_used_no_more_is_removed() {
    let mut play = Play::new(POLICY, BETTER);
    is_a_world(&play.world);
    play.offer(2, "Approved").await;
    play.run(180).await;
    assert_eq!(play.conclusion(), Conclusion::Promoted);
    let ended = play.document().ended.pop().unwrap().experiment;
    let told = play.told("Experiment State Change").pop().unwrap();
    let sentence = told["sentence"].as_str().unwrap();
    assert!(sentence.contains("with 100 % of the traffic"), "{sentence}");
    assert_eq!(told["variants"][1]["weight"], 100.0);
    let (config, variants) = play.world.hosted("churn").unwrap();
    assert_eq!(config, ended.final_config());
    assert_eq!(variants.len(), 1);
    let served = play.world.serves("churn", &ended.variant_name());
    assert_eq!(served, Some(CHAMPION.replace("churn/1", "churn/2")));
    let (configs, models) = play.world.hosted_names();
    assert!(!configs.contains(&ended.test_config()) && models.contains(&ended.model_name()));
    let stages: Vec<String> = play
        .told("Experiment State Change")
        .iter()
        .map(|change| change["stage"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        stages,
        [
            "Preparing",
            "Testing",
            "Testing",
            "Promoting",
            "Baking",
            "Retiring",
            "Ended"
        ]
    );
    // It serves now: offered again, it is no candidate.
    play.offer(2, "Approved").await;
    assert!(play.document().experiment.is_none());
}

#[tokio::test]
async fn a_candidate_that_an_incident_waits_for_takes_over_its_correlation_id() {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut play = Play::new(POLICY, BETTER);
    let incident = json!({
        "number": 1, "id": "churn-1", "correlation_id": id, "token": "t", "stage": "Candidate",
        "opened_at": play.world.time(), "monitors": [], "execution": {"arn": RUN, "status": "Succeeded"},
    });
    let document = json!({"version": 1, "model": "churn", "incidents": 1, "incident": incident});
    play.world.put_document("models/churn.json", document.to_string());
    play.offer(2, "Approved").await;
    play.run(180).await;
    assert_eq!(play.conclusion(), Conclusion::Promoted);
    let told = play.told("Experiment State Change");
    assert!(told.len() > 3);
    assert!(told.iter().all(|told| told["correlationId"] == id), "{told:?}");
}

#[tokio::test]
async fn candidates_that_are_worse_equal_slow_or_skewed_are_rolled_back_each_for_its_reason() {
    for (truth, conclusion, why) in [
        (WORSE, Conclusion::RolledBack, "worse by"),
        (EQUAL, Conclusion::Inconclusive, "the time is over"),
        (SLOW, Conclusion::RolledBack, "guardrail `latency_p99` is broken"),
        (SKEWED, Conclusion::Invalid, "did not get the shares"),
    ] {
        let mut play = Play::new(POLICY, truth);
        play.offer(2, "Approved").await;
        play.run(400).await;
        assert_eq!(play.conclusion(), conclusion, "{why}");
        let (config, variants) = play.world.hosted("churn").unwrap();
        assert_eq!((config.as_str(), variants.len()), ("base", 1), "{why}");
        let told = play.told("Experiment State Change");
        let sentences: Vec<&str> = told.iter().map(|change| change["sentence"].as_str().unwrap()).collect();
        assert!(
            sentences.iter().any(|sentence| sentence.contains(why)),
            "{why}: {sentences:#?}"
        );
        let (configs, models) = play.world.hosted_names();
        assert!(
            configs
                .iter()
                .chain(&models)
                .all(|name| !name.starts_with("driftwarden")),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_slow_candidate_is_stopped_within_minutes() {
    let mut play = Play::new(POLICY, SLOW);
    play.offer(2, "Approved").await;
    play.run(60).await;
    let ended = play.document().ended.pop().unwrap();
    let started = ended.experiment.started_at.unwrap();
    let took = ended.ended_at.duration_since(started);
    // Three minutes of latencies, then five for the endpoint's update back.
    assert!(took <= SignedDuration::from_mins(12), "{took}");
}

#[tokio::test]
async fn outcomes_that_are_certain_at_once_wait_for_the_guardrails() {
    let policy = POLICY.replace("traffic = [20.0, 50.0]", "traffic = [50.0]");
    let mut play = Play::new(&policy, SLOW);
    play.offer(2, "Approved").await;
    let mut minutes = 0;
    while play.document().experiment.is_some() {
        minutes += 1;
        assert!(minutes < 60);
        // Within a minute there are outcomes enough, and no guardrail has been heard.
        play.traffic(2000);
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::RolledBack);
}

#[tokio::test]
async fn a_pending_package_waits_for_its_approval_and_the_champion_is_no_candidate() {
    let mut play = Play::new(POLICY, BETTER);
    // Old, and in service already.
    for _ in 0..20 {
        play.tick().await;
        play.world.pass(SignedDuration::from_mins(1));
    }
    assert_eq!(play.world.document("experiments/churn.json"), None);
    play.offer(2, "PendingManualApproval").await;
    play.world.pass(SignedDuration::from_mins(30));
    play.tick().await;
    let open = play.document().experiment.unwrap();
    assert_eq!(open.stage, ExperimentStage::AwaitingApproval);
    // The event of the approval is lost, and found by the ticks.
    play.world.put_package(package(2, "Approved"));
    for _ in 0..12 {
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_ne!(
        play.document().experiment.unwrap().stage,
        ExperimentStage::AwaitingApproval
    );
}

#[tokio::test]
async fn a_candidate_that_no_event_told_of_is_found() {
    let mut play = Play::new(POLICY, BETTER);
    play.world.put_package(package(2, "Approved"));
    for _ in 0..12 {
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.document().experiments, 1);
}

#[tokio::test]
async fn the_gate_compares_the_packages_own_reports() {
    let gate = "gate = { metric = \"/binary_classification_metrics/auc/value\", worse_by = 0.01 }\n";
    let mut play = Play::new(&format!("{POLICY}{gate}"), BETTER);
    for (version, auc) in [(1, 0.9), (2, 0.8)] {
        let uri = format!("s3://data/packages/{version}.json");
        let report = json!({"binary_classification_metrics": {"auc": {"value": auc}}});
        play.world.put_object(&uri, report.to_string());
        play.world.put_package(DescribedModelPackage {
            model_quality: Some(uri),
            ..package(version, "Approved")
        });
    }
    for _ in 0..12 {
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::Rejected);
    assert_eq!(play.world.update_count(), 0);
    let told = play.told("Experiment State Change");
    let sentence = told.last().unwrap()["sentence"].as_str().unwrap();
    assert!(sentence.contains("worse by 0.1000, where 0.01 may be"), "{sentence}");
}

#[tokio::test]
async fn updates_that_fail_are_tried_three_times_and_then_the_champion_stays() {
    let mut play = Play::new(POLICY, BETTER);
    play.world.fail_updates(3);
    play.offer(2, "Approved").await;
    play.run(120).await;
    assert_eq!(play.conclusion(), Conclusion::Failed);
    assert_eq!(play.world.update_count(), 3);
    assert_eq!(play.world.hosted("churn").unwrap().0, "base");
    let mut play = Play::new(POLICY, BETTER);
    play.world.fail_updates(2);
    play.offer(2, "Approved").await;
    play.run(240).await;
    assert_eq!(play.conclusion(), Conclusion::Promoted);
}

#[tokio::test]
async fn what_sagemaker_refuses_ends_the_experiment_with_its_reason() {
    let mut play = Play::new(POLICY, BETTER);
    for _ in 0..3 {
        let denied = shell::memory::Fault::Before(shell::Kind::Denied);
        play.world.fail("sagemaker:CreateEndpointConfig", denied);
    }
    play.offer(2, "Approved").await;
    play.run(30).await;
    assert_eq!(play.conclusion(), Conclusion::Failed);
    let told = play.told("Experiment State Change");
    let sentence = told.last().unwrap()["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("SageMaker will not put it on the endpoint"),
        "{sentence}"
    );
}

#[tokio::test]
async fn an_endpoint_that_somebody_else_changes_is_left_alone() {
    let mut play = Play::new(POLICY, EQUAL);
    play.offer(2, "Approved").await;
    for _ in 0..15 {
        play.traffic(60);
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.document().experiment.unwrap().stage, ExperimentStage::Testing);
    play.world.change_endpoint("churn", "theirs", &[("Theirs", 1.0)]);
    let updates = play.world.update_count();
    play.run(5).await;
    assert_eq!(play.conclusion(), Conclusion::Abandoned);
    assert_eq!(play.world.update_count(), updates);
}

#[tokio::test]
async fn a_person_may_stop_promote_and_roll_back_once_each() {
    for (order, conclusion) in [
        ("Stop", Conclusion::Stopped),
        ("Rollback", Conclusion::RolledBack),
        ("Promote", Conclusion::Promoted),
    ] {
        let mut play = Play::new(POLICY, EQUAL);
        play.offer(2, "Approved").await;
        for _ in 0..10 {
            play.traffic(60);
            play.world.pass(SignedDuration::from_mins(1));
            play.tick().await;
        }
        let command = json!({
            "model": "churn", "experimentId": "churn-ab-1", "order": order, "by": "ada", "time": "2026-11-23T10:10:00Z",
        });
        let event = Play::event("driftwarden.operator", "Experiment Command", &command);
        assert!(matches!(play.deliver(&event).await, Handled::Changed { .. }));
        play.run(60).await;
        assert_eq!(play.conclusion(), conclusion);
        let told = play.told("Experiment State Change").len();
        assert!(matches!(play.deliver(&event).await, Handled::Known { .. }));
        assert_eq!(play.told("Experiment State Change").len(), told);
    }
}

#[tokio::test]
async fn five_variants_keep_their_proportions_beside_a_candidate() {
    let mut play = Play::new(POLICY, EQUAL);
    let shares = [("A", 45.0), ("B", 10.0), ("C", 20.0), ("D", 15.0), ("E", 10.0)];
    let variants = shares.map(|(name, weight)| (name, weight, Some(CHAMPION)));
    play.world.put_endpoint("churn", "five", &variants);
    play.offer(2, "Approved").await;
    for _ in 0..8 {
        play.traffic(200);
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    let (_, hosted) = play.world.hosted("churn").unwrap();
    assert_eq!(hosted.len(), 6);
    for (name, weight) in shares {
        let found = hosted.iter().find(|variant| variant.name == name).unwrap();
        assert!((found.weight - weight * 0.8).abs() < 1e-9, "{name}: {}", found.weight);
    }
    let open = play.document().experiment.unwrap();
    assert_eq!(open.compared().unwrap().0, "A");
}

#[tokio::test]
async fn a_metric_of_the_owners_comes_by_events_or_from_cloudwatch() {
    let custom = POLICY.replace("capture = {", "metric = \"purchases\"\n# capture = {");
    let mut play = Play::new(&custom, BETTER);
    play.offer(2, "Approved").await;
    let candidate = loop {
        play.traffic(60);
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
        let open = play.document().experiment.unwrap();
        if open.counts_since().is_some() {
            break open.variant_name();
        }
    };
    let mut minutes = 0;
    while play.document().experiment.is_some() {
        minutes += 1;
        assert!(minutes < 200);
        play.traffic(60);
        for (variant, sum) in [("AllTraffic", 100), (candidate.as_str(), 300)] {
            let reported = json!({
                "model": "churn", "variantName": variant, "metric": "purchases", "periodStart": play.world.time().to_string(),
                "outcomes": {"count": 1000, "sum": sum, "sumOfSquares": sum}, "time": play.world.time().to_string(),
            });
            let event = Play::event("driftwarden.operator", "Experiment Outcomes Reported", &reported);
            // Twice counts once.
            play.deliver(&event).await;
            play.deliver(&event).await;
        }
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::Promoted);

    let cloudwatch = custom.replace(
        "# capture",
        "cloudwatch = { namespace = \"Shop\", metric_name = \"Purchases\" }\n# capture",
    );
    let mut play = Play::new(&cloudwatch, BETTER);
    play.offer(2, "Approved").await;
    let mut minutes = 0;
    while play.document().experiment.is_some() {
        minutes += 1;
        assert!(minutes < 200);
        play.traffic(60);
        let candidate = play.document().experiment.unwrap().variant_name();
        for (variant, successes) in [("AllTraffic", 20), (candidate.as_str(), 5)] {
            play.world
                .put_value("Shop", "Purchases", "churn", variant, 1.0, successes);
            play.world
                .put_value("Shop", "Purchases", "churn", variant, 0.0, 100 - successes);
        }
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::RolledBack);
}

#[tokio::test]
async fn outcomes_that_cannot_be_read_are_told_and_guardrails_go_on() {
    let mut play = Play::new(POLICY, SLOW);
    play.world
        .refuse_object("s3://data/analysis_config.json", shell::Kind::Denied);
    play.offer(2, "Approved").await;
    let mut waited = Vec::new();
    for _ in 0..30 {
        play.traffic(60);
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
        waited.extend(play.document().experiment.and_then(|open| open.waits_for));
    }
    assert!(
        waited.iter().any(|what| what.contains("the outcomes of its variants")),
        "{waited:?}"
    );
    assert_eq!(play.conclusion(), Conclusion::RolledBack);
}

#[tokio::test]
async fn the_monitors_of_a_promoted_model_get_its_baselines_and_their_old_ones_back_if_it_is_rolled_back() {
    let mut play = Play::new(&format!("{POLICY}{BASELINES}"), BETTER);
    let sagemakers = MonitorBaseline {
        monitoring_schedule: "churn-model-quality".to_owned(),
        monitor_type: "ModelQuality".to_owned(),
        own: false,
        baseline_uri: Some("s3://data/baselines/old".to_owned()),
    };
    play.world.put_monitor("churn", sagemakers.clone());
    play.offer(2, "Approved").await;
    while play.document().experiment.unwrap().stage != ExperimentStage::Baking {
        play.traffic(60);
        play.world.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    play.tick().await;
    let requested = play.told("Model Baselines Requested");
    assert_eq!(requested.len(), 1);
    let request = requested.first().unwrap();
    assert_eq!(request["outputUri"], "s3://data/baselines/2");
    assert_eq!(request["trainingDataUri"], "s3://data/training/2.csv");
    let created = BaselinesCreated {
        version: "1".to_owned(),
        id: request["id"].as_str().unwrap().to_owned(),
        correlation_id: request["correlationId"].as_str().map(str::to_owned),
        model: "churn".to_owned(),
        experiment_id: "churn-ab-1".to_owned(),
        model_package_arn: CHAMPION.replace("churn/1", "churn/2"),
        baselines: ["churn-data-quality", "churn-model-quality"]
            .map(|schedule| MonitorBaseline {
                monitoring_schedule: schedule.to_owned(),
                monitor_type: "DataQuality".to_owned(),
                own: schedule == "churn-data-quality",
                baseline_uri: Some(format!("s3://data/baselines/2/{schedule}")),
            })
            .to_vec(),
        not_created: Vec::new(),
        time: play.world.time(),
    };
    let event = Play::event(
        "driftwarden",
        "Model Baselines Created",
        &serde_json::to_value(&created).unwrap(),
    );
    for _ in 0..3 {
        play.deliver(&event).await;
    }
    let of = |play: &Play, schedule: &str| -> BaselineDocument {
        let body = play.world.document(&BaselineDocument::key(schedule)).unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    assert_eq!(
        of(&play, "churn-data-quality").change.baseline_uri,
        "s3://data/baselines/2/churn-data-quality"
    );
    let held = play.world.monitors("churn").pop().unwrap().baseline_uri;
    assert_eq!(held.unwrap(), "s3://data/baselines/2/churn-model-quality");
    assert_eq!(play.told("Monitor Baseline Change").len(), 2, "told once each");

    let command = json!({
        "model": "churn", "experimentId": "churn-ab-1", "order": "Rollback", "by": "ada", "time": "2026-11-23T12:00:00Z",
    });
    play.world.pass(SignedDuration::from_mins(1));
    play.deliver(&Play::event("driftwarden.operator", "Experiment Command", &command))
        .await;
    play.run(60).await;
    assert_eq!(
        of(&play, "churn-data-quality").change.baseline_uri,
        "s3://data/baselines/first"
    );
    assert_eq!(play.world.monitors("churn"), [sagemakers]);
    // An answer that comes late changes nothing any more.
    play.deliver(&event).await;
    assert_eq!(
        of(&play, "churn-data-quality").change.baseline_uri,
        "s3://data/baselines/first"
    );
}

#[tokio::test]
async fn calls_that_fail_change_nothing_of_what_becomes_of_a_candidate() {
    for (seed, truth, conclusion) in [
        (1, BETTER, Conclusion::Promoted),
        (2, WORSE, Conclusion::RolledBack),
        (3, SKEWED, Conclusion::Invalid),
        (4, SLOW, Conclusion::RolledBack),
    ] {
        let mut play = Play::new(POLICY, truth);
        play.offer(2, "Approved").await;
        play.world.trouble(seed, 60);
        play.run(400).await;
        assert_eq!(play.conclusion(), conclusion, "seed {seed}");
        let document = play.document();
        assert_eq!(document.experiments, 1);
        let expected = if conclusion == Conclusion::Promoted {
            document.ended.last().unwrap().experiment.final_config()
        } else {
            "base".to_owned()
        };
        assert_eq!(play.world.hosted("churn").unwrap().0, expected, "seed {seed}");
        // Each change is told at least once, in its order.
        let mut ids: Vec<String> = play
            .told("Experiment State Change")
            .iter()
            .map(|change| change["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(
            ids.len(),
            play.document().ended.last().unwrap().experiment.told(),
            "seed {seed}"
        );
    }
}
