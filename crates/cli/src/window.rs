//! `driftwarden window`: evaluates alert windows with the code that runs in Lambda.

use crate::{Exit, Streams, lines};
use alerting::{AlarmState, AlertStatus, ExecutionWindow, Period, TimeWindow, TreatMissingData};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Maximum size of a line in bytes: far more than any window needs.
const MAX_LINE: u64 = 1 << 20;

/// Description in `--help`. The examples are verbatim: a doc comment would change them.
const LONG_ABOUT: &str = r#"Evaluate alert windows (JSON Lines in and out).

Reads JSON Lines from standard input, and prints one object with state per line: OK, ALARM, or INSUFFICIENT_DATA. For the rule executions, ALARM stands for InAlert. A line that cannot be processed gets an object with error, and the exit code is 1.
  {"rule":"executions","datapoints":"0XX","datapoints_to_alarm":2,"evaluation_periods":3}
  {"rule":"time","datapoints":["X",0,null],"datapoints_to_alarm":1,"evaluation_periods":2,"treat_missing_data":"ignore"}

rule: executions (SageMaker), time (CloudWatch)
datapoints: a string or a list, oldest first; X is breaching, 0 is not breaching, - is missing
datapoints_to_alarm: number of breaching datapoints that raise the alert (M); datapoints_to_alert in the policy
evaluation_periods: number of latest executions or periods that are evaluated (N); evaluation_period in the policy

Optional, for the rule time only:
treat_missing_data: missing (default), ignore, breaching, notBreaching
previous_state: OK, ALARM, INSUFFICIENT_DATA (default)
evaluation_range: number of periods to look back; by default two more than evaluation_periods"#;

/// Evaluate alert windows (JSON Lines in and out).
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub struct Window {}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rule {
    Executions,
    Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with a rule, datapoints, and a window")]
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
        lines::answer_all(input, out, MAX_LINE, answer).unwrap_or_else(|error| Exit::from_output_error(&error))
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

/// Parses datapoints: a string of `X`, `0`, and `-` (spaces are ignored), or a list, which may also contain 1, 0, true, false,
/// and null.
fn periods(datapoints: &Value) -> Result<Vec<Period>, String> {
    let parse = |sign: &str| match sign {
        "X" | "x" => Ok(Period::Breaching),
        "0" => Ok(Period::NotBreaching),
        "-" => Ok(Period::Missing),
        other => Err(format!(
            "datapoints: expected X (breaching), 0 (not breaching), or - (missing), found `{other}`"
        )),
    };
    match datapoints {
        Value::String(text) => {
            let signs = text.chars().filter(|sign| !sign.is_whitespace());
            signs.map(|sign| parse(sign.encode_utf8(&mut [0; 4]))).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|item| match item {
                Value::String(sign) => parse(sign.trim()),
                Value::Null => Ok(Period::Missing),
                Value::Bool(breaches) => Ok(if *breaches {
                    Period::Breaching
                } else {
                    Period::NotBreaching
                }),
                Value::Number(number) if number.as_u64() == Some(0) => Ok(Period::NotBreaching),
                Value::Number(number) if number.as_u64() == Some(1) => Ok(Period::Breaching),
                other => parse(&other.to_string()),
            })
            .collect(),
        other => Err(format!("datapoints: expected a string or a list, found `{other}`")),
    }
}
