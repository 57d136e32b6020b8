//! Model quality: from a table to a report.

use super::{
    Baseline, JobError, Thresholds, all_notes,
    columns::{Columns, Found},
    config::{AnalysisConfig, ConfigError},
    dropped_rows::DroppedRows,
    tolerance_file,
};
use crate::{
    labels::GroundTruth,
    read::Dataset,
    report::{Report, ReportFile, json},
    table::{Cell, Table},
};
use analysis::{
    ConstraintViolation, Judgments, NotJudged,
    metric::AnalysisMetric,
    model_quality::{
        Calibration, Classes, EstimatedPerformance, Evaluation, MAX_CLASSES, ModelQualityError, Options, ProblemType,
        Rows, SegmentOptions, Suggestion, TwoClasses, by_segment, check_constraints, evaluate, metric_deviations,
        suggest_constraints, suggest_with_tolerance,
    },
};
use model_monitor::{Constraints, MonitorType, Statistics, Switch};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Calibration of the scores, in the folder of the baseline.
pub const CALIBRATION: &str = "calibration.json";

/// Number of bins in which the rows of the baseline are calibrated.
const CALIBRATION_BINS: u32 = 20;
/// Name of the segment of rows without a value.
const NO_SEGMENT: &str = "(missing)";

/// Model quality analysis.
#[derive(Debug, Clone)]
pub struct ModelQualityJob {
    config: AnalysisConfig,
}

/// Evaluated rows of a dataset, column by column.
enum ColumnSelection {
    Binary {
        labels: Vec<u32>,
        predictions: Vec<u32>,
        probabilities: Option<Vec<f64>>,
        classes: TwoClasses,
    },
    Multiclass {
        labels: Vec<u32>,
        predictions: Vec<u32>,
        classes: Classes,
    },
    Regression {
        labels: Vec<f64>,
        predictions: Vec<f64>,
    },
}

impl ColumnSelection {
    fn rows(&self) -> Rows<'_> {
        match self {
            Self::Binary {
                labels,
                predictions,
                probabilities,
                classes,
            } => Rows::Binary {
                labels,
                predictions,
                probabilities: probabilities.as_deref(),
                classes,
            },
            Self::Multiclass {
                labels,
                predictions,
                classes,
            } => Rows::Multiclass {
                labels,
                predictions,
                classes,
            },
            Self::Regression { labels, predictions } => Rows::Regression { labels, predictions },
        }
    }
}

/// Columns of a dataset that are evaluated.
struct LabeledColumns<'a> {
    label: Option<Found<'a>>,
    predicted: Option<Found<'a>>,
    probability: Option<Found<'a>>,
    segment: Option<Found<'a>>,
    /// Whether booleans are compared with classes that are integers.
    numbers: bool,
}

impl LabeledColumns<'_> {
    /// Rows that have a label and a prediction.
    fn kept(&self, rows: usize, problem: ProblemType, notes: &mut Vec<String>) -> Vec<usize> {
        let mut left_out = DroppedRows::default();
        let kept = (0..rows).filter(|row| {
            let of_numbers = problem == ProblemType::Regression;
            let label = self.label.as_ref();
            left_out.has("label", label, *row, of_numbers)
                && (self.predicted.is_none() || left_out.has("prediction", self.predicted.as_ref(), *row, of_numbers))
                && (self.probability.is_none() || left_out.has("probability", self.probability.as_ref(), *row, true))
        });
        let kept = kept.collect();
        notes.extend(left_out.notes());
        kept
    }
}

/// Metrics of a dataset.
struct QualityMeasurement {
    selection: ColumnSelection,
    evaluation: Evaluation,
    segments: Option<Value>,
}

impl ModelQualityJob {
    /// Creates the analysis of the columns that a configuration names.
    ///
    /// # Errors
    /// Fails if the configuration names no prediction.
    pub fn new(config: AnalysisConfig) -> Result<Self, ConfigError> {
        if !config.names_prediction() {
            return Err(ConfigError::Missing {
                key: "inference_attribute",
                why: "set it to the column of the prediction, or set `probability_attribute` to the column of a \
                      probability",
            });
        }
        Ok(Self { config })
    }

