//! A fleet of invented models, each in its own scenario. The code of production makes their documents: ledgers evaluate their
//! windows, alerts open incidents, and decisions start pipeline executions.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use alerting::{
    Datapoint, Evidence, JobEvidence, JobStatus, Monitor, MonitorEffect, MonitorLedger, Observation, ReportEvidence,
};
use experiment::{ConfidenceSequence, Difference, Outcome as LookOutcome, Sample};
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use model_dashboard::{
    Comparison, Console, EndpointFacts, ExecutionMetrics, Facts, LineageArtifact, LineageAssociation, ModelView,
    Summary, TransformJob, VariantFacts, model_page,
};
use model_monitor::{Limits, MonitorType, Statistics, ViolationReport};
use promotion::{Comparison as ExperimentComparison, ExperimentDocument, Look};
use remediation::{
    ExecutionStatus, Facts as RemediationFacts, Input, Levels, ModelDocument, ModelEffect, ModelEffectOutcome,
    MonitorRef, PipelineExecution, PipelineStart, Policy, RiskRating, Settings, schedule_key,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, f64::consts::TAU};

/// Hours of history.
const HOURS: i64 = 96;
const ACCOUNT: &str = "arn:aws:sagemaker:eu-west-1:111122223333";

/// What happens to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Healthy,
    Repaired,
    AwaitingApproval,
    Escalated,
    Unhealthy,
    FixData,
    Batch,
    Testing,
    Promoted,
    Holding,
}

const SCENARIOS: [Scenario; 10] = [
    Scenario::Repaired,
    Scenario::Healthy,
    Scenario::AwaitingApproval,
    Scenario::Testing,
    Scenario::Batch,
    Scenario::Escalated,
    Scenario::Promoted,
    Scenario::Unhealthy,
    Scenario::FixData,
    Scenario::Holding,
];

/// A model and everything that its page shows.
pub(crate) struct Fixture {
    pub(crate) scenario: Scenario,
    pub(crate) model: String,
    pub(crate) policy: Policy,
    pub(crate) document: Option<ModelDocument>,
    pub(crate) ledgers: Vec<MonitorLedger>,
    pub(crate) experiments: Option<ExperimentDocument>,
    pub(crate) facts: Facts,
    pub(crate) measured: Vec<ExecutionMetrics>,
    pub(crate) comparisons: Vec<Comparison>,
}

pub(crate) fn now() -> Timestamp {
    "2026-11-29T02:12:00Z".parse().unwrap()
}

fn hour(at: i64) -> Timestamp {
    let begin: Timestamp = "2026-11-29T02:00:00Z".parse().unwrap();
    begin - SignedDuration::from_hours(HOURS - 1 - at)
}

fn caller(at: i64, minute: i64) -> Caller {
    Caller {
        id: format!("request-{at}-{minute}"),
        now: hour(at) + SignedDuration::from_mins(minute),
    }
}

/// The models of a fleet; the first one is `churn`.
pub(crate) fn fleet(count: usize) -> Vec<Fixture> {
    let names = [
        "churn",
        "fraud-score",
        "loan-default",
        "delivery-eta",
        "nightly-segments",
        "ad-clicks",
        "recommender",
        "credit-limit",
        "support-triage",
        "price-elasticity",
    ];
    (0..count)
        .map(|at| {
            let name = names.get(at % names.len()).unwrap();
            let name = if at < names.len() {
                (*name).to_owned()
            } else {
                format!("{name}-{:03}", at / names.len())
            };
            fixture(*SCENARIOS.get(at % SCENARIOS.len()).unwrap(), &name, at as u64)
        })
        .collect()
}

fn policy(scenario: Scenario) -> Policy {
    let automation = match scenario {
        Scenario::AwaitingApproval => "approve",
        _ => "auto",
    };
    let paused = if scenario == Scenario::Holding {
        "paused = true\n"
    } else {
        ""
    };
    let text = format!(
        "{paused}[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n[remediation]\nautomation = \"{automation}\"\ndecide_after = \"0s\"\nclose_after = 1\nfix_data_check_types = [\"data_type_check\", \"completeness_check\"]\n[retraining]\ncost = 42.5\n"
    );
    Policy::parse(text.as_bytes()).unwrap()
}

