//! Bias report of one facet, and `analysis.json` of several.

use super::{
    Bootstrap, Cell, Column, FacetCounts, Features, Intervals, MetricError, MetricResult, SelectionError, Stage,
    column::Categories,
    counts::Table,
    drift, flip_test,
    selection::{self, ColumnReading, Selection},
};
use model_monitor::{Analysis, BiasFacet, BiasMetric, BiasMetrics};
use serde_json::Value;

/// Maximum number of values that are each compared with the rest, for a facet without listed values.
pub const MAX_FACET_VALUES: usize = 1_000;

/// How values are read: as codes, or as measurements with a threshold.
#[derive(Debug, Clone, Copy)]
pub enum Reading<'a> {
    /// As smclarify 0.5 reads them: integers of which at least 5% are distinct are measurements.
    Clarify,
    /// As for a baseline: the same, but few distinct integers are codes in any number of rows.
    Baseline,
    /// As the baseline of the execution was read.
    Execution(&'a Analysis),
}

impl Reading<'_> {
    fn label(self) -> ColumnReading {
        self.column(|section| section.label_value_or_threshold.iter().cloned().collect())
    }

    fn facet(self, name: &str) -> ColumnReading {
        self.column(|section| {
            let values = section.facets.get(name).into_iter().flatten();
            values.map(|value| value.value_or_threshold.clone()).collect()
        })
    }

    fn column(self, names: impl Fn(&BiasMetrics) -> Vec<String>) -> ColumnReading {
        let baseline = match self {
            Self::Clarify => return ColumnReading::Clarify,
            Self::Baseline => return ColumnReading::FewAreCodes,
            Self::Execution(baseline) => baseline,
        };
        let sections = [
            &baseline.pre_training_bias_metrics,
            &baseline.post_training_bias_metrics,
        ];
        let names: Vec<String> = sections.into_iter().flatten().flat_map(names).collect();
        match names.first() {
            None => ColumnReading::FewAreCodes,
            Some(name) if drift::threshold(name).is_some() => ColumnReading::Threshold,
            Some(_) => ColumnReading::Codes,
        }
    }
}

/// Columns and values of a report.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Columns of the dataset by name, all of the same length. Columns that no other field names are features of the
    /// flip test; so is `group_variable`.
    pub columns: &'a [(String, Column)],
    /// Column of the facet.
    pub facet: &'a str,
    /// Values of the sensitive group, or one threshold above which values are sensitive. If empty, each value is
    /// compared with the rest.
    pub facet_values_or_threshold: &'a [Cell],
    /// Column of the label.
    pub label: &'a str,
    /// Positive labels, or one threshold above which labels are positive.
    pub label_values_or_threshold: &'a [Cell],
    /// Column of the predicted label. Without predictions there is no post-training report.
    pub predicted_label: Option<&'a str>,
    /// Rows with a positive prediction, derived from probabilities, instead of a column of predicted labels.
    pub accepted: Option<&'a [bool]>,
    /// Column of the subgroups of conditional metrics.
    pub group_variable: Option<&'a str>,
    /// How facet, label, and prediction are read.
    pub reading: Reading<'a>,
}

/// Metrics of one value, several values, or an interval of a facet.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetReport {
    /// Value, values (`a,b`), or interval (`(40.0, 79.376]`).
    pub value_or_threshold: String,
    /// Row selection of the facet.
    pub counts: FacetCounts,
    /// Metrics of facet and label, by name.
    pub pre_training: Vec<MetricResult>,
    /// Metrics of the predictions, by name; empty without predictions.
    pub post_training: Vec<MetricResult>,
}

/// Bias report of a facet.
#[derive(Debug, Clone, PartialEq)]
pub struct BiasReport {
    /// Name of the facet.
    pub facet: String,
    /// Name of the label.
    pub label: String,
    /// Positive values of the label, or their interval.
    pub label_value_or_threshold: String,
    /// Whether there were predictions.
    pub post_training: bool,
    /// Values of the facet in order of occurrence, or the requested value.
    pub facets: Vec<FacetReport>,
}

