//! Model quality from a table to its report.

use super::{
    Baseline, JobError,
    columns::{Columns, Found},
    config::{AnalysisConfig, ConfigError},
    left_out::LeftOut,
    notes, truth_notes,
};
use crate::{
    ground_truth::GroundTruth,
    read::Dataset,
    report::{Report, ReportFile, json},
    table::{Cell, Table},
};
use analysis::{
    ConstraintViolation,
    metric::AnalysisMetric,
    model_quality::{
        Calibration, Classes, EstimatedPerformance, Evaluation, MOST_CLASSES, ModelQualityError, Options, ProblemType,
        Rows, SegmentOptions, TwoClasses, by_segment, check_constraints, evaluate, suggest_constraints,
    },
};
use model_monitor::{Constraints, MonitorType, Statistics, Switch};
use serde_json::{Value, json};
use std::collections::HashMap;

/// How a score becomes a probability, in the baseline's folder.
pub const CALIBRATION: &str = "calibration.json";

/// Into so many bins of rows the baseline goes, to calibrate probabilities.
const CALIBRATION_BINS: u32 = 20;
/// What stands for a segment's value where there is none.
const NO_SEGMENT: &str = "(missing)";

/// The model quality analysis.
#[derive(Debug, Clone)]
pub struct ModelQualityJob {
    config: AnalysisConfig,
}

