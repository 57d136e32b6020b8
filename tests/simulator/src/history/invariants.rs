//! Invariants of histories with troubles. The names of the functions begin with the ID of the invariant: A for what is true after
//! every step, R for what is true at rest, when all deadlines have passed.

use super::{
    History, stages,
    troubles::{Run, ScheduleState, Summary, Troubles, ledger_key},
    truth::Truth,
};
use crate::world::{after, midnight, read};
use alerting::{AlertStatus, MonitorLedger, Period};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use machine::Outbox;
use remediation::{
    ClosedIncident, FLEET_KEY, Fleet, ModelDocument, ModelEffect, MonitorRef, Outcome, PAUSE_KEY, Pause,
    PipelineExecution, Policy, Reason, Stage, StartPipelineExecution, Verdict, parse_display_name, schedule_key,
};
use serde_json::Value;
use shell::memory::{DocumentWrite, NEWER_FIELD};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// Seconds within which a fact that a start depends on must have been true.
const FACT_SECONDS: i64 = 60;
/// Seconds within which an open incident must have been notified.
const NOTIFIED_SECONDS: i64 = 7 * 24 * 3600 + 2 * 3600;
/// Time after which an approval request of a history with troubles expires.
const APPROVAL_SECONDS: i64 = 12 * 3600;

/// Seconds by which the end of a start without an answer may be late: a claim, the longest pause after a failed attempt, and sweeps
/// that fail.
const LATE_SECONDS: i64 = 2 * 3600;

/// Maximum size of an event in bytes, and of what EventBridge counts besides the detail (*Calculating EventBridge `PutEvents` event
/// entry size*).
const MAX_EVENT_BYTES: usize = 256 << 10;
const EVENT_OVERHEAD_BYTES: usize = 14 + "driftwarden.operator".len();

/// Maximum size of a document in bytes. It is loaded and written with each change.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// A start that AWS accepted.
struct Accepted<'a> {
    start: &'a StartPipelineExecution,
    arn: &'a str,
    model: &'a str,
    incident: u64,
    /// Moments of the last minute at which something may have changed, and now.
    moments: Vec<Timestamp>,
}

/// What the documents say at a moment.
struct Moment<'a> {
    at: Timestamp,
    document: Option<ModelDocument>,
    policy: Rc<Policy>,
    truth: &'a Truth,
}

impl Moment<'_> {
    /// The pending start of the accepted one's incident, while that is in stage `Starting`.
    fn has_pending(&self, accepted: &Accepted<'_>) -> bool {
        let Some(document) = &self.document else { return false };
        let is_starting = document
            .incident
            .as_ref()
            .is_some_and(|open| open.number == accepted.incident && open.stage() == Stage::Starting);
        is_starting && pending_starts(&document.outbox).any(|(start, _)| start == accepted.start)
    }

    fn is_paused(&self, model: &str) -> bool {
        let all: Option<Pause> = self.truth.at(PAUSE_KEY, self.at);
        let own = self.document.as_ref().and_then(|document| document.pause.clone());
        let pauses = [all, own];
        self.policy.model(model).paused.is_some() || pauses.into_iter().flatten().any(|pause| pause.is_active(self.at))
    }

    /// For each monitor that the model knows to be in alert, and that is in alert: whether it is fresh, and whether its data is
    /// broken.
    fn alerts(&self, model: &str) -> Vec<(bool, bool)> {
        let broken_types = self.policy.model(model).fix_data_check_types;
        let alerts = self.document.iter().flat_map(|document| &document.alerts);
        let in_alert = alerts.filter(|(_, alert)| {
            alert.status == AlertStatus::InAlert && alert.accepted_until.is_none_or(|until| until <= self.at)
        });
        let levels = in_alert.filter_map(|(schedule, _)| {
            let key = MonitorLedger::key(schedule);
            if !self.truth.exists(&key, self.at) {
                // The last event of a monitor without a ledger counts.
                return Some((true, false));
            }
            let ledger: MonitorLedger = self.truth.at(&key, self.at)?;
            let rules = self.policy.monitor(&MonitorRef::from(&ledger.monitor));
            let level = ledger.level(&rules.rules, self.at);
            let is_fresh = level.silent_since(self.at).is_none();
            let is_broken = level.alert.check_types.iter().any(|check| broken_types.contains(check));
            level.is_in_alert().then_some((is_fresh, is_broken))
        });
        levels.collect()
    }
}

/// The pending starts in an outbox, with the ends of their claims.
fn pending_starts(outbox: &Outbox<ModelEffect>) -> impl Iterator<Item = (&StartPipelineExecution, Timestamp)> {
    outbox.entries().iter().filter_map(|entry| match &entry.effect {
        ModelEffect::StartPipelineExecution(start) => Some((start, entry.claim.until)),
        _ => None,
    })
}

