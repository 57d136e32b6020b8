//! One step of a model's document: it applies an input, then it follows up on what is true now.
//!
//! Stages return what follows ([`crate::stages`]). This file applies it, and no other file opens, moves, or closes an incident. The
//! answer of AWS to a start comes between two steps: a retraining that was started has begun.

use crate::{
    Cause, ClosedIncident, InAlertChoice, Incident, Input, ModelDocument, ModelEffect, ModelEffectOutcome, ModelPolicy,
    MonitorAlert, Outcome, Pause, PipelineExecution, Refusal, RemediationApproval, RemediationPause,
    RemediationResolution, Stage, StartAnswer, StepContext, StepOutcome, effect, schedule_key,
    situation::Situation,
    stages::{self, Change, Transition},
    state::{Starting, State},
    time::after,
};
use alerting::AlertStatus;
use jiff::{SignedDuration, Timestamp};
use machine::Caller;

/// Maximum number of closed incidents in a document. Older ones are in earlier versions of the S3 object.
const MAX_CLOSED_INCIDENTS: usize = 20;
/// Time for which an alert that an operator accepted opens no incident, unless it ends before.
const ACCEPTED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Time for which a document keeps retrainings: longer than a month, the period of the longest budget.
const RETRAINING_RETENTION: SignedDuration = SignedDuration::from_hours(32 * 24);

impl ModelDocument {
    /// Records the outcome of an effect.
    pub fn record_outcome(&mut self, effect: &ModelEffect, outcome: ModelEffectOutcome) {
        let Some(number) = effect.start_of() else { return };
        let is_open = self.incident.as_ref().is_some_and(|open| open.number == number);
        let open = self.incident.as_mut().filter(|open| open.number == number);
        let closed = self.closed.iter_mut().map(|closed| &mut closed.incident);
        // A start may succeed just after its incident was closed. Its run is recorded anyway.
        let Some(incident) = open.or_else(|| closed.rev().find(|closed| closed.number == number)) else {
            return;
        };
        let answer = match outcome {
            ModelEffectOutcome::Published => return,
            ModelEffectOutcome::Started(arn) => {
                if incident.execution().is_none() {
                    incident.state.record_execution(PipelineExecution::started(arn));
                }
                return;
            }
            ModelEffectOutcome::Refused(error) => StartAnswer::Refused(error),
            ModelEffectOutcome::Held(reason) => StartAnswer::Held(reason),
        };
        if let State::Starting(starting) = &mut incident.state
            && is_open
        {
            starting.answer = Some(answer);
        } else {
            // The incident has left `Starting`, and the retraining did not begin.
            self.uncount(effect);
        }
    }

    /// Removes a retraining that never began from those that count toward cooldown and budget.
    fn uncount(&mut self, start: &ModelEffect) {
        let decided_at = start.decided_at();
        self.retrainings.retain(|time| Some(*time) != decided_at);
    }

    /// Counts the retraining of an incident, unless it counts already: its start was withdrawn while AWS accepted it.
    fn count(&mut self, incident: u64, decided_at: Option<Timestamp>, now: Timestamp) {
        let pending = self.outbox.entries().iter().map(|entry| &entry.effect);
        let of_start = pending.filter(|effect| effect.start_of() == Some(incident));
        let mut known = of_start.filter_map(ModelEffect::decided_at).chain(decided_at);
        if !known.any(|time| self.retrainings.contains(&time)) {
            self.retrainings.push(now);
        }
    }
}

