//! Histories with lasting troubles: reports that change while an alert lasts, monitors that disappear, refused starts, unreadable
//! documents, outages, commands of operators, edits of the policy, and pipeline executions that are retried, stopped, or deleted.
//!
//! What happens comes from a separate generator, so that it does not depend on the order of the steps. In a twin, nothing fails
//! except one item in the second play: all other items must end as in the first play.

use super::{
    Failure, Function, Functions, History, Invocation, Occurrence, Statistics, configuration_failed, invariants,
    new_world, random_settings, truth::Truth, url_request,
};
use crate::world::{Monitor, Report, after, midnight, write_report};
use alerting::DatapointState;
use fastrand::Rng;
use jiff::Timestamp;
use machine::Kind;
use remediation::{ExecutionStatus, ModelDocument, PAUSE_KEY, Policy, Stage};
use serde_json::{Value, json};
use shell::{
    memory::{NEWER_FIELD, PlantedBug},
    ports::Schedule,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
};

/// One of this number of histories with troubles has many models.
const FLEET_INTERVAL: u64 = 24;
/// One of this number of histories with troubles has a twin.
const TWIN_INTERVAL: u64 = 12;
/// Age in seconds from which a command is certainly refused.
const STALE_SECONDS: i64 = 16 * 60;
/// Age of a command that is sent again. Its event has been published by then.
const REPLAYED_AFTER_SECONDS: i64 = 6 * 3600;
/// Schedule expression of all monitors.
const HOURLY: &str = "cron(0 * ? * * *)";
/// Format version of a document of a newer release.
const NEWER_VERSION: u64 = 99;
/// Time limit in seconds of a sweep that cannot sweep every monitor. A sweep starts nothing in its last minute.
const SHORT_SWEEP: &str = "68";
/// Number of such sweeps within which each monitor must be swept.
const SHORT_SWEEPS: usize = 12;

/// Counts of histories with lasting troubles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TroubleCounts {
    /// Number of histories with lasting troubles.
    pub histories: u64,
    /// Number of these that were played with and without a broken item.
    pub twins: u64,
    /// Number of these with many models.
    pub fleets: u64,
    /// Number of commands that operators sent.
    pub commands: u64,
    /// Number of commands that took effect.
    pub accepted: u64,
    /// Number of starts that SageMaker refused.
    pub refused: u64,
    /// Number of pipeline executions that were retried, stopped, or deleted.
    pub disturbed_runs: u64,
    /// Number of monitoring schedules that were deleted.
    pub deleted_schedules: u64,
    /// Number of monitors that retired from a model.
    pub retired: u64,
    /// Number of documents that became unreadable.
    pub unreadable: u64,
    /// Number of decisions to hold a retraining because of other models.
    pub held_by_fleet: u64,
    /// Number of incidents that an operator closed at the end.
    pub resolved: u64,
}

impl TroubleCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.twins += other.twins;
        self.fleets += other.fleets;
        self.commands += other.commands;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.disturbed_runs += other.disturbed_runs;
        self.deleted_schedules += other.deleted_schedules;
        self.retired += other.retired;
        self.unreadable += other.unreadable;
        self.held_by_fleet += other.held_by_fleet;
        self.resolved += other.resolved;
    }
}

impl fmt::Display for TroubleCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with troubles ({} twins, {} fleets): {} commands, {} accepted; {} starts refused, {} held by the fleet; \
             {} pipeline executions disturbed; {} schedules deleted, {} monitors retired; {} documents unreadable; \
             {} incidents resolved",
            self.histories,
            self.twins,
            self.fleets,
            self.commands,
            self.accepted,
            self.refused,
            self.held_by_fleet,
            self.disturbed_runs,
            self.deleted_schedules,
            self.retired,
            self.unreadable,
            self.resolved
        )
    }
}

/// A lasting trouble, or an action of an operator. Numbers are those of monitors and models.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The report of an execution is replaced.
    Replace(usize, usize, Report),
    /// A report in a folder of the next century.
    Ahead(usize),
    DeleteSchedule(usize),
    /// A schedule is deleted and created again under another name.
    RenameSchedule(usize),
    StopSchedule(usize),
    StartSchedule(usize),
    /// The last execution of a monitor was due.
    Finish(usize),
    DeletePolicy,
    /// An invalid policy is published.
    InvalidPolicy(&'static str),
    PauseAll(bool),
    Command(Command, usize),
    Disturb(Disturbance),
    StartManually(usize),
    /// Starts of a model's retraining are refused.
    Refuse(usize, Kind, &'static str),
    Allow(usize),
    Break(&'static str, &'static str),
    Repair(&'static str),
    LimitRate(u32),
    /// A document becomes unreadable, or gets a newer version.
    Corrupt(String, bool),
    Cure(String),
    LoseLedger(usize),
    /// A newer release adds a field to a document.
    AddField(String),
}

/// What becomes of the latest pipeline execution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    Retry,
    Stop,
    Delete,
}

/// A command of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Approve,
    Deny,
    Resolve,
    Accept,
    Reopen,
    Pause,
    Resume,
    /// Pauses a model whose name is misspelled.
    Misspelled,
    /// Answers another decision than the latest one.
    OtherDecision,
    /// Expects another stage than the present one.
    OtherStage,
    /// Was received long ago: for the first time, or as a replay of a command that took effect.
    Stale,
    /// Has no caller that AWS authenticated.
    Anonymous,
}

