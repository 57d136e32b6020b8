//! What people are told of experiments: that one waits for them, begins, or is over. The steps between are in `driftwarden
//! experiment status`.

use crate::{
    notification::{Action, Notification, ThreadStatus},
    words::{Links, about, second},
};
use promotion::{Conclusion, ExperimentStage, ExperimentStateChange, MonitorBaselineChange, number, signed};
use remediation::{NotificationKind, NotificationSeverity};

/// What a change comes to for people.
#[derive(Clone, Copy)]
enum News {
    Approval,
    Begun,
    Paused,
    Over(Conclusion),
}

impl News {
    /// `None` if nobody has to know.
    fn of(change: &ExperimentStateChange) -> Option<Self> {
        match change.stage {
            ExperimentStage::AwaitingApproval => Some(Self::Approval),
            // Later steps of the traffic have looks behind them.
            ExperimentStage::Testing if change.outcome.is_none() => Some(Self::Begun),
            ExperimentStage::Paused => Some(Self::Paused),
            ExperimentStage::Ended => change.conclusion.map(Self::Over),
            _ => None,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Approval => "candidate waits for approval",
            Self::Begun => "candidate is tested beside the champion",
            Self::Paused => "experiment paused, a person has to decide",
            Self::Over(Conclusion::Promoted) => "candidate promoted",
            Self::Over(Conclusion::RolledBack) => "candidate rolled back",
            Self::Over(Conclusion::Rejected) => "candidate rejected",
            Self::Over(Conclusion::Invalid) => "experiment invalid, the champion stays",
            Self::Over(Conclusion::Inconclusive) => "experiment inconclusive, the champion stays",
            Self::Over(Conclusion::Stopped) => "experiment stopped, the champion stays",
            Self::Over(Conclusion::Abandoned) => "experiment abandoned, the endpoint was changed",
            Self::Over(Conclusion::Failed) => "experiment failed, the champion stays",
        }
    }

    /// The first line, after the model and the experiment.
    fn said(self) -> &'static str {
        match self {
            Self::Approval => "has a candidate that a person has to approve",
            Self::Begun => "has begun: champion and candidate are both in service",
            Self::Paused => "is paused: a person has to decide",
            Self::Over(Conclusion::Promoted) => "is over: the candidate is promoted",
            Self::Over(Conclusion::RolledBack) => "is over: the candidate is rolled back, the champion stays",
            Self::Over(Conclusion::Rejected) => "is over: the candidate is rejected, the champion stays",
            Self::Over(Conclusion::Invalid) => "is over: its numbers cannot be trusted, the champion stays",
            Self::Over(Conclusion::Inconclusive) => "is over: nothing is certain, the champion stays",
            Self::Over(Conclusion::Stopped) => "is over: it was stopped, the champion stays",
            Self::Over(Conclusion::Abandoned) => "is over: somebody else changed the endpoint, which is left as it is",
            Self::Over(Conclusion::Failed) => "is over: the endpoint could not be updated, the champion stays",
        }
    }

    fn next(self) -> &'static str {
        match self {
            Self::Approval => {
                "Once the model package is approved, the candidate is put beside the champion. Until then nothing."
            }
            Self::Begun => {
                "The candidate gets more of the traffic step by step as long as nothing speaks against it; how it ends comes in a \
                 message of its own."
            }
            Self::Paused => "Nothing, until somebody decides: both stay in service, and the traffic is split as it is.",
            Self::Over(Conclusion::Promoted) => {
                "The candidate is the champion of the next experiment. If it was retrained for an incident, the next monitoring \
                 executions show whether it helped."
            }
            Self::Over(Conclusion::Abandoned) => "Nothing: the endpoint belongs to whoever changed it.",
            Self::Over(_) => {
                "The champion answers all requests, as before. The next model package is a candidate of its own."
            }
        }
    }

    /// What it means for the experiment's thread, and how grave it is.
    fn weight(self) -> (ThreadStatus, NotificationSeverity) {
        match self {
            Self::Approval | Self::Paused => (ThreadStatus::Open, NotificationSeverity::Warning),
            Self::Begun => (ThreadStatus::Note, NotificationSeverity::Info),
            Self::Over(Conclusion::Invalid | Conclusion::Abandoned | Conclusion::Failed) => {
                (ThreadStatus::Closed, NotificationSeverity::Warning)
            }
            Self::Over(_) => (ThreadStatus::Closed, NotificationSeverity::Info),
        }
    }

    /// What people can do.
    fn actions(self, change: &ExperimentStateChange) -> Vec<Action> {
        let id = &change.experiment_id;
        let command = |word: &str| format!("driftwarden experiment {word}");
        let status = || command(&format!("status {}", change.model));
        let page = || command(&format!("status {id} --html {id}.html"));
        let package = |status: &str| {
            let arn = &change.model_package_arn;
            format!("aws sagemaker update-model-package --model-package-arn {arn} --model-approval-status {status}")
        };
        let action = |what: &str, commands: Vec<String>| Action {
            what: what.to_owned(),
            commands,
        };
        match self {
            Self::Approval => vec![action(
                "Approve or reject its model package:",
                vec![package("Approved"), package("Rejected")],
            )],
            Self::Begun => vec![action(
                "Look on, or end it:",
                vec![status(), command(&format!("stop {id} --reason \"…\""))],
            )],
            Self::Paused => vec![
                action(
                    "Decide:",
                    vec![
                        command(&format!("promote {id} --reason \"…\"")),
                        command(&format!("rollback {id} --reason \"…\"")),
                    ],
                ),
                action(
                    "Or let the comparison go on for as long again:",
                    vec![command(&format!("resume {id}"))],
                ),
                action("All that is known, and a picture of it:", vec![page()]),
            ],
            Self::Over(Conclusion::Promoted) => vec![
                action("See what it was decided by:", vec![page()]),
                action(
                    "How to bring the old champion back is what this says:",
                    vec![command(&format!("rollback {id} --dry-run"))],
                ),
            ],
            Self::Over(Conclusion::RolledBack | Conclusion::Rejected | Conclusion::Stopped) => {
                vec![action("See what it was decided by:", vec![page()])]
            }
            Self::Over(Conclusion::Invalid) => vec![action(
                "Find out why the variants did not get their shares: callers that repeat requests, a variant that answers \
                 none, or callers that choose the variant themselves (the policy's `assignment` is \"target-variant\" then):",
                vec![page()],
            )],
            Self::Over(Conclusion::Inconclusive) => vec![action(
                "More traffic, a longer `maximum_duration`, or a larger `effect` would have said more; how long a test takes:",
                vec![command("plan --help"), page()],
            )],
            Self::Over(Conclusion::Abandoned) => vec![action(
                "If nobody meant to change the endpoint, look who did. The experiment's endpoint configurations and its \
                 model, whose names begin with driftwarden-, are left, and may be deleted if the endpoint does not use them:",
                vec![status()],
            )],
            Self::Over(Conclusion::Failed) => vec![
                action(
                    &format!(
                        "Look at the container's log, the log group /aws/sagemaker/Endpoints/{}.",
                        change.endpoint
                    ),
                    vec![],
                ),
                action(
                    "A mended model is a new version of its model package group, and a candidate again:",
                    vec![status()],
                ),
            ],
        }
    }
}

