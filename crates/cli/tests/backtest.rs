//! `driftwarden backtest`: report folders, JSON Lines, invalid input, and output.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::Parser as _;
use cli::{Cli, Exit, Streams};
use std::{fs, path::PathBuf};

/// A temporary folder, deleted at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("driftwarden-backtest-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0).is_ok();
    }
}

fn run(arguments: &[&str], input: &str) -> (Exit, String, String) {
    let cli = Cli::try_parse_from(["driftwarden", "backtest"].iter().chain(arguments)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli.run(Streams {
        input: &mut input.as_bytes(),
        out: &mut out,
        err: &mut err,
    });
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Two days of an hourly monitor with two periods of violations.
fn lines() -> String {
    let mut text = String::new();
    for hour in 0..48 {
        let state = if (10..16).contains(&hour) || (30..44).contains(&hour) || hour == 3 {
            "Violations"
        } else {
            "Clean"
        };
        let (day, hour) = (22 + hour / 24, hour % 24);
        text.extend([format!(
            "{{\"schedule\": \"churn-dq\", \"endpoint\": \"churn\", \"scheduled_time\": \"2026-11-{day}T{hour:02}:00:00Z\", \
             \"state\": \"{state}\"}}\n"
        )]);
    }
    text
}

const POLICY: &str = "[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '4h'\nretrainings_per_day = 5\n";

#[test]
fn json_lines_with_policies_and_sweep() {
    let folder = Folder::new("lines");
    let policy = folder.file("policy.toml", POLICY);
    let history = folder.file("history.jsonl", &lines());
    let (exit, one, _) = run(&["--policy", &policy, "--cost", "12.5", &history], "");
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!("one_policy", one);
    let other = folder.file(
        "other.toml",
        &POLICY.replace("datapoints_to_alert = 2", "datapoints_to_alert = 1"),
    );
    let (_, two, _) = run(&["--policy", &policy, "--against", &other, &history], "");
    insta::assert_snapshot!("two_policies", two);
    let page = folder.0.join("page.html").to_string_lossy().into_owned();
    let (_, many, _) = run(
        &[
            "--policy",
            &policy,
            "--sweep",
            "m=1..2,n=1..3",
            "--html",
            &page,
            &history,
        ],
        "",
    );
    insta::assert_snapshot!("many_windows", many);
    assert!(fs::read_to_string(page).unwrap().contains("<svg"));
}

#[test]
fn json_has_all_numbers() {
    let folder = Folder::new("json");
    let policy = folder.file("policy.toml", POLICY);
    let (exit, text, _) = run(&["--json", "--policy", &policy, "--sweep", "m=2,n=2..3", "-"], &lines());
    assert_eq!(exit, Exit::Done);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    insta::assert_json_snapshot!(answer);
}

#[test]
fn hours_between_reports_are_clean() {
    let folder = Folder::new("reports");
    let policy = folder.file("policy.toml", POLICY);
    let report = r#"{"violations": [{"feature_name": "age", "constraint_check_type": "baseline_drift_check",
        "description": "Numerical distance: 0.4172 exceeds numerical threshold: 0.1"}]}"#;
    for hour in ["01", "02", "03", "09"] {
        folder.file(
            &format!("out/churn/churn-dq/2026/11/23/{hour}/constraint_violations.json"),
            report,
        );
    }
    folder.file("out/churn/churn-dq/2026/11/23/10/statistics.json", "{}");
    folder.file(
        "out/churn/churn-dq/2026/11/23/04/constraint_violations.json",
        "{\"violations\": [",
    );
    folder.file("notes.txt", "nothing");
    let (exit, out, err) = run(&["--policy", &policy, "--report-prefix", "out", &folder.path()], "");
    assert_eq!(
        exit,
        Exit::Failed,
        "unreadable reports are skipped, and the rest is replayed"
    );
    assert!(err.contains("04/constraint_violations.json"), "{err}");
    insta::assert_snapshot!("reports", out);
}

#[test]
fn bad_lines_are_reported_up_to_limit() {
    let bad: String = (0..30)
        .map(|_| "{\"schedule\": \"a\", \"state\": \"Dirty\"}\n")
        .collect();
    let (exit, _, err) = run(&["-"], &format!("{bad}{}", lines()));
    assert_eq!(exit, Exit::Failed);
    assert_eq!(err.lines().count(), 21);
    insta::assert_snapshot!("bad_line", err.lines().next().unwrap());
    insta::assert_snapshot!("more_bad_lines", err.lines().last().unwrap());
    let (exit, _, err) = run(&["-"], "");
    assert_eq!(exit, Exit::Failed);
    insta::assert_snapshot!("nothing", err);
    let (exit, _, err) = run(&["--policy", "/does/not/exist.toml", "-"], "");
    assert_eq!(exit, Exit::Failed);
    insta::assert_snapshot!("no_policy", err);
}

#[test]
fn rejects_invalid_sweep() {
    for grid in ["m=1", "m=0..5,n=1..10", "m=5..1,n=1..10", "k=1..2,n=1", "m=1..101,n=1"] {
        let arguments = ["driftwarden", "backtest", "--sweep", grid, "-"];
        let error = Cli::try_parse_from(arguments).unwrap_err().to_string();
        assert!(
            error.contains("expected ranges from 1 to 100, such as m=1..5,n=1..10"),
            "{error}"
        );
    }
}