impl Command {
    const ALL: [Self; 12] = [
        Self::Approve,
        Self::Deny,
        Self::Resolve,
        Self::Accept,
        Self::Reopen,
        Self::Pause,
        Self::Resume,
        Self::Misspelled,
        Self::OtherDecision,
        Self::OtherStage,
        Self::Stale,
        Self::Anonymous,
    ];

    /// Whether the command must change nothing.
    fn is_invalid(self) -> bool {
        matches!(
            self,
            Self::Misspelled | Self::OtherDecision | Self::OtherStage | Self::Stale | Self::Anonymous
        )
    }
}

/// State of a monitoring schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScheduleState {
    Scheduled,
    Stopped,
    Deleted,
}

/// A pipeline execution.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: String,
    /// Model in its parameters, if they name one.
    pub(super) model: Option<String>,
    /// Time since which it is in progress, or was at last.
    pub(super) since: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) retried: bool,
}

/// State of the troubles in a history.
#[derive(Debug)]
pub(super) struct Troubles {
    seed: u64,
    plan: Rng,
    is_twin: bool,
    pub(super) is_fleet: bool,
    pub(super) models: usize,
    pub(super) schedules: Vec<ScheduleState>,
    /// Documents that cannot be read at present, with their earlier content.
    corrupt: BTreeMap<String, Option<Vec<u8>>>,
    /// Valid policies, with the times at which they were published.
    pub(super) policies: Vec<(Timestamp, Rc<Policy>)>,
    pub(super) runs: BTreeMap<String, Run>,
    /// Models of the pipeline executions that were started by hand, by ARN.
    pub(super) manual: BTreeMap<String, String>,
    /// IDs of events that must not be published, because the command is invalid.
    pub(super) invalid: BTreeSet<String>,
    /// Requests of valid commands, oldest first: time, ID, and payload.
    sent: Vec<(Timestamp, String, Value)>,
    /// Approvals by the time at which AWS received them: incident and decision.
    pub(super) approvals: BTreeMap<i64, (String, u64)>,
    /// Fingerprints of the decisions by incident and number.
    pub(super) fingerprints: BTreeMap<(String, u64), String>,
    /// Time of the latest event about a decision of an incident.
    pub(super) notified: BTreeMap<String, Timestamp>,
    /// Incidents with a published decision that has the words of a refused start.
    pub(super) refusals_published: BTreeSet<String>,
    /// Ledgers that were read by sweeps since the last reset.
    pub(super) swept: BTreeSet<String>,
}

/// What the models of a history end with.
pub(super) type Summary = BTreeMap<String, String>;

/// Simulates a history with troubles.
pub(super) fn simulate(seed: u64, bug: Option<PlantedBug>, record: bool) -> Result<Statistics, Failure> {
    let number = seed / super::TROUBLE_INTERVAL;
    let is_twin = number % TWIN_INTERVAL == TWIN_INTERVAL - 1;
    let (mut statistics, whole, mut trace) = play(seed, bug, record, is_twin, false)?;
    if is_twin {
        let (again, broken, mut trace_beside) = play(seed, bug, record, true, true)?;
        statistics.add(&again);
        statistics.histories = 1;
        statistics.troubles.histories = 1;
        statistics.troubles.twins = 1;
        if let Err(what) = invariants::r6_broken_item_changes_no_other(&whole, &broken) {
            trace.push("--- beside a broken item".to_owned());
            trace.append(&mut trace_beside);
            return Err(Failure { seed, what, trace });
        }
    }
    Ok(statistics)
}

/// Plays a history. Returns what its models end with, and its trace if it is recorded.
fn play(
    seed: u64,
    bug: Option<PlantedBug>,
    record: bool,
    is_twin: bool,
    is_broken: bool,
) -> Result<(Statistics, Summary, Vec<String>), Failure> {
    fastrand::seed(seed);
    let world = new_world(bug);
    let functions = Functions::new().ok_or_else(|| configuration_failed(seed))?;
    let mut history = History::new(Rng::with_seed(seed), &world, &functions, bug, record);
    history.begin_troubles(seed, is_twin);
    match history.play_troubles(is_broken) {
        Ok(summary) => {
            let counts = &mut history.statistics.troubles;
            counts.histories = 1;
            counts.refused = world.refusals() as u64;
            Ok((history.statistics, summary, history.trace.take().unwrap_or_default()))
        }
        Err(what) => Err(history.failure(seed, what)),
    }
}

/// A policy for histories with troubles.
fn random_policy(plan: &mut Rng, is_twin: bool, is_fleet: bool) -> String {
    // In some histories, the limits of a model hold its next retraining.
    let is_limited = !is_twin && !is_fleet;
    let per_day = if is_limited && plan.u8(0..3) == 0 { 1 } else { 50 };
    let mut text = random_settings(plan, if is_limited { [0, 2, 12] } else { [0, 1, 2] }, per_day);
    if is_twin || is_fleet {
        text = text
            .replace("paused = true", "paused = false")
            .replace("'approve'", "'auto'");
    }
    let reopen = ["0m", "24h"].get(plan.usize(0..2)).copied().unwrap_or("0m");
    // In a twin, no decision depends on the seconds that a sweep takes.
    let decide_after = ["0m", "0m", "10m"].get(plan.usize(0..3)).copied().filter(|_| !is_twin);
    let decide_after = decide_after.unwrap_or("0m");
    let at_once = if is_twin { 50 } else { plan.u8(1..=4) };
    let per_day = if is_twin { 50 } else { plan.u8(2..=20) };
    let common_cause = !is_twin && plan.bool();
    text.extend([format!(
        "data_within = '12h'\napproval_expires_after = '12h'\nstart_within = '1h'\nreopen_within = '{reopen}'\n\
         decide_after = '{decide_after}'\n"
    )]);
    if plan.u8(0..6) == 0 {
        text.push_str("minimum_severity = 'critical'\n");
    }
    text.extend([format!(
        "[fleet]\nretrainings_at_once = {at_once}\nretrainings_per_day = {per_day}\ncommon_cause = {common_cause}\n\
         [[violation]]\nfeature = 'income'\nseverity = 'critical'\n"
    )]);
    text
}

