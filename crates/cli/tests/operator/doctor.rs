//! `driftwarden doctor` on deployments that are well, ill, and out of reach.

use super::{Deployment, POLICY, caller, hour, ledger};
use alerting::{DOCTOR_SCHEDULE, Evidence, HealthStatus, Monitor, MonitorLedger, Observation, ReportEvidence};
use model_monitor::ViolationReport;
use remediation::{MonitorOf, Policy};
use shell::{
    Kind,
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
    let rules = Policy::default().monitor(&MonitorOf {
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
    ledger.outbox = outbox::Outbox::default();
    ledger
}

/// A deployment in which all is well. Only the stack is named.
fn healthy() -> Deployment {
    let deployment = Deployment::new().without(&["STATE_BUCKET", "EVENT_BUS_NAME", "QUEUE_URL"]);
    let world = &deployment.world;
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
    world.put_stack("dw", stack, resources.map(resource).to_vec());
    let settings = BucketSettings {
        versioned: true,
        policy: Some("{\"Statement\": [{\"Sid\": \"DenyUnconditionalWrites\"}]}".to_owned()),
    };
    world.put_bucket("state", settings, false);
    world.put_bucket("reports", BucketSettings::default(), true);
    world.put_rule("default", "dw-ReportRule", rule("ingest"));
    world.put_rule("dw", "dw-AlertRule", rule("remediate"));
    world.put_rule("dw", "dw-OperatorRule", rule("remediate"));
    let ours = [("STATE_BUCKET", "state"), ("REPORT_BUCKET", "reports")];
    world.put_function("dw-ingest", function(&ours));
    world.put_function(
        "dw-notify",
        function(&[("STATE_BUCKET", "state"), ("TOPIC_ARN", TOPIC)]),
    );
    let subscription = Subscription {
        protocol: "email".to_owned(),
        endpoint: "ada@example.com".to_owned(),
        confirmed: true,
    };
    world.put_subscriptions(TOPIC, vec![subscription]);
    let alarm = Alarm {
        name: "dw-ingest-errors".to_owned(),
        state: "OK".to_owned(),
        reason: String::new(),
    };
    world.put_alarm(alarm);
    world.put_pipeline("retraining", &PARAMETERS);
    world.put_document("policy.toml", POLICY);
    world.put_schedule(schedule("churn-dq", "Scheduled"), "cron(0 * ? * * *)");
    deployment.put_ledger(&recorded("churn-dq", 99, "\"1\""));
    // What ingest makes of the report.
    let datapoint = serde_json::to_vec(&recorded(DOCTOR_SCHEDULE, 100, "\"new\"")).unwrap();
    world.when_stored(&format!("monitors/{DOCTOR_SCHEDULE}.json"), datapoint);
    deployment
}

#[test]
fn a_deployment_that_is_well() {
    let deployment = healthy();
    insta::assert_snapshot!(deployment.run(&["doctor", "--stack", "dw"]));
    let calls = deployment.world.calls();
    assert!(calls.contains(&"s3:DeleteObject"), "its report is removed");
    assert_eq!(deployment.world.events(), []);
    let json = healthy().run(&["doctor", "--stack", "dw", "--json"]);
    insta::assert_snapshot!(json);
}

#[test]
fn the_environment_may_name_the_stack() {
    let mut deployment = healthy();
    deployment.variables.insert("DRIFTWARDEN_STACK", "dw");
    assert!(
        deployment
            .run(&["doctor", "--no-synthetic-report"])
            .contains("exit 0\n")
    );
    assert!(deployment.run(&["incidents"]).contains("exit 0\n"));
    assert!(deployment.run(&["redrive"]).contains("exit 0\n"));
    let said = deployment.run(&["pause", "churn", "--reason", "x"]);
    assert!(said.contains("is on bus `dw`"), "{said}");
    insta::assert_snapshot!(deployment.run(&["incidents", "--stack", "other"]));
}

#[test]
fn what_is_broken_is_named_with_its_remedy() {
    let deployment = healthy();
    let world = &deployment.world;
    world.put_bucket("state", BucketSettings::default(), false);
    world.put_bucket("reports", BucketSettings::default(), false);
    world.put_rule(
        "default",
        "dw-ReportRule",
        Rule {
            enabled: false,
            ..rule("ingest")
        },
    );
    world.put_rule(
        "dw",
        "dw-AlertRule",
        Rule {
            targets: Vec::new(),
            ..rule("")
        },
    );
    let mut loose = rule("remediate");
    loose.targets[0].dead_letter_queue = None;
    world.put_rule("dw", "dw-OperatorRule", loose);
    world.put_function(
        "dw-ingest",
        function(&[("STATE_BUCKET", "elsewhere"), ("REPORT_BUCKET", "it's")]),
    );
    world.put_function(
        "dw-notify",
        FunctionConfiguration {
            state: "Failed".to_owned(),
            state_reason: Some("its image is gone".to_owned()),
            ..function(&[])
        },
    );
    world.put_subscriptions(TOPIC, Vec::new());
    world.put_alarm(Alarm {
        name: "dw-ingest-errors".to_owned(),
        state: "ALARM".to_owned(),
        reason: "Threshold Crossed".to_owned(),
    });
    world.put_pipeline("retraining", &PARAMETERS[..4]);
    world.put_document("policy.toml", "[alert]\ndatapoint_to_alert = 2\n");
    world.put_schedule(schedule("churn-mq", "Stopped"), "");
    world.put_schedule(schedule("churn-bias", "Failed"), "");
    world.put_schedule(schedule("unheard", "Scheduled"), "cron(0 * ? * * *)");
    let mut unhealthy = ledger("fraud-dq", "fraud");
    unhealthy.health.status = HealthStatus::Unhealthy;
    deployment.put_ledger(&unhealthy);
    deployment.put_ledger(&recorded("churn-dq", 90, "\"1\""));
    world.put_dead_letter(super::failed_invocation(
        "m1",
        "dw-ingest",
        &serde_json::json!({"errorType": "ReportUnreadable", "errorMessage": "…"}),
    ));
    insta::assert_snapshot!(deployment.run(&["doctor", "--stack", "dw"]));
    assert_eq!(world.dead_letters(), [("m1".to_owned(), true)], "the message stays");
    assert!(!world.calls().contains(&"s3:DeleteObject"), "nothing was written");
}

#[test]
fn a_report_that_nobody_hears_of() {
    let deployment = healthy();
    deployment.world.when_stored("elsewhere.json", "{}");
    let said = deployment.run(&["doctor", "--stack", "dw", "--wait", "5s"]);
    insta::assert_snapshot!(said);
    assert!(deployment.world.calls().contains(&"s3:DeleteObject"));
}

#[test]
fn what_cannot_be_looked_at() {
    let deployment = healthy();
    for operation in [
        "events:DescribeRule",
        "cloudwatch:GetMetricData",
        "sqs:GetQueueAttributes",
    ] {
        deployment.world.fail(operation, Fault::Before(Kind::Denied));
    }
    let mut said = deployment.run(&["doctor", "--stack", "dw", "--no-synthetic-report"]);
    said.push('\n');
    said += &deployment.run(&["doctor", "--stack", "nowhere"]);
    deployment.world.fail("credentials", Fault::Before(Kind::Rejected));
    said.push('\n');
    said += &deployment.run(&["doctor", "--stack", "dw"]);
    said.push('\n');
    said += &deployment.run(&["doctor", "--state-bucket", "state", "--report-bucket", "reports"]);
    insta::assert_snapshot!(said);
}