impl Run {
    /// Whether it was in progress at a moment.
    fn is_in_progress(&self, moment: Timestamp) -> bool {
        self.since <= moment && self.ended.is_none_or(|ended| ended > moment)
    }

    /// Whether it retrains a model, or may.
    fn may_retrain(&self, model: &str) -> bool {
        match (parse_display_name(&self.name), &self.model) {
            (Some((other, _)), _) => other == model,
            (None, Some(other)) => other == model,
            (None, None) => true,
        }
    }
}

impl History<'_> {
    /// Checks the writes of the last step, and remembers them.
    pub(super) fn check_writes(&mut self) -> Result<(), String> {
        if self.truth.is_none() {
            return Ok(());
        }
        for write in self.world.take_writes() {
            let before = self.truth.as_mut().and_then(|truth| truth.add(&write));
            let Some(body) = &write.body else { continue };
            if write.key == "policy.toml" {
                if let (Some(troubles), Ok(policy)) = (&mut self.troubles, Policy::parse(body)) {
                    troubles.policies.push((write.at, Rc::new(policy)));
                }
            } else if write.by_function {
                if let Some(before) = &before {
                    a9_newer_release_loses_nothing(before, body, &write.key)?;
                }
                a11_documents_are_bounded(&write)?;
                if write.key.starts_with("models/") {
                    self.check_model_write(before.as_deref(), body, &write)?;
                }
                if let (true, Some(troubles)) = (write.key.starts_with("monitors/"), &self.troubles) {
                    a7_window_is_not_looser(before.as_deref(), body, &write, troubles)?;
                }
            }
        }
        Ok(())
    }

    fn check_model_write(&mut self, before: Option<&[u8]>, body: &[u8], write: &DocumentWrite) -> Result<(), String> {
        let parse = |body: &[u8]| serde_json::from_slice::<ModelDocument>(body);
        let document = parse(body).map_err(|error| format!("{}: {error}", write.key))?;
        let before = before.and_then(|before| parse(before).ok());
        self.statistics.transitions |= a6_stages_follow_the_table(before.as_ref(), &document)?;
        let Some(troubles) = &mut self.troubles else {
            return Ok(());
        };
        a4_closed_incident_starts_nothing(&document, write)?;
        if let Some(policy) = troubles.policy_at(write.at) {
            r3_start_ends_in_time(&document, write.at, policy)?;
        }
        if let (Some(before), Some(policy)) = (&before, troubles.policy_at(write.at)) {
            a11_burst_leads_to_one_decision(before, &document, policy.model(&document.model).decide_after, troubles)?;
        }
        if let Some((open, decision)) = document
            .incident
            .as_ref()
            .and_then(|open| Some((open, open.decision.as_ref()?)))
        {
            let key = (open.id.clone(), decision.number);
            troubles.fingerprints.insert(key, decision.fingerprint.clone());
        }
        let known = before.iter().flat_map(|before| before.alerts.keys());
        let retired = known.filter(|key| !document.alerts.contains_key(*key)).count();
        self.statistics.troubles.retired += retired as u64;
        match before {
            Some(before) => self.r4_existing_monitor_stays(&before, &document),
            None => Ok(()),
        }
    }

    /// Checks a pipeline execution that started in the last step.
    pub(super) fn check_start(&mut self, name: &str, execution: &PipelineExecution) -> Result<(), String> {
        let now = self.world.time();
        let (Some(troubles), Some(truth)) = (&mut self.troubles, &self.truth) else {
            return Ok(());
        };
        let executions = self.world.executions();
        let start = executions
            .iter()
            .find(|(_, arn)| *arn == execution.arn)
            .map(|(start, _)| start);
        let run = Run {
            name: name.to_owned(),
            model: troubles.manual.get(&execution.arn).cloned(),
            since: now,
            ended: None,
            retried: false,
        };
        troubles.runs.insert(execution.arn.clone(), run);
        let Some((start, (model, incident))) = start.and_then(|start| Some((start, parse_display_name(name)?))) else {
            return Ok(());
        };
        let key = format!("models/{model}.json");
        let ledgers: Vec<String> = self.monitors.iter().map(ledger_key).collect();
        let keys = ["policy.toml", PAUSE_KEY, FLEET_KEY, key.as_str()].into_iter();
        let mut moments = truth.moments(keys.chain(ledgers.iter().map(String::as_str)), now);
        let changes = troubles
            .runs
            .values()
            .flat_map(|run| [Some(run.since), run.ended])
            .flatten();
        moments.extend(changes.filter(|at| *at > after(now, -FACT_SECONDS) && *at < now));
        moments.sort_unstable();
        let accepted = Accepted {
            start,
            arn: &execution.arn,
            model,
            incident,
            moments,
        };
        let moments: Vec<Moment<'_>> = accepted
            .moments
            .iter()
            .filter_map(|at| {
                Some(Moment {
                    at: *at,
                    document: truth.at(&key, *at),
                    policy: Rc::clone(troubles.policy_at(*at)?),
                    truth,
                })
            })
            .collect();
        a1_start_is_permitted(&accepted, &moments, troubles)?;
        a1_start_is_within_cooldown_and_budget(&accepted, &moments, troubles)?;
        a2_incident_has_one_run(&executions, name)?;
        a3_nothing_starts_while_paused(&accepted, &moments)?;
        a5_start_is_approved(&accepted, &moments, troubles)?;
        a8_fleet_limits_are_kept(&accepted, &moments, troubles)
    }

    /// Checks an event that the last step published.
    pub(super) fn check_published(&mut self, detail_type: &str, detail: &Value) -> Result<(), String> {
        let now = self.world.time();
        let Some(troubles) = &mut self.troubles else {
            return Ok(());
        };
        let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default();
        match detail_type {
            "Remediation Decided" => {
                a7_policy_was_published(text("policyVersion"), troubles)?;
                troubles.notified.insert(text("incidentId").to_owned(), now);
                let reasons = detail.get("reasons").and_then(Value::as_array).into_iter().flatten();
                for code in reasons.filter_map(|reason| reason.get("code")?.as_str()) {
                    if code == "StartRefused" {
                        troubles.refusals_published.insert(text("incidentId").to_owned());
                    }
                    if matches!(code, "FleetAtOnce" | "FleetPerDay" | "FleetTurn" | "CommonCause") {
                        self.statistics.troubles.held_by_fleet += 1;
                    }
                }
            }
            "Operator Command Accepted" => {
                self.statistics.troubles.accepted += 1;
                a12_invalid_command_changes_nothing(text("id"), troubles)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// All documents of models that can be read.
    pub(super) fn model_documents(&self) -> Vec<ModelDocument> {
        let keys = self
            .world
            .documents()
            .into_iter()
            .filter(|key| key.starts_with("models/"));
        keys.filter_map(|key| read(self.world, &key).ok()).collect()
    }

    /// The policy that is effective now.
    fn policy_now(&self) -> Option<Rc<Policy>> {
        let troubles = self.troubles.as_ref()?;
        troubles.policy_at(self.world.time()).cloned()
    }

    /// Ledgers of the monitors that can be read, with the states of their schedules.
    fn ledgers(&self) -> Vec<(MonitorLedger, ScheduleState)> {
        let states = self.troubles.iter().flat_map(|troubles| &troubles.schedules);
        let ledgers = self.monitors.iter().zip(states).filter_map(|(monitor, state)| {
            let ledger = read(self.world, &ledger_key(monitor)).ok()?;
            Some((ledger, *state))
        });
        ledgers.collect()
    }

    /// **R4** For every monitor that exists, its model knows its level after two complete sweeps, regardless of which documents and
    /// events were lost. No model has an alert of a monitor that retired.
    pub(super) fn r4_models_know_all_levels(&self) -> Result<(), String> {
        let Some(policy) = self.policy_now() else { return Ok(()) };
        let documents = self.model_documents();
        let mut owners: BTreeMap<String, (String, AlertStatus)> = BTreeMap::new();
        for (ledger, state) in self.ledgers() {
            let monitor = MonitorRef::from(&ledger.monitor);
            let model = policy.monitor(&monitor).model;
            let schedule = &ledger.monitor.schedule;
            if state != ScheduleState::Deleted {
                owners.insert(schedule_key(schedule), (model, ledger.alert.status));
            }
        }
        for (schedule, (model, status)) in &owners {
            let Some(document) = documents.iter().find(|document| document.model == *model) else {
                if *status == AlertStatus::InAlert && !self.is_unreadable(model) {
                    return Err(format!("R4: model {model} does not know that {schedule} is in alert"));
                }
                continue;
            };
            let known = document
                .alerts
                .get(schedule)
                .map_or(AlertStatus::Ok, |alert| alert.status);
            if known != *status {
                return Err(format!(
                    "R4: {schedule} is {status:?}, but model {model} has it as {known:?}"
                ));
            }
        }
        let sweep: Value = read(self.world, "sweep.json").unwrap_or_default();
        for document in &documents {
            for (schedule, alert) in &document.alerts {
                let owner = owners.get(schedule).map(|(model, _)| model);
                let was_listed =
                    sweep.pointer(&format!("/monitors/items/{schedule}/hasExisted")) == Some(&Value::Bool(true));
                let is_known = owner.is_some()
                    || self.monitors.iter().any(|monitor| {
                        schedule_key(&monitor.schedule) == *schedule
                            && self.world.document(&ledger_key(monitor)).is_none()
                    });
                let is_gone = owner.is_some_and(|owner| *owner != document.model) || (!is_known && was_listed);
                if is_gone && alert.status == AlertStatus::InAlert {
                    return Err(format!(
                        "R4: model {} has the alert of {schedule}, which retired",
                        document.model
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_unreadable(&self, model: &str) -> bool {
        let key = format!("models/{model}.json");
        self.troubles.as_ref().is_some_and(|troubles| troubles.is_corrupt(&key))
    }

    /// **R4**, after every write: a model keeps the alert of a monitor that exists and is its monitor.
    fn r4_existing_monitor_stays(&self, before: &ModelDocument, document: &ModelDocument) -> Result<(), String> {
        let Some(troubles) = &self.troubles else { return Ok(()) };
        for schedule in before.alerts.keys().filter(|key| !document.alerts.contains_key(*key)) {
            let monitors = self.monitors.iter().zip(&troubles.schedules);
            let mut exist = monitors.filter(|(monitor, state)| {
                schedule_key(&monitor.schedule) == *schedule && **state != ScheduleState::Deleted
            });
            let was_moved = |monitor: &crate::world::Monitor| {
                let monitor = MonitorRef {
                    schedule: &monitor.schedule,
                    endpoint: Some(&monitor.endpoint),
                    monitor_type: None,
                };
                let mut policies = troubles.policies.iter().rev().take(2);
                policies.any(|(_, policy)| policy.monitor(&monitor).model != document.model)
            };
            if exist.any(|(monitor, _)| !was_moved(monitor)) {
                return Err(format!("R4: model {} dropped {schedule}, which exists", document.model));
            }
        }
        Ok(())
    }

    /// Checks what must be true some sweeps after the last trouble.
    pub(super) fn check_levels(&self) -> Result<(), String> {
        self.r4_models_know_all_levels()
    }

    /// Checks what must be true after all deadlines.
    pub(super) fn check_rest(&self, is_clean: bool) -> Result<(), String> {
        self.r4_models_know_all_levels()?;
        for document in self.model_documents() {
            self.r1_open_incident_is_notified(&document)?;
            self.r3_refused_start_is_escalated(&document)?;
            if is_clean {
                r5_quiet_model_has_no_incident(&document)?;
            }
        }
        Ok(())
    }

    /// **R1** Every open incident is in a stage whose deadline is ahead, or had a notification within 7 days. Nothing is pending.
    fn r1_open_incident_is_notified(&self, document: &ModelDocument) -> Result<(), String> {
        if let Some(entry) = document.outbox.entries().first() {
            return Err(format!(
                "R1: model {} has the pending effect {}",
                document.model, entry.id
            ));
        }
        let Some(open) = &document.incident else { return Ok(()) };
        let now = self.world.time();
        let notified = self
            .troubles
            .as_ref()
            .and_then(|troubles| troubles.notified.get(&open.id));
        let is_recent = notified.is_some_and(|at| after(*at, NOTIFIED_SECONDS) >= now);
        let stage = open.stage();
        let must_end = matches!(
            stage,
            Stage::Starting | Stage::Retraining | Stage::Candidate | Stage::Verifying | Stage::AwaitingApproval
        );
        // The last sweep may have opened it, when the acceptance of an alert ended.
        let is_requested = stage == Stage::AwaitingApproval && after(open.stage_since, APPROVAL_SECONDS) > now;
        if (must_end && !is_requested) || !is_recent {
            return Err(format!(
                "R1: incident {} is {stage:?} since {}; last notification: {notified:?}; now: {now}",
                open.id, open.stage_since
            ));
        }
        Ok(())
    }

    /// **R2** An operator can resolve an incident in any stage. At rest it is closed, and a newer one exists only if an alert came
    /// later, or `--reopen` was given.
    pub(super) fn r2_resolved_incident_stays_closed(&self, resolved: &[String]) -> Result<(), String> {
        for document in self.model_documents() {
            if let Some(open) = document
                .incident
                .filter(|open| resolved.contains(&document.model) || open.number > 0)
            {
                return Err(format!(
                    "R2: incident {} is {:?} after it was resolved",
                    open.id,
                    open.stage()
                ));
            }
        }
        Ok(())
    }

    /// **R3** A start that is always refused ends in `Escalated`. AWS's words are in the decision and in one notification. Cooldown
    /// and budget count runs that exist.
    fn r3_refused_start_is_escalated(&self, document: &ModelDocument) -> Result<(), String> {
        let model = &document.model;
        let closed = document.closed.iter().map(|closed| &closed.incident);
        for incident in closed.chain(&document.incident) {
            let is_published = self
                .troubles
                .as_ref()
                .is_some_and(|troubles| troubles.refusals_published.contains(&incident.id));
            // The operator may have resolved it before the words were known.
            let is_resolved = document.incident.as_ref().is_none_or(|open| open.id != incident.id);
            if incident.refused_starts > 0 && !is_published && !is_resolved {
                return Err(format!(
                    "R3: no notification has the words of the refused start of {}",
                    incident.id
                ));
            }
        }
        let executions = self.world.executions();
        let started = executions
            .iter()
            .filter(|(start, _)| parse_display_name(&start.display_name).is_some_and(|(started, _)| started == model));
        let started = started.count();
        if document.retrainings.len() > started {
            return Err(format!(
                "R3: {} retrainings count toward the budget of {model}, but {started} were started",
                document.retrainings.len()
            ));
        }
        Ok(())
    }

    /// **R7** With too little time for all monitors in one sweep, each of them is swept within some sweeps.
    pub(super) fn r7_short_sweeps_reach_all_monitors(&self) -> Result<(), String> {
        let Some(troubles) = &self.troubles else { return Ok(()) };
        let exists = |key: &&String| self.world.document(key).is_some();
        let keys: Vec<String> = self.monitors.iter().map(ledger_key).collect();
        match keys.iter().filter(exists).find(|key| !troubles.swept.contains(*key)) {
            Some(key) => Err(format!("R7: no short sweep has read {key}")),
            None => Ok(()),
        }
    }

    /// What each model ends with, except the one that is broken in the twin.
    pub(super) fn summary(&self) -> Summary {
        let executions = self.world.executions();
        let documents = self.model_documents();
        let others = documents.iter().filter(|document| document.model != "m0");
        others
            .map(|document| {
                let name = format!("driftwarden-{}-", document.model);
                let started = executions
                    .iter()
                    .filter(|(start, _)| start.display_name.starts_with(&name))
                    .count();
                // Whether the first execution after a retraining is verified or escalated depends on minutes, in which the
                // plays differ.
                let resolved = |closed: &ClosedIncident| closed.outcome == Outcome::Resolved;
                let outcomes: Vec<_> = document.closed.iter().map(resolved).collect();
                let alerts: Vec<_> = document.alerts.iter().map(|(key, alert)| (key, alert.status)).collect();
                let stage = document.stage();
                let text = format!("{stage:?}, closed (resolved) {outcomes:?}, {started} retrainings, {alerts:?}");
                (document.model.clone(), text)
            })
            .collect()
    }
}

/// **A1** The incident of every accepted start was open and in `Starting` with this attempt, a fresh monitor of the model was in alert,
/// no window in alert had broken data, and no other pipeline execution of the model was in progress. Each was true at some moment
/// of the last 60 s. [`a3_nothing_starts_while_paused`] checks the pauses.
fn a1_start_is_permitted(accepted: &Accepted<'_>, moments: &[Moment<'_>], troubles: &Troubles) -> Result<(), String> {
    let fail = |what: &str| Err(format!("A1: {} started, but {what}", accepted.start.display_name));
    if !moments.iter().any(|moment| moment.has_pending(accepted)) {
        return fail("its incident was not in stage Starting with this start");
    }
    let alerts: Vec<_> = moments.iter().map(|moment| moment.alerts(accepted.model)).collect();
    if !alerts.iter().flatten().any(|(is_fresh, _)| *is_fresh) {
        return fail("no monitor that is not silent was in alert");
    }
    if alerts
        .iter()
        .all(|alerts| alerts.iter().any(|(_, is_broken)| *is_broken))
    {
        return fail("a monitor in alert had found broken data");
    }
    let others = |at: Timestamp| {
        let mut runs = troubles.runs.iter().filter(|(arn, _)| arn.as_str() != accepted.arn);
        runs.any(|(_, run)| run.is_in_progress(at) && run.may_retrain(accepted.model))
    };
    if moments.iter().all(|moment| others(moment.at)) {
        return fail("another pipeline execution of the model was in progress");
    }
    Ok(())
}

/// **A1** The cooldown after the model's last retraining has passed, and its budget is not used up, by a policy of the last 60 s. What
/// counts are the decisions of which a pipeline execution exists.
fn a1_start_is_within_cooldown_and_budget(
    accepted: &Accepted<'_>,
    moments: &[Moment<'_>],
    troubles: &Troubles,
) -> Result<(), String> {
    let others = troubles.runs.iter().filter(|(arn, _)| arn.as_str() != accepted.arn);
    let numbers = others.filter_map(|(_, run)| match parse_display_name(&run.name)? {
        (model, number) if model == accepted.model && number != accepted.incident => Some(number),
        _ => None,
    });
    let numbers: BTreeSet<u64> = numbers.collect();
    let is_over = |moment: &Moment<'_>| {
        let document = moment.document.iter();
        let incidents = document.flat_map(|document| {
            let closed = document.closed.iter().map(|closed| &closed.incident);
            closed.chain(&document.incident)
        });
        let counted = incidents.filter(|incident| numbers.contains(&incident.number));
        let decided: Vec<Timestamp> = counted.filter_map(remediation::Incident::retrain_decided_at).collect();
        let policy = moment.policy.model(accepted.model);
        let cooldown = decided
            .iter()
            .max()
            .and_then(|last| last.checked_add(policy.cooldown).ok());
        let today = TimeZone::UTC.to_datetime(moment.at).date();
        let since = |date: Date| {
            let start = date.to_zoned(TimeZone::UTC).map(|start| start.timestamp());
            let start = start.unwrap_or(Timestamp::MIN);
            decided.iter().filter(|time| **time >= start).count()
        };
        let (day, month) = (since(today), since(today.first_of_month()));
        cooldown.is_some_and(|until| moment.at < until)
            || day >= policy.retrainings_per_day as usize
            || month >= policy.retrainings_per_month as usize
    };
    if moments.iter().all(is_over) {
        let name = &accepted.start.display_name;
        return Err(format!("A1: {name} started within the cooldown or beyond the budget"));
    }
    Ok(())
}

/// **A2** An incident has at most one run, over all attempts, tokens, refusals, lost answers, and reopenings.
fn a2_incident_has_one_run(executions: &[(StartPipelineExecution, String)], name: &str) -> Result<(), String> {
    match executions
        .iter()
        .filter(|(start, _)| start.display_name == name)
        .count()
    {
        0 | 1 => Ok(()),
        count => Err(format!("A2: {count} pipeline executions are named `{name}`")),
    }
}

/// **A3** From 60 s after a pause of the model, or of all models, until its end, no start is accepted.
fn a3_nothing_starts_while_paused(accepted: &Accepted<'_>, moments: &[Moment<'_>]) -> Result<(), String> {
    if moments.iter().all(|moment| moment.is_paused(accepted.model)) {
        return Err(format!("A3: {} started during a pause", accepted.start.display_name));
    }
    Ok(())
}

/// **A4** A closed incident has no pending start, unless an invocation is executing it just then, or was when the step began.
fn a4_closed_incident_starts_nothing(document: &ModelDocument, write: &DocumentWrite) -> Result<(), String> {
    let open = document.incident.as_ref().map(|open| open.number);
    let mut pending = pending_starts(&document.outbox);
    match pending.find(|(start, until)| Some(start.incident) != open && after(*until, FACT_SECONDS) <= write.at) {
        Some((start, _)) => Err(format!(
            "A4: incident {} of {} is closed, but its start is pending",
            start.incident, document.model
        )),
        None => Ok(()),
    }
}

/// **A5** A start that required an approval has one for the fingerprint of its decision.
fn a5_start_is_approved(accepted: &Accepted<'_>, moments: &[Moment<'_>], troubles: &Troubles) -> Result<(), String> {
    let decided = moments.iter().rev().filter(|moment| moment.has_pending(accepted));
    let mut incidents = decided.filter_map(|moment| moment.document.as_ref()?.incident.as_ref());
    let Some((incident, decision)) = incidents.find_map(|open| Some((open, open.decision.as_ref()?))) else {
        return Ok(());
    };
    let approved = decision.reasons.iter().find_map(|reason| match reason {
        Reason::Approved { at, .. } => Some(*at),
        _ => None,
    });
    let Some(at) = approved.filter(|_| decision.verdict == Verdict::Retrain) else {
        return Ok(());
    };
    let Some((of, number)) = troubles.approvals.get(&at.as_millisecond()) else {
        return Err(format!("A5: no operator approved {} at {at}", incident.id));
    };
    let answered = troubles.fingerprints.get(&(of.clone(), *number));
    // An approval that came before the first decision is bound to no facts.
    let is_bound = answered.filter(|fingerprint| !fingerprint.is_empty());
    if *of != incident.id || is_bound.is_some_and(|answered| *answered != decision.fingerprint) {
        return Err(format!(
            "A5: {} started with the approval of decision {number} of {of}, whose facts were others",
            incident.id
        ));
    }
    Ok(())
}

/// **A6** Every change of a stage is a row of the table of transitions. Returns the rows that were taken.
fn a6_stages_follow_the_table(before: Option<&ModelDocument>, document: &ModelDocument) -> Result<u64, String> {
    stages::taken(before, document).map_err(|what| format!("A6: model {}: {what}", document.model))
}

/// **A7** Every decision names a policy that was published.
fn a7_policy_was_published(version: &str, troubles: &Troubles) -> Result<(), String> {
    if troubles.policies.iter().any(|(_, policy)| policy.version() == version) {
        return Ok(());
    }
    Err(format!(
        "A7: a decision names policy version {version}, which was never published"
    ))
}

/// **A7** No monitor is judged by a looser window than a policy of the last 60 s gives: if it is in alert by each of them, its ledger says
/// so.
fn a7_window_is_not_looser(
    before: Option<&[u8]>,
    body: &[u8],
    write: &DocumentWrite,
    troubles: &Troubles,
) -> Result<(), String> {
    let parse = |body: &[u8]| serde_json::from_slice::<MonitorLedger>(body).ok();
    let Some(ledger) = parse(body) else { return Ok(()) };
    let is_judged = before
        .and_then(parse)
        .is_none_or(|before| before.datapoints != ledger.datapoints);
    if !is_judged || ledger.alert.status == AlertStatus::InAlert {
        return Ok(());
    }
    let is_in_alert = |policy: &Rc<Policy>| {
        let rules = policy.monitor(&MonitorRef::from(&ledger.monitor)).rules;
        let window = ledger.window(&rules);
        let evaluated = rules.evaluated(&window, ledger.counting(), ledger.as_of.unwrap_or(write.at));
        let breaching = evaluated.iter().filter(|(_, period)| *period == Period::Breaching);
        breaching.count() >= usize::from(window.datapoints_to_alert())
    };
    let first = after(write.at, -FACT_SECONDS);
    let recent = troubles
        .policies
        .iter()
        .filter(|(at, _)| *at > first && *at <= write.at);
    let mut policies = troubles
        .policy_at(first)
        .into_iter()
        .chain(recent.map(|(_, policy)| policy));
    if policies.all(is_in_alert) {
        return Err(format!(
            "A7: {} is {:?}, but in alert by the window of the policy",
            ledger.monitor.schedule, ledger.alert.status
        ));
    }
    Ok(())
}

/// **A8** Never are more retrainings in progress than `retrainings_at_once`, nor are more started in a day than `retrainings_per_day`, and
/// none starts during a common cause that has not been released.
fn a8_fleet_limits_are_kept(
    accepted: &Accepted<'_>,
    moments: &[Moment<'_>],
    troubles: &Troubles,
) -> Result<(), String> {
    let runs = || {
        let others = troubles.runs.iter().filter(|(arn, _)| arn.as_str() != accepted.arn);
        others
            .map(|(_, run)| run)
            .filter(|run| parse_display_name(&run.name).is_some())
    };
    let is_over = |moment: &Moment<'_>| {
        let fleet = moment.policy.fleet();
        let running = runs()
            .filter(|run| run.is_in_progress(moment.at) && !run.retried)
            .count();
        let day = TimeZone::UTC.to_datetime(moment.at).date().to_zoned(TimeZone::UTC);
        let day = day.ok().and_then(|day| day.checked_add(1.minute()).ok());
        let day = day.map_or(midnight(), |day| day.timestamp());
        let today = runs().filter(|run| run.since >= day && !run.retried).count();
        let document: Fleet = moment.truth.at(FLEET_KEY, moment.at).unwrap_or_default();
        let slot = document
            .slots
            .iter()
            .find(|slot| slot.model == accepted.model && slot.incident == accepted.incident);
        // A start keeps the slot that it took under an earlier policy.
        let mut policies = troubles.policies.iter().rev().map(|(at, _)| *at);
        let published = policies.find(|at| *at <= moment.at);
        let is_earlier = slot.is_some_and(|slot| Some(slot.since) < published);
        let cause = document.common_cause.as_ref().filter(|_| fleet.common_cause);
        // A start that had its slot before may be repeated.
        let is_common = cause.is_some_and(|cause| slot.is_none_or(|slot| slot.since > cause.since));
        let is_full = running >= fleet.retrainings_at_once as usize || today >= fleet.retrainings_per_day as usize;
        (is_full && !is_earlier) || is_common
    };
    if moments.iter().all(is_over) {
        return Err(format!(
            "A8: {} started beyond the limits of the fleet",
            accepted.start.display_name
        ));
    }
    Ok(())
}

/// **A9** No write changes or drops a field that this release does not know, or a document of a newer version.
fn a9_newer_release_loses_nothing(before: &[u8], body: &[u8], key: &str) -> Result<(), String> {
    let field = NEWER_FIELD.as_bytes();
    if !before.windows(field.len()).any(|window| window == field) {
        return Ok(());
    }
    let parse = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap_or_default();
    let (before, after) = (parse(before), parse(body));
    if before.get(NEWER_FIELD) != after.get(NEWER_FIELD) || before.get("version") != after.get("version") {
        return Err(format!("A9: a write of {key} changed what a newer release wrote"));
    }
    Ok(())
}

/// **A10** An ID never names two different events, also across lost documents.
pub(super) fn a10_id_names_one_event(known: &mut BTreeMap<String, String>, detail: &str) -> Result<(), String> {
    let id = serde_json::from_str::<Value>(detail)
        .ok()
        .and_then(|detail| detail.get("id")?.as_str().map(ToOwned::to_owned))
        .ok_or_else(|| format!("an event has no ID: {detail}"))?;
    match known.insert(id.clone(), detail.to_owned()) {
        Some(before) if before != detail => Err(format!(
            "two different events have the ID `{id}`:\n  {before}\n  {detail}"
        )),
        _ => Ok(()),
    }
}

/// **A11** Every document is within its size, and alerts that join an undecided incident within `decide_after` lead to one decision.
fn a11_documents_are_bounded(write: &DocumentWrite) -> Result<(), String> {
    let bytes = write.body.as_ref().map_or(0, Vec::len);
    if bytes > MAX_DOCUMENT_BYTES {
        return Err(format!(
            "{} has {bytes} bytes, more than {MAX_DOCUMENT_BYTES}",
            write.key
        ));
    }
    Ok(())
}

/// **A11** Every event fits into EventBridge.
pub(super) fn a11_event_is_bounded(detail_type: &str, detail: &str) -> Result<(), String> {
    let bytes = EVENT_OVERHEAD_BYTES + detail_type.len() + detail.len();
    if bytes > MAX_EVENT_BYTES {
        return Err(format!("A11: an event `{detail_type}` has {bytes} bytes"));
    }
    Ok(())
}

fn a11_burst_leads_to_one_decision(
    before: &ModelDocument,
    document: &ModelDocument,
    decide_after: SignedDuration,
    troubles: &Troubles,
) -> Result<(), String> {
    let (Some(open), Some(now)) = (&before.incident, &document.incident) else {
        return Ok(());
    };
    let (Some(last), Some(decision), Some(joined)) = (&open.decision, &now.decision, now.last_alert_at) else {
        return Ok(());
    };
    let is_new = open.id == now.id && decision.number > last.number;
    // An answer is followed up on at once. If it was given for other facts, it does not stay in the document.
    let has_answer = open.approval().or(now.approval()).is_some() || troubles.is_answered(&open.id, last.number);
    let is_answered = has_answer || open.stage() == Stage::AwaitingApproval;
    // The deadline of a stage may pass just when an alert joins.
    let is_overdue = decision.verdict == Verdict::Escalate;
    let is_undecided = open.stage().is_undecided() && !is_answered && !is_overdue;
    let joins = joined > last.time && joined <= decision.time;
    if is_new && is_undecided && joins && decision.time.duration_since(joined) < decide_after {
        return Err(format!(
            "decision {} of {} at {} does not wait for alerts that join the one of {joined}",
            decision.number, now.id, decision.time
        ));
    }
    Ok(())
}

/// **A12** A command whose caller AWS did not authenticate, that is old, or that expects another decision or stage, changes nothing.
fn a12_invalid_command_changes_nothing(id: &str, troubles: &Troubles) -> Result<(), String> {
    if troubles.invalid.contains(id) {
        return Err(format!("A12: the invalid command of request {id} took effect"));
    }
    Ok(())
}

/// **R3** A start that AWS does not accept ends within `start_within`. If the facts cannot be read, `decide_within` is added.
fn r3_start_ends_in_time(document: &ModelDocument, now: Timestamp, policy: &Policy) -> Result<(), String> {
    let Some(open) = document
        .incident
        .as_ref()
        .filter(|open| open.stage() == Stage::Starting)
    else {
        return Ok(());
    };
    let settings = policy.model(&document.model);
    let within = settings.start_within.saturating_add(settings.decide_within);
    let until = open
        .retrain_decided_at()
        .and_then(|decided| decided.checked_add(within).ok());
    match until.map(|until| after(until, LATE_SECONDS)) {
        Some(until) if until < now => Err(format!(
            "R3: the start of {} is pending at {now}, after {until}",
            open.id
        )),
        _ => Ok(()),
    }
}

/// **R5** A model whose monitors are all quiet, and verified, has no open incident.
fn r5_quiet_model_has_no_incident(document: &ModelDocument) -> Result<(), String> {
    let Some(open) = &document.incident else { return Ok(()) };
    let is_quiet = document.alerts.values().all(|alert| alert.status == AlertStatus::Ok);
    if is_quiet && open.returns == 0 {
        return Err(format!(
            "R5: incident {} is {:?}, but every monitor is OK",
            open.id,
            open.stage()
        ));
    }
    Ok(())
}

/// **R6** The same history with one broken item (unreadable, newer, or always refused) ends for all other items as without it.
pub(super) fn r6_broken_item_changes_no_other(whole: &Summary, broken: &Summary) -> Result<(), String> {
    for (model, ends) in whole {
        let found = broken.get(model);
        if found != Some(ends) {
            return Err(format!(
                "R6: model {model} ends with {ends}; beside a broken item: {found:?}"
            ));
        }
    }
    Ok(())
}
