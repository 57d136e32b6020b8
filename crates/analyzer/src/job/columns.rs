//! Maps the configuration to the columns of a dataset.
//!
//! | dataset | label | prediction | features |
//! | --- | --- | --- | --- |
//! | flat: CSV, JSON Lines, Parquet | its own column | its own columns | by name |
//! | captured data | `label`, from the ground truth | `output:0` or `output:KEY` | named by the headers, else `_c0`, `_c1`, … |
//!
//! A response without names has the prediction first, then the probability, if it has as many columns as the configuration names.
//! With `headers`, the last ones that are not the label are those of the response. So one configuration is valid for a file with a
//! header and for captured data.
//!
//! Multiclass classification without a predicted label: the prediction is the class with the highest probability.

use super::{
    JobError,
    config::{AnalysisConfig, Named},
};
use crate::{
    read::{LABEL, OUTPUT, is_envelope},
    table::{Cell, Column, Table},
};
use analysis::model_quality::ProblemType;
use std::collections::BTreeSet;

/// Role of a column in the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Ground truth.
    Label,
    /// Prediction in a flat dataset.
    Prediction,
    /// Prediction in captured data.
    Response,
    /// Input of the model, or any other column.
    Feature,
}

/// Key of the configuration, and the column that it names.
type ConfigKey<'a> = (&'static str, &'a Named);

/// Columns of a dataset that a configuration names.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    config: &'a AnalysisConfig,
    table: &'a Table,
    /// Whether the dataset is captured data.
    captured: bool,
}

/// Column of the dataset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub name: &'a str,
    pub column: &'a Column,
}

impl Found<'_> {
    pub(super) fn cell(&self, row: usize) -> Cell {
        self.column.cells().get(row).copied().unwrap_or(Cell::Missing)
    }

    pub(super) fn number(&self, row: usize) -> Option<f64> {
        match self.cell(row) {
            Cell::Number(number) => Some(number),
            Cell::Missing | Cell::Text(_) => None,
        }
    }
}

/// Column names that a JSON path can stand for: `a.b[0]` is `a_b_0`. The list of records at the beginning, as in
/// `predictions[*].score`, is not part of the name.
pub(super) fn flat(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path
        .trim_start_matches('$')
        .split(['.', '[', ']'])
        .filter(|part| !part.is_empty() && *part != "*" && *part != ":")
        .collect();
    let mut names = vec![parts.join("_")];
    if let Some((_, record)) = path.split_once("].")
        && path
            .find('[')
            .is_some_and(|bracket| bracket < path.len() - record.len())
    {
        names.extend(flat(record));
    }
    names
}

/// Possible names of a column, the most likely first.
fn candidates(config: &AnalysisConfig, role: Role, named: &Named) -> Vec<String> {
    let mut spelled = Vec::new();
    let index = match named {
        Named::Index(index) => Some(*index),
        Named::Name(name) => {
            let paths = std::iter::once(name.clone()).chain(flat(name));
            for name in paths {
                match role {
                    Role::Response if name.starts_with(OUTPUT) => spelled.push(name),
                    Role::Response => spelled.push(format!("{OUTPUT}{name}")),
                    Role::Feature => spelled.extend([name.clone(), format!("{OUTPUT}{name}")]),
                    Role::Label | Role::Prediction => spelled.push(name),
                }
            }
            // Model quality names columns without a header by strings: `"0"`.
            name.parse().ok().filter(|_| role != Role::Feature)
        }
    };
    let by_place = |index: usize| {
        config
            .headers
            .get(index)
            .cloned()
            .unwrap_or_else(|| format!("_c{index}"))
    };
    match (role, index) {
        (Role::Response, Some(index)) => spelled.push(format!("{OUTPUT}{index}")),
        (_, Some(index)) => spelled.push(by_place(index)),
        (_, None) => {}
    }
    if let (Role::Feature, Some(features)) = (role, &config.features) {
        let features = flat(features).pop().unwrap_or_default();
        let header = match named {
            Named::Name(name) => Some(name),
            Named::Index(index) => config.headers.get(*index),
        };
        let of_request = request_columns(config);
        if let Some(at) = of_request.iter().position(|name| Some(name) == header) {
            spelled.extend([format!("{features}_{at}"), format!("{OUTPUT}{features}_{at}")]);
        }
    }
    spelled
}

/// Label and prediction, as the configuration names them for a flat dataset.
fn label(config: &AnalysisConfig) -> Option<ConfigKey<'_>> {
    let ground_truth = config.ground_truth_attribute.as_ref();
    let ground_truth = ground_truth.map(|named| ("ground_truth_attribute", named));
    ground_truth.or_else(|| config.label.as_ref().map(|named| ("label", named)))
}

