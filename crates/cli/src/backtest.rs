//! `driftwarden backtest`: replays past executions against one or more policies.

mod read;

use crate::{
    Exit, Streams,
    cloud::{Environment, json_line},
    error::Failure,
    table::Table,
};
use backtest::{Assumptions, Cell, Comparison, Delay, ModelReport, Total, cell, compare, plot, replay, total};
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

/// Description in `--help`. The examples are verbatim: a doc comment would change them.
const LONG_ABOUT: &str = r#"Replay past executions against a policy.

Runs a recorded history through the code that runs in Lambda, and reports per model: alerts, decisions, retrainings, delays, and cost. --against compares two policies. --sweep compares alert windows in a table and a plot. A backtest cannot know how a retraining would have changed later data: later executions are replayed unchanged.

HISTORY is a folder or s3:// prefix of Model Monitor reports, or a JSON Lines file (*.jsonl; - reads standard input).

Report layout:
  PREFIX/ENDPOINT/SCHEDULE/yyyy/mm/dd/hh/constraint_violations.json

One execution per line; endpoint, monitor_type, violations, and check_types are optional:
  {"schedule":"churn-dq","endpoint":"churn","scheduled_time":"2026-11-23T03:00:00Z","state":"Violations","violations":2}

state: Clean, Violations, NoData, Failed, Missing"#;

/// Replay past executions against a policy.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub struct Backtest {
    /// History: folder, s3:// prefix, or JSON Lines file.
    #[arg(value_name = "HISTORY", required = true)]
    history: Vec<String>,
    /// Policy file [default: the default settings].
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// Second policy file to compare with.
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    against: Option<String>,
    /// Alert windows to compare: m=1..5,n=1..10.
    #[arg(long, value_name = "M,N")]
    sweep: Option<Grid>,
    /// Duration of a retraining: 30m, 2h, 1d.
    #[arg(long, value_name = "DURATION", default_value = "2h")]
    retraining: String,
    /// Cost of one retraining.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0)]
    cost: f64,
    /// Assume that every approval request is granted immediately.
    #[arg(long)]
    assume_approved: bool,
    /// Risk rating of models whose rating the policy does not set: low, medium, high, unknown.
    #[arg(long, value_name = "RATING", default_value = "unknown")]
    risk_rating: String,
    /// Key or folder prefixes of the `S3OutputUri` of the schedules, separated by commas. They distinguish endpoints from
    /// batch transform.
    #[arg(long, value_name = "PREFIXES", default_value = "")]
    report_prefix: String,
    /// State of hours without a report between the first and the last report of a schedule.
    #[arg(long, value_name = "STATE", default_value = "clean", value_parser = ["clean", "missing"])]
    gaps: String,
    /// Write the plot of --sweep as an HTML page.
    #[arg(long, value_name = "FILE", requires = "sweep")]
    html: Option<String>,
    /// Write the plot of --sweep as an SVG image.
    #[arg(long, value_name = "FILE", requires = "sweep")]
    svg: Option<String>,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// Ranges of alert windows: `m=1..5,n=1..10`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grid {
    m: RangeInclusive<u8>,
    n: RangeInclusive<u8>,
}

impl std::str::FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected ranges from 1 to 100, such as m=1..5,n=1..10");
        let mut ranges = [None, None];
        for part in text.split(',') {
            let (name, range) = part.split_once('=').ok_or_else(expected)?;
            let (first, last) = range.split_once("..").unwrap_or((range, range));
            let number = |text: &str| text.trim().parse().ok().filter(|number| (1..=100).contains(number));
            let first: u8 = number(first).ok_or_else(expected)?;
            let last: u8 = number(last).filter(|last| *last >= first).ok_or_else(expected)?;
            let slot = match name.trim() {
                "m" => ranges.first_mut(),
                "n" => ranges.last_mut(),
                _ => None,
            };
            *slot.ok_or_else(expected)? = Some(first..=last);
        }
        match ranges {
            [Some(m), Some(n)] => Ok(Self { m, n }),
            _ => Err(expected()),
        }
    }
}

impl Grid {
    /// All windows (M, N) of the grid.
    fn windows(&self) -> Vec<(u8, u8)> {
        let windows = self.n.clone().flat_map(|n| self.m.clone().map(move |m| (m, n)));
        windows.filter(|(m, n)| m <= n).collect()
    }
}

