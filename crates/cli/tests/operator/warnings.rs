//! Warnings about a policy that is valid: on standard error, in JSON, and without an effect on the exit code.

use super::Deployment;
use serde_json::Value;

/// During a test, half of the requests go to a variant that the analysis does not read.
const POLICY: &str = "[[model]]
name = 'churn'
[model.promotion]
mode = 'variants'
metric = 'purchases'
[[analysis]]
schedule = 'churn-dq'
endpoint = 'churn'
data = 's3://captured/churn/AllTraffic'
baseline = 's3://baselines/churn'
output = 's3://reports'
";

#[test]
fn warning_is_on_standard_error_and_in_json() {
    let deployment = Deployment::new();
    for command in ["check", "push"] {
        let output = deployment.run_with(&["policy", command, "-"], POLICY);
        let (result, errors) = output.split_once("--- err\n").unwrap();
        assert!(result.contains("exit 0\n") && !result.contains("warning"), "{output}");
        assert!(
            errors.starts_with("warning: [[analysis]]")
                && errors.contains("one variant")
                && errors.lines().count() == 1,
            "{output}"
        );
    }
    let output = deployment.run_with(&["policy", "check", "-", "--json"], POLICY);
    let (_, line) = output.split_once("--- out\n").unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let [warning] = &line["warnings"].as_array().unwrap()[..] else {
        panic!("{line}");
    };
    assert!(
        warning["message"].as_str().unwrap().contains("one variant"),
        "{warning}"
    );
    assert_eq!(line["holds"], true);
    assert!(!output.contains("--- err"), "{output}");
}
