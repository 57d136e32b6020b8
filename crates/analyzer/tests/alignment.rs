//! Columns of captured data without names, aligned with those of a baseline.

use crate::common::{file, violations};
use analyzer::{CaptureColumns, OutputColumns, ReadOptions, job::Baseline};
use serde_json::json;

/// Captured requests in CSV: `inputs` columns with the values 0 to 9, and a response.
fn capture(inputs: &[&str], outputs: &[&str]) -> crate::common::Files {
    let line = |row: usize| {
        let cells = |columns: &[&str]| {
            let cells = columns.iter().map(|column| match *column {
                "text" => format!("v{}", row % 3),
                _ => (row % 10).to_string(),
            });
            cells.collect::<Vec<_>>().join(",")
        };
        let side = |columns: &[&str]| json!({"data": cells(columns), "encoding": "CSV"});
        format!(
            "{}\n",
            json!({"captureData": {"endpointInput": side(inputs), "endpointOutput": side(outputs)}})
        )
    };
    file((0..100).map(line).collect::<String>())
}

/// Baseline with these columns.
fn baseline(columns: &[&str]) -> Baseline {
    let mut csv = columns.join(",") + "\n";
    for row in 0..100 {
        let cells = columns.iter().map(|column| match *column {
            "text" => format!("v{}", row % 3),
            _ => (row % 10).to_string(),
        });
        csv.push_str(&cells.collect::<Vec<_>>().join(","));
        csv.push('\n');
    }
    file(csv).baseline()
}

#[test]
fn response_is_left_out_if_baseline_has_features_only() {
    let report = capture(&["age", "text"], &["p", "q"]).analyze(&baseline(&["age", "text"]));
    assert_eq!(violations(&report), [""; 0]);
    let note = "the response is left out, because the baseline has no columns of it: request 2 columns, response 2, baseline 2";
    assert!(
        report.notes.iter().any(|line| line.ends_with(note)),
        "{:?}",
        report.notes
    );
}

#[test]
fn response_precedes_request_if_baseline_has_both() {
    let report = capture(&["age", "text"], &["p"]).analyze(&baseline(&["p", "age", "text"]));
    assert_eq!((violations(&report), report.notes), (vec![], vec![]));
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let options = ReadOptions {
        expected: baseline(&["label", "age", "text"]).columns(),
        capture: CaptureColumns {
            output: OutputColumns::Start,
            ..CaptureColumns::default()
        },
        ..ReadOptions::default()
    };
    let error = capture(&["age", "text"], &["p", "q"]).try_read(&options).unwrap_err();
    let error = error.to_string();
    for part in [
        "the request has 2 columns",
        "the response 2",
        "the baseline has 3 (`label`, `age`, `text`)",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
