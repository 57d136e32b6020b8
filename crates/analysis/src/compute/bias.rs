//! `driftwarden compute bias` and `driftwarden compute bias-report`.

use crate::bias::{
    Cell, Column, Dataset, FacetReport, Features, Groups, MetricError, MetricResult, Reading, Request, bias_report,
};
use model_monitor::Quantity;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};
use std::{fmt, marker::PhantomData};

/// An object with its keys in order. If a key occurs twice, the last value is used.
#[derive(Debug)]
struct Ordered<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of columns by name")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    match entries.iter_mut().find(|(found, _)| *found == name) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((name, value)),
                    }
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

/// Column of a line. Among numbers, the strings `NaN`, `Infinity`, and `-Infinity` are numbers.
#[derive(Debug)]
struct LineColumn(Column);

impl<'de> Deserialize<'de> for LineColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cells = Vec::<Cell>::deserialize(deserializer)?;
        let special = |cell: &Cell| match cell {
            Cell::Text(text) => match text.as_str() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            _ => None,
        };
        let is_number = |cell: &Cell| matches!(cell, Cell::Int(_) | Cell::Float(_));
        let fits = |cell: &Cell| is_number(cell) || *cell == Cell::Null || special(cell).is_some();
        if cells.iter().any(is_number) && cells.iter().all(fits) {
            for cell in &mut cells {
                if let Some(number) = special(cell) {
                    *cell = Cell::Float(number);
                }
            }
        }
        Ok(Self(Column::new(cells)))
    }
}

/// A list, or its only item.
#[derive(Debug)]
struct OneOrMany(Vec<Cell>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a value or a list of values")]
        enum Raw {
            Many(Vec<Cell>),
            One(Cell),
        }
        Ok(Self(match Raw::deserialize(deserializer)? {
            Raw::Many(values) => values,
            Raw::One(value) => vec![value],
        }))
    }
}

