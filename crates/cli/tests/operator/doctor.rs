//! `driftwarden doctor` on healthy, broken, and unreachable deployments.

use super::{APPROVE_URL, Deployment, OPERATOR_URL, POLICY, caller, hour, ledger};
use alerting::{DOCTOR_SCHEDULE, Evidence, HealthStatus, Monitor, MonitorLedger, Observation, ReportEvidence};
use machine::Kind;
use model_monitor::ViolationReport;
use remediation::{MonitorRef, Policy};
use shell::{
    memory::Fault,
    operator::{Alarm, BucketSettings, FunctionConfiguration, Rule, RuleTarget, Stack, StackResource, Subscription},
    ports::Schedule,
};
use std::collections::BTreeMap;

const QUEUE_ARN: &str = "arn:aws:sqs:eu-west-1:1:dead-letters";
const QUEUE: &str = "https://sqs/dead-letters";
const TOPIC: &str = "arn:aws:sns:eu-west-1:1:topic";
const PARAMETERS: [&str; 5] = [
    "DriftwardenModel",
    "DriftwardenIncident",
    "MonitoringSchedule",
    "ReportUri",
    "DriftedFeatures",
];

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn rule(target: &str) -> Rule {
    Rule {
        enabled: true,
        targets: vec![RuleTarget {
            arn: format!("arn:aws:lambda:eu-west-1:1:function:dw-{target}"),
            dead_letter_queue: Some(QUEUE_ARN.to_owned()),
        }],
    }
}

fn function(variables: &[(&str, &str)]) -> FunctionConfiguration {
    FunctionConfiguration {
        state: "Active".to_owned(),
        last_update_status: "Successful".to_owned(),
        environment: texts(variables),
        ..FunctionConfiguration::default()
    }
}

fn schedule(name: &str, status: &str) -> Schedule {
    Schedule {
        name: name.to_owned(),
        endpoint: None,
        status: status.to_owned(),
        created: hour(0),
        last_modified: hour(0),
    }
}

