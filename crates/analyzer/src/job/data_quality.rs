//! Data quality: from a profile to a report.

use super::{Baseline, DataQualityOptions, JobError, Thresholds, has_long_rows, notes, spelling, tolerance_file};
use crate::{
    read::Dataset,
    report::{Report, ReportFile, json},
};
use analysis::{
    ConstraintViolation, Profile,
    data_quality::{
        self, ColumnDrift, TolerantSuggestion, check, check_settings, keep_edits, metrics, statistics, suggest,
        suggest_with_tolerance,
    },
};
use model_monitor::{ConstraintCheckType, Constraints, MonitorType, MonitoringConfig, Statistics, Switch};
use serde::Serialize;
use std::collections::BTreeMap;

/// Maximum number of columns with mixed types that are reported individually.
const MAX_MIXED_COLUMNS: usize = 10;

/// Data quality analysis.
#[derive(Debug, Clone, Copy, Default)]
pub struct DataQualityJob {
    /// Options of the checks; used where the constraints do not set them.
    pub options: DataQualityOptions,
    /// How the thresholds of a baseline are made.
    pub thresholds: Thresholds,
}

/// `drift.json`: the distances of every column, drifted or not. Model Monitor writes no such file.
#[derive(Serialize)]
struct DriftFile<'a> {
    version: f64,
    features: &'a [ColumnDrift],
}

/// Comparison with the baseline, for the HTML page.
#[derive(Debug, Clone)]
pub struct BaselineComparison {
    /// Statistics of the dataset.
    pub statistics: Statistics,
    /// Drift of its columns.
    pub drift: Vec<ColumnDrift>,
}

impl DataQualityJob {
    /// Creates a baseline from a dataset: statistics and suggested constraints.
    ///
    /// # Errors
    /// Fails if the dataset has no rows.
    pub fn baseline(&self, dataset: &Dataset<Profile>) -> Result<Report, JobError> {
        self.next_baseline(dataset, &Baseline::default())
    }

    /// Creates a baseline from a dataset that replaces an earlier one. Settings of the earlier constraints are kept,
    /// those of a column as long as the column exists.
    ///
    /// # Errors
    /// Fails if the dataset has no rows.
    pub fn next_baseline(&self, dataset: &Dataset<Profile>, before: &Baseline) -> Result<Report, JobError> {
        let report = self.create(dataset, before);
        report.map_err(|error| error.with_notes(&notes(dataset)))
    }

    fn create(&self, dataset: &Dataset<Profile>, before: &Baseline) -> Result<Report, JobError> {
        let profile = &dataset.sink;
        if profile.item_count() == 0 {
            return Err(JobError::Data(
                "the dataset has no rows: a baseline requires at least one".to_owned(),
            ));
        }
        let mut notes = notes(dataset);
        if profile.columns().len() == 0 {
            return Err(JobError::Data(
                "the dataset has no readable column: a baseline requires at least one".to_owned(),
            ));
        }
        let mut mixed = Vec::new();
        for (name, column) in profile.columns() {
            let expected = match column.inferred_type().as_str() {
                "Fractional" => column.class_count(analysis::Class::Fractional),
                "String" => column.class_count(analysis::Class::String) + column.class_count(analysis::Class::Boolean),
                _ => continue,
            };
            if expected < column.present() {
                let kind = column.inferred_type().as_str();
                mixed.push(format!(
                    "column `{name}` is {kind}, but {} of its {} values have another type: such data violates the \
                     data type check, which expects all values to match. Lower datatype_check_threshold for the \
                     column, or check with lenient types",
                    column.present() - expected,
                    column.present(),
                ));
            }
        }
        let beyond = mixed.len().saturating_sub(MAX_MIXED_COLUMNS);
        notes.extend(mixed.into_iter().take(MAX_MIXED_COLUMNS));
        if beyond > 0 {
            notes.push(format!("other columns with values of another type: {beyond}"));
        }
        let earlier = before.constraints.as_ref();
        let (constraints, tolerance) = match self.thresholds {
            Thresholds::Exact => {
                let mut constraints = suggest(profile);
                if let Some(earlier) = earlier {
                    keep_settings(&mut constraints, earlier);
                }
                (constraints, None)
            }
            Thresholds::Tolerant { rows_per_execution } => {
                let TolerantSuggestion {
                    mut constraints,
                    tolerance,
                    identifiers,
                } = suggest_with_tolerance(profile, rows_per_execution);
                let known = before.tolerance.as_ref().and_then(|of| of.data_quality.as_ref());
                if let (Some(earlier), Some(known)) = (earlier, known) {
                    keep_edits(&mut constraints, earlier, known);
                }
                notes.extend(identifiers_note(&identifiers));
                (constraints, Some(tolerance_file(&tolerance)))
            }
        };
        let mut files = files(&statistics(profile), &constraints);
        files.extend(tolerance);
        Ok(Report {
            item_count: profile.item_count(),
            files,
            notes,
            ..Report::new(MonitorType::DataQuality)
        })
    }

