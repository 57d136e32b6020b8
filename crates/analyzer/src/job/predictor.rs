//! A model behind an endpoint, as Kernel SHAP calls it: rows of features in a request, predictions in the response.
//!
//! Source of the formats and of the templates: developer guide, pages `clarify-processing-job-configure-analysis`,
//! `clarify-processing-job-data-format-tabular-request-jsonlines`, `…-request-json`.

use super::config::{Named, Predictor};
use crate::read::{JsonCell, Name, Record, response_records};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Request to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRequest {
    /// `Content-Type`.
    pub content_type: String,
    /// `Accept`.
    pub accept: String,
    /// Rows in the format of the content type.
    pub body: Vec<u8>,
}

/// Calls a model. Returns its response, or the reason for the failure.
pub type Invoke<'a> = dyn FnMut(&ModelRequest) -> Result<Vec<u8>, String> + 'a;

/// Approximate maximum size of a request in bytes. SageMaker accepts 6 MB.
const MAX_REQUEST_BYTES: usize = 4_000_000;
/// Approximate size of a number in bytes.
const BYTES_PER_CELL: usize = 20;

/// Feature as the model gets it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Feature {
    pub name: String,
    /// Distinct strings of the feature, if it has any. Its numbers are then indices into them.
    pub texts: Option<Texts>,
}

/// Distinct strings, each with a number: its index.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Texts {
    texts: Vec<String>,
    places: HashMap<String, u32>,
}

impl Texts {
    /// Number of a string, which is added if it is new.
    pub(super) fn add(&mut self, text: &str) -> f64 {
        if let Some(place) = self.place(text) {
            return place;
        }
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        f64::from(place)
    }

    /// Number of a known string.
    pub(super) fn place(&self, text: &str) -> Option<f64> {
        self.places.get(text).copied().map(f64::from)
    }

    fn get(&self, number: f64) -> Option<&str> {
        // Indices stay nonnegative integers: coalitions mix rows, they do not average them.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into the strings"
        )]
        let place = number.max(0.0) as usize;
        self.texts.get(place).filter(|_| !number.is_nan()).map(String::as_str)
    }
}

impl Feature {
    /// Value that a number represents.
    pub(super) fn value(&self, number: f64) -> Value {
        let Some(texts) = &self.texts else {
            return number_value(number);
        };
        match texts.get(number) {
            None => Value::Null,
            Some("true") => Value::Bool(true),
            Some("false") => Value::Bool(false),
            Some(text) => Value::String(text.to_owned()),
        }
    }
}

fn number_value(number: f64) -> Value {
    if number.fract().abs() <= 0.0 && number.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
        let whole = number as i64;
        return json!(whole);
    }
    json!(number)
}

/// Value as a CSV cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
    Json,
}

/// Model that is called in batches.
pub(super) struct Model<'a, 'b> {
    predictor: &'a Predictor,
    features: &'a [Feature],
    format: Format,
    invoke: &'a mut Invoke<'b>,
}

impl<'a, 'b> Model<'a, 'b> {
    pub(super) fn new(
        predictor: &'a Predictor,
        features: &'a [Feature],
        invoke: &'a mut Invoke<'b>,
    ) -> Result<Self, String> {
        let format = match content_type(predictor) {
            "text/csv" => Format::Csv,
            "application/jsonlines" => Format::JsonLines,
            "application/json" => Format::Json,
            other => {
                return Err(format!(
                    "`predictor.content_type` is `{other}`: expected text/csv, application/jsonlines, or \
                     application/json"
                ));
            }
        };
        Ok(Self {
            predictor,
            features,
            format,
            invoke,
        })
    }

    /// Number of rows in one request.
    pub(super) fn batch_rows(&self, wanted: usize) -> usize {
        if self.format == Format::Json && !self.content_template().contains("$records") {
            return 1;
        }
        wanted
            .min(MAX_REQUEST_BYTES / (BYTES_PER_CELL * self.features.len().max(1)))
            .max(1)
    }

    fn content_template(&self) -> &str {
        let usual = match self.format {
            Format::Csv | Format::JsonLines => r#"{"features":$features}"#,
            Format::Json => r#"{"instances":$records}"#,
        };
        self.predictor.content_template.as_deref().unwrap_or(usual)
    }

