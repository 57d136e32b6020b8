//! Checks that facts in two places agree: environment variables, metrics, event schemas, links.
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

/// Names of environment variables between the given delimiters in a text.
fn quoted_variables(text: &str, open: &str, close: char) -> BTreeSet<String> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split(close).next())
        .filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn template_sets_the_variables_that_functions_read() {
    let template = read("infra/template.yaml");
    let mut folders = vec![root().join("functions/src")];
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut names = BTreeSet::new();
    for call in [".required(\"", ".optional(\"", ".bucket(\"", ".parsed(\""] {
        names.append(&mut quoted_variables(&code, call, '"'));
    }
    names.retain(|name| !name.starts_with("AWS_"));
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        let optional = ["MAX_REPORT_BYTES", "TOP_FEATURES"].contains(&name.as_str());
        assert!(
            optional || template.contains(&format!("{name}:")),
            "infra/template.yaml does not set {name}"
        );
        assert!(
            read("docs/reference/configuration.md").contains(name.as_str()),
            "docs/reference/configuration.md does not list {name}"
        );
    }
}

#[test]
fn every_rule_may_send_to_dead_letter_queue() {
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
            "the policy of the dead-letter queue does not allow {rule}"
        );
    }
}

#[test]
fn every_rule_of_events_excludes_replays() {
    let template = read("infra/template.yaml");
    let rules = resources(&template, "AWS::Events::Rule");
    let mut rules_of_events = 0;
    for (name, text) in rules.into_iter().filter(|(_, text)| text.contains("EventPattern:")) {
        rules_of_events += 1;
        assert!(
            text.contains("replay-name: [{exists: false}]"),
            "a replay of the archive would reach the target of {name} again"
        );
    }
    assert!(rules_of_events > 10, "{rules_of_events} rules");
}

#[test]
fn cloudwatch_dashboard_shows_all_metrics_functions_and_alarms() {
    let template = read("infra/template.yaml");
    let dashboard = template.split("DashboardBody: !Sub |").nth(1).unwrap();
    let dashboard = dashboard.split("Type: AWS::Logs::QueryDefinition").next().unwrap();
    for name in metric_names() {
        assert!(
            dashboard.contains(&format!("MetricName=\\\"{name}\\\"")),
            "the dashboard lacks {name}"
        );
    }
    for function in ["Ingest", "Remediate", "Sweep", "Analyze", "Promote", "Notify"] {
        for metric in ["Invocations", "Throttles", "Duration", "DestinationDeliveryFailures"] {
            let line = format!("[\"AWS/Lambda\", \"{metric}\", \"FunctionName\", \"${{{function}Function}}\"");
            assert!(dashboard.contains(&line), "the dashboard lacks {metric} of {function}");
        }
    }
    let mut alarms = 0;
    for (name, _) in resources(&template, "AWS::CloudWatch::Alarm") {
        alarms += 1;
        assert!(
            dashboard.contains(&format!("${{{name}.Arn}}")),
            "the dashboard lacks the alarm {name}"
        );
    }
    assert!(alarms >= 13, "{alarms} alarms");
}

#[test]
fn saved_queries_use_logged_fields() {
    let template = read("infra/template.yaml");
    let code: String = ["functions", "crates/aws/src", "crates/shell/src"]
        .iter()
        .flat_map(|folder| rust(&root().join(folder)))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    // Fields of the formatter, of Lambda, of the query itself, or of the span of an invocation.
    let elsewhere = ["level", "message", "type", "correlation_id"];
    let queries = resources(&template, "AWS::Logs::QueryDefinition");
    assert!(queries.len() >= 6, "{}", queries.len());
    for (name, text) in queries {
        let query = text.split("QueryString: |-").nth(1).unwrap();
        let mut made = BTreeSet::new();
        for word in query_fields(query) {
            let word = word.as_str();
            if word.starts_with("record.") || elsewhere.contains(&word) || made.contains(word) {
                continue;
            }
            let logged = [format!("{word} = "), format!("{word},"), format!("%{word}")]
                .iter()
                .any(|form| code.contains(form.as_str()));
            if !logged {
                assert!(
                    query.contains(&format!(" as {word}")),
                    "{name} uses {word}, which nothing logs"
                );
                made.insert(word.to_owned());
            }
        }
    }
}

