//! What people are told of experiments: that one waits for them, begins, or is over. The steps between are in `driftwarden
//! experiment status`.

use crate::message::{Body, Links, Message, second, subject};
use promotion::{Conclusion, ExperimentStage, ExperimentStateChange, MonitorBaselineChange, number, signed};

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

    /// What people can do, commands indented.
    fn remedies(self, change: &ExperimentStateChange) -> Vec<String> {
        let id = &change.experiment_id;
        let command = |word: &str| format!("    driftwarden experiment {word}");
        let status = || command(&format!("status {}", change.model));
        let package = |status: &str| {
            let arn = &change.model_package_arn;
            format!("    aws sagemaker update-model-package --model-package-arn {arn} --model-approval-status {status}")
        };
        match self {
            Self::Approval => vec![
                "Approve or reject its model package:".to_owned(),
                package("Approved"),
                package("Rejected"),
            ],
            Self::Begun => vec![
                "Look on, or end it:".to_owned(),
                status(),
                command(&format!("stop {id} --reason \"…\"")),
            ],
            Self::Paused => vec![
                "Decide:".to_owned(),
                command(&format!("promote {id} --reason \"…\"")),
                command(&format!("rollback {id} --reason \"…\"")),
                "or let the comparison go on for as long again:".to_owned(),
                command(&format!("resume {id}")),
                "All that is known, and a picture of it:".to_owned(),
                command(&format!("status {id} --html {id}.html")),
            ],
            Self::Over(Conclusion::Promoted) => vec![
                "See what it was decided by:".to_owned(),
                command(&format!("status {id} --html {id}.html")),
                "How to bring the old champion back is what this says:".to_owned(),
                command(&format!("rollback {id} --dry-run")),
            ],
            Self::Over(Conclusion::RolledBack | Conclusion::Rejected | Conclusion::Stopped) => vec![
                "See what it was decided by:".to_owned(),
                command(&format!("status {id} --html {id}.html")),
            ],
            Self::Over(Conclusion::Invalid) => vec![
                "Find out why the variants did not get their shares: callers that repeat requests, a variant that answers none,"
                    .to_owned(),
                "or callers that choose the variant themselves (the policy's `assignment` is \"target-variant\" then):"
                    .to_owned(),
                command(&format!("status {id} --html {id}.html")),
            ],
            Self::Over(Conclusion::Inconclusive) => vec![
                "More traffic, a longer `maximum_duration`, or a larger `effect` would have said more; how long a test takes:"
                    .to_owned(),
                command("plan --help"),
                command(&format!("status {id} --html {id}.html")),
            ],
            Self::Over(Conclusion::Abandoned) => vec![
                "If nobody meant to change the endpoint, look who did. The experiment's endpoint configurations and its model, whose"
                    .to_owned(),
                "names begin with driftwarden-, are left, and may be deleted if the endpoint does not use them.".to_owned(),
                status(),
            ],
            Self::Over(Conclusion::Failed) => vec![
                format!(
                    "Look at the container's log, the log group /aws/sagemaker/Endpoints/{}.",
                    change.endpoint
                ),
                "A mended model is a new version of its model package group, and a candidate again.".to_owned(),
                status(),
            ],
        }
    }
}

/// The message of an experiment's change; `None` if nobody has to know.
pub(crate) fn state_message(change: &ExperimentStateChange, links: &Links<'_>) -> Option<Message> {
    let news = News::of(change)?;
    let mut body = Body::default();
    body.line(&format!(
        "Model {}: experiment {} {}.",
        change.model,
        change.experiment_id,
        news.said()
    ));
    body.line(&format!("Why: {}", change.sentence));
    outcomes(&mut body, change);
    body.section("Where to look");
    body.item(&format!("Candidate: {}", change.model_package_arn));
    if let Some(pipeline) = &change.pipeline_execution_arn {
        body.item(&format!("Made by: {pipeline}"));
    }
    body.endpoint(&change.endpoint, links);
    body.section("What happens next");
    body.item(news.next());
    body.section("What you can do");
    for line in news.remedies(change) {
        body.item(&line);
    }
    body.line(&format!("\n--\nEvent {}", change.id));
    Some(Message {
        subject: subject(&format!(
            "{}: {} ({})",
            change.model,
            news.subject(),
            change.experiment_id
        )),
        body: body.text,
    })
}

/// How both did at the last look.
fn outcomes(body: &mut Body, change: &ExperimentStateChange) {
    if change.outcome.is_none() {
        return;
    }
    body.section("Outcomes at the last look");
    let width = change
        .variants
        .iter()
        .map(|variant| variant.variant_name.chars().count())
        .max();
    let width = width.unwrap_or(0);
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
        body.item(&format!("{:width$}  {role:9}  {mean}", variant.variant_name));
    }
    if let Some(interval) = change.interval {
        body.item(&format!(
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
            body.item(&format!("Found: {words}"));
        }
    }
}

/// The message of a monitor that is held against another baseline.
pub(crate) fn baseline_message(change: &MonitorBaselineChange, links: &Links<'_>) -> Message {
    let schedule = &change.monitoring_schedule;
    let mut body = Body::default();
    body.line(&format!(
        "Model {}: the {} monitor {schedule} is held against another baseline.",
        change.model, change.monitor_type
    ));
    body.line(&format!("Why: {}", change.sentence));
    body.section("Where to look");
    body.item(&format!("Baseline: {}", change.baseline_uri));
    let constraints = format!("{}/constraints.json", change.baseline_uri.trim_end_matches('/'));
    if let Some(link) = links.object(&constraints) {
        body.item(&format!("        {link}"));
    }
    if let Some(previous) = &change.previous_baseline_uri {
        body.item(&format!("Before: {previous}"));
    }
    if let Some(package) = &change.model_package_arn {
        body.item(&format!("Model package: {package}"));
    }
    body.section("What happens next");
    body.item(&format!(
        "Executions scheduled after {} are held against it, and the monitor's alert window begins anew.",
        second(change.time)
    ));
    body.section("What you can do");
    body.item("Nothing has to be done. Its constraints are worth a look; the alert, and what it was held against:");
    body.item(&format!("    driftwarden alerts {schedule}"));
    body.item(&format!("    driftwarden experiment status {}", change.experiment_id));
    body.line(&format!("\n--\nEvent {}", change.id));
    Message {
        subject: subject(&format!("{}: monitor {schedule} has another baseline", change.model)),
        body: body.text,
    }
}