/// A step in progress.
pub(crate) struct Step<'a> {
    document: &'a mut ModelDocument,
    policy: ModelPolicy,
    given: StepContext<'a>,
    caller: &'a Caller,
    /// The transitions of this step, each a row of [`crate::TRANSITIONS`].
    transitions: Vec<(Stage, Cause, Stage)>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(document: &'a mut ModelDocument, given: StepContext<'a>, caller: &'a Caller) -> Self {
        Self {
            policy: given.policy.model(&document.model),
            document,
            given,
            caller,
            transitions: Vec::new(),
        }
    }

    /// Takes the step. Returns its outcome and its transitions.
    pub(crate) fn take(mut self, input: Input) -> (StepOutcome, Vec<(Stage, Cause, Stage)>) {
        let observed = self.document.observe_levels(self.given.levels);
        let applied = self.apply_input(input);
        let followed = self.open() | self.react(stages::follow_up);
        self.drop_outdated_starts();
        let outcome = match applied {
            Err(refusal) => StepOutcome::Refused(refusal),
            Ok(changed) if changed || observed || followed => StepOutcome::Changed,
            Ok(_) => StepOutcome::Unchanged,
        };
        (outcome, self.transitions)
    }

    fn apply_input(&mut self, input: Input) -> Result<bool, Refusal> {
        let changed = match input {
            Input::Alert(alert) => self.document.observe(&alert),
            Input::Retired { monitoring_schedule } => self.retire(&monitoring_schedule),
            Input::PipelineExecution {
                incident,
                execution,
                at,
            } => self.on_execution(incident, execution, at),
            Input::RunUnknown { execution_arn } => {
                self.react(|open, now| stages::on_run_unknown(open, execution_arn, now))
            }
            Input::Approval(approval) => return self.on_approval(approval),
            Input::Resolution(resolution) => return self.on_resolution(&resolution),
            Input::Pause(pause) => return self.on_pause(pause),
            Input::Experiment(status) => self.react(|open, now| stages::on_experiment(open, status, now)),
            Input::Tick => false,
        };
        Ok(changed)
    }

    /// Removes a monitor that no longer exists, or monitors another model, and reports it. Returns false if it is not known.
    fn retire(&mut self, monitoring_schedule: &str) -> bool {
        let document = &mut *self.document;
        let Some(alert) = document.alerts.remove(&schedule_key(monitoring_schedule)) else {
            return false;
        };
        let version = self.given.policy.version();
        let (id, effect) = effect::retired(monitoring_schedule, &alert, &document.model, version, self.caller.now);
        document.outbox.enqueue(id, effect, self.caller);
        true
    }

    fn situation(&self) -> Situation<'_> {
        let open = self.document.incident.as_ref();
        Situation {
            model: &self.document.model,
            policy: &self.policy,
            given: self.given,
            alerts: &self.document.alerts,
            retrainings: &self.document.retrainings,
            pause: self.document.pause.as_ref(),
            start: open.and_then(|open| self.document.outbox.get(&open.start_effect_id())),
            caller: self.caller,
        }
    }

    /// Applies what the open incident makes of something. Returns whether something changed.
    fn react(&mut self, reaction: impl FnOnce(&Incident, &Situation<'_>) -> Change) -> bool {
        let Some(open) = &self.document.incident else {
            return false;
        };
        match reaction(open, &self.situation()) {
            Change::Stay => false,
            Change::Update(state) => {
                self.withdraw_start(None);
                if let Some(open) = &mut self.document.incident {
                    open.advance(state, self.caller.now);
                }
                true
            }
            Change::Advance(transition) => self.advance(*transition),
            Change::Close(outcome) => self.close(Cause::AllOk, outcome, None),
        }
    }

    fn on_execution(&mut self, number: u64, execution: PipelineExecution, at: Timestamp) -> bool {
        if self.document.incident.as_ref().is_none_or(|open| open.number != number) {
            return self.on_late_execution(number, execution);
        }
        let changed = self.react(|open, _| stages::on_execution(open, execution, at));
        if changed {
            self.react(stages::on_retraining_end);
        }
        changed
    }

    /// The execution of an incident that is closed: it was started just then, or continued after the incident was resolved.
    fn on_late_execution(&mut self, number: u64, execution: PipelineExecution) -> bool {
        let mut closed = self.document.closed.iter_mut().map(|closed| &mut closed.incident);
        let Some(incident) = closed.find(|closed| closed.number == number) else {
            return false;
        };
        let is_late =
            |known: &PipelineExecution| known.arn != execution.arn || known.status.rank() >= execution.status.rank();
        if incident.execution().is_some_and(is_late) {
            return false;
        }
        let is_final = execution.status.is_final();
        let is_new = incident.execution().is_none();
        incident.state.record_execution(execution);
        let decided_at = incident.retrain_decided_at();
        let ended = effect::status_change(incident, &self.document.model, self.caller.now);
        if let Some((id, effect)) = ended.filter(|_| is_final) {
            self.document.outbox.enqueue(id, effect, self.caller);
        }
        if is_new {
            self.document.count(number, decided_at, self.caller.now);
        }
        true
    }

    fn on_approval(&mut self, approval: RemediationApproval) -> Result<bool, Refusal> {
        let open = self.document.incident.as_mut();
        let open = open
            .filter(|open| open.id == approval.incident_id)
            .ok_or(Refusal::NotOpen)?;
        let approval = stages::on_approval(open, approval, self.policy.approval_valid_for)?;
        open.consent.answer = Some(approval);
        Ok(true)
    }

    /// Applies the latest pause or resume. Only the decision that follows can change the stage.
    fn on_pause(&mut self, command: RemediationPause) -> Result<bool, Refusal> {
        if self
            .document
            .pause
            .as_ref()
            .is_some_and(|known| known.time >= command.time)
        {
            return Err(Refusal::Outdated);
        }
        self.document.pause = Some(Pause {
            paused: command.paused,
            by: command.by,
            time: command.time,
            until: command.until,
            reason: command.reason,
        });
        Ok(true)
    }

    /// Closes the incident in any stage. A retraining in progress continues and is recorded with the closed incident.
    fn on_resolution(&mut self, resolution: &RemediationResolution) -> Result<bool, Refusal> {
        let open = self.document.incident.as_ref();
        open.filter(|open| open.id == resolution.incident_id)
            .ok_or(Refusal::NotOpen)?;
        let is_in_alert = self.situation().in_alert().next().is_some();
        match resolution.in_alert {
            None if is_in_alert => return Err(Refusal::MonitorsInAlert),
            Some(InAlertChoice::Accept) => {
                let until = after(self.caller.now, ACCEPTED_FOR);
                let in_alert = |alert: &&mut MonitorAlert| alert.status == AlertStatus::InAlert;
                for alert in self.document.alerts.values_mut().filter(in_alert) {
                    alert.accepted_until = Some(until);
                }
            }
            None | Some(InAlertChoice::Reopen) => {}
        }
        Ok(self.close(Cause::Resolved, Outcome::Resolved, Some(&resolution.by)))
    }

    /// Opens an incident if a monitor is in alert and none is open. If the drift returned soon after the end of the last one,
    /// that one is reopened.
    fn open(&mut self) -> bool {
        let now = self.caller.now;
        if self.document.incident.is_some() {
            return false;
        }
        let in_alert: Vec<MonitorAlert> = self.situation().in_alert().map(|(_, alert)| alert.clone()).collect();
        let mut snapshots = in_alert.iter().filter_map(|alert| alert.snapshot.as_deref()).peekable();
        let Some(first) = snapshots.peek().copied() else {
            return false;
        };
        let reopen_within = self.policy.reopen_within;
        let may_reopen = |closed: &mut ClosedIncident| {
            closed.outcome != Outcome::Resolved && now.duration_since(closed.closed_at) < reopen_within
        };
        let document = &mut *self.document;
        let mut incident = if let Some(closed) = document.closed.pop_if(may_reopen) {
            closed.incident.reopened(now)
        } else {
            document.incidents += 1;
            let seed = format!("{}/{now}", first.id);
            Incident {
                correlation_id: first.correlation_id.clone(),
                ..Incident::new(&document.model, document.incidents, &seed, now)
            }
        };
        incident.last_alert_at = in_alert.iter().map(|alert| alert.since).max();
        incident.add_monitors(snapshots.map(|alert| alert.monitoring_schedule.clone()));
        document.incident = Some(incident);
        self.record(Stage::Healthy, Cause::InAlert);
        true
    }

    /// Makes a transition of the open incident. Returns false if it only repeats the last decision.
    fn advance(&mut self, transition: Transition) -> bool {
        let Transition {
            cause,
            to,
            decision,
            consent,
            mut effects,
        } = transition;
        let now = self.caller.now;
        let Some(open) = &mut self.document.incident else {
            return false;
        };
        if let Some(consent) = consent {
            open.consent = consent;
        }
        let from = open.stage();
        let is_repeat = decision.as_ref().is_some_and(|decision| open.has_decided(decision));
        // A start that was withdrawn is renewed, though the decision is the same.
        if is_repeat && from == to.stage() && cause != Cause::Retrain {
            return false;
        }
        self.withdraw_start(Some(cause));
        let document = &mut *self.document;
        if let State::Starting(starting) = &to {
            let oldest = now.saturating_sub(RETRAINING_RETENTION).unwrap_or(Timestamp::MIN);
            document.retrainings.push(starting.decided_at);
            document.retrainings.retain(|time| *time >= oldest);
        }
        if let (State::Retraining(retraining), true, Some(open)) = (&to, from.is_undecided(), &document.incident) {
            let (number, decided_at) = (open.number, retraining.decided_at);
            document.count(number, decided_at, now);
        }
        if let Some(open) = &mut document.incident {
            open.advance(to, now);
            effects.extend(decision.into_iter().flat_map(|mut decision| {
                open.decisions += 1;
                decision.number = open.decisions;
                open.decision = Some(decision.clone());
                effect::decided(
                    open,
                    decision,
                    &document.model,
                    &self.policy.retraining,
                    self.given.settings,
                )
            }));
        }
        for (id, effect) in effects {
            document.outbox.enqueue(id, effect, self.caller);
        }
        self.record(from, cause);
        true
    }

    /// Closes the open incident.
    fn close(&mut self, cause: Cause, outcome: Outcome, by: Option<&str>) -> bool {
        self.withdraw_start(Some(cause));
        let document = &mut *self.document;
        let Some(incident) = document.incident.take() else {
            return false;
        };
        let from = incident.stage();
        let (id, effect) = effect::closed(&incident, outcome, by, &document.model, self.caller.now);
        document.outbox.enqueue(id, effect, self.caller);
        document.closed.push(ClosedIncident {
            incident,
            closed_at: self.caller.now,
            outcome,
        });
        if document.closed.len() > MAX_CLOSED_INCIDENTS {
            document.closed.remove(0);
        }
        self.record(from, cause);
        true
    }

    /// Withdraws the pending start: a change makes it outdated. If the incident leaves `Starting` before the retraining was
    /// seen, it never began, and counts toward no cooldown or budget. A start that another invocation is executing at this
    /// moment stays, and counts.
    fn withdraw_start(&mut self, cause: Option<Cause>) {
        let document = &mut *self.document;
        let Some(open) = &mut document.incident else { return };
        let is_own = |effect: &ModelEffect| effect.start_of() == Some(open.number);
        let is_executing = document.outbox.withdraw(is_own, self.caller);
        if let State::Starting(Starting { decided_at, answer }) = &open.state {
            if !is_executing && cause != Some(Cause::RunSeen) {
                document.retrainings.retain(|time| time != decided_at);
            }
            if matches!(answer, Some(StartAnswer::Refused(_))) && cause == Some(Cause::NotStarted) {
                open.refused_starts = open.refused_starts.saturating_add(1);
            }
        }
    }

    /// Removes starts that another invocation was executing when their incident left `Starting`. Once its claim has expired, no
    /// other invocation may execute them.
    fn drop_outdated_starts(&mut self) {
        let document = &mut *self.document;
        let open = document.incident.as_ref();
        let starting = open
            .filter(|open| open.stage() == Stage::Starting)
            .map(|open| open.number);
        let is_outdated = |effect: &ModelEffect| effect.is_start() && effect.start_of() != starting;
        let starts = document
            .outbox
            .entries()
            .iter()
            .filter(|entry| is_outdated(&entry.effect));
        let starts: Vec<_> = starts.map(|entry| (entry.id.clone(), entry.effect.clone())).collect();
        document.outbox.withdraw(is_outdated, self.caller);
        for (id, start) in starts {
            let has_begun = start
                .start_of()
                .is_some_and(|number| document.has_retrained_for(number));
            if document.outbox.get(&id).is_none() && !has_begun {
                document.uncount(&start);
            }
        }
    }

    /// Records a transition to the present stage.
    fn record(&mut self, from: Stage, cause: Cause) {
        let to = self.document.stage();
        debug_assert_eq!(from.after(cause), Some(to), "{from:?} {cause:?} is a row of the table");
        self.transitions.push((from, cause, to));
    }
}
