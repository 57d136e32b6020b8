//! Bias from a table to its report.

use super::{
    Baseline, JobError, Thresholds, all_notes,
    columns::{Columns, Found},
    config::{AnalysisConfig, ConfigError, Named},
    dropped_rows::DroppedRows,
    tolerance_file,
};
use crate::{
    labels::GroundTruth,
    read::Dataset,
    report::{Report, ReportFile, json},
    table::{self, Table},
};
use analysis::{
    Judgments, NotJudged,
    bias::{self, BiasReport, Column, Intervals, Metric, Reading, Request, Stage, bias_report},
    metric::AnalysisMetric,
    tolerance::{MetricTolerance, Tolerance},
};
use model_monitor::{Analysis, BiasMetrics, MonitorType, Quantity};
use serde::Serialize;
use std::collections::BTreeSet;

/// Maximum number of published metrics. More than this come from facets with very many values.
const MAX_METRICS: usize = 1_000;
/// Maximum number of reported reasons for which metrics are not checked.
const MAX_REASONS: usize = 20;

/// Bias analysis.
#[derive(Debug, Clone)]
pub struct BiasJob {
    config: AnalysisConfig,
}

/// Bias of a dataset.
struct BiasMeasurement {
    rows: u64,
    reports: Vec<BiasReport>,
    analysis: Analysis,
    intervals: Option<Intervals>,
}

/// Columns that the reports are computed from.
struct Frame {
    columns: Vec<(String, Column)>,
    label: String,
    /// Facets with the values of the sensitive group, or a threshold.
    facets: Vec<(String, Vec<bias::Cell>)>,
    group: Option<String>,
    /// Rows with a positive prediction, if this follows from probabilities.
    accepted: Option<Vec<bool>>,
}

impl Frame {
    fn add(&mut self, name: &str, found: Found<'_>, kept: &[usize]) {
        if !self.columns.iter().any(|(known, _)| known == name) {
            self.columns.push((name.to_owned(), converted(found, kept)));
        }
    }
}

/// Entry of `intervals.json`.
#[derive(Serialize)]
struct IntervalEntry<'a> {
    facet: &'a str,
    facet_value: &'a str,
    metric_name: &'a str,
    low: Quantity,
    high: Quantity,
}

impl BiasJob {
    /// Creates the analysis of the columns that a configuration names.
    ///
    /// # Errors
    /// Fails if the configuration names no facet, no label, or no positive value of the label.
    pub fn new(config: AnalysisConfig) -> Result<Self, ConfigError> {
        if config.facets().is_empty() {
            return Err(ConfigError::Missing {
                key: "facet",
                why: "name the column of the sensitive attribute, for example [{\"name_or_index\": \"gender\", \
                      \"value_or_threshold\": [0]}]",
            });
        }
        if config.label.is_none() && config.ground_truth_attribute.is_none() {
            return Err(ConfigError::Missing {
                key: "label",
                why: "name the column of the outcome",
            });
        }
        if config.label_values().is_empty() {
            return Err(ConfigError::Missing {
                key: "label_values_or_threshold",
                why: "list the positive labels, or set the threshold above which labels are positive",
            });
        }
        Ok(Self { config })
    }

    /// Configuration of the analysis.
    pub fn config(&self) -> &AnalysisConfig {
        &self.config
    }

    /// Creates a baseline from a dataset.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset, or no row has the required values.
    pub fn baseline(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        thresholds: Thresholds,
    ) -> Result<Report, JobError> {
        let mut notes = all_notes(dataset, truth, &self.config);
        let reading = match thresholds {
            Thresholds::Exact => Reading::Clarify,
            Thresholds::Tolerant { .. } => Reading::Baseline,
        };
        let Some(measured) = self.measure(dataset, reading, &mut notes)? else {
            return Err(JobError::Data(
                "no row has a label and a prediction: a baseline requires at least one".to_owned(),
            ));
        };
        let mut report = Self::report(&measured, notes);
        if let Thresholds::Tolerant { rows_per_execution } = thresholds {
            let tolerance = self.tolerance(&measured, rows_per_execution);
            report.files.push(tolerance_file(&tolerance));
        }
        report.files.push(super::config_file(&self.config));
        Ok(report)
    }