/// What an experiment's change tells; `None` if nobody has to know.
pub(crate) fn experiment_change(change: &ExperimentStateChange, links: &Links<'_>) -> Option<Notification> {
    let news = News::of(change)?;
    let mut told = about(&change.id, NotificationKind::Experiment, &change.model, change.time);
    (told.status, told.severity) = news.weight();
    told.subject = format!("{}: {} ({})", change.model, news.subject(), change.experiment_id);
    told.what = format!(
        "Model {}: experiment {} {}.",
        change.model,
        change.experiment_id,
        news.said()
    );
    told.why = Some(change.sentence.clone());
    if change.outcome.is_some() {
        told.facts("Outcomes at the last look", outcomes(change));
    }
    told.look("Candidate", &change.model_package_arn, None);
    if let Some(pipeline) = &change.pipeline_execution_arn {
        told.look("Made by", pipeline, None);
    }
    told.look("Endpoint", &change.endpoint, links.endpoint(&change.endpoint));
    told.next(news.next());
    told.actions = news.actions(change);
    Some(told)
}

/// How both did at the last look.
fn outcomes(change: &ExperimentStateChange) -> Vec<String> {
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
            1 => format!("1 outcome, {}", number(variant.outcomes.mean())),
            count => format!("{count} outcomes, on average {}", number(variant.outcomes.mean())),
        };
        lines.push(format!("{:width$}  {role:9}  {mean}", variant.variant_name));
    }
    if let Some(interval) = change.interval {
        lines.push(format!(
            "Candidate less champion: {}, between {} and {}",
            signed(interval.estimate),
            signed(interval.low),
            signed(interval.high)
        ));
    }
    for reason in &change.reasons {
        let words = reason.words();
        // What the sentence says already is not said again.
        if !change.sentence.contains(&words) {
            lines.push(format!("Found: {words}"));
        }
    }
    lines
}

/// That a monitor is held against another baseline.
pub(crate) fn baseline_change(change: &MonitorBaselineChange, links: &Links<'_>) -> Notification {
    let schedule = &change.monitoring_schedule;
    let mut told = about(&change.id, NotificationKind::Baseline, &change.model, change.time);
    told.monitoring_schedule = Some(schedule.clone());
    told.subject = format!("{}: monitor {schedule} has another baseline", change.model);
    told.what = format!(
        "Model {}: the {} monitor {schedule} is held against another baseline.",
        change.model, change.monitor_type
    );
    told.why = Some(change.sentence.clone());
    let constraints = format!("{}/constraints.json", change.baseline_uri.trim_end_matches('/'));
    told.look("Baseline", &change.baseline_uri, links.object(&constraints));
    if let Some(previous) = &change.previous_baseline_uri {
        told.look("Before", previous, None);
    }
    if let Some(package) = &change.model_package_arn {
        told.look("Model package", package, None);
    }
    told.next(&format!(
        "Executions scheduled after {} are held against it, and the monitor's alert window begins anew.",
        second(change.time)
    ));
    told.action(
        "Nothing has to be done. Its constraints are worth a look; the alert, and what it was held against:",
        &[
            format!("driftwarden alerts {schedule}"),
            format!("driftwarden experiment status {}", change.experiment_id),
        ],
    );
    told
}
