//! `driftwarden backtest`: what would have been, under this policy or another.

mod read;

use crate::{
    Exit, Streams,
    cloud::{Failure, Surroundings, json_line},
    table::Table,
};
use backtest::{Assumptions, Cell, Comparison, Delay, History, ModelReport, Total, cell, compare, plot, replay, total};
use remediation::{Policy, RiskRating, duration};
use serde::Serialize;
use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    ops::RangeInclusive,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Replay a history of monitoring executions through the code that runs in Lambda.
///
/// Says by model what would have come of a policy: alerts, decisions, retrainings, how late they were, and what they cost.
/// With --against, the same of another policy beside it; with --sweep, a table and a plot of many windows.
///
/// A history cannot show what a retraining would have changed: what was recorded after it is taken as it was.
///
/// HISTORY is a folder or an s3:// prefix of Model Monitor's reports, as monitors write them
/// (…/{`endpoint}/{schedule}/yyyy/mm/dd/hh/constraint_violations.json`), or JSON Lines (*.jsonl, or - for standard input) with
/// one execution a line: {"schedule", "endpoint"?, "`monitor_type`"?, "`scheduled_time`", "state": Clean | Violations | `NoData` |
/// Failed | Missing, "violations"?, "`check_types"?`: […]}.
#[derive(Debug, clap::Args)]
pub struct Backtest {
    /// Where the history is.
    #[arg(value_name = "HISTORY", required = true)]
    history: Vec<String>,
    /// The policy; without one the defaults.
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// Another policy, shown beside it.
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    against: Option<String>,
    /// Windows to try: m=1..5,n=1..10.
    #[arg(long, value_name = "M,N")]
    sweep: Option<Grid>,
    /// How long a retraining takes: 30m, 2h, 1d.
    #[arg(long, value_name = "DURATION", default_value = "2h")]
    retraining: String,
    /// What a retraining costs.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0)]
    cost: f64,
    /// A person approves whatever they are asked, at once.
    #[arg(long)]
    assume_approved: bool,
    /// The risk rating of models whose rating the policy does not say: low, medium, high, unknown.
    #[arg(long, value_name = "RATING", default_value = "unknown")]
    risk_rating: String,
    /// Key or folder prefixes of the monitors' `S3OutputUri`, separated by commas; they tell endpoints from batch transform.
    #[arg(long, value_name = "PREFIXES", default_value = "")]
    report_prefix: String,
    /// What hours without a report are, between the first and the last of a schedule's: clean, missing.
    #[arg(long, value_name = "STATE", default_value = "clean", value_parser = ["clean", "missing"])]
    gaps: String,
    /// Write the plot of --sweep as a page.
    #[arg(long, value_name = "FILE", requires = "sweep")]
    html: Option<String>,
    /// Write the plot of --sweep as a picture.
    #[arg(long, value_name = "FILE", requires = "sweep")]
    svg: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// `m=1..5,n=1..10`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grid {
    m: RangeInclusive<u8>,
    n: RangeInclusive<u8>,
}

impl std::str::FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not like m=1..5,n=1..10 (from 1 to 100)");
        let mut ranges = [None, None];
        for part in text.split(',') {
            let (name, range) = part.split_once('=').ok_or_else(expected)?;
            let (first, last) = range.split_once("..").unwrap_or((range, range));
            let number = |text: &str| text.trim().parse().ok().filter(|number| (1..=100).contains(number));
            let first: u8 = number(first).ok_or_else(expected)?;
            let last: u8 = number(last).filter(|last| *last >= first).ok_or_else(expected)?;
            let of = match name.trim() {
                "m" => ranges.first_mut(),
                "n" => ranges.last_mut(),
                _ => None,
            };
            *of.ok_or_else(expected)? = Some(first..=last);
        }
        match ranges {
            [Some(m), Some(n)] => Ok(Self { m, n }),
            _ => Err(expected()),
        }
    }
}

impl Grid {
    /// Every window of the grid, M and N.
    fn windows(&self) -> Vec<(u8, u8)> {
        let windows = self.n.clone().flat_map(|n| self.m.clone().map(move |m| (m, n)));
        windows.filter(|(m, n)| m <= n).collect()
    }
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    first_scheduled_time: Option<String>,
    last_scheduled_time: Option<String>,
    total: Total,
    models: Vec<ModelReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Vec<Cell>>,
}

#[derive(Serialize)]
struct Against {
    total: Total,
    models: Vec<ModelReport>,
}

