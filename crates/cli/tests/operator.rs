//! The operator commands on a deployment in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertHistoryItem, AlertStateChange, AlertStatus, Datapoint, Evidence, ExecutionWindow, HealthStatus, Level,
    Monitor, MonitorLedger, Severity,
};
use clap::Parser as _;
use cli::{AwsTargets, Cli, Environment, Streams};
use functions::operator::{AcceptedCommands, Operator};
use functions::remediate::Remediate;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Kind};
use model_monitor::MonitorType;
use remediation::{
    Automation, ExecutionStatus, Facts, InAlertChoice, Input, Levels, ModelDocument, PipelineExecution, PipelineStart,
    Policy, RemediationResolution, RiskRating, Settings, Stage, StepContext,
};
use serde_json::json;
use shell::{
    memory::{Fault, Memory},
    operator::DeadLetter,
    ports::PostResponse,
};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

#[path = "operator/datapoint.rs"]
mod datapoint;
#[path = "operator/doctor.rs"]
mod doctor;
#[path = "operator/fleet.rs"]
mod fleet;
#[path = "operator/given_up.rs"]
mod given_up;
#[path = "operator/pause.rs"]
mod pause;
#[path = "operator/warnings.rs"]
mod warnings;

/// AWS in memory, and an environment with all variables.
struct Deployment {
    aws: Arc<Memory>,
    variables: BTreeMap<&'static str, &'static str>,
}

/// URL of the function that takes all commands.
const OPERATOR_URL: &str = "https://a.lambda-url.eu-west-1.on.aws/";
/// URL of the function that takes approvals.
const APPROVE_URL: &str = "https://b.lambda-url.eu-west-1.on.aws/";
/// The caller, as AWS names it.
const CALLER: &str = "arn:aws:sts::1:assumed-role/Operator/alice";

/// Executes the latest command that the function `operator` has sent, as `promote` and `ingest` do.
fn execute_sent(aws: &Memory) {
    let Some((detail_type, detail)) = aws.events().pop() else {
        return;
    };
    let read = |key: &str| serde_json::from_slice(&aws.document(key).unwrap()).unwrap();
    match detail_type.as_str() {
        promotion::EXPERIMENT_COMMAND => {
            let command: promotion::ExperimentCommand = serde_json::from_str(&detail).unwrap();
            let key = format!("experiments/{}.json", command.model);
            let mut document: serde_json::Value = read(&key);
            let open = document.get_mut("experiment").unwrap();
            let stage: promotion::ExperimentStage = serde_json::from_value(open["stage"].clone()).unwrap();
            let executed = json!({
                "stage": stage.after(command.order.cause()),
                "since": aws.time(),
                "sentence": format!("{} by {}", command.order.as_str(), command.by),
            });
            *open = with(open.take(), executed);
            aws.put_document(&key, document.to_string());
        }
        alerting::MONITOR_DATAPOINT_DROP => {
            let command: alerting::MonitorDatapointDrop = serde_json::from_str(&detail).unwrap();
            let key = MonitorLedger::key(&command.monitoring_schedule);
            let mut ledger: MonitorLedger = serde_json::from_value(read(&key)).unwrap();
            ledger.drop_datapoint(&command, &alerting::MonitorRules::default(), &caller(aws.time()));
            aws.put_document(&key, serde_json::to_vec(&ledger).unwrap());
        }
        _ => {}
    }
}

/// Puts the function `operator` behind its URLs, with the caller and the time that AWS adds. The commands that it sends are
/// executed, or not.
fn put_functions(aws: &Arc<Memory>, executed: bool) {
    for (url, accepted) in [
        (OPERATOR_URL, AcceptedCommands::All),
        (APPROVE_URL, AcceptedCommands::Approvals),
    ] {
        let weak = Arc::downgrade(aws);
        aws.put_url_function(url, move |body| {
            let aws = weak.upgrade().unwrap();
            let settings = Settings {
                pipeline: "retraining".into(),
                pipeline_start: PipelineStart::Remediate,
            };
            let operator = Operator::new(Remediate::new(settings), accepted);
            let id = format!("request-{}", aws.call_count());
            let request = json!({
                "requestContext": {
                    "authorizer": {"iam": {"userArn": CALLER}},
                    "http": {"method": "POST"},
                    "requestId": id,
                    "timeEpoch": aws.time().as_millisecond(),
                },
                "body": body,
            });
            let sent = aws.events().len();
            let handled = operator.handle(aws.as_ref(), &request.to_string(), &id).now_or_never();
            let response = handled.unwrap().unwrap();
            if executed && aws.events().len() > sent {
                execute_sent(&aws);
            }
            PostResponse {
                status: response.status_code,
                body: response.body,
            }
        });
    }
}

impl Deployment {
    fn new() -> Self {
        let aws = Arc::new(Memory::at(hour(100)));
        put_functions(&aws, true);
        Self {
            aws,
            variables: BTreeMap::from([
                ("STATE_BUCKET", "state"),
                ("EVENT_BUS_NAME", "driftwarden"),
                ("OPERATOR_URL", OPERATOR_URL),
                ("APPROVE_URL", APPROVE_URL),
                ("QUEUE_URL", "https://sqs/dead-letters"),
                ("USER", "alice"),
            ]),
        }
    }

    /// Removes environment variables.
    fn without(mut self, names: &[&str]) -> Self {
        self.variables.retain(|name, _| !names.contains(name));
        self
    }

    /// Runs a command. Returns exit code, output, and errors in one text.
    fn run(&self, line: &[&str]) -> String {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &[&str], input: &str) -> String {
        let cli = Cli::parse_from(["driftwarden"].iter().chain(line));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let streams = Streams {
            input: &mut input.as_bytes(),
            out: &mut out,
            err: &mut err,
        };
        let exit = cli.run_in(streams, self);
        let mut text = format!("$ driftwarden {}\nexit {}\n", line.join(" "), exit.code());
        for (name, bytes) in [("out", out), ("err", err)] {
            if !bytes.is_empty() {
                write!(text, "--- {name}\n{}", String::from_utf8(bytes).unwrap()).unwrap();
            }
        }
        text
    }

