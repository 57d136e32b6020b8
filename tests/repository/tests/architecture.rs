//! The pure crates stay pure, and every member of the workspace keeps the house rules.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// Crates that know no AWS, no clock, no environment and no I/O.
const PURE: [&str; 8] = [
    "model-monitor",
    "outbox",
    "alerting",
    "remediation",
    "backtest",
    "analysis",
    "experiment",
    "promotion",
];

/// What a pure crate must not reach, however indirectly: runtimes, networks, AWS, the shell.
fn is_impure(name: &str) -> bool {
    let exact = [
        "tokio",
        "mio",
        "hyper",
        "reqwest",
        "lambda_runtime",
        "shell",
        "tracing-subscriber",
        "rand",
        "fastrand",
    ];
    exact.contains(&name) || name.starts_with("aws-") || name.starts_with("aws_")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        // The graph as it is where the functions run.
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// For every package by its id: its name and the ids of what it depends on outside of its tests.
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

#[test]
fn pure_crates_reach_nothing_impure() {
    let metadata = metadata();
    let graph = graph(&metadata);
    let workspace: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    let mut seen = 0;
    for (id, (name, _)) in graph
        .iter()
        .filter(|(id, (name, _))| workspace.contains(id.as_str()) && PURE.contains(&name.as_str()))
    {
        seen += 1;
        let mut reached = BTreeSet::new();
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            let (dependency, needs) = &graph[id];
            assert!(
                !is_impure(dependency),
                "{name} must stay pure, and reaches {dependency}"
            );
            next.extend(needs.iter().filter(|id| reached.insert(*id)));
        }
    }
    assert_eq!(seen, PURE.len(), "every pure crate is a member of the workspace");
}

#[test]
fn pure_crates_do_not_name_the_clock_the_environment_or_files() {
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
                assert!(!code.contains(word), "{} is pure and names {word}", file.display());
            }
        }
    }
}

#[test]
fn only_the_shell_knows_the_aws_sdk() {
    for manifest in manifests() {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let shell = manifest.ends_with("crates/shell/Cargo.toml");
        assert!(
            shell || !text.contains("aws-"),
            "{} names a crate of the AWS SDK",
            manifest.display()
        );
    }
}

#[test]
fn every_member_inherits_the_house_rules() {
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
    let metadata = metadata();
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