impl Backtest {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let policy = policy(self.policy.as_deref())?;
        let against = match self.against.as_deref() {
            Some(file) => Some(self::policy(Some(file))?),
            None => None,
        };
        let retraining = duration(&self.retraining)
            .ok_or_else(|| Failure::Usage(format!("--retraining: `{}` is not like 30m, 2h, 1d", self.retraining)))?;
        let assumptions = Assumptions {
            retraining,
            approved: self.assume_approved,
            risk_rating: RiskRating::parse(&self.risk_rating),
            cost: self.cost,
        };
        let prefixes: Vec<String> = self
            .report_prefix
            .split(',')
            .map(|prefix| prefix.trim().trim_matches('/').to_owned())
            .filter(|prefix| !prefix.is_empty())
            .collect();
        let mut reader = read::Reader::new(prefixes, &self.gaps);
        for name in &self.history {
            reader.read(name, around, streams).await?;
        }
        let (history, unread) = reader.finish(streams)?;
        if history.is_empty() {
            return Err(Failure::Said(
                "there is no execution in the history: neither a report of a monitor nor a line of JSON Lines".into(),
            ));
        }

        let windows = self.sweep.as_ref().map(Grid::windows).unwrap_or_default();
        let progress = Progress::new(1 + usize::from(against.is_some()) + windows.len());
        let models = all(&history, &policy, &assumptions);
        progress.one_more();
        let against = against.map(|policy| {
            let models = all(&history, &policy, &assumptions);
            progress.one_more();
            Against {
                total: total(&models, &history, &policy),
                models,
            }
        });
        let sweep = self.sweep.is_some().then(|| {
            let cells = in_parallel(&windows, |(m, n)| {
                let cell = cell(&history, &policy, *m, *n, &assumptions);
                progress.one_more();
                cell
            });
            progress.end();
            cells
        });
        progress.end();
        let span = history.span();
        let answer = Answer {
            first_scheduled_time: span.map(|(first, _)| first.to_string()),
            last_scheduled_time: span.map(|(_, last)| last.to_string()),
            total: total(&models, &history, &policy),
            models,
            against,
            sweep,
        };
        if let Some(cells) = &answer.sweep {
            let summary = summary(&answer);
            let pages = [(&self.html, plot::html(cells, &summary)), (&self.svg, plot::svg(cells))];
            for (file, page) in pages {
                if let Some(file) = file {
                    fs::write(file, page).map_err(|error| format!("{file} cannot be written: {error}"))?;
                }
            }
        }
        if self.json {
            json_line(streams.out, &answer)?;
        } else {
            Self::show(&answer, streams.out)?;
        }
        Ok(if unread { Exit::Failed } else { Exit::Done })
    }

    fn show(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}\n", summary(answer))?;
        match (&answer.against, &answer.sweep) {
            (Some(against), _) => {
                writeln!(
                    out,
                    "By model, policy {} → {}",
                    answer.total.policy_version, against.total.policy_version
                )?;
                side_by_side(&compare(&answer.models, &against.models), out)?;
                writeln!(out, "\nAll models")?;
                let both = |of: fn(&Total) -> String| arrow(&of(&answer.total), &of(&against.total));
                let rows = [
                    ("alerts", both(|total| total.alerts.to_string())),
                    ("incidents", both(|total| total.incidents.to_string())),
                    ("retrainings", both(|total| total.retrainings.to_string())),
                    (
                        "retrainings of one model in a month",
                        both(|total| format!("{:.2}", total.retrainings_per_model_and_month)),
                    ),
                    ("escalations", both(|total| total.escalations.to_string())),
                    ("people asked", both(|total| total.waiting_for_people.to_string())),
                    (
                        "median delay of an alert (h)",
                        both(|total| {
                            total
                                .median_alert_delay_hours
                                .map_or_else(|| "–".into(), |hours| format!("{hours:.1}"))
                        }),
                    ),
                    ("cost", both(|total| format!("{:.2}", total.cost))),
                ];
                let mut table = Table::new(["", "policy → against"]);
                for (name, value) in rows {
                    table.row([name.to_owned(), value]);
                }
                table.write(out)?;
            }
            (None, Some(cells)) => {
                writeln!(out, "By window, datapoints to alert of evaluation period")?;
                let header = [
                    "window",
                    "alerts",
                    "incidents",
                    "retrainings",
                    "a month",
                    "escalated",
                    "delay (h)",
                    "cost",
                ];
                let mut table = Table::new(header);
                for cell in cells {
                    let total = &cell.total;
                    table.row([
                        format!("{} of {}", cell.datapoints_to_alert, cell.evaluation_period),
                        total.alerts.to_string(),
                        total.incidents.to_string(),
                        total.retrainings.to_string(),
                        format!("{:.2}", total.retrainings_per_model_and_month),
                        total.escalations.to_string(),
                        total
                            .median_alert_delay_hours
                            .map_or_else(|| "–".into(), |hours| format!("{hours:.1}")),
                        format!("{:.2}", total.cost),
                    ]);
                }
                table.write(out)?;
            }
            (None, None) => by_model(&answer.models, out)?,
        }
        writeln!(
            out,
            "\nA history cannot show what a retraining would have changed: what was recorded after it is taken as it was."
        )
    }
}