    /// Compares a dataset with a baseline.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset, or the baseline is not a bias baseline.
    pub fn analyze(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        baseline: &Baseline,
    ) -> Result<Report, JobError> {
        let constraints = baseline.analysis.as_ref().ok_or(JobError::Missing("analysis.json"))?;
        if constraints.pre_training_bias_metrics.is_none() && constraints.post_training_bias_metrics.is_none() {
            return Err(JobError::Data(
                "the baseline's analysis.json has no bias metrics: expected a bias baseline".to_owned(),
            ));
        }
        let mut notes = all_notes(dataset, truth, &self.config);
        let Some(measured) = self.measure(dataset, Reading::Execution(constraints), &mut notes)? else {
            notes.push(
                "no row has the required values: nothing was checked, and the result is NoData, not Clean".to_owned(),
            );
            return Ok(Report {
                notes,
                ..Report::new(MonitorType::ModelBias)
            });
        };
        let tolerance = baseline.tolerance.as_ref().map(|tolerance| (tolerance, measured.rows));
        let drift = bias::check(&measured.analysis, constraints, measured.intervals.as_ref(), tolerance);
        notes.extend(reasons(&drift.judgments));
        Ok(Report {
            violations: drift.violations,
            judgments: Some(drift.judgments),
            ..Self::report(&measured, notes)
        })
    }

