//! History of a model, from its documents: the entries of the log, and the bars of the timeline.

use crate::{Documents, reason::past_sentence};
use alerting::AlertStatus;
use jiff::Timestamp;
use promotion::{Conclusion, Experiment};
use remediation::{ExecutionStatus, Incident, Outcome};

/// Subject of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Alert,
    Baseline,
    Incident,
    Decision,
    Retraining,
    Experiment,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "Alert",
            Self::Baseline => "Baseline",
            Self::Incident => "Incident",
            Self::Decision => "Decision",
            Self::Retraining => "Retraining",
            Self::Experiment => "Experiment",
        }
    }
}

/// Position of an entry among entries of the same second: causes come before effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Alert,
    Incident,
    Decision,
    Start,
    End,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    /// Sort key: the second of the entry, never before the second of its cause; then the position by cause.
    order: (i64, Cause),
    pub(crate) kind: Kind,
    /// CSS class: `good`, `bad`, or empty.
    pub(crate) class: &'static str,
    pub(crate) text: String,
    /// ARN or `s3://` URI of the resource.
    pub(crate) resource: Option<String>,
}

impl Entry {
    fn new(at: Timestamp, cause: Cause, kind: Kind, class: &'static str, text: String) -> Self {
        Self {
            at,
            order: (at.as_second(), cause),
            kind,
            class,
            text,
            resource: None,
        }
    }

    /// Sorts the entry after its cause. SageMaker's clock and Lambda's can differ by a second.
    fn not_before(mut self, cause: Option<Timestamp>) -> Self {
        if let Some(cause) = cause {
            self.order.0 = self.order.0.max(cause.as_second());
        }
        self
    }

    fn about(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }
}

/// A bar of the timeline. `to` is `None` while it lasts; `class` is the CSS class of its color.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) from: Timestamp,
    pub(crate) to: Option<Timestamp>,
    pub(crate) label: String,
    pub(crate) class: &'static str,
}

/// All entries that the documents contain, latest first.
pub(crate) fn log(documents: &Documents<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for ledger in documents.ledgers {
        let schedule = &ledger.monitor.schedule;
        for item in &ledger.history {
            let class = match item.status {
                AlertStatus::InAlert => "bad",
                AlertStatus::Ok => "good",
                AlertStatus::InsufficientData => "",
            };
            let text = format!("{schedule}: {}", item.status.as_str());
            entries.push(Entry::new(item.time, Cause::Alert, Kind::Alert, class, text));
        }
        if let Some(at) = ledger.restarted_at {
            let text = format!("{schedule} has a new baseline; its alert window restarted");
            entries.push(Entry::new(at, Cause::Alert, Kind::Baseline, "", text));
        }
    }
    if let Some(document) = documents.document {
        for closed in &document.closed {
            add_incident(&mut entries, &document.model, &closed.incident, true);
            let duration = text::duration(closed.closed_at.duration_since(closed.incident.opened_at));
            let class = if closed.outcome == Outcome::Resolved {
                ""
            } else {
                "good"
            };
            let text = format!(
                "{} closed: {}, after {duration}",
                closed.incident.id,
                closed.outcome.as_str()
            );
            entries.push(Entry::new(closed.closed_at, Cause::End, Kind::Incident, class, text));
        }
        if let Some(open) = &document.incident {
            add_incident(&mut entries, &document.model, open, false);
        }
    }
    if let Some(document) = documents.experiments {
        for ended in &document.ended {
            let end = Some((ended.conclusion, ended.ended_at));
            add_experiment(&mut entries, &ended.experiment, end);
        }
        if let Some(open) = &document.experiment {
            add_experiment(&mut entries, open, None);
        }
    }
    // The sort is stable: entries with the same key stay in the order of the code above.
    entries.sort_by_key(|entry| entry.order);
    entries.reverse();
    entries
}