/// Results and reports of a monitor.
fn random_monitor(plan: &mut Rng, number: usize, model: usize, first: usize, hours: usize) -> Monitor {
    let mut monitor = Monitor::new(number, plan);
    let drifts = plan.u8(30..95);
    // From this hour on, the monitor has no results.
    let silent = if plan.u8(0..4) == 0 {
        plan.usize(1..8)
    } else {
        usize::MAX
    };
    monitor.endpoint = format!("m{model}");
    monitor.states = (0..first + hours)
        .map(|at| match plan.u8(0..100) {
            _ if at < first || at - first >= silent => DatapointState::Missing,
            0..4 => DatapointState::Failed,
            4..8 => DatapointState::NoData,
            8..10 => DatapointState::Missing,
            other if other < 10 + drifts => DatapointState::Violations,
            _ => DatapointState::Clean,
        })
        .collect();
    let reports = [
        Report::Drift,
        Report::Drift,
        Report::Drift,
        Report::CriticalDrift,
        Report::BrokenData,
        Report::DriftOfBrokenData,
    ];
    let mut report = Report::Drift;
    monitor.reports = (0..first + hours)
        .map(|_| {
            if plan.u8(0..3) == 0 {
                report = reports.get(plan.usize(0..reports.len())).copied().unwrap_or_default();
            }
            report
        })
        .collect();
    monitor
}

/// Key of the ledger of a monitor.
pub(super) fn ledger_key(monitor: &Monitor) -> String {
    format!("monitors/{}.json", monitor.schedule.to_lowercase())
}

impl Troubles {
    /// Whether an approver has answered to a decision.
    pub(super) fn is_answered(&self, incident: &str, decision: u64) -> bool {
        let mut approvals = self.approvals.values();
        approvals.any(|(answered, number)| answered == incident && *number == decision)
    }

    /// A generator that depends on the seed and a name only.
    pub(super) fn generator_for(&self, name: &str) -> Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, name).hash(&mut hasher);
        Rng::with_seed(hasher.finish())
    }

    /// The policy that is effective at a moment.
    pub(super) fn policy_at(&self, moment: Timestamp) -> Option<&Rc<Policy>> {
        let mut published = self.policies.iter().rev();
        let known = published.find(|(at, _)| *at <= moment);
        known.or(self.policies.first()).map(|(_, policy)| policy)
    }

    /// Whether a document cannot be read at present.
    pub(super) fn is_corrupt(&self, key: &str) -> bool {
        self.corrupt.contains_key(key)
    }
}

