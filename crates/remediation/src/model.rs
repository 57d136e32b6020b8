//! The state document of one model: the alerts of its monitors, its open incident, its retrainings, and its pending
//! effects.
//!
//! The stages of an incident and their transitions are in [`crate::lifecycle`], its state is in [`crate::state`], and what the
//! stages do is in [`crate::stages`]. Every input has two parts: it changes the document, and then the document follows up on
//! what is true now (`step.rs`). So an event that was lost, late, or repeated leads to the same decision as one that arrived in
//! time.

use crate::{
    Cause, ClosedIncident, Incident, Input, Levels, ModelEffect, ModelEffectOutcome, ModelPolicy, MonitorAlert, Needs,
    Pause, Reason, Stage, StartRequest, StepContext, StepOutcome,
    monitor::{alarm_name, is_alarm},
    schedule_key, stages,
    state::{Starting, State},
    step::Step,
};
use alerting::{AlertStateChange, AlertStatus};
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Caller, GivenUp, Kind, Outbox, OutboxDocument};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Time for which a start that is denied is attempted again.
const DENIED_FOR: SignedDuration = SignedDuration::from_mins(15);

/// State document of one model: `models/{model}.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDocument {
    /// Version of the document format.
    pub version: u32,
    /// Name of the model.
    pub model: String,
    /// Alerts of its monitors, by [`schedule_key`].
    #[serde(default)]
    pub alerts: BTreeMap<String, MonitorAlert>,
    /// Times of the latest decisions to retrain, oldest first, without those that led to no retraining. Cooldown and budget
    /// depend on them.
    #[serde(default)]
    pub retrainings: Vec<Timestamp>,
    /// Number of incidents, with the open one.
    #[serde(default)]
    pub incidents: u64,
    /// Latest pause or resume of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// Latest closed incidents, oldest first. The number is bounded.
    #[serde(default)]
    pub closed: Vec<ClosedIncident>,
    /// Pending effects.
    #[serde(default)]
    pub outbox: Outbox<ModelEffect>,
    /// Latest effects that were given up, oldest first. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
    /// Fields of a newer release. They survive a rewrite.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl ModelDocument {
    /// Document of a model without alerts.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            version: 1,
            model: model.into(),
            alerts: BTreeMap::new(),
            retrainings: Vec::new(),
            incidents: 0,
            pause: None,
            incident: None,
            closed: Vec::new(),
            outbox: Outbox::default(),
            given_up: Vec::new(),
            rest: Map::new(),
        }
    }

    /// Key of the document in the state bucket.
    pub fn key(model: &str) -> String {
        format!("models/{model}.json")
    }

    /// Whether the retraining of an incident is in progress. It continues if an operator closes its incident.
    pub fn retrains_for(&self, incident: u64) -> bool {
        let open = self.incident.iter();
        let open = open.map(|open| (open, open.stage() == Stage::Starting));
        // The start of a closed incident was withdrawn.
        let closed = self.closed.iter().map(|closed| (&closed.incident, false));
        open.chain(closed).any(|(known, may_start)| {
            let execution = known.execution();
            let is_running = execution.is_some_and(|execution| !execution.status.is_final());
            known.number == incident && (may_start || is_running)
        })
    }

    /// Whether the retraining of an incident has begun. True if the incident is no longer known.
    pub fn has_retrained_for(&self, incident: u64) -> bool {
        let closed = self.closed.iter().map(|closed| &closed.incident);
        let mut known = self.incident.iter().chain(closed);
        let known = known.find(|known| known.number == incident);
        known.is_none_or(|known| known.execution().is_some())
    }

    /// What an input needs to know.
    pub fn needs(&self, input: &Input, caller: &Caller) -> Needs {
        let stage = self.stage();
        // Any input may execute a pending start, which is reviewed first.
        let reviews = self.incident.as_ref().is_some_and(|open| {
            let start = self.outbox.get(&open.start_effect_id());
            stages::has_start_to_review(open, start, caller)
        });
        let facts = match input {
            _ if reviews => true,
            Input::Alert(alert) => {
                let known = self.alerts.get(&schedule_key(&alert.monitoring_schedule));
                let is_new = known.is_none_or(|known| known.position() < alert.position());
                let may_decide = stage.is_undecided() || stage == Stage::Healthy;
                (is_new && may_decide) || self.is_deciding()
            }
            Input::Resolution(_) => true,
            Input::Approval(_) | Input::Pause(_) | Input::Retired { .. } | Input::Tick => {
                stage.is_undecided()
                    || stage == Stage::Starting
                    || (stage == Stage::Healthy && self.would_open(caller.now))
            }
            Input::PipelineExecution { .. } | Input::RunUnknown { .. } | Input::Experiment(_) => false,
        };
        let mut levels = Vec::new();
        if facts || self.incident.is_some() {
            let in_alert = self.alerts.iter().filter(|(_, alert)| alert.status != AlertStatus::Ok);
            levels.extend(in_alert.map(|(key, _)| key.clone()));
            // The level of a monitor that has retired would bring its alert back.
            let of_incident = self.incident.iter().flat_map(|open| &open.monitors);
            let of_incident = of_incident.map(|schedule| schedule_key(schedule));
            levels.extend(of_incident.filter(|key| self.alerts.contains_key(key)));
            if let Input::Alert(alert) = input {
                levels.push(schedule_key(&alert.monitoring_schedule));
            }
            levels.sort_unstable();
            levels.dedup();
            levels.retain(|key| !is_alarm(key));
        }
        let mut alarms = Vec::new();
        if facts {
            let in_alert = self.alarms().filter(|(_, alert)| alert.status == AlertStatus::InAlert);
            alarms.extend(in_alert.map(|(name, _)| name.to_owned()));
            // Its event may be old, too.
            if let Input::Alert(alert) = input {
                alarms.extend(alarm_name(&alert.monitoring_schedule).map(ToOwned::to_owned));
            }
            alarms.sort_unstable();
            alarms.dedup();
        }
        Needs { facts, levels, alarms }
    }

    /// Names and alerts of the CloudWatch alarms of the model.
    pub fn alarms(&self) -> impl Iterator<Item = (&str, &MonitorAlert)> {
        self.alerts.iter().filter_map(|(key, alert)| {
            let name = alarm_name(key)?;
            // Of an alert that the first release recorded.
            let of_snapshot = alert.snapshot.as_deref();
            let of_snapshot = of_snapshot.and_then(|snapshot| alarm_name(&snapshot.monitoring_schedule));
            Some((alert.alarm.as_deref().or(of_snapshot).unwrap_or(name), alert))
        })
    }

    /// Time at which an undecided incident is decided again without new input: after more alerts could have joined the latest one,
    /// when a reason to hold ends, or when the approval request expires. `None` if time alone changes nothing.
    pub fn next_decision_at(&self, policy: &ModelPolicy, now: Timestamp) -> Option<Timestamp> {
        let open = self.incident.as_ref().filter(|open| open.stage().is_undecided())?;
        stages::settled_at(open, policy.decide_after, now).or_else(|| {
            let expires_at = open
                .approval_expires_at()
                .filter(|_| open.stage() == Stage::AwaitingApproval);
            let until = open.decision.as_ref()?.until.or(expires_at);
            until.filter(|until| *until > now)
        })
    }

    /// Whether a decision waits for [`Facts`](crate::Facts).
    pub fn is_deciding(&self) -> bool {
        self.stage() == Stage::Deciding
    }

    /// Whether the answer to a start has no consequence yet.
    pub fn has_start_answer(&self) -> bool {
        let state = self.incident.as_ref().map(|open| &open.state);
        matches!(state, Some(State::Starting(Starting { answer: Some(_), .. })))
    }

    /// The request of the open incident to start a retraining.
    pub fn start_request(&self, now: Timestamp) -> StartRequest {
        let decision = self.incident.as_ref().and_then(|open| open.decision.as_ref());
        let alerts = decision.iter().flat_map(|decision| &decision.alerts);
        let check_types: BTreeSet<&String> = alerts.clone().flat_map(|alert| &alert.check_types).collect();
        StartRequest {
            model: self.model.clone(),
            at: now,
            severity: alerts.filter_map(|alert| alert.severity).max().unwrap_or_default(),
            check_types: check_types.into_iter().cloned().collect(),
        }
    }

    /// Whether the retraining waits for other models alone.
    pub fn waits_for_fleet(&self) -> bool {
        let open = self.incident.as_ref().filter(|open| open.stage() == Stage::Holding);
        let decision = open.and_then(|open| open.decision.as_ref());
        decision.is_some_and(|decision| decision.reasons.iter().any(Reason::is_of_fleet))
    }

    /// Stage of the model.
    pub fn stage(&self) -> Stage {
        self.incident.as_ref().map_or(Stage::Healthy, Incident::stage)
    }

    /// Correlation ID of the open incident.
    pub fn correlation_id(&self) -> Option<&str> {
        self.incident.as_ref()?.correlation_id.as_deref()
    }

    /// Correlation ID of the incident whose retraining made a model package. The pipeline execution that registered the
    /// package identifies it; without one, it is the incident that is waiting for its candidate.
    pub fn candidate_correlation_id(&self, generated_by: Option<&str>) -> Option<&str> {
        let closed = self.closed.iter().rev().map(|closed| &closed.incident);
        let mut incidents = self.incident.iter().chain(closed);
        let found = match generated_by {
            Some(arn) => incidents.find(|incident| incident.execution().is_some_and(|execution| execution.arn == arn)),
            None => incidents
                .find(|incident| matches!(incident.stage(), Stage::Starting | Stage::Retraining | Stage::Candidate)),
        };
        found?.correlation_id.as_deref()
    }

    /// Applies one input, then follows up on what is true now. Effects go to the outbox.
    pub fn step(&mut self, input: Input, given: StepContext<'_>, caller: &Caller) -> StepOutcome {
        self.step_with_transitions(input, given, caller).0
    }

    /// As [`step`](Self::step), and returns the transitions between stages that it took, in their order.
    pub fn step_with_transitions(
        &mut self,
        input: Input,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> (StepOutcome, Vec<(Stage, Cause, Stage)>) {
        Step::new(self, given, caller).take(input)
    }

    /// Whether the next step opens an incident.
    fn would_open(&self, now: Timestamp) -> bool {
        self.incident.is_none() && self.alerts.values().any(|alert| alert.is_in_alert(now))
    }

    /// Takes over the levels of the monitors, in case an event was lost. Returns whether one was later than known.
    pub(crate) fn observe_levels(&mut self, levels: &Levels) -> bool {
        levels
            .values()
            .fold(false, |changed, level| self.observe(&level.alert) | changed)
    }

    /// Takes over the state of an alert. Returns false if it, or a later one, is known.
    pub(crate) fn observe(&mut self, change: &AlertStateChange) -> bool {
        let key = schedule_key(&change.monitoring_schedule);
        let known = self.alerts.get(&key);
        let is_known = known.is_some_and(|known| known.position() >= change.position());
        // A monitor that has never been in alert is of no concern.
        if is_known || (known.is_none() && change.transition == 0) {
            return false;
        }
        let was_in_alert = known.is_some_and(|known| known.status == AlertStatus::InAlert);
        let alert = MonitorAlert::new(change, known);
        self.alerts.insert(key, alert);
        if let Some(open) = &mut self.incident
            && change.alert_status == AlertStatus::InAlert
        {
            if !was_in_alert {
                open.last_alert_at = open.last_alert_at.max(Some(change.time));
            }
            open.add_monitors([change.monitoring_schedule.clone()]);
        }
        true
    }
}

impl OutboxDocument for ModelDocument {
    type Effect = ModelEffect;
    type Done = ModelEffectOutcome;

    fn outbox(&mut self) -> &mut Outbox<ModelEffect> {
        &mut self.outbox
    }

    fn note_given_up(&mut self, given_up: GivenUp) {
        given_up.record(&mut self.given_up);
    }

    fn note(&mut self, effect: &ModelEffect, outcome: ModelEffectOutcome) {
        self.record_outcome(effect, outcome);
    }

    fn refusal(effect: &ModelEffect, error: &AwsError, since: Timestamp, now: Timestamp) -> Option<ModelEffectOutcome> {
        let is_refused = match error.kind {
            Kind::Rejected | Kind::NotFound => true,
            // The permissions of a new role take effect after some minutes.
            Kind::Denied => now.duration_since(since) >= DENIED_FOR,
            Kind::Transient | Kind::Conflict => false,
        };
        (is_refused && effect.is_start()).then(|| ModelEffectOutcome::Refused(error.to_string()))
    }

    /// The deadline of the stage ends the attempts to start a retraining.
    fn is_given_up(effect: &ModelEffect) -> bool {
        !effect.is_start()
    }
}
