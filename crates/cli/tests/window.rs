//! `driftwarden window`: answers and errors per line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::Parser as _;
use cli::{Cli, Exit, Streams};

fn window(lines: &str) -> (u8, String) {
    let cli = Cli::parse_from(["driftwarden", "window"]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit: Exit = cli.run(Streams {
        input: &mut lines.as_bytes(),
        out: &mut out,
        err: &mut err,
    });
    assert!(err.is_empty());
    (exit as u8, String::from_utf8(out).unwrap())
}

#[test]
fn both_rules_answer_per_line() {
    let (code, out) = window(
        r#"{"rule": "executions", "datapoints": "0XX", "datapoints_to_alarm": 2, "evaluation_periods": 3}
{"rule": "executions", "datapoints": "X-0-0", "datapoints_to_alarm": 1, "evaluation_periods": 3}
{"rule": "executions", "datapoints": "X000", "datapoints_to_alarm": 1, "evaluation_periods": 3}

{"rule": "time", "datapoints": "--X--", "datapoints_to_alarm": 3, "evaluation_periods": 3}
{"rule": "time", "datapoints": ["0", "-", "X", "-", "-"], "datapoints_to_alarm": 2, "evaluation_periods": 3, "treat_missing_data": "breaching"}
{"rule": "time", "datapoints": [null, null, 1, 0, false], "datapoints_to_alarm": 1, "evaluation_periods": 2, "treat_missing_data": "ignore", "previous_state": "ALARM"}
{"rule": "time", "datapoints": "", "datapoints_to_alarm": 1, "evaluation_periods": 1, "previous_state": "OK"}"#,
    );
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r#"
    {"state":"ALARM"}
    {"state":"ALARM"}
    {"state":"OK"}
    {"state":"ALARM"}
    {"state":"ALARM"}
    {"state":"OK"}
    {"state":"INSUFFICIENT_DATA"}
    "#);
}

#[test]
fn invalid_line_gets_error() {
    let (code, out) = window(
        r#"{"rule": "executions", "datapoints": "0?", "datapoints_to_alarm": 2, "evaluation_periods": 3}
{"rule": "time", "datapoints": "0", "datapoints_to_alarm": 4, "evaluation_periods": 3}
{"rule": "executions", "datapoints": "0", "datapoints_to_alarm": 0, "evaluation_periods": 3}
{"rule": "time", "datapoints": "0", "datapoints_to_alarm": 1, "evaluation_periods": 1, "treat_missing": "ignore"}
nonsense
{"rule": "time", "datapoints": "0", "datapoints_to_alarm": 1, "evaluation_periods": 1}"#,
    );
    assert_eq!(code, 1);
    insta::assert_snapshot!(out);
}