fn predicted(config: &AnalysisConfig) -> Option<ConfigKey<'_>> {
    let inference = config.inference_attribute.as_ref();
    let inference = inference.map(|named| ("inference_attribute", named));
    inference.or_else(|| config.predicted_label.as_ref().map(|named| ("predicted_label", named)))
}

fn probability(config: &AnalysisConfig) -> Option<ConfigKey<'_>> {
    let attribute = config.probability_attribute.as_ref();
    let attribute = attribute.map(|named| ("probability_attribute", named));
    attribute.or_else(|| config.probability.as_ref().map(|named| ("probability", named)))
}

/// Label and prediction, as the configuration names them for a response.
fn in_response(config: &AnalysisConfig) -> (Option<ConfigKey<'_>>, Option<ConfigKey<'_>>) {
    let predictor = &config.predictor;
    (
        predictor.label.as_ref().map(|named| ("predictor.label", named)),
        predictor
            .probability
            .as_ref()
            .map(|named| ("predictor.probability", named)),
    )
}

/// Key with the probabilities of all classes, if the prediction follows from them.
fn class_probabilities(config: &AnalysisConfig) -> Option<ConfigKey<'_>> {
    let (of_label, of_probability) = in_response(config);
    let is_multiclass = config.problem_type == Some(ProblemType::MulticlassClassification);
    let has_prediction = predicted(config).is_some() || of_label.is_some();
    of_probability
        .or_else(|| probability(config))
        .filter(|_| is_multiclass && !has_prediction)
}

/// Columns of a request, according to the headers: all except label, prediction, and identifier.
pub(super) fn request_columns(config: &AnalysisConfig) -> Vec<String> {
    let others = [label(config), predicted(config), probability(config)];
    let identifier = config.joinsource_name_or_index.as_ref();
    let others: Vec<&Named> = others
        .into_iter()
        .flatten()
        .map(|(_, named)| named)
        .chain(identifier)
        .collect();
    let is_other = |at: usize, header: &String| {
        others.iter().any(|named| match named {
            Named::Index(index) => *index == at,
            Named::Name(name) => name == header || flat(name).last().is_some_and(|last| last == header),
        })
    };
    let headers = config.headers.iter().enumerate();
    headers
        .filter(|(at, header)| !is_other(*at, header))
        .map(|(_, header)| header.clone())
        .collect()
}

/// Columns that an analysis has to keep, if it names them; otherwise all.
pub(super) fn wanted<'a>(
    config: &'a AnalysisConfig,
    features: impl Iterator<Item = &'a Named>,
) -> Option<BTreeSet<String>> {
    // The number of probabilities is known only after the dataset was read.
    if class_probabilities(config).is_some() {
        return None;
    }
    let flat = [
        (Role::Label, label(config)),
        (Role::Prediction, predicted(config)),
        (Role::Prediction, probability(config)),
    ];
    let (of_label, of_probability) = in_response(config);
    let response = flat.iter().skip(1).map(|(_, key)| (Role::Response, *key));
    let response = response.chain([(Role::Response, of_label), (Role::Response, of_probability)]);
    let key = flat.into_iter().chain(response);
    let key = key.filter_map(|(role, key)| key.map(|(_, named)| (role, named)));
    let mut wanted = BTreeSet::from([LABEL.to_owned()]);
    // Prediction and probability of a response without names.
    wanted.extend([0, 1].map(|at| format!("{OUTPUT}{at}")));
    for (role, named) in key.chain(features.map(|named| (Role::Feature, named))) {
        // In a file with a header, the position of a column is known only after the file was read.
        if config.headers.is_empty() && matches!(named, Named::Index(_)) && role != Role::Response {
            return None;
        }
        wanted.extend(candidates(config, role, named));
    }
    Some(wanted)
}

impl<'a> Columns<'a> {
    pub(super) fn new(config: &'a AnalysisConfig, table: &'a Table) -> Self {
        let captured = table.names().iter().any(|name| name.starts_with(OUTPUT))
            || table.others().any(|name| name.starts_with(OUTPUT));
        Self {
            config,
            table,
            captured,
        }
    }

    /// Whether the dataset is captured data.
    pub(super) fn captured(&self) -> bool {
        self.captured
    }