    /// Configuration of the analysis.
    pub fn config(&self) -> &AnalysisConfig {
        &self.config
    }

    /// Creates a baseline from a dataset with labels: metrics and suggested constraints.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset, or no row has a label and a prediction.
    pub fn baseline(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        thresholds: Thresholds,
    ) -> Result<Report, JobError> {
        let problem = self.config.problem_type.ok_or(ConfigError::Missing {
            key: "problem_type",
            why: "set it to BinaryClassification, MulticlassClassification, or Regression",
        })?;
        let mut notes = all_notes(dataset, truth, &self.config);
        let labeled = self.find_columns(dataset, problem)?;
        let measured = self.measure(&labeled, dataset.sink.rows(), problem, &[], &mut notes)?;
        let Some(measured) = measured else {
            return Err(JobError::Data(
                "no row has a label and a prediction: a baseline requires at least one".to_owned(),
            ));
        };
        let (suggestion, tolerance) = match thresholds {
            Thresholds::Exact => (suggest_constraints(&measured.evaluation), None),
            Thresholds::Tolerant { rows_per_execution } => {
                let deviations = metric_deviations(&measured.selection.rows())?;
                let (suggestion, tolerance) =
                    suggest_with_tolerance(&measured.evaluation, &deviations, rows_per_execution);
                (suggestion, Some(tolerance_file(&tolerance)))
            }
        };
        if !suggestion.left_out.is_empty() {
            notes.push(format!(
                "no constraint is suggested for {}: the baseline value is not a number",
                suggestion.left_out.join(", ")
            ));
        }
        notes.extend(measured.positive_class(&self.config));
        let mut files = measured.files(&suggestion);
        files.extend(tolerance);
        if let (
            true,
            ColumnSelection::Binary {
                labels,
                probabilities: Some(probabilities),
                classes,
                ..
            },
        ) = (self.config.estimate_without_labels, &measured.selection)
        {
            let calibration = Calibration::binned(labels, probabilities, classes, CALIBRATION_BINS)?;
            files.push(ReportFile {
                name: CALIBRATION,
                content: json(&calibration),
            });
        }
        files.push(super::config_file(&self.config));
        Ok(Report {
            item_count: measured.evaluation.rows,
            files,
            metrics: metrics(&measured.evaluation),
            notes,
            ..Report::new(MonitorType::ModelQuality)
        })
    }

    /// Compares a dataset with labels with a baseline.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset, or the baseline is not a model quality baseline.
    pub fn analyze(
        &self,
        dataset: &Dataset<Table>,
        truth: Option<&GroundTruth>,
        baseline: &Baseline,
    ) -> Result<Report, JobError> {
        let constraints = baseline
            .constraints
            .as_ref()
            .ok_or(JobError::Missing("constraints.json"))?;
        let problem = self.config.problem_type.or_else(|| problem_type(constraints));
        let problem = problem.ok_or_else(|| {
            JobError::Data(
                "the baseline's constraints.json has no metrics: expected constraints of model quality".to_owned(),
            )
        })?;
        let mut notes = all_notes(dataset, truth, &self.config);
        let mut report = Report::new(MonitorType::ModelQuality);
        if dataset.sink.rows() == 0 {
            notes.push("the dataset has no rows: nothing was checked, and the result is NoData, not Clean".to_owned());
            report.notes = notes;
            return Ok(report);
        }
        let labeled = self.find_columns(dataset, problem)?;
        let known = baseline.statistics.as_ref().map(baseline_classes).unwrap_or_default();
        if let Some(measured) = self.measure(&labeled, dataset.sink.rows(), problem, &known, &mut notes)? {
            report.item_count = measured.evaluation.rows;
            let check = check_constraints(&measured.evaluation, constraints, baseline.tolerance.as_ref())?;
            notes.extend(skipped(&check.judgments));
            report.judgments = Some(check.judgments);
            report.violations = check
                .violations
                .into_iter()
                .map(|violation| ConstraintViolation {
                    metric_name: Some(violation.metric_name),
                    constraint_check_type: violation.constraint_check_type.as_str().to_owned(),
                    description: violation.description,
                    ..ConstraintViolation::default()
                })
                .collect();
            report.files = measured.files(&suggest_constraints(&measured.evaluation));
            report.metrics = metrics(&measured.evaluation);
        } else {
            notes.push(
                "no row has a label and a prediction: nothing was checked, and the result is NoData, not Clean"
                    .to_owned(),
            );
        }
        if self.config.estimate_without_labels {
            self.estimate(
                &labeled,
                dataset.sink.rows(),
                (problem, &known),
                baseline,
                &mut report,
                &mut notes,
            )?;
        }
        let silent = constraints
            .monitoring_config
            .as_ref()
            .and_then(|config| config.emit_metrics)
            == Some(Switch::Disabled);
        if silent {
            report.metrics.clear();
        }
        report.notes = notes;
        Ok(report)
    }