/// Fields in a query of Logs Insights: its words, without strings, comments, and keywords of the language.
fn query_fields(query: &str) -> BTreeSet<String> {
    const LANGUAGE: [&str; 22] = [
        "and",
        "as",
        "asc",
        "by",
        "coalesce",
        "count",
        "desc",
        "fields",
        "filter",
        "in",
        "ispresent",
        "latest",
        "like",
        "limit",
        "max",
        "not",
        "or",
        "sort",
        "stats",
        "min",
        "sum",
        "avg",
    ];
    let plain: String = query
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join(" ") + "\n")
        .collect();
    plain
        .split(|c: char| !(c.is_ascii_alphanumeric() || "_.@".contains(c)))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()) && !LANGUAGE.contains(word))
        .map(str::to_owned)
        .collect()
}

/// Names of the metrics that ingest publishes, from the code.
fn metric_names() -> BTreeSet<String> {
    let code = read("crates/alerting/src/metric.rs");
    let names: BTreeSet<String> = code
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("Self::")?
                .split_once("=> \"")?
                .1
                .split('"')
                .next()
        })
        .map(str::to_owned)
        .collect();
    assert!(names.len() >= 5, "{names:?}");
    names
}

/// Resources of a type by logical ID, each with its lines.
fn resources(template: &str, resource_type: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in template.split("\nResources:\n").nth(1).unwrap().lines() {
        if line == "Outputs:" {
            break;
        }
        if line.starts_with("  ") && !line.starts_with("   ") && !line.trim().starts_with('#') {
            found.push((line.trim().trim_end_matches(':').to_owned(), String::new()));
        } else if let Some((_, text)) = found.last_mut()
            && !line.starts_with("  #")
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    found.retain(|(_, text)| text.lines().any(|line| line.trim() == format!("Type: {resource_type}")));
    found
}

fn rust(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
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
        "{} differs from the types: run UPDATE_SCHEMAS=1 cargo test -p driftwarden-repository",
        path.display()
    );
}

#[test]
fn event_schemas_match_types() {
    check_schema::<alerting::AlertStateChange>(
        "model-monitor-alert-state-change.v1.json",
        "Model Monitor Alert State Change",
    );
    check_schema::<alerting::HealthStateChange>(
        "model-monitor-health-state-change.v1.json",
        "Model Monitor Health State Change",
    );
    check_schema::<alerting::MonitoringExecutionRequested>(
        "monitoring-execution-requested.v1.json",
        "Monitoring Execution Requested",
    );
    check_schema::<alerting::MonitoringExecutionStateChange>(
        "monitoring-execution-state-change.v1.json",
        "Monitoring Execution State Change",
    );
    check_schema::<alerting::MonitorDatapointDrop>("monitor-datapoint-drop.v1.json", "Monitor Datapoint Drop");
    check_schema::<remediation::IncidentClosed>("remediation-incident-closed.v1.json", "Remediation Incident Closed");
    check_schema::<remediation::OperatorCommandAccepted>(
        "operator-command-accepted.v1.json",
        "Operator Command Accepted",
    );
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
fn policy_schema_matches_types() {
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
        "{} differs from the types: run UPDATE_SCHEMAS=1 cargo test -p driftwarden-repository",
        path.display()
    );
}

#[test]
fn links_between_documents_resolve() {
    let mut checked = 0;
    for file in markdown(root()) {
        // Code in backticks is left out, because patterns look like links.
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
    assert!(checked > 0, "no links found");
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
