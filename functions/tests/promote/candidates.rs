//! Candidates on AWS in memory: a model package is registered, traffic arrives each minute by the weights of the endpoint,
//! labels arrive late, and the function decides.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use fastrand::Rng;
use functions::promote::{Handled, Promote, PromoteClients};
use jiff::{SignedDuration, Timestamp};
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

/// True behavior of a candidate.
#[derive(Clone, Copy)]
struct Truth {
    accuracy: f64,
    /// `ModelLatency` in microseconds.
    latency: f64,
    /// Share of its requests that are lost.
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
    aws: Memory,
    promote: Promote,
    truth: Truth,
    rng: Rng,
    requests: u32,
    calls: u64,
}

impl Play {
    fn new(policy: &str, truth: Truth) -> Self {
        let aws = Memory::at("2026-11-23T10:00:00Z".parse().unwrap());
        aws.put_document("policy.toml", policy);
        aws.put_endpoint("churn", "base", &[("AllTraffic", 1.0, Some(CHAMPION))]);
        aws.put_package(DescribedModelPackage {
            created: "2026-06-01T00:00:00Z".parse().unwrap(),
            ..package(1, "Approved")
        });
        let config = json!({"problem_type": "BinaryClassification", "inference_attribute": "0"});
        aws.put_object("s3://data/analysis_config.json", config.to_string());
        Self {
            aws,
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

    async fn send(&mut self, event: &str) -> Result<Handled, functions::Error> {
        self.calls += 1;
        let id = format!("request-{}", self.calls);
        self.promote.handle(&self.aws, event, &id, Timestamp::MAX).await
    }

    /// Delivers an event like Lambda: three attempts with the same request ID.
    async fn deliver(&mut self, event: &str) -> Handled {
        self.calls += 1;
        let id = format!("request-{}", self.calls);
        for _ in 0..2 {
            if let Ok(handled) = self.promote.handle(&self.aws, event, &id, Timestamp::MAX).await {
                return handled;
            }
        }
        self.promote
            .handle(&self.aws, event, &id, Timestamp::MAX)
            .await
            .unwrap()
    }

    async fn tick(&mut self) {
        // A failed tick is followed by the next one.
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
        self.aws.put_package(package);
        let event = Self::event("aws.sagemaker", "SageMaker Model Package State Change", &detail);
        self.deliver(&event).await
    }

    /// One minute of traffic, split by the weights of the endpoint.
    fn traffic(&mut self, requests: u32) {
        let now = self.aws.time();
        let (_, variants) = self.aws.hosted("churn").unwrap();
        let total: f64 = variants.iter().map(|variant| variant.weight).sum();
        let hour = now.strftime("%Y/%m/%d/%H").to_string();
        let mut labels = String::new();
        for Variant { name, weight } in &variants {
            let is_candidate = name.starts_with("candidate");
            let lost = if is_candidate { self.truth.lost } else { 0.0 };
            let (accuracy, latency) = if is_candidate {
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
                // One of ten labels never arrives.
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
                    self.aws.put_value("AWS/SageMaker", metric, "churn", name, value, count);
                };
                value("Invocations", 1.0, served);
                value("ModelLatency", latency * (0.95 + self.rng.f64() / 10.0), served);
            }
        }
        self.append(&format!("s3://data/labels/{hour}/labels.jsonl"), &labels);
    }

    fn append(&self, uri: &str, lines: &str) {
        let mut body = self.aws.object(uri).unwrap_or_default();
        body.extend_from_slice(lines.as_bytes());
        self.aws.put_object(uri, body);
    }

    /// Minutes of traffic and ticks, until the experiment has ended.
    async fn run(&mut self, minutes: u32) {
        for _ in 0..minutes {
            self.traffic(60);
            self.aws.pass(SignedDuration::from_mins(1));
            self.tick().await;
            let document = self.document();
            if document.experiment.is_none() && document.outbox.is_empty() {
                return;
            }
        }
        let open = self.document().experiment.map(|open| (open.stage, open.waits_for));
        panic!("not ended after {minutes} minutes: {open:?}");
    }

    fn document(&self) -> ExperimentDocument {
        let body = self
            .aws
            .document("experiments/churn.json")
            .expect("the model has experiments");
        serde_json::from_slice(&body).unwrap()
    }

    fn conclusion(&self) -> Conclusion {
        self.document()
            .ended
            .last()
            .expect("an experiment has ended")
            .conclusion
    }

    /// Details of the published events of a type.
    fn published(&self, detail_type: &str) -> Vec<Value> {
        let events = self.aws.events().into_iter();
        let of_type = events.filter(|(known, _)| known == detail_type);
        of_type
            .map(|(_, detail)| serde_json::from_str(&detail).unwrap())
            .collect()
    }
}

/// Checks at compile time that AWS in memory implements all clients.
fn implements_promote_clients(_: &impl PromoteClients) {}

#[tokio::test]
async fn better_candidate_is_promoted() {
    let mut play = Play::new(POLICY, BETTER);
    implements_promote_clients(&play.aws);
    play.offer(2, "Approved").await;
    play.run(180).await;
    assert_eq!(play.conclusion(), Conclusion::Promoted);
    let ended = play.document().ended.pop().unwrap().experiment;
    let published = play.published("Experiment State Change").pop().unwrap();
    let sentence = published["sentence"].as_str().unwrap();
    assert!(sentence.contains("traffic share 100%"), "{sentence}");
    assert_eq!(published["variants"][1]["weight"], 100.0);
    let (config, variants) = play.aws.hosted("churn").unwrap();
    assert_eq!(config, ended.final_config());
    assert_eq!(variants.len(), 1);
    let served = play.aws.serves("churn", &ended.variant_name());
    assert_eq!(served, Some(CHAMPION.replace("churn/1", "churn/2")));
    let (configs, models) = play.aws.hosted_names();
    assert!(!configs.contains(&ended.test_config()) && models.contains(&ended.model_name()));
    let stages: Vec<String> = play
        .published("Experiment State Change")
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
    // The champion is not a candidate.
    play.offer(2, "Approved").await;
    assert!(play.document().experiment.is_none());
}

#[tokio::test]
async fn candidate_of_incident_has_its_correlation_id() {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut play = Play::new(POLICY, BETTER);
    let incident = json!({
        "number": 1, "id": "churn-1", "correlation_id": id, "token": "t", "stage": "Candidate",
        "opened_at": play.aws.time(), "monitors": [], "execution": {"arn": RUN, "status": "Succeeded"},
    });
    let document = json!({"version": 1, "model": "churn", "incidents": 1, "incident": incident});
    play.aws.put_document("models/churn.json", document.to_string());
    play.offer(2, "Approved").await;
    play.run(180).await;
    assert_eq!(play.conclusion(), Conclusion::Promoted);
    let published = play.published("Experiment State Change");
    assert!(published.len() > 3);
    assert!(
        published.iter().all(|change| change["correlationId"] == id),
        "{published:?}"
    );
}

#[tokio::test]
async fn rejected_candidates_are_rolled_back_with_reason() {
    for (truth, conclusion, why) in [
        (WORSE, Conclusion::RolledBack, "worse"),
        (EQUAL, Conclusion::Inconclusive, "the maximum duration has passed"),
        (SLOW, Conclusion::RolledBack, "guardrail `latency_p99` is breached"),
        (
            SKEWED,
            Conclusion::Invalid,
            "did not get their configured traffic shares",
        ),
    ] {
        let mut play = Play::new(POLICY, truth);
        play.offer(2, "Approved").await;
        play.run(400).await;
        assert_eq!(play.conclusion(), conclusion, "{why}");
        let (config, variants) = play.aws.hosted("churn").unwrap();
        assert_eq!((config.as_str(), variants.len()), ("base", 1), "{why}");
        let published = play.published("Experiment State Change");
        let sentences: Vec<&str> = published
            .iter()
            .map(|change| change["sentence"].as_str().unwrap())
            .collect();
        assert!(
            sentences.iter().any(|sentence| sentence.contains(why)),
            "{why}: {sentences:#?}"
        );
        let (configs, models) = play.aws.hosted_names();
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
async fn slow_candidate_is_rolled_back_within_minutes() {
    let mut play = Play::new(POLICY, SLOW);
    play.offer(2, "Approved").await;
    play.run(60).await;
    let ended = play.document().ended.pop().unwrap();
    let started = ended.experiment.started_at.unwrap();
    let took = ended.ended_at.duration_since(started);
    // Three minutes of latencies, then five for the endpoint update.
    assert!(took <= SignedDuration::from_mins(12), "{took}");
}

#[tokio::test]
async fn promotion_waits_for_guardrail_data() {
    let policy = POLICY.replace("traffic = [20.0, 50.0]", "traffic = [50.0]");
    let mut play = Play::new(&policy, SLOW);
    play.offer(2, "Approved").await;
    let mut minutes = 0;
    while play.document().experiment.is_some() {
        minutes += 1;
        assert!(minutes < 60);
        // After one minute there are enough outcomes, but no guardrail data.
        play.traffic(2000);
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::RolledBack);
}

#[tokio::test]
async fn pending_package_waits_for_approval() {
    let mut play = Play::new(POLICY, BETTER);
    // The champion's package is old and in service: it is not a candidate.
    for _ in 0..20 {
        play.tick().await;
        play.aws.pass(SignedDuration::from_mins(1));
    }
    assert_eq!(play.aws.document("experiments/churn.json"), None);
    play.offer(2, "PendingManualApproval").await;
    play.aws.pass(SignedDuration::from_mins(30));
    play.tick().await;
    let open = play.document().experiment.unwrap();
    assert_eq!(open.stage, ExperimentStage::AwaitingApproval);
    // The event of the approval is lost; a tick finds the approval.
    play.aws.put_package(package(2, "Approved"));
    for _ in 0..12 {
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_ne!(
        play.document().experiment.unwrap().stage,
        ExperimentStage::AwaitingApproval
    );
}

#[tokio::test]
async fn candidate_with_lost_event_is_found() {
    let mut play = Play::new(POLICY, BETTER);
    play.aws.put_package(package(2, "Approved"));
    for _ in 0..12 {
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.document().experiments, 1);
}

#[tokio::test]
async fn gate_compares_reports_of_packages() {
    let gate = "gate = { metric = \"/binary_classification_metrics/auc/value\", worse_by = 0.01 }\n";
    let mut play = Play::new(&format!("{POLICY}{gate}"), BETTER);
    for (version, auc) in [(1, 0.9), (2, 0.8)] {
        let uri = format!("s3://data/packages/{version}.json");
        let report = json!({"binary_classification_metrics": {"auc": {"value": auc}}});
        play.aws.put_object(&uri, report.to_string());
        play.aws.put_package(DescribedModelPackage {
            model_quality: Some(uri),
            ..package(version, "Approved")
        });
    }
    for _ in 0..12 {
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::Rejected);
    assert_eq!(play.aws.update_count(), 0);
    let published = play.published("Experiment State Change");
    let sentence = published.last().unwrap()["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("0.1000 worse; the allowed difference is 0.01"),
        "{sentence}"
    );
}

#[tokio::test]
async fn failed_updates_are_retried_twice() {
    let mut play = Play::new(POLICY, BETTER);
    play.aws.fail_updates(3);
    play.offer(2, "Approved").await;
    play.run(120).await;
    assert_eq!(play.conclusion(), Conclusion::Failed);
    assert_eq!(play.aws.update_count(), 3);
    assert_eq!(play.aws.hosted("churn").unwrap().0, "base");
    let mut play = Play::new(POLICY, BETTER);
    play.aws.fail_updates(2);
    play.offer(2, "Approved").await;
    play.run(240).await;
    assert_eq!(play.conclusion(), Conclusion::Promoted);
}

#[tokio::test]
async fn rejected_deployment_ends_experiment() {
    let mut play = Play::new(POLICY, BETTER);
    for _ in 0..3 {
        let denied = shell::memory::Fault::Before(machine::Kind::Denied);
        play.aws.fail("sagemaker:CreateEndpointConfig", denied);
    }
    play.offer(2, "Approved").await;
    play.run(30).await;
    assert_eq!(play.conclusion(), Conclusion::Failed);
    let published = play.published("Experiment State Change");
    let sentence = published.last().unwrap()["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("SageMaker rejected the deployment of the candidate"),
        "{sentence}"
    );
}

#[tokio::test]
async fn externally_changed_endpoint_is_not_touched() {
    let mut play = Play::new(POLICY, EQUAL);
    play.offer(2, "Approved").await;
    for _ in 0..15 {
        play.traffic(60);
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.document().experiment.unwrap().stage, ExperimentStage::Testing);
    play.aws.change_endpoint("churn", "theirs", &[("Theirs", 1.0)]);
    let updates = play.aws.update_count();
    play.run(5).await;
    assert_eq!(play.conclusion(), Conclusion::Abandoned);
    assert_eq!(play.aws.update_count(), updates);
}

#[tokio::test]
async fn operator_commands_apply_once() {
    for (order, conclusion) in [
        ("Stop", Conclusion::Stopped),
        ("Rollback", Conclusion::RolledBack),
        ("Promote", Conclusion::Promoted),
    ] {
        let mut play = Play::new(POLICY, EQUAL);
        play.offer(2, "Approved").await;
        for _ in 0..10 {
            play.traffic(60);
            play.aws.pass(SignedDuration::from_mins(1));
            play.tick().await;
        }
        let command = json!({
            "model": "churn", "experimentId": "churn-ab-1", "order": order, "by": "ada", "time": "2026-11-23T10:10:00Z",
        });
        let event = Play::event("driftwarden.operator", "Experiment Command", &command);
        assert!(matches!(play.deliver(&event).await, Handled::Changed { .. }));
        play.run(60).await;
        assert_eq!(play.conclusion(), conclusion);
        let published = play.published("Experiment State Change").len();
        assert!(matches!(play.deliver(&event).await, Handled::Known { .. }));
        assert_eq!(play.published("Experiment State Change").len(), published);
    }
}

#[tokio::test]
async fn other_variants_keep_their_proportions() {
    let mut play = Play::new(POLICY, EQUAL);
    let shares = [("A", 45.0), ("B", 10.0), ("C", 20.0), ("D", 15.0), ("E", 10.0)];
    let variants = shares.map(|(name, weight)| (name, weight, Some(CHAMPION)));
    play.aws.put_endpoint("churn", "five", &variants);
    play.offer(2, "Approved").await;
    for _ in 0..8 {
        play.traffic(200);
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    let (_, hosted) = play.aws.hosted("churn").unwrap();
    assert_eq!(hosted.len(), 6);
    for (name, weight) in shares {
        let found = hosted.iter().find(|variant| variant.name == name).unwrap();
        assert!((found.weight - weight * 0.8).abs() < 1e-9, "{name}: {}", found.weight);
    }
    let open = play.document().experiment.unwrap();
    assert_eq!(open.compared_variants().unwrap().0, "A");
}

/// The policy with a custom metric instead of captured data.
fn custom_policy() -> String {
    POLICY.replace("capture = {", "metric = \"purchases\"\n# capture = {")
}

#[tokio::test]
async fn custom_metric_is_reported_by_events() {
    let mut play = Play::new(&custom_policy(), BETTER);
    play.offer(2, "Approved").await;
    let candidate = loop {
        play.traffic(60);
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
        let open = play.document().experiment.unwrap();
        if open.count_start().is_some() {
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
                "model": "churn", "variantName": variant, "metric": "purchases", "periodStart": play.aws.time().to_string(),
                "outcomes": {"count": 1000, "sum": sum, "sumOfSquares": sum}, "time": play.aws.time().to_string(),
            });
            let event = Play::event("driftwarden.pipeline", "Experiment Outcomes Reported", &reported);
            // A repeated report counts once.
            play.deliver(&event).await;
            play.deliver(&event).await;
        }
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::Promoted);
}

#[tokio::test]
async fn custom_metric_is_read_from_cloudwatch() {
    let cloudwatch = custom_policy().replace(
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
            play.aws
                .put_value("Shop", "Purchases", "churn", variant, 1.0, successes);
            play.aws
                .put_value("Shop", "Purchases", "churn", variant, 0.0, 100 - successes);
        }
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    assert_eq!(play.conclusion(), Conclusion::RolledBack);
}

#[tokio::test]
async fn guardrails_apply_if_outcomes_are_unreadable() {
    let mut play = Play::new(POLICY, SLOW);
    play.aws
        .refuse_object("s3://data/analysis_config.json", machine::Kind::Denied);
    play.offer(2, "Approved").await;
    let mut waited = Vec::new();
    for _ in 0..30 {
        play.traffic(60);
        play.aws.pass(SignedDuration::from_mins(1));
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
async fn monitors_follow_promotion_and_rollback() {
    let mut play = Play::new(&format!("{POLICY}{BASELINES}"), BETTER);
    let model_monitor = MonitorBaseline {
        monitoring_schedule: "churn-model-quality".to_owned(),
        monitor_type: "ModelQuality".to_owned(),
        own: false,
        baseline_uri: Some("s3://data/baselines/old".to_owned()),
    };
    play.aws.put_monitor("churn", model_monitor.clone());
    play.offer(2, "Approved").await;
    while play.document().experiment.unwrap().stage != ExperimentStage::Baking {
        play.traffic(60);
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    play.tick().await;
    let requested = play.published("Model Baselines Requested");
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
        time: play.aws.time(),
    };
    let event = Play::event(
        "driftwarden",
        "Model Baselines Created",
        &serde_json::to_value(&created).unwrap(),
    );
    for _ in 0..3 {
        play.deliver(&event).await;
    }
    let baseline = |play: &Play, schedule: &str| -> BaselineDocument {
        let body = play.aws.document(&BaselineDocument::key(schedule)).unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    assert_eq!(
        baseline(&play, "churn-data-quality").change.baseline_uri,
        "s3://data/baselines/2/churn-data-quality"
    );
    let baseline_uri = play.aws.monitors("churn").pop().unwrap().baseline_uri;
    assert_eq!(baseline_uri.unwrap(), "s3://data/baselines/2/churn-model-quality");
    assert_eq!(
        play.published("Monitor Baseline Change").len(),
        2,
        "one change per monitor"
    );

    // A newer release adds a field.
    let key = BaselineDocument::key("churn-data-quality");
    let stored = |play: &Play| serde_json::from_slice::<Value>(&play.aws.document(&key).unwrap()).unwrap();
    let mut document = stored(&play);
    document["added"] = json!({"later": true});
    play.aws.put_document(&key, document.to_string());

    let command = json!({
        "model": "churn", "experimentId": "churn-ab-1", "order": "Rollback", "by": "ada", "time": "2026-11-23T12:00:00Z",
    });
    play.aws.pass(SignedDuration::from_mins(1));
    play.deliver(&Play::event("driftwarden.operator", "Experiment Command", &command))
        .await;
    play.run(60).await;
    assert_eq!(
        baseline(&play, "churn-data-quality").change.baseline_uri,
        "s3://data/baselines/first"
    );
    assert_eq!(play.aws.monitors("churn"), [model_monitor]);
    assert_eq!(stored(&play)["added"], document["added"], "the field survives");
    // A late response has no effect.
    play.deliver(&event).await;
    assert_eq!(
        baseline(&play, "churn-data-quality").change.baseline_uri,
        "s3://data/baselines/first"
    );
}

#[tokio::test]
async fn baseline_document_of_newer_version_is_not_written() {
    let mut play = Play::new(&format!("{POLICY}{BASELINES}"), BETTER);
    let key = BaselineDocument::key("churn-data-quality");
    let change = json!({
        "version": "1", "id": "1", "model": "churn", "monitoringSchedule": "churn-data-quality",
        "monitorType": "DataQuality", "baselineUri": "s3://data/baselines/1", "experimentId": "churn-ab-0",
        "sentence": "changed", "time": "2026-11-01T00:00:00Z",
    });
    let document = |version: u64| json!({"version": version, "change": change, "added": true}).to_string();
    play.aws.put_document(&key, document(2));
    play.offer(2, "Approved").await;
    while play.document().experiment.unwrap().stage != ExperimentStage::Baking {
        play.traffic(60);
        play.aws.pass(SignedDuration::from_mins(1));
        play.tick().await;
    }
    play.tick().await;
    assert!(
        play.published("Model Baselines Requested").is_empty(),
        "the baseline is unknown"
    );
    // The newer release is back, and changes the document while baselines are created.
    play.aws.put_document(&key, document(1));
    play.tick().await;
    let request = play.published("Model Baselines Requested").remove(0);
    assert_eq!(request["monitors"][0]["baselineUri"], "s3://data/baselines/1");
    play.aws.put_document(&key, document(2));
    let created = json!({
        "version": "1", "id": request["id"], "model": "churn", "experimentId": "churn-ab-1",
        "modelPackageArn": request["modelPackageArn"], "time": "2026-11-23T12:00:00Z",
        "baselines": [{"monitoringSchedule": "churn-data-quality", "monitorType": "DataQuality", "own": true,
                       "baselineUri": "s3://data/baselines/2/churn-data-quality"}],
    });
    let event = Play::event("driftwarden", "Model Baselines Created", &created);
    let error = play.send(&event).await.unwrap_err().to_string();
    assert!(error.contains("format version 2"), "{error}");
    assert_eq!(play.aws.document(&key).unwrap(), document(2).as_bytes());
    play.aws.put_document(&key, document(1));
    play.aws.pass(SignedDuration::from_hours(1));
    play.tick().await;
    let stored: Value = serde_json::from_slice(&play.aws.document(&key).unwrap()).unwrap();
    assert_eq!(
        stored["change"]["baselineUri"],
        "s3://data/baselines/2/churn-data-quality"
    );
    assert_eq!(stored["added"], true);
}

#[tokio::test]
async fn failed_calls_do_not_change_conclusion() {
    for (seed, truth, conclusion) in [
        (1, BETTER, Conclusion::Promoted),
        (2, WORSE, Conclusion::RolledBack),
        (3, SKEWED, Conclusion::Invalid),
        (4, SLOW, Conclusion::RolledBack),
    ] {
        let mut play = Play::new(POLICY, truth);
        play.offer(2, "Approved").await;
        play.aws.fail_randomly(seed, 60);
        play.run(400).await;
        assert_eq!(play.conclusion(), conclusion, "seed {seed}");
        let document = play.document();
        assert_eq!(document.experiments, 1);
        let expected = if conclusion == Conclusion::Promoted {
            document.ended.last().unwrap().experiment.final_config()
        } else {
            "base".to_owned()
        };
        assert_eq!(play.aws.hosted("churn").unwrap().0, expected, "seed {seed}");
        // Each change is published at least once.
        let mut ids: Vec<String> = play
            .published("Experiment State Change")
            .iter()
            .map(|change| change["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(
            ids.len(),
            play.document().ended.last().unwrap().experiment.change_count(),
            "seed {seed}"
        );
    }
}