/// A ledger with the datapoint of a report without violations.
fn recorded(schedule: &str, at: i64, etag: &str) -> MonitorLedger {
    let monitor = Monitor {
        schedule: schedule.to_owned(),
        endpoint: None,
        model: schedule.to_owned(),
        monitor_type: None,
    };
    let report = ViolationReport::parse("report", br#"{"violations": []}"#, &model_monitor::Limits::default()).unwrap();
    let report = ReportEvidence::new("s3://reports/report".into(), etag.into(), hour(at), &report, 20);
    let rules = Policy::default().monitor(&MonitorRef {
        schedule,
        endpoint: None,
        monitor_type: None,
    });
    let mut ledger = MonitorLedger::new(monitor.clone());
    let observation = Observation {
        monitor,
        scheduled_time: hour(at),
        evidence: Evidence {
            report: Some(report),
            ..Evidence::default()
        },
    };
    ledger.record(observation, &rules.rules, &caller(hour(at)));
    ledger.outbox = machine::Outbox::default();
    ledger
}

/// A healthy deployment. Only the stack is configured.
fn healthy() -> Deployment {
    let deployment = Deployment::new().without(&[
        "STATE_BUCKET",
        "EVENT_BUS_NAME",
        "QUEUE_URL",
        "OPERATOR_URL",
        "APPROVE_URL",
    ]);
    let aws = &deployment.aws;
    let resource = |(logical_id, physical_id, resource_type): (&str, &str, &str)| StackResource {
        logical_id: logical_id.to_owned(),
        physical_id: physical_id.to_owned(),
        resource_type: format!("AWS::{resource_type}"),
        status: "CREATE_COMPLETE".to_owned(),
    };
    let resources = [
        ("StateBucket", "state", "S3::Bucket"),
        ("ReportRule", "dw-ReportRule", "Events::Rule"),
        ("AlertRule", "dw|dw-AlertRule", "Events::Rule"),
        ("OperatorRule", "dw-OperatorRule", "Events::Rule"),
        ("IngestFunction", "dw-ingest", "Lambda::Function"),
        ("NotifyFunction", "dw-notify", "Lambda::Function"),
        ("IngestErrorsAlarm", "dw-ingest-errors", "CloudWatch::Alarm"),
    ];
    let stack = Stack {
        arn: "arn:aws:cloudformation:eu-west-1:1:stack/dw/1".to_owned(),
        status: "CREATE_COMPLETE".to_owned(),
        status_reason: None,
        outputs: texts(&[
            ("StateBucketName", "state"),
            ("EventBusName", "dw"),
            ("OperatorUrl", OPERATOR_URL),
            ("ApproveUrl", APPROVE_URL),
            ("DeadLetterQueueUrl", QUEUE),
            ("DeadLetterQueueArn", QUEUE_ARN),
            ("TopicArn", TOPIC),
        ]),
        parameters: texts(&[
            ("ReportBucketName", "reports"),
            ("ReportPrefix", "monitoring, other"),
            ("RetrainingPipelineName", "retraining"),
        ]),
    };
    aws.put_stack("dw", stack, resources.map(resource).to_vec());
    let settings = BucketSettings {
        versioned: true,
        policy: Some("{\"Statement\": [{\"Sid\": \"DenyUnconditionalWrites\"}]}".to_owned()),
    };
    aws.put_bucket("state", settings, false);
    aws.put_bucket("reports", BucketSettings::default(), true);
    aws.put_rule("default", "dw-ReportRule", rule("ingest"));
    aws.put_rule("dw", "dw-AlertRule", rule("remediate"));
    aws.put_rule("dw", "dw-OperatorRule", rule("remediate"));
    let variables = [("STATE_BUCKET", "state"), ("REPORT_BUCKET", "reports")];
    aws.put_function("dw-ingest", function(&variables));
    aws.put_function(
        "dw-notify",
        function(&[("STATE_BUCKET", "state"), ("TOPIC_ARN", TOPIC)]),
    );
    let subscription = Subscription {
        protocol: "email".to_owned(),
        endpoint: "ada@example.com".to_owned(),
        confirmed: true,
    };
    aws.put_subscriptions(TOPIC, vec![subscription]);
    let alarm = Alarm {
        name: "dw-ingest-errors".to_owned(),
        state: "OK".to_owned(),
        reason: String::new(),
    };
    aws.put_alarm(alarm);
    aws.put_pipeline("retraining", &PARAMETERS);
    aws.put_document("policy.toml", POLICY);
    aws.put_schedule(schedule("churn-dq", "Scheduled"), "cron(0 * ? * * *)");
    deployment.put_ledger(&recorded("churn-dq", 99, "\"1\""));
    // The ledger that ingest writes for the report.
    let datapoint = serde_json::to_vec(&recorded(DOCTOR_SCHEDULE, 100, "\"new\"")).unwrap();
    aws.put_document_after_store(&format!("monitors/{DOCTOR_SCHEDULE}.json"), datapoint);
    deployment
}

#[test]
fn doctor_finds_no_problem() {
    let deployment = healthy();
    insta::assert_snapshot!(deployment.run(&["doctor", "--stack", "dw"]));
    let calls = deployment.aws.calls();
    assert!(calls.contains(&"s3:DeleteObject"), "the report is deleted");
    assert_eq!(deployment.aws.events(), []);
    let json = healthy().run(&["doctor", "--stack", "dw", "--json"]);
    insta::assert_snapshot!(json);
}

#[test]
fn stack_from_environment() {
    let mut deployment = healthy();
    deployment.variables.insert("DRIFTWARDEN_STACK", "dw");
    assert!(
        deployment
            .run(&["doctor", "--no-synthetic-report"])
            .contains("exit 0\n")
    );
    assert!(deployment.run(&["incidents"]).contains("exit 0\n"));
    assert!(deployment.run(&["redrive"]).contains("exit 0\n"));
    let output = deployment.run(&["pause", "churn", "--new", "--reason", "x"]);
    assert!(output.contains("exit 0\n"), "{output}");
    let output = deployment.run(&["approve", "churn-1", "--decision", "1"]);
    assert!(output.contains("exit 1\n"), "{output}");
    let requests = deployment.aws.url_requests();
    assert_eq!(requests.len(), 1, "{output}");
    assert_eq!(requests[0].0, OPERATOR_URL);
    insta::assert_snapshot!(deployment.run(&["incidents", "--stack", "other"]));
}

#[test]
fn doctor_prints_fix_for_each_problem() {
    let deployment = healthy();
    let aws = &deployment.aws;
    aws.put_bucket("state", BucketSettings::default(), false);
    aws.put_bucket("reports", BucketSettings::default(), false);
    aws.put_rule(
        "default",
        "dw-ReportRule",
        Rule {
            enabled: false,
            ..rule("ingest")
        },
    );
    aws.put_rule(
        "dw",
        "dw-AlertRule",
        Rule {
            targets: Vec::new(),
            ..rule("")
        },
    );
    let mut without_queue = rule("remediate");
    without_queue.targets[0].dead_letter_queue = None;
    aws.put_rule("dw", "dw-OperatorRule", without_queue);
    aws.put_function(
        "dw-ingest",
        function(&[("STATE_BUCKET", "elsewhere"), ("REPORT_BUCKET", "it's")]),
    );
    aws.put_function(
        "dw-notify",
        FunctionConfiguration {
            state: "Failed".to_owned(),
            state_reason: Some("its image is gone".to_owned()),
            ..function(&[])
        },
    );
    aws.put_subscriptions(TOPIC, Vec::new());
    aws.put_alarm(Alarm {
        name: "dw-ingest-errors".to_owned(),
        state: "ALARM".to_owned(),
        reason: "Threshold Crossed".to_owned(),
    });
    aws.put_pipeline("retraining", &PARAMETERS[..4]);
    aws.put_document("policy.toml", "[alert]\ndatapoint_to_alert = 2\n");
    aws.put_schedule(schedule("churn-mq", "Stopped"), "");
    aws.put_schedule(schedule("churn-bias", "Failed"), "");
    aws.put_schedule(schedule("unrecorded", "Scheduled"), "cron(0 * ? * * *)");
    let mut unhealthy = ledger("fraud-dq", "fraud");
    unhealthy.health.status = HealthStatus::Unhealthy;
    deployment.put_ledger(&unhealthy);
    deployment.put_ledger(&recorded("churn-dq", 90, "\"1\""));
    aws.put_dead_letter(super::failed_invocation(
        "m1",
        "dw-ingest",
        &serde_json::json!({"errorType": "ReportUnreadable", "errorMessage": "…"}),
    ));
    insta::assert_snapshot!(deployment.run(&["doctor", "--stack", "dw"]));
    assert_eq!(
        aws.dead_letters(),
        [("m1".to_owned(), true)],
        "the message stays in the queue"
    );
    assert!(!aws.calls().contains(&"s3:DeleteObject"), "nothing was written");
}

#[test]
fn doctor_reports_lost_report() {
    let deployment = healthy();
    deployment.aws.put_document_after_store("elsewhere.json", "{}");
    let output = deployment.run(&["doctor", "--stack", "dw", "--wait", "5s"]);
    insta::assert_snapshot!(output);
    assert!(deployment.aws.calls().contains(&"s3:DeleteObject"));
}

#[test]
fn doctor_reports_unavailable_checks() {
    let deployment = healthy();
    for operation in [
        "events:DescribeRule",
        "cloudwatch:GetMetricData",
        "sqs:GetQueueAttributes",
    ] {
        deployment.aws.fail(operation, Fault::Before(Kind::Denied));
    }
    let mut output = deployment.run(&["doctor", "--stack", "dw", "--no-synthetic-report"]);
    output.push('\n');
    output += &deployment.run(&["doctor", "--stack", "nowhere"]);
    deployment.aws.fail("credentials", Fault::Before(Kind::Rejected));
    output.push('\n');
    output += &deployment.run(&["doctor", "--stack", "dw"]);
    output.push('\n');
    output += &deployment.run(&["doctor", "--state-bucket", "state", "--report-bucket", "reports"]);
    insta::assert_snapshot!(output);
}

#[test]
fn doctor_distinguishes_absent_policies() {
    let deployment = healthy();
    let policy_line = |deployment: &Deployment| {
        let output = deployment.run(&["doctor", "--stack", "dw", "--no-synthetic-report"]);
        let lines: Vec<&str> = output
            .lines()
            .skip_while(|line| !line.contains("policy"))
            .take(2)
            .collect();
        lines.join("\n")
    };
    // The push is the first version of the policy.
    deployment.aws.delete_document("policy.toml");
    let deleted = policy_line(&deployment);
    assert!(
        deleted.contains("policy.toml was deleted; its last valid version 8de188ffb12a stays effective"),
        "{deleted}"
    );
    assert!(
        deleted.contains("driftwarden policy push policy.toml --state-bucket state"),
        "{deleted}"
    );
    deployment.aws.expire_versions("policy.toml");
    let never = policy_line(&deployment);
    assert!(never.contains("no policy: none was ever published"), "{never}");
    assert!(!never.contains("policy push"), "{never}");
    // It was deleted, and no version of it is valid.
    deployment.aws.put_document("policy.toml", "paused = 1");
    deployment.aws.delete_document("policy.toml");
    let invalid = policy_line(&deployment);
    assert!(
        invalid.contains("`policy.toml` was deleted from the state bucket"),
        "{invalid}"
    );
}