fn policy(file: Option<&str>) -> Result<Policy, Failure> {
    let Some(file) = file else {
        return Ok(Policy::default());
    };
    let bytes = fs::read(file).map_err(|error| format!("{file} cannot be read: {error}"))?;
    let policy = Policy::parse(&bytes).map_err(|error| format!("{file}: {}", shell::chain(&error)))?;
    Ok(policy)
}

/// Every model under a policy, on all cores.
fn all(history: &History, policy: &Policy, assumptions: &Assumptions) -> Vec<ModelReport> {
    let models: Vec<_> = history.models(policy).into_iter().collect();
    in_parallel(&models, |(model, monitors)| {
        replay(model, monitors, policy, assumptions)
    })
}

/// Does something with every item on all cores; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else {
                        break;
                    };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How far the replays are, on a terminal.
struct Progress {
    done: AtomicUsize,
    of: usize,
    watched: bool,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self {
            done: AtomicUsize::new(0),
            of,
            watched: io::stderr().is_terminal() && of > 1,
        }
    }

    fn one_more(&self) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        if self.watched {
            let filled = "█".repeat(done * 30 / self.of.max(1));
            let _shown = write!(io::stderr(), "\r{filled:<30} {done} of {} replays", self.of).is_ok();
        }
    }

    fn end(&self) {
        if self.watched {
            let _shown = write!(io::stderr(), "\r{:60}\r", "").is_ok();
        }
    }
}

fn summary(answer: &Answer) -> String {
    let total = &answer.total;
    let time = |time: &Option<String>| time.clone().unwrap_or_default();
    let asked = match total.waiting_for_people {
        0 => String::new(),
        asked => format!("; {asked} times a person would have been asked"),
    };
    format!(
        "{} executions of {} monitors of {} models, {} to {}.\nPolicy {}: {} alerts, {} incidents, {} retrainings ({:.2} of \
         one model in a month), {} escalations{asked}.",
        total.executions,
        answer.models.iter().map(|model| model.monitors).sum::<usize>(),
        answer.models.len(),
        time(&answer.first_scheduled_time),
        time(&answer.last_scheduled_time),
        total.policy_version,
        total.alerts,
        total.incidents,
        total.retrainings,
        total.retrainings_per_model_and_month,
        total.escalations,
    )
}

fn hours(delay: Option<Delay>) -> String {
    delay.map_or_else(
        || "–".to_owned(),
        |delay| format!("{:.1} / {:.1}", delay.median_hours, delay.worst_hours),
    )
}

fn counted(counts: &std::collections::BTreeMap<&'static str, usize>) -> String {
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    each.join(", ")
}

fn by_model(models: &[ModelReport], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "By model; delays in hours, median / worst, from the first violation"
    )?;
    let header = [
        "model",
        "executions",
        "violations",
        "alerts",
        "incidents",
        "retrainings",
        "to alert",
        "to retraining",
        "decisions",
        "closed",
        "open",
        "cost",
    ];
    let mut table = Table::new(header);
    for report in models {
        table.row([
            report.model.clone(),
            report.executions.to_string(),
            report.violations.to_string(),
            report.alerts.to_string(),
            report.incidents.to_string(),
            report.retrainings.to_string(),
            hours(report.alert_delay),
            hours(report.retraining_delay),
            counted(&report.decisions),
            counted(&report.incidents_closed),
            report.open.unwrap_or_default().to_owned(),
            if report.cost > 0.0 {
                format!("{:.2}", report.cost)
            } else {
                String::new()
            },
        ]);
    }
    table.write(out)
}

fn side_by_side(models: &[Comparison], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new([
        "model",
        "alerts",
        "incidents",
        "retrainings",
        "to alert (h)",
        "escalated",
        "cost",
    ]);
    for comparison in models {
        let both = |of: fn(&ModelReport) -> String| {
            let of = |report: &Option<ModelReport>| report.as_ref().map_or_else(|| "–".to_owned(), of);
            arrow(&of(&comparison.policy), &of(&comparison.against))
        };
        table.row([
            comparison.model.clone(),
            both(|report| report.alerts.to_string()),
            both(|report| report.incidents.to_string()),
            both(|report| report.retrainings.to_string()),
            both(|report| {
                report
                    .alert_delay
                    .map_or_else(|| "–".into(), |delay| format!("{:.1}", delay.median_hours))
            }),
            both(|report| report.decisions_of("Escalate").to_string()),
            both(|report| format!("{:.2}", report.cost)),
        ]);
    }
    table.write(out)
}

fn arrow(before: &str, after: &str) -> String {
    if before == after {
        before.to_owned()
    } else {
        format!("{before} → {after}")
    }
}