/// The rows of a dataset that are evaluated, column by column.
enum Columned {
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

impl Columned {
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

/// What of a dataset is looked at.
struct Looked<'a> {
    label: Option<Found<'a>>,
    predicted: Option<Found<'a>>,
    probability: Option<Found<'a>>,
    segment: Option<Found<'a>>,
    /// Whether whole numbers stand where classes are booleans.
    numbers: bool,
}

impl Looked<'_> {
    /// The rows that have label and prediction.
    fn kept(&self, rows: usize, problem: ProblemType, notes: &mut Vec<String>) -> Vec<usize> {
        let mut left_out = LeftOut::default();
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

/// What the metrics of a dataset are.
struct Measured {
    columned: Columned,
    evaluation: Evaluation,
    segments: Option<Value>,
}

impl ModelQualityJob {
    /// The analysis of the columns that a configuration names.
    ///
    /// # Errors
    /// If it does not say what the model answers.
    pub fn new(config: AnalysisConfig) -> Result<Self, ConfigError> {
        if !config.names_prediction() {
            return Err(ConfigError::Missing {
                key: "inference_attribute",
                why: "model quality needs the column of the prediction, or `probability_attribute`, that of a probability",
            });
        }
        Ok(Self { config })
    }

    /// The configuration.
    pub fn config(&self) -> &AnalysisConfig {
        &self.config
    }

    /// The baseline that a dataset with labels makes: its metrics, and the constraints that they suggest.
    ///
    /// # Errors
    /// If the configuration does not fit the dataset, or no row has label and prediction.
    pub fn baseline(&self, dataset: &Dataset<Table>, truth: Option<&GroundTruth>) -> Result<Report, JobError> {
        let problem = self.config.problem_type.ok_or(ConfigError::Missing {
            key: "problem_type",
            why: "say BinaryClassification, MulticlassClassification or Regression",
        })?;
        let mut notes = notes(dataset);
        notes.extend(truth_notes(truth));
        let looked = self.look(dataset, problem)?;
        let measured = self.measure(&looked, dataset.sink.rows(), problem, &[], &mut notes)?;
        let Some(measured) = measured else {
            return Err(JobError::Data(format!(
                "no row of the dataset has label and prediction: there is nothing to make a baseline of{}",
                reasons(&notes)
            )));
        };
        let mut files = Self::files(&measured, &mut notes);
        if let (
            true,
            Columned::Binary {
                labels,
                probabilities: Some(probabilities),
                classes,
                ..
            },
        ) = (self.config.estimate_without_labels, &measured.columned)
        {
            let calibration = Calibration::binned(labels, probabilities, classes, CALIBRATION_BINS)?;
            files.push(ReportFile {
                name: CALIBRATION,
                content: json(&calibration),
            });
        }
        files.push(super::config_file(&self.config));
        Ok(Report {
            monitor_type: MonitorType::ModelQuality,
            item_count: measured.evaluation.rows,
            violations: Vec::new(),
            files,
            metrics: metrics(&measured.evaluation),
            notes,
        })
    }

    /// Holds a dataset with labels against a baseline.
    ///
    /// # Errors
    /// If the configuration does not fit the dataset, or the baseline is not one of model quality.
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
        let problem = self.config.problem_type.or_else(|| problem_of(constraints));
        let problem = problem.ok_or_else(|| {
            JobError::Data("the baseline's constraints.json is not one of model quality: it has no metrics".to_owned())
        })?;
        let mut notes = notes(dataset);
        notes.extend(truth_notes(truth));
        let mut report = Report {
            monitor_type: MonitorType::ModelQuality,
            item_count: 0,
            violations: Vec::new(),
            files: Vec::new(),
            metrics: Vec::new(),
            notes: Vec::new(),
        };
        if dataset.sink.rows() == 0 {
            notes.push("the dataset has no rows: nothing was checked, and that is not clean".to_owned());
            report.notes = notes;
            return Ok(report);
        }
        let looked = self.look(dataset, problem)?;
        let known = baseline.statistics.as_ref().map(classes_of).unwrap_or_default();
        if let Some(measured) = self.measure(&looked, dataset.sink.rows(), problem, &known, &mut notes)? {
            report.item_count = measured.evaluation.rows;
            let violations = check_constraints(&measured.evaluation, constraints)?;
            report.violations = violations
                .into_iter()
                .map(|violation| ConstraintViolation {
                    metric_name: Some(violation.metric_name),
                    constraint_check_type: violation.constraint_check_type.as_str().to_owned(),
                    description: violation.description,
                    ..ConstraintViolation::default()
                })
                .collect();
            report.files = Self::files(&measured, &mut Vec::new());
            report.metrics = metrics(&measured.evaluation);
        } else {
            notes.push("no row has label and prediction: nothing was checked, and that is not clean".to_owned());
        }
        if self.config.estimate_without_labels {
            self.estimate(
                &looked,
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

    /// How right each row was that has label and prediction: of a classification 1 where they agree and 0 where they do
    /// not, of a regression the prediction less the label.
    ///
    /// # Errors
    /// If the configuration does not fit the dataset.
    pub fn outcomes(&self, dataset: &Dataset<Table>) -> Result<Vec<f64>, JobError> {
        let problem = self.config.problem_type.ok_or(ConfigError::Missing {
            key: "problem_type",
            why: "say BinaryClassification, MulticlassClassification or Regression",
        })?;
        if dataset.sink.rows() == 0 {
            return Ok(Vec::new());
        }
        let looked = self.look(dataset, problem)?;
        let kept = looked.kept(dataset.sink.rows(), problem, &mut Vec::new());
        let Some(label) = looked.label.filter(|_| !kept.is_empty()) else {
            return Ok(Vec::new());
        };
        // Of few rows all may be of one class, which does not say what the other is.
        let known = ["0", "1"].map(str::to_owned);
        let columned = self.columned(&looked, label, &kept, problem, &[]);
        let columned = columned.or_else(|_| self.columned(&looked, label, &kept, problem, &known))?;
        let agree = |labels: &[u32], predictions: &[u32]| {
            let rows = labels.iter().zip(predictions);
            rows.map(|(label, predicted)| f64::from(label == predicted)).collect()
        };
        Ok(match &columned {
            Columned::Binary {
                labels, predictions, ..
            }
            | Columned::Multiclass {
                labels, predictions, ..
            } => agree(labels, predictions),
            Columned::Regression { labels, predictions } => {
                let rows = labels.iter().zip(predictions);
                rows.map(|(label, predicted)| predicted - label).collect()
            }
        })
    }

    fn look<'a>(&'a self, dataset: &'a Dataset<Table>, problem: ProblemType) -> Result<Looked<'a>, JobError> {
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
                "{key} is missing in analysis_config.json: nothing says what the model predicted"
            )));
        }
        if label.is_none() && !columns.captured() {
            return Err(JobError::Data(
                "`ground_truth_attribute` is missing in analysis_config.json: nothing says which column is the label"
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
        Ok(Looked {
            label,
            predicted,
            probability,
            segment,
            numbers,
        })
    }

    /// The metrics of the rows that have label and prediction; `None` if no row has both. `known` are the classes of the
    /// baseline.
    fn measure(
        &self,
        looked: &Looked<'_>,
        rows: usize,
        problem: ProblemType,
        known: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Option<Measured>, JobError> {
        let kept = looked.kept(rows, problem, notes);
        let Some(label) = looked.label.filter(|_| !kept.is_empty()) else {
            return Ok(None);
        };
        let columned = self.columned(looked, label, &kept, problem, known)?;
        let rows = columned.rows();
        let evaluation = evaluate(&rows, Options::default()).map_err(|error| looked.explain(&error))?;
        let segments = looked.segment.map(|segment| {
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
        Ok(Some(Measured {
            columned,
            evaluation,
            segments,
        }))
    }

    fn columned(
        &self,
        looked: &Looked<'_>,
        label: Found<'_>,
        kept: &[usize],
        problem: ProblemType,
        known: &[String],
    ) -> Result<Columned, JobError> {
        let numbers = |found: Found<'_>| -> Vec<f64> { kept.iter().filter_map(|row| found.number(*row)).collect() };
        let mut classes = Classes::default();
        if problem == ProblemType::Regression {
            return Ok(Columned::Regression {
                labels: numbers(label),
                predictions: looked.predicted.map(numbers).unwrap_or_default(),
            });
        }
        if problem == ProblemType::BinaryClassification {
            for class in known {
                classes.intern(class);
            }
        }
        let labels = interned(&mut classes, label, kept, looked.numbers)?;
        let predictions = looked
            .predicted
            .map(|predicted| interned(&mut classes, predicted, kept, looked.numbers))
            .transpose()?;
        if problem == ProblemType::MulticlassClassification {
            return Ok(Columned::Multiclass {
                labels,
                predictions: predictions.unwrap_or_default(),
                classes,
            });
        }
        let two = self.two_classes(&mut classes).map_err(|error| looked.explain(&error))?;
        let probabilities = looked.probability.map(numbers);
        let predictions = match (predictions, &probabilities) {
            (Some(predictions), _) => predictions,
            (None, Some(probabilities)) => self.decided(&mut classes, &two, probabilities),
            (None, None) => Vec::new(),
        };
        Ok(Columned::Binary {
            labels,
            predictions,
            probabilities,
            classes: two,
        })
    }

    /// The two classes; the positive one as the configuration says, if it does.
    fn two_classes(&self, classes: &mut Classes) -> Result<TwoClasses, ModelQualityError> {
        let positive = self.config.positive_label.as_ref().map(ToString::to_string);
        // A single positive value of the label is said for the bias analysis; it may be a threshold.
        let positive = positive.or_else(|| match self.config.label_values() {
            [value] => Some(value.to_string()).filter(|value| classes.sorted().contains(&value.as_str())),
            _ => None,
        });
        classes.binary(positive.as_deref())
    }

    /// What follows from probabilities.
    fn decided(&self, classes: &mut Classes, two: &TwoClasses, probabilities: &[f64]) -> Vec<u32> {
        let (positive, negative) = (classes.intern(two.positive()), classes.intern(two.negative()));
        let threshold = self.config.threshold();
        let decide = |probability: &f64| if *probability >= threshold { positive } else { negative };
        probabilities.iter().map(decide).collect()
    }

    /// What the metrics are to be expected to be, over all rows with a probability, whether they have a label or not.
    fn estimate(
        &self,
        looked: &Looked<'_>,
        rows: usize,
        (problem, known): (ProblemType, &[String]),
        baseline: &Baseline,
        report: &mut Report,
        notes: &mut Vec<String>,
    ) -> Result<(), JobError> {
        let Some(probability) = looked
            .probability
            .filter(|_| problem == ProblemType::BinaryClassification)
        else {
            notes.push(
                "performance is estimated of binary classifications with a probability only: there is no estimate.json"
                    .to_owned(),
            );
            return Ok(());
        };
        let has_prediction = |row: &usize| looked.predicted.is_none_or(|found| found.cell(*row) != Cell::Missing);
        let kept: Vec<usize> = (0..rows)
            .filter(|row| probability.number(*row).is_some() && has_prediction(row))
            .collect();
        if kept.is_empty() {
            notes.push("no row has a probability: there is no estimate.json".to_owned());
            return Ok(());
        }
        let mut classes = Classes::default();
        for class in known {
            classes.intern(class);
        }
        let predicted = looked
            .predicted
            .map(|found| interned(&mut classes, found, &kept, looked.numbers));
        if classes.is_empty() {
            classes.intern("1");
        }
        let two = self.two_classes(&mut classes).map_err(|error| looked.explain(&error))?;
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
                "{} is {:.4}, {} {}: an early warning from probabilities alone, no violation",
                warning.estimated_metric,
                warning.estimate,
                warning.comparison_operator.as_str(),
                warning.threshold,
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

    fn files(measured: &Measured, notes: &mut Vec<String>) -> Vec<ReportFile> {
        let suggestion = suggest_constraints(&measured.evaluation);
        if !suggestion.left_out.is_empty() {
            notes.push(format!(
                "the baseline has no number for {}: no constraint is suggested",
                suggestion.left_out.join(", ")
            ));
        }
        let mut files = vec![
            ReportFile {
                name: "statistics.json",
                content: json(&measured.evaluation.to_statistics()),
            },
            ReportFile {
                name: "constraints.json",
                content: json(&suggestion.constraints),
            },
        ];
        if let Some(segments) = &measured.segments {
            files.push(ReportFile {
                name: "segments.json",
                content: json(segments),
            });
        }
        files
    }
}

impl Looked<'_> {
    /// Why there is no evaluation, with what may be meant.
    fn explain(&self, error: &ModelQualityError) -> JobError {
        let hint = match (error, self.predicted) {
            (ModelQualityError::NotBinary { .. }, Some(found)) if found.column.is_fractional() => format!(
                "; if column `{}` is a probability, name it as `probability_attribute`, or `predictor.probability` in a \
                 response",
                found.name
            ),
            (ModelQualityError::PositiveUnknown { .. }, _) => " by `positive_label`".to_owned(),
            _ => String::new(),
        };
        JobError::Data(format!("{error}{hint}"))
    }
}

/// Why nothing is left, for a message.
fn reasons(notes: &[String]) -> String {
    let reasons: Vec<&str> = notes.iter().rev().take(3).map(String::as_str).collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join("; "))
    }
}

/// A column as numbers of classes.
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
        if classes.len() > MOST_CLASSES {
            return Err(ModelQualityError::TooManyClasses { classes: classes.len() }.into());
        }
        ids.push(id);
    }
    Ok(ids)
}

/// The kind of problem that constraints are of.
pub(super) fn problem_of(constraints: &Constraints) -> Option<ProblemType> {
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

/// The two classes of the baseline, by its confusion matrix: a window in which one is missing is still of both.
fn classes_of(statistics: &Statistics) -> Vec<String> {
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
