//! `driftwarden baseline` and `driftwarden analyze`: runs the analyses from the command line.

mod inputs;
mod locations;
mod prediction;

use crate::{
    Exit, Streams,
    cloud::{Environment, json_line},
    error::Failure,
    table::{Table, plain},
};
use analysis::{
    ConstraintViolation, NotJudged, Profile, metric::MetricValue, page, tolerance::DEFAULT_ROWS_PER_EXECUTION,
};
use analyzer::{
    Dataset, Outcome, ReadOptions, Report,
    job::{self, DataQualityJob, DataQualityOptions, JobError, Thresholds},
};
use inputs::{InputArgs, read_all};
pub(crate) use locations::open_page;
use locations::{Location, read_baseline, write_report};
use model_monitor::MonitorType;
use prediction::{Against, PredictionArgs};
use serde::Serialize;

/// Maximum number of violations or metrics in the summary. The files contain all of them.
const MAX_ROWS: usize = 20;

/// Create a baseline from a dataset: statistics and suggested constraints.
///
/// DATASET is a CSV, JSON Lines, Parquet, or data capture file (plain or gzip), a folder of such files, or an s3:// object or
/// prefix. Several are read as one dataset. Writes statistics.json and constraints.json, or analysis.json for bias and feature
/// attributions, like the baseline jobs of Model Monitor.
///
/// The thresholds have a tolerance: executions without drift rarely violate them. tolerance.json adapts the thresholds to the number
/// of rows of each execution. Thresholds that you edit are applied as they are.
#[derive(Debug, clap::Args)]
pub struct Baseline {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    prediction: PredictionArgs,
    /// Folder or s3:// prefix for the files.
    #[arg(long, short, value_name = "DIR")]
    output: String,
    /// Number of rows that the thresholds in constraints.json are for.
    #[arg(long, value_name = "ROWS", default_value_t = DEFAULT_ROWS_PER_EXECUTION, value_parser = clap::value_parser!(u64).range(1..))]
    rows_per_execution: u64,
    /// Suggest exactly the thresholds of Model Monitor and Clarify: the values of the dataset, without a tolerance.
    #[arg(long, conflicts_with = "rows_per_execution")]
    model_monitor_exact: bool,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

/// Compare a dataset with a baseline.
///
/// DATASET is the same as for `baseline`. Writes statistics.json, constraints.json, and drift.json, or the files of the other
/// analyses. If violations are found, also writes `constraint_violations.json`, like the executions of Model Monitor.
///
/// Exit codes: 0 clean, 1 error, 2 violations, 3 no data, or no check could be evaluated.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub struct Analyze {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    prediction: PredictionArgs,
    /// Folder or s3:// prefix of the baseline files.
    #[arg(long, short, value_name = "DIR")]
    baseline: String,
    /// Folder or s3:// prefix for the report files.
    #[arg(long, short, value_name = "DIR")]
    output: String,
    /// Accept integers as decimal numbers, and any value as a string, in type checks.
    #[arg(long)]
    lenient_types: bool,
    /// Compute numeric distances like Deequ, which is insensitive in columns with few distinct values.
    #[arg(long)]
    deequ_compat: bool,
    /// Report only significant drift. RATE is the maximum share of false alarms among all alarms (Benjamini-Hochberg), for
    /// example 0.05.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    false_discovery_rate: Option<f64>,
    /// Also write the report as a page: report.html.
    #[arg(long)]
    html: bool,
    /// Write the report as a page and open it.
    #[arg(long)]
    open: bool,
    /// Print one JSON object.
    #[arg(long, display_order = 110)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate < 1.0);
    rate.ok_or_else(|| "expected a number between 0 and 1".to_owned())
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        error.to_string().into()
    }
}

/// JSON output of `analyze`.
#[derive(Serialize)]
struct Answer<'a> {
    monitor_type: &'a str,
    outcome: &'a str,
    item_count: u64,
    violations: &'a [ConstraintViolation],
    judged: u64,
    not_judged: &'a [NotJudged],
    notes: &'a [String],
    files: Vec<String>,
}

/// JSON output of `baseline`.
#[derive(Serialize)]
struct BaselineAnswer<'a> {
    monitor_type: &'a str,
    item_count: u64,
    notes: &'a [String],
    files: Vec<String>,
}

