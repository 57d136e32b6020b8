//! What a model does about what is true now: it opens an incident, decides, starts, verifies, escalates, or closes.
//!
//! The follow-up depends on the levels of the monitors, the facts from AWS, and the time; not on the input that led to it.

use crate::{
    AlertSnapshot, Cause, Decision, Incident, Levels, ModelDocument, ModelEffect, ModelPolicy, MonitorAlert, Outcome,
    PipelineExecution, REMEDIATION_DECIDED, Reason, RemediationDecided, Stage, StartAnswer, StartKind, StepContext,
    Verdict, decision::DecisionInput, model::is_alarm, start::Target,
};
use alerting::{AlertStatus, Level};
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Time for which a document keeps retrainings: longer than a month, the period of the longest budget.
const RETRAINING_RETENTION: SignedDuration = SignedDuration::from_hours(32 * 24);
/// Time after which the decision of an incident is published again.
const REMINDER_INTERVAL: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Minimum number of executions for which every monitor is OK before an incident ends, unless the policy sets it.
const MIN_CLOSE_AFTER: u32 = 3;
/// Minimum time for the executions that verify a retrained model.
const MIN_VERIFY_WITHIN: SignedDuration = SignedDuration::from_hours(48);
/// Difference between the clocks of AWS and of the function that is tolerated.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// Time after the longest experiment within which its end must be known.
const EXPERIMENT_GRACE: SignedDuration = SignedDuration::from_hours(24);

fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

impl ModelDocument {
    /// Follows up on what is true now. Returns whether the document changed.
    pub(crate) fn follow_up(&mut self, given: StepContext<'_>, caller: &Caller) -> bool {
        let policy = given.policy.model(&self.model);
        let mut changed = false;
        if self.incident.is_none() && self.in_alert(caller.now).next().is_some() {
            self.open(policy.reopen_within, &caller.now.to_string(), caller);
            changed = true;
        }
        if self.answer_start(given, caller) {
            // What the facts say about the next start was true before this answer.
            return true;
        }
        let changed_now = match self.stage() {
            Stage::Healthy => false,
            Stage::Deciding | Stage::AwaitingApproval | Stage::Holding | Stage::AwaitingData => {
                self.follow_up_undecided(&policy, given, caller)
            }
            Stage::Starting => self.follow_up_start(&policy, given, caller),
            Stage::Retraining => self.escalate_overdue(policy.retraining_within, given, caller),
            Stage::Candidate => self.follow_up_candidate(given, caller),
            Stage::Verifying => self.verify(&policy, given, caller),
            Stage::Escalated => {
                self.close_if_quiet(Outcome::Recovered, &policy, given.levels, caller) || self.remind(given, caller)
            }
        };
        changed | changed_now
    }

    fn follow_up_undecided(&mut self, policy: &ModelPolicy, given: StepContext<'_>, caller: &Caller) -> bool {
        if self.close_if_quiet(Outcome::Recovered, policy, given.levels, caller) {
            return true;
        }
        let Some(open) = &self.incident else { return false };
        let since = open.since();
        if self.in_alert(caller.now).next().is_none() {
            // The monitors may be in alert again in the next hour: the incident waits for some executions.
            return false;
        }
        match given.facts {
            Some(Ok(_)) => {
                // The clocks of AWS and of this function may differ.
                let settled = open
                    .last_alert_at
                    .map(|at| after(at.min(caller.now), policy.decide_after));
                if open.stage() == Stage::Deciding && settled.is_some_and(|settled| settled > caller.now) {
                    return false;
                }
                if self.decide(policy, given, caller) {
                    return true;
                }
            }
            Some(Err(error)) if self.is_deciding() && after(since, policy.decide_within) <= caller.now => {
                let error = error.to_owned();
                return self.escalate(Cause::Overdue, vec![Reason::FactsMissing { error }], given, caller);
            }
            None | Some(Err(_)) => {}
        }
        false
    }