    /// Predictions for rows, with one number per label for each.
    pub(super) fn predict(&mut self, rows: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, String> {
        let request = ModelRequest {
            content_type: content_type(self.predictor).to_owned(),
            accept: accept(self.predictor).to_owned(),
            body: self.body(rows)?,
        };
        let response = (self.invoke)(&request)?;
        let records = response_records(&response, &request.accept, rows.len())
            .map_err(|why| format!("failed to parse the response: {why}"))?;
        records.iter().map(|record| self.prediction(record)).collect()
    }

    fn body(&self, rows: &[Vec<f64>]) -> Result<Vec<u8>, String> {
        let values = rows.iter().map(|row| {
            let features = self.features.iter().zip(row);
            features
                .map(|(feature, number)| feature.value(*number))
                .collect::<Vec<_>>()
        });
        match self.format {
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
                for row in values {
                    writer
                        .write_record(row.iter().map(cell))
                        .map_err(|error| format!("failed to write the request: {error}"))?;
                }
                writer
                    .into_inner()
                    .map_err(|error| format!("failed to write the request: {error}"))
            }
            Format::JsonLines => {
                let mut body = String::new();
                for row in values {
                    body.push_str(&self.fill_template(self.content_template(), row)?);
                    body.push('\n');
                }
                Ok(body.into_bytes())
            }
            Format::Json => {
                let template = self.predictor.record_template.as_deref();
                let record = |row| self.fill_template(template.unwrap_or(r#"{"features":$features}"#), row);
                let records = values.map(record).collect::<Result<Vec<_>, _>>()?;
                let content = self.content_template();
                let body = if content.contains("$records") {
                    content.replace("$records", &format!("[{}]", records.join(",")))
                } else if content.contains("$record") {
                    content.replace("$record", &records.join(","))
                } else {
                    return Err(format!(
                        "`predictor.content_template` is `{content}`: expected $records or $record in it"
                    ));
                };
                Ok(body.into_bytes())
            }
        }
    }

    /// Template filled with the features of a row.
    fn fill_template(&self, template: &str, row: Vec<Value>) -> Result<String, String> {
        if template.contains("$features_kvp") {
            let names = self.features.iter().map(|feature| feature.name.clone());
            let pairs: Map<String, Value> = names.zip(row).collect();
            Ok(template.replace("$features_kvp", &Value::Object(pairs).to_string()))
        } else if template.contains("$features") {
            Ok(template.replace("$features", &Value::Array(row).to_string()))
        } else {
            Err(format!(
                "the template `{template}` of `predictor` contains neither $features nor $features_kvp"
            ))
        }
    }

    /// Numbers of a record that are explained.
    fn prediction(&self, record: &Record) -> Result<Vec<f64>, String> {
        let named = self.predictor.probability.as_ref().or(self.predictor.label.as_ref());
        let is_meant = |at: usize, name: &Name| match (named, name) {
            (None, _) => true,
            (Some(Named::Index(index)), _) => at == *index,
            (Some(Named::Name(path)), Name::Key(key)) => is_path(path, key),
            (Some(Named::Name(path)), Name::At(place)) => path.parse() == Ok(*place),
        };
        let mut numbers = Vec::new();
        for (_, (name, value)) in record.iter().enumerate().filter(|(at, (name, _))| is_meant(*at, name)) {
            let found = numbers_in(value);
            let found = found.ok_or_else(|| {
                let name = match name {
                    Name::Key(key) => format!("`{key}`"),
                    Name::At(at) => format!("value {at}"),
                };
                format!("{name} of the response is not a number: set `predictor.probability` to the value to explain")
            })?;
            numbers.extend(found);
        }
        if numbers.is_empty() {
            return Err(match named {
                Some(Named::Index(index)) => format!("`predictor` names value {index}, which is not in the response"),
                Some(Named::Name(path)) => format!("`predictor` names `{path}`, which is not in the response"),
                None => "a record of the response is empty".to_owned(),
            });
        }
        Ok(numbers)
    }
}

fn content_type(predictor: &Predictor) -> &str {
    predictor.content_type.as_deref().unwrap_or("text/csv")
}

fn accept(predictor: &Predictor) -> &str {
    predictor
        .accept_type
        .as_deref()
        .unwrap_or_else(|| content_type(predictor))
}

/// Whether a path leads to a value with this key, or to the list that contains it.
fn is_path(path: &str, key: &str) -> bool {
    super::columns::flat(path).iter().any(|name| {
        let rest = key.strip_prefix(name.as_str());
        rest.is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix('_')
                    .is_some_and(|place| !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit()))
        })
    })
}

/// Number of a value, or numbers of a list that is written as a string.
fn numbers_in(value: &JsonCell) -> Option<Vec<f64>> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "predictions are doubles")]
        JsonCell::Integer(number) => Some(vec![*number as f64]),
        JsonCell::Double(number) => Some(vec![*number]),
        JsonCell::Bool(value) => Some(vec![f64::from(u8::from(*value))]),
        JsonCell::Text(text) if text.trim_start().starts_with('[') => serde_json::from_str(text).ok(),
        JsonCell::Text(text) => text.trim().parse().ok().map(|number| vec![number]),
        JsonCell::Null => None,
    }
}