impl Baseline {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let output = Location::parse(&self.output)?;
        let kind = self.prediction.monitor_type.unwrap_or(MonitorType::DataQuality);
        let (report, size) = if kind == MonitorType::DataQuality {
            self.prediction.reject_options()?;
            let options = self.input.options(Vec::new());
            let dataset: Dataset<Profile> =
                read_all(&self.input.datasets, &options, env, streams, Profile::default).await?;
            let columns = text::count(dataset.sink.columns().len(), "column");
            let job = DataQualityJob {
                thresholds: self.thresholds(),
                ..DataQualityJob::default()
            };
            (job.baseline(&dataset)?, format!(" and {columns}"))
        } else {
            let against = Against::Thresholds(self.thresholds());
            let report = self.prediction.report(kind, &self.input, against, env, streams).await?;
            (report, String::new())
        };
        print_notes(&report, streams)?;
        let files = write_report(&output, report.all_files(), report.violations_file(), env).await?;
        if self.json {
            let answer = BaselineAnswer {
                monitor_type: kind.as_str(),
                item_count: report.item_count,
                notes: &report.notes,
                files,
            };
            json_line(streams.out, &answer)?;
            return Ok(Exit::Done);
        }
        let rows = text::count(report.item_count, "row");
        writeln!(streams.out, "{kind} baseline of {rows}{size}:")?;
        if kind != MonitorType::DataQuality {
            metrics(&report, streams)?;
        }
        for file in files {
            writeln!(streams.out, "  {}", plain(&file))?;
        }
        Ok(Exit::Done)
    }
}

impl Baseline {
    fn thresholds(&self) -> Thresholds {
        if self.model_monitor_exact {
            Thresholds::Exact
        } else {
            Thresholds::Tolerant {
                rows_per_execution: self.rows_per_execution,
            }
        }
    }
}

/// Prints the notes about the data.
fn print_notes(report: &Report, streams: &mut Streams<'_>) -> Result<(), Failure> {
    for note in &report.notes {
        writeln!(streams.err, "note: {}", plain(note))?;
    }
    Ok(())
}

impl Analyze {
    /// Runs the command.
    pub(crate) async fn run(&self, env: &impl Environment, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
        let output = Location::parse(&self.output)?;
        let baseline = read_baseline(&Location::parse(&self.baseline)?, env).await?;
        let kind = self.prediction.type_for(&baseline)?;
        let (report, compared, page) = if kind == MonitorType::DataQuality {
            self.prediction.reject_options()?;
            let (report, compared) = self.data_quality(&baseline, env, streams).await?;
            let page = (self.html || self.open).then(|| self.page(&report, &compared, &baseline));
            (report, Some(compared), page)
        } else {
            self.reject_options(kind)?;
            let against = Against::Baseline(Box::new(baseline));
            let report = self.prediction.report(kind, &self.input, against, env, streams).await?;
            (report, None, None)
        };
        print_notes(&report, streams)?;
        let mut files = report.all_files();
        files.extend(page.map(|page| analyzer::ReportFile {
            name: "report.html",
            content: page.into_bytes(),
        }));
        let files = write_report(&output, files, report.violations_file(), env).await?;
        let exit = match report.outcome() {
            Outcome::Clean => Exit::Done,
            Outcome::Violations(_) => Exit::Violations,
            Outcome::NoData | Outcome::NotJudged => Exit::NoData,
        };
        if self.json {
            json_line(
                streams.out,
                &Answer {
                    monitor_type: report.monitor_type.as_str(),
                    outcome: match report.outcome() {
                        Outcome::Clean => "Clean",
                        Outcome::Violations(_) => "Violations",
                        Outcome::NoData => "NoData",
                        Outcome::NotJudged => "NotJudged",
                    },
                    item_count: report.item_count,
                    violations: &report.violations,
                    judged: report.judgments.as_ref().map_or(0, |judgments| judgments.judged),
                    not_judged: report.judgments.as_ref().map_or(&[], |judgments| &judgments.not_judged),
                    notes: &report.notes,
                    files: files.clone(),
                },
            )?;
        } else {
            summary(&report, compared.as_ref(), &files, streams)?;
        }
        if self.open {
            locations::open(&files, streams)?;
        }
        Ok(exit)
    }

