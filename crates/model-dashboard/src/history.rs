//! What happened to a model, out of its documents: the entries of the page's log, and the bars of its timeline.

use crate::{Documents, frame::lasting};
use alerting::AlertStatus;
use jiff::Timestamp;
use promotion::{Conclusion, Experiment};
use remediation::{Incident, Outcome};

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) kind: Kind,
    /// Good, bad, or neither.
    pub(crate) class: &'static str,
    pub(crate) what: String,
    /// An ARN or an `s3://` URI to look further at.
    pub(crate) about: Option<String>,
}

/// A bar of the timeline: from when to when (none while it lasts), what it is, and how it is coloured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) from: Timestamp,
    pub(crate) to: Option<Timestamp>,
    pub(crate) label: String,
    pub(crate) class: &'static str,
}

/// Everything that the documents still know, the latest first.
pub(crate) fn log(documents: &Documents<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for ledger in documents.ledgers {
        let schedule = &ledger.monitor.schedule;
        for item in &ledger.history {
            entries.push(Entry {
                at: item.time,
                kind: Kind::Alert,
                class: match item.status {
                    AlertStatus::InAlert => "bad",
                    AlertStatus::Ok => "good",
                    AlertStatus::InsufficientData => "",
                },
                what: format!("{schedule}: {}", item.status.as_str()),
                about: None,
            });
        }
        if let Some(at) = ledger.restarted_at {
            entries.push(Entry {
                at,
                kind: Kind::Baseline,
                class: "",
                what: format!("{schedule} is held against another baseline; its alert window begins anew"),
                about: None,
            });
        }
    }
    if let Some(document) = documents.document {
        for closed in &document.closed {
            of_incident(&mut entries, &closed.incident);
            let after = lasting(closed.closed_at.duration_since(closed.incident.opened_at));
            entries.push(Entry {
                at: closed.closed_at,
                kind: Kind::Incident,
                class: if closed.outcome == Outcome::Resolved {
                    ""
                } else {
                    "good"
                },
                what: format!(
                    "{} closed: {}, after {after}",
                    closed.incident.id,
                    closed.outcome.as_str()
                ),
                about: None,
            });
        }
        if let Some(open) = &document.incident {
            of_incident(&mut entries, open);
        }
    }
    if let Some(document) = documents.experiments {
        for ended in &document.ended {
            of_experiment(
                &mut entries,
                &ended.experiment,
                Some((ended.conclusion, ended.ended_at)),
            );
        }
        if let Some(open) = &document.experiment {
            of_experiment(&mut entries, open, None);
        }
    }
    entries.sort_by(|a, b| b.at.cmp(&a.at).then(b.kind.cmp(&a.kind)));
    entries
}

fn of_incident(entries: &mut Vec<Entry>, incident: &Incident) {
    entries.push(Entry {
        at: incident.opened_at,
        kind: Kind::Incident,
        class: "bad",
        what: format!("{} opened by {}", incident.id, incident.monitors.join(", ")),
        about: None,
    });
    if let Some(decision) = &incident.decision {
        entries.push(Entry {
            at: decision.time,
            kind: Kind::Decision,
            class: "",
            what: decision.sentence.clone(),
            about: None,
        });
    }
    if let Some(run) = &incident.execution {
        let begun = run.start_time.or(incident.retrain_decided_at);
        entries.extend(begun.map(|at| Entry {
            at,
            kind: Kind::Retraining,
            class: "",
            what: format!("{}: retraining started", incident.id),
            about: Some(run.arn.clone()),
        }));
        entries.extend(run.end_time.map(|at| Entry {
            at,
            kind: Kind::Retraining,
            class: if run.status == remediation::ExecutionStatus::Succeeded {
                "good"
            } else {
                "bad"
            },
            what: format!("{}: retraining {}", incident.id, run.status.as_str()),
            about: Some(run.arn.clone()),
        }));
    }
}

fn of_experiment(entries: &mut Vec<Entry>, experiment: &Experiment, ended: Option<(Conclusion, Timestamp)>) {
    let about = Some(experiment.package.arn.clone());
    entries.push(Entry {
        at: experiment.opened_at,
        kind: Kind::Experiment,
        class: "",
        what: format!(
            "{}: version {} is a candidate",
            experiment.id, experiment.package.version
        ),
        about: about.clone(),
    });
    entries.extend(experiment.started_at.map(|at| Entry {
        at,
        kind: Kind::Experiment,
        class: "",
        what: format!("{}: champion and candidate are both in service", experiment.id),
        about: None,
    }));
    match ended {
        Some((conclusion, at)) => entries.push(Entry {
            at,
            kind: Kind::Experiment,
            class: crate::overview::conclusion_class(Some(conclusion)),
            what: format!("{} {}: {}", experiment.id, conclusion.as_str(), experiment.sentence),
            about,
        }),
        None => entries.push(Entry {
            at: experiment.since,
            kind: Kind::Experiment,
            class: "",
            what: format!(
                "{} {}: {}",
                experiment.id,
                experiment.stage.as_str(),
                experiment.sentence
            ),
            about,
        }),
    }
}

/// When a monitor was in alert, by its kept transitions.
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

/// The incidents, their retrainings, and the experiments, each as a lane of bars.
pub(crate) fn lanes(documents: &Documents<'_>) -> [(&'static str, Vec<Bar>); 3] {
    let (mut incidents, mut retrainings, mut experiments) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(document) = documents.document {
        let closed = document.closed.iter().map(|of| (&of.incident, Some(of.closed_at)));
        let open = document.incident.iter().map(|of| (of, None));
        for (incident, to) in closed.chain(open) {
            incidents.push(Bar {
                from: incident.opened_at,
                to,
                label: incident.id.clone(),
                class: if to.is_some() { "n" } else { "v" },
            });
            let Some(run) = &incident.execution else { continue };
            let from = run.start_time.or(incident.retrain_decided_at);
            retrainings.extend(from.map(|from| Bar {
                from,
                to: run.end_time.or(to),
                label: run.status.as_str().to_owned(),
                class: match run.status {
                    remediation::ExecutionStatus::Succeeded => "c",
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
