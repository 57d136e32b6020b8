//! `driftwarden inspect` as people and scripts see it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::{CommandFactory as _, Parser as _};
use cli::Cli;

/// Exit code, standard output and standard error of a command line, with a file on standard input.
fn driftwarden(arguments: &[&str], input: &str) -> (u8, String, String) {
    let cli = Cli::parse_from(std::iter::once(&"driftwarden").chain(arguments));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = cli::run(&cli, &mut input.as_bytes(), &mut output, &mut errors);
    (
        code,
        String::from_utf8(output).unwrap(),
        String::from_utf8(errors).unwrap(),
    )
}

fn report(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/harness/reports");
    std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn every_kind_of_report_in_words() {
    for name in [
        "data-quality-more-drift",
        "model-quality",
        "model-bias",
        "model-explainability",
    ] {
        let (code, output, errors) = driftwarden(&["inspect", "-"], &report(name));
        assert_eq!((code, errors.as_str()), (0, ""));
        insta::assert_snapshot!(name, output);
    }
}

#[test]
fn every_kind_of_report_in_json() {
    for name in [
        "data-quality-drift",
        "model-quality",
        "model-bias",
        "model-explainability",
    ] {
        let (code, output, errors) = driftwarden(&["inspect", "--json", "-"], &report(name));
        assert_eq!((code, errors.as_str()), (0, ""));
        insta::assert_snapshot!(format!("{name}-json"), output);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_others_are_read_all_the_same() {
    let (code, output, errors) = driftwarden(
        &["inspect", "--json", "missing.json", "-"],
        &report("model-explainability"),
    );
    assert_eq!((code, errors.as_str()), (1, ""));
    let lines: Vec<serde_json::Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0]["error"].as_str().unwrap().contains("`missing.json`"),
        "{output}"
    );
    assert_eq!(lines[1]["monitor_type"], "ModelExplainability");
    let (code, output, errors) = driftwarden(&["inspect", "-"], "{\"violations\": [{\"feature_name\": \"age\"}]}");
    assert_eq!((code, output.as_str()), (1, ""));
    insta::assert_snapshot!(errors, @"error: `-` at `violations[0].constraint_check_type`: missing, expected the name of the check that was violated");
}

#[test]
fn more_than_the_limit_is_refused() {
    let (code, _, errors) = driftwarden(&["inspect", "--max-bytes", "10", "-"], &report("model-bias"));
    assert_eq!(code, 1);
    insta::assert_snapshot!(errors, @"error: `-` is 11 bytes: at most 10 are read");
}

#[test]
fn an_empty_report_and_one_of_a_custom_container_are_custom() {
    for body in [
        "{\"violations\": []}",
        "{\"violations\": [{\"constraint_check_type\": \"sentence_check\", \"sentence\": \"…\"}]}",
    ] {
        let (code, output, _) = driftwarden(&["inspect", "--json", "-"], body);
        assert_eq!(code, 0);
        assert!(output.contains("\"monitor_type\":\"Custom\""), "{output}");
    }
}

#[test]
fn a_threshold_that_the_report_does_not_tell_comes_from_the_constraints() {
    let folder = std::env::temp_dir().join(format!("driftwarden-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let constraints = folder.join("constraints.json");
    let text = r#"{"version": 0.0, "features": [{"name": "intl_plan", "inferred_type": "String", "completeness": 1.0}],
        "monitoring_config": {"domain_content_threshold": 0.95}}"#;
    std::fs::write(&constraints, text).unwrap();
    let arguments = ["inspect", "--json", "--constraints", constraints.to_str().unwrap(), "-"];
    let (code, output, _) = driftwarden(&arguments, &report("data-quality-more-drift"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(code, 0);
    assert!(output.contains("\"observed\":0.9231,\"threshold\":0.95"), "{output}");
}