    async fn data_quality(
        &self,
        baseline: &job::Baseline,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<(Report, job::BaselineComparison), Failure> {
        let options: ReadOptions = self.input.options(baseline.columns());
        let dataset: Dataset<Profile> =
            read_all(&self.input.datasets, &options, env, streams, Profile::default).await?;
        let job = DataQualityJob {
            options: DataQualityOptions {
                lenient_types: self.lenient_types,
                deequ_compat: self.deequ_compat,
                false_discovery_rate: self.false_discovery_rate,
            },
            ..DataQualityJob::default()
        };
        Ok(job.analyze(&dataset, baseline)?)
    }

    /// Rejects options that only data quality supports.
    fn reject_options(&self, kind: MonitorType) -> Result<(), Failure> {
        let given = [
            ("--lenient-types", self.lenient_types),
            ("--deequ-compat", self.deequ_compat),
            ("--false-discovery-rate", self.false_discovery_rate.is_some()),
            ("--html", self.html),
            ("--open", self.open),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name @ ("--html" | "--open"), _)) => Err(Failure::usage(
                format!("{name} is not supported for {kind}"),
                format!("remove {name}; the report files are written either way"),
            )),
            Some((name, _)) => Err(Failure::usage(
                format!("{name} is not supported for {kind}"),
                format!("remove {name}, or pass --monitor-type DataQuality"),
            )),
        }
    }

    fn page(&self, report: &Report, compared: &job::BaselineComparison, baseline: &job::Baseline) -> String {
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

/// Prints the verdict, the violations, and the columns that drifted most.
fn summary(
    report: &Report,
    compared: Option<&job::BaselineComparison>,
    files: &[String],
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let verdict = match report.outcome() {
        Outcome::Clean => "clean".to_owned(),
        Outcome::Violations(count) => text::count(count, "violation"),
        Outcome::NoData => "no data (not clean)".to_owned(),
        Outcome::NotJudged => "no check could be evaluated (not clean)".to_owned(),
    };
    let rows = text::count(report.item_count, "row");
    let checks = report.judgments.as_ref().map_or_else(String::new, |judgments| {
        let judged = text::count(judgments.judged, "check");
        match judgments.not_judged.len() {
            0 => format!(" ({judged})"),
            skipped => format!(" ({judged}, {skipped} not evaluated)"),
        }
    });
    writeln!(streams.out, "{}: {rows}, {verdict}{checks}", report.monitor_type)?;
    let mut table = Table::new(["feature", "check", "description"]);
    for violation in report.violations.iter().take(MAX_ROWS) {
        table.row([
            subject(violation),
            violation.constraint_check_type.clone(),
            text::rounded(&violation.description),
        ]);
    }
    table.write(streams.out)?;
    if report.violations.len() > MAX_ROWS {
        writeln!(streams.out, "  … and {} more", report.violations.len() - MAX_ROWS)?;
    }
    match compared {
        Some(compared) => most_drifted(compared, streams)?,
        None => metrics(report, streams)?,
    }
    for file in files {
        writeln!(streams.out, "  {}", plain(file))?;
    }
    Ok(())
}

/// Subject of a violation; for bias with the group and the metric.
fn subject(violation: &ConstraintViolation) -> String {
    match (&violation.facet, &violation.facet_value, &violation.metric_name) {
        (Some(facet), Some(value), Some(metric)) => format!("{facet}={value} {metric}"),
        _ => violation.subject().to_owned(),
    }
}

/// The metrics of an analysis of predictions.
fn metrics(report: &Report, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let mut table = Table::new(["metric", "dimensions", "value"]);
    for metric in report.metrics.iter().take(MAX_ROWS) {
        // The other dimensions are the same for all metrics.
        let is_specific = |name: &str| ["Facet", "FacetValue", "Label", "Feature"].contains(&name);
        let dimensions: Vec<&str> = metric
            .dimensions
            .iter()
            .filter(|(name, _)| is_specific(name))
            .map(|(_, value)| value.as_str())
            .collect();
        let MetricValue::Value(value) = metric.value else {
            continue;
        };
        table.row([metric.name.clone(), dimensions.join(" "), text::number(value)]);
    }
    table.write(streams.out)?;
    if report.metrics.len() > MAX_ROWS {
        writeln!(streams.out, "  … and {} more", report.metrics.len() - MAX_ROWS)?;
    }
    Ok(())
}

/// Prints the columns with the largest distance above their threshold.
fn most_drifted(compared: &job::BaselineComparison, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let mut drift: Vec<_> = compared.drift.iter().collect();
    drift.sort_by(|a, b| (b.distance - b.threshold).total_cmp(&(a.distance - a.threshold)));
    if !drift.is_empty() {
        writeln!(streams.out, "largest distances from the baseline:")?;
    }
    let mut table = Table::new(["column", "distance", "threshold", ""]);
    for drift in drift.into_iter().take(5) {
        table.row([
            drift.name.clone(),
            text::number(drift.distance),
            text::number(drift.threshold),
            if drift.drifted { "drifted" } else { "" }.to_owned(),
        ]);
    }
    table.write(streams.out)?;
    Ok(())
}