    fn get(&self, name: &str) -> Option<Found<'a>> {
        let name = self.table.names().iter().find(|known| *known == name)?;
        let column = self.table.get(name)?;
        Some(Found { name, column })
    }

    fn find(&self, role: Role, (key, named): ConfigKey<'_>) -> Result<Found<'a>, JobError> {
        let mut spelled = candidates(self.config, role, named);
        if let (Named::Index(index), false, true) = (named, self.captured, self.config.headers.is_empty()) {
            spelled.extend(self.table.names().get(*index).cloned());
        }
        let found = spelled.iter().find_map(|name| self.get(name));
        found.ok_or_else(|| JobError::Data(format!("`{key}` names {named}, {}", self.describe_columns())))
    }

    /// Describes the existing columns, for an error message.
    fn describe_columns(&self) -> String {
        const SHOWN: usize = 12;
        let mut names: Vec<&str> = self
            .table
            .names()
            .iter()
            .map(String::as_str)
            .chain(self.table.others())
            .collect();
        // The response first, and numbers in their order.
        let place = |name: &&str| {
            let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
            let order = (digits.parse::<usize>().unwrap_or(usize::MAX), (*name).to_owned());
            (!name.starts_with(OUTPUT), order)
        };
        names.sort_by_key(place);
        names.dedup();
        if names.is_empty() {
            return "but no row of the dataset could be read".to_owned();
        }
        let response = if self.captured {
            " (`predictor` names the columns of the response, which start with `output:`)"
        } else {
            ""
        };
        format!(
            "which is not in the dataset; its columns are {}{response}",
            text::first_names(names.iter(), SHOWN)
        )
    }

    /// Label: ground truth for captured data.
    pub(super) fn label(&self) -> Result<Option<Found<'a>>, JobError> {
        match (self.captured.then(|| self.get(LABEL)).flatten(), label(self.config)) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(_)) if self.captured => Ok(None),
            (None, Some(key)) => self.find(Role::Label, key).map(Some),
            (None, None) => Ok(self.get(LABEL)),
        }
    }

    /// Prediction of the model.
    pub(super) fn predicted(&self) -> Result<Option<Found<'a>>, JobError> {
        let (of_label, of_probability) = in_response(self.config);
        if let Some(probabilities) = class_probabilities(self.config) {
            return self.most_probable(probabilities).map(Some);
        }
        self.find_answer(predicted(self.config), of_label, of_probability.is_some(), 0)
    }

    /// Class with the highest probability.
    fn most_probable(&self, (key, named): ConfigKey<'_>) -> Result<Found<'a>, JobError> {
        let columns = self.probability_columns(named);
        if columns.len() < 2 {
            let role = if self.captured {
                Role::Response
            } else {
                Role::Prediction
            };
            self.find(role, (key, named))?;
            return Err(JobError::Data(format!(
                "`{key}` names {named}, which is not a list with the probability of each class: set `inference_attribute` to the \
                 column of the prediction"
            )));
        }
        let mut classes = self.config.predictor.label_names();
        if classes.len() != columns.len() {
            classes = (0..columns.len()).map(|at| at.to_string()).collect();
        }
        let class = |row: usize| {
            let mut best: Option<(f64, usize)> = None;
            for (at, column) in columns.iter().enumerate() {
                let probability = column.number(row)?;
                if best.is_none_or(|(highest, _)| probability > highest) {
                    best = Some((probability, at));
                }
            }
            classes.get(best?.1).map(String::as_str)
        };
        let compute = || (named.to_string(), Column::from_texts((0..self.table.rows()).map(class)));
        let (name, column) = self.table.derived(compute);
        Ok(Found { name, column })
    }

    /// Columns with the probability of each class, in order.
    fn probability_columns(&self, named: &Named) -> Vec<Found<'a>> {
        let Named::Name(path) = named else { return Vec::new() };
        let prefix = if self.captured { OUTPUT } else { "" };
        let numbered =
            |prefix: &str| -> Vec<Found<'a>> { (0..).map_while(|at| self.get(&format!("{prefix}{at}"))).collect() };
        let paths = std::iter::once(path.clone()).chain(flat(path));
        for path in paths {
            let found = numbered(&format!("{prefix}{path}_"));
            if !found.is_empty() {
                return found;
            }
            // The vectors of an envelope have no names.
            if self.captured && is_envelope(&path) {
                return numbered(prefix);
            }
        }
        Vec::new()
    }

    /// Predicted probability.
    pub(super) fn probability(&self) -> Result<Option<Found<'a>>, JobError> {
        let (of_label, of_probability) = in_response(self.config);
        let place = usize::from(predicted(self.config).is_some());
        let key = probability(self.config);
        let found = self.find_answer(key, of_probability, of_label.is_some(), place)?;
        let is_probability = |cell: &Cell| !matches!(cell, Cell::Number(number) if !(0.0..=1.0).contains(number));
        // Found by its place alone.
        if let (Some((key, named)), Some(found)) = (key, found)
            && self.captured
            && of_probability.is_none()
            && !candidates(self.config, Role::Response, named)
                .iter()
                .any(|name| name == found.name)
            && !found.column.cells().iter().all(is_probability)
        {
            return Err(JobError::Data(format!(
                "`{key}` names {named}, but the response has no names, and its column {place} has values that are not between 0 and \
                 1: set `predictor.probability` to the column of the response"
            )));
        }
        Ok(found)
    }

    /// The column of a response without names, if it has as many columns as the configuration names, or by the headers.
    fn by_place(&self, wanted: &Named, place: usize) -> Option<Found<'a>> {
        let configured = [predicted(self.config), probability(self.config)];
        let configured = configured.iter().flatten().count();
        let columns = self.table.names().iter().map(String::as_str).chain(self.table.others());
        let mut response: Vec<&str> = columns.filter_map(|name| name.strip_prefix(OUTPUT)).collect();
        response.sort_unstable();
        response.dedup();
        let is_unnamed = response.iter().all(|name| name.parse::<usize>().is_ok());
        let place = self
            .place_in_headers(wanted, response.len())
            .or((response.len() == configured).then_some(place));
        place
            .filter(|_| is_unnamed)
            .and_then(|place| self.get(&format!("{OUTPUT}{place}")))
    }

    /// Place of a column among the last headers, which are those of the response.
    fn place_in_headers(&self, wanted: &Named, response: usize) -> Option<usize> {
        let headers = &self.config.headers;
        let is_wanted = |at: usize, named: &Named| match named {
            Named::Index(index) => *index == at,
            Named::Name(name) => headers.get(at) == Some(name),
        };
        let is_label = |at: usize| label(self.config).is_some_and(|(_, named)| is_wanted(at, named));
        let others: Vec<usize> = (0..headers.len()).filter(|at| !is_label(*at)).collect();
        let of_response = others.get(others.len().checked_sub(response)?..)?;
        of_response.iter().position(|at| is_wanted(*at, wanted))
    }

    fn find_answer(
        &self,
        key: Option<ConfigKey<'_>>,
        of_response: Option<ConfigKey<'_>>,
        other_of_response: bool,
        place: usize,
    ) -> Result<Option<Found<'a>>, JobError> {
        let (role, key) = match (self.captured, of_response) {
            (true, Some(key)) => (Role::Response, Some(key)),
            // `predictor` names all that the response contains.
            (true, None) if other_of_response => return Ok(None),
            (true, None) => (Role::Response, key),
            (false, _) => (Role::Prediction, key),
        };
        let is_by_place = role == Role::Response && of_response.is_none();
        let by_place = |named| self.by_place(named, place).filter(|_| is_by_place);
        key.map(|key| self.find(role, key).or_else(|error| by_place(key.1).ok_or(error)))
            .transpose()
    }

    /// Feature, or any other column that a key names.
    pub(super) fn feature(&self, key: &'static str, named: &Named) -> Result<Found<'a>, JobError> {
        if let (true, true, Named::Index(index)) = (self.captured, self.config.headers.is_empty(), named) {
            return Err(JobError::Data(format!(
                "`{key}` names column {index}, but columns of captured data have no index: set `headers`"
            )));
        }
        self.find(Role::Feature, (key, named))
    }

    /// Features: the inputs of the model.
    pub(super) fn features(&self) -> Result<Vec<Found<'a>>, JobError> {
        let mut others: BTreeSet<&str> = [self.label()?, self.predicted()?, self.probability()?]
            .into_iter()
            .flatten()
            .map(|found| found.name)
            .collect();
        if let Some(named) = &self.config.joinsource_name_or_index {
            others.extend(self.feature("joinsource_name_or_index", named).map(|found| found.name));
        }
        if self.captured {
            others.insert(LABEL);
        }
        let is_feature =
            |name: &&String| !(others.contains(name.as_str()) || self.captured && name.starts_with(OUTPUT));
        let names = self.table.names().iter().filter(is_feature);
        Ok(names.filter_map(|name| self.get(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_paths_map_to_column_names() {
        assert_eq!(flat("score"), ["score"]);
        assert_eq!(flat("data.features.values"), ["data_features_values"]);
        assert_eq!(flat("$.a.b[2]"), ["a_b_2"]);
        assert_eq!(flat("predictions[*].score"), ["predictions_score", "score"]);
        assert_eq!(flat("predictions[0].p[1]"), ["predictions_0_p_1", "p_1"]);
    }
}
