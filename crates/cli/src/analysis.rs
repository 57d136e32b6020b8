//! `driftwarden baseline` and `driftwarden analyze`: the analyses, by hand.

mod inputs;
mod places;
mod prediction;

use crate::{
    Exit, Streams,
    cloud::{Failure, Surroundings, counted, json_line},
    table::{Table, plain},
};
use analysis::{ConstraintViolation, Profile, metric::MetricValue, page};
use analyzer::{
    Dataset, Outcome, ReadOptions, Report,
    job::{self, DataQualityJob, DataQualityOptions, JobError},
};
use inputs::{InputArgs, read_all};
use model_monitor::MonitorType;
pub(crate) use places::open_page;
use places::{Place, read_baseline, write_report};
use prediction::PredictionArgs;
use serde::Serialize;

/// So many violations, and columns, are shown; the files have all.
const SHOWN: usize = 20;

/// Make a baseline of a dataset: its statistics, and the constraints that they suggest.
///
/// DATASET is a CSV, JSON Lines, Parquet or data capture file, plain or gzip, a folder of such, or an s3:// object or
/// prefix; several are one dataset. Writes statistics.json and constraints.json, for bias and feature attributions
/// analysis.json, as Model Monitor's own baseline jobs do.
#[derive(Debug, clap::Args)]
pub struct Baseline {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    prediction: PredictionArgs,
    /// The folder, or s3:// prefix, to write the files to.
    #[arg(long, short, value_name = "DIR")]
    output: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Hold a dataset against a baseline.
///
/// DATASET is as for `baseline`. Writes statistics.json, constraints.json and drift.json, or the files of the other
/// analyses, and, if there are violations, `constraint_violations.json`, as Model Monitor's own executions do. Exit code 0: clean, 2: violations, 3: no data,
/// 1: failed.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command")]
pub struct Analyze {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    prediction: PredictionArgs,
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
    violations: &'a [ConstraintViolation],
    notes: &'a [String],
    files: Vec<String>,
}

/// What `--json` prints of a baseline.
#[derive(Serialize)]
struct Made<'a> {
    monitor_type: &'a str,
    item_count: u64,
    notes: &'a [String],
    files: Vec<String>,
}

