//! Checks the layers of crates, and the settings that every package of the workspace shares.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// Crates without AWS, clock, environment, and I/O.
const PURE: [&str; 11] = [
    "text",
    "model-monitor",
    "machine",
    "alerting",
    "remediation",
    "backtest",
    "analysis",
    "experiment",
    "promotion",
    "events",
    "model-dashboard",
];

/// Package name of a crate of the workspace.
fn package(name: &str) -> String {
    format!("driftwarden-{name}")
}

/// Whether a package is forbidden for pure crates, also indirectly: runtimes, networks, AWS, the shell.
fn is_impure(name: &str) -> bool {
    let exact = [
        "tokio",
        "mio",
        "hyper",
        "reqwest",
        "lambda_runtime",
        "driftwarden-shell",
        "tracing-subscriber",
        "rand",
        "fastrand",
    ];
    exact.contains(&name) || name.starts_with("aws-") || name.starts_with("aws_")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn is_aws_sdk(name: &str) -> bool {
    name.starts_with("aws-") || name == "driftwarden-aws"
}

fn metadata(features: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        // The dependency graph of the platform of the functions.
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
        .args(features)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Name and dependencies of every package by ID, without dependencies of tests.
fn graph(metadata: &Value) -> BTreeMap<String, (String, Vec<String>)> {
    let names: BTreeMap<_, _> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| {
            let id = node["id"].as_str().unwrap();
            let needs = node["deps"].as_array().unwrap().iter().filter(|dependency| {
                dependency["dep_kinds"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|kind| kind["kind"].is_null())
            });
            let needs = needs
                .map(|dependency| dependency["pkg"].as_str().unwrap().to_owned())
                .collect();
            (id.to_owned(), (names[id].to_owned(), needs))
        })
        .collect()
}

/// Names of all direct and indirect dependencies of a package of the workspace.
fn reached(graph: &BTreeMap<String, (String, Vec<String>)>, package: &str) -> BTreeSet<String> {
    let roots: Vec<_> = graph.iter().filter(|(_, (name, _))| name == package).collect();
    assert_eq!(roots.len(), 1, "{package} is a package of the workspace");
    let mut seen = BTreeSet::new();
    let mut next: Vec<_> = roots.into_iter().map(|(id, _)| id).collect();
    while let Some(id) = next.pop() {
        next.extend(graph[id].1.iter().filter(|id| seen.insert(graph[*id].0.clone())));
    }
    seen
}

#[test]
fn pure_crates_reach_nothing_impure() {
    let graph = graph(&metadata(&[]));
    for name in PURE {
        let impure: Vec<_> = reached(&graph, &package(name))
            .into_iter()
            .filter(|name| is_impure(name))
            .collect();
        assert!(impure.is_empty(), "{name} must be pure, but depends on {impure:?}");
    }
}

#[test]
fn functions_reach_no_aws_sdk_or_lambda_runtime() {
    let graph = graph(&metadata(&[]));
    let reached = reached(&graph, &package("functions"));
    let found: Vec<_> = reached
        .iter()
        .filter(|name| is_aws_sdk(name) || *name == "lambda_runtime")
        .collect();
    assert!(found.is_empty(), "functions reaches {found:?}");
}

/// The functions whose code a function may use.
const USED_FUNCTIONS: [(&str, &[&str]); 8] = [
    ("analyze", &[]),
    ("dashboard", &[]),
    ("ingest", &[]),
    ("notify", &[]),
    ("operator", &["remediate"]),
    ("promote", &["analyze"]),
    ("remediate", &[]),
    ("sweep", &["ingest", "remediate"]),
];

#[test]
fn functions_use_each_other_in_one_direction() {
    for (function, used) in USED_FUNCTIONS {
        for file in rust_files(&root().join("functions/src").join(function)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for (other, _) in USED_FUNCTIONS {
                let is_used = text.contains(&format!("crate::{other}::")) || text.contains(&format!("    {other}::"));
                let may_use = other == function || used.contains(&other);
                assert!(!is_used || may_use, "{} uses the function {other}", file.display());
            }
        }
    }
}

#[test]
fn command_line_without_aws_reaches_no_aws_sdk() {
    let with = reached(&graph(&metadata(&[])), "driftwarden");
    assert!(
        with.iter().any(|name| is_aws_sdk(name)),
        "the default features include AWS"
    );
    let without = reached(&graph(&metadata(&["--no-default-features"])), "driftwarden");
    let found: Vec<_> = without.iter().filter(|name| is_aws_sdk(name)).collect();
    assert!(found.is_empty(), "driftwarden --no-default-features reaches {found:?}");
}

#[test]
fn pure_crates_use_no_clock_environment_or_files() {
    for name in PURE {
        for file in rust_files(&root().join("crates").join(name).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for word in [
                "std::env",
                "std::fs",
                "std::net",
                "std::process",
                "std::thread",
                "SystemTime",
                "Instant::now",
                "Timestamp::now",
                "Zoned::now",
            ] {
                assert!(!code.contains(word), "{} is pure, but contains {word}", file.display());
            }
        }
    }
}

#[test]
fn only_aws_adapter_depends_on_aws_sdk() {
    for manifest in manifests() {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let depends_on = |prefix: &str| text.lines().any(|line| line.starts_with(prefix));
        let name = manifest.display();
        let is_adapter = manifest.ends_with("crates/aws/Cargo.toml");
        assert!(
            is_adapter || !depends_on("aws-"),
            "{name} depends on a crate of the AWS SDK"
        );
    }
}

/// All packages with their features in a build of the workspace, for the given kinds of dependencies.
fn features(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--workspace",
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .args([
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p} [{f}]",
            "--edges",
            edges,
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[test]
fn build_and_tests_need_the_same_features() {
    let tests = features("normal,build,dev");
    let twice: Vec<_> = features("normal,build").difference(&tests).cloned().collect();
    assert!(
        twice.is_empty(),
        "`cargo build` and `cargo test` compile these packages twice, with different features: add the features of tests to \
         tests/repository/Cargo.toml: {twice:#?}"
    );
}

#[test]
fn package_names_begin_with_driftwarden() {
    let metadata = metadata(&[]);
    let members = metadata["workspace_members"].as_array().unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let is_member = members.contains(&package["id"]);
        assert!(
            !is_member || name == "driftwarden" || name.starts_with("driftwarden-"),
            "{name} should begin with driftwarden-"
        );
    }
}

#[test]
fn every_member_inherits_workspace_settings() {
    for manifest in manifests() {
        let text = std::fs::read_to_string(&manifest).unwrap();
        for line in [
            "[lints]\nworkspace = true",
            "edition.workspace = true",
            "rust-version.workspace = true",
            "license.workspace = true",
        ] {
            assert!(text.contains(line), "{} lacks `{line}`", manifest.display());
        }
    }
}

fn manifests() -> Vec<std::path::PathBuf> {
    let metadata = metadata(&[]);
    let members = metadata["workspace_members"].as_array().unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .map(|package| package["manifest_path"].as_str().unwrap().into())
        .collect()
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