    fn run_all(&self, lines: &[&[&str]]) -> String {
        lines.iter().map(|line| self.run(line)).collect::<Vec<_>>().join("\n")
    }

    fn put_model(&self, document: &ModelDocument) {
        let key = format!("models/{}.json", document.model);
        self.aws.put_document(&key, serde_json::to_vec(document).unwrap());
    }

    fn put_ledger(&self, ledger: &MonitorLedger) {
        let key = format!("monitors/{}.json", ledger.monitor.schedule.to_lowercase());
        self.aws.put_document(&key, serde_json::to_vec(ledger).unwrap());
    }
}

impl Environment for Deployment {
    type Clients = Memory;

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    async fn connect(&self, _: AwsTargets) -> Result<Arc<Memory>, String> {
        Ok(Arc::clone(&self.aws))
    }
}

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_second(1_789_999_200 + hour * 3600).unwrap()
}

fn caller(now: Timestamp) -> Caller {
    Caller { id: "test".into(), now }
}

fn alert(model: &str, schedule: &str, transition: u64, status: AlertStatus, at: i64) -> Input {
    Input::Alert(Box::new(AlertStateChange {
        version: "1".into(),
        id: format!("alert-{schedule}-{transition}"),
        correlation_id: Some(format!("4bf92f3577b34da6a3ce929d0e0e47{transition:02}")),
        model: model.into(),
        endpoint: None,
        monitoring_schedule: schedule.into(),
        monitor_type: None,
        epoch: None,
        transition,
        revision: 0,
        alert_status: status,
        previous_alert_status: AlertStatus::Ok,
        severity: Some(Severity::Warning),
        datapoints_to_alert: 2,
        evaluation_period: 3,
        period: None,
        breaching: 2,
        datapoints: Vec::new(),
        violations: Vec::new(),
        check_types: Vec::new(),
        report_uri: None,
        reason: "2 of the last 3 executions had violations; alert at 2 of 3".into(),
        policy_version: "abc".into(),
        time: hour(at),
    }))
}

