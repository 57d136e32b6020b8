//! Which columns of a dataset the configuration means.
//!
//! | dataset | label | what the model answered | features |
//! | --- | --- | --- | --- |
//! | flat: CSV, JSON Lines, Parquet | its own column | its own columns | by name |
//! | captured data | `label`, from the ground truth | `output:0` or `output:KEY` | as the headers call them, else `_c0`, `_c1`, … |

use super::{
    JobError,
    config::{AnalysisConfig, Named},
};
use crate::{
    read::LABEL,
    table::{Cell, Column, Table},
};
use std::collections::BTreeSet;

/// The prefix of the columns of a response.
const OUTPUT: &str = "output:";

/// What a column is to the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// What is true.
    Label,
    /// What the model answered, in a flat dataset.
    Prediction,
    /// What the model answered, in captured data.
    Response,
    /// What the model was asked, or anything else.
    Feature,
}

/// A key of the configuration, and the column that it names.
type Said<'a> = (&'static str, &'a Named);

/// The columns of a dataset that a configuration names.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    config: &'a AnalysisConfig,
    table: &'a Table,
    /// Whether the dataset is captured data.
    captured: bool,
}

/// A column that was found.
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

/// The path to a value in JSON as columns are called: `a.b[0]` is `a_b_0`. Of the list of records at its beginning,
/// `predictions[*].score`, no column has the name.
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

/// The names that a column may have, the likeliest first.
fn candidates(config: &AnalysisConfig, role: Role, named: &Named) -> Vec<String> {
    let mut spelled = Vec::new();
    let index = match named {
        Named::Index(index) => Some(*index),
        Named::Name(name) => {
            let paths = std::iter::once(name.clone()).chain(flat(name));
            for name in paths {
                match role {
                    Role::Response => spelled.push(format!("{OUTPUT}{name}")),
                    Role::Feature => spelled.extend([name.clone(), format!("{OUTPUT}{name}")]),
                    Role::Label | Role::Prediction => spelled.push(name),
                }
            }
            // Model quality names columns without names by text: `"0"`.
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

/// Label and prediction, as the configuration names them in a flat dataset.
fn label(config: &AnalysisConfig) -> Option<Said<'_>> {
    let ground_truth = config.ground_truth_attribute.as_ref();
    let ground_truth = ground_truth.map(|named| ("ground_truth_attribute", named));
    ground_truth.or_else(|| config.label.as_ref().map(|named| ("label", named)))
}

fn predicted(config: &AnalysisConfig) -> Option<Said<'_>> {
    let inference = config.inference_attribute.as_ref();
    let inference = inference.map(|named| ("inference_attribute", named));
    inference.or_else(|| config.predicted_label.as_ref().map(|named| ("predicted_label", named)))
}

fn probability(config: &AnalysisConfig) -> Option<Said<'_>> {
    let attribute = config.probability_attribute.as_ref();
    let attribute = attribute.map(|named| ("probability_attribute", named));
    attribute.or_else(|| config.probability.as_ref().map(|named| ("probability", named)))
}

/// Label and prediction, as the configuration names them in a response.
fn in_response(config: &AnalysisConfig) -> (Option<Said<'_>>, Option<Said<'_>>) {
    let predictor = &config.predictor;
    (
        predictor.label.as_ref().map(|named| ("predictor.label", named)),
        predictor
            .probability
            .as_ref()
            .map(|named| ("predictor.probability", named)),
    )
}

/// The columns of a request, by the headers: those that are no label and no prediction, nor an identifier.
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

