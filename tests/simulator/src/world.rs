//! Results of the monitors in a history, their traces in AWS, and the invariants at the end.

use alerting::{AlertStatus, DatapointState, MonitorLedger};
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use remediation::{ModelDocument, MonitorRef, Policy, Reason, Stage};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shell::{
    memory::Memory,
    ports::{DescribedJob, MonitoringExecution, Schedule},
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const BUCKET: &str = "reports";

/// Content of a violation report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Report {
    /// The distribution of a feature changed.
    #[default]
    Drift,
    /// The distribution of another feature changed, which the policies rate as critical.
    CriticalDrift,
    /// A column is missing: the input data is broken.
    BrokenData,
    /// The distribution of a feature changed, and values are missing.
    DriftOfBrokenData,
}

impl Report {
    /// The report as Model Monitor writes it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Drift => {
                r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"}]}"#
            }
            Self::CriticalDrift => {
                r#"{"violations": [{"feature_name": "income", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.7 exceeds numerical threshold: 0.1"}]}"#
            }
            Self::BrokenData => {
                r#"{"violations": [{"feature_name": "age", "constraint_check_type": "missing_column_check",
    "description": "There are missing columns in current dataset. Number of missing columns: 1"}]}"#
            }
            Self::DriftOfBrokenData => {
                r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"},
    {"feature_name": "age", "constraint_check_type": "completeness_check",
    "description": "Data completeness: 0.5 is less than threshold: 1.0"}]}"#
            }
        }
    }
}

/// Midnight before the first execution.
pub(crate) fn midnight() -> Timestamp {
    Timestamp::from_second(1_795_392_000).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// One monitor, with the result of each hourly execution.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) schedule: String,
    pub(crate) endpoint: String,
    pub(crate) states: Vec<DatapointState>,
    /// Report of each execution with violations. Missing: [`Report::Drift`].
    pub(crate) reports: Vec<Report>,
}

impl Monitor {
    pub(crate) fn new(number: usize, random: &mut Rng) -> Self {
        use DatapointState::{Clean, Failed, Missing, NoData, Violations};
        let executions = random.usize(2..=5);
        let drifts = random.u8(20..80);
        let state = |random: &mut Rng| match random.u8(0..100) {
            0..6 => Failed,
            6..12 => NoData,
            12..15 => Missing,
            other if other < 15 + drifts => Violations,
            _ => Clean,
        };
        Self {
            schedule: format!("Monitor-{number}"),
            endpoint: format!("endpoint-{}", number % 2),
            states: (0..executions).map(|_| state(random)).collect(),
            reports: Vec::new(),
        }
    }

    pub(crate) fn schedule(&self, status: &str) -> Schedule {
        Schedule {
            name: self.schedule.clone(),
            endpoint: Some(self.endpoint.clone()),
            status: status.to_owned(),
            created: after(midnight(), 1800),
            last_modified: after(midnight(), 1800),
        }
    }

    /// Hour for which an execution is scheduled.
    pub(crate) fn hour(at: usize) -> Timestamp {
        after(midnight(), (i64::try_from(at).unwrap_or_default() + 1) * 3600)
    }

    /// Writes the report of an execution. Returns the event.
    pub(crate) fn write_report(&self, at: usize, world: &Memory) -> Value {
        let report = self.reports.get(at).copied().unwrap_or_default().text();
        write_report(&self.folder(at), report, world)
    }

    /// Key prefix of the report of an execution.
    pub(crate) fn folder(&self, at: usize) -> String {
        let hour = Self::hour(at).strftime("%Y/%m/%d/%H");
        format!("out/{}/{}/{hour}", self.endpoint, self.schedule)
    }