    /// Outcome of each row with a label and a prediction. Classification: 1 if they agree, 0 if not. Regression:
    /// prediction minus label.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset.
    pub fn outcomes(&self, dataset: &Dataset<Table>) -> Result<Vec<f64>, JobError> {
        let problem = self.config.problem_type.ok_or(ConfigError::Missing {
            key: "problem_type",
            why: "set it to BinaryClassification, MulticlassClassification, or Regression",
        })?;
        if dataset.sink.rows() == 0 {
            return Ok(Vec::new());
        }
        let labeled = self.find_columns(dataset, problem)?;
        let kept = labeled.kept(dataset.sink.rows(), problem, &mut Vec::new());
        let Some(label) = labeled.label.filter(|_| !kept.is_empty()) else {
            return Ok(Vec::new());
        };
        // A few rows can all have one class, so the other class is unknown.
        let known = ["0", "1"].map(str::to_owned);
        let selection = self.select_columns(&labeled, label, &kept, problem, &[]);
        let selection = selection.or_else(|_| self.select_columns(&labeled, label, &kept, problem, &known))?;
        let agree = |labels: &[u32], predictions: &[u32]| {
            let rows = labels.iter().zip(predictions);
            rows.map(|(label, predicted)| f64::from(label == predicted)).collect()
        };
        Ok(match &selection {
            ColumnSelection::Binary {
                labels, predictions, ..
            }
            | ColumnSelection::Multiclass {
                labels, predictions, ..
            } => agree(labels, predictions),
            ColumnSelection::Regression { labels, predictions } => {
                let rows = labels.iter().zip(predictions);
                rows.map(|(label, predicted)| predicted - label).collect()
            }
        })
    }