impl Baseline {
    /// Runs the command.
    pub(crate) async fn run(&self, around: &impl Surroundings, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let output = Place::parse(&self.output)?;
        let kind = self.prediction.monitor_type.unwrap_or(MonitorType::DataQuality);
        let (report, of) = if kind == MonitorType::DataQuality {
            self.prediction.refuse()?;
            let options = self.input.options(Vec::new());
            let dataset: Dataset<Profile> =
                read_all(&self.input.datasets, &options, around, streams, Profile::default).await?;
            let columns = counted(dataset.sink.columns().len(), "column");
            (DataQualityJob::default().baseline(&dataset)?, format!(" and {columns}"))
        } else {
            let report = self.prediction.report(kind, &self.input, None, around, streams).await?;
            (report, String::new())
        };
        tell(&report, streams)?;
        let files = write_report(&output, report.all_files(), report.violations_file(), around).await?;
        if self.json {
            let made = Made {
                monitor_type: kind.as_str(),
                item_count: report.item_count,
                notes: &report.notes,
                files,
            };
            json_line(streams.out, &made)?;
            return Ok(Exit::Done);
        }
        let rows = counted_rows(report.item_count);
        writeln!(streams.out, "{kind} baseline of {rows}{of}:")?;
        if kind != MonitorType::DataQuality {
            measured(&report, streams)?;
        }
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
        let kind = self.prediction.type_of(&baseline)?;
        let (report, compared, page) = if kind == MonitorType::DataQuality {
            self.prediction.refuse()?;
            let (report, compared) = self.data_quality(&baseline, around, streams).await?;
            let page = (self.html || self.open).then(|| self.page(&report, &compared, &baseline));
            (report, Some(compared), page)
        } else {
            self.refuse(kind)?;
            let baseline = Some(baseline);
            let report = self
                .prediction
                .report(kind, &self.input, baseline, around, streams)
                .await?;
            (report, None, None)
        };
        tell(&report, streams)?;
        let mut files = report.all_files();
        files.extend(page.map(|page| analyzer::ReportFile {
            name: "report.html",
            content: page.into_bytes(),
        }));
        let files = write_report(&output, files, report.violations_file(), around).await?;
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
            summary(&report, compared.as_ref(), &files, streams)?;
        }
        if self.open {
            places::open(&files, streams)?;
        }
        Ok(exit)
    }

    async fn data_quality(
        &self,
        baseline: &job::Baseline,
        around: &impl Surroundings,
        streams: &mut Streams<'_>,
    ) -> Result<(Report, job::Compared), Failure> {
        let options: ReadOptions = self.input.options(baseline.columns());
        let dataset: Dataset<Profile> =
            read_all(&self.input.datasets, &options, around, streams, Profile::default).await?;
        let job = DataQualityJob {
            options: DataQualityOptions {
                lenient_types: self.lenient_types,
                deequ_compat: self.deequ_compat,
                false_discovery_rate: self.false_discovery_rate,
            },
        };
        Ok(job.analyze(&dataset, baseline)?)
    }

    /// Refuses what only data quality has a use for.
    fn refuse(&self, kind: MonitorType) -> Result<(), Failure> {
        let given = [
            ("--lenient-types", self.lenient_types),
            ("--deequ-compat", self.deequ_compat),
            ("--false-discovery-rate", self.false_discovery_rate.is_some()),
            ("--html", self.html),
            ("--open", self.open),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => Err(Failure::Usage(format!("{name} is of DataQuality, and this is {kind}"))),
        }
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
    compared: Option<&job::Compared>,
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
            subject(violation),
            violation.constraint_check_type.clone(),
            violation.description.clone(),
        ]);
    }
    table.write(streams.out)?;
    if report.violations.len() > SHOWN {
        writeln!(streams.out, "  … and {} more", report.violations.len() - SHOWN)?;
    }
    match compared {
        Some(compared) => farthest(compared, streams)?,
        None => measured(report, streams)?,
    }
    for file in files {
        writeln!(streams.out, "  {}", plain(file))?;
    }
    Ok(())
}

/// What a violation is about: of bias also which group, and by which metric.
fn subject(violation: &ConstraintViolation) -> String {
    match (&violation.facet, &violation.facet_value, &violation.metric_name) {
        (Some(facet), Some(value), Some(metric)) => format!("{facet}={value} {metric}"),
        _ => violation.subject().to_owned(),
    }
}

/// The metrics of an analysis of predictions.
fn measured(report: &Report, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let mut table = Table::new(["metric", "of", "value"]);
    for metric in report.metrics.iter().take(SHOWN) {
        // The others are the same for all.
        let telling = |name: &str| ["Facet", "FacetValue", "Label", "Feature"].contains(&name);
        let of: Vec<&str> = metric
            .dimensions
            .iter()
            .filter(|(name, _)| telling(name))
            .map(|(_, value)| value.as_str())
            .collect();
        let MetricValue::Value(value) = metric.value else {
            continue;
        };
        let value = if value.abs() < 1e12 {
            format!("{value:.4}")
        } else {
            // An infinity is the largest number that CloudWatch takes.
            format!("{value:.3e}")
        };
        table.row([metric.name.clone(), of.join(" "), value]);
    }
    table.write(streams.out)?;
    if report.metrics.len() > SHOWN {
        writeln!(streams.out, "  … and {} more", report.metrics.len() - SHOWN)?;
    }
    Ok(())
}

/// The columns that are farthest from the baseline.
fn farthest(compared: &job::Compared, streams: &mut Streams<'_>) -> Result<(), Failure> {
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
    Ok(())
}
