//! Notifications about experiments: an experiment needs approval or a decision, starts, or ends. `driftwarden
//! experiment status` shows the steps in between.

use crate::notify::{
    links::{Links, monitor_name},
    notification::{Action, Notification, ThreadStatus, new_notification},
};
use promotion::{Conclusion, ExperimentStage, ExperimentStateChange, MonitorBaselineChange};
use remediation::{NotificationKind, NotificationSeverity};
use text::{number, signed};

/// State of an experiment that causes a notification.
#[derive(Clone, Copy)]
enum ExperimentNotice {
    ApprovalNeeded,
    Started,
    Paused,
    Ended(Conclusion),
}

impl ExperimentNotice {
    /// `None` if the change causes no notification.
    fn from_change(change: &ExperimentStateChange) -> Option<Self> {
        match change.stage {
            ExperimentStage::AwaitingApproval => Some(Self::ApprovalNeeded),
            // Later steps have the outcome of a look.
            ExperimentStage::Testing if change.outcome.is_none() => Some(Self::Started),
            ExperimentStage::Paused => Some(Self::Paused),
            ExperimentStage::Ended => change.conclusion.map(Self::Ended),
            _ => None,
        }
    }

    /// State or request, for the subject.
    fn subject(self) -> &'static str {
        match self {
            Self::ApprovalNeeded => "approval needed for a candidate",
            Self::Started => "candidate under test",
            Self::Paused => "experiment paused, decision needed",
            Self::Ended(Conclusion::Promoted) => "candidate promoted",
            Self::Ended(Conclusion::RolledBack) => "candidate rolled back",
            Self::Ended(Conclusion::Rejected) => "candidate rejected",
            Self::Ended(Conclusion::Invalid) => "experiment invalid, champion stays",
            Self::Ended(Conclusion::Inconclusive) => "experiment inconclusive, champion stays",
            Self::Ended(Conclusion::Stopped) => "experiment stopped, champion stays",
            Self::Ended(Conclusion::Abandoned) => "experiment abandoned, endpoint changed",
            Self::Ended(Conclusion::Failed) => "experiment failed, champion stays",
        }
    }

    /// Predicate of the first sentence, after the experiment and the model.
    fn predicate(self) -> &'static str {
        match self {
            Self::ApprovalNeeded => "has a candidate that needs your approval",
            Self::Started => "has started: champion and candidate are both in service",
            Self::Paused => "is paused and needs your decision",
            Self::Ended(Conclusion::Promoted) => "has ended: the candidate is promoted",
            Self::Ended(Conclusion::RolledBack) => "has ended: the candidate is rolled back, and the champion stays",
            Self::Ended(Conclusion::Rejected) => "has ended: the candidate is rejected, and the champion stays",
            Self::Ended(Conclusion::Invalid) => "has ended: its results are not valid, and the champion stays",
            Self::Ended(Conclusion::Inconclusive) => "has ended without a significant result, and the champion stays",
            Self::Ended(Conclusion::Stopped) => "was stopped, and the champion stays",
            Self::Ended(Conclusion::Abandoned) => {
                "has ended: the endpoint was changed outside Driftwarden, and is left as it is"
            }
            Self::Ended(Conclusion::Failed) => "has failed: the endpoint could not be updated, and the champion stays",
        }
    }

    fn next(self) -> &'static str {
        match self {
            Self::ApprovalNeeded => {
                "Driftwarden takes no action until you approve the model package. Then the test starts."
            }
            Self::Started => {
                "Driftwarden increases the traffic share of the candidate in steps while the results allow it. You will get \
                 the result in a separate message."
            }
            Self::Paused => {
                "Driftwarden takes no action until you decide. Both variants stay in service, with the current traffic \
                 shares."
            }
            Self::Ended(Conclusion::Promoted) => {
                "The candidate is now the champion. If it was retrained for an incident, the next \
                 monitoring executions verify the result."
            }
            Self::Ended(Conclusion::Abandoned) => "Driftwarden takes no further action on the endpoint.",
            Self::Ended(_) => {
                "The champion answers all requests, as before. The next model package becomes a new candidate."
            }
        }
    }

    /// Effect on the thread of the experiment, and severity.
    fn status_and_severity(self) -> (ThreadStatus, NotificationSeverity) {
        match self {
            Self::ApprovalNeeded | Self::Paused => (ThreadStatus::Open, NotificationSeverity::Warning),
            Self::Started => (ThreadStatus::Note, NotificationSeverity::Info),
            Self::Ended(Conclusion::Invalid | Conclusion::Abandoned | Conclusion::Failed) => {
                (ThreadStatus::Closed, NotificationSeverity::Warning)
            }
            Self::Ended(_) => (ThreadStatus::Closed, NotificationSeverity::Info),
        }
    }

    /// What the recipient can do.
    fn actions(self, change: &ExperimentStateChange) -> Vec<Action> {
        let id = &change.experiment_id;
        let command = |arguments: &str| format!("driftwarden experiment {arguments}");
        let status = || command(&format!("status {}", change.model));
        let page = || command(&format!("status {id} --html {id}.html"));
        let set_approval = |status: &str| {
            let arn = &change.model_package_arn;
            format!("aws sagemaker update-model-package --model-package-arn {arn} --model-approval-status {status}")
        };
        let action = |what: &str, commands: Vec<String>| Action {
            what: what.to_owned(),
            commands,
        };
        let results = || action("Show the results", vec![page()]);
        match self {
            Self::ApprovalNeeded => vec![action(
                "Approve or reject the model package",
                vec![set_approval("Approved"), set_approval("Rejected")],
            )],
            Self::Started => vec![action(
                "Follow or stop the experiment",
                vec![status(), command(&format!("stop {id} --reason \"...\""))],
            )],
            Self::Paused => vec![
                action(
                    "Promote the candidate or restore the champion",
                    vec![
                        command(&format!("promote {id} --reason \"...\"")),
                        command(&format!("rollback {id} --reason \"...\"")),
                    ],
                ),
                action(
                    "Continue the comparison for the same duration again",
                    vec![command(&format!("resume {id}"))],
                ),
                action("Show the results with charts", vec![page()]),
            ],
            Self::Ended(Conclusion::Promoted) => vec![
                results(),
                action(
                    "Show how to restore the previous champion",
                    vec![command(&format!("rollback {id} --dry-run"))],
                ),
            ],
            Self::Ended(Conclusion::RolledBack | Conclusion::Rejected | Conclusion::Stopped) => vec![results()],
            Self::Ended(Conclusion::Invalid) => vec![
                action(
                    "Find out why the variants did not get their traffic shares. Possible causes: callers repeat requests, a \
                     variant does not respond, or callers choose the variant themselves. In the last case, set `assignment` in \
                     the policy to \"target-variant\".",
                    vec![],
                ),
                results(),
            ],
            Self::Ended(Conclusion::Inconclusive) => vec![
                action(
                    "More traffic, a longer `maximum_duration`, or a larger `effect` makes a significant result more likely. \
                     Estimate the duration of a test",
                    vec![command("plan --help")],
                ),
                results(),
            ],
            Self::Ended(Conclusion::Abandoned) => vec![
                action("If you did not expect the change, find out who made it.", vec![]),
                action(
                    "The endpoint configurations and the model of the experiment remain; their names start with driftwarden-. \
                     You can delete them if the endpoint does not use them",
                    vec![status()],
                ),
            ],
            Self::Ended(Conclusion::Failed) => vec![
                action(
                    &format!(
                        "Read the log of the container in the log group /aws/sagemaker/Endpoints/{}.",
                        change.endpoint
                    ),
                    vec![],
                ),
                action(
                    "Register the fixed model as a new version of its model package group. It becomes a new candidate",
                    vec![status()],
                ),
            ],
        }
    }
}