    fn find_columns<'a>(
        &'a self,
        dataset: &'a Dataset<Table>,
        problem: ProblemType,
    ) -> Result<LabeledColumns<'a>, JobError> {
        super::not_full(&dataset.sink)?;
        let columns = Columns::new(&self.config, &dataset.sink);
        let probability = match problem {
            ProblemType::BinaryClassification => columns.probability()?,
            ProblemType::MulticlassClassification | ProblemType::Regression => None,
        };
        let (label, predicted) = (columns.label()?, columns.predicted()?);
        if predicted.is_none() && probability.is_none() {
            let key = match (problem, columns.captured()) {
                (ProblemType::BinaryClassification, true) => "`predictor.label` or `predictor.probability`",
                (ProblemType::BinaryClassification, false) => "`inference_attribute` or `probability_attribute`",
                (_, true) => "`predictor.label`",
                (_, false) => "`inference_attribute`",
            };
            return Err(JobError::Data(format!(
                "{key} is missing in analysis_config.json: set it to the column of the prediction"
            )));
        }
        if label.is_none() && !columns.captured() {
            return Err(JobError::Data(
                "`ground_truth_attribute` is missing in analysis_config.json: set it to the column of the label"
                    .to_owned(),
            ));
        }
        let segment = self.config.segment.as_ref();
        let segment = segment.map(|named| columns.feature("segment", named)).transpose()?;
        let classes = [label, predicted];
        let numbers = classes
            .iter()
            .flatten()
            .any(|found| found.column.cells().iter().any(|cell| matches!(cell, Cell::Number(_))));
        Ok(LabeledColumns {
            label,
            predicted,
            probability,
            segment,
            numbers,
        })
    }

    /// Metrics of the rows that have a label and a prediction; `None` if there are no such rows. `known` are the
    /// classes of the baseline.
    fn measure(
        &self,
        labeled: &LabeledColumns<'_>,
        rows: usize,
        problem: ProblemType,
        known: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Option<QualityMeasurement>, JobError> {
        let kept = labeled.kept(rows, problem, notes);
        let Some(label) = labeled.label.filter(|_| !kept.is_empty()) else {
            return Ok(None);
        };
        let selection = self.select_columns(labeled, label, &kept, problem, known)?;
        let rows = selection.rows();
        let evaluation = evaluate(&rows, Options::default()).map_err(|error| labeled.explain(&error))?;
        let segments = labeled.segment.map(|segment| {
            let mut values = Classes::default();
            let column: Vec<u32> = kept
                .iter()
                .map(|row| match segment.column.text(segment.cell(*row)) {
                    Some(value) => values.intern(&value),
                    None => values.intern(NO_SEGMENT),
                })
                .collect();
            let report = by_segment(&rows, &column, &values, SegmentOptions::default())?;
            Ok::<_, JobError>(report.to_json(segment.name))
        });
        let segments = segments.transpose()?;
        Ok(Some(QualityMeasurement {
            selection,
            evaluation,
            segments,
        }))
    }

    fn select_columns(
        &self,
        labeled: &LabeledColumns<'_>,
        label: Found<'_>,
        kept: &[usize],
        problem: ProblemType,
        known: &[String],
    ) -> Result<ColumnSelection, JobError> {
        let numbers = |found: Found<'_>| -> Vec<f64> { kept.iter().filter_map(|row| found.number(*row)).collect() };
        let mut classes = Classes::default();
        if problem == ProblemType::Regression {
            return Ok(ColumnSelection::Regression {
                labels: numbers(label),
                predictions: labeled.predicted.map(numbers).unwrap_or_default(),
            });
        }
        if problem == ProblemType::BinaryClassification {
            for class in known {
                classes.intern(class);
            }
        }
        let labels = interned(&mut classes, label, kept, labeled.numbers)?;
        let predictions = labeled
            .predicted
            .map(|predicted| interned(&mut classes, predicted, kept, labeled.numbers))
            .transpose()?;
        if problem == ProblemType::MulticlassClassification {
            return Ok(ColumnSelection::Multiclass {
                labels,
                predictions: predictions.unwrap_or_default(),
                classes,
            });
        }
        let two = self
            .two_classes(&mut classes)
            .map_err(|error| labeled.explain(&error))?;
        let probabilities = labeled.probability.map(numbers);
        let predictions = match (predictions, &probabilities) {
            (Some(predictions), _) => predictions,
            (None, Some(probabilities)) => self.decided(&mut classes, &two, probabilities),
            (None, None) => Vec::new(),
        };
        Ok(ColumnSelection::Binary {
            labels,
            predictions,
            probabilities,
            classes: two,
        })
    }

    /// The two classes, with the positive one that the configuration names, if any.
    fn two_classes(&self, classes: &mut Classes) -> Result<TwoClasses, ModelQualityError> {
        let positive = self.config.positive_label.as_ref().map(ToString::to_string);
        // A single positive label value is meant for the bias analysis, where it may be a threshold.
        let positive = positive.or_else(|| match self.config.label_values() {
            [value] => Some(value.to_string()).filter(|value| classes.sorted().contains(&value.as_str())),
            _ => None,
        });
        classes.binary(positive.as_deref())
    }

    /// Predictions that follow from probabilities.
    fn decided(&self, classes: &mut Classes, two: &TwoClasses, probabilities: &[f64]) -> Vec<u32> {
        let (positive, negative) = (classes.intern(two.positive()), classes.intern(two.negative()));
        let threshold = self.config.threshold();
        let decide = |probability: &f64| if *probability >= threshold { positive } else { negative };
        probabilities.iter().map(decide).collect()
    }

    /// Estimated metrics over all rows with a probability, with or without a label.
    fn estimate(
        &self,
        labeled: &LabeledColumns<'_>,
        rows: usize,
        (problem, known): (ProblemType, &[String]),
        baseline: &Baseline,
        report: &mut Report,
        notes: &mut Vec<String>,
    ) -> Result<(), JobError> {
        let Some(probability) = labeled
            .probability
            .filter(|_| problem == ProblemType::BinaryClassification)
        else {
            notes.push(
                "no estimate.json: performance is estimated only for binary classification with a probability"
                    .to_owned(),
            );
            return Ok(());
        };
        let has_prediction = |row: &usize| labeled.predicted.is_none_or(|found| found.cell(*row) != Cell::Missing);
        let kept: Vec<usize> = (0..rows)
            .filter(|row| probability.number(*row).is_some() && has_prediction(row))
            .collect();
        if kept.is_empty() {
            notes.push("no estimate.json: no row has a probability".to_owned());
            return Ok(());
        }
        let mut classes = Classes::default();
        for class in known {
            classes.intern(class);
        }
        let predicted = labeled
            .predicted
            .map(|found| interned(&mut classes, found, &kept, labeled.numbers));
        if classes.is_empty() {
            classes.intern("1");
        }
        let two = self
            .two_classes(&mut classes)
            .map_err(|error| labeled.explain(&error))?;
        let probabilities: Vec<f64> = kept.iter().filter_map(|row| probability.number(*row)).collect();
        let predictions = match predicted {
            Some(predictions) => predictions?,
            None => self.decided(&mut classes, &two, &probabilities),
        };
        let calibration = baseline.calibration.as_ref();
        let estimate = EstimatedPerformance::new(&predictions, &probabilities, &two, calibration)?;
        let constraints = baseline.constraints.as_ref();
        let warnings = constraints.map_or(Ok(Vec::new()), |constraints| estimate.warnings(constraints));
        let warnings = warnings?;
        for warning in &warnings {
            notes.push(format!(
                "early warning, not a violation: {} is {}, {} {}, estimated from probabilities",
                warning.estimated_metric,
                text::number(warning.estimate),
                warning.comparison_operator.as_str(),
                text::number(warning.threshold),
            ));
        }
        let metrics = estimate.metrics();
        report.metrics.extend(
            metrics
                .iter()
                .filter_map(|(name, value)| AnalysisMetric::value((*name).to_owned(), Vec::new(), *value)),
        );
        let warned: Vec<Value> = warnings
            .iter()
            .map(|warning| {
                json!({
                    "metric_name": warning.estimated_metric,
                    "comparison_operator": warning.comparison_operator.as_str(),
                    "threshold": warning.threshold,
                })
            })
            .collect();
        let content = json!({
            "version": 0.0,
            "dataset": {"item_count": estimate.rows},
            "calibrated": calibration.is_some(),
            "binary_classification_estimates": estimate.to_json(),
            "warnings": warned,
        });
        report.files.push(ReportFile {
            name: "estimate.json",
            content: json(&content),
        });
        Ok(())
    }
}

