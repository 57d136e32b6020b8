//! Feature attributions: from a table to a report. The local SHAP values are in the dataset, or the model is called.

use super::{
    Baseline, JobError, all_notes,
    columns::{Columns, Found, request_columns},
    config::{AnalysisConfig, Shap, ShapBaseline},
    predictor::{Feature, Invoke, Model, Texts},
};
use crate::{
    read::Dataset,
    report::{Report, ReportFile, json},
    table::{Cell, Table},
};
use analysis::{
    Judgments,
    attribution::{self, AttributionError, GlobalShap, NDCG_THRESHOLD},
    bias,
    metric::AnalysisMetric,
    shap::{KernelShap, KernelShapOptions, ShapError, kmeans},
};
use model_monitor::{Analysis, Explanation, MonitorType};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Maximum number of predictions that one analysis requests from the model.
const MAX_PREDICTIONS: usize = 5_000_000;
/// Maximum number of rows that are clustered.
const CLUSTERED_ROWS: usize = 10_000;

/// Explainability analysis.
#[derive(Debug, Clone)]
pub struct ExplainabilityJob {
    config: AnalysisConfig,
}

/// Attributions, and how they were obtained.
struct AttributionSource {
    rows: u64,
    analysis: Analysis,
    /// Rows that features were compared with, if the model was called.
    baseline: Option<Vec<Vec<Value>>>,
}

impl ExplainabilityJob {
    /// Creates the analysis of a configuration.
    pub fn new(config: AnalysisConfig) -> Self {
        Self { config }
    }

    /// Configuration of the analysis.
    pub fn config(&self) -> &AnalysisConfig {
        &self.config
    }

    /// Creates a baseline from a dataset: with a model, from its rows; without a model, from its local SHAP values, one
    /// column per feature.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset or the model, or there are no rows.
    pub fn baseline(&self, dataset: &Dataset<Table>, model: Option<&mut Invoke<'_>>) -> Result<Report, JobError> {
        let mut notes = all_notes(dataset, None, &self.config);
        let Some(measured) = self.measure(dataset, model, &mut notes)? else {
            return Err(JobError::Data(
                "no row of the dataset has values: a baseline requires at least one".to_owned(),
            ));
        };
        let mut report = report(&measured, notes);
        // Later executions use the same reference rows as their baseline.
        let mut config = self.config.raw().clone();
        if let Some(rows) = measured.baseline {
            set(&mut config, &["methods", "shap", "baseline"], json!(rows));
        }
        report.files.push(ReportFile {
            name: super::ANALYSIS_CONFIG,
            content: json(&config),
        });
        Ok(report)
    }

