//! `driftwarden compute model-quality`.

use crate::model_quality::{Classes, CurvePoints, Options, ProblemType, Rows, evaluate};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A line of input.
#[derive(Deserialize)]
struct Line {
    problem_type: ProblemType,
    label: Vec<Value>,
    prediction: Vec<Value>,
    /// Probability or score of the positive class; read for binary classification only.
    #[serde(default)]
    probability: Option<Value>,
    /// Positive class. Default: the last one in sort order.
    #[serde(default)]
    positive_label: Option<Value>,
}

/// Every metric that the columns allow. Input: `{"problem_type", "label", "prediction", "probability"?}`. Output:
/// `{"metrics": {name: number, "confusion_matrix": {truth: {prediction: n}}, …}}`, with the names of `statistics.json`
/// and all points of the curves.
///
/// Labels and predictions of a classification are numbers, strings, or booleans. As keys of the confusion matrix, 1,
/// 1.0, `"1"`, and `"1.0"` are `1`. Other strings stay as they are. Booleans are `true` and `false`, or 1 and 0 if
/// there are numbers too. The positive class is the last one in sort order, or the optional field `positive_label`. In
/// a regression, numbers may be strings.
///
/// # Errors
/// Fails with a message that names the invalid field and the reason.
pub fn answer(line: &[u8]) -> Result<Value, String> {
    let question: Line = serde_json::from_slice(line).map_err(|error| {
        format!(
            "expected an object with problem_type (BinaryClassification, MulticlassClassification, or Regression), \
             label, and prediction: {error}"
        )
    })?;
    let metrics = match question.problem_type {
        ProblemType::Regression => {
            let rows = Rows::Regression {
                labels: &numbers("label", &question.label)?,
                predictions: &numbers("prediction", &question.prediction)?,
            };
            metrics(&rows)?
        }
        ProblemType::MulticlassClassification => {
            let (labels, predictions, classes) = classes(&question)?;
            let rows = Rows::Multiclass {
                labels: &labels,
                predictions: &predictions,
                classes: &classes,
            };
            metrics(&rows)?
        }
        ProblemType::BinaryClassification => {
            let (labels, predictions, mut classes) = classes(&question)?;
            let positive = question
                .positive_label
                .as_ref()
                .map(|value| class("positive_label", value, false));
            let classes = classes
                .binary(positive.transpose()?.as_deref())
                .map_err(|error| error.to_string())?;
            let probabilities = match &question.probability {
                None => None,
                Some(Value::Array(values)) => Some(numbers("probability", values)?),
                Some(other) => return Err(format!("probability: expected a list of numbers, found {other}")),
            };
            let rows = Rows::Binary {
                labels: &labels,
                predictions: &predictions,
                probabilities: probabilities.as_deref(),
                classes: &classes,
            };
            metrics(&rows)?
        }
    };
    Ok(json!({ "metrics": metrics }))
}

fn metrics(rows: &Rows<'_>) -> Result<Value, String> {
    let options = Options {
        standard_deviations: false,
        curve_points: CurvePoints::All,
    };
    let evaluation = evaluate(rows, options).map_err(|error| error.to_string())?;
    Ok(evaluation.to_json())
}

/// Labels and predictions as class numbers.
fn classes(question: &Line) -> Result<(Vec<u32>, Vec<u32>, Classes), String> {
    let beside_numbers = question.label.iter().chain(&question.prediction).any(Value::is_number);
    let mut classes = Classes::default();
    let mut ids = |field: &str, values: &[Value]| {
        let id = |(row, value)| Ok(classes.intern(&class(&format!("{field}[{row}]"), value, beside_numbers)?));
        values.iter().enumerate().map(id).collect::<Result<Vec<_>, String>>()
    };
    let labels = ids("label", &question.label)?;
    let predictions = ids("prediction", &question.prediction)?;
    Ok((labels, predictions, classes))
}

/// Name of a class.
fn class<'a>(place: &str, value: &'a Value, beside_numbers: bool) -> Result<Cow<'a, str>, String> {
    let name = match (value, beside_numbers) {
        (Value::Bool(true), true) => "1".into(),
        (Value::Bool(false), true) => "0".into(),
        (Value::Bool(true), false) => "true".into(),
        (Value::Bool(false), false) => "false".into(),
        (Value::String(text), _) if !matches!(text.as_str(), "" | "NaN") => text.as_str().into(),
        (Value::Number(number), _) => match number.as_f64() {
            Some(double) if number.is_f64() => (double + 0.0).to_string().into(),
            _ => number.to_string().into(),
        },
        _ => {
            return Err(format!(
                "{place}: expected a number, a string, or a boolean, found {value}: remove or fix the row"
            ));
        }
    };
    Ok(name)
}

/// Column of numbers. A number that JSON cannot represent is rejected, by name, where it is used.
fn numbers(field: &str, values: &[Value]) -> Result<Vec<f64>, String> {
    let number = |(row, value): (usize, &Value)| {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => model_monitor::Quantity::parse(text).as_number(),
            _ => None,
        };
        number.ok_or_else(|| format!("{field}[{row}]: expected a number, found {value}"))
    };
    values.iter().enumerate().map(number).collect()
}
