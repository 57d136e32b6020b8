//! `driftwarden window`: alert windows, judged by the code that runs in Lambda.

use crate::{Exit, Streams, lines};
use alerting::{AlarmState, AlertStatus, ExecutionWindow, Period, TimeWindow, TreatMissingData};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line longer than this is refused: no window looks at so much.
const MAX_LINE: u64 = 1 << 20;

/// Judge alert windows: JSON Lines in, JSON Lines out.
///
/// An input line is an object with `rule` (`executions`, SageMaker's, or `time`, CloudWatch's), `datapoints` (a text or
/// a list, oldest first; X breaching, 0 not, - missing), `datapoints_to_alarm`, `evaluation_periods`, and for the rule
/// `time` optionally `treat_missing_data` (`missing`, `ignore`, `breaching`, `notBreaching`), `previous_state` (`OK`,
/// `ALARM`, `INSUFFICIENT_DATA`) and `evaluation_range` (in periods, by default two more than `evaluation_periods`). The
/// output line is an object with `state`; for `executions`, `ALARM` stands for `InAlert`.
#[derive(Debug, clap::Args)]
pub struct Window {}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rule {
    Executions,
    Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with a rule, datapoints and a window")]
struct Question {
    rule: Rule,
    datapoints: Value,
    datapoints_to_alarm: i64,
    evaluation_periods: i64,
    #[serde(default)]
    treat_missing_data: TreatMissingData,
    #[serde(default)]
    previous_state: AlarmState,
    #[serde(default)]
    evaluation_range: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    state: AlarmState,
}

impl Window {
    /// Runs the command.
    pub(crate) fn run(streams: Streams<'_>) -> Exit {
        let Streams { input, out, .. } = streams;
        let answer = |line: &[u8]| answer(line).map(|state| Answer { state });
        lines::answer_all(input, out, MAX_LINE, answer).unwrap_or_else(|error| Exit::of_output(&error))
    }
}

fn answer(line: &[u8]) -> Result<AlarmState, String> {
    let question: Question = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let periods = periods(&question.datapoints)?;
    let (m, n) = (question.datapoints_to_alarm, question.evaluation_periods);
    match question.rule {
        Rule::Executions => {
            let window = ExecutionWindow::new(m, n).map_err(|error| error.to_string())?;
            let slots = periods.iter().rev().filter(|period| **period != Period::Missing);
            Ok(match window.judge(slots.map(|period| *period == Period::Breaching)) {
                AlertStatus::Ok => AlarmState::Ok,
                AlertStatus::InAlert => AlarmState::Alarm,
                AlertStatus::InsufficientData => AlarmState::InsufficientData,
            })
        }
        Rule::Time => {
            let window = TimeWindow::new(m, n, question.treat_missing_data).map_err(|error| error.to_string())?;
            let window = match question.evaluation_range {
                Some(periods) => window.with_evaluation_range(periods),
                None => window,
            };
            Ok(window.evaluate(&periods, question.previous_state))
        }
    }
}

/// `X`, `0` and `-` as a text, spaces between them left out, or one by one in a list; there also 1, 0, true, false, null.
fn periods(datapoints: &Value) -> Result<Vec<Period>, String> {
    let of_sign = |sign: &str| match sign {
        "X" | "x" => Ok(Period::Breaching),
        "0" => Ok(Period::NotBreaching),
        "-" => Ok(Period::Missing),
        other => Err(format!(
            "datapoints: `{other}` is none of X (breaching), 0 (not breaching), - (missing)"
        )),
    };
    match datapoints {
        Value::String(text) => {
            let signs = text.chars().filter(|sign| !sign.is_whitespace());
            signs.map(|sign| of_sign(sign.encode_utf8(&mut [0; 4]))).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|item| match item {
                Value::String(sign) => of_sign(sign.trim()),
                Value::Null => Ok(Period::Missing),
                Value::Bool(breaches) => Ok(if *breaches {
                    Period::Breaching
                } else {
                    Period::NotBreaching
                }),
                Value::Number(number) if number.as_u64() == Some(0) => Ok(Period::NotBreaching),
                Value::Number(number) if number.as_u64() == Some(1) => Ok(Period::Breaching),
                other => of_sign(&other.to_string()),
            })
            .collect(),
        other => Err(format!("datapoints: expected a text or a list, found `{other}`")),
    }
}