/// The notification of a change of an experiment. `None` if the change causes none.
pub(crate) fn experiment_notification(change: &ExperimentStateChange, links: &Links<'_>) -> Option<Notification> {
    let notice = ExperimentNotice::from_change(change)?;
    let mut notification = new_notification(&change.id, NotificationKind::Experiment, &change.model, change.time);
    (notification.status, notification.severity) = notice.status_and_severity();
    notification.subject = format!("{}: {} ({})", change.model, notice.subject(), change.experiment_id);
    notification.what = format!(
        "Experiment {} of {} {}.",
        change.experiment_id,
        change.model,
        notice.predicate()
    );
    notification.why = Some(change.sentence.clone());
    if change.outcome.is_some() {
        notification.add_facts("Outcomes at the last look", outcome_lines(change));
    }
    notification.add_place("Candidate", &change.model_package_arn, None);
    if let Some(pipeline) = &change.pipeline_execution_arn {
        notification.add_place("Pipeline execution", pipeline, None);
    }
    notification.add_place("Endpoint", &change.endpoint, links.endpoint(&change.endpoint));
    notification.add_next(notice.next());
    notification.actions = notice.actions(change);
    Some(notification)
}

/// Outcomes of both variants at the last look, and their difference.
fn outcome_lines(change: &ExperimentStateChange) -> Vec<String> {
    let mut lines = Vec::new();
    let names = change
        .variants
        .iter()
        .map(|variant| variant.variant_name.chars().count());
    let width = names.max().unwrap_or(0);
    for (at, variant) in change.variants.iter().enumerate() {
        let role = if at + 1 == change.variants.len() {
            "candidate"
        } else {
            "champion"
        };
        let mean = match variant.outcomes.count {
            0 => "no outcomes".to_owned(),
            count => format!(
                "{}, mean {}",
                text::count(count, "outcome"),
                number(variant.outcomes.mean())
            ),
        };
        lines.push(format!("{:width$}  {role:9}  {mean}", variant.variant_name));
    }
    if let Some(interval) = change.interval {
        lines.push(format!(
            "Candidate − champion: {}, confidence sequence [{}, {}]",
            signed(interval.estimate),
            signed(interval.low),
            signed(interval.high)
        ));
    }
    for reason in &change.reasons {
        let words = reason.describe();
        // The sentence of the event already contains most reasons.
        if !change.sentence.contains(&words) {
            lines.push(format!("Reason: {words}"));
        }
    }
    lines
}

