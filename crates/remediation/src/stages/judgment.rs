//! The decision that follows from what is true now, and what an approval of it counts for.

use super::Transition;
use crate::{
    AlertSnapshot, Cause, Facts, ModelPolicy, Reason, Verdict,
    decision::DecisionInput,
    incident::{ApprovalRequest, Consent},
    situation::Situation,
    start::Target,
    state::{Past, Starting, State, WaitsFor},
    time::after,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Decides on the alerts as they are now. `retrainings` are those that count toward cooldown and budget. `past` is the past of
/// the incident if it does not retrain now.
pub(crate) fn judge(
    consent: &Consent,
    facts: &Facts,
    retrainings: &[Timestamp],
    past: Past,
    now: &Situation<'_>,
) -> Transition {
    let alerts = now.snapshots();
    let silent = now.silent();
    let target = Target::new(&now.policy.retraining, now.given.settings);
    let fingerprint = fingerprint(now.policy, &target, &alerts, &silent);
    let mut consent = consent.for_facts(&fingerprint);
    let request = consent.request.clone().unwrap_or_else(|| ApprovalRequest {
        expires_at: after(now.now(), now.policy.approval_expires_after),
        fingerprint: None,
    });
    let input = DecisionInput {
        policy: now.policy,
        risk_rating: now.policy.risk_rating.unwrap_or(facts.risk_rating),
        silent: &silent,
        in_flight: facts.in_flight.iter().map(String::as_str).collect(),
        fleet: facts.fleet.clone(),
        retrainings,
        approval: consent.answer.as_ref(),
        paused_globally: facts.paused.as_ref(),
        paused: now.pause,
        approval_expires_at: request.expires_at,
        now: now.now(),
    };
    let (verdict, reasons) = input.decide(&alerts);
    let is_request = |reason: &Reason| matches!(reason, Reason::ApprovalMissing { .. });
    let requests_approval = reasons.iter().any(is_request);
    let (cause, to) = match verdict {
        Verdict::Retrain => {
            let decided_at = now.now();
            let starting = Starting {
                decided_at,
                answer: None,
            };
            (Cause::Retrain, State::Starting(starting))
        }
        Verdict::FixData => (Cause::FixData, State::undecided(WaitsFor::Data, past)),
        Verdict::Hold if requests_approval => (Cause::AskApproval, State::undecided(WaitsFor::Approval, past)),
        Verdict::Hold | Verdict::Escalate => (Cause::Hold, State::undecided(WaitsFor::Release, past)),
    };
    if requests_approval {
        consent.request = Some(ApprovalRequest {
            fingerprint: Some(fingerprint.clone()),
            ..request
        });
    }
    let mut decision = now.decision(verdict, reasons);
    decision.fingerprint = fingerprint;
    Transition {
        cause,
        to,
        decision: Some(decision),
        consent: Some(consent),
        effects: Vec::new(),
    }
}

impl Consent {
    /// The request and its answer if they count for these facts. If the facts changed, approval is requested again.
    fn for_facts(&self, fingerprint: &str) -> Self {
        let requested = self.request.as_ref().and_then(|request| request.fingerprint.as_ref());
        let answered = self.answer.as_ref().and_then(|answer| answer.fingerprint.as_ref());
        if requested.into_iter().chain(answered).all(|known| known == fingerprint) {
            self.clone()
        } else {
            Self::default()
        }
    }
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