    /// Compares the attributions of a dataset with those of a baseline.
    ///
    /// # Errors
    /// Fails if the configuration does not fit the dataset or the model, or if the baseline is not an explainability
    /// baseline or has other features.
    pub fn analyze(
        &self,
        dataset: &Dataset<Table>,
        baseline: &Baseline,
        model: Option<&mut Invoke<'_>>,
    ) -> Result<Report, JobError> {
        let constraints = baseline.analysis.as_ref().ok_or(JobError::Missing("analysis.json"))?;
        if constraints.explanations.is_none() {
            return Err(JobError::Data(
                "the baseline's analysis.json has no `explanations`: expected an explainability baseline".to_owned(),
            ));
        }
        let mut notes = all_notes(dataset, None, &self.config);
        let Some(measured) = self.measure(dataset, model, &mut notes)? else {
            notes.push(
                "no row of the dataset has values: nothing was checked, and the result is NoData, not Clean".to_owned(),
            );
            return Ok(Report {
                notes,
                ..Report::new(MonitorType::ModelExplainability)
            });
        };
        let drifts = attribution::drift(constraints, &measured.analysis)?;
        let mut violations = Vec::new();
        let mut judgments = Judgments::default();
        let mut judged = BTreeMap::new();
        let mut first: Option<AttributionError> = None;
        for (label, drift) in drifts {
            match drift {
                Ok(drift) => {
                    judgments.judged += 1;
                    violations.extend(drift.violation());
                    judged.insert(label, json!({"ndcg": drift.ndcg, "threshold": NDCG_THRESHOLD}));
                }
                Err(error) => {
                    notes.push(format!("attributions of label `{label}` were not checked: {error}"));
                    judgments.skip(label, "feature_attribution_drift_check", error.to_string());
                    first.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (judged.is_empty(), first) {
            return Err(error.into());
        }
        let mut report = report(&measured, notes);
        report.files.push(ReportFile {
            name: "attribution_drift.json",
            content: json(&json!({"version": "1.0", "labels": judged})),
        });
        Ok(Report {
            violations,
            judgments: Some(judgments),
            ..report
        })
    }

    fn measure(
        &self,
        dataset: &Dataset<Table>,
        model: Option<&mut Invoke<'_>>,
        notes: &mut Vec<String>,
    ) -> Result<Option<AttributionSource>, JobError> {
        let table = &dataset.sink;
        super::not_full(table)?;
        if table.rows() == 0 {
            return Ok(None);
        }
        let columns = Columns::new(&self.config, table);
        if model.is_none() && columns.captured() {
            return Err(JobError::Data(
                "captured data contains no SHAP values: set `predictor`, or analyze a dataset of local SHAP values \
                 with one column per feature"
                    .to_owned(),
            ));
        }
        let found = columns.features()?;
        if found.is_empty() {
            return Err(JobError::Data("the dataset has no feature columns".to_owned()));
        }
        match model {
            Some(invoke) => self
                .explain_rows(&columns, found, table.rows(), invoke, notes)
                .map(Some),
            None => self.aggregate_given(&found, table.rows(), notes),
        }
    }

    /// Global values from local values in the dataset.
    fn aggregate_given(
        &self,
        found: &[Found<'_>],
        rows: usize,
        notes: &mut Vec<String>,
    ) -> Result<Option<AttributionSource>, JobError> {
        let aggregation = self.config.shap().agg_method;
        let labels = by_label(found, &self.config.predictor.label_names());
        let mut global: Vec<GlobalShap> = labels
            .iter()
            .map(|(_, features)| GlobalShap::new(aggregation, features.len()))
            .collect();
        let (mut kept, mut left_out) = (0_u64, 0_u64);
        for row in 0..rows {
            let numbers = |features: &Vec<(String, Found<'_>)>| {
                let numbers = features.iter().map(|(_, found)| found.number(row));
                numbers.collect::<Option<Vec<f64>>>()
            };
            let of_labels: Option<Vec<Vec<f64>>> = labels.iter().map(|(_, features)| numbers(features)).collect();
            let Some(of_labels) = of_labels else {
                left_out += 1;
                continue;
            };
            kept += 1;
            for (global, numbers) in global.iter_mut().zip(&of_labels) {
                global.add(numbers)?;
            }
        }
        if left_out > 0 {
            notes.push(format!(
                "{left_out} of {rows} rows are ignored because they contain values that are not numbers. Without a \
                 model, the columns must be local SHAP values of the features"
            ));
        }
        if kept == 0 {
            return Ok(None);
        }
        let mut explanations = BTreeMap::new();
        for ((label, features), global) in labels.iter().zip(global) {
            let values = global.finish()?;
            let values = features.iter().map(|(name, _)| name.clone()).zip(values).collect();
            explanations.insert(label.clone(), attribution::explanation(&values, None));
        }
        Ok(Some(AttributionSource {
            rows: kept,
            analysis: attribution::analysis(explanations),
            baseline: None,
        }))
    }

    /// Global values computed by calls to the model, on a sample of the rows.
    fn explain_rows(
        &self,
        columns: &Columns<'_>,
        mut found: Vec<Found<'_>>,
        rows: usize,
        invoke: &mut Invoke<'_>,
        notes: &mut Vec<String>,
    ) -> Result<AttributionSource, JobError> {
        let shap = self.config.shap();
        if !columns.captured() && !self.config.headers.is_empty() {
            let order = request_columns(&self.config);
            let place = |found: &Found<'_>| order.iter().position(|name| name == found.name).unwrap_or(usize::MAX);
            found.sort_by_key(place);
        }
        let mut features: Vec<Feature> = found
            .iter()
            .map(|found| Feature {
                name: found.name.to_owned(),
                texts: texts(found),
            })
            .collect();
        let given = Self::given_rows(&shap, &mut features)?;
        let row = |row: usize| -> Vec<f64> {
            let cells = found.iter().zip(&features);
            cells.map(|(found, feature)| coded(found, row, feature)).collect()
        };
        let background = match given {
            Some(rows) => rows,
            None => clusters(
                &shap,
                &features,
                sampled(rows, CLUSTERED_ROWS, shap.seed).into_iter().map(row).collect(),
            )?,
        };
        let predictor = &self.config.predictor;
        let mut model = Model::new(predictor, &features, invoke).map_err(JobError::Data)?;
        let options = KernelShapOptions {
            num_samples: shap.num_samples,
            seed: shap.seed,
            use_logit: shap.use_logit,
            batch_rows: model.batch_rows(shap.batch_rows),
        };
        let sample = sampled(rows, shap.sample_rows, shap.seed);
        let mut predict = |rows: &[Vec<f64>]| model.predict(rows);
        let explainer = KernelShap::new(background.clone(), options, &mut predict).map_err(shap_failed)?;
        let predictions = explainer.rows_per_explanation().saturating_mul(sample.len());
        if predictions > MAX_PREDICTIONS {
            return Err(JobError::Data(format!(
                "the analysis needs {predictions} predictions; the limit is {MAX_PREDICTIONS}: lower \
                 `methods.shap.num_samples` or `sample_rows`, or list fewer rows in `baseline`"
            )));
        }
        if sample.len() < rows {
            notes.push(format!(
                "{} of {rows} rows are explained, sampled with seed {}: `methods.shap.sample_rows` sets the number",
                sample.len(),
                shap.seed
            ));
        }
        let labels = explainer.expected().len();
        let mut global = vec![GlobalShap::new(shap.agg_method, features.len()); labels];
        for at in &sample {
            let local = explainer.explain(&row(*at), &mut predict).map_err(shap_failed)?;
            for (global, values) in global.iter_mut().zip(&local.values) {
                global.add(values)?;
            }
        }
        let names = self.config.predictor.label_names();
        let mut explanations = BTreeMap::new();
        for (at, (global, expected)) in global.into_iter().zip(explainer.expected()).enumerate() {
            let values = global.finish()?;
            let values = features
                .iter()
                .map(|feature| feature.name.clone())
                .zip(values)
                .collect();
            let label = names.get(at).cloned().unwrap_or_else(|| format!("label{at}"));
            explanations.insert(label, attribution::explanation(&values, Some(*expected)));
        }
        let shown = |row: &Vec<f64>| {
            features
                .iter()
                .zip(row)
                .map(|(feature, number)| feature.value(*number))
                .collect()
        };
        Ok(AttributionSource {
            rows: sample.len() as u64,
            analysis: attribution::analysis(explanations),
            baseline: Some(background.iter().map(shown).collect()),
        })
    }

    /// Reference rows of the configuration as numbers. New strings are registered.
    fn given_rows(shap: &Shap, features: &mut [Feature]) -> Result<Option<Vec<Vec<f64>>>, JobError> {
        let rows = match &shap.baseline {
            None => return Ok(None),
            Some(ShapBaseline::Rows(rows)) => rows,
            Some(ShapBaseline::Other(other)) => {
                return Err(JobError::Data(format!(
                    "`methods.shap.baseline` is {other}: expected a list of rows, each with the values of all features in order; \
                     copy the rows into the configuration"
                )));
            }
        };
        if rows.is_empty() {
            return Err(JobError::Data(
                "`methods.shap.baseline` has no rows: expected at least one".to_owned(),
            ));
        }
        let mut coded = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            if row.len() != features.len() {
                let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
                return Err(JobError::Data(format!(
                    "`methods.shap.baseline[{at}]` has {} values: expected {}, one per feature ({})",
                    row.len(),
                    features.len(),
                    names.join(", ")
                )));
            }
            let cells = row.iter().zip(features.iter_mut());
            coded.push(
                cells
                    .map(|(cell, feature)| code(cell, feature))
                    .collect::<Result<_, _>>()?,
            );
        }
        Ok(Some(coded))
    }
}

/// Strings of a column that contains any; its numbers count as strings too.
fn texts(found: &Found<'_>) -> Option<Texts> {
    if found.column.texts().is_empty() {
        return None;
    }
    let mut texts = Texts::default();
    for text in found.column.texts() {
        texts.add(text);
    }
    for cell in found.column.cells() {
        if let (Cell::Number(_), Some(text)) = (cell, found.column.text(*cell)) {
            texts.add(&text);
        }
    }
    Some(texts)
}

/// Number that represents a value of a baseline row.
fn code(cell: &bias::Cell, feature: &mut Feature) -> Result<f64, JobError> {
    let text = match cell {
        bias::Cell::Null => return Ok(f64::NAN),
        bias::Cell::Bool(true) => "true".to_owned(),
        bias::Cell::Bool(false) => "false".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "features are doubles")]
        bias::Cell::Int(number) if feature.texts.is_none() => return Ok(*number as f64),
        bias::Cell::Float(number) if feature.texts.is_none() => return Ok(*number),
        bias::Cell::Int(_) | bias::Cell::Float(_) | bias::Cell::Text(_) => cell.to_string(),
    };
    let Some(texts) = &mut feature.texts else {
        return Err(JobError::Data(format!(
            "`methods.shap.baseline` has the string `{text}` for `{}`: expected a number, as in the dataset",
            feature.name
        )));
    };
    Ok(texts.add(&text))
}

/// Number that represents a cell.
fn coded(found: &Found<'_>, row: usize, feature: &Feature) -> f64 {
    match found.cell(row) {
        Cell::Missing => f64::NAN,
        Cell::Text(place) => f64::from(place),
        cell @ Cell::Number(number) => {
            let text = || found.column.text(cell).unwrap_or_default();
            feature
                .texts
                .as_ref()
                .map_or(number, |texts| texts.place(&text()).unwrap_or(f64::NAN))
        }
    }
}

/// Cluster centers of the rows, used if no baseline rows are set.
fn clusters(shap: &Shap, features: &[Feature], mut rows: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>, JobError> {
    if let Some(feature) = features.iter().find(|feature| feature.texts.is_some()) {
        return Err(JobError::Data(format!(
            "feature `{}` contains strings, which have no clusters: set `methods.shap.baseline` to the rows to \
             compare with",
            feature.name
        )));
    }
    rows.retain(|row| row.iter().all(|number| number.is_finite()));
    if rows.is_empty() {
        return Err(JobError::Data(
            "no row has a value for every feature, so there are no clusters: set `methods.shap.baseline` to the rows \
             to compare with"
                .to_owned(),
        ));
    }
    kmeans(&rows, shap.num_clusters, shap.seed)
        .map_err(|error| JobError::Data(format!("`methods.shap.num_clusters`: {error}")))
}

/// Indices of at most `most` rows, sampled with the seed, in order.
fn sampled(rows: usize, most: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<(u64, usize)> = Vec::new();
    if rows <= most {
        return (0..rows).collect();
    }
    for row in 0..rows {
        let mut key = [0; 16];
        let (first, second) = key.split_at_mut(8);
        first.copy_from_slice(&seed.to_le_bytes());
        second.copy_from_slice(&(row as u64).to_le_bytes());
        all.push((analysis::stable_hash(&key), row));
    }
    all.sort_unstable();
    all.truncate(most);
    let mut drawn: Vec<usize> = all.into_iter().map(|(_, row)| row).collect();
    drawn.sort_unstable();
    drawn
}

/// Columns of each label, with the names of their features. Clarify names a column of local values by feature and
/// label: `age_label0`. Without such names there is one label.
fn by_label<'a>(found: &[Found<'a>], headers: &[String]) -> Vec<(String, Vec<(String, Found<'a>)>)> {
    let split = |found: &Found<'_>| -> Option<(String, String)> {
        let of_header = headers.iter().find_map(|label| {
            let feature = found.name.strip_suffix(label.as_str())?.strip_suffix('_')?;
            Some((label.clone(), feature.to_owned()))
        });
        of_header.or_else(|| {
            let (feature, place) = found.name.rsplit_once("_label")?;
            let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
            is_place.then(|| (format!("label{place}"), feature.to_owned()))
        })
    };
    let splits: Option<Vec<(String, String)>> = found.iter().map(split).collect();
    let Some(splits) = splits else {
        let label = headers.first().cloned().unwrap_or_else(|| "label0".to_owned());
        let features = found.iter().map(|found| (found.name.to_owned(), *found));
        return vec![(label, features.collect())];
    };
    let mut labels: Vec<(String, Vec<(String, Found<'a>)>)> = Vec::new();
    for ((label, feature), found) in splits.into_iter().zip(found) {
        match labels.iter_mut().find(|(known, _)| *known == label) {
            Some((_, features)) => features.push((feature, *found)),
            None => labels.push((label, vec![(feature, *found)])),
        }
    }
    labels
}

fn shap_failed(error: ShapError<String>) -> JobError {
    match error {
        ShapError::Model(why) => JobError::Data(format!("the model failed: {why}")),
        other => JobError::Data(other.to_string()),
    }
}

/// Sets a value in nested objects, which are created if missing.
fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    if let Some(object) = object.as_object_mut() {
        set(object.entry(*key).or_insert(Value::Null), rest, value);
    }
}

fn report(measured: &AttributionSource, notes: Vec<String>) -> Report {
    Report {
        item_count: measured.rows,
        files: vec![ReportFile {
            name: "analysis.json",
            content: json(&measured.analysis),
        }],
        metrics: metrics(&measured.analysis),
        notes,
        ..Report::new(MonitorType::ModelExplainability)
    }
}

/// Metrics that Clarify publishes: the global values of every label, and the mean prediction of the model.
fn metrics(analysis: &Analysis) -> Vec<AnalysisMetric> {
    let explanations = analysis.explanations.as_ref();
    let labels = explanations.and_then(|explanations| explanations.kernel_shap.as_ref());
    let mut metrics = Vec::new();
    for (label, explanation) in labels.into_iter().flatten() {
        let dimensions = |value_type: &str| {
            [
                ("ExplainabilityMethod", "KernelShap"),
                ("Label", label.as_str()),
                ("ValueType", value_type),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
        };
        let Explanation {
            global_shap_values,
            expected_value,
            ..
        } = explanation;
        metrics.extend(global_shap_values.iter().filter_map(|(feature, value)| {
            AnalysisMetric::value(format!("feature_{feature}"), dimensions("GlobalShapValues"), value.0)
        }));
        metrics.extend(expected_value.and_then(|expected| {
            AnalysisMetric::value("ExpectedValue".to_owned(), dimensions("ExpectedValue"), expected)
        }));
    }
    metrics
}