/// The notification of a monitor that has another baseline.
pub(crate) fn baseline_notification(change: &MonitorBaselineChange, links: &Links<'_>) -> Notification {
    let schedule = &change.monitoring_schedule;
    let mut notification = new_notification(&change.id, NotificationKind::Baseline, &change.model, change.time);
    notification.monitoring_schedule = Some(schedule.clone());
    notification.subject = format!("{}: monitor {schedule} has a new baseline", change.model);
    notification.what = format!(
        "The {} {schedule} of {} has a new baseline.",
        monitor_name(Some(&change.monitor_type)),
        change.model
    );
    notification.why = Some(change.sentence.clone());
    let constraints = format!("{}/constraints.json", change.baseline_uri.trim_end_matches('/'));
    notification.add_place("Baseline", &change.baseline_uri, links.object(&constraints));
    if let Some(previous) = &change.previous_baseline_uri {
        notification.add_place("Previous baseline", previous, None);
    }
    if let Some(package) = &change.model_package_arn {
        notification.add_place("Model package", package, None);
    }
    notification.add_next(&format!(
        "Executions scheduled after {} are compared with it, and the alert window of the monitor restarts.",
        text::time(change.time)
    ));
    notification.add_next("No action is required. Review the new constraints.");
    notification.add_action("Show the alert window", &[format!("driftwarden alerts {schedule}")]);
    notification.add_action(
        "Show the experiment",
        &[format!("driftwarden experiment status {}", change.experiment_id)],
    );
    notification
}