impl QualityMeasurement {
    fn files(&self, suggestion: &Suggestion) -> Vec<ReportFile> {
        let mut files = vec![
            ReportFile {
                name: "statistics.json",
                content: json(&self.evaluation.to_statistics()),
            },
            ReportFile {
                name: "constraints.json",
                content: json(&suggestion.constraints),
            },
        ];
        if let Some(segments) = &self.segments {
            files.push(ReportFile {
                name: "segments.json",
                content: json(segments),
            });
        }
        files
    }

    /// Says which class is positive if the configuration does not, and whether the probability seems to be that of the other one.
    fn positive_class(&self, config: &AnalysisConfig) -> Vec<String> {
        let ColumnSelection::Binary { classes, .. } = &self.selection else {
            return Vec::new();
        };
        let (positive, negative) = (classes.positive(), classes.negative());
        let mut notes = Vec::new();
        if config.positive_label.is_none() {
            notes.push(format!(
                "the positive class is `{positive}`, the last of `{negative}` and `{positive}` in sort order: to change it, set \
                 `positive_label`"
            ));
        }
        let auc = self.evaluation.metrics.get("auc").map(|auc| auc.value);
        if let Some(auc) = auc.filter(|auc| *auc < 0.5) {
            notes.push(format!(
                "the auc is {}, below 0.5: check whether the probability is that of class `{negative}`",
                text::number(auc)
            ));
        }
        notes
    }
}

