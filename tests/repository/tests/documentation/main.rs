//! The documents below `docs/` say what the code says. Three references and a table of costs are generated: each has a part between
//! two marks that a test writes with `UPDATE_DOCS=1 cargo test -p driftwarden-repository` and otherwise compares.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod costs;
mod metrics;
mod schemas;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const BEGINS: &str = "<!-- generated: UPDATE_DOCS=1 cargo test -p driftwarden-repository -->\n";
const ENDS: &str = "<!-- end of what is generated -->\n";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares the generated part of a document with what it should be, or writes it.
fn check(document: &str, generated: &str) {
    let text = read(document);
    let (head, rest) = text
        .split_once(BEGINS)
        .unwrap_or_else(|| panic!("{document} has no line {BEGINS}"));
    let (found, tail) = rest
        .split_once(ENDS)
        .unwrap_or_else(|| panic!("{document} has no line {ENDS}"));
    let wanted = format!("\n{}\n\n", generated.trim());
    if found == wanted {
        return;
    }
    if option_env!("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(document), format!("{head}{BEGINS}{wanted}{ENDS}{tail}")).unwrap();
    } else {
        panic!("{document} is not what the code says: run UPDATE_DOCS=1 cargo test -p driftwarden-repository");
    }
}

/// A text as it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[test]
fn every_document_is_in_the_index() {
    let index = read("docs/README.md");
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "md") && name != "README.md" {
            assert!(
                index.contains(&format!("({name})")),
                "docs/README.md does not name {name}"
            );
        }
    }
}

/// The error types that the functions can end with, from their code.
fn error_types() -> BTreeSet<String> {
    let mut files: Vec<PathBuf> = ["error", "policy", "turn"]
        .map(|name| root().join(format!("crates/shell/src/{name}.rs")))
        .into();
    for entry in std::fs::read_dir(root().join("functions")).unwrap() {
        files.push(entry.unwrap().path().join("src/error.rs"));
    }
    let mut types = BTreeSet::new();
    for file in files.iter().filter(|file| file.exists()) {
        let code = std::fs::read_to_string(file).unwrap();
        // One a line: `Kind::Denied => "AwsAccessDenied",`, with or without a line break after the arrow or in the pattern.
        for rest in code.split("=> \"").skip(1) {
            let name = rest.split('"').next().unwrap();
            if name.len() > 5 && name.chars().all(|c| c.is_ascii_alphanumeric()) {
                types.insert(name.to_owned());
            }
        }
    }
    assert!(types.len() > 10, "{types:?}");
    types
}

#[test]
fn the_runbook_knows_every_error_type_and_no_other() {
    let runbook = read("docs/runbook.md");
    let told: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .flat_map(|title| title.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(error_types(), told, "left: the code, right: docs/runbook.md");
}

#[test]
fn the_runbook_knows_every_alarm() {
    let runbook = read("docs/runbook.md");
    let template = read("infra/template.yaml");
    let mut checked = 0;
    for rest in template.split("AlarmName: !Sub ${AWS::StackName}").skip(1) {
        let name = rest.lines().next().unwrap();
        checked += 1;
        let of_a_function = ["errors", "lost-events"].iter().find(|kind| name.ends_with(*kind));
        let known = match of_a_function {
            Some(kind) => runbook.contains(&format!("`…-FUNCTION-{kind}`")),
            None => runbook.contains(&format!("`…{name}`")),
        };
        assert!(known, "docs/runbook.md does not know the alarm …{name}");
    }
    assert!(checked >= 13, "{checked} alarms");
}

#[test]
fn every_policy_that_a_document_shows_can_hold() {
    let mut documents = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        documents.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    let mut checked = 0;
    for document in documents {
        let text = read(&document);
        for block in text.split("```toml\n").skip(1) {
            let policy = block.split("```").next().unwrap();
            checked += 1;
            if let Err(error) = remediation::Policy::parse(policy.as_bytes()) {
                panic!("{document}: {error}\n{policy}");
            }
        }
    }
    assert!(checked > 5, "{checked}");
}