impl History<'_> {
    /// Prepares the monitors, the policy, and the troubles.
    fn begin_troubles(&mut self, seed: u64, is_twin: bool) {
        let mut plan = Rng::with_seed(!seed);
        let is_fleet = !is_twin && (seed / super::TROUBLE_INTERVAL).is_multiple_of(FLEET_INTERVAL);
        let models = match plan.u8(0..10) {
            _ if is_fleet => plan.usize(9..=14),
            _ if is_twin => 3,
            0..4 => 1,
            _ => 2,
        };
        let hours = if is_fleet { plan.usize(2..=3) } else { plan.usize(4..=7) };
        self.world.record_writes();
        self.settling = is_twin;
        if !is_twin && plan.u8(0..4) > 0 {
            self.world.fail_randomly(seed, plan.u16(5..40));
        }
        for model in 0..models {
            for _ in 0..plan.usize(1..=if is_fleet || is_twin { 1 } else { 2 }) {
                let number = self.monitors.len();
                self.monitors.push(random_monitor(&mut plan, number, model, 0, hours));
            }
        }
        self.policy = random_policy(&mut plan, is_twin, is_fleet);
        self.truth = Some(Truth::default());
        self.statistics.troubles.fleets = u64::from(is_fleet);
        self.troubles = Some(Troubles {
            seed,
            plan,
            is_twin,
            is_fleet,
            models,
            schedules: vec![ScheduleState::Scheduled; self.monitors.len()],
            corrupt: BTreeMap::new(),
            policies: Vec::new(),
            runs: BTreeMap::new(),
            manual: BTreeMap::new(),
            invalid: BTreeSet::new(),
            sent: Vec::new(),
            approvals: BTreeMap::new(),
            fingerprints: BTreeMap::new(),
            notified: BTreeMap::new(),
            refusals_published: BTreeSet::new(),
            swept: BTreeSet::new(),
        });
        self.world.put_document("policy.toml", self.policy.as_str());
    }

    pub(super) fn is_twin(&self) -> bool {
        self.troubles.as_ref().is_some_and(|troubles| troubles.is_twin)
    }

    fn counts(&mut self) -> &mut TroubleCounts {
        &mut self.statistics.troubles
    }

    /// Plays the history. Returns what the models end with.
    fn play_troubles(&mut self, is_broken: bool) -> Result<Summary, String> {
        self.check_writes()?;
        let mut hours = 0;
        for number in 0..self.monitors.len() {
            self.put_schedule(number, "Scheduled", false);
            self.plan_executions(number, 0);
            hours = hours.max(self.monitors.get(number).map_or(0, |monitor| monitor.states.len()));
        }
        let end = i64::try_from(hours).unwrap_or_default() * 3600 + 3600;
        let mut at = 3600;
        while at < end {
            at += self.draw(|plan| plan.i64(1500..5400));
            self.plan_sweep(after(midnight(), at));
        }
        if self.is_twin() {
            if is_broken {
                self.plan_poison();
            }
        } else {
            self.plan_troubles(end);
        }
        for number in 0..self.monitors.len() {
            self.plan_at(end, Trouble::Finish(number));
        }
        self.run()?;
        self.calm_down()?;
        self.check_levels()?;
        let is_clean = self.draw(Rng::bool);
        if is_clean {
            self.recover()?;
        }
        for number in 0..self.monitors.len() {
            self.trouble(Trouble::Finish(number));
        }
        // The deadlines of all stages pass, and reminders are due.
        self.sweeps(&[100 * 3600, 900, 8 * 24 * 3600, 900])?;
        self.check_rest(is_clean)?;
        let summary = self.summary();
        self.resolve_all()?;
        self.starve()?;
        Ok(summary)
    }

    fn draw<T>(&mut self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        match &mut self.troubles {
            Some(troubles) => draw(&mut troubles.plan),
            None => draw(&mut self.random),
        }
    }

    fn put_schedule(&mut self, number: usize, status: &str, is_new: bool) {
        let Some(monitor) = self.monitors.get(number) else {
            return;
        };
        let now = self.world.time();
        let known = monitor.schedule(status);
        let schedule = Schedule {
            created: if is_new { now } else { known.created },
            last_modified: known.last_modified.max(now),
            ..known
        };
        self.world.put_schedule(schedule, HOURLY);
    }

    fn plan_executions(&mut self, number: usize, first: usize) {
        let hours = self.monitors.get(number).map_or(0, |monitor| monitor.states.len());
        for at in first..hours {
            let seconds = self.draw(|plan| plan.i64(600..2400));
            self.plan(after(Monitor::hour(at), seconds), Occurrence::Execute(number, at));
        }
    }

    /// Whether a monitoring schedule runs at present.
    pub(super) fn is_scheduled(&self, number: usize) -> bool {
        let state = self
            .troubles
            .as_ref()
            .and_then(|troubles| troubles.schedules.get(number));
        state.is_none_or(|state| *state == ScheduleState::Scheduled)
    }

    fn set_schedule(&mut self, number: usize, state: ScheduleState) {
        let schedules = self.troubles.as_mut().map(|troubles| &mut troubles.schedules);
        if let Some(known) = schedules.and_then(|schedules| schedules.get_mut(number)) {
            *known = state;
        }
    }

    fn plan_at(&mut self, seconds: i64, trouble: Trouble) {
        self.plan(after(midnight(), seconds), Occurrence::Trouble(trouble));
    }

    /// One item of the twin breaks, and stays broken.
    fn plan_poison(&mut self) {
        let ledger = self.monitors.first().map(ledger_key).unwrap_or_default();
        let trouble = match self.troubles.as_ref().map_or(0, |troubles| {
            troubles.seed / (super::TROUBLE_INTERVAL * TWIN_INTERVAL) % 4
        }) {
            0 => Trouble::Corrupt("models/m0.json".to_owned(), false),
            1 => Trouble::Corrupt(ledger, false),
            2 => Trouble::Corrupt(ledger, true),
            _ => Trouble::Refuse(0, Kind::Rejected, "the pipeline does not declare parameter `Report`"),
        };
        self.plan_at(3700, trouble);
    }

    /// Plans the troubles until `end`.
    fn plan_troubles(&mut self, end: i64) {
        for _ in 0..self.draw(|plan| plan.u8(2..=7)) {
            let at = self.draw(|plan| plan.i64(3600..end));
            let lasts = self.draw(|plan| plan.i64(600..4 * 3600));
            let number = self.draw(|plan| plan.usize(0..1000));
            let (monitors, models) = (
                self.monitors.len(),
                self.troubles.as_ref().map_or(1, |troubles| troubles.models),
            );
            let (monitor, model) = (number % monitors.max(1), number % models.max(1));
            match self.draw(|plan| plan.u8(0..20)) {
                0..5 => {
                    let at_command = self.draw(|plan| plan.usize(0..Command::ALL.len()));
                    let command = Command::ALL.get(at_command).copied().unwrap_or(Command::Accept);
                    self.plan_at(at, Trouble::Command(command, model));
                }
                5 => self.plan_reports(at, monitor),
                6 | 7 => self.plan_schedules(at, at + lasts, monitor),
                8 | 9 => self.plan_policy(at, monitor),
                10 => {
                    self.plan_at(at, Trouble::PauseAll(true));
                    self.plan_at(at + lasts, Trouble::PauseAll(false));
                }
                11..14 => {
                    let disturbance = [
                        Disturbance::Retry,
                        Disturbance::Retry,
                        Disturbance::Stop,
                        Disturbance::Delete,
                    ];
                    let disturbance = disturbance.get(number % 4).copied().unwrap_or(Disturbance::Stop);
                    self.plan_at(at, Trouble::Disturb(disturbance));
                    self.plan_at(at + lasts, Trouble::Disturb(disturbance));
                }
                14 => self.plan_at(at, Trouble::StartManually(model)),
                15 | 16 => {
                    let refusal = [
                        (Kind::Rejected, "the pipeline does not declare parameter `Report`"),
                        (
                            Kind::Denied,
                            "not authorized to perform sagemaker:StartPipelineExecution",
                        ),
                        (
                            Kind::Transient,
                            "ResourceLimitExceeded: the limit of pipeline executions is reached",
                        ),
                        (Kind::NotFound, "pipeline retraining does not exist"),
                    ];
                    let (kind, words) = refusal.get(number % 4).copied().unwrap_or((Kind::Rejected, "refused"));
                    let begins = self.draw(|plan| plan.i64(0..at));
                    self.plan_at(begins, Trouble::Refuse(model, kind, words));
                    if !number.is_multiple_of(3) {
                        self.plan_at(begins + lasts, Trouble::Allow(model));
                    }
                }
                17 => {
                    let broken = [
                        ("sagemaker:ListMonitoringSchedules", "*"),
                        ("sagemaker:ListMonitoringSchedules", "*"),
                        ("s3:ListBucket", "models/"),
                        ("s3:ListBucket", "monitors/"),
                        ("sagemaker:ListPipelineExecutions", ""),
                    ];
                    let (operation, resource) = broken.get(number % 5).copied().unwrap_or(("s3:ListBucket", ""));
                    self.plan_at(at, Trouble::Break(operation, resource));
                    self.plan_at(at + lasts, Trouble::Repair(operation));
                }
                18 => {
                    self.plan_at(at, Trouble::LimitRate(1));
                    self.plan_at(at + lasts, Trouble::LimitRate(u32::MAX));
                }
                _ => self.plan_documents(at, at + lasts, monitor, model),
            }
        }
    }

    fn plan_reports(&mut self, at: i64, monitor: usize) {
        if self.draw(|plan| plan.u8(0..3)) == 0 {
            self.plan_at(at, Trouble::Ahead(monitor));
            return;
        }
        let hour = usize::try_from(at / 3600).unwrap_or_default().saturating_sub(1);
        let report = if self.draw(Rng::bool) {
            Report::BrokenData
        } else {
            Report::Drift
        };
        self.plan_at(at, Trouble::Replace(monitor, hour, report));
    }

    fn plan_schedules(&mut self, at: i64, end: i64, monitor: usize) {
        match self.draw(|plan| plan.u8(0..3)) {
            0 => self.plan_at(at, Trouble::DeleteSchedule(monitor)),
            1 => self.plan_at(at, Trouble::RenameSchedule(monitor)),
            _ => {
                self.plan_at(at, Trouble::StopSchedule(monitor));
                self.plan_at(end, Trouble::StartSchedule(monitor));
            }
        }
    }

    fn plan_policy(&mut self, at: i64, monitor: usize) {
        let is_fleet = self.troubles.as_ref().is_some_and(|troubles| troubles.is_fleet);
        match self.draw(|plan| plan.u8(0..7)) {
            0..2 => self.plan_at(at, Trouble::DeletePolicy),
            2 => self.plan_at(at, Trouble::InvalidPolicy("[alert]\ndatapoints_to_alert = 'many'\n")),
            3 => self.plan_at(
                at,
                Trouble::InvalidPolicy("[alert]\ndatapoints_to_alert = 5\nevaluation_period = 2\n"),
            ),
            edit => {
                let mut policy = self.draw(|plan| random_policy(plan, false, is_fleet));
                if edit > 4 {
                    let name = self
                        .monitors
                        .get(monitor)
                        .map_or("", |monitor| monitor.schedule.as_str());
                    policy.extend([format!(
                        "[[monitor]]\nschedule = '{}'\nmodel = 'm9'\n",
                        name.to_lowercase()
                    )]);
                }
                self.plan(after(midnight(), at), Occurrence::Policy(policy));
            }
        }
    }

    fn plan_documents(&mut self, at: i64, end: i64, monitor: usize, model: usize) {
        let ledger = self.monitors.get(monitor).map(ledger_key).unwrap_or_default();
        let key = if self.draw(Rng::bool) {
            ledger
        } else {
            format!("models/m{model}.json")
        };
        match self.draw(|plan| plan.u8(0..5)) {
            0 | 1 => {
                let is_newer = self.draw(Rng::bool);
                self.plan_at(at, Trouble::Corrupt(key.clone(), is_newer));
                self.plan_at(end, Trouble::Cure(key));
            }
            2 => self.plan_at(at, Trouble::LoseLedger(monitor)),
            _ => self.plan_at(at, Trouble::AddField(key)),
        }
    }

    /// A trouble begins or ends, or an operator acts.
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        self.record(|| format!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Replace(number, at, report) => self.replace_report(number, at, report),
            Trouble::Ahead(number) => {
                if let Some(monitor) = self.monitors.get(number) {
                    let folder = format!("out/{}/{}/2126/11/29/03", monitor.endpoint, monitor.schedule);
                    let event = write_report(&folder, Report::Drift.text(), self.world);
                    self.send(&event, Function::Ingest, 0);
                }
            }
            Trouble::DeleteSchedule(number) => self.delete_schedule(number),
            Trouble::RenameSchedule(number) => self.rename_schedule(number),
            Trouble::StopSchedule(number) => {
                if self.is_scheduled(number) {
                    self.set_schedule(number, ScheduleState::Stopped);
                    self.put_schedule(number, "Stopped", false);
                }
            }
            Trouble::StartSchedule(number) => {
                let state = self
                    .troubles
                    .as_ref()
                    .and_then(|troubles| troubles.schedules.get(number));
                if state == Some(&ScheduleState::Stopped) {
                    self.set_schedule(number, ScheduleState::Scheduled);
                    self.put_schedule(number, "Scheduled", false);
                }
            }
            Trouble::Finish(number) => {
                if self.is_scheduled(number) {
                    self.put_schedule(number, "Stopped", false);
                }
            }
            Trouble::DeletePolicy => self.world.delete_document("policy.toml"),
            Trouble::InvalidPolicy(text) => self.world.put_document("policy.toml", text),
            Trouble::PauseAll(paused) => {
                let pause = json!({"paused": paused, "by": "ada", "time": self.world.time().to_string()});
                self.world.put_document(PAUSE_KEY, pause.to_string());
            }
            Trouble::Command(command, model) => self.command(command, model),
            Trouble::Disturb(disturbance) => self.disturb(disturbance),
            Trouble::StartManually(model) => {
                let parameters = [("DriftwardenModel".to_owned(), format!("m{model}"))];
                let arn = self.world.start_manually("manual", parameters.into());
                if let Some(troubles) = &mut self.troubles {
                    troubles.manual.insert(arn, format!("m{model}"));
                }
            }
            Trouble::Refuse(model, kind, words) => {
                self.world.refuse_start(&format!("driftwarden-m{model}-"), kind, words);
            }
            Trouble::Allow(model) => self.world.allow_start(&format!("driftwarden-m{model}-")),
            Trouble::Break(operation, resource) => self.world.break_operation(operation, resource, Kind::Transient),
            Trouble::Repair(operation) => self.world.repair(operation),
            Trouble::LimitRate(per_second) => self.world.limit_rate(per_second),
            Trouble::Corrupt(key, is_newer) => self.corrupt(&key, is_newer),
            Trouble::Cure(key) => self.cure(&key),
            Trouble::LoseLedger(number) => {
                if let Some(key) = self.monitors.get(number).map(ledger_key)
                    && !self.troubles.as_ref().is_some_and(|troubles| troubles.is_corrupt(&key))
                {
                    self.world.delete_document(&key);
                }
            }
            Trouble::AddField(key) => self.add_field(&key),
        }
    }

    fn replace_report(&mut self, number: usize, at: usize, report: Report) {
        let Some(monitor) = self.monitors.get_mut(number) else {
            return;
        };
        let exists = |monitor: &Monitor| {
            self.world
                .object(&format!(
                    "s3://reports/{}/constraint_violations.json",
                    monitor.folder(at)
                ))
                .is_some()
        };
        if !exists(monitor) {
            return;
        }
        if let Some(known) = monitor.reports.get_mut(at) {
            *known = report;
        }
        let event = monitor.write_report(at, self.world);
        self.send(&event, Function::Ingest, 10);
    }

    fn delete_schedule(&mut self, number: usize) {
        let Some(monitor) = self.monitors.get(number) else {
            return;
        };
        if self.world.delete_schedule(&monitor.schedule).is_some() {
            self.set_schedule(number, ScheduleState::Deleted);
            self.counts().deleted_schedules += 1;
        }
    }

    fn rename_schedule(&mut self, number: usize) {
        let Some(monitor) = self.monitors.get(number) else {
            return;
        };
        let model = monitor.endpoint.trim_start_matches('m').parse().unwrap_or_default();
        let hours = monitor.states.len();
        self.delete_schedule(number);
        let new = self.monitors.len();
        let first = self.hours_passed();
        let monitor = self.draw(|plan| random_monitor(plan, new, model, first, hours.saturating_sub(first)));
        self.monitors.push(monitor);
        if let Some(troubles) = &mut self.troubles {
            troubles.schedules.push(ScheduleState::Scheduled);
        }
        self.put_schedule(new, "Scheduled", true);
        self.plan_executions(new, first);
    }

    /// Number of the next execution.
    fn hours_passed(&self) -> usize {
        let hours = self.world.time().duration_since(midnight()).as_hours();
        usize::try_from(hours).unwrap_or_default()
    }

    /// The latest pipeline execution is retried, stopped, or deleted.
    fn disturb(&mut self, disturbance: Disturbance) {
        let runs = self.world.runs();
        let ours = runs.iter().filter(|(name, _)| name.starts_with("driftwarden-"));
        let fits = |status: ExecutionStatus| match disturbance {
            Disturbance::Retry => status.is_final() && status != ExecutionStatus::Succeeded,
            Disturbance::Stop => !status.is_final(),
            Disturbance::Delete => true,
        };
        let latest = ours
            .filter(|(_, run)| fits(run.status))
            .max_by_key(|(_, run)| run.start_time);
        let Some((name, run)) = latest else { return };
        let arn = run.arn.clone();
        self.record(|| format!("{disturbance:?}: {arn}"));
        self.counts().disturbed_runs += 1;
        match disturbance {
            Disturbance::Retry => {
                self.world.retry_execution(&arn);
                let now = self.world.time();
                if let Some(run) = self.troubles.as_mut().and_then(|troubles| troubles.runs.get_mut(&arn)) {
                    (run.since, run.ended, run.retried) = (now, None, true);
                }
                let (status, seconds) = self.fate(&format!("{name} retried"));
                self.plan(after(now, seconds), Occurrence::Finish(arn.clone(), status));
                self.announce_execution(&arn);
            }
            Disturbance::Stop => self.finish(&arn, ExecutionStatus::Stopped),
            Disturbance::Delete => {
                self.world.delete_execution(&arn);
                self.executions_seen = self.executions_seen.saturating_sub(1);
                self.note_end(&arn);
            }
        }
    }

    /// Records the end of a pipeline execution.
    pub(super) fn note_end(&mut self, arn: &str) {
        let now = self.world.time();
        if let Some(run) = self.troubles.as_mut().and_then(|troubles| troubles.runs.get_mut(arn)) {
            run.ended.get_or_insert(now);
        }
    }

    fn corrupt(&mut self, key: &str, is_newer: bool) {
        let Some(troubles) = &mut self.troubles else { return };
        if troubles.is_corrupt(key) {
            return;
        }
        let original = self.world.document(key);
        let body = match &original {
            Some(original) if is_newer => {
                let mut document: Value = serde_json::from_slice(original).unwrap_or_default();
                if let Some(version) = document.get_mut("version") {
                    *version = NEWER_VERSION.into();
                }
                document.to_string().into_bytes()
            }
            _ => b"{".to_vec(),
        };
        troubles.corrupt.insert(key.to_owned(), original);
        self.world.put_document(key, body);
        self.counts().unreadable += 1;
    }

    fn cure(&mut self, key: &str) {
        match self.troubles.as_mut().and_then(|troubles| troubles.corrupt.remove(key)) {
            Some(Some(original)) => self.world.put_document(key, original),
            Some(None) => self.world.delete_document(key),
            None => {}
        }
    }

    fn add_field(&mut self, key: &str) {
        if self.troubles.as_ref().is_some_and(|troubles| troubles.is_corrupt(key)) {
            return;
        }
        let document = self.world.document(key);
        let document = document.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        if let Some(Value::Object(mut document)) = document {
            document.insert(NEWER_FIELD.to_owned(), json!({"since": self.world.time().to_string()}));
            self.world.put_document(key, Value::Object(document).to_string());
        }
    }

    /// An operator sends a command that fits what the document of the model says, or is invalid in one respect.
    fn command(&mut self, command: Command, model: usize) {
        let now = self.world.time();
        let request = self.request();
        if command == Command::Stale && request.is_multiple_of(2) && self.replay_command(request) {
            return;
        }
        let key = format!("models/m{model}.json");
        let document = self.world.document(&key);
        let document = document.and_then(|body| serde_json::from_slice::<ModelDocument>(&body).ok());
        let open = document.as_ref().and_then(|document| document.incident.as_ref());
        let incident = open.map_or_else(|| format!("m{model}-1"), |open| open.id.clone());
        let decision = open.and_then(|open| open.decision.as_ref());
        let decision = decision.map_or(0, |decision| decision.number);
        let stage = open.map_or(Stage::Healthy, remediation::Incident::stage);
        let other = if stage == Stage::Verifying {
            Stage::Deciding
        } else {
            Stage::Verifying
        };
        let answer = |name: &str, decision: u64| json!({"command": name, "incidentId": incident, "decision": decision});
        let resolve = |stage: Stage, choice: Option<&str>| json!({"command": "resolve", "incidentId": incident, "stage": stage.as_str(), "inAlert": choice});
        let mut body = match command {
            Command::Approve | Command::Stale | Command::Anonymous => answer("approve", decision),
            Command::Deny => answer("deny", decision),
            Command::OtherDecision => answer("approve", decision + 7),
            Command::Resolve => resolve(stage, None),
            Command::Accept => resolve(stage, Some("accept")),
            Command::Reopen => resolve(stage, Some("reopen")),
            Command::OtherStage => resolve(other, Some("accept")),
            Command::Pause => json!({"command": "pause", "model": format!("m{model}"), "reason": "labels are late"}),
            Command::Resume => json!({"command": "resume", "model": format!("m{model}")}),
            Command::Misspelled => {
                json!({"command": "pause", "model": format!("m{model}x"), "reason": "labels are late"})
            }
        };
        if let Some(fields) = body.as_object_mut() {
            fields.insert("id".into(), format!("command-{request}").into());
            fields.retain(|_, value| !value.is_null());
        }
        let received = if command == Command::Stale {
            after(now, -STALE_SECONDS)
        } else {
            now
        };
        let mut payload = url_request(request, received, &body.to_string().into());
        if command == Command::Anonymous
            && let Some(Value::Object(context)) = payload.get_mut("requestContext")
        {
            context.remove("authorizer");
        }
        if command.is_invalid()
            && let Some(troubles) = &mut self.troubles
        {
            troubles.invalid.insert(format!("command-{request}"));
        } else if let Some(troubles) = &mut self.troubles {
            troubles.sent.push((now, format!("command-{request}"), payload.clone()));
        }
        self.record(|| format!("ada sends: {body}"));
        self.plan_command(now, request, &payload);
    }

    /// Sends the oldest command again, with the signature and the time of its first request. Returns false if none is old enough.
    fn replay_command(&mut self, request: u64) -> bool {
        let now = self.world.time();
        let Some(troubles) = &mut self.troubles else {
            return false;
        };
        let Some((sent, id, _)) = troubles.sent.first() else {
            return false;
        };
        if after(*sent, REPLAYED_AFTER_SECONDS) > now {
            return false;
        }
        let id = id.clone();
        let (_, _, payload) = troubles.sent.remove(0);
        troubles.invalid.insert(id.clone());
        self.record(|| format!("a stranger sends {id} again"));
        self.plan_command(now, request, &payload);
        true
    }

    /// Records a command that is about to be executed.
    pub(super) fn note_command(&mut self, invocation: &Invocation) {
        if invocation.function != Function::Operator || self.troubles.is_none() {
            return;
        }
        self.counts().commands += 1;
        let Some(troubles) = &mut self.troubles else { return };
        let request: Value = serde_json::from_str(&invocation.payload).unwrap_or_default();
        let body = request.get("body").and_then(Value::as_str).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let time = request.pointer("/requestContext/timeEpoch").and_then(Value::as_i64);
        let incident = body.get("incidentId").and_then(Value::as_str);
        let decision = body.get("decision").and_then(Value::as_u64);
        if let (Some(time), Some(incident), Some(decision)) = (time, incident, decision) {
            troubles.approvals.insert(time, (incident.to_owned(), decision));
        }
    }

    /// Whether the planted bug stops the sweep here.
    pub(super) fn stops_at_first(&mut self, function: Function) -> bool {
        let Some(troubles) = &mut self.troubles else {
            return false;
        };
        let reads = self.world.take_reads();
        if function != Function::Sweep {
            return false;
        }
        let is_corrupt = reads.iter().any(|key| troubles.is_corrupt(key));
        troubles.swept.extend(reads);
        is_corrupt && self.bug == Some(PlantedBug::StopAtFirst)
    }

    /// Ends the troubles that are not for good, and lets sweeps reconcile the rest.
    fn calm_down(&mut self) -> Result<(), String> {
        self.settling = true;
        self.world.fail_randomly(0, 0);
        self.world.limit_rate(u32::MAX);
        self.record(|| "--- final phase: no lost events, failures, or crashes".to_owned());
        if !self.is_twin() {
            let corrupt = self
                .troubles
                .as_ref()
                .map(|troubles| troubles.corrupt.keys().cloned().collect());
            let corrupt: Vec<String> = corrupt.unwrap_or_default();
            for key in corrupt {
                self.cure(&key);
            }
        }
        self.redrive();
        self.sweeps(&[900, 3700, 900])
    }

    /// Runs sweeps, each after some seconds.
    fn sweeps(&mut self, pauses: &[i64]) -> Result<(), String> {
        for seconds in pauses {
            self.plan_sweep(after(self.world.time(), *seconds));
            self.run()?;
        }
        Ok(())
    }

    /// All monitors that exist run some more hours, and find nothing.
    fn recover(&mut self) -> Result<(), String> {
        let first = self.hours_passed() + 1;
        for number in 0..self.monitors.len() {
            let state = self
                .troubles
                .as_ref()
                .and_then(|troubles| troubles.schedules.get(number));
            if state == Some(&ScheduleState::Stopped) {
                self.trouble(Trouble::StartSchedule(number));
            }
            if self.is_scheduled(number) {
                self.put_schedule(number, "Scheduled", false);
            }
            let Some(monitor) = self.monitors.get_mut(number) else {
                continue;
            };
            monitor.states.resize(first, DatapointState::Missing);
            monitor.states.resize(first + 4, DatapointState::Clean);
            self.plan_executions(number, first);
        }
        self.run()?;
        self.sweeps(&[900, 900])
    }

    /// An operator resolves every open incident.
    fn resolve_all(&mut self) -> Result<(), String> {
        let models = self.model_documents();
        let open: Vec<String> = models
            .iter()
            .filter(|model| model.incident.is_some())
            .map(|model| model.model.clone())
            .collect();
        for model in &open {
            let number = model.trim_start_matches('m').parse().unwrap_or_default();
            self.counts().resolved += 1;
            self.command(Command::Accept, number);
        }
        self.run()?;
        self.sweeps(&[900, 900])?;
        self.r2_resolved_incident_stays_closed(&open)
    }

    /// Sweeps with too little time for all monitors.
    fn starve(&mut self) -> Result<(), String> {
        if !self.troubles.as_ref().is_some_and(|troubles| troubles.is_fleet) {
            return Ok(());
        }
        if let Some(troubles) = &mut self.troubles {
            troubles.swept.clear();
        }
        // A sweep does not read what has not changed.
        let ledgers: Vec<String> = self.monitors.iter().map(ledger_key).collect();
        for key in ledgers {
            if let Some(body) = self.world.document(&key) {
                self.world.put_document(&key, body);
            }
        }
        for _ in 0..SHORT_SWEEPS {
            let request = self.request();
            let sweep = Invocation {
                function: Function::Sweep,
                payload: Rc::from(SHORT_SWEEP),
                request,
                attempt: 1,
            };
            self.plan(after(self.world.time(), 900), Occurrence::Invoke(sweep));
            self.run()?;
        }
        self.r7_short_sweeps_reach_all_monitors()
    }
}
