//! Runs the function on AWS in memory: all sample requests, and everything that it refuses.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use alerting::{MonitorDatapointDrop, MonitorLedger};
use functions::operator::{AcceptedCommands, MAX_COMMAND_BYTES, Operator, Response};
use functions::remediate::Remediate;
use jiff::{SignedDuration, Timestamp};
use machine::{ErrorType as _, Kind};
use promotion::{ExperimentCommand, Order};
use remediation::{
    CommandResult, ModelDocument, ModelState, OperatorAnswer, OperatorCommandAccepted, OperatorRefusal, Outcome, Pause,
    PipelineStart, RiskRating, Settings, Stage,
};
use serde_json::{Value, json};
use shell::{
    config::Vars,
    memory::{Fault, Memory},
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");
const CALLER: &str = "arn:aws:sts::111122223333:assumed-role/Approver/ada";

fn sample(folder: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{EVENTS}/{folder}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn remediate() -> Remediate {
    Remediate::new(Settings {
        pipeline: "driftwarden-retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    })
}

/// AWS with a model whose retraining waits for an approval, at the time of the sample requests.
async fn aws() -> Memory {
    let aws = Memory::at("2026-11-23T03:16:22Z".parse().unwrap());
    aws.put_document("policy.toml", "[remediation]\ndecide_after = '0s'\n");
    aws.put_risk_rating("churn-endpoint", RiskRating::Medium);
    let alert = sample("remediate", "alert-in-alert").to_string();
    remediate().handle(&aws, &alert, "alert").await.unwrap();
    assert_eq!(model(&aws).stage(), Stage::AwaitingApproval);
    aws.set_time("2026-11-23T03:18:20.2Z".parse().unwrap());
    aws
}

fn model(aws: &Memory) -> ModelDocument {
    serde_json::from_slice(&aws.document("models/churn-endpoint.json").unwrap()).unwrap()
}

/// A request whose command has other values for some fields. `null` removes a field.
fn request(name: &str, changes: &Value) -> Value {
    let mut request = sample("operator", name);
    let mut command: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        if value.is_null() {
            command.as_object_mut().unwrap().remove(field);
        } else {
            command[field] = value.clone();
        }
    }
    request["body"] = command.to_string().into();
    request
}

/// The request, as AWS received it at another time.
fn at(mut request: Value, time: &str) -> Value {
    let time: Timestamp = time.parse().unwrap();
    request["requestContext"]["timeEpoch"] = time.as_millisecond().into();
    request
}

async fn send(aws: &Memory, request: &Value) -> Response {
    let operator = Operator::new(remediate(), AcceptedCommands::All);
    let count = aws.call_count();
    operator
        .handle(aws, &request.to_string(), &format!("request-{count}"))
        .await
        .unwrap()
}

async fn accepted(aws: &Memory, request: &Value) -> OperatorAnswer {
    let response = send(aws, request).await;
    assert_eq!(response.status_code, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

/// What the model's document says after an accepted request.
async fn done(aws: &Memory, request: &Value) -> ModelState {
    match accepted(aws, request).await.result {
        CommandResult::Done(state) => state,
        CommandResult::Sent { event } => panic!("sent as {event}"),
    }
}

/// Sends a request that is refused. The document of the model and the events stay as they are.
async fn refused(aws: &Memory, request: &Value) -> (u16, OperatorRefusal) {
    let keys = aws.documents();
    let documents: Vec<_> = keys.iter().map(|key| aws.document(key)).collect();
    let events = aws.events().len();
    let response = send(aws, request).await;
    assert_ne!(response.status_code, 200, "{}", response.body);
    assert_eq!(aws.documents(), keys, "no document is created");
    let after: Vec<_> = keys.iter().map(|key| aws.document(key)).collect();
    assert_eq!(after, documents, "no document changes");
    assert_eq!(aws.events().len(), events, "no event is sent");
    assert_eq!(aws.executions(), []);
    (response.status_code, serde_json::from_str(&response.body).unwrap())
}

/// Status and error of a request that is refused.
async fn error(aws: &Memory, request: &Value) -> (u16, String) {
    let (status, refusal) = refused(aws, request).await;
    (status, refusal.error)
}

fn as_expected(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[tokio::test]
async fn every_sample_request_is_accepted() {
    for entry in std::fs::read_dir(format!("{EVENTS}/operator")).unwrap() {
        let aws = aws().await;
        let request = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let answer = accepted(&aws, &serde_json::from_str(&request).unwrap()).await;
        assert_eq!(answer.caller, CALLER);
        let (detail_type, detail) = aws.events().pop().unwrap();
        match answer.result {
            CommandResult::Done(state) => {
                assert_eq!(detail_type, "Operator Command Accepted");
                let record: OperatorCommandAccepted = serde_json::from_str(&detail).unwrap();
                assert_eq!((record.command_id, record.caller), (answer.id, answer.caller));
                assert_eq!(record.stage, state.stage);
            }
            CommandResult::Sent { event } => assert_eq!(event, detail_type),
        }
    }
}

#[tokio::test]
async fn approval_is_by_the_caller_that_aws_names() {
    let aws = aws().await;
    let answer = done(&aws, &request("approve", &json!({"by": "Chief Risk Officer"}))).await;
    assert_eq!((answer.stage, answer.decision), (Stage::Retraining, Some(2)));
    assert!(answer.sentence.unwrap().contains(CALLER));
    assert_eq!(
        aws.executions().len(),
        1,
        "the retraining has started when the command is answered"
    );
    let approval = model(&aws).incident.unwrap().approval().unwrap().clone();
    assert_eq!(approval.by, CALLER);
    assert_eq!(approval.at, "2026-11-23T03:18:20.123Z".parse().unwrap());
    let (_, detail) = aws.events().pop().unwrap();
    insta::assert_snapshot!(detail);
}

#[tokio::test]
async fn denial_holds_and_resolution_closes() {
    let aws = aws().await;
    let answer = done(&aws, &request("deny", &json!({}))).await;
    assert_eq!(answer.stage, Stage::Holding);
    let resolve = request("resolve", &json!({"stage": "Holding", "inAlert": "reopen"}));
    let answer = done(&aws, &at(resolve, "2026-11-23T03:18:21Z")).await;
    let document = model(&aws);
    assert_eq!(document.closed[0].outcome, Outcome::Resolved);
    // The monitor is still in alert.
    assert_eq!(answer.incident_id.as_deref(), Some("churn-endpoint-2"));
    assert_eq!(aws.executions(), []);
}

#[tokio::test]
async fn request_without_iam_caller_is_refused() {
    let aws = aws().await;
    for authorizer in [
        json!(null),
        json!({}),
        json!({"iam": null}),
        json!({"iam": {"userArn": ""}}),
        json!({"lambda": {}}),
    ] {
        let mut request = sample("operator", "approve");
        request["requestContext"]["authorizer"] = authorizer;
        assert_eq!(error(&aws, &request).await, as_expected(403, "NoCaller"));
    }
    let mut request = sample("operator", "approve");
    request["requestContext"]["http"]["method"] = "GET".into();
    assert_eq!(error(&aws, &request).await, as_expected(405, "NotPost"));
}

#[tokio::test]
async fn misspelled_model_is_refused_with_nearest_name() {
    let aws = aws().await;
    for misspelled in ["chrun-endpoint", "Churn-Endpoint"] {
        for name in ["pause", "resume"] {
            let (status, refusal) = refused(&aws, &request(name, &json!({"model": misspelled}))).await;
            assert_eq!((status, refusal.error.as_str()), (404, "UnknownModel"));
            assert!(refusal.hint.unwrap().starts_with("did you mean `churn-endpoint`?"));
        }
        let id = format!("{misspelled}-1");
        let (status, refusal) = refused(&aws, &request("approve", &json!({"incidentId": id}))).await;
        assert_eq!(
            (status, refusal.hint.as_deref()),
            (404, Some("did you mean `churn-endpoint`?"))
        );
    }
    let (_, refusal) = refused(&aws, &request("pause", &json!({"model": "lifetime-value"}))).await;
    insta::assert_snapshot!(refusal.hint.unwrap(), @"to pause a model that has had no alert yet, pass --new (field `newModel`)");
}

#[tokio::test]
async fn new_model_is_paused_on_request() {
    let aws = aws().await;
    let pause = request("pause", &json!({"model": "lifetime-value", "newModel": true}));
    let answer = done(&aws, &pause).await;
    assert_eq!(
        (answer.model.as_str(), answer.stage),
        ("lifetime-value", Stage::Healthy)
    );
    assert!(answer.pause.unwrap().paused);
    // A model with an experiment exists.
    aws.put_document("experiments/fraud.json", "{}");
    let answer = done(&aws, &request("pause", &json!({"model": "fraud"}))).await;
    assert!(answer.pause.unwrap().paused);
}

#[tokio::test]
async fn unknown_or_closed_incident_is_refused() {
    let aws = aws().await;
    let other = request("approve", &json!({"incidentId": "churn-endpoint-7"}));
    let (status, refusal) = refused(&aws, &other).await;
    assert_eq!((status, refusal.error.as_str()), (404, "UnknownIncident"));
    assert_eq!(
        refusal.hint.unwrap(),
        "the open incident of model `churn-endpoint` is `churn-endpoint-1`"
    );
    accepted(&aws, &request("resolve", &json!({}))).await;
    let resolve = at(request("resolve", &json!({})), "2026-11-23T03:18:21Z");
    assert_eq!(error(&aws, &resolve).await, as_expected(409, "IncidentClosed"));
}

#[tokio::test]
async fn command_for_another_decision_is_refused() {
    let aws = aws().await;
    for name in ["approve", "deny"] {
        for decision in [0, 2, 99] {
            let stale = request(name, &json!({"decision": decision}));
            let (status, refusal) = refused(&aws, &stale).await;
            assert_eq!((status, refusal.error.as_str()), (409, "StaleDecision"));
            assert!(refusal.hint.unwrap().starts_with("the current decision is 1: Hold"));
        }
    }
    let stale = request("resolve", &json!({"stage": "Escalated"}));
    assert_eq!(error(&aws, &stale).await, as_expected(409, "StaleStage"));
    let stale = request("pause", &json!({"decision": 7}));
    assert_eq!(error(&aws, &stale).await, as_expected(409, "StaleDecision"));
    // A command that is sent again answers a decision that is no longer the current one.
    accepted(&aws, &request("deny", &json!({}))).await;
    let again = send(&aws, &request("deny", &json!({}))).await;
    assert_eq!(again.status_code, 409, "{}", again.body);
}

#[tokio::test]
async fn old_command_is_refused() {
    let aws = aws().await;
    let now = aws.time();
    for (age, is_accepted) in [(-120, false), (16 * 60, false), (14 * 60, true)] {
        let time = now - SignedDuration::from_secs(age);
        let pause = at(request("pause", &json!({})), &time.to_string());
        if is_accepted {
            accepted(&aws, &pause).await;
        } else {
            assert_eq!(error(&aws, &pause).await, as_expected(409, "StaleCommand"));
        }
    }
}

#[tokio::test]
async fn invalid_or_large_body_is_refused() {
    let aws = aws().await;
    let mut request = sample("operator", "approve");
    for body in [
        Value::Null,
        json!(""),
        json!("{"),
        json!("{\"id\":\"1\",\"command\":\"promote\"}"),
        json!("[]"),
    ] {
        request["body"] = body;
        assert_eq!(error(&aws, &request).await, as_expected(400, "InvalidCommand"));
    }
    for length in [MAX_COMMAND_BYTES + 1, 4 << 20] {
        request["body"] = " ".repeat(length).into();
        assert_eq!(error(&aws, &request).await, as_expected(413, "CommandTooLarge"));
    }
    request["isBase64Encoded"] = true.into();
    request["body"] = "%".into();
    assert_eq!(error(&aws, &request).await, as_expected(400, "InvalidCommand"));
    let long = self::request("approve", &json!({"reason": "x".repeat(2000)}));
    assert_eq!(error(&aws, &long).await, as_expected(400, "InvalidCommand"));
    let past = self::request("pause", &json!({"until": "2026-11-23T03:00:00Z"}));
    assert_eq!(error(&aws, &past).await, as_expected(400, "EndInThePast"));
}

#[tokio::test]
async fn base64_body_is_decoded() {
    use base64::Engine as _;
    let aws = aws().await;
    let mut request = request("approve", &json!({"reason": "Saison beginnt — ja"}));
    let body = base64::engine::general_purpose::STANDARD.encode(request["body"].as_str().unwrap());
    request["body"] = body.into();
    request["isBase64Encoded"] = true.into();
    assert_eq!(done(&aws, &request).await.stage, Stage::Retraining);
}

#[tokio::test]
async fn payload_of_another_kind_is_an_error() {
    let aws = aws().await;
    let operator = Operator::new(remediate(), AcceptedCommands::All);
    let event = json!({"source": "driftwarden.operator", "detail-type": "Remediation Approval", "detail": {}});
    let error = operator.handle(&aws, &event.to_string(), "request").await.unwrap_err();
    assert_eq!(error.error_type(), "EventUnreadable");
}

#[tokio::test]
async fn approvers_url_accepts_answers_only() {
    let operator = Operator::new(remediate(), AcceptedCommands::Approvals);
    for (name, status) in [
        ("approve", 200),
        ("deny", 200),
        ("resolve", 403),
        ("pause", 403),
        ("resume", 403),
    ] {
        let aws = aws().await;
        let request = sample("operator", name).to_string();
        let response = operator.handle(&aws, &request, "request").await.unwrap();
        assert_eq!(response.status_code, status, "{name}: {}", response.body);
    }
}

#[tokio::test]
async fn commands_are_ordered_by_time_of_receipt() {
    let aws = aws().await;
    let paused = done(&aws, &request("pause", &json!({}))).await;
    // A resume that AWS received before the pause, and that arrives after it.
    let resume = at(request("resume", &json!({})), "2026-11-23T03:18:19Z");
    assert_eq!(error(&aws, &resume).await, as_expected(409, "Overtaken"));
    assert_eq!(model(&aws).pause, paused.pause);
    let resume = at(request("resume", &json!({})), "2026-11-23T03:18:20.150Z");
    assert!(!done(&aws, &resume).await.pause.unwrap().paused);
}

#[tokio::test]
async fn pause_overrides_time_from_fast_clock() {
    let aws = aws().await;
    // Stored by an earlier release, with the time of a laptop whose clock is an hour fast.
    let mut document = model(&aws);
    document.pause = Some(Pause {
        paused: false,
        by: "bob".into(),
        time: aws.time() + SignedDuration::from_hours(1),
        until: None,
        reason: None,
    });
    aws.put_document("models/churn-endpoint.json", serde_json::to_vec(&document).unwrap());
    let answer = done(&aws, &request("pause", &json!({}))).await;
    assert!(answer.pause.unwrap().is_active(aws.time()));
    assert!(model(&aws).pause.unwrap().is_active(aws.time()));
}

#[tokio::test]
async fn expired_request_and_wrong_stage_are_refused() {
    let aws = aws().await;
    aws.set_time("2026-11-27T03:00:00Z".parse().unwrap());
    let late = at(request("approve", &json!({})), "2026-11-27T03:00:00Z");
    assert_eq!(error(&aws, &late).await, as_expected(409, "ApprovalExpired"));
    let aws = self::aws().await;
    accepted(&aws, &request("approve", &json!({}))).await;
    let again = at(request("approve", &json!({"decision": 2})), "2026-11-23T03:18:21Z");
    let response = send(&aws, &again).await;
    assert_eq!(response.status_code, 409);
    assert!(response.body.contains("NotAwaitingApproval"), "{}", response.body);
    assert_eq!(aws.executions().len(), 1);
}

#[tokio::test]
async fn fault_at_any_call_is_reported_as_it_is() {
    for fault in [
        Fault::Before(Kind::Transient),
        Fault::After,
        Fault::Before(Kind::Denied),
    ] {
        for operation in [
            "s3:GetObject",
            "s3:PutObject",
            "sagemaker:ListPipelineExecutions",
            "sagemaker:StartPipelineExecution",
            "events:PutEvents",
        ] {
            let aws = aws().await;
            aws.fail(operation, fault);
            let response = send(&aws, &sample("operator", "approve")).await;
            let stored = model(&aws).incident.unwrap().approval().is_some();
            // Status 200 if and only if the document contains the approval.
            assert_eq!(
                response.status_code == 200,
                stored,
                "{operation} {fault:?}: {}",
                response.body
            );
            if operation == "events:PutEvents" {
                assert!(response.body.contains("warning"), "{}", response.body);
            }
        }
    }
}

#[tokio::test]
async fn unreadable_documents_start_nothing() {
    let aws = aws().await;
    aws.put_document("models/churn-endpoint.json", "{");
    assert_eq!(
        error(&aws, &sample("operator", "approve")).await,
        as_expected(503, "StateUnreadable")
    );
}

#[test]
fn configuration_errors_name_variable_and_value() {
    let error = |value: &'static str| {
        let vars = Vars(move |variable: &str| match variable {
            "ACCEPTED_COMMANDS" => Some(value.to_owned()),
            "STATE_BUCKET" => Some("driftwarden-state".to_owned()),
            "EVENT_BUS_NAME" | "RETRAINING_PIPELINE" => Some("driftwarden".to_owned()),
            _ => None,
        });
        Operator::from_vars(&vars).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!((error("all"), error("approvals")), (Ok(()), Ok(())));
    insta::assert_snapshot!(error("").unwrap_err(), @"environment variable `ACCEPTED_COMMANDS` is not set: expected `all` or `approvals`");
    insta::assert_snapshot!(error("approve").unwrap_err(), @"environment variable `ACCEPTED_COMMANDS` has the invalid value `approve`: expected `all` or `approvals`");
}

/// The retraining of an incident continues when an operator closes the incident.
#[tokio::test]
async fn retraining_of_closed_incident_counts_until_it_ends() {
    let aws = Memory::at("2026-11-23T03:16:22Z".parse().unwrap());
    aws.put_document(
        "policy.toml",
        "[fleet]\nretrainings_at_once = 1\n[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n",
    );
    let alert = sample("remediate", "alert-in-alert").to_string();
    remediate().handle(&aws, &alert, "alert").await.unwrap();
    assert_eq!(model(&aws).stage(), Stage::Retraining);
    aws.set_time("2026-11-23T03:18:20.2Z".parse().unwrap());
    accepted(
        &aws,
        &request("resolve", &json!({"stage": "Retraining", "inAlert": "accept"})),
    )
    .await;
    assert_eq!(model(&aws).stage(), Stage::Healthy);

    let other = alert.replace("churn", "fraud");
    remediate().handle(&aws, &other, "other").await.unwrap();
    assert_eq!(
        aws.executions().len(),
        1,
        "the retraining of the closed incident is in progress"
    );
    let ended = sample("remediate", "pipeline-execution-succeeded").to_string();
    let arn = &aws.executions()[0].1;
    let sample_arn = "arn:aws:sagemaker:us-east-1:111122223333:pipeline/driftwarden-retraining/execution/k3v9q2m7x1ab";
    remediate()
        .handle(&aws, &ended.replace(sample_arn, arn), "ended")
        .await
        .unwrap();
    aws.pass(SignedDuration::from_mins(5));
    remediate()
        .sweep(&aws, "fraud-endpoint", [].into(), None, "sweep")
        .await
        .unwrap();
    assert_eq!(aws.executions().len(), 2);
}

/// A request for an experiment of `churn-endpoint`.
fn order(action: &str, experiment: &str) -> Value {
    let command = json!({"id": "1", "command": action, "experimentId": experiment, "reason": "checked by hand"});
    let mut request = sample("operator", "approve");
    request["body"] = command.to_string().into();
    request
}

#[tokio::test]
async fn order_for_experiment_is_sent_with_caller_and_time() {
    let aws = aws().await;
    let since = aws.time();
    let experiment = aws_experiment("Paused", since);
    aws.put_document("experiments/churn-endpoint.json", experiment.to_string());
    for (action, sent) in [
        ("resume", Order::Resume),
        ("promote", Order::Promote),
        ("stop", Order::Stop),
        ("rollback", Order::Rollback),
    ] {
        let answer = accepted(&aws, &order(action, "churn-endpoint-ab-2")).await;
        let event = "Experiment Command".to_owned();
        assert_eq!(answer.result, CommandResult::Sent { event: event.clone() });
        let (detail_type, detail) = aws.events().pop().unwrap();
        let expected = ExperimentCommand {
            model: "churn-endpoint".to_owned(),
            experiment_id: "churn-endpoint-ab-2".to_owned(),
            order: sent,
            by: CALLER.to_owned(),
            time: answer.time,
            stage_since: Some(since),
            reason: Some("checked by hand".to_owned()),
        };
        let command: ExperimentCommand = serde_json::from_str(&detail).unwrap();
        assert_eq!((detail_type, command), (event, expected));
    }
}

/// Experiments of `churn-endpoint`: the second is open in a stage.
fn aws_experiment(stage: &str, since: Timestamp) -> Value {
    let package = json!({
        "arn": "arn:aws:sagemaker:us-east-1:111122223333:model-package/churn/12",
        "version": 12,
        "approval_status": "Approved",
    });
    let experiment = |number: u64, stage: &str| {
        json!({
            "number": number,
            "id": format!("churn-endpoint-ab-{number}"),
            "token": "1a2b3c4d",
            "stage": stage,
            "step": 0,
            "mode": "variants",
            "endpoint": "churn-endpoint",
            "package": package,
            "sentence": "an operator decides",
            "opened_at": since,
            "since": since,
        })
    };
    json!({
        "version": 1,
        "model": "churn-endpoint",
        "experiments": 2,
        "experiment": experiment(2, stage),
        "ended": [{"experiment": experiment(1, "Ended"), "conclusion": "Promoted", "ended_at": since}],
    })
}

#[tokio::test]
async fn order_without_effect_is_refused() {
    let aws = aws().await;
    let missing = error(&aws, &order("stop", "churn-endpoint-ab-2")).await;
    assert_eq!(missing, as_expected(404, "UnknownExperiment"));
    let experiment = aws_experiment("RollingBack", aws.time());
    aws.put_document("experiments/churn-endpoint.json", experiment.to_string());
    for (action, id, expected) in [
        ("promote", "churn-endpoint-ab-2", (409, "NoEffect")),
        ("resume", "churn-endpoint-ab-2", (409, "NoEffect")),
        ("stop", "churn-endpoint-ab-1", (409, "ExperimentEnded")),
        ("stop", "churn-endpoint-ab-9", (404, "UnknownExperiment")),
        ("stop", "chrun-endpoint-ab-2", (404, "UnknownExperiment")),
    ] {
        let (status, error) = expected;
        assert_eq!(
            error_of(&aws, action, id).await,
            as_expected(status, error),
            "{action} {id}"
        );
    }
    let (_, refusal) = refused(&aws, &order("stop", "chrun-endpoint-ab-2")).await;
    assert_eq!(refusal.hint.unwrap(), "did you mean `churn-endpoint`?");
}

async fn error_of(aws: &Memory, action: &str, id: &str) -> (u16, String) {
    error(aws, &order(action, id)).await
}

#[tokio::test]
async fn datapoint_is_dropped_by_caller() {
    let aws = aws().await;
    let drop = |schedule: &str, time: &str| {
        let command = json!({
            "id": "1",
            "command": "drop",
            "monitoringSchedule": schedule,
            "scheduledTime": time,
            "reason": "report of another model",
        });
        let mut request = sample("operator", "approve");
        request["body"] = command.to_string().into();
        request
    };
    let time = "2026-11-23T02:00:00Z";
    let mut ledger = MonitorLedger::new(alerting::Monitor {
        schedule: "Churn-DQ".to_owned(),
        endpoint: Some("churn-endpoint".to_owned()),
        model: "churn-endpoint".to_owned(),
        monitor_type: None,
    });
    ledger.datapoints.push_back(alerting::Datapoint {
        scheduled_time: time.parse().unwrap(),
        evidence: alerting::Evidence::default(),
    });
    aws.put_document("monitors/churn-dq.json", serde_json::to_vec(&ledger).unwrap());
    let answer = accepted(&aws, &drop("Churn-DQ", time)).await;
    let (detail_type, detail) = aws.events().pop().unwrap();
    assert_eq!(detail_type, "Monitor Datapoint Drop");
    let command: MonitorDatapointDrop = serde_json::from_str(&detail).unwrap();
    assert_eq!((command.by.as_str(), command.time), (CALLER, answer.time));
    let unknown = error(&aws, &drop("churn-dp", time)).await;
    assert_eq!(unknown, as_expected(404, "UnknownMonitor"));
    let unknown = error(&aws, &drop("Churn-DQ", "2026-11-23T01:00:00Z")).await;
    assert_eq!(unknown, as_expected(404, "UnknownDatapoint"));
}