    /// Compares a dataset with a baseline.
    ///
    /// # Errors
    /// Fails if the baseline has no constraints.
    pub fn analyze(
        &self,
        dataset: &Dataset<Profile>,
        baseline: &Baseline,
    ) -> Result<(Report, BaselineComparison), JobError> {
        let constraints = baseline
            .constraints
            .as_ref()
            .ok_or(JobError::Missing("constraints.json"))?;
        if constraints.features.is_none() {
            return Err(JobError::Data(
                "the baseline's constraints.json has no `features`: expected constraints of data quality".to_owned(),
            ));
        }
        check_settings(constraints).map_err(JobError::Data)?;
        let profile = &dataset.sink;
        let mut notes = notes(dataset);
        let as_read = serde_json::to_value(constraints).unwrap_or_default();
        notes.extend(spelling::CONSTRAINTS.misspelled("constraints.json", &as_read));
        let current = statistics(profile);
        if profile.item_count() == 0 {
            notes.push("the dataset has no rows: nothing was checked, and the result is NoData, not Clean".to_owned());
        }
        let against = data_quality::Baseline {
            constraints,
            statistics: baseline.statistics.as_ref(),
            tolerance: baseline.tolerance.as_ref(),
        };
        let mut found = if profile.item_count() > 0 {
            check(profile, &against, &self.options)
        } else {
            data_quality::DataQuality::default()
        };
        let extra = |violation: &ConstraintViolation| {
            violation.constraint_check_type == ConstraintCheckType::ExtraColumn.as_str()
        };
        let config = constraints.monitoring_config.as_ref();
        let evaluates = config.and_then(|config| config.evaluate_constraints) != Some(Switch::Disabled);
        if evaluates && has_long_rows(&dataset.findings) && !found.violations.iter().any(extra) {
            let columns = profile.columns().len();
            found.violations.push(ConstraintViolation::for_feature(
                "Extra columns",
                &ConstraintCheckType::ExtraColumn,
                format!(
                    "There are extra columns in current dataset. Number of columns in current dataset: more than \
                     {columns} in some rows, Number of columns in baseline constraints: {columns}"
                ),
            ));
        }
        notes.append(&mut found.notes);
        let mut files = files(&current, &suggest(profile));
        if !found.drift.is_empty() {
            files.push(ReportFile {
                name: "drift.json",
                content: json(&DriftFile {
                    version: 0.0,
                    features: &found.drift,
                }),
            });
        }
        let silent = config.and_then(|config| config.emit_metrics) == Some(Switch::Disabled);
        let metrics = if silent { Vec::new() } else { metrics(profile, &found) };
        let report = Report {
            monitor_type: MonitorType::DataQuality,
            item_count: profile.item_count(),
            violations: found.violations,
            judgments: Some(found.judgments),
            files,
            metrics,
            notes,
        };
        let compared = BaselineComparison {
            statistics: current,
            drift: found.drift,
        };
        Ok((report, compared))
    }
}

/// Says which columns are not compared.
fn identifiers_note(identifiers: &[String]) -> Option<String> {
    let names: Vec<String> = identifiers
        .iter()
        .take(MAX_MIXED_COLUMNS)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = identifiers.len().saturating_sub(names.len());
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (!names.is_empty()).then(|| {
        format!(
            "not compared, because the values look like identifiers, times, or free text: {}{more}; to compare a column, delete \
             its `perform_comparison` in constraints.json",
            names.join(", ")
        )
    })
}

/// Copies the settings of an earlier baseline.
fn keep_settings(constraints: &mut Constraints, before: &Constraints) {
    if before.monitoring_config.is_some() {
        constraints.monitoring_config.clone_from(&before.monitoring_config);
    }
    let overrides: BTreeMap<&str, &MonitoringConfig> = before
        .features
        .iter()
        .flatten()
        .filter_map(|feature| Some((feature.name.as_str(), feature.overrides()?)))
        .collect();
    for feature in constraints.features.iter_mut().flatten() {
        feature.monitoring_config_overrides = overrides.get(feature.name.as_str()).copied().cloned();
    }
}

fn files(statistics: &Statistics, constraints: &Constraints) -> Vec<ReportFile> {
    vec![
        ReportFile {
            name: "statistics.json",
            content: json(statistics),
        },
        ReportFile {
            name: "constraints.json",
            content: json(constraints),
        },
    ]
}
