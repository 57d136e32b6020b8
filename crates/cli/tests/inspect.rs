//! `driftwarden inspect`: arguments and output.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::Parser as _;
use cli::{Cli, Exit, Streams};
use std::{fmt::Write as _, path::Path};

/// Runs the command on fixtures of the crate `model-monitor`. Returns exit code, output, and errors in one text.
fn run(arguments: &[&str], mut input: &[u8]) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-monitor/tests/fixtures");
    let fixtures = format!("{}/", fixtures.to_str().unwrap());
    let located = arguments
        .iter()
        .map(|argument| argument.replace("fixtures/", &fixtures));
    let cli = Cli::parse_from(["driftwarden", "inspect"].map(str::to_owned).into_iter().chain(located));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli.run(Streams {
        input: &mut input,
        out: &mut out,
        err: &mut err,
    });
    let mut text = format!("exit {}\n", exit as u8);
    for (name, bytes) in [("out", out), ("err", err)] {
        if !bytes.is_empty() {
            write!(text, "--- {name}\n{}", String::from_utf8(bytes).unwrap()).unwrap();
        }
    }
    text.replace(&fixtures, "fixtures/")
}

#[test]
fn reports_of_all_monitor_types() {
    insta::assert_snapshot!(run(
        &[
            "fixtures/violations/data-quality.json",
            "fixtures/violations/model-quality.json",
            "fixtures/violations/model-bias.json",
            "fixtures/violations/model-explainability.json",
            "fixtures/violations/custom-container.json",
            "fixtures/violations/no-entries.json",
        ],
        b"",
    ));
}

#[test]
fn reports_as_json_lines() {
    insta::assert_snapshot!(run(
        &[
            "--json",
            "fixtures/violations/data-quality.json",
            "fixtures/violations/model-bias.json",
            "fixtures/violations/custom-container.json",
            "fixtures/violations/no-entries.json",
        ],
        b"",
    ));
}

#[test]
fn thresholds_from_constraints() {
    insta::assert_snapshot!(run(
        &[
            "--constraints",
            "fixtures/constraints/data-quality.json",
            "fixtures/violations/data-quality.json",
            "fixtures/violations/no-entries.json",
        ],
        b"",
    ));
    insta::assert_snapshot!(run(
        &[
            "--json",
            "--constraints",
            "fixtures/analysis/bias.json",
            "fixtures/violations/model-bias.json",
            "fixtures/violations/no-entries.json",
        ],
        b"",
    ));
}

#[test]
fn other_files_and_events() {
    let files = [
        "fixtures/statistics/data-quality.json",
        "fixtures/statistics/model-quality-binary.json",
        "fixtures/constraints/data-quality.json",
        "fixtures/constraints/model-quality-binary.json",
        "fixtures/analysis/bias.json",
        "fixtures/analysis/explainability.json",
        "fixtures/events/processing-job-completed.json",
        "fixtures/events/s3-object-created.json",
        "fixtures/events/unrelated.json",
    ];
    insta::assert_snapshot!(run(&files, b""));
    insta::assert_snapshot!(run(&[&["--json"], files.as_slice()].concat(), b""));
}

#[test]
fn unreadable_file_does_not_stop_others() {
    let files = [
        "fixtures/broken/truncated.json",
        "fixtures/broken/entry-text.json",
        "fixtures/broken/no-violations-field.json",
        "fixtures/none.json",
        "fixtures/violations/model-explainability.json",
    ];
    insta::assert_snapshot!(run(&files, b""));
    insta::assert_snapshot!(run(&[&["--json"], files.as_slice()].concat(), b""));
}

#[test]
fn data_is_described_in_one_line() {
    let request = r#"{"captureData": {"endpointInput": {"data": "1,2", "encoding": "CSV"}, "endpointOutput": {"data": "0", "encoding": "CSV"}}, "eventMetadata": {"eventId": "a", "inferenceTime": "2026-11-23T14:05:00Z"}}"#;
    let label = r#"{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "a"}}"#;
    let twice = |line: &str| format!("{line}\n{line}\n");
    for (input, expected) in [
        (
            twice(request),
            "2 captured requests, 2026-11-23 14:05 UTC, CSV, 2 + 1 columns",
        ),
        (twice(label), "ground truth, 1 label for 1 request"),
        (
            r#"[{"prefix": "s3://b/c/"}, "x"]"#.to_owned(),
            "manifest, 1 file in s3://b/c/",
        ),
        (
            "age,plan\n31,basic\n".to_owned(),
            "CSV, 1 row, 2 columns: `age`, `plan`",
        ),
    ] {
        assert_eq!(
            run(&["-"], input.as_bytes()),
            format!("exit 0\n--- out\n-: {expected}\n")
        );
    }
    let report = r#"{"body_dict": {"violations": []}, "session": null}"#;
    assert!(run(&["-"], report.as_bytes()).contains("violation report of any monitor, 0 violations"));
}

#[test]
fn invalid_constraints_stop_the_command() {
    insta::assert_snapshot!(run(
        &[
            "--constraints",
            "fixtures/violations/no-entries.json",
            "fixtures/violations/no-entries.json"
        ],
        b"",
    ));
}

#[test]
fn standard_input_is_limited() {
    let report =
        br#"{"violations": [{"feature_name": "a\u001b[2J", "constraint_check_type": "x", "description": "one\ntwo"}]}"#;
    insta::assert_snapshot!(run(&["-"], report));
    insta::assert_snapshot!(run(&["--json", "-"], &vec![b' '; 17 << 20]));
}

#[test]
fn large_file_is_rejected_unread() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large.json");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(200 << 20).unwrap();
    let output = run(&[path.to_str().unwrap()], b"");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        output.replace(path.to_str().unwrap(), "large.json"),
        "exit 1\n--- err\nerror: large.json: the file has 209715200 bytes; the limit is 16777216 bytes\n"
    );
}

#[test]
fn closed_pipe_is_not_a_failure() {
    let error = |kind| std::io::Error::from(kind);
    assert_eq!(
        Exit::from_output_error(&error(std::io::ErrorKind::BrokenPipe)),
        Exit::Done
    );
    assert_eq!(
        Exit::from_output_error(&error(std::io::ErrorKind::StorageFull)),
        Exit::Failed
    );
}