    /// Metrics of the rows that have a label and a prediction; `None` if there are no such rows.
    fn measure(
        &self,
        dataset: &Dataset<Table>,
        reading: Reading<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<BiasMeasurement>, JobError> {
        let table = &dataset.sink;
        super::not_full(table)?;
        if table.rows() == 0 {
            return Ok(None);
        }
        let columns = Columns::new(&self.config, table);
        let Some(label) = columns.label()? else {
            notes.push("no request has a label".to_owned());
            return Ok(None);
        };
        let predicted = columns.predicted()?;
        let probability = match predicted {
            Some(_) => None,
            None => columns.probability()?,
        };
        if predicted.is_none()
            && probability.is_none()
            && Metric::in_stage(Stage::PostTraining).any(|one| self.is_selected(one))
        {
            notes.push(
                "post-training metrics are skipped because analysis_config.json names no prediction: set \
                 `predicted_label` or `probability` for a dataset, `predictor.label` or `predictor.probability` for \
                 responses"
                    .to_owned(),
            );
        }
        let mut left_out = DroppedRows::default();
        let kept: Vec<usize> = (0..table.rows())
            .filter(|row| {
                left_out.has("label", Some(&label), *row, false)
                    && (predicted.is_none() || left_out.has("prediction", predicted.as_ref(), *row, false))
                    && (probability.is_none() || left_out.has("probability", probability.as_ref(), *row, true))
            })
            .collect();
        notes.extend(left_out.notes());
        if kept.is_empty() {
            return Ok(None);
        }
        let frame = self.frame(&columns, (label, predicted, probability), &kept, notes)?;
        let mut reports = Vec::new();
        for (name, values) in &frame.facets {
            reports.push(bias_report(&Request {
                columns: &frame.columns,
                facet: name,
                facet_values_or_threshold: values,
                label: &frame.label,
                label_values_or_threshold: self.config.label_values(),
                predicted_label: predicted.map(|found| found.name),
                accepted: frame.accepted.as_deref(),
                group_variable: frame.group.as_deref(),
                reading,
            })?);
        }
        let mut analysis = bias::analysis(&reports);
        self.select(&mut analysis);
        if analysis.pre_training_bias_metrics.is_none() && analysis.post_training_bias_metrics.is_none() {
            return Err(JobError::Data(
                "`methods` selects only post-training metrics, but analysis_config.json names no prediction: set \
                 `predicted_label` or `probability` for a dataset, `predictor.label` or `predictor.probability` for \
                 responses"
                    .to_owned(),
            ));
        }
        Ok(Some(BiasMeasurement {
            rows: kept.len() as u64,
            analysis,
            intervals: self.intervals(&reports),
            reports,
        }))
    }

    /// Columns that the reports need, restricted to the kept rows.
    fn frame(
        &self,
        columns: &Columns<'_>,
        (label, predicted, probability): (Found<'_>, Option<Found<'_>>, Option<Found<'_>>),
        kept: &[usize],
        notes: &mut Vec<String>,
    ) -> Result<Frame, JobError> {
        let of_label = self
            .config
            .label
            .as_ref()
            .or(self.config.ground_truth_attribute.as_ref());
        let mut frame = Frame {
            columns: Vec::new(),
            label: self.name(of_label, label),
            facets: Vec::new(),
            group: None,
            accepted: None,
        };
        let mut taken = BTreeSet::from([label.name]);
        frame.add(&frame.label.clone(), label, kept);
        if let Some(predicted) = predicted {
            taken.insert(predicted.name);
            frame.add(predicted.name, predicted, kept);
        }
        if let Some(named) = &self.config.group_variable {
            let found = columns.feature("group_variable", named)?;
            let name = self.name(Some(named), found);
            taken.insert(found.name);
            frame.add(&name, found, kept);
            frame.group = Some(name);
        }
        for facet in self.config.facets() {
            let found = columns.feature("facet.name_or_index", &facet.name_or_index)?;
            let name = self.name(Some(&facet.name_or_index), found);
            taken.insert(found.name);
            frame.add(&name, found, kept);
            let missing = kept.iter().filter(|row| found.cell(**row) == table::Cell::Missing);
            let missing = missing.count();
            if missing > 0 {
                notes.push(format!(
                    "rows without a value of facet `{name}`: {missing}. As in Clarify, they count as outside the \
                     sensitive group, and integers of the facet count as continuous values that need a threshold"
                ));
            }
            frame.facets.push((name, facet.values().to_vec()));
        }
        // The flip test needs all features of the rows; the other metrics need only the columns above.
        if (predicted.is_some() || probability.is_some()) && self.config.reports(Metric::Ft) {
            for found in columns.features()? {
                if !taken.contains(found.name) {
                    frame.add(found.name, found, kept);
                }
            }
        }
        frame.accepted = probability.map(|probability| {
            let threshold = self.config.threshold();
            let positive = |row: &usize| probability.number(*row).is_some_and(|number| number >= threshold);
            kept.iter().map(positive).collect()
        });
        Ok(frame)
    }

    /// Name of a column that is the same in a baseline and in an execution, whatever the column is called in either.
    fn name(&self, named: Option<&Named>, found: Found<'_>) -> String {
        let header = match named {
            Some(Named::Name(name)) => Some(name),
            Some(Named::Index(index)) => self.config.headers.get(*index),
            None => None,
        };
        header.cloned().unwrap_or_else(|| found.name.to_owned())
    }

    /// Whether `methods` selects a metric by name.
    fn is_selected(&self, metric: Metric) -> bool {
        self.config.names_bias_methods() && self.config.reports(metric)
    }

    /// Keeps only the selected metrics.
    fn select(&self, analysis: &mut Analysis) {
        for section in [
            &mut analysis.pre_training_bias_metrics,
            &mut analysis.post_training_bias_metrics,
        ] {
            for facet in section
                .iter_mut()
                .flat_map(|section| section.facets.values_mut())
                .flatten()
            {
                facet
                    .metrics
                    .retain(|metric| Metric::new(&metric.name).is_none_or(|metric| self.config.reports(metric)));
            }
            let empty = |section: &BiasMetrics| section.facets.values().flatten().all(|facet| facet.metrics.is_empty());
            if section.as_ref().is_some_and(empty) {
                *section = None;
            }
        }
    }

    fn intervals(&self, reports: &[BiasReport]) -> Option<Intervals> {
        let bootstrap = self.config.bootstrap()?;
        let mut intervals = Intervals::new();
        for report in reports {
            for facet in &report.facets {
                for (metric, interval) in bootstrap.intervals(&facet.counts, report.stages()) {
                    if self.config.reports(metric) {
                        let key = (report.facet.clone(), facet.value_or_threshold.clone(), metric);
                        intervals.insert(key, interval);
                    }
                }
            }
        }
        Some(intervals)
    }

    /// How the selected metrics of the baseline vary between samples of its rows. The flip test needs the rows and has no tolerance.
    fn tolerance(&self, measured: &BiasMeasurement, rows_per_execution: u64) -> Tolerance {
        let mut tolerance = Tolerance::new(rows_per_execution, measured.rows);
        for report in &measured.reports {
            for facet in &report.facets {
                for (metric, deviations) in bias::deviations(&facet.counts, report.stages()) {
                    let value = facet.counts.evaluate(metric).ok().filter(|value| value.is_finite());
                    let value = value.filter(|_| self.config.reports(metric));
                    tolerance.metrics.extend(value.map(|value| MetricTolerance {
                        stage: Some(metric.stage().section().to_owned()),
                        facet: Some(report.facet.clone()),
                        facet_value: Some(facet.value_or_threshold.clone()),
                        metric_name: metric.name().to_owned(),
                        value,
                        threshold: None,
                        deviations,
                    }));
                }
            }
        }
        tolerance
    }

    fn report(measured: &BiasMeasurement, mut notes: Vec<String>) -> Report {
        let mut files = vec![ReportFile {
            name: "analysis.json",
            content: json(&measured.analysis),
        }];
        if let Some(intervals) = &measured.intervals {
            let entries: Vec<IntervalEntry<'_>> = intervals
                .iter()
                .map(|((facet, facet_value, metric), interval)| IntervalEntry {
                    facet,
                    facet_value,
                    metric_name: metric.name(),
                    low: Quantity::Number(interval.low),
                    high: Quantity::Number(interval.high),
                })
                .collect();
            files.push(ReportFile {
                name: "intervals.json",
                content: json(&serde_json::json!({"version": "1.0", "intervals": entries})),
            });
        }
        let mut metrics = metrics(&measured.analysis);
        if metrics.len() > MAX_METRICS {
            notes.push(format!(
                "only {} of {} metrics are published: list the values of the sensitive groups to reduce the number",
                MAX_METRICS,
                metrics.len()
            ));
            metrics.truncate(MAX_METRICS);
        }
        Report {
            item_count: measured.rows,
            files,
            metrics,
            notes,
            ..Report::new(MonitorType::ModelBias)
        }
    }
}

/// Column as in Clarify's data frame.
fn converted(found: Found<'_>, kept: &[usize]) -> Column {
    let cells = || kept.iter().map(|row| found.cell(*row));
    let (mut numbers, mut texts, mut missing) = (false, false, false);
    for cell in cells() {
        match cell {
            table::Cell::Number(_) => numbers = true,
            table::Cell::Text(_) => texts = true,
            table::Cell::Missing => missing = true,
        }
    }
    let text = |cell: table::Cell| found.column.text(cell);
    let boolean = |cell: table::Cell| match text(cell)?.as_str() {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    };
    if texts && !numbers && !missing {
        let booleans: Option<Vec<bool>> = cells().map(boolean).collect();
        if let Some(booleans) = booleans {
            return Column::Bool(booleans);
        }
    }
    if texts || !numbers {
        let text = |cell| text(cell).map_or(bias::Cell::Null, bias::Cell::Text);
        return Column::Object(cells().map(text).collect());
    }
    let number = |cell: table::Cell| match cell {
        table::Cell::Number(number) => number,
        table::Cell::Missing | table::Cell::Text(_) => f64::NAN,
    };
    if !missing && !found.column.is_fractional() {
        let whole: Option<Vec<i64>> = cells().map(|cell| whole(number(cell))).collect();
        if let Some(whole) = whole {
            return Column::Int(whole);
        }
    }
    Column::Float(cells().map(number).collect())
}

/// Integer that a double represents exactly.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and below 2^53")]
    (number.abs() <= EXACT && number.fract().abs() <= 0.0).then_some(number as i64)
}

/// Reasons for which metrics were not checked, one line each.
fn reasons(judgments: &Judgments) -> Vec<String> {
    let by_reason = judgments.by_reason();
    let all = by_reason.len();
    let mut lines: Vec<String> = by_reason
        .into_iter()
        .take(MAX_REASONS)
        .map(|(reason, metrics)| {
            let name = |metric: &&NotJudged| format!("{} of {}", metric.check, metric.subject);
            let shown: Vec<String> = metrics.iter().take(5).map(name).collect();
            let more = metrics.len().saturating_sub(shown.len());
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("not checked: {}{more}: {reason}", shown.join(", "))
        })
        .collect();
    if all > MAX_REASONS {
        lines.push(format!(
            "not checked: other metrics, for {} other reasons",
            all - MAX_REASONS
        ));
    }
    lines
}

/// Metrics that Clarify publishes: those with a value.
fn metrics(analysis: &Analysis) -> Vec<AnalysisMetric> {
    let mut metrics = Vec::new();
    for (stage, section) in [
        ("Pre-training", &analysis.pre_training_bias_metrics),
        ("Post-Training", &analysis.post_training_bias_metrics),
    ] {
        let Some(section) = section else { continue };
        for (name, facet) in section
            .facets
            .iter()
            .flat_map(|(name, facets)| facets.iter().map(move |facet| (name, facet)))
        {
            for metric in &facet.metrics {
                let dimensions = [
                    ("BiasStage", stage),
                    ("Label", section.label.as_deref().unwrap_or_default()),
                    (
                        "LabelValue",
                        section.label_value_or_threshold.as_deref().unwrap_or_default(),
                    ),
                    ("Facet", name),
                    ("FacetValue", &facet.value_or_threshold),
                ];
                let dimensions = dimensions.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let published = metric.value.and_then(|value| {
                    AnalysisMetric::value(format!("bias_metric_{}", metric.name), dimensions.to_vec(), value)
                });
                metrics.extend(published);
            }
        }
    }
    metrics
}