    /// Ends an execution: SageMaker lists it, and its report is in S3. Returns the events.
    pub(crate) fn execute(&self, at: usize, world: &Memory) -> Vec<Value> {
        let Some(state) = self.states.get(at) else {
            return Vec::new();
        };
        let (status, job_status) = match state {
            DatapointState::Clean => ("Completed", "Completed"),
            DatapointState::Violations => ("CompletedWithViolations", "Completed"),
            DatapointState::NoData | DatapointState::Failed => ("Failed", "Failed"),
            DatapointState::Missing => return Vec::new(),
        };
        let has_job = *state != DatapointState::NoData;
        let name = format!("job-{}-{at}", self.schedule);
        let arn = format!("arn:aws:sagemaker:us-east-1:111122223333:processing-job/{name}");
        let ended = world.time();
        world.put_monitoring_execution(
            &self.schedule,
            MonitoringExecution {
                scheduled_time: Self::hour(at),
                status: status.to_owned(),
                processing_job_arn: has_job.then(|| arn.clone()),
                endpoint: Some(self.endpoint.clone()),
                failure_reason: match state {
                    DatapointState::NoData => Some("Job inputs had no data".to_owned()),
                    DatapointState::Failed => Some("AlgorithmError".to_owned()),
                    _ => None,
                },
                last_modified: ended,
            },
        );
        if !has_job {
            return Vec::new();
        }
        let output = format!("s3://{BUCKET}/{}", self.folder(at));
        let schedule_arn = format!(
            "arn:aws:sagemaker:us-east-1:111122223333:monitoring-schedule/{}",
            self.schedule.to_lowercase()
        );
        let exit_message = (job_status == "Completed").then(|| format!("{status}: done"));
        world.put_job(
            &name,
            DescribedJob {
                arn: arn.clone(),
                status: job_status.to_owned(),
                outputs: vec![output.clone()],
                monitoring_schedule_arn: Some(schedule_arn.clone()),
                exit_message: exit_message.clone(),
                end_time: Some(ended),
                ..DescribedJob::default()
            },
        );
        let mut events = Vec::new();
        if *state == DatapointState::Violations {
            events.push(self.write_report(at, world));
        }
        let mut detail = json!({
            "ProcessingJobName": name,
            "ProcessingJobArn": arn,
            "ProcessingJobStatus": job_status,
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {"S3Uri": output}}]},
            "MonitoringScheduleArn": schedule_arn,
            "ProcessingEndTime": ended.as_millisecond(),
        });
        if let (Some(exit_message), Some(detail)) = (exit_message, detail.as_object_mut()) {
            detail.insert("ExitMessage".into(), exit_message.into());
        }
        events.push(event("aws.sagemaker", "SageMaker Processing Job State Change", &detail));
        events
    }
}

/// Writes a violation report into a folder. Returns the event.
pub(crate) fn write_report(folder: &str, report: &str, world: &Memory) -> Value {
    let key = format!("{folder}/constraint_violations.json");
    world.put_object(&format!("s3://{BUCKET}/{key}"), report);
    event(
        "aws.s3",
        "Object Created",
        &json!({"version": "0", "bucket": {"name": BUCKET}, "object": {"key": key, "size": report.len()}}),
    )
}

/// An event as EventBridge delivers it.
pub(crate) fn event(source: &str, detail_type: &str, detail: &Value) -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000000",
        "detail-type": detail_type,
        "source": source,
        "account": "111122223333",
        "time": "2026-11-23T00:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    })
}

/// Checks that no incident has two pipeline executions.
pub(crate) fn check_executions(world: &Memory) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for (name, execution) in world.runs() {
        if name.starts_with("driftwarden-") && !names.insert(name.clone()) {
            return Err(format!(
                "two pipeline executions are named `{name}`; one is {}",
                execution.arn
            ));
        }
    }
    Ok(())
}

/// Checks the invariants at the end of a history.
pub(crate) fn check(
    world: &Memory,
    monitors: &[Monitor],
    policy: &Policy,
    published: &BTreeMap<String, String>,
) -> Result<(), String> {
    let mut in_alert: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for monitor in monitors {
        check_monitor(world, monitor, policy, published, &mut in_alert)?;
    }
    let keys = world.documents().into_iter().filter(|key| key.starts_with("models/"));
    let models: Vec<String> = keys.collect();
    for model in in_alert.keys() {
        if !models.contains(&format!("models/{model}.json")) {
            return Err(format!("model {model} is in alert but has no state document"));
        }
    }
    let executions = world.runs();
    for key in models {
        let document: ModelDocument = read(world, &key)?;
        let names: Vec<&str> = executions.iter().map(|(name, _)| name.as_str()).collect();
        check_model(&document, in_alert.get(&document.model), &names, published)?;
    }
    Ok(())
}

pub(crate) fn read<T: DeserializeOwned>(world: &Memory, key: &str) -> Result<T, String> {
    let body = world
        .document(key)
        .ok_or_else(|| format!("document {key} does not exist"))?;
    serde_json::from_slice(&body).map_err(|error| format!("{key}: {error}"))
}