fn add_incident(entries: &mut Vec<Entry>, model: &str, incident: &Incident, is_closed: bool) {
    let text = format!("{} opened by {}", incident.id, incident.monitors.join(", "));
    entries.push(Entry::new(
        incident.opened_at,
        Cause::Incident,
        Kind::Incident,
        "bad",
        text,
    ));
    if let Some(decision) = &incident.decision {
        let text = if is_closed {
            past_sentence(model, decision)
        } else {
            decision.sentence.clone()
        };
        entries.push(Entry::new(decision.time, Cause::Decision, Kind::Decision, "", text));
    }
    let Some(execution) = incident.execution() else { return };
    let cause = incident.retrain_decided_at();
    if let Some(at) = execution.start_time.or(cause) {
        let text = format!("{}: retraining started", incident.id);
        let entry = Entry::new(at, Cause::Start, Kind::Retraining, "", text);
        entries.push(entry.not_before(cause).about(&execution.arn));
    }
    if let Some(at) = execution.end_time {
        let class = match execution.status {
            ExecutionStatus::Succeeded => "good",
            _ => "bad",
        };
        let text = format!("{}: retraining {}", incident.id, execution.status.as_str());
        let entry = Entry::new(at, Cause::End, Kind::Retraining, class, text);
        entries.push(entry.not_before(cause).about(&execution.arn));
    }
}

fn add_experiment(entries: &mut Vec<Entry>, experiment: &Experiment, end: Option<(Conclusion, Timestamp)>) {
    let (id, package) = (&experiment.id, &experiment.package);
    let text = format!("{id}: version {} is a candidate", package.version);
    let opened = Entry::new(experiment.opened_at, Cause::Start, Kind::Experiment, "", text);
    entries.push(opened.about(&package.arn));
    if let Some(at) = experiment.started_at {
        let text = format!("{id}: champion and candidate are both in service");
        entries.push(Entry::new(at, Cause::Start, Kind::Experiment, "", text));
    }
    let (at, state, class) = match end {
        Some((conclusion, at)) => (
            at,
            conclusion.as_str(),
            crate::overview::conclusion_class(Some(conclusion)),
        ),
        None => (experiment.since, experiment.stage.as_str(), ""),
    };
    let text = format!("{id} {state}: {}", experiment.sentence);
    entries.push(Entry::new(at, Cause::End, Kind::Experiment, class, text).about(&package.arn));
}

/// Periods in which a monitor was in alert, from the transitions in its ledger.
pub(crate) fn alerts(ledger: &alerting::MonitorLedger) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for item in &ledger.history {
        match (item.status, bars.last_mut()) {
            (AlertStatus::InAlert, _) => bars.push(Bar {
                from: item.scheduled_time,
                to: None,
                label: "InAlert".to_owned(),
                class: "v",
            }),
            (_, Some(bar)) if bar.to.is_none() => bar.to = Some(item.scheduled_time),
            _ => {}
        }
    }
    bars
}

/// Bars of the three lanes: incidents, retrainings, and experiments.
pub(crate) fn lanes(documents: &Documents<'_>) -> [(&'static str, Vec<Bar>); 3] {
    let (mut incidents, mut retrainings, mut experiments) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(document) = documents.document {
        let closed = document
            .closed
            .iter()
            .map(|closed| (&closed.incident, Some(closed.closed_at)));
        let open = document.incident.iter().map(|incident| (incident, None));
        for (incident, to) in closed.chain(open) {
            incidents.push(Bar {
                from: incident.opened_at,
                to,
                label: incident.id.clone(),
                class: if to.is_some() { "n" } else { "v" },
            });
            let Some(execution) = incident.execution() else {
                continue;
            };
            let from = execution.start_time.or(incident.retrain_decided_at());
            retrainings.extend(from.map(|from| Bar {
                from,
                to: execution.end_time.or(to),
                label: execution.status.as_str().to_owned(),
                class: match execution.status {
                    ExecutionStatus::Succeeded => "c",
                    status if status.is_final() => "f",
                    _ => "n",
                },
            }));
        }
    }
    if let Some(document) = documents.experiments {
        experiments.extend(document.ended.iter().map(|ended| Bar {
            from: ended.experiment.opened_at,
            to: Some(ended.ended_at),
            label: ended.conclusion.as_str().to_owned(),
            class: match ended.conclusion {
                Conclusion::Promoted => "c",
                Conclusion::Invalid | Conclusion::Failed | Conclusion::Abandoned => "v",
                Conclusion::RolledBack | Conclusion::Rejected => "f",
                _ => "n",
            },
        }));
        experiments.extend(document.experiment.iter().map(|open| Bar {
            from: open.opened_at,
            to: None,
            label: open.stage.as_str().to_owned(),
            class: "n",
        }));
    }
    [
        ("Incidents", incidents),
        ("Retrainings", retrainings),
        ("Experiments", experiments),
    ]
}