fn fixture(scenario: Scenario, model: &str, seed: u64) -> Fixture {
    let mut rng = Rng::with_seed(seed + 7);
    let policy = policy(scenario);
    let types: &[MonitorType] = match scenario {
        Scenario::Batch => &[MonitorType::DataQuality],
        Scenario::Unhealthy | Scenario::Holding => &[MonitorType::DataQuality, MonitorType::ModelQuality],
        _ => &[
            MonitorType::DataQuality,
            MonitorType::ModelQuality,
            MonitorType::ModelBias,
            MonitorType::ModelExplainability,
        ],
    };
    let endpoint = (scenario != Scenario::Batch).then(|| model.to_owned());
    let mut ledgers: Vec<MonitorLedger> = types
        .iter()
        .map(|monitor_type| {
            MonitorLedger::new(Monitor {
                schedule: format!("{model}-{}", suffix(*monitor_type)),
                endpoint: endpoint.clone(),
                model: model.to_owned(),
                monitor_type: Some(*monitor_type),
            })
        })
        .collect();
    let mut document = ModelDocument::new(model);
    let mut measured = Vec::new();
    let mut running: Option<(u64, i64)> = None;
    for at in 0..HOURS {
        if let Some((incident, since)) = running
            && at > since
        {
            running = None;
            let levels = levels(&ledgers, &policy, at);
            end_execution(&mut document, (&policy, &levels), incident, since, at, scenario);
        }
        let mut alerts = Vec::new();
        for ledger in &mut ledgers {
            play(ledger, &policy, scenario, at, &mut rng, &mut measured);
            let events: Vec<_> = ledger
                .outbox
                .entries()
                .iter()
                .map(|entry| (entry.id.clone(), entry.effect.clone()))
                .collect();
            for (id, effect) in events {
                ledger.outbox.settle(&id);
                if let MonitorEffect::PutAlertStateChange(alert) = effect {
                    alerts.push(alert);
                }
            }
        }
        let levels = levels(&ledgers, &policy, at);
        for alert in alerts {
            step(&mut document, Input::Alert(alert), (&policy, &levels), at, 12);
        }
        // The drift ends before the sweep looks at the retrained model.
        let is_ok = ledgers
            .iter()
            .all(|ledger| ledger.alert.status == alerting::AlertStatus::Ok);
        if document.incident.is_some() && is_ok {
            step(&mut document, Input::Tick, (&policy, &levels), at, 13);
        }
        let effects: Vec<_> = document
            .outbox
            .entries()
            .iter()
            .map(|entry| (entry.id.clone(), entry.effect.clone()))
            .collect();
        for (id, effect) in effects {
            document.outbox.settle(&id);
            if let ModelEffect::StartPipelineExecution(start) = effect {
                let outcome = ModelEffectOutcome::Started(execution_arn(model, start.incident));
                document.record_outcome(&ModelEffect::StartPipelineExecution(start.clone()), outcome);
                running = Some((start.incident, at));
            }
        }
    }
    let experiments = experiments(scenario, model, &mut rng);
    let facts = facts(scenario, model, &mut rng);
    let comparisons = comparison(&ledgers, &mut rng).into_iter().collect();
    Fixture {
        scenario,
        model: model.to_owned(),
        policy,
        document: (document.incidents > 0).then_some(document),
        ledgers,
        experiments,
        facts,
        measured,
        comparisons,
    }
}

fn suffix(monitor_type: MonitorType) -> &'static str {
    match monitor_type {
        MonitorType::DataQuality => "data-quality",
        MonitorType::ModelQuality => "model-quality",
        MonitorType::ModelBias => "model-bias",
        _ => "explainability",
    }
}

fn execution_arn(model: &str, incident: u64) -> String {
    format!("{ACCOUNT}:pipeline/{model}-retraining/execution/r{incident}a7k2m9")
}

/// The levels of the monitors after the execution of an hour.
fn levels(ledgers: &[MonitorLedger], policy: &Policy, at: i64) -> Levels {
    let level = |ledger: &MonitorLedger| {
        let monitor = &ledger.monitor;
        let rules = policy.monitor(&MonitorRef {
            schedule: &monitor.schedule,
            endpoint: monitor.endpoint.as_deref(),
            monitor_type: monitor.monitor_type.map(MonitorType::as_str),
        });
        (schedule_key(&monitor.schedule), ledger.level(&rules.rules, hour(at)))
    };
    ledgers.iter().map(level).collect()
}