/// The document of a model after some inputs, with an automation level.
fn model(name: &str, automation: &str, inputs: Vec<(i64, Input)>) -> ModelDocument {
    let policy = format!(
        "[remediation]\ndecide_after = '0s'\nautomation = \"{automation}\"\ncooldown = \"0h\"\nclose_after = 1\n"
    );
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    assert_ne!(policy.model(name).automation(RiskRating::Low), Automation::Observe);
    let settings = Settings {
        pipeline: "retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    };
    let facts = Facts::default();
    let mut levels = Levels::new();
    let mut document = ModelDocument::new(name);
    for (at, input) in inputs {
        if let Input::Alert(change) = &input {
            let level = Level {
                alert: (**change).clone(),
                health: HealthStatus::Healthy,
                interval: None,
                judged_since_transition: usize::from(change.alert_status == AlertStatus::Ok),
                alerts: Vec::new(),
                judged: vec![hour(at)],
            };
            levels.insert(change.monitoring_schedule.clone(), level);
        }
        let given = StepContext {
            policy: &policy,
            settings: &settings,
            levels: &levels,
            facts: Some(Ok(&facts)),
        };
        document.step(input, given, &caller(hour(at)));
    }
    document
}

fn execution(incident: u64, status: ExecutionStatus) -> Input {
    Input::PipelineExecution {
        incident,
        execution: PipelineExecution {
            arn: format!("arn:aws:sagemaker:eu-west-1:1:pipeline/retraining/execution/e{incident}"),
            status,
            start_time: Some(hour(12)),
            end_time: status.is_final().then(|| hour(14)),
        },
        at: hour(13),
    }
}

/// A model with two closed incidents; the third waits for an approval.
fn awaiting_approval() -> ModelDocument {
    let document = model(
        "churn",
        "approve",
        vec![
            (10, alert("churn", "churn-dq", 1, AlertStatus::InAlert, 10)),
            (
                20,
                Input::Resolution(RemediationResolution {
                    incident_id: "churn-1".into(),
                    in_alert: Some(InAlertChoice::Reopen),
                    by: "bob".into(),
                    time: hour(20),
                    reason: None,
                }),
            ),
            (26, alert("churn", "churn-dq", 2, AlertStatus::Ok, 26)),
            (90, alert("churn", "churn-dq", 3, AlertStatus::InAlert, 90)),
            (91, alert("churn", "churn-mq", 1, AlertStatus::InAlert, 91)),
        ],
    );
    assert_eq!(document.stage(), Stage::AwaitingApproval);
    document
}

/// A model with a pipeline execution in progress.
fn retraining() -> ModelDocument {
    let document = model(
        "fraud",
        "auto",
        vec![
            (11, alert("fraud", "fraud-dq", 1, AlertStatus::InAlert, 11)),
            (12, execution(1, ExecutionStatus::Executing)),
        ],
    );
    assert_eq!(document.stage(), Stage::Retraining);
    document
}

const POLICY: &str = "[alert]
datapoints_to_alert = 2
evaluation_period = 3

[[model]]
name = \"churn\"
remediation = { automation = \"approve\" }

[[monitor]]
schedule = \"churn-bias\"
model = \"churn\"
";

fn ledger(schedule: &str, endpoint: &str) -> MonitorLedger {
    MonitorLedger::new(Monitor {
        schedule: schedule.into(),
        endpoint: Some(endpoint.into()),
        model: endpoint.into(),
        monitor_type: Some(MonitorType::DataQuality),
    })
}

#[test]
fn policy_check() {
    let deployment = Deployment::new().without(&["STATE_BUCKET"]);
    let output: Vec<String> = [
        POLICY,
        "",
        "[[alarm]]\nname = 'latency'\nmodel = 'churn'\n",
        "[alert]\ndatapoint_to_alert = 2\n",
        "[alert]\ndatapoints_to_alert = 4\nevaluation_period = 3\n",
        "[remediation]\ncooldown = 'soon'\n",
    ]
    .iter()
    .map(|policy| deployment.run_with(&["policy", "check", "-"], policy))
    .collect();
    insta::assert_snapshot!(output.join("\n"));
    let large = deployment.run_with(&["policy", "check", "-"], &"#".repeat((1 << 20) + 1));
    assert!(large.ends_with("exit 1\n--- err\nerror: standard input: the input exceeds the limit of 1048576 bytes\n"));
}

#[test]
fn policy_explain() {
    let deployment = Deployment::new();
    deployment.put_ledger(&ledger("churn-dq", "churn"));
    deployment.put_ledger(&ledger("other-dq", "other"));
    let mut output = deployment.run(&["policy", "explain", "--model", "churn"]);
    deployment.aws.put_document("policy.toml", POLICY);
    deployment.aws.put_document("monitors/torn.json", "{");
    output.push('\n');
    output += &deployment.run(&["policy", "explain", "--model", "churn"]);
    insta::assert_snapshot!(output);
    insta::assert_snapshot!(deployment.run(&["policy", "explain", "--model", "churn", "--json"]));
}

#[test]
fn policy_explain_without_a_deployment() {
    let deployment = Deployment::new().without(&["STATE_BUCKET"]);
    let mut output = deployment.run_with(&["policy", "explain", "--policy", "-", "--model", "fraud"], POLICY);
    output.push('\n');
    output += &deployment.run(&["policy", "explain", "--model", "churn"]);
    let deployment = Deployment::new();
    deployment.aws.put_document("policy.toml", "paused = 1");
    output.push('\n');
    output += &deployment.run(&["policy", "explain", "--model", "churn"]);
    insta::assert_snapshot!(output);
}

#[test]
fn policy_push() {
    let deployment = Deployment::new();
    let push = |policy: &str, more: &[&str]| {
        let line = [&["policy", "push", "-"], more].concat();
        deployment.run_with(&line, policy)
    };
    let newer = POLICY.replace("datapoints_to_alert = 2", "datapoints_to_alert = 3");
    let mut output = vec![push(POLICY, &["--dry-run"])];
    assert_eq!(deployment.aws.document("policy.toml"), None);
    output.extend([push(POLICY, &[]), push(POLICY, &[]), push(&newer, &["--dry-run"])]);
    output.push(push("pause = true", &[]));
    assert_eq!(deployment.aws.document("policy.toml").unwrap(), POLICY.as_bytes());
    deployment.aws.fail("s3:PutObject", Fault::Overtaken);
    output.push(push(&newer, &[]));
    assert_eq!(deployment.aws.document("policy.toml").unwrap(), POLICY.as_bytes());
    output.push(push(&newer, &[]));
    assert_eq!(deployment.aws.document("policy.toml").unwrap(), newer.as_bytes());
    deployment.aws.put_document("policy.toml", "nonsense\u{7}");
    deployment.aws.fail("s3:PutObject", Fault::Before(Kind::Denied));
    output.push(push(POLICY, &[]));
    insta::assert_snapshot!(output.join("\n"));
}

/// A model whose third incident waits for an approval, and the policy that requires it.
fn asking() -> Deployment {
    let deployment = Deployment::new();
    let policy = "[remediation]\ndecide_after = '0s'\nautomation = 'approve'\ncooldown = '0h'\n";
    deployment.aws.put_document("policy.toml", policy);
    deployment.put_model(&awaiting_approval());
    deployment
}

impl Deployment {
    fn stored_model(&self, name: &str) -> ModelDocument {
        serde_json::from_slice(&self.aws.document(&format!("models/{name}.json")).unwrap()).unwrap()
    }

    /// Detail-types of the events so far.
    fn detail_types(&self) -> Vec<String> {
        self.aws
            .events()
            .into_iter()
            .map(|(detail_type, _)| detail_type)
            .collect()
    }
}

#[test]
fn approve_and_resolve() {
    let deployment = asking();
    let mut output = deployment.run(&[
        "approve",
        "churn-3",
        "--dry-run",
        "--valid-for",
        "2d",
        "--reason",
        "seen it",
    ]);
    assert_eq!(deployment.aws.url_requests(), []);
    output.push('\n');
    output += &deployment.run(&["approve", "churn-3", "--deny", "--by", "bob", "--reason", "not today"]);
    deployment.aws.pass(SignedDuration::from_secs(1));
    output.push('\n');
    output += &deployment.run(&["approve", "churn-3", "--valid-for", "2d"]);
    assert_eq!(deployment.stored_model("churn").stage(), Stage::Retraining);
    let other = asking();
    output.push('\n');
    output += &other.run(&["resolve", "churn-3", "--reason", "known"]);
    insta::assert_snapshot!(output);
    let mut requests = deployment.aws.url_requests();
    requests.extend(other.aws.url_requests());
    let requests: Vec<String> = requests
        .into_iter()
        .map(|(url, body)| format!("{url} {body}"))
        .collect();
    insta::assert_snapshot!(requests.join("\n"));
}

#[test]
fn approval_takes_effect_before_command_ends() {
    let deployment = asking();
    let output = deployment.run(&["approve", "churn-3", "--by", "Chief Risk Officer"]);
    assert!(output.contains("exit 0"), "{output}");
    let document = deployment.stored_model("churn");
    assert_eq!(document.stage(), Stage::Retraining);
    assert_eq!(document.retrainings.len(), 1);
    assert_eq!(
        document.incident.unwrap().approval().unwrap().by,
        CALLER,
        "the name is a note"
    );
    assert_eq!(deployment.aws.execution_count(), 1);
    let detail_types = deployment.detail_types();
    assert_eq!(detail_types.last().unwrap(), "Operator Command Accepted");
    assert!(detail_types.contains(&"Remediation Decided".to_owned()));
    let again = deployment.run(&["approve", "churn-3"]);
    assert!(
        again.contains("exit 1") && again.contains("it does not wait for an approval"),
        "{again}"
    );
    assert_eq!(deployment.aws.execution_count(), 1);
}

#[test]
fn command_answers_decision_that_it_names() {
    let deployment = asking();
    let current = deployment
        .stored_model("churn")
        .incident
        .unwrap()
        .decision
        .unwrap()
        .number;
    let bare = deployment.without(&["STATE_BUCKET"]);
    let stale = (current + 1).to_string();
    let mut output = bare.run_all(&[&["approve", "churn-3"], &["approve", "churn-3", "--decision", &stale]]);
    assert_eq!(bare.stored_model("churn").stage(), Stage::AwaitingApproval);
    output.push('\n');
    output += &bare.run(&["approve", "churn-3", "--decision", &current.to_string()]);
    assert_eq!(bare.stored_model("churn").stage(), Stage::Retraining);
    insta::assert_snapshot!(output);
}

#[test]
fn misspelled_model_is_an_error() {
    let deployment = asking();
    let keys = deployment.aws.documents();
    let mut output = deployment.run_all(&[
        &["pause", "chrun", "--reason", "labels are wrong"],
        &["pause", "Churn", "--reason", "labels are wrong"],
        &["resume", "chrun"],
        &["approve", "chrun-3"],
        &["pause", "lifetime-value", "--reason", "labels are wrong"],
    ]);
    assert_eq!(deployment.aws.documents(), keys, "no document is created");
    assert_eq!(deployment.aws.events(), []);
    output.push('\n');
    output += &deployment.run(&["pause", "lifetime-value", "--new", "--reason", "labels are wrong"]);
    assert!(deployment.stored_model("lifetime-value").pause.unwrap().paused);
    insta::assert_snapshot!(output);
}

#[test]
fn answers_of_aws_are_errors_with_a_hint() {
    let mut output = Vec::new();
    for (status, body) in [
        // AWS's answers to a caller without permission, to a wrong signature, and if the function fails.
        (
            403,
            r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see the developer guide."}"#,
        ),
        (
            403,
            r#"{"message":"The security token included in the request is expired"}"#,
        ),
        (403, r#"{"Message":null}"#),
        (502, "Internal Server Error"),
        (200, "<html>"),
    ] {
        let deployment = asking();
        deployment.aws.put_url_function(APPROVE_URL, move |_| PostResponse {
            status,
            body: body.to_owned(),
        });
        output.push(deployment.run(&["approve", "churn-3", "--decision", "1"]));
    }
    let deployment = asking();
    deployment
        .aws
        .fail("lambda:InvokeFunctionUrl", Fault::Before(Kind::Transient));
    output.push(deployment.run(&["resolve", "churn-3"]));
    let insecure = deployment.run(&["resolve", "churn-3", "--url", "http://example.com/"]);
    assert!(
        insecure.contains("exit 2") && insecure.contains("is not the URL of a function"),
        "{insecure}"
    );
    // The retraining is stored, and SageMaker does not answer.
    deployment
        .aws
        .fail("sagemaker:StartPipelineExecution", Fault::Before(Kind::Transient));
    output.push(deployment.run(&["approve", "churn-3"]));
    insta::assert_snapshot!(output.join("\n"));
}

#[test]
fn rejects_operator_commands_in_the_wrong_stage() {
    let deployment = Deployment::new();
    deployment.put_model(&awaiting_approval());
    deployment.put_model(&retraining());
    let mut output = deployment.run_all(&[
        &["approve", "churn-1"],
        &["approve", "churn-2"],
        &["approve", "churn-9"],
        &["approve", "nothing-1"],
        &["approve", "churn"],
        &["approve", "fraud-1"],
    ]);
    deployment.aws.set_time(hour(400));
    output += "\n";
    output += &deployment.run(&["approve", "churn-3"]);
    assert_eq!(deployment.aws.events(), []);
    assert_eq!(deployment.aws.url_requests(), []);
    let deployment = deployment.without(&["USER", "APPROVE_URL", "OPERATOR_URL", "STATE_BUCKET"]);
    output += "\n";
    output += &deployment.run_all(&[
        &["approve", "churn-3"],
        &["approve", "churn-3", "--dry-run"],
        &["approve", "churn-3", "--dry-run", "--decision", "1"],
        &["resolve", "churn-3", "--url", OPERATOR_URL],
    ]);
    deployment
        .aws
        .fail("lambda:InvokeFunctionUrl", Fault::Before(Kind::Denied));
    output += "\n";
    output += &deployment.run(&["resolve", "churn-3", "--url", OPERATOR_URL, "--decision", "1"]);
    insta::assert_snapshot!(output);
}

#[test]
fn incidents() {
    let deployment = Deployment::new();
    let mut output = deployment.run(&["incidents"]);
    deployment.put_model(&awaiting_approval());
    deployment.put_model(&retraining());
    deployment.put_model(&model("quiet", "approve", Vec::new()));
    deployment.aws.put_document("models/torn.json", "{");
    output += "\n";
    output += &deployment.run_all(&[
        &["incidents"],
        &["incidents", "churn"],
        &["incidents", "fraud"],
        &["incidents", "quiet"],
        &["incidents", "no-such-model"],
    ]);
    insta::assert_snapshot!(output);
    insta::assert_snapshot!(deployment.run(&["incidents", "--json"]));
}

#[test]
fn incidents_verified_or_denied() {
    let deployment = Deployment::new();
    deployment.put_model(&model(
        "fraud",
        "auto",
        vec![
            (11, alert("fraud", "fraud-dq", 1, AlertStatus::InAlert, 11)),
            (12, execution(1, ExecutionStatus::Executing)),
            (14, execution(1, ExecutionStatus::Succeeded)),
        ],
    ));
    let mut denied = serde_json::to_value(awaiting_approval()).unwrap();
    denied["incident"]["approval"] = json!({
        "granted": false,
        "by": "bob",
        "at": hour(95),
        "validUntil": hour(96),
        "reason": "the campaign ends tomorrow",
    });
    let denied: ModelDocument = serde_json::from_value(denied).unwrap();
    deployment.put_model(&denied);
    insta::assert_snapshot!(deployment.run_all(&[&["incidents", "fraud"], &["incidents", "churn"]]));
}

/// A message that Lambda sent to the queue.
fn failed_invocation(id: &str, function: &str, answer: &serde_json::Value) -> DeadLetter {
    let record = json!({
        "version": "1.0",
        "timestamp": "2026-09-22T00:00:00.000Z",
        "requestContext": {
            "requestId": "r",
            "functionArn": format!("arn:aws:lambda:eu-west-1:1:function:{function}:$LATEST"),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"id": id, "detail": {"number": 1}},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": answer,
    });
    DeadLetter {
        id: id.into(),
        body: record.to_string(),
        sent: Some(hour(90)),
        ..DeadLetter::default()
    }
}

/// A message that EventBridge sent to the queue for a rule.
fn undelivered(id: &str, target: &str) -> DeadLetter {
    let attributes = [
        ("RULE_ARN", "arn:aws:events:eu-west-1:1:rule/bus/alert"),
        ("TARGET_ARN", target),
        ("ERROR_CODE", "THROTTLING"),
        ("ERROR_MESSAGE", "Rate Exceeded."),
    ];
    DeadLetter {
        id: id.into(),
        body: format!("{{\"id\":\"{id}\"}}"),
        attributes: attributes
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        sent: Some(hour(91)),
        ..DeadLetter::default()
    }
}

fn dead_letters() -> Deployment {
    let deployment = Deployment::new();
    let denied = json!({"errorType": "AwsAccessDenied", "errorMessage": "s3:GetObject on `s3://reports/x` failed"});
    let broken = json!({"errorType": "EventMalformed", "errorMessage": "the event has no detail"});
    for letter in [
        failed_invocation("m-1", "stack-ingest", &denied),
        failed_invocation("m-2", "stack-remediate", &broken),
        failed_invocation("m-3", "stack-remediate", &serde_json::Value::Null),
        undelivered("m-4", "arn:aws:lambda:eu-west-1:1:function:stack-notify"),
        undelivered("m-5", "arn:aws:sagemaker:eu-west-1:1:pipeline/retraining"),
        DeadLetter {
            id: "m-6".into(),
            body: "hello".into(),
            ..DeadLetter::default()
        },
    ] {
        deployment.aws.put_dead_letter(letter);
    }
    deployment
}

fn visible(ids: &[&str]) -> Vec<(String, bool)> {
    ids.iter().map(|id| ((*id).to_owned(), true)).collect()
}

#[test]
fn redrive() {
    let deployment = dead_letters();
    let mut output = deployment.run(&["redrive", "--dry-run"]);
    let all = ["m-1", "m-2", "m-3", "m-4", "m-5", "m-6"];
    assert_eq!(deployment.aws.dead_letters(), visible(&all));
    assert_eq!(deployment.aws.invocations(), []);
    output += "\n";
    output += &deployment.run_all(&[&["redrive"], &["redrive"]]);
    assert_eq!(deployment.aws.dead_letters(), visible(&["m-5", "m-6"]));
    insta::assert_snapshot!(output);
    let invocations: Vec<String> = deployment
        .aws
        .invocations()
        .into_iter()
        .map(|(function, payload)| format!("{function} {payload}"))
        .collect();
    insta::assert_snapshot!(invocations.join("\n"));
}

#[test]
fn redrive_with_filter_and_limit() {
    let deployment = dead_letters();
    let mut output = deployment.run_all(&[
        &["redrive", "--only", "Rate Exceeded", "--dry-run"],
        &["redrive", "--only", "AccessDenied"],
        &["redrive", "--max", "1"],
    ]);
    assert_eq!(deployment.aws.dead_letters(), visible(&["m-3", "m-4", "m-5", "m-6"]));
    let deployment = deployment.without(&["QUEUE_URL"]);
    output += "\n";
    output += &deployment.run(&["redrive"]);
    insta::assert_snapshot!(output);
}

#[test]
fn redrive_when_aws_fails() {
    let mut output = Vec::new();
    for (operation, fault) in [
        ("lambda:InvokeFunction", Fault::Before(Kind::NotFound)),
        ("lambda:InvokeFunction", Fault::Before(Kind::Transient)),
        ("lambda:InvokeFunction", Fault::After),
        ("sqs:DeleteMessage", Fault::Before(Kind::Transient)),
        ("sqs:ChangeMessageVisibility", Fault::After),
        ("sqs:ReceiveMessage", Fault::Before(Kind::Denied)),
    ] {
        let deployment = dead_letters();
        deployment.aws.fail(operation, fault);
        output.push(deployment.run(&["redrive"]));
        let kept = deployment.aws.dead_letters();
        let handed = output
            .last()
            .is_some_and(|output| output.contains("stack-ingest     redelivered  "));
        assert_eq!(kept.contains(&("m-1".to_owned(), true)), !handed);
    }
    insta::assert_snapshot!(output.join("\n"));
}

#[test]
fn redrive_processes_each_message_once() {
    let deployment = Deployment::new();
    let answer = json!({"errorType": "AwsTransient", "errorMessage": "x"});
    for number in 0..250 {
        deployment
            .aws
            .put_dead_letter(failed_invocation(&format!("m-{number}"), "stack-ingest", &answer));
    }
    let output = deployment.run(&["redrive"]);
    assert!(
        output.contains("250 events redelivered, 0 still in the queue\n"),
        "{output}"
    );
    assert_eq!(deployment.aws.invocations().len(), 250);
    assert_eq!(deployment.aws.dead_letters(), []);
}

#[test]
fn commands_print_json() {
    let deployment = dead_letters();
    let mut output = vec![
        deployment.run_with(&["policy", "check", "-", "--json"], POLICY),
        deployment.run_with(&["policy", "check", "-", "--json"], "[alert]\nwindow = 3\n"),
        deployment.run_with(&["policy", "push", "-", "--json", "--dry-run"], POLICY),
        deployment.run_with(&["policy", "push", "-", "--json"], POLICY),
        deployment.run_with(&["policy", "push", "-", "--json"], POLICY),
    ];
    deployment.put_model(&awaiting_approval());
    output.push(deployment.run(&["approve", "churn-3", "--deny", "--json"]));
    output.push(deployment.run(&["resolve", "churn-3", "--json", "--dry-run"]));
    output.push(deployment.run(&["redrive", "--json", "--only", "AwsAccessDenied"]));
    insta::assert_snapshot!(output.join("\n"));
    assert_eq!(deployment.aws.url_requests().len(), 1);
    assert_eq!(deployment.aws.document("policy.toml").unwrap(), POLICY.as_bytes());
}

#[test]
fn alerts() {
    let deployment = Deployment::new();
    let mut output = deployment.run(&["alerts", "churn-dq"]);
    deployment.aws.put_document("policy.toml", POLICY);
    let mut churn = ledger("Churn-DQ", "churn");
    deployment.put_ledger(&churn);
    output += "\n";
    output += &deployment.run(&["alerts", "churn-dq"]);
    churn.datapoints.push_back(Datapoint {
        scheduled_time: hour(0),
        evidence: Evidence::default(),
    });
    for (status, at) in [
        (AlertStatus::InAlert, 5),
        (AlertStatus::Ok, 20),
        (AlertStatus::InAlert, 30),
        (AlertStatus::Ok, 40),
        (AlertStatus::InsufficientData, 50),
    ] {
        churn.history.push_back(AlertHistoryItem {
            status,
            scheduled_time: hour(at),
            time: hour(at) + SignedDuration::from_mins(25),
        });
        churn.alert.status = status;
        churn.alert.transition += 1;
    }
    deployment.put_ledger(&churn);
    let found = |at: i64| hour(at) + SignedDuration::from_mins(40);
    let history = vec![
        (found(-9), AlertStatus::Ok),
        (found(20), AlertStatus::Ok),
        (found(25), AlertStatus::InAlert),
        (found(40), AlertStatus::Ok),
    ];
    let window = |m, n| ExecutionWindow::new(m, n).unwrap();
    for (m, n) in [(1, 1), (2, 3)] {
        deployment
            .aws
            .put_monitoring_alert("churn-dq", window(m, n), history.clone());
        output += "\n";
        output += &deployment.run(&["alerts", "churn-dq"]);
    }
    deployment
        .aws
        .put_monitoring_alert("churn-dq", window(2, 3), history[1..].to_vec());
    output += "\n";
    output += &deployment.run(&["alerts", "churn-dq"]);
    insta::assert_snapshot!(output);
    insta::assert_snapshot!(deployment.run(&["alerts", "churn-dq", "--json"]));
}

#[test]
fn command_without_aws_fails() {
    let cli = Cli::parse_from(["driftwarden", "incidents", "--state-bucket", "state"]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    cli.run(Streams {
        input: &mut &b""[..],
        out: &mut out,
        err: &mut err,
    });
    insta::assert_snapshot!(String::from_utf8(err).unwrap(), @"error: this command requires AWS access");
}

/// An object with changed values for some keys.
fn with(mut object: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    if let serde_json::Value::Object(more) = more {
        object.as_object_mut().unwrap().extend(more);
    }
    object
}

/// An experiment in its document, at hour 90 and later.
fn experiment(model: &str, number: u64, more: serde_json::Value) -> serde_json::Value {
    let arn = format!(
        "arn:aws:sagemaker:eu-west-1:111122223333:model-package/{model}/{}",
        number + 9
    );
    let experiment = json!({
        "number": number,
        "id": format!("{model}-ab-{number}"),
        "package": {"arn": arn, "version": number + 9, "approval_status": "Approved"},
        "endpoint": model,
        "mode": "variants",
        "stage": "Testing",
        "sentence": format!("Experiment {model}-ab-{number} of `{model}` is Testing. Reason: the next traffic step starts."),
        "opened_at": hour(90),
        "since": hour(91),
        "started_at": hour(91),
        "step": 1,
        "base": {
            "config": format!("{model}-config-7"),
            "variants": [{"name": "AllTraffic", "weight": 1.0}],
        },
        "share": 10.0,
        "comparison": {"metric": "accuracy", "lower_is_better": false, "margin": 0.01, "alpha": 0.0125},
        "token": "1a2b3c4d",
    });
    with(experiment, more)
}

/// Step, champion and candidate (correct outcomes, all outcomes), and the difference with its interval.
type LookRow = (u32, [u64; 2], [u64; 2], [f64; 3]);

/// Looks, one per hour.
fn looks(looks: &[LookRow], last: &str) -> serde_json::Value {
    let sample = |[right, all]: [u64; 2]| json!({"count": all, "sum": right, "sumOfSquares": right});
    let look = |(at, (step, champion, candidate, [estimate, low, high])): (usize, &LookRow)| {
        json!({
            "time": hour(92 + i64::try_from(at).unwrap()),
            "step": step,
            "champion": sample(*champion),
            "candidate": sample(*candidate),
            "share": if *step == 0 { 5.0 } else { 10.0 },
            "interval": {"low": low, "estimate": estimate, "high": high},
            "outcome": if at + 1 == looks.len() { last } else { "Continue" },
        })
    };
    looks.iter().enumerate().map(look).collect()
}

/// A model whose third experiment is open, in a stage.
fn tested(model: &str, stage: &str, more: serde_json::Value) -> serde_json::Value {
    let open = json!({
        "stage": stage,
        "waits_for": "the new variant weights",
        "reasons": [{"code": "TooFew", "count": 1043, "minimum": 2000}],
        "looks": looks(
            &[
                (0, [4250, 5000], [225, 260], [0.0154, -0.0918, 0.1226]),
                (1, [4200, 5000], [470, 540], [0.0304, -0.0301, 0.0909]),
                (1, [8460, 10_000], [907, 1043], [0.0236, -0.0187, 0.0659]),
            ],
            "Continue",
        ),
    });
    let lost = json!({
        "stage": "Ended",
        "conclusion": "RolledBack",
        "share": 0.0,
        "reasons": [{"code": "Inferior", "atLeast": 0.0214}],
        "looks": looks(&[(0, [4250, 5000], [180, 260], [-0.1577, -0.2649, -0.0505])], "RollBack"),
    });
    let won = json!({
        "stage": "Ended",
        "conclusion": "Promoted",
        "share": 100.0,
        "refused": "Rate exceeded",
        "baselines": {
            "answered": true,
            "changed": [{
                "monitoringSchedule": "data-quality",
                "monitorType": "DataQuality",
                "own": true,
                "baselineUri": "s3://baselines/10/data-quality",
            }],
            "not_created": [{"monitoringSchedule": "bias", "reason": "its configuration cannot be read"}],
        },
    });
    json!({
        "version": 1,
        "model": model,
        "experiments": 3,
        "experiment": experiment(model, 3, with(open, more)),
        "next": {
            "arn": format!("arn:aws:sagemaker:eu-west-1:111122223333:model-package/{model}/13"),
            "version": 13,
            "approval_status": "PendingManualApproval",
        },
        "ended": [
            {"experiment": experiment(model, 1, won), "conclusion": "Promoted", "ended_at": hour(93)},
            {"experiment": experiment(model, 2, lost), "conclusion": "RolledBack", "ended_at": hour(96)},
        ],
    })
}

impl Deployment {
    fn put_experiments(&self, document: &serde_json::Value) {
        let key = format!("experiments/{}.json", document["model"].as_str().unwrap());
        self.aws.put_document(&key, document.to_string());
    }

    /// A model with an open experiment in a stage.
    fn at_stage(stage: &str, more: serde_json::Value) -> Self {
        let deployment = Self::new();
        deployment.put_experiments(&tested("churn", stage, more));
        deployment
    }
}

#[test]
fn experiment_status() {
    let deployment = Deployment::new();
    let mut output = deployment.run(&["experiment", "status"]);
    deployment.put_experiments(&tested("churn", "Testing", json!({})));
    let over = with(
        tested("fraud", "Testing", json!({})),
        json!({"experiment": null, "next": null}),
    );
    deployment.put_experiments(&over);
    deployment.put_experiments(&json!({"version": 1, "model": "quiet"}));
    deployment.aws.put_document("experiments/torn.json", "{");
    output += "\n";
    output += &deployment.run_all(&[
        &["experiment", "status"],
        &["experiment", "status", "churn"],
        &["experiment", "status", "fraud"],
        &["experiment", "status", "quiet"],
        &["experiment", "status", "churn-ab-1"],
        &["experiment", "status", "churn-ab-7"],
        &["experiment", "status", "no-such-model"],
    ]);
    insta::assert_snapshot!(output);
    insta::assert_snapshot!(deployment.run(&["experiment", "status", "--json"]));
}

#[test]
fn experiment_status_of_shadow_and_pending() {
    let deployment = Deployment::at_stage(
        "AwaitingApproval",
        json!({"looks": [], "reasons": [], "share": null, "base": null, "comparison": null, "started_at": null, "step": 0}),
    );
    let mut looks = looks(&[(0, [8460, 10_000], [907, 1043], [0.0; 3])], "Continue");
    for look in looks.as_array_mut().unwrap() {
        *look = with(look.take(), json!({"share": null, "interval": null}));
    }
    let shadow = json!({
        "mode": "shadow",
        "share": null,
        "comparison": {"metric": "cost", "lower_is_better": true, "alpha": 0.05},
        "looks": looks,
    });
    let shadow = with(tested("fraud", "Paused", shadow), json!({"ended": []}));
    deployment.put_experiments(&shadow);
    insta::assert_snapshot!(deployment.run_all(&[
        &["experiment", "status"],
        &["experiment", "status", "churn-ab-3"],
        &["experiment", "status", "fraud"],
    ]));
}

#[test]
fn experiment_status_writes_plots() {
    let deployment = Deployment::at_stage("Testing", json!({}));
    deployment.put_experiments(&json!({"version": 1, "model": "quiet"}));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (svg, html) = (file("a.svg"), file("a.html"));
    let output = deployment.run(&["experiment", "status", "churn", "--plot", &svg, "--html", &html]);
    assert!(
        output.contains(&format!("written: {svg}\nwritten: {html}\n")),
        "{output}"
    );
    let (svg, html) = (
        std::fs::read_to_string(svg).unwrap(),
        std::fs::read_to_string(html).unwrap(),
    );
    assert!(svg.contains("Experiment churn-ab-3: Testing</title>") && html.contains(&svg));
    let over = file("b.svg");
    deployment.run(&["experiment", "status", "churn-ab-2", "--json", "--plot", &over]);
    let over = std::fs::read_to_string(over).unwrap();
    assert!(over.contains("Experiment churn-ab-2: RolledBack</title>"));
    let output = deployment.run(&["experiment", "status", "quiet", "--plot", &file("c.svg")]);
    assert!(
        output.ends_with("error: model `quiet` has had no experiment to plot\n"),
        "{output}"
    );
    let nowhere = file("no/such/folder.svg");
    let output = deployment.run(&["experiment", "status", "churn", "--plot", &nowhere]);
    assert!(
        output.contains("exit 1") && output.contains("failed to write"),
        "{output}"
    );
    let line = ["driftwarden", "experiment", "status", "--plot", &nowhere];
    assert!(Cli::try_parse_from(line).is_err(), "a plot requires a model");
}

#[test]
fn experiment_commands() {
    let deployment = Deployment::at_stage("Testing", json!({}));
    let mut output = String::new();
    for (stage, line) in [
        ("Testing", &["experiment", "stop", "churn-ab-3", "--dry-run"][..]),
        (
            "Testing",
            &["experiment", "stop", "churn-ab-3", "--reason", "the campaign ends"],
        ),
        ("Testing", &["experiment", "rollback", "churn-ab-3"]),
        (
            "Testing",
            &["experiment", "promote", "churn-ab-3", "--by", "bob", "--json"],
        ),
        ("Paused", &["experiment", "resume", "churn-ab-3"]),
    ] {
        deployment.put_experiments(&tested("churn", stage, json!({})));
        output += &deployment.run(line);
        output += "\n";
    }
    insta::assert_snapshot!(output);
    let details: Vec<String> = deployment
        .aws
        .events()
        .into_iter()
        .map(|(detail_type, detail)| {
            let command: promotion::ExperimentCommand = serde_json::from_str(&detail).unwrap();
            assert_eq!(
                (detail_type.as_str(), command.model.as_str()),
                (promotion::EXPERIMENT_COMMAND, "churn")
            );
            detail
        })
        .collect();
    insta::assert_snapshot!(details.join("\n"));
}

#[test]
fn command_that_is_not_executed_is_an_error() {
    let deployment = Deployment::at_stage("Testing", json!({}));
    put_functions(&deployment.aws, false);
    let began = deployment.aws.time();
    let output = deployment.run(&["experiment", "stop", "churn-ab-3"]);
    assert!(
        output.contains("exit 1") && output.contains("has had no effect within 60 s"),
        "{output}"
    );
    assert_eq!(deployment.aws.time().duration_since(began).as_secs(), 60);
}

#[test]
fn experiment_commands_in_every_stage() {
    let mut output = Vec::new();
    for stage in promotion::ExperimentStage::ALL {
        let more = match stage {
            promotion::ExperimentStage::Ended => continue,
            promotion::ExperimentStage::AwaitingApproval => json!({"base": null, "share": null}),
            _ => json!({}),
        };
        for order in ["stop", "rollback", "promote", "resume"] {
            let deployment = Deployment::at_stage(stage.as_str(), more.clone());
            let answer = deployment.run(&["experiment", order, "churn-ab-3"]);
            let sent = deployment.aws.events().len();
            // The command is sent if and only if the state machine accepts it.
            let cause = match order {
                "promote" => promotion::Cause::Promote,
                "resume" => promotion::Cause::Resume,
                _ => promotion::Cause::RollBack,
            };
            assert_eq!(sent == 1, stage.after(cause).is_some(), "{answer}");
            let answer: Vec<&str> = answer
                .lines()
                .filter(|line| !line.starts_with(['-', ' ', '$', 'c']))
                .collect();
            output.push(format!("{} {order}: {}", stage.as_str(), answer.join(" / ")));
        }
    }
    insta::assert_snapshot!(output.join("\n"));
}

#[test]
fn rejects_experiment_commands_in_the_wrong_stage() {
    let deployment = Deployment::at_stage("Testing", json!({}));
    let mut output = deployment.run_all(&[
        &["experiment", "promote", "churn-ab-1"],
        &["experiment", "rollback", "churn-ab-1"],
        &["experiment", "stop", "churn-ab-2"],
        &["experiment", "rollback", "churn-ab-2"],
        &["experiment", "resume", "churn-ab-2"],
        &["experiment", "promote", "churn-ab-2"],
        &["experiment", "promote", "churn-ab-9"],
        &["experiment", "promote", "nothing-ab-1"],
        &["experiment", "promote", "churn-3"],
    ]);
    assert_eq!(deployment.aws.events(), []);
    let blue_green = Deployment::at_stage("Preparing", json!({"mode": "blue-green", "share": null}));
    let shadow = Deployment::at_stage("Testing", json!({"mode": "shadow", "share": null}));
    for deployment in [&blue_green, &shadow] {
        output += "\n";
        output += &deployment.run_all(&[
            &["experiment", "promote", "churn-ab-3"],
            &["experiment", "stop", "churn-ab-3", "--dry-run"],
        ]);
    }
    let empty = Deployment::new();
    output += "\n";
    output += &empty.run(&["experiment", "promote", "churn-ab-3"]);
    let bare = Deployment::new().without(&["USER", "EVENT_BUS_NAME", "STATE_BUCKET"]);
    output += "\n";
    output += &bare.run_all(&[
        &["experiment", "stop", "churn-ab-3"],
        &["experiment", "stop", "churn-ab-3", "--by", "bob"],
        &["experiment", "stop", "churn-ab-3", "--by", "bob", "--url", OPERATOR_URL],
        &["experiment", "status"],
    ]);
    deployment.aws.fail("events:PutEvents", Fault::Before(Kind::Denied));
    output += "\n";
    output += &deployment.run(&["experiment", "stop", "churn-ab-3"]);
    insta::assert_snapshot!(output);
}
