//! Invariant R11: a backtest makes the decisions that the functions make.
//!
//! A quiet history is played twice: through `ingest` and `remediate` on AWS in memory, and by `backtest`. In both, a report
//! arrives half an hour after the scheduled time, a retraining takes two hours, and a decision that becomes due is made at once.

use crate::world::{BUCKET, Monitor, after, event, midnight};
use alerting::DatapointState;
use backtest::{Assumptions, Execution, History, Recorded, replay};
use fastrand::Rng;
use functions::{
    ingest::{Config, Ingest},
    remediate::Remediate,
};
use jiff::Timestamp;
use remediation::{
    ExecutionStatus, IncidentClosed, Levels, ModelDocument, PipelineStart, Policy, RemediationDecided, Settings,
};
use serde_json::{Value, json};
use shell::{config::Vars, memory::Memory};
use std::{
    collections::BTreeMap,
    pin::pin,
    task::{Context, Poll, Waker},
};

const MODEL: &str = "churn";
/// Seconds from the scheduled time of an execution to its report.
const REPORT_DELAY: i64 = 1800;
/// Duration of a retraining in seconds.
const RETRAINING: i64 = 2 * 3600;

/// What a policy did to the model of a history.
#[derive(Debug, Default, PartialEq)]
struct Played {
    alerts: usize,
    incidents: u64,
    /// Number of decisions by verdict.
    decisions: BTreeMap<&'static str, usize>,
    retrainings: usize,
    /// Number of closed incidents by outcome.
    closed: BTreeMap<&'static str, usize>,
    /// Stage of the open incident.
    open: Option<&'static str>,
}

/// **R11** A history without trouble leads to the same decisions in a backtest as in the functions.
///
/// # Errors
/// The difference.
pub fn r11_backtest_agrees(seed: u64) -> Result<(), String> {
    let mut random = Rng::with_seed(seed);
    // A monitor that ends before the other retires in a backtest, where no list of schedules shows whether it exists.
    let executions = random.usize(12..80);
    let monitors: Vec<Monitor> = (0..random.usize(1..=2))
        .map(|number| Monitor {
            states: states(&mut random, executions),
            ..Monitor::new(number, &mut random)
        })
        .collect();
    let text = policy(&mut random, &monitors);
    let policy = Policy::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let by_functions = World::new(&text, &policy)?.play(&monitors)?;
    let by_backtest = backtest(&monitors, &policy)?;
    if by_functions == by_backtest {
        return Ok(());
    }
    let states: Vec<String> = monitors.iter().map(|monitor| describe(&monitor.states)).collect();
    Err(format!(
        "seed {seed}: the functions and the backtest differ\n{by_functions:?}\n{by_backtest:?}\n{}\n{text}",
        states.join("\n")
    ))
}

/// Executions in which drift comes and goes, and which may fail for a while.
fn states(random: &mut Rng, executions: usize) -> Vec<DatapointState> {
    let may_fail = random.bool();
    let (mut drifts, mut fails) = (false, false);
    (0..executions)
        .map(|_| {
            drifts ^= random.u8(0..8) == 0;
            fails = may_fail && (fails ^ (random.u8(0..if fails { 4 } else { 15 }) == 0));
            let is_other = random.u8(0..12) == 0;
            match drifts ^ is_other {
                _ if fails => DatapointState::Failed,
                true => DatapointState::Violations,
                false => DatapointState::Clean,
            }
        })
        .collect()
}

fn describe(states: &[DatapointState]) -> String {
    let letter = |state: &DatapointState| match state {
        DatapointState::Clean => '.',
        DatapointState::Violations => 'X',
        DatapointState::Failed | DatapointState::NoData | DatapointState::Missing => '-',
    };
    states.iter().map(letter).collect()
}