fn step(document: &mut ModelDocument, input: Input, (policy, levels): (&Policy, &Levels), at: i64, minute: i64) {
    let settings = Settings {
        pipeline: format!("{}-retraining", document.model),
        pipeline_start: PipelineStart::Remediate,
    };
    let facts = RemediationFacts {
        in_flight: Vec::new(),
        own_execution: None,
        risk_rating: RiskRating::Low,
        paused: None,
        fleet: None,
    };
    let given = remediation::StepContext {
        policy,
        settings: &settings,
        levels,
        facts: Some(Ok(&facts)),
    };
    document.step(input, given, &caller(at, minute));
}

fn end_execution(
    document: &mut ModelDocument,
    given: (&Policy, &Levels),
    incident: u64,
    since: i64,
    at: i64,
    scenario: Scenario,
) {
    let execution = PipelineExecution {
        arn: execution_arn(&document.model, incident),
        status: if scenario == Scenario::Escalated {
            ExecutionStatus::Failed
        } else {
            ExecutionStatus::Succeeded
        },
        start_time: Some(hour(since) + SignedDuration::from_mins(13)),
        end_time: Some(hour(at) + SignedDuration::from_mins(4)),
    };
    step(
        document,
        Input::PipelineExecution {
            incident,
            execution,
            at: hour(at) + SignedDuration::from_mins(4),
        },
        given,
        at,
        5,
    );
}

/// Amount of drift at an hour. Scenarios with drift have it at one of two times.
fn drift(scenario: Scenario, at: i64) -> f64 {
    let first = if (30..36).contains(&at) { 1.0 } else { 0.0 };
    match scenario {
        Scenario::Healthy | Scenario::Unhealthy => 0.0,
        Scenario::Repaired | Scenario::Testing | Scenario::Promoted | Scenario::Batch => first,
        Scenario::AwaitingApproval | Scenario::Holding | Scenario::FixData | Scenario::Escalated => {
            if at >= HOURS - 9 {
                1.0
            } else {
                first * 0.0
            }
        }
    }
}

fn play(
    ledger: &mut MonitorLedger,
    policy: &Policy,
    scenario: Scenario,
    at: i64,
    rng: &mut Rng,
    measured: &mut Vec<ExecutionMetrics>,
) {
    let monitor = ledger.monitor.clone();
    let monitor_type = monitor.monitor_type.unwrap();
    let rules = policy
        .monitor(&MonitorRef {
            schedule: &monitor.schedule,
            endpoint: monitor.endpoint.as_deref(),
            monitor_type: Some(monitor_type.as_str()),
        })
        .rules;
    let scheduled_time = hour(at);
    let failed = scenario == Scenario::Unhealthy && monitor_type == MonitorType::DataQuality && at >= HOURS - 7;
    let evidence = if failed || rng.u32(0..160) == 0 {
        job(
            JobStatus::Failed,
            "AlgorithmError: the container ended with exit code 1",
            at,
        )
    } else {
        let values = values(monitor_type, drift(scenario, at), at, rng);
        let report = violations(monitor_type, &values, scenario);
        measured.push(ExecutionMetrics {
            schedule: monitor.schedule.clone(),
            scheduled_time,
            thresholds: match monitor_type {
                MonitorType::DataQuality if at == HOURS - 1 => values.keys().map(|name| (name.clone(), 0.1)).collect(),
                _ => BTreeMap::new(),
            },
            values,
        });
        match report {
            Some(report) => reported(&monitor, &report, at),
            None => job(
                JobStatus::Completed,
                "Completed: Job completed successfully with no violations.",
                at,
            ),
        }
    };
    let observation = Observation {
        monitor,
        scheduled_time,
        evidence,
    };
    ledger.record(observation, &rules, &caller(at, 10));
    let _: Option<&Datapoint> = ledger.datapoints.back();
}

fn job(status: JobStatus, reason: &str, at: i64) -> Evidence {
    Evidence {
        job: Some(JobEvidence {
            processing_job_arn: format!("{ACCOUNT}:processing-job/model-monitoring-{at}"),
            status,
            violations: (status == JobStatus::Completed).then_some(0),
            reason: Some(reason.to_owned()),
            ended_at: hour(at) + SignedDuration::from_mins(9),
        }),
        ..Evidence::default()
    }
}