/// A list of 0 and 1.
fn flags(name: &str, cells: &[Cell]) -> Result<Vec<bool>, String> {
    let flag = |cell: &Cell| match cell.number() {
        Some(number) if number.abs() <= 0.0 => Ok(false),
        Some(number) if (number - 1.0).abs() <= 0.0 => Ok(true),
        _ => Err(format!("`{name}`: expected 0 or 1, found `{cell}`")),
    };
    cells.iter().map(flag).collect()
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct MetricsLine {
    facet: Vec<Cell>,
    label: Vec<Cell>,
    #[serde(default)]
    predicted: Option<Vec<Cell>>,
    #[serde(default)]
    group: Option<LineColumn>,
    #[serde(default)]
    features: Option<Ordered<LineColumn>>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct ReportLine {
    columns: Ordered<LineColumn>,
    facet: String,
    #[serde(default)]
    facet_values_or_threshold: Option<OneOrMany>,
    label: String,
    label_values_or_threshold: OneOrMany,
    #[serde(default)]
    predicted_label: Option<String>,
    #[serde(default)]
    group_variable: Option<String>,
}

/// Evaluates a line of `compute bias`: every metric that the columns allow, and the reasons for which others have no
/// value.
///
/// Fields of the line: `facet` and `label`, lists of 0 and 1 (1 is a row of the sensitive group, 1 is positive);
/// optional `predicted`, a list of 0 and 1, without which there are no post-training metrics; optional `group`, a list
/// with the subgroups of the rows; optional `features`, lists of numbers by name.
///
/// # Errors
/// Fails if the line is not JSON, lacks a field, has a field of another type, or has columns of different lengths.
pub fn answer(line: &[u8]) -> Result<Value, String> {
    let line: MetricsLine = read(line)?;
    let rows = line.facet.len();
    let features = line.features.unwrap_or(Ordered(Vec::new())).0;
    let lengths = [
        ("label", Some(line.label.len())),
        ("predicted", line.predicted.as_ref().map(Vec::len)),
        ("group", line.group.as_ref().map(|group| group.0.len())),
    ];
    let of_features = features
        .iter()
        .map(|(name, column)| (name.as_str(), Some(column.0.len())));
    for (name, length) in lengths.into_iter().chain(of_features) {
        if let Some(length) = length.filter(|length| *length != rows) {
            return Err(format!("`{name}` has {length} rows: expected {rows}, as `facet` has"));
        }
    }
    let facet = flags("facet", &line.facet)?;
    let dataset = Dataset {
        label: flags("label", &line.label)?,
        predicted: line.predicted.map(|cells| flags("predicted", &cells)).transpose()?,
        groups: Groups::new(line.group.as_ref().map(|group| &group.0)),
        features: Features::new(rows, features.iter().map(|(name, column)| (name.as_str(), &column.0))),
    };
    let counts = dataset.count(&facet);
    let mut results = counts.pre_training();
    if let Some(predicted) = &dataset.predicted {
        results.extend(counts.post_training(&dataset.flip_test(&counts, &facet, predicted)));
    }
    let (mut metrics, mut errors) = (Map::new(), Map::new());
    for MetricResult { metric, outcome } in results {
        let name = metric.name().to_owned();
        match outcome {
            Ok(value) => metrics.insert(name, number(value)?),
            Err(error) => errors.insert(name, Value::String(error.to_string())),
        };
    }
    Ok(json!({ "metrics": metrics, "errors": errors }))
}

/// Evaluates a line of `compute bias-report`: the report that Clarify would create from these columns.
///
/// Fields of the line: `columns`, lists of values by name; `facet`, `label`, `predicted_label`, and `group_variable`,
/// names of columns; `facet_values_or_threshold` and `label_values_or_threshold`, values or a threshold. All except
/// `columns`, `facet`, `label`, and its values may be null or missing. Without facet values, each value is compared
/// with the rest. Without predictions, there is no `post_training`.
///
/// # Errors
/// Fails if the line is invalid, or the report fails as a whole.
pub fn report(line: &[u8]) -> Result<Value, String> {
    let line: ReportLine = read(line)?;
    let columns: Vec<(String, Column)> = line
        .columns
        .0
        .into_iter()
        .map(|(name, column)| (name, column.0))
        .collect();
    let request = Request {
        columns: &columns,
        facet: &line.facet,
        facet_values_or_threshold: line.facet_values_or_threshold.as_ref().map_or(&[], |values| &values.0),
        label: &line.label,
        label_values_or_threshold: &line.label_values_or_threshold.0,
        predicted_label: line.predicted_label.as_deref(),
        accepted: None,
        reading: Reading::Clarify,
        group_variable: line.group_variable.as_deref(),
    };
    let report = bias_report(&request).map_err(|error| error.to_string())?;
    let section = |results: fn(&FacetReport) -> &[MetricResult]| -> Result<Vec<Value>, String> {
        let facet = |facet: &FacetReport| {
            let metrics = results(facet).iter().map(metric).collect::<Result<Vec<_>, _>>()?;
            Ok(json!({ "value_or_threshold": facet.value_or_threshold, "metrics": metrics }))
        };
        report.facets.iter().map(facet).collect()
    };
    let mut answer = Map::new();
    answer.insert("pre_training".to_owned(), section(|facet| &facet.pre_training)?.into());
    if report.post_training {
        answer.insert(
            "post_training".to_owned(),
            section(|facet| &facet.post_training)?.into(),
        );
    }
    Ok(Value::Object(answer))
}

fn metric(result: &MetricResult) -> Result<Value, String> {
    let name = result.metric.name();
    match &result.outcome {
        Ok(value) => Ok(json!({ "name": name, "value": number(*value)? })),
        Err(error) => Ok(json!({ "name": name, "value": null, "error": MetricError::to_string(error) })),
    }
}

fn number(value: f64) -> Result<Value, String> {
    let number = Quantity::Number(value).serialize(serde_json::value::Serializer);
    number.map_err(|error| error.to_string())
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}