fn policy(random: &mut Rng, monitors: &[Monitor]) -> String {
    let n = random.u8(1..=4);
    let m = random.u8(1..=n);
    let automation = ["auto", "auto", "auto", "approve", "suggest", "observe"];
    let automation = automation
        .get(random.usize(0..automation.len()))
        .copied()
        .unwrap_or("auto");
    let mut text = format!(
        "[alert]\ndatapoints_to_alert = {m}\nevaluation_period = {n}\n[remediation]\nautomation = '{automation}'\n\
         cooldown = '{}h'\nretrainings_per_day = {}\nclose_after = {}\nverify_executions = {}\nreopen_within = '{}h'\n\
         decide_after = '{}m'\napproval_expires_after = '{}h'\n",
        random.u8(0..30),
        random.u8(1..4),
        random.u8(0..4),
        random.u8(0..4),
        random.u8(0..2) * 24,
        random.u8(0..2) * 10,
        random.u8(1..40),
    );
    for monitor in monitors {
        for part in [
            "[[monitor]]\nschedule = '",
            &monitor.schedule,
            "'\nmodel = '",
            MODEL,
            "'\n",
        ] {
            text.push_str(part);
        }
    }
    text
}

fn backtest(monitors: &[Monitor], policy: &Policy) -> Result<Played, String> {
    let mut history = History::default();
    for monitor in monitors {
        for (at, state) in monitor.states.iter().enumerate() {
            history.add(Execution {
                schedule: monitor.schedule.clone(),
                endpoint: Some(monitor.endpoint.clone()),
                monitor_type: None,
                recorded: Recorded {
                    scheduled_time: Monitor::hour(at),
                    state: *state,
                    report: None,
                },
            });
        }
    }
    let mut reports = replay(&history.models(policy), policy, &Assumptions::default());
    let report = reports.pop().ok_or("no model")?;
    Ok(Played {
        alerts: report.alerts,
        incidents: report.incidents,
        decisions: report.decisions,
        retrainings: report.retrainings,
        closed: report.incidents_closed,
        open: report.open,
    })
}

/// The functions on AWS in memory.
struct World<'a> {
    aws: Memory,
    policy: &'a Policy,
    ingest: Ingest,
    remediate: Remediate,
    played: Played,
    /// Number of events that were delivered.
    delivered: usize,
    /// Ends of the retrainings in progress, with their ARNs.
    ends: Vec<(Timestamp, String)>,
}

impl<'a> World<'a> {
    fn new(text: &str, policy: &'a Policy) -> Result<Self, String> {
        let vars = Vars(|name: &str| (name == "REPORT_BUCKET").then(|| BUCKET.to_owned()));
        let config = Config::from_vars(&vars).map_err(|error| error.to_string())?;
        let settings = Settings {
            pipeline: "retraining".into(),
            pipeline_start: PipelineStart::Remediate,
        };
        let aws = Memory::at(midnight());
        aws.put_document("policy.toml", text);
        Ok(Self {
            aws,
            policy,
            ingest: Ingest::new(config),
            remediate: Remediate::new(settings),
            played: Played::default(),
            delivered: 0,
            ends: Vec::new(),
        })
    }

    fn play(mut self, monitors: &[Monitor]) -> Result<Played, String> {
        let hours = monitors
            .iter()
            .map(|monitor| monitor.states.len())
            .max()
            .unwrap_or_default();
        for at in 0..hours {
            for monitor in monitors {
                let arrives = after(Monitor::hour(at), REPORT_DELAY);
                if at < monitor.states.len() {
                    self.pass_until(arrives)?;
                    self.aws.set_time(arrives);
                    for event in monitor.execute(at, &self.aws) {
                        let handled = finish(self.ingest.handle(&self.aws, &event.to_string(), "ingest"))?;
                        handled.map_err(|error| error.to_string())?;
                    }
                    self.deliver()?;
                    self.sweep()?;
                }
            }
        }
        let document = self.document()?;
        self.played.incidents = document.as_ref().map_or(0, |document| document.incidents);
        self.played.open = document
            .and_then(|document| document.incident)
            .map(|open| open.stage().as_str());
        Ok(self.played)
    }

