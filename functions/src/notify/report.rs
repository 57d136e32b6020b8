//! Notifications about a destination that fails, sent through another destination.

use crate::notify::{
    notification::{Form, Notification, ThreadStatus},
    queue::{DestinationQueue, Report},
    threads::identity,
};
use jiff::Timestamp;
use remediation::{Destination, NotificationRoute, NotificationSeverity};

/// Maximum number of undelivered notifications that a report lists.
const MAX_LISTED: usize = 20;

/// The destination that receives reports about another one: the first one of the policy that does not fail itself, or
/// else the deployment's topic. PagerDuty comes last, because no event resolves the report. `None` if there is no other
/// destination.
pub(crate) fn recipient(
    failing: &Destination,
    routes: &[NotificationRoute],
    is_failing: impl Fn(&Destination) -> bool,
) -> Option<Destination> {
    let topic = Destination::SnsText { topic: None };
    let pages = |to: &&Destination| matches!(to, Destination::PagerDuty { .. });
    let all = || routes.iter().map(|route| &route.destination);
    let ordered = all()
        .filter(|to| !pages(to))
        .chain(std::iter::once(&topic))
        .chain(all().filter(pages));
    let mut others = ordered.filter(|to| identity(to) != identity(failing));
    others.find(|to| !is_failing(to)).cloned()
}

/// The notification about a destination.
pub(crate) fn report_notification(to: &Destination, report: &Report, now: Timestamp) -> Notification {
    let key = DestinationQueue::key(to);
    let name = key.rsplit('/').next().and_then(|name| name.strip_suffix(".json"));
    let thread = format!("destination-{}", name.unwrap_or_default());
    let id = match report {
        Report::Failing { since, .. } => format!("{thread}-failing-{}", since.as_second()),
        Report::Lost { at, .. } => format!("{thread}-lost-{}", at.as_second()),
    };
    let mut notification = Notification::new(&id, Form::Single, now);
    notification.thread = thread;
    notification.status = ThreadStatus::Open;
    notification.severity = NotificationSeverity::Warning;
    match report {
        Report::Failing {
            since,
            attempts,
            pending,
            error,
        } => {
            let pending = text::count(*pending as u64, "notification");
            notification.subject = format!("notification destination fails: {to}");
            notification.what = format!("Notifications to {to} have failed since {}.", text::time(*since));
            notification.add_next(&format!(
                "{pending} pending. Driftwarden retries each for 72 h, with growing pauses, and then gives it up."
            ));
            notification.why = Some(format!(
                "{} in a row; the last error is: {error}",
                text::count(*attempts, "failure")
            ));
            notification.since = Some(*since);
        }
        Report::Lost { count, latest, .. } => {
            let lost = text::count(*count, "notification");
            notification.subject = format!("{lost} not delivered: {to}");
            notification.what = format!("{lost} to {to} could not be delivered.");
            notification.add_next("They are not sent again.");
            let mut lines: Vec<String> = latest.iter().take(MAX_LISTED).map(describe).collect();
            let more = count.saturating_sub(lines.len() as u64);
            if more > 0 {
                lines.push(format!("{} more", text::integer(more)));
            }
            notification.add_facts("Not delivered, latest first", lines);
            notification.add_action("Show the current state", &["driftwarden incidents".to_owned()]);
        }
    }
    notification.add_action("Fix the destination, its key, or its [[notification]] table.", &[]);
    notification.limit_size();
    notification
}

fn describe((subject, reason): &(String, String)) -> String {
    format!("{subject}: {reason}")
}