/// The columns that an analysis needs to keep, if it is told by their names; else all.
pub(super) fn wanted<'a>(
    config: &'a AnalysisConfig,
    features: impl Iterator<Item = &'a Named>,
) -> Option<BTreeSet<String>> {
    let flat = [
        (Role::Label, label(config)),
        (Role::Prediction, predicted(config)),
        (Role::Prediction, probability(config)),
    ];
    let (of_label, of_probability) = in_response(config);
    let response = flat.iter().skip(1).map(|(_, said)| (Role::Response, *said));
    let response = response.chain([(Role::Response, of_label), (Role::Response, of_probability)]);
    let said = flat.into_iter().chain(response);
    let said = said.filter_map(|(role, said)| said.map(|(_, named)| (role, named)));
    let mut wanted = BTreeSet::from([LABEL.to_owned()]);
    for (role, named) in said.chain(features.map(|named| (Role::Feature, named))) {
        // A place in a file with names is known when the file has been read.
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

    fn find(&self, role: Role, (key, named): Said<'_>) -> Result<Found<'a>, JobError> {
        let mut spelled = candidates(self.config, role, named);
        if let (Named::Index(index), false, true) = (named, self.captured, self.config.headers.is_empty()) {
            spelled.extend(self.table.names().get(*index).cloned());
        }
        let found = spelled.iter().find_map(|name| self.get(name));
        found.ok_or_else(|| JobError::Data(format!("`{key}` names {named}, {}", self.known())))
    }

    /// What a message says of the columns that there are.
    fn known(&self) -> String {
        const SHOWN: usize = 12;
        let names: BTreeSet<&str> = self
            .table
            .names()
            .iter()
            .map(String::as_str)
            .chain(self.table.others())
            .collect();
        if names.is_empty() {
            return "and the dataset has no columns".to_owned();
        }
        let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > SHOWN { ", …" } else { "" };
        let response = if self.captured {
            " (those of the response begin with `output:`, and `predictor` names them)"
        } else {
            ""
        };
        format!(
            "which the dataset does not have: it has {}{more}{response}",
            shown.join(", ")
        )
    }

    /// What is true: of captured data the ground truth.
    pub(super) fn label(&self) -> Result<Option<Found<'a>>, JobError> {
        match (self.captured.then(|| self.get(LABEL)).flatten(), label(self.config)) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(_)) if self.captured => Ok(None),
            (None, Some(said)) => self.find(Role::Label, said).map(Some),
            (None, None) => Ok(self.get(LABEL)),
        }
    }

    /// What the model predicted.
    pub(super) fn predicted(&self) -> Result<Option<Found<'a>>, JobError> {
        let (of_label, of_probability) = in_response(self.config);
        self.answered(predicted(self.config), of_label, of_probability.is_some())
    }

    /// The probability that it gave.
    pub(super) fn probability(&self) -> Result<Option<Found<'a>>, JobError> {
        let (of_label, of_probability) = in_response(self.config);
        self.answered(probability(self.config), of_probability, of_label.is_some())
    }

    fn answered(
        &self,
        said: Option<Said<'_>>,
        of_response: Option<Said<'_>>,
        other_of_response: bool,
    ) -> Result<Option<Found<'a>>, JobError> {
        let (role, said) = match (self.captured, of_response) {
            (true, Some(said)) => (Role::Response, Some(said)),
            // What `predictor` says of the response is all that there is in it.
            (true, None) if other_of_response => return Ok(None),
            (true, None) => (Role::Response, said),
            (false, _) => (Role::Prediction, said),
        };
        said.map(|said| self.find(role, said)).transpose()
    }

    /// A feature, or any other column that a key names.
    pub(super) fn feature(&self, key: &'static str, named: &Named) -> Result<Found<'a>, JobError> {
        if let (true, true, Named::Index(index)) = (self.captured, self.config.headers.is_empty(), named) {
            return Err(JobError::Data(format!(
                "`{key}` names column {index} of the dataset, of which captured data knows no places: give `headers`"
            )));
        }
        self.find(Role::Feature, (key, named))
    }

    /// The columns that the model was asked with.
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
    fn paths_are_the_names_of_columns() {
        assert_eq!(flat("score"), ["score"]);
        assert_eq!(flat("data.features.values"), ["data_features_values"]);
        assert_eq!(flat("$.a.b[2]"), ["a_b_2"]);
        assert_eq!(flat("predictions[*].score"), ["predictions_score", "score"]);
        assert_eq!(flat("predictions[0].p[1]"), ["predictions_0_p_1", "p_1"]);
    }
}