    /// Makes a decision on the levels of the monitors. A decision that is equivalent to the last one has no effect.
    fn decide(&mut self, policy: &ModelPolicy, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &self.incident else { return false };
        if open.execution.is_some() {
            let returns = open.returns;
            return self.escalate(
                Cause::DriftReturned,
                vec![Reason::DriftReturned { returns }],
                given,
                caller,
            );
        }
        let Some((decision, cause)) = self.judge(policy, given, caller) else {
            return false;
        };
        let since = self.incident.as_ref().map(Incident::since);
        let until = since.map(|since| after(since, policy.data_within));
        match until.filter(|until| *until <= caller.now) {
            Some(until) if cause == Cause::FixData && self.stage() == Stage::AwaitingData => {
                let stage = Stage::AwaitingData;
                self.escalate(
                    Cause::Overdue,
                    vec![Reason::StageOverdue { stage, until }],
                    given,
                    caller,
                )
            }
            _ => self.enact(cause, decision, policy, given, caller),
        }
    }

    /// The decision on what is true now, and its cause.
    fn judge(&mut self, policy: &ModelPolicy, given: StepContext<'_>, caller: &Caller) -> Option<(Decision, Cause)> {
        let facts = given.facts?.ok()?;
        let now = caller.now;
        let alerts = self.alerts_now(given.levels, now);
        let silent = self.silent(given.levels, now);
        let target = Target::new(&policy.retraining, given.settings);
        let fingerprint = fingerprint(policy, &target, &alerts, &silent);
        let open = self.incident.as_mut()?;
        // An answer counts for the facts that it was given for. If they changed, approval is requested again.
        let is_other = |known: Option<&String>| known.is_some_and(|known| *known != fingerprint);
        if is_other(
            open.approval
                .as_ref()
                .and_then(|approval| approval.fingerprint.as_ref()),
        ) || is_other(open.approval_fingerprint.as_ref())
        {
            open.approval = None;
            open.approval_expires_at = None;
        }
        let expires = after(now, policy.approval_expires_after);
        let approval_expires_at = open.approval_expires_at.unwrap_or(expires);
        // The start that is reviewed already counts toward cooldown, budget, and fleet.
        let own_start = open.retrain_decided_at.filter(|_| open.stage() == Stage::Starting);
        let retrainings: Vec<Timestamp> = self
            .retrainings
            .iter()
            .filter(|time| Some(**time) != own_start)
            .copied()
            .collect();
        let input = DecisionInput {
            policy,
            risk_rating: policy.risk_rating.unwrap_or(facts.risk_rating),
            silent: &silent,
            in_flight: facts.in_flight.iter().map(String::as_str).collect(),
            fleet: facts.fleet.clone(),
            retrainings: &retrainings,
            approval: open.approval.as_ref(),
            paused_globally: facts.paused.as_ref(),
            paused: self.pause.as_ref(),
            approval_expires_at,
            now,
        };
        let (verdict, reasons) = input.decide(&alerts);
        let requests_approval = reasons
            .iter()
            .any(|reason| matches!(reason, Reason::ApprovalMissing { .. }));
        let cause = match verdict {
            Verdict::Retrain => Cause::Retrain,
            Verdict::FixData => Cause::FixData,
            Verdict::Hold if requests_approval => Cause::AskApproval,
            Verdict::Hold | Verdict::Escalate => Cause::Hold,
        };
        if requests_approval {
            open.approval_expires_at = Some(approval_expires_at);
            open.approval_fingerprint = Some(fingerprint.clone());
        }
        let version = given.policy.version();
        let mut decision = Decision::new(&self.model, verdict, reasons, alerts, version, now);
        decision.fingerprint = fingerprint;
        Some((decision, cause))
    }

    /// The alerts with their present facts.
    fn alerts_now(&self, levels: &Levels, now: Timestamp) -> Vec<AlertSnapshot> {
        let snapshot = |(key, alert): (&String, &MonitorAlert)| match levels.get(key) {
            Some(level) if level.is_in_alert() => Some(AlertSnapshot::new(&level.alert)),
            _ => alert.snapshot.as_deref().cloned(),
        };
        self.in_alert(now).filter_map(snapshot).collect()
    }

