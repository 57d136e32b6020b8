//! What is written in two places says the same: environment variables, metrics, event schemas, links.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use schemars::{JsonSchema, generate::SchemaSettings};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a text that look like environment variables and stand between the given signs.
fn quoted_variables(text: &str, open: &str, close: char) -> BTreeSet<String> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split(close).next())
        .filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_template_sets_exactly_the_variables_that_the_functions_read() {
    let template = read("infra/template.yaml");
    for function in ["ingest", "remediate", "notify", "analyze", "promote"] {
        let mut code = String::new();
        for entry in std::fs::read_dir(root().join("functions").join(function).join("src")).unwrap() {
            code.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
        for call in [".required(\"", ".optional(\"", ".bucket(\"", ".parsed(\""] {
            for name in quoted_variables(&code, call, '"')
                .iter()
                .filter(|name| !name.starts_with("AWS_"))
            {
                let optional = ["MAX_REPORT_BYTES", "TOP_FEATURES"].contains(&name.as_str());
                assert!(
                    optional || template.contains(&format!("{name}:")),
                    "infra/template.yaml does not set {name}"
                );
                assert!(
                    read("README.md").contains(name.as_str()),
                    "README.md does not tell of {name}"
                );
            }
        }
    }
}

#[test]
fn what_a_rule_could_not_deliver_may_go_to_the_dead_letter_queue() {
    let template = read("infra/template.yaml");
    let mut rules = Vec::new();
    let mut lines = template.lines().peekable();
    while let Some(line) = lines.next() {
        if lines
            .peek()
            .is_some_and(|next| next.trim() == "Type: AWS::Events::Rule")
        {
            rules.push(line.trim().trim_end_matches(':').to_owned());
        }
    }
    assert!(rules.len() > 10, "{rules:?}");
    let policy = template.split("Sid: AllowRules").nth(1).unwrap();
    let policy = policy.split("Sid: DenyInsecureTransport").next().unwrap();
    for rule in rules {
        assert!(
            policy.contains(&format!("!GetAtt {rule}.Arn")),
            "{rule} may not send there"
        );
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let template = read("infra/template.yaml");
    for name in ["ConstraintViolations", "Breaching", "ExecutionFailed"] {
        assert!(template.contains(name), "the dashboard lacks {name}");
    }
}

fn check_schema<T: JsonSchema>(file: &str, title: &str) {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = root().join("events/schemas").join(file);
    if option_env!("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the types say: run UPDATE_SCHEMAS=1 cargo test -p repository",
        path.display()
    );
}

#[test]
fn schemas_of_our_events_are_those_of_the_types() {
    check_schema::<alerting::AlertStateChange>(
        "model-monitor-alert-state-change.v1.json",
        "Model Monitor Alert State Change",
    );
    check_schema::<alerting::HealthStateChange>(
        "model-monitor-health-state-change.v1.json",
        "Model Monitor Health State Change",
    );
    check_schema::<alerting::MonitoringExecutionStateChange>(
        "monitoring-execution-state-change.v1.json",
        "Monitoring Execution State Change",
    );
    check_schema::<remediation::IncidentClosed>("remediation-incident-closed.v1.json", "Remediation Incident Closed");
    check_schema::<remediation::RemediationApproval>("remediation-approval.v1.json", "Remediation Approval");
    check_schema::<remediation::RemediationPause>("remediation-pause.v1.json", "Remediation Pause");
    check_schema::<remediation::RemediationResolution>("remediation-resolution.v1.json", "Remediation Resolution");
    check_schema::<remediation::RetrainingStatusReported>(
        "retraining-status-reported.v1.json",
        "Retraining Status Reported",
    );
    check_schema::<remediation::RemediationDecided>("remediation-decided.v1.json", "Remediation Decided");
    check_schema::<remediation::RetrainingStatusChange>(
        "retraining-pipeline-execution-status-change.v1.json",
        "Retraining Pipeline Execution Status Change",
    );
    check_schema::<promotion::ExperimentStateChange>("experiment-state-change.v1.json", "Experiment State Change");
    check_schema::<promotion::ExperimentCommand>("experiment-command.v1.json", "Experiment Command");
    check_schema::<promotion::OutcomesReported>("experiment-outcomes-reported.v1.json", "Experiment Outcomes Reported");
    check_schema::<promotion::BaselinesRequested>("model-baselines-requested.v1.json", "Model Baselines Requested");
    check_schema::<promotion::BaselinesCreated>("model-baselines-created.v1.json", "Model Baselines Created");
    check_schema::<promotion::MonitorBaselineChange>("monitor-baseline-change.v1.json", "Monitor Baseline Change");
}

#[test]
fn the_schema_of_the_policy_is_that_of_the_types() {
    let mut schema = remediation::policy_schema();
    schema.insert("title".into(), "policy.toml of Driftwarden".into());
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = root().join("infra/policy.schema.json");
    if option_env!("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the types say: run UPDATE_SCHEMAS=1 cargo test -p repository",
        path.display()
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    for file in markdown(root()) {
        // Without what stands in backticks: a pattern there is no link.
        let text = std::fs::read_to_string(&file).unwrap();
        let text: String = text.split('`').step_by(2).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            assert!(
                file.parent().unwrap().join(target).exists(),
                "{}: dead link {link}",
                file.display()
            );
        }
    }
    assert!(checked > 0, "documents link to one another");
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                files.extend(markdown(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    files
}