fn reported(monitor: &Monitor, report: &Value, at: i64) -> Evidence {
    let body = report.to_string();
    let parsed = ViolationReport::parse("report", body.as_bytes(), &Limits::default()).unwrap();
    let hours = hour(at).strftime("%Y/%m/%d/%H").to_string();
    let endpoint = monitor
        .endpoint
        .as_ref()
        .map_or_else(String::new, |endpoint| format!("{endpoint}/"));
    let uri = format!(
        "s3://ml-reports/monitoring/{endpoint}{}/{hours}/constraint_violations.json",
        monitor.schedule
    );
    let at = hour(at) + SignedDuration::from_mins(9);
    Evidence {
        report: Some(ReportEvidence::new(uri, format!("\"{at}\""), at, &parsed, 20)),
        ..Evidence::default()
    }
}

const FEATURES: [(&str, f64); 6] = [
    ("account_length", 0.02),
    ("customer_service_calls", 0.16),
    ("intl_plan", 0.03),
    ("total_day_minutes", 0.33),
    ("total_eve_charge", 0.08),
    ("voice_mail_messages", 0.01),
];

fn values(monitor_type: MonitorType, drift: f64, at: i64, rng: &mut Rng) -> BTreeMap<String, f64> {
    let wave = (f64::from(i32::try_from(at % 24).unwrap()) / 24.0 * TAU).sin();
    let mut noise = |size: f64| (rng.f64() - 0.5) * size;
    match monitor_type {
        MonitorType::DataQuality => FEATURES
            .iter()
            .map(|(name, moved)| {
                (
                    (*name).to_owned(),
                    0.035 + 0.012 * wave + moved * drift + noise(0.02).abs(),
                )
            })
            .collect(),
        MonitorType::ModelQuality => [
            ("auc", 0.91 - 0.11 * drift + noise(0.01)),
            ("f1", 0.78 - 0.12 * drift + noise(0.02)),
            ("recall", 0.81 - 0.14 * drift + noise(0.02)),
            ("precision", 0.79 - 0.05 * drift + noise(0.02)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        MonitorType::ModelBias => [
            ("region=north DPPL", -0.05 - 0.03 * wave + noise(0.02)),
            ("region=north DI", 1.08 + 0.05 * wave + noise(0.03)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        _ => [("label0 shap".to_owned(), 0.97 - 0.01 * wave - noise(0.01).abs())].into(),
    }
}

/// The report for these values, if one of them violates its constraint.
fn violations(monitor_type: MonitorType, values: &BTreeMap<String, f64>, scenario: Scenario) -> Option<Value> {
    let violations: Vec<Value> = match monitor_type {
        MonitorType::DataQuality => values
            .iter()
            .filter(|(_, value)| **value > 0.12)
            .map(|(name, value)| match scenario {
                Scenario::FixData => json!({"feature_name": name, "constraint_check_type": "completeness_check",
                    "description": format!("Completeness: {:.4} does not meet the constraint requirement of 1.0", 1.0 - value)}),
                _ => json!({"feature_name": name, "constraint_check_type": "baseline_drift_check",
                    "description": format!("Numerical distance: {value:.4} exceeds numerical threshold: 0.1")}),
            })
            .collect(),
        MonitorType::ModelQuality => values
            .iter()
            .filter(|(name, value)| **value < if *name == "auc" { 0.85 } else { 0.7 })
            .map(|(name, value)| {
                let threshold = if name == "auc" { "0.85" } else { "0.7" };
                json!({"metric_name": name, "constraint_check_type": "LessThanThreshold",
                    "description": format!("Metric {name} with {value:.4} +/- 0.0081 was LessThanThreshold '{threshold}'")})
            })
            .collect(),
        _ => Vec::new(),
    };
    (!violations.is_empty()).then(|| json!({"violations": violations}))
}

fn package(model: &str, version: u64) -> String {
    format!("{ACCOUNT}:model-package/{model}/{version}")
}

fn experiments(scenario: Scenario, model: &str, rng: &mut Rng) -> Option<ExperimentDocument> {
    let (gain, ended) = match scenario {
        Scenario::Testing => (0.012, false),
        Scenario::Promoted => (0.045, true),
        _ => return None,
    };
    let minute = |at: i64| hour(37) + SignedDuration::from_mins(at);
    let mut looks = Vec::new();
    let sequence = ConfidenceSequence::new(0.0125, 40_000.0);
    let mut now = 0;
    for (step, share) in [10.0, 25.0, 50.0].into_iter().enumerate() {
        let (mut champion, mut candidate) = (Sample::default(), Sample::default());
        for at in 1..=120 {
            for _ in 0..60 {
                let is_candidate = rng.f64() < share / 100.0;
                let (sample, rate) = if is_candidate {
                    (&mut candidate, 0.82 + gain)
                } else {
                    (&mut champion, 0.82)
                };
                sample.add(f64::from(u8::from(rng.f64() < rate)));
            }
            if at % 6 == 0 {
                looks.push(Look {
                    time: minute(now + at * 6),
                    step,
                    champion,
                    candidate,
                    share: Some(share),
                    interval: Difference::between(&champion, &candidate)
                        .map(|difference| sequence.interval(&difference)),
                    outcome: LookOutcome::Continue,
                });
            }
        }
        now += 720;
    }
    let last = minute(now);
    let (stage, sentence) = if ended {
        (
            "Ended",
            format!(
                "The candidate of `{model}` is better than the champion: accuracy +0.043 [+0.012, +0.074]. It is promoted."
            ),
        )
    } else {
        (
            "Paused",
            format!(
                "The experiment of `{model}` reached its maximum duration without a significant difference: an operator has to decide."
            ),
        )
    };
    let mut experiment = json!({
        "number": 1, "id": format!("{model}-ab-1"), "endpoint": model, "mode": "variants", "stage": stage,
        "package": {"arn": package(model, 8), "version": 8, "approval_status": "Approved", "generated_by": execution_arn(model, 1)},
        "sentence": sentence, "opened_at": minute(-20), "since": last, "started_at": minute(0), "step": 2, "token": "1a2b3c4d",
        "comparison": ExperimentComparison {metric: "accuracy".into(), lower_is_better: false, margin: Some(0.01), alpha: 0.0125},
        "looks": looks,
    });
    if ended {
        let fields = experiment.as_object_mut().unwrap();
        fields.insert("conclusion".to_owned(), json!("Promoted"));
    }
    let document = if ended {
        json!({"version": 1, "model": model, "experiments": 1, "ended": [{"experiment": experiment, "conclusion": "Promoted", "ended_at": last}]})
    } else {
        json!({"version": 1, "model": model, "experiments": 1, "experiment": experiment})
    };
    Some(serde_json::from_value(document).expect("a document"))
}

fn facts(scenario: Scenario, model: &str, rng: &mut Rng) -> Facts {
    let variant = |rng: &mut Rng, name: &str, share: f64, version: u64| VariantFacts {
        name: name.to_owned(),
        share,
        model_package_arn: Some(package(model, version)),
        cpu: Some(12.0 + rng.f64() * 60.0),
        memory: Some(20.0 + rng.f64() * 50.0),
        disk: Some(5.0 + rng.f64() * 30.0),
        gpu: (rng.u8(0..4) == 0).then(|| 10.0 + rng.f64() * 80.0),
        invocations: Some((rng.f64() * 40_000.0 * share / 100.0).round()),
        latency: Some(12.0 + rng.f64() * 180.0),
        errors_4xx: Some(f64::from(rng.u8(0..3))),
        errors_5xx: Some(if rng.u8(0..9) == 0 { 4.0 } else { 0.0 }),
    };
    let variants = match scenario {
        Scenario::Batch => Vec::new(),
        Scenario::Testing => vec![
            variant(rng, "AllTraffic", 50.0, 7),
            variant(rng, "candidate-8", 50.0, 8),
        ],
        _ => vec![variant(rng, "AllTraffic", 100.0, 7)],
    };
    let artifact = |kind: &str, source: &str| LineageArtifact {
        arn: format!("{ACCOUNT}:artifact/{kind}"),
        kind: kind.to_owned(),
        source: source.to_owned(),
    };
    let association = |source: &str, destination: &str, kind: &str| LineageAssociation {
        source: format!("{ACCOUNT}:artifact/{source}"),
        destination: format!("{ACCOUNT}:artifact/{destination}"),
        kind: kind.to_owned(),
    };
    let known = scenario == Scenario::Repaired;
    Facts {
        at: Some(now()),
        endpoint: (scenario != Scenario::Batch).then(|| EndpointFacts {
            name: model.to_owned(),
            status: "InService".to_owned(),
            config: format!("{model}-2026-11-02"),
            variants,
        }),
        risk_rating: Some(match rng.u8(0..4) {
            0 => RiskRating::Low,
            1 => RiskRating::Medium,
            2 => RiskRating::High,
            _ => RiskRating::Unknown,
        }),
        transform_job: (scenario == Scenario::Batch).then(|| TransformJob {
            name: format!("{model}-2026-11-29-01-00"),
            status: "Completed".to_owned(),
            created: hour(HOURS - 2),
            ended: Some(hour(HOURS - 2) + SignedDuration::from_mins(23)),
            failure_reason: None,
        }),
        lineage_package_arn: known.then(|| package(model, 7)),
        artifacts: if known {
            vec![
                artifact("DataSet", "s3://ml-data/training/churn/2026-10/train.csv"),
                artifact("TrainingJob", &format!("{ACCOUNT}:training-job/churn-2026-10-30")),
                artifact("ModelPackage", &package(model, 7)),
                artifact("Endpoint", &format!("{ACCOUNT}:endpoint/{model}")),
            ]
        } else {
            Vec::new()
        },
        associations: if known {
            vec![
                association("DataSet", "TrainingJob", "ContributedTo"),
                association("TrainingJob", "ModelPackage", "Produced"),
                association("ModelPackage", "Endpoint", "ContributedTo"),
            ]
        } else {
            Vec::new()
        },
        missing: Vec::new(),
    }
}

fn statistics(shift: f64, rng: &mut Rng) -> Statistics {
    let mut features: Vec<Value> = FEATURES
        .iter()
        .filter(|(name, _)| *name != "intl_plan")
        .map(|(name, moved)| {
            let items: Vec<f64> = (0..400).map(|_| (0..6).map(|_| rng.f64()).sum::<f64>() * 30.0 + moved * shift * 120.0).collect();
            json!({"name": name, "inferred_type": "Fractional", "numerical_statistics": {
                "common": {"num_present": 4000, "num_missing": 3}, "mean": 90.0 + moved * shift * 120.0, "sum": 360_000.0, "std_dev": 21.2, "min": 4.0, "max": 180.0,
                "distribution": {"kll": {"buckets": [], "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": [items]}}}}})
        })
        .collect();
    let yes = 400 + if shift > 0.0 { 900 } else { 0 };
    features.push(json!({"name": "intl_plan", "inferred_type": "String", "string_statistics": {"common": {"num_present": 4000, "num_missing": 0}, "distinct_count": 2.0,
        "distribution": {"categorical": {"buckets": [{"value": "no", "count": 4000 - yes}, {"value": "yes", "count": yes}]}}}}));
    serde_json::from_value(json!({"version": 0.0, "dataset": {"item_count": 4003}, "features": features}))
        .expect("statistics")
}

fn comparison(ledgers: &[MonitorLedger], rng: &mut Rng) -> Option<Comparison> {
    let ledger = ledgers.first()?;
    let datapoint = ledger.datapoints.back()?;
    let folder = format!("s3://ml-reports/monitoring/{}/2026/11/29/02", ledger.monitor.schedule);
    Some(Comparison {
        schedule: ledger.monitor.schedule.clone(),
        scheduled_time: datapoint.scheduled_time,
        statistics_uri: format!("{folder}/statistics.json"),
        baseline_uri: Some(format!("s3://ml-data/baselines/{}", ledger.monitor.model)),
        baseline: Some(statistics(0.0, rng)),
        current: statistics(1.0, rng),
    })
}

impl Fixture {
    pub(crate) fn documents(&self) -> model_dashboard::Documents<'_> {
        model_dashboard::Documents {
            model: &self.model,
            document: self.document.as_ref(),
            ledgers: &self.ledgers,
            experiments: self.experiments.as_ref(),
            policy: &self.policy,
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::from_documents(&self.documents(), self.facts.clone(), now())
    }

    pub(crate) fn page(&self) -> String {
        let console = Console::new(Some("eu-west-1"));
        model_page(&ModelView {
            deployment: "driftwarden",
            documents: self.documents(),
            summary: &self.summary(),
            measured: &self.measured,
            comparisons: &self.comparisons,
            notes: &[],
            now: now(),
            console: &console,
        })
    }
}

/// The overview of a fleet.
pub(crate) fn overview(fleet: &[Fixture]) -> String {
    let models: Vec<Summary> = fleet.iter().map(Fixture::summary).collect();
    overview_of(&models)
}

/// The overview of these models.
pub(crate) fn overview_of(models: &[Summary]) -> String {
    overview_with_policy(models, "1f3a9c5b7d1e")
}

/// The overview of these models, with this version of the policy.
pub(crate) fn overview_with_policy(models: &[Summary], policy_version: &str) -> String {
    model_dashboard::overview(&model_dashboard::Deployment {
        name: "driftwarden",
        now: now(),
        policy_version,
        models,
        notes: &[],
        console: &Console::new(Some("eu-west-1")),
    })
}