    /// The monitors in alert that are silent, with the time of their last judged execution. Of a monitor without a ledger, the
    /// last event counts. The alarms of CloudWatch are in alert as long as CloudWatch says so.
    fn silent(&self, levels: &Levels, now: Timestamp) -> Vec<(String, Timestamp)> {
        let silent = self
            .in_alert(now)
            .filter(|(key, _)| !is_alarm(key))
            .filter_map(|(key, alert)| {
                let since = match levels.get(key) {
                    Some(level) => level.silent_since(now)?,
                    None => Level::silent_without_ledger(alert.since, now)?,
                };
                let schedule = alert
                    .snapshot
                    .as_ref()
                    .map_or(key, |snapshot| &snapshot.monitoring_schedule);
                Some((schedule.clone(), since))
            });
        silent.collect()
    }

    /// Applies a decision: changes the stage, and enqueues the event and the start of the retraining.
    fn enact(
        &mut self,
        cause: Cause,
        mut decision: Decision,
        policy: &ModelPolicy,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> bool {
        let Some(incident) = &mut self.incident else {
            return false;
        };
        let Some(stage) = incident.stage().after(cause) else {
            return false;
        };
        let is_repeat = incident.decision.as_ref().is_some_and(|last| {
            last.is_equivalent_to(&decision) && after(last.time, REMINDER_INTERVAL) > decision.time
        });
        // A start that was withdrawn is renewed, though the decision is the same.
        if is_repeat && stage == incident.stage() && cause != Cause::Retrain {
            return false;
        }
        incident.advance(cause, caller.now);
        incident.decisions += 1;
        decision.number = incident.decisions;
        incident.decision = Some(decision.clone());
        let retrains = decision.verdict == Verdict::Retrain;
        let target = Target::new(&policy.retraining, given.settings);
        let parameters = if retrains {
            target.parameters(&policy.retraining, incident, &decision.alerts, &self.model)
        } else {
            BTreeMap::default()
        };
        if retrains {
            incident.retrain_decided_at = Some(caller.now);
            self.retrainings.push(caller.now);
            let oldest = caller
                .now
                .saturating_sub(RETRAINING_RETENTION)
                .unwrap_or(Timestamp::MIN);
            self.retrainings.retain(|time| *time >= oldest);
            let id = incident.start_effect_id();
            if let Some(effect) = target.start(&parameters, incident, &decision, &self.model) {
                self.outbox.enqueue(id, effect, caller);
            }
        }
        let start = policy.retraining.start;
        let decided = RemediationDecided {
            version: "1".into(),
            // Part of the token makes the ID unique after the loss of a document, when the count restarts.
            id: format!(
                "decision-{}-{}-{}",
                incident.id,
                decision.number,
                incident.token.get(..8).unwrap_or_default()
            ),
            correlation_id: incident.correlation_id.clone(),
            model: self.model.clone(),
            incident: incident.number,
            incident_id: incident.id.clone(),
            decision: decision.number,
            verdict: decision.verdict,
            stage,
            reasons: decision.reasons,
            sentence: decision.sentence,
            until: decision.until,
            start: retrains.then_some(start),
            pipeline_start: (retrains && start == StartKind::Pipeline).then_some(given.settings.pipeline_start),
            pipeline: target.name().filter(|_| retrains).map(ToOwned::to_owned),
            pipeline_parameters: parameters,
            policy_version: decision.policy_version,
            alerts: decision.alerts,
            time: decision.time,
        };
        let id = format!("{REMEDIATION_DECIDED}/{}", decided.id);
        self.outbox
            .enqueue(id, ModelEffect::PutRemediationDecided(Box::new(decided)), caller);
        true
    }

    /// Escalates the incident to an operator.
    pub(crate) fn escalate(
        &mut self,
        cause: Cause,
        reasons: Vec<Reason>,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> bool {
        self.declare(Verdict::Escalate, cause, reasons, given, caller)
    }

    /// Makes a decision that follows from what happened, and not from the levels.
    fn declare(
        &mut self,
        verdict: Verdict,
        cause: Cause,
        reasons: Vec<Reason>,
        given: StepContext<'_>,
        caller: &Caller,
    ) -> bool {
        let policy = given.policy.model(&self.model);
        let alerts = self.alerts_now(given.levels, caller.now);
        let version = given.policy.version();
        let decision = Decision::new(&self.model, verdict, reasons, alerts, version, caller.now);
        self.enact(cause, decision, &policy, given, caller)
    }

    fn escalate_overdue(&mut self, within: SignedDuration, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &self.incident else { return false };
        let (stage, until) = (open.stage(), after(open.since(), within));
        until <= caller.now
            && self.escalate(
                Cause::Overdue,
                vec![Reason::StageOverdue { stage, until }],
                given,
                caller,
            )
    }

    /// Publishes the decision of an escalated incident again after a week, so that it is not forgotten.
    fn remind(&mut self, given: StepContext<'_>, caller: &Caller) -> bool {
        let last = self.incident.as_ref().and_then(|open| open.decision.as_ref());
        let Some(last) = last.filter(|last| after(last.time, REMINDER_INTERVAL) <= caller.now) else {
            return false;
        };
        let own = |reason: &&Reason| !matches!(reason, Reason::MonitorInAlert { .. });
        let reasons = last.reasons.iter().filter(own).cloned().collect();
        self.escalate(Cause::Remind, reasons, given, caller)
    }

    /// Whether the start of the retraining is pending, and this invocation may execute it: then it is reviewed first.
    pub(crate) fn has_start_to_review(&self, caller: &Caller) -> bool {
        let Some(open) = self.incident.as_ref().filter(|open| open.stage() == Stage::Starting) else {
            return false;
        };
        let entry = self.outbox.get(&open.start_effect_id());
        open.start_answer.is_some()
            || entry.is_some_and(|entry| entry.claim.by == caller.id || entry.claim.until <= caller.now)
    }

    /// Takes the consequence of the answer to the start.
    fn answer_start(&mut self, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &mut self.incident else { return false };
        let Some(answer) = open.start_answer.take() else {
            return false;
        };
        if open.stage() != Stage::Starting {
            return true;
        }
        let decided = open.retrain_decided_at.take();
        if matches!(answer, StartAnswer::Refused(_)) {
            open.refused_starts = open.refused_starts.saturating_add(1);
        }
        self.forget_start(decided);
        match answer {
            StartAnswer::Refused(error) => {
                self.escalate(Cause::NotStarted, vec![Reason::StartRefused { error }], given, caller);
            }
            StartAnswer::Held(reason) => {
                self.declare(Verdict::Hold, Cause::Hold, vec![reason], given, caller);
            }
        }
        true
    }

    /// Removes the retraining of this decision, which never began, from cooldown and budget.
    pub(crate) fn forget_start(&mut self, decided: Option<Timestamp>) {
        self.retrainings.retain(|time| Some(*time) != decided);
    }

    /// Withdraws the pending start of an incident. Returns false if another invocation is executing it at this moment.
    pub(crate) fn withdraw_start(&mut self, incident: u64, caller: &Caller) -> bool {
        let is_start = |effect: &ModelEffect| effect.start_of() == Some(incident);
        !self.outbox.withdraw(is_start, caller)
    }

    /// Reviews a start that this invocation is about to execute, and ends the wait for a retraining that was never seen.
    fn follow_up_start(&mut self, policy: &ModelPolicy, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = self.incident.clone() else {
            return false;
        };
        if let Some(Ok(facts)) = given.facts {
            // The answer to an earlier attempt may have been lost. Numbers of incidents are counted again after the loss of a document.
            let decided = open.retrain_decided_at.unwrap_or_else(|| open.since());
            let is_own = |execution: &&PipelineExecution| {
                let latest = execution.start_time.map(|start| after(start, CLOCK_TOLERANCE));
                latest.is_none_or(|latest| latest >= decided)
            };
            if let Some(execution) = facts.own_execution.as_ref().filter(is_own) {
                self.withdraw_start(open.number, caller);
                if let Some(open) = &mut self.incident
                    && open.advance(Cause::RunSeen, caller.now)
                {
                    // The sweep asks for its status.
                    open.execution = Some(PipelineExecution::started(execution.arn.clone()));
                }
                return true;
            }
            if self.has_start_to_review(caller) && self.review_start(&open, policy, given, caller) {
                return true;
            }
        }
        // Who retrains on the event may report the end alone.
        let within = match policy.retraining.start {
            StartKind::Event => policy.retraining_within,
            StartKind::Pipeline | StartKind::StateMachine => policy.start_within,
        };
        let until = after(open.retrain_decided_at.unwrap_or_else(|| open.since()), within);
        // SageMaker was asked whether the retraining has begun, or could not be asked for long.
        let is_asked = matches!(given.facts, Some(Ok(_))) || after(until, policy.decide_within) <= caller.now;
        if until > caller.now || !is_asked {
            return false;
        }
        let failures = self
            .outbox
            .get(&open.start_effect_id())
            .and_then(|entry| entry.failures.clone());
        if !self.withdraw_start(open.number, caller) {
            return false;
        }
        self.forget_start(open.retrain_decided_at);
        let unknown = match given.facts {
            Some(Err(error)) => Some(error.to_owned()),
            None | Some(Ok(_)) => None,
        };
        let error = unknown.or_else(|| failures.map(|failures| failures.last));
        self.escalate(
            Cause::NotStarted,
            vec![Reason::StartMissing { until, error }],
            given,
            caller,
        )
    }

    /// Decides again about a start that was not executed at once: the facts may have changed since. Returns whether it was
    /// withdrawn or renewed.
    fn review_start(&mut self, open: &Incident, policy: &ModelPolicy, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(pending) = self
            .outbox
            .get(&open.start_effect_id())
            .map(|entry| entry.effect.clone())
        else {
            return false;
        };
        let Some((decision, cause)) = self.judge(policy, given, caller) else {
            return false;
        };
        let target = Target::new(&policy.retraining, given.settings);
        let parameters = target.parameters(&policy.retraining, open, &decision.alerts, &self.model);
        let is_same = match (target.start(&parameters, open, &decision, &self.model), &pending) {
            (Some(ModelEffect::StartPipelineExecution(new)), ModelEffect::StartPipelineExecution(start)) => {
                new.pipeline == start.pipeline && new.parameters == start.parameters
            }
            (Some(ModelEffect::StartStateMachine(new)), ModelEffect::StartStateMachine(start)) => {
                new.state_machine_arn == start.state_machine_arn
            }
            _ => false,
        };
        if (cause == Cause::Retrain && is_same) || !self.withdraw_start(open.number, caller) {
            return false;
        }
        self.forget_start(open.retrain_decided_at);
        if let Some(open) = &mut self.incident {
            open.retrain_decided_at = None;
        }
        self.enact(cause, decision, policy, given, caller)
    }

    /// Escalates the incident if the model package of the retraining, or the end of its experiment, did not come in time.
    fn follow_up_candidate(&mut self, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &self.incident else { return false };
        let since = open.candidate_since.unwrap_or_else(|| open.since());
        let promotion = given.policy.promotion(&self.model);
        if open.experiment_id.is_none() {
            let until = after(since, promotion.candidate_within);
            let reasons = vec![Reason::CandidateMissing {
                model_package_group: promotion.model_package_group,
                until,
            }];
            return until <= caller.now && self.escalate(Cause::NotPromoted, reasons, given, caller);
        }
        let longest = [
            promotion.candidate_within,
            promotion.maximum_duration,
            promotion.bake,
            EXPERIMENT_GRACE,
        ];
        let longest = longest
            .into_iter()
            .fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        self.escalate_overdue(longest, given, caller)
    }

    /// Looks at the executions since the retraining: they verify the model, or show that the drift persists.
    fn verify(&mut self, policy: &ModelPolicy, given: StepContext<'_>, caller: &Caller) -> bool {
        let Some(open) = &self.incident else { return false };
        let since = open.verifying_since.unwrap_or_else(|| open.since());
        let mut persists = Vec::new();
        let mut is_verified = true;
        let mut silent = Vec::new();
        let mut within = MIN_VERIFY_WITHIN;
        for schedule in &open.monitors {
            let key = crate::schedule_key(schedule);
            let Some(alert) = self.alerts.get(&key) else { continue };
            if is_alarm(&key) {
                is_verified &= alert.status == AlertStatus::Ok;
                continue;
            }
            let Some(level) = given.levels.get(&key) else {
                is_verified = false;
                continue;
            };
            let required = match policy.verify_executions {
                0 => u32::from(level.alert.evaluation_period),
                required => required,
            };
            let executions = level.judged_after(since);
            let intervals = i32::try_from(required.saturating_mul(3)).unwrap_or(i32::MAX);
            within = within.max(level.interval().saturating_mul(intervals));
            if executions < required {
                is_verified = false;
                silent.push((schedule.clone(), level.judged.first().copied().unwrap_or(since)));
            } else if alert.is_in_alert(caller.now) {
                persists.push(Reason::DriftPersists {
                    monitoring_schedule: schedule.clone(),
                    executions,
                });
            }
        }
        if !persists.is_empty() {
            return self.escalate(Cause::DriftPersists, persists, given, caller);
        }
        if is_verified && self.close_if_quiet(Outcome::Repaired, policy, given.levels, caller) {
            return true;
        }
        let until = after(since, within);
        if until > caller.now {
            return false;
        }
        let mut reasons = vec![Reason::StageOverdue {
            stage: Stage::Verifying,
            until,
        }];
        reasons.extend(
            silent
                .into_iter()
                .map(|(monitoring_schedule, since)| Reason::MonitorSilent {
                    monitoring_schedule,
                    since,
                }),
        );
        self.escalate(Cause::Overdue, reasons, given, caller)
    }

    /// Closes the incident if every monitor has been OK for some executions. Silence is not recovery. After the drift has
    /// returned once, the incident stays open for the time in which it would be reopened.
    fn close_if_quiet(&mut self, outcome: Outcome, policy: &ModelPolicy, levels: &Levels, caller: &Caller) -> bool {
        let Some(open) = &self.incident else { return false };
        let may_return = open.returns > 0
            && open
                .last_alert_at
                .is_some_and(|at| after(at, policy.reopen_within) > caller.now);
        let is_quiet = |key: &String, alert: &MonitorAlert| {
            if alert.accepted_until.is_some_and(|until| until > caller.now) {
                return true;
            }
            alert.status == AlertStatus::Ok
                && (is_alarm(key) || levels.get(key).is_some_and(|level| is_clean(level, policy.close_after)))
        };
        let monitors: Vec<String> = open.monitors.iter().map(|name| crate::schedule_key(name)).collect();
        let mut concerned = self
            .alerts
            .iter()
            .filter(|(key, alert)| alert.status != AlertStatus::Ok || monitors.contains(key));
        if may_return || !concerned.all(|(key, alert)| is_quiet(key, alert)) {
            return false;
        }
        self.close(outcome, None, caller);
        true
    }
}

/// Whether a monitor has been OK for enough executions.
fn is_clean(level: &Level, close_after: u32) -> bool {
    let required = match close_after {
        0 => u32::from(level.alert.evaluation_period).max(MIN_CLOSE_AFTER),
        required => required,
    };
    level.judged_since_transition >= usize::try_from(required).unwrap_or(usize::MAX)
}

/// Hash of what an approval is given for.
fn fingerprint(
    policy: &ModelPolicy,
    target: &Target,
    alerts: &[AlertSnapshot],
    silent: &[(String, Timestamp)],
) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text);
        hash.update([0]);
    };
    for alert in alerts {
        let schedule = &alert.monitoring_schedule;
        add(schedule);
        add(alert.severity.unwrap_or_default().as_str());
        for check_type in &alert.check_types {
            if policy.fix_data_check_types.contains(check_type) {
                add(check_type);
            }
        }
        add(if silent.iter().any(|(name, _)| name == schedule) {
            "silent"
        } else {
            ""
        });
    }
    add(policy.retraining.start.as_str());
    add(target.name().unwrap_or_default());
    for (name, template) in &policy.retraining.parameters {
        add(name);
        add(template);
    }
    let mut fingerprint = hex::encode(hash.finalize());
    fingerprint.truncate(12);
    fingerprint
}