/// Says which metrics were not checked, by reason.
fn skipped(judgments: &Judgments) -> Vec<String> {
    let line = |(reason, skipped): (&str, Vec<&NotJudged>)| {
        let metrics: Vec<&str> = skipped.iter().map(|skipped| skipped.subject.as_str()).collect();
        format!("not checked, because {reason}: {}", metrics.join(", "))
    };
    judgments.by_reason().into_iter().map(line).collect()
}

impl LabeledColumns<'_> {
    /// Reason for which there is no evaluation, with a suggestion.
    fn explain(&self, error: &ModelQualityError) -> JobError {
        let hint = match (error, self.predicted) {
            (ModelQualityError::NotBinary { .. }, Some(found)) if found.column.is_fractional() => format!(
                "; if column `{}` is a probability, set `probability_attribute`, or `predictor.probability` for \
                 responses",
                found.name
            ),
            (ModelQualityError::PositiveUnknown { .. }, _) => " in `positive_label`".to_owned(),
            _ => String::new(),
        };
        JobError::Data(format!("{error}{hint}"))
    }
}

/// Column as class numbers.
fn interned(classes: &mut Classes, found: Found<'_>, kept: &[usize], numbers: bool) -> Result<Vec<u32>, JobError> {
    let mut texts: Vec<Option<u32>> = vec![None; found.column.texts().len()];
    let mut known: HashMap<u64, u32> = HashMap::new();
    let mut ids = Vec::with_capacity(kept.len());
    for row in kept {
        let cell = found.cell(*row);
        let name = || found.column.text(cell).unwrap_or_default();
        let id = match cell {
            Cell::Number(number) => *known
                .entry((number + 0.0).to_bits())
                .or_insert_with(|| classes.intern(&name())),
            Cell::Text(place) => {
                let mut intern = || {
                    let name = name();
                    match name.as_str() {
                        "true" | "True" if numbers => classes.intern("1"),
                        "false" | "False" if numbers => classes.intern("0"),
                        name => classes.intern(name),
                    }
                };
                match texts.get_mut(place as usize) {
                    Some(known) => *known.get_or_insert_with(intern),
                    None => intern(),
                }
            }
            Cell::Missing => continue,
        };
        if classes.len() > MAX_CLASSES {
            return Err(ModelQualityError::TooManyClasses { classes: classes.len() }.into());
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Problem type of the constraints.
pub(super) fn problem_type(constraints: &Constraints) -> Option<ProblemType> {
    if constraints.binary_classification_constraints.is_some() {
        Some(ProblemType::BinaryClassification)
    } else if constraints.multiclass_classification_constraints.is_some() {
        Some(ProblemType::MulticlassClassification)
    } else if constraints.regression_constraints.is_some() {
        Some(ProblemType::Regression)
    } else {
        None
    }
}

/// The two classes of the baseline, from its confusion matrix. Needed when one class does not occur in the window.
fn baseline_classes(statistics: &Statistics) -> Vec<String> {
    let metrics = statistics.binary_classification_metrics.as_ref();
    let matrix = metrics.and_then(|metrics| metrics.get("confusion_matrix"));
    let classes: Vec<String> = matrix.map_or(Vec::new(), |matrix| matrix.extra.keys().cloned().collect());
    if classes.len() == 2 { classes } else { Vec::new() }
}

fn metrics(evaluation: &Evaluation) -> Vec<AnalysisMetric> {
    let metrics = evaluation.metrics.iter();
    let metrics = metrics.map(|(name, metric)| AnalysisMetric::value((*name).to_owned(), Vec::new(), metric.value));
    metrics.flatten().collect()
}
