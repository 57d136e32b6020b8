//! Exit codes of usage errors, as the shell sees them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// Exit code of the program with these arguments.
fn exit_code(arguments: &[&str]) -> i32 {
    let output = Command::new(env!("CARGO_BIN_EXE_driftwarden"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.stderr.is_empty() || !output.stdout.is_empty(), "{arguments:?}");
    output.status.code().unwrap()
}

#[test]
fn usage_error_ends_with_two() {
    for arguments in [
        &["incidents", "--nonsense"][..],
        &["nonsense"],
        &["policy", "analyze"],
        &["inspect"],
        &["--nonsense", "analyze"],
        &["incidents", "--json=analyze"],
    ] {
        assert_eq!(exit_code(arguments), 2, "{arguments:?}");
    }
}

/// The exit code 2 of `analyze` means violations.
#[test]
fn usage_error_of_analyze_ends_with_one() {
    for arguments in [&["analyze", "--nonsense"][..], &["analyze"]] {
        assert_eq!(exit_code(arguments), 1, "{arguments:?}");
    }
}

#[test]
fn help_and_version_end_with_zero() {
    for arguments in [&["--help"][..], &["analyze", "--help"], &["--version"]] {
        assert_eq!(exit_code(arguments), 0, "{arguments:?}");
    }
}