impl BiasReport {
    /// Stages of its metrics.
    pub fn stages(&self) -> &'static [Stage] {
        if self.post_training {
            &[Stage::PreTraining, Stage::PostTraining]
        } else {
            &[Stage::PreTraining]
        }
    }

    /// Bootstrap intervals of the metrics, for [`super::check`].
    pub fn intervals(&self, bootstrap: &Bootstrap) -> Intervals {
        let mut intervals = Intervals::new();
        for facet in &self.facets {
            for (metric, interval) in bootstrap.intervals(&facet.counts, self.stages()) {
                let key = (self.facet.clone(), facet.value_or_threshold.clone(), metric);
                intervals.insert(key, interval);
            }
        }
        intervals
    }
}

/// Creates a report on a facet as in Clarify. A metric without a value contains the reason. A problem that concerns all
/// metrics is an error.
///
/// # Errors
/// Fails if a column is missing or has another length, values do not fit a column, a threshold is missing, or no
/// prediction is positive.
pub fn bias_report(request: &Request<'_>) -> Result<BiasReport, SelectionError> {
    let column = |field, name: &str| {
        let found = request.columns.iter().find(|(found, _)| found == name);
        found.map(|(_, column)| column).ok_or_else(|| SelectionError::NoColumn {
            field,
            name: name.to_owned(),
        })
    };
    let facet = column("facet", request.facet)?;
    let label = column("label", request.label)?;
    let named = |field, name: Option<&'_ str>| name.map(|name| column(field, name)).transpose();
    let predicted = named("predicted_label", request.predicted_label)?;
    let group = named("group_variable", request.group_variable)?;
    if request.predicted_label == Some(request.facet) {
        return Err(SelectionError::FacetIsPrediction(request.facet.to_owned()));
    }
    let rows = facet.len();
    for (name, column) in request.columns {
        if column.len() != rows {
            return Err(SelectionError::Length {
                name: name.clone(),
                found: column.len(),
                expected: rows,
            });
        }
    }
    if rows == 0 {
        return Err(SelectionError::NoRows);
    }
    let values = request.facet_values_or_threshold;
    let reading = request.reading;
    let facets = selection::facets(
        request.facet,
        facet,
        values,
        reading.facet(request.facet),
        MAX_FACET_VALUES,
    )?;
    let (positive, selected) = selection::labels(
        (request.label, label),
        request.predicted_label.zip(predicted),
        request.label_values_or_threshold,
        reading.label(),
    )?;
    let accepted = match request.accepted {
        Some(given) if given.len() != rows => {
            return Err(SelectionError::Length {
                name: "accepted".to_owned(),
                found: given.len(),
                expected: rows,
            });
        }
        Some(given) if matches!(reading, Reading::Clarify) && !given.contains(&true) => {
            return Err(SelectionError::NoneAccepted);
        }
        Some(given) => Some(given.to_vec()),
        None => selected,
    };
    let roles = [Some(request.facet), Some(request.label), request.predicted_label];
    let is_feature = |(name, _): &&(String, Column)| !roles.contains(&Some(name.as_str()));
    let features = request.columns.iter().filter(is_feature);
    let dataset = Dataset {
        label: positive.rows,
        features: match accepted {
            Some(_) => Features::new(rows, features.map(|(name, column)| (name.as_str(), column))),
            None => Err(MetricError::NoFeatures),
        },
        predicted: accepted,
        groups: Groups::new(group),
    };
    Ok(BiasReport {
        facet: request.facet.to_owned(),
        label: request.label.to_owned(),
        label_value_or_threshold: positive.name,
        post_training: dataset.predicted.is_some(),
        facets: facets.into_iter().map(|facet| dataset.report(facet)).collect(),
    })
}

/// Subgroups of the rows.
pub(crate) enum Groups {
    Categories(Categories),
    Unknown(MetricError),
}

impl Groups {
    /// Subgroups from the values of a column, which must be ordered. Nulls among numbers have no subgroup. Other
    /// columns with nulls or mixed types give an error.
    pub(crate) fn new(column: Option<&Column>) -> Self {
        let Some(column) = column.filter(|column| !column.is_empty()) else {
            return Self::Unknown(MetricError::NoGroup);
        };
        if let Column::Object(cells) = column {
            let texts = cells.iter().filter(|cell| matches!(cell, Cell::Text(_))).count();
            let nulls = cells.contains(&Cell::Null);
            if nulls || (texts > 0 && texts < cells.len()) {
                return Self::Unknown(MetricError::MixedGroup);
            }
        }
        Self::Categories(column.categories())
    }
}