/// Checks that the ledger has each result once, and that its alert status matches a naive count.
fn check_monitor(
    world: &Memory,
    monitor: &Monitor,
    policy: &Policy,
    published: &BTreeMap<String, String>,
    in_alert: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
    let name = &monitor.schedule;
    let was_executed = |state: &DatapointState| *state != DatapointState::Missing;
    if !monitor.states.iter().any(was_executed) {
        return Ok(());
    }
    let key = format!("monitors/{}.json", name.to_lowercase());
    // A monitor without any processing job cannot be assigned to Driftwarden.
    let had_job = |state: &DatapointState| was_executed(state) && *state != DatapointState::NoData;
    if world.document(&key).is_none() && !monitor.states.iter().any(had_job) {
        return Ok(());
    }
    let ledger: MonitorLedger = read(world, &key)?;
    for (at, state) in monitor.states.iter().enumerate() {
        let hour = Monitor::hour(at);
        let mut datapoints = ledger
            .datapoints
            .iter()
            .filter(|datapoint| datapoint.scheduled_time == hour);
        match (datapoints.next().map(alerting::Datapoint::state), state) {
            (Some(found), state) if found == *state => {}
            // The schedule may have been stopped before a sweep found the missing execution.
            (None, DatapointState::Missing) => continue,
            (found, state) => return Err(format!("{name} at {hour}: expected {state:?}, found {found:?}")),
        }
        if datapoints.next().is_some() {
            return Err(format!("{name} has two datapoints at {hour}"));
        }
        let has_metric = world
            .metrics()
            .iter()
            .any(|metric| metric.timestamp == hour && metric.dimensions.iter().any(|(_, value)| value == name));
        if !has_metric {
            return Err(format!("{name} has no metric at {hour}"));
        }
    }
    if let Some(entry) = ledger.outbox.entries().first() {
        return Err(format!("the ledger of {name} has the pending effect {}", entry.id));
    }
    for transition in 1..=ledger.alert.transition {
        let epoch = ledger.epoch.map_or(0, Timestamp::as_second);
        let id = format!("alert-{}-{epoch}-{transition}", name.to_lowercase());
        if !published.contains_key(&id) {
            return Err(format!("{id} was not published"));
        }
    }
    let monitor_ref = MonitorRef {
        schedule: name,
        endpoint: Some(&monitor.endpoint),
        monitor_type: Some("DataQuality"),
    };
    let policy = policy.monitor(&monitor_ref);
    let (m, n) = (
        policy.rules.window.datapoints_to_alert(),
        policy.rules.window.evaluation_period(),
    );
    let slots = monitor.states.iter().rev();
    let slots = slots.filter(|state| matches!(state, DatapointState::Clean | DatapointState::Violations));
    let breaching = slots
        .take(n.into())
        .filter(|state| **state == DatapointState::Violations)
        .count();
    let expected = if breaching >= m.into() {
        AlertStatus::InAlert
    } else {
        AlertStatus::Ok
    };
    if ledger.alert.status != expected {
        let (found, states) = (ledger.alert.status, &monitor.states);
        return Err(format!(
            "{name}: expected {expected:?}, found {found:?} ({m} of {n}): {states:?}"
        ));
    }
    if expected == AlertStatus::InAlert {
        in_alert.entry(policy.model).or_default().push(name.to_lowercase());
    }
    Ok(())
}

/// Checks that the model received every alert, that monitors in alert have an incident, and that each decision was published
/// and executed once.
fn check_model(
    document: &ModelDocument,
    in_alert: Option<&Vec<String>>,
    executions: &[&str],
    published: &BTreeMap<String, String>,
) -> Result<(), String> {
    let model = &document.model;
    if let Some(entry) = document.outbox.entries().first() {
        return Err(format!("model {model} has the pending effect {}", entry.id));
    }
    let received: Vec<&String> = document
        .alerts
        .iter()
        .filter_map(|(schedule, alert)| (alert.status == AlertStatus::InAlert).then_some(schedule))
        .collect();
    if received.len() != in_alert.map_or(0, Vec::len) {
        return Err(format!(
            "model {model}: expected {in_alert:?} in alert, found {received:?}"
        ));
    }
    match (&document.incident, received.is_empty()) {
        (None, false) => return Err(format!("model {model} is in alert without an incident")),
        (Some(open), _) if matches!(open.stage(), Stage::Starting | Stage::Retraining) => {
            return Err(format!(
                "incident {} is still retraining, but every pipeline execution has ended",
                open.id
            ));
        }
        (Some(open), true) => {
            return Err(format!(
                "incident {} is {:?}, but every monitor is OK",
                open.id,
                open.stage()
            ));
        }
        (Some(open), false) if open.stage() == Stage::Deciding => {
            return Err(format!("incident {} has no decision", open.id));
        }
        _ => {}
    }
    let closed = document.closed.iter().map(|closed| &closed.incident);
    for incident in closed.chain(&document.incident) {
        let id = &incident.id;
        let token: String = incident.token.chars().take(8).collect();
        for number in 1..=incident.decisions {
            if !published.contains_key(&format!("decision-{id}-{number}-{token}")) {
                return Err(format!("decision {number} of incident {id} was not published"));
            }
        }
        let name = format!("driftwarden-{id}");
        let count = executions.iter().filter(|execution| **execution == name).count();
        let expected = usize::from(incident.execution().is_some());
        // SageMaker did not say at the deadline whether the execution of a lost answer exists.
        let mut reasons = incident.decision.iter().flat_map(|decision| &decision.reasons);
        let is_unknown = reasons.any(|reason| matches!(reason, Reason::StartMissing { error: Some(_), .. }));
        if count != expected && !(is_unknown && count == 1) {
            return Err(format!(
                "incident {id}: expected number of pipeline executions {expected}, found {count}"
            ));
        }
    }
    let all: Vec<u64> = document
        .closed
        .iter()
        .map(|closed| closed.incident.number)
        .chain(document.incident.as_ref().map(|open| open.number))
        .collect();
    if all != (1..=document.incidents).collect::<Vec<u64>>() {
        return Err(format!(
            "model {model}: incident counter is {}, found incidents {all:?}",
            document.incidents
        ));
    }
    Ok(())
}