/// JSON output.
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
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let policy = policy(self.policy.as_deref())?;
        let against = match self.against.as_deref() {
            Some(file) => Some(self::policy(Some(file))?),
            None => None,
        };
        let retraining = duration(&self.retraining).ok_or_else(|| {
            Failure::usage(
                format!("--retraining: `{}` is not a duration", self.retraining),
                "pass a duration: 30m, 2h, 1d",
            )
        })?;
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
            reader.read(name, env, streams).await?;
        }
        let (history, unread) = reader.finish(streams)?;
        if history.is_empty() {
            return Err(Failure::failed(
                "the history contains no executions: no monitor report and no JSON line",
                "pass the prefix of the reports, or a .jsonl file; `driftwarden backtest --help` shows the layout",
            ));
        }

        let windows = self.sweep.as_ref().map(Grid::windows).unwrap_or_default();
        let progress = Progress::new(1 + usize::from(against.is_some()) + windows.len());
        let models = replay(&history.models(&policy), &policy, &assumptions);
        progress.advance();
        let against = against.map(|policy| {
            let models = replay(&history.models(&policy), &policy, &assumptions);
            progress.advance();
            Against {
                total: total(&models, &history, &policy),
                models,
            }
        });
        let sweep = self.sweep.is_some().then(|| {
            let cells = in_parallel(&windows, |(m, n)| {
                let cell = cell(&history, &policy, *m, *n, &assumptions);
                progress.advance();
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
                    fs::write(file, page).map_err(|error| format!("{file}: failed to write: {error}"))?;
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
                    "Per model, policy {} → {}",
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
                        "retrainings per model and month",
                        both(|total| text::number(total.retrainings_per_model_and_month)),
                    ),
                    ("escalations", both(|total| total.escalations.to_string())),
                    ("approval requests", both(|total| total.waiting_for_people.to_string())),
                    (
                        "median alert delay (h)",
                        both(|total| total.median_alert_delay_hours.map_or_else(|| "–".into(), text::number)),
                    ),
                    ("cost", both(|total| text::number(total.cost))),
                ];
                let mut table = Table::new(["", "policy → against"]);
                for (name, value) in rows {
                    table.row([name.to_owned(), value]);
                }
                table.write(out)?;
            }
            (None, Some(cells)) => {
                writeln!(out, "Per window (datapoints to alert of evaluation period)")?;
                let header = [
                    "window",
                    "alerts",
                    "incidents",
                    "retrainings",
                    "per month",
                    "escalations",
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
                        text::number(total.retrainings_per_model_and_month),
                        total.escalations.to_string(),
                        total.median_alert_delay_hours.map_or_else(|| "–".into(), text::number),
                        text::number(total.cost),
                    ]);
                }
                table.write(out)?;
            }
            (None, None) => by_model(&answer.models, out)?,
        }
        writeln!(
            out,
            "\nA backtest cannot know how a retraining would have changed later data: later executions are replayed unchanged."
        )
    }
}

fn policy(file: Option<&str>) -> Result<Policy, Failure> {
    let Some(file) = file else {
        return Ok(Policy::default());
    };
    let bytes = fs::read(file).map_err(|error| format!("{file}: failed to read: {error}"))?;
    let policy = Policy::parse(&bytes).map_err(|error| format!("{file}: {}", machine::chain(&error)))?;
    Ok(policy)
}

/// Processes all items on all cores. The results are in the order of the items.
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

/// Progress of the replays, on a terminal.
struct Progress {
    done: AtomicUsize,
    total: usize,
    visible: bool,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self {
            done: AtomicUsize::new(0),
            total,
            visible: io::stderr().is_terminal() && total > 1,
        }
    }

    fn advance(&self) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        if self.visible {
            let filled = "█".repeat(done * 30 / self.total.max(1));
            let _shown = write!(io::stderr(), "\r{filled:<30} {done} of {} replays", self.total).is_ok();
        }
    }

    fn end(&self) {
        if self.visible {
            let _shown = write!(io::stderr(), "\r{:60}\r", "").is_ok();
        }
    }
}

fn summary(answer: &Answer) -> String {
    let total = &answer.total;
    let time = |time: &Option<String>| {
        let time = time.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        time.map_or_else(String::new, text::time)
    };
    let approvals = match total.waiting_for_people {
        0 => String::new(),
        requests => format!(", {}", text::count(requests, "approval request")),
    };
    format!(
        "{} of {} of {}, {} to {}.\nPolicy {}: {}, {}, {} ({} per model and month), {}{approvals}.",
        text::count(total.executions, "execution"),
        text::count(
            answer.models.iter().map(|model| model.monitors).sum::<usize>(),
            "monitor"
        ),
        text::count(answer.models.len(), "model"),
        time(&answer.first_scheduled_time),
        time(&answer.last_scheduled_time),
        total.policy_version,
        text::count(total.alerts, "alert"),
        text::count(total.incidents, "incident"),
        text::count(total.retrainings, "retraining"),
        text::number(total.retrainings_per_model_and_month),
        text::count(total.escalations, "escalation"),
    )
}

fn hours(delay: Option<Delay>) -> String {
    delay.map_or_else(
        || "–".to_owned(),
        |delay| {
            format!(
                "{} / {}",
                text::number(delay.median_hours),
                text::number(delay.worst_hours)
            )
        },
    )
}

fn list_counts(counts: &std::collections::BTreeMap<&'static str, usize>) -> String {
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    each.join(", ")
}

fn by_model(models: &[ModelReport], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Per model; delays in hours since the first violation, median / worst"
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
            list_counts(&report.decisions),
            list_counts(&report.incidents_closed),
            report.open.unwrap_or_default().to_owned(),
            if report.cost > 0.0 {
                text::number(report.cost)
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
        "escalations",
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
                    .map_or_else(|| "–".into(), |delay| text::number(delay.median_hours))
            }),
            both(|report| report.decisions_of("Escalate").to_string()),
            both(|report| text::number(report.cost)),
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