/// Rows, shared by all facets.
pub(crate) struct Dataset {
    pub(crate) label: Vec<bool>,
    pub(crate) predicted: Option<Vec<bool>>,
    pub(crate) groups: Groups,
    pub(crate) features: Result<Features, MetricError>,
}

impl Dataset {
    fn report(&self, facet: Selection) -> FacetReport {
        let counts = self.count(&facet.rows);
        FacetReport {
            value_or_threshold: facet.name,
            pre_training: counts.pre_training(),
            post_training: match &self.predicted {
                Some(predicted) => counts.post_training(&self.flip_test(&counts, &facet.rows, predicted)),
                None => Vec::new(),
            },
            counts,
        }
    }

    pub(crate) fn flip_test(
        &self,
        counts: &FacetCounts,
        facet: &[bool],
        predicted: &[bool],
    ) -> Result<f64, MetricError> {
        counts.both_groups()?;
        flip_test(self.features.as_ref().map_err(Clone::clone)?, facet, predicted)
    }

    pub(crate) fn count(&self, facet: &[bool]) -> FacetCounts {
        let (mut counts, groups) = match &self.groups {
            Groups::Categories(categories) => (FacetCounts::with_subgroups(), Some(categories)),
            Groups::Unknown(reason) => (FacetCounts::without_subgroups(reason.clone()), None),
        };
        let mut tables = vec![Table::default(); groups.map_or(0, |groups| groups.values.len())];
        let mut rest = Table::default();
        for (row, (facet, label)) in facet.iter().zip(&self.label).enumerate() {
            let predicted = self.predicted.as_ref().and_then(|predicted| predicted.get(row));
            let code = groups.and_then(|groups| *groups.codes.get(row)?);
            let table = code.and_then(|code| tables.get_mut(code)).unwrap_or(&mut rest);
            *table.cell(*facet, *label, predicted.copied().unwrap_or_default()) += 1;
        }
        counts.add_table(&rest);
        for (table, value) in tables.iter().zip(groups.map_or(&[][..], |groups| &groups.values)) {
            counts.add_subgroup(&value.to_string(), table);
        }
        counts
    }
}

/// `analysis.json` of reports on several facets with one label. It also is the constraints file of the bias monitor.
pub fn analysis(reports: &[BiasReport]) -> Analysis {
    let section = |post_training: bool| {
        let mut section: Option<BiasMetrics> = None;
        for report in reports.iter().filter(|report| !post_training || report.post_training) {
            let metrics = |facet: &FacetReport| {
                let results = if post_training {
                    &facet.post_training
                } else {
                    &facet.pre_training
                };
                results.iter().map(MetricResult::published).collect()
            };
            let facets = report.facets.iter().map(|facet| BiasFacet {
                value_or_threshold: facet.value_or_threshold.clone(),
                metrics: metrics(facet),
                ..BiasFacet::default()
            });
            let section = section.get_or_insert_with(|| BiasMetrics {
                label: Some(report.label.clone()),
                label_value_or_threshold: Some(report.label_value_or_threshold.clone()),
                ..BiasMetrics::default()
            });
            section.facets.entry(report.facet.clone()).or_default().extend(facets);
        }
        section
    };
    Analysis {
        version: Some(Value::String("1.0".to_owned())),
        pre_training_bias_metrics: section(false),
        post_training_bias_metrics: section(true),
        ..Analysis::default()
    }
}

impl MetricResult {
    /// Metric as in `analysis.json`.
    pub fn published(&self) -> BiasMetric {
        BiasMetric {
            name: self.metric.name().to_owned(),
            description: Some(self.metric.description().to_owned()),
            value: self.outcome.as_ref().ok().copied(),
            error: self.outcome.as_ref().err().map(MetricError::to_string),
            ..BiasMetric::default()
        }
    }
}
