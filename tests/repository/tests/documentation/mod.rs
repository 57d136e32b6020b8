//! Documents below `docs/` agree with the code. Three references and the cost tables are generated: each has a part between two
//! marks, which a test writes with `UPDATE_DOCS=1 cargo test -p driftwarden-repository` and otherwise compares.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod costs;
mod metrics;
mod schemas;

use std::{collections::BTreeSet, path::Path};

const GENERATED_START: &str = "<!-- generated: UPDATE_DOCS=1 cargo test -p driftwarden-repository -->\n";
const GENERATED_END: &str = "<!-- end of the generated part -->\n";

const RUNBOOK: &str = "docs/how-to/runbook.md";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares the generated part of a document with the expected text, or writes it.
fn check(document: &str, generated: &str) {
    let text = read(document);
    let (head, rest) = text
        .split_once(GENERATED_START)
        .unwrap_or_else(|| panic!("{document} has no line {GENERATED_START}"));
    let (found, tail) = rest
        .split_once(GENERATED_END)
        .unwrap_or_else(|| panic!("{document} has no line {GENERATED_END}"));
    let expected = format!("\n{}\n\n", generated.trim());
    if found == expected {
        return;
    }
    if option_env!("UPDATE_DOCS").is_some() {
        std::fs::write(
            root().join(document),
            format!("{head}{GENERATED_START}{expected}{GENERATED_END}{tail}"),
        )
        .unwrap();
    } else {
        panic!("{document} differs from the code: run UPDATE_DOCS=1 cargo test -p driftwarden-repository");
    }
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// Paths of all documents below `docs/`, relative to the repository.
fn documents() -> BTreeSet<String> {
    let mut documents = BTreeSet::new();
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
                documents.insert(path);
            }
        }
    }
    documents
}

/// Words of a text, without code blocks.
fn words(text: &str) -> usize {
    let prose: String = text.split("```").step_by(2).collect();
    prose.split_whitespace().count()
}

#[test]
fn index_names_every_document() {
    let index = read("docs/README.md");
    for document in documents() {
        let name = document.strip_prefix("docs/").unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "docs/README.md does not name {name}"
        );
    }
}

#[test]
fn readme_fits_one_screen() {
    let readme = read("README.md");
    let (screen, _) = readme.split_once("## Documents\n").unwrap();
    let first = screen.lines().nth(2).unwrap();
    assert!(first.split_whitespace().count() <= 20, "{first}");
    assert!(screen.lines().count() <= 60, "{} lines", screen.lines().count());
    assert!(screen.split_whitespace().count() <= 600);
    assert!(readme.split_whitespace().count() <= 1500);
    assert!(screen.contains("<img ") && screen.matches("```text\n").count() >= 2);
}

#[test]
fn documents_are_of_one_kind_and_begin_with_a_sentence() {
    for document in documents() {
        let text = read(&document);
        let mut lines = text.lines().filter(|line| !line.is_empty());
        assert!(lines.next().unwrap().starts_with("# "), "{document} has no title");
        assert!(
            !lines.next().unwrap().starts_with(['#', '|', '`', '-']),
            "{document} does not begin with a sentence"
        );
        assert!(words(&text) > 50, "{document}");
        let kinds = ["tutorials", "how-to", "reference", "explanation"];
        let is_of_a_kind = kinds.iter().any(|kind| document.starts_with(&format!("docs/{kind}/")));
        assert!(
            is_of_a_kind || ["docs/README.md", "docs/style.md"].contains(&document.as_str()),
            "{document} is in no folder of docs/"
        );
    }
}

#[test]
fn command_blocks_contain_commands_only() {
    for document in documents().into_iter().chain(["README.md".to_owned()]) {
        for block in read(&document).split("```sh\n").skip(1) {
            let commands = block.split("```").next().unwrap();
            assert!(
                !commands
                    .lines()
                    .any(|line| line.trim_start().starts_with('#') || line.contains(" # ")),
                "{document}: a comment in\n{commands}"
            );
        }
    }
}

/// Error types of the functions, from their code.
fn error_types() -> BTreeSet<String> {
    let files = [
        "crates/machine/src/error.rs",
        "crates/machine/src/document.rs",
        "crates/shell/src/policy.rs",
        "functions/src/error.rs",
    ];
    let mut types = BTreeSet::new();
    for file in files {
        let code = read(file);
        // One per line: `Kind::Denied => "AwsAccessDenied",`, with or without a line break after the arrow or in the pattern.
        for rest in code.split("=> \"").skip(1) {
            let name = rest.split('"').next().unwrap();
            if name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric()) {
                types.insert(name.to_owned());
            }
        }
    }
    assert!(types.len() > 10, "{types:?}");
    types
}

#[test]
fn runbook_lists_error_types_of_the_code() {
    let runbook = read(RUNBOOK);
    let listed: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .flat_map(|title| title.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(error_types(), listed, "left: the code, right: {RUNBOOK}");
}

#[test]
fn runbook_lists_every_alarm() {
    let runbook = read(RUNBOOK);
    let template = read("infra/template.yaml");
    let mut checked = 0;
    for rest in template.split("AlarmName: !Sub ${AWS::StackName}").skip(1) {
        let name = rest.lines().next().unwrap();
        checked += 1;
        let function_alarm = ["errors", "lost-events"].iter().find(|kind| name.ends_with(*kind));
        let known = match function_alarm {
            Some(kind) => runbook.contains(&format!("`…-FUNCTION-{kind}`")),
            None => runbook.contains(&format!("`…{name}`")),
        };
        assert!(known, "{RUNBOOK} does not list the alarm …{name}");
    }
    assert!(checked >= 13, "{checked} alarms");
}

#[test]
fn policies_in_documents_are_valid() {
    let mut checked = 0;
    for document in documents() {
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
