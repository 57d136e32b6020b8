//! Descriptions of decisions: the worst violations in short, and the reasons of closed incidents in the past tense.

use crate::frame::number;
use alerting::ReportedViolation;
use model_monitor::Quantity;
use remediation::{Decision, Reason, Verdict};

/// Maximum number of violations in the findings of an incident.
const MAX_FINDINGS: usize = 3;
/// Longer subjects are cut.
const MAX_SUBJECT_CHARS: usize = 40;

/// The worst violations with their ratios: `total_day_minutes 4.2×, accuracy −0.18`. The worst of each alert comes first.
pub(crate) fn findings(decision: &Decision) -> String {
    let worst = decision.alerts.iter().filter_map(|alert| alert.violations.first());
    let others = decision.alerts.iter().flat_map(|alert| alert.violations.iter().skip(1));
    let mut findings: Vec<String> = Vec::new();
    for finding in worst.chain(others).map(finding) {
        if findings.len() < MAX_FINDINGS && !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings.join(", ")
}

/// A violation with its distance from the threshold: a ratio above the threshold, a difference below it.
fn finding(violation: &ReportedViolation) -> String {
    let mut subject: String = violation.subject.chars().take(MAX_SUBJECT_CHARS).collect();
    if violation.subject.chars().count() > MAX_SUBJECT_CHARS {
        subject.push('…');
    }
    if let Some(ratio) = violation.threshold_ratio() {
        return format!("{subject} {}", text::ratio(ratio));
    }
    let observed = violation.observed.as_ref().and_then(Quantity::as_number);
    let threshold = violation.threshold.as_ref().and_then(Quantity::as_number);
    match (observed, threshold) {
        (Some(observed), Some(threshold)) => {
            let difference = observed - threshold;
            let plus = if difference > 0.0 { "+" } else { "" };
            format!("{subject} {plus}{}", number(difference))
        }
        (Some(observed), None) => format!("{subject} {}", number(observed)),
        (None, _) => format!("{subject} {}", violation.constraint_check_type),
    }
}

/// Describes the decision of a closed incident in the past tense.
pub(crate) fn past_sentence(model: &str, decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Retrain => format!("Driftwarden decided to retrain `{model}`"),
        Verdict::FixData => format!("The input data of `{model}` had to be fixed"),
        Verdict::Hold => format!("Driftwarden held the retraining of `{model}`"),
        Verdict::Escalate => format!("Driftwarden escalated `{model}` to an operator"),
    };
    let mut reasons: Vec<String> = decision.reasons.iter().map(past_reason).collect();
    let findings = findings(decision);
    if !findings.is_empty() {
        reasons.push(format!("worst violations: {findings}"));
    }
    if reasons.is_empty() {
        return format!("{verdict}.");
    }
    format!("{verdict}: {}.", reasons.join("; "))
}

fn past_reason(reason: &Reason) -> String {
    match reason {
        Reason::MonitorInAlert {
            monitoring_schedule,
            breaching,
            evaluation_period,
            ..
        } => format!(
            "monitor `{monitoring_schedule}` was in alert ({breaching} of {evaluation_period} datapoints breached)"
        ),
        Reason::NothingInFlight => "no other pipeline execution was in progress".to_owned(),
        Reason::DataBroke {
            monitoring_schedule,
            check_types,
        } => format!(
            "monitor `{monitoring_schedule}` found broken input data ({})",
            check_types.join(", ")
        ),
        Reason::Paused { by: Some(by), .. } => format!("{by} had paused retraining"),
        Reason::Paused { by: None, .. } => "the policy had paused retraining".to_owned(),
        Reason::SeverityBelow {
            severity,
            minimum_severity,
        } => format!(
            "the severity of the alerts was {}, below the minimum severity {}",
            severity.as_str(),
            minimum_severity.as_str()
        ),
        Reason::InFlight { execution_arn } => {
            format!("another pipeline execution was in progress ({execution_arn})")
        }
        Reason::Cooldown { .. } => "the cooldown after the previous retraining had not ended".to_owned(),
        Reason::BudgetPerDay { limit, .. } => {
            format!("the limit of {} per day was reached", text::count(*limit, "retraining"))
        }
        Reason::BudgetPerMonth { limit, .. } => format!(
            "the limit of {} per month was reached",
            text::count(*limit, "retraining")
        ),
        Reason::AutomationLevel { automation, .. } => format!("the automation level was `{}`", automation.as_str()),
        Reason::ApprovalMissing { .. } => "it required approval".to_owned(),
        Reason::ApprovalExpired { .. } => "the approval request expired".to_owned(),
        Reason::Approved { by, .. } => format!("{by} approved it"),
        Reason::Denied { by, .. } => format!("{by} denied it"),
        Reason::RunEnded { execution_arn, status } => {
            format!(
                "pipeline execution {execution_arn} ended with status {}",
                status.as_str()
            )
        }
        Reason::NotPromoted {
            experiment_id,
            conclusion,
            ..
        } => format!(
            "the retrained model was not promoted: experiment {experiment_id} ended as {}",
            conclusion.as_str()
        ),
        Reason::CandidateMissing {
            model_package_group, ..
        } => format!("the retraining registered no new model package in the group `{model_package_group}`"),
        Reason::DriftPersists {
            monitoring_schedule, ..
        } => format!("monitor `{monitoring_schedule}` was still in alert after the retraining"),
        Reason::MonitorSilent { .. }
        | Reason::NoMonitorInAlert
        | Reason::FleetAtOnce { .. }
        | Reason::FleetPerDay { .. }
        | Reason::CommonCause { .. }
        | Reason::FleetTurn { .. }
        | Reason::StartRefused { .. }
        | Reason::StartMissing { .. }
        | Reason::FactsMissing { .. }
        | Reason::StageOverdue { .. }
        | Reason::RunUnknown { .. }
        | Reason::DriftReturned { .. } => reason.describe(),
    }
}