    fn document(&self) -> Result<Option<ModelDocument>, String> {
        let body = self.aws.document(&ModelDocument::key(MODEL));
        body.map(|body| serde_json::from_slice(&body).map_err(|error| error.to_string()))
            .transpose()
    }

    /// Ends retrainings and makes decisions that are due until a time.
    fn pass_until(&mut self, end: Timestamp) -> Result<(), String> {
        loop {
            let now = self.aws.time();
            let decision = self
                .document()?
                .and_then(|document| document.next_decision_at(&self.policy.model(MODEL), now));
            let next = self.ends.iter().map(|(at, _)| *at).chain(decision).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return Ok(());
            };
            self.aws.set_time(next);
            let ended = self.ends.iter().position(|(at, _)| *at == next);
            match ended {
                Some(ended) => {
                    let (_, arn) = self.ends.remove(ended);
                    let event = self.end_retraining(&arn);
                    self.remediate(&event)?;
                }
                None => self.sweep()?,
            }
            self.deliver()?;
        }
    }

    fn end_retraining(&self, arn: &str) -> Value {
        self.aws.finish(arn, ExecutionStatus::Succeeded);
        let runs = self.aws.runs();
        let name = runs
            .iter()
            .find(|(_, run)| run.arn == arn)
            .map(|(name, _)| name.as_str());
        let detail = json!({
            "pipelineExecutionArn": arn,
            "pipelineExecutionDisplayName": name,
            "currentPipelineExecutionStatus": "Succeeded",
            "executionEndTime": self.aws.time().to_string(),
        });
        let detail_type = "SageMaker Model Building Pipeline Execution Status Change";
        let mut event = event("aws.sagemaker", detail_type, &detail);
        if let Some(time) = event.get_mut("time") {
            *time = self.aws.time().to_string().into();
        }
        event
    }

    fn remediate(&self, event: &Value) -> Result<(), String> {
        let handled = finish(self.remediate.handle(&self.aws, &event.to_string(), "remediate"))?;
        handled.map(drop).map_err(|error| error.to_string())
    }

    fn sweep(&mut self) -> Result<(), String> {
        let swept = self.remediate.sweep(&self.aws, MODEL, Levels::new(), None, "sweep");
        finish(swept)?.map_err(|error| error.to_string())?;
        self.deliver()
    }

    /// Delivers the events that were published, and those that they lead to.
    fn deliver(&mut self) -> Result<(), String> {
        for (_, arn) in self.aws.executions().iter().skip(self.played.retrainings) {
            self.played.retrainings += 1;
            self.ends.push((after(self.aws.time(), RETRAINING), arn.clone()));
        }
        while let Some((detail_type, detail)) = self.aws.events_after(self.delivered).into_iter().next() {
            self.delivered += 1;
            let detail: Value = serde_json::from_str(&detail).map_err(|error| error.to_string())?;
            match detail_type.as_str() {
                "Model Monitor Alert State Change" | "Model Monitor Level Change" => {
                    let in_alert = detail.get("alertStatus").and_then(Value::as_str) == Some("InAlert");
                    self.played.alerts += usize::from(in_alert && detail_type.contains("Alert State"));
                    self.remediate(&event("driftwarden", &detail_type, &detail))?;
                    return self.deliver();
                }
                "Remediation Decided" => {
                    let decided: RemediationDecided =
                        serde_json::from_value(detail).map_err(|error| error.to_string())?;
                    *self.played.decisions.entry(decided.verdict.as_str()).or_default() += 1;
                }
                "Remediation Incident Closed" => {
                    let closed: IncidentClosed = serde_json::from_value(detail).map_err(|error| error.to_string())?;
                    *self.played.closed.entry(closed.outcome.as_str()).or_default() += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Runs a handler to its end. Calls to AWS in memory answer at once.
fn finish<T>(future: impl Future<Output = T>) -> Result<T, String> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err("a call to AWS in memory is pending".to_owned()),
    }
}
