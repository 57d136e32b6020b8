//! `driftwarden baseline` and `driftwarden analyze`: the analyses, by hand.

mod inputs;
mod places;

use crate::{
    Exit, Streams,
    cloud::{Failure, Surroundings, counted, json_line},
    table::{Table, plain},
};
use analysis::{Profile, page};
use analyzer::{
    Dataset, Outcome, ReadOptions, Report,
    job::{self, DataQualityJob, DataQualityOptions, JobError},
};
use inputs::{InputArgs, read_all};
use places::{Place, read_baseline, write_report};
use serde::Serialize;

/// So many violations, and columns, are shown; the files have all.
const SHOWN: usize = 20;

/// Make a baseline of a dataset: its statistics, and the constraints that they suggest.
///
/// DATASET is a CSV, JSON Lines, Parquet or data capture file, plain or gzip, a folder of such, or an s3:// object or
/// prefix; several are one dataset. Writes statistics.json and constraints.json, as Model Monitor's own baseline job does.
#[derive(Debug, clap::Args)]
pub struct Baseline {
    #[command(flatten)]
    input: InputArgs,
    /// The folder, or s3:// prefix, to write the files to.
    #[arg(long, short, value_name = "DIR")]
    output: String,
}

/// Hold a dataset against a baseline.
///
/// DATASET is as for `baseline`. Writes statistics.json, constraints.json, drift.json and, if there are violations,
/// `constraint_violations.json`, as Model Monitor's own executions do. Exit code 0: clean, 2: violations, 3: no data,
/// 1: failed.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command")]
pub struct Analyze {
    #[command(flatten)]
    input: InputArgs,
    /// The folder, or s3:// prefix, of the baseline's files.
    #[arg(long, short, value_name = "DIR")]
    baseline: String,
    /// The folder, or s3:// prefix, to write the report to.
    #[arg(long, short, value_name = "DIR")]
    output: String,
    /// Take whole numbers for fractional ones, and any value for text, in the data type check.
    #[arg(long)]
    lenient_types: bool,
    /// Compute distances of numbers as Deequ does, which hardly sees drift in columns of few different numbers.
    #[arg(long)]
    deequ_compat: bool,
    /// Report drift only where it is significant, with so many false alarms among all alarms at most (Benjamini and
    /// Hochberg): 0.05.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    false_discovery_rate: Option<f64>,
    /// Write the report as a page too: report.html.
    #[arg(long)]
    html: bool,
    /// Write the report as a page, and open it.
    #[arg(long)]
    open: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate < 1.0);
    rate.ok_or_else(|| "expected a number between 0 and 1".to_owned())
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self::Said(error.to_string())
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    monitor_type: &'a str,
    outcome: &'a str,
    item_count: u64,
    violations: &'a [analysis::ConstraintViolation],
    notes: &'a [String],
    files: Vec<String>,
}

impl Baseline {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let output = Place::parse(&self.output)?;
        let options = self.input.options(Vec::new());
        let dataset: Dataset<Profile> = read_all(&self.input, &options, around, streams, Profile::default).await?;
        let report = DataQualityJob::default().baseline(&dataset)?;
        tell(&report, streams)?;
        let files = write_report(&output, report.all_files(), around).await?;
        let columns = dataset.sink.columns().len();
        writeln!(
            streams.out,
            "baseline of {} and {}:",
            counted_rows(report.item_count),
            counted(columns, "column")
        )?;
        for file in files {
            writeln!(streams.out, "  {}", plain(&file))?;
        }
        Ok(Exit::Done)
    }
}

fn counted_rows(rows: u64) -> String {
    format!("{rows} row{}", if rows == 1 { "" } else { "s" })
}

/// Tells what is wrong with the data.
fn tell(report: &Report, streams: &mut Streams<'_>) -> Result<(), Failure> {
    for note in &report.notes {
        writeln!(streams.err, "note: {}", plain(note))?;
    }
    Ok(())
}

impl Analyze {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let output = Place::parse(&self.output)?;
        let baseline = read_baseline(&Place::parse(&self.baseline)?, around).await?;
        let options: ReadOptions = self.input.options(baseline.columns());
        let dataset: Dataset<Profile> = read_all(&self.input, &options, around, streams, Profile::default).await?;
        let job = DataQualityJob {
            options: DataQualityOptions {
                lenient_types: self.lenient_types,
                deequ_compat: self.deequ_compat,
                false_discovery_rate: self.false_discovery_rate,
            },
        };
        let (report, compared) = job.analyze(&dataset, &baseline)?;
        tell(&report, streams)?;
        let mut files = report.all_files();
        if self.html || self.open {
            files.push(analyzer::ReportFile {
                name: "report.html",
                content: self.page(&report, &compared, &baseline).into_bytes(),
            });
        }
        let files = write_report(&output, files, around).await?;
        let exit = match report.outcome() {
            Outcome::Clean => Exit::Done,
            Outcome::Violations(_) => Exit::Violations,
            Outcome::NoData => Exit::NoData,
        };
        if self.json {
            json_line(
                streams.out,
                &Answer {
                    monitor_type: report.monitor_type.as_str(),
                    outcome: match exit {
                        Exit::Done => "Clean",
                        Exit::Violations => "Violations",
                        _ => "NoData",
                    },
                    item_count: report.item_count,
                    violations: &report.violations,
                    notes: &report.notes,
                    files: files.clone(),
                },
            )?;
        } else {
            summary(&report, &compared, &files, streams)?;
        }
        if self.open {
            places::open(&files, streams)?;
        }
        Ok(exit)
    }

    fn page(&self, report: &Report, compared: &job::Compared, baseline: &job::Baseline) -> String {
        page::render(&page::Page {
            title: "Data quality",
            datasets: &self.input.datasets,
            baseline: baseline.statistics.as_ref(),
            current: &compared.statistics,
            violations: &report.violations,
            drift: &compared.drift,
            notes: &report.notes,
        })
    }
}

/// What a person wants to know: the verdict, the violations, the columns that drifted most.
fn summary(
    report: &Report,
    compared: &job::Compared,
    files: &[String],
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let verdict = match report.outcome() {
        Outcome::Clean => "clean".to_owned(),
        Outcome::Violations(count) => counted(count, "violation"),
        Outcome::NoData => "no data, which is not clean".to_owned(),
    };
    let rows = counted_rows(report.item_count);
    writeln!(streams.out, "{}: {rows}, {verdict}", report.monitor_type)?;
    let mut table = Table::new(["feature", "check", "description"]);
    for violation in report.violations.iter().take(SHOWN) {
        table.row([
            violation.subject().to_owned(),
            violation.constraint_check_type.clone(),
            violation.description.clone(),
        ]);
    }
    table.write(streams.out)?;
    if report.violations.len() > SHOWN {
        writeln!(streams.out, "  … and {} more", report.violations.len() - SHOWN)?;
    }
    let mut drift: Vec<_> = compared.drift.iter().collect();
    drift.sort_by(|a, b| (b.distance - b.threshold).total_cmp(&(a.distance - a.threshold)));
    if !drift.is_empty() {
        writeln!(streams.out, "farthest from the baseline:")?;
    }
    let mut table = Table::new(["column", "distance", "threshold", ""]);
    for drift in drift.into_iter().take(5) {
        table.row([
            drift.name.clone(),
            format!("{:.4}", drift.distance),
            format!("{}", drift.threshold),
            if drift.drifted { "drifted" } else { "" }.to_owned(),
        ]);
    }
    table.write(streams.out)?;
    for file in files {
        writeln!(streams.out, "  {}", plain(file))?;
    }
    Ok(())
}
