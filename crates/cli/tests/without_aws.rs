//! The command line, built without the feature `aws`.
#![cfg(not(feature = "aws"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn driftwarden(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftwarden"));
    command
        .args(arguments)
        .env_remove("DRIFTWARDEN_STACK")
        .output()
        .unwrap()
}

#[test]
fn command_that_needs_aws_prints_hint() {
    for arguments in [
        &["incidents", "--state-bucket", "state"][..],
        &["doctor", "--stack", "driftwarden"],
        &["backtest", "s3://reports/monitoring"],
    ] {
        let output = driftwarden(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(
            errors.contains("has no AWS support\nhint: install driftwarden with its default features"),
            "{errors}"
        );
    }
}

#[test]
fn command_on_local_files_works() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/harness/reports");
    let output = driftwarden(&["inspect", &format!("{fixtures}/data-quality-drift.json")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
