use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn times() -> (Timestamp, Timestamp) {
    (time("2026-11-23T15:00:59Z"), time("2026-11-24T15:00:00Z"))
}

fn assert_described(described: impl IntoIterator<Item = (Reason, &'static str)>) {
    for (reason, text) in described {
        assert_eq!(reason.describe(), text);
    }
}

#[test]
fn reasons_before_a_retraining_are_described() {
    let (at, until) = times();
    let paused = |globally, by: Option<&str>| Reason::Paused {
        globally,
        by: by.map(Into::into),
        at: by.map(|_| at),
        until: None,
        why: None,
    };
    assert_described([
        (
            Reason::MonitorInAlert {
                monitoring_schedule: "dq".into(),
                breaching: 2,
                datapoints_to_alert: 2,
                evaluation_period: 3,
            },
            "monitor `dq` is in alert",
        ),
        (
            Reason::DataBroke {
                monitoring_schedule: "dq".into(),
                check_types: vec!["data_type_check".into(), "completeness_check".into()],
            },
            "monitor `dq` found broken input data (data_type_check, completeness_check), and retraining on it would \
                 make the model worse",
        ),
        (paused(true, None), "the policy pauses retraining for all models"),
        (paused(false, None), "the policy pauses retraining for this model"),
        (
            paused(true, Some("ada")),
            "operator ada paused all models at 2026-11-23 15:00 UTC",
        ),
        (
            Reason::Paused {
                globally: false,
                by: Some("ada".into()),
                at: Some(at),
                until: Some(until),
                why: Some("labels are late".into()),
            },
            "operator ada paused the model at 2026-11-23 15:00 UTC until 2026-11-24 15:00 UTC (labels are late)",
        ),
        (
            Reason::SeverityBelow {
                severity: Severity::Warning,
                minimum_severity: Severity::Critical,
            },
            "the severity of the alerts is warning, below the minimum severity critical",
        ),
        (
            Reason::InFlight {
                execution_arn: "arn:1".into(),
            },
            "another pipeline execution is in progress (arn:1)",
        ),
        (
            Reason::Cooldown {
                last_retraining: at,
                until,
            },
            "the last retraining started at 2026-11-23 15:00 UTC, and the cooldown lasts until 2026-11-24 15:00 UTC",
        ),
        (
            Reason::BudgetPerDay {
                retrainings: 1,
                limit: 1,
                until,
            },
            "the limit of 1 retraining per day is reached (1 started); it resets at 2026-11-24 15:00 UTC",
        ),
        (
            Reason::BudgetPerMonth {
                retrainings: 9,
                limit: 8,
                until,
            },
            "the limit of 8 retrainings per month is reached (9 started); it resets at 2026-11-24 15:00 UTC",
        ),
    ]);
}

#[test]
fn answers_and_results_are_described() {
    let (at, until) = times();
    assert_described([
        (
            Reason::AutomationLevel {
                automation: Automation::Suggest,
                risk_rating: RiskRating::High,
            },
            "the automation level is `suggest` (risk rating high)",
        ),
        (
            Reason::ApprovalMissing { until },
            "waiting for approval; the request expires at 2026-11-24 15:00 UTC",
        ),
        (
            Reason::ApprovalExpired { at: until },
            "the approval request expired at 2026-11-24 15:00 UTC",
        ),
        (
            Reason::Approved { by: "ada".into(), at },
            "approved by ada at 2026-11-23 15:00 UTC",
        ),
        (
            Reason::Denied { by: "ada".into(), at },
            "denied by ada at 2026-11-23 15:00 UTC",
        ),
        (
            Reason::RunEnded {
                execution_arn: "arn:1".into(),
                status: ExecutionStatus::Stopped,
            },
            "pipeline execution arn:1 ended with status Stopped",
        ),
        (
            Reason::NotPromoted {
                experiment_id: "churn-ab-1".into(),
                conclusion: Conclusion::RolledBack,
                sentence: "The candidate lost.".into(),
            },
            "the retrained model was not promoted: experiment churn-ab-1 ended with RolledBack. The candidate lost",
        ),
        (
            Reason::CandidateMissing {
                model_package_group: "churn".into(),
                until,
            },
            "the retraining succeeded, but no new version of model package group `churn` appeared by 2026-11-24 15:00 \
                 UTC",
        ),
        (
            Reason::DriftPersists {
                monitoring_schedule: "dq".into(),
                executions: 1,
            },
            "monitor `dq` is still in alert after 1 execution since the retraining",
        ),
    ]);
}

#[test]
fn reasons_of_the_fleet_and_of_stages_are_described() {
    let (at, until) = times();
    assert_described([
        (
            Reason::NothingInFlight,
            "no pipeline execution of this model is in progress",
        ),
        (Reason::NoMonitorInAlert, "no monitor is in alert at present"),
        (
            Reason::MonitorSilent {
                monitoring_schedule: "dq".into(),
                since: at,
            },
            "monitor `dq` has judged no execution since 2026-11-23 15:00 UTC, so it no longer shows whether the drift lasts",
        ),
        (
            Reason::FleetAtOnce {
                retrainings: 5,
                limit: 5,
            },
            "the limit of 5 retrainings at a time over all models is reached (5 in progress)",
        ),
        (
            Reason::FleetPerDay {
                retrainings: 20,
                limit: 20,
                until,
            },
            "the limit of 20 retrainings per day over all models is reached (20 started); it resets at 2026-11-24 15:00 UTC",
        ),
        (
            Reason::FleetTurn { models: 2 },
            "2 other models that wait for a retraining come first, by severity and age",
        ),
        (
            Reason::CommonCause {
                since: at,
                count: 6,
                models: vec!["churn".into()],
                check_types: vec!["baseline_drift_check".into()],
            },
            "6 models drifted within an hour of 2026-11-23 15:00 UTC (all with `baseline_drift_check`), which has one cause more likely than many; \
             `driftwarden fleet release` ends the hold",
        ),
        (
            Reason::StartRefused {
                error: "AccessDenied".into(),
            },
            "AWS refused to start the retraining: AccessDenied",
        ),
        (
            Reason::StartMissing { until, error: None },
            "no retraining was seen by 2026-11-24 15:00 UTC",
        ),
        (
            Reason::StartMissing {
                until,
                error: Some("throttled".into()),
            },
            "no retraining was seen by 2026-11-24 15:00 UTC (last error: throttled)",
        ),
        (
            Reason::FactsMissing {
                error: "throttled".into(),
            },
            "the facts for a decision could not be read: throttled",
        ),
        (
            Reason::StageOverdue {
                stage: Stage::Retraining,
                until,
            },
            "stage Retraining lasted longer than permitted, until 2026-11-24 15:00 UTC",
        ),
        (
            Reason::RunUnknown {
                execution_arn: "arn:1".into(),
            },
            "AWS does not know the retraining arn:1",
        ),
        (
            Reason::DriftReturned {
                returns: 1,
                recurrence: None,
            },
            "the drift returned 1 time after the incident had ended, and the incident has had its retraining",
        ),
    ]);
}
