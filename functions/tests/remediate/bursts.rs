//! Bursts: many monitors of one model, and many models within an hour.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use super::incidents::{aws, event, function};
use crate::notify::harness::Harness;
use alerting::{Evidence, Monitor, MonitorLedger, MonitorRules, Observation, ReportEvidence};
use futures_util::future::join_all;
use jiff::SignedDuration;
use machine::Caller;
use model_monitor::{Limits, MonitorType, ViolationReport};
use remediation::{ExecutionStatus, ModelDocument, Stage, Verdict};
use serde_json::{Value, json};
use shell::memory::Memory;

/// An alert of a monitor, at the present time.
fn alert(aws: &Memory, model: &str, schedule: &str) -> String {
    let mut alert: Value = serde_json::from_str(&event("alert-in-alert")).unwrap();
    let detail = &mut alert["detail"];
    detail["id"] = format!("alert-{schedule}-1").into();
    detail["model"] = model.into();
    detail["endpoint"] = model.into();
    detail["monitoringSchedule"] = schedule.into();
    detail["time"] = json!(aws.time());
    alert.to_string()
}

fn document(aws: &Memory, model: &str) -> ModelDocument {
    serde_json::from_slice(&aws.document(&ModelDocument::key(model)).unwrap()).unwrap()
}

/// Details of the decisions that were published.
fn decisions(aws: &Memory) -> Vec<Value> {
    let events = aws.events().into_iter();
    let decisions = events.filter(|(detail_type, _)| detail_type == "Remediation Decided");
    decisions
        .map(|(_, detail)| serde_json::from_str(&detail).unwrap())
        .collect()
}

async fn sweep(aws: &Memory, models: &[String]) {
    for model in models {
        let request = format!("sweep-{model}-{}", aws.time());
        function().sweep(aws, model, [].into(), None, &request).await.unwrap();
    }
}

#[tokio::test]
async fn burst_of_one_model_leads_to_one_decision() {
    let aws = aws();
    aws.put_document("policy.toml", "[remediation]\nautomation = 'auto'\n");
    let models = ["churn".to_owned()];
    for number in 0..100 {
        let alert = alert(&aws, "churn", &format!("dq-{number:03}"));
        let request = format!("alert-{number}");
        function().handle(&aws, &alert, &request).await.unwrap();
        aws.pass(SignedDuration::from_secs(5));
        if number % 12 == 0 {
            sweep(&aws, &models).await;
        }
    }
    assert_eq!(
        (decisions(&aws).len(), document(&aws, "churn").stage()),
        (0, Stage::Deciding)
    );
    aws.pass(SignedDuration::from_mins(9));
    sweep(&aws, &models).await;
    assert_eq!(decisions(&aws).len(), 0, "ten minutes after the latest alert");
    aws.pass(SignedDuration::from_mins(2));
    sweep(&aws, &models).await;
    let decisions = decisions(&aws);
    assert_eq!(decisions.len(), 1);
    let decision = decisions.first().unwrap();
    let listed = decision["alerts"].as_array().unwrap().len() as u64;
    assert_eq!(listed + decision["moreAlerts"].as_u64().unwrap(), 100);
    assert!(decision.to_string().len() < 256 << 10);
    assert_eq!(aws.executions().len(), 1);
}

/// Adds the ledger of a monitor that has judged three executions, the last of them yesterday.
fn put_silent_ledger(aws: &Memory, schedule: &str, has_violations: bool) {
    let monitor = Monitor {
        schedule: schedule.to_owned(),
        endpoint: Some("churn".to_owned()),
        model: "churn".to_owned(),
        monitor_type: Some(MonitorType::DataQuality),
    };
    let mut ledger = MonitorLedger::new(monitor.clone());
    for hour in 0..3 {
        let scheduled_time = aws.time() - SignedDuration::from_hours(26 - hour);
        let violation =
            r#"{"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": ""}"#;
        let text = format!(r#"{{"violations": [{}]}}"#, if has_violations { violation } else { "" });
        let report = ViolationReport::parse("report", text.as_bytes(), &Limits::default()).unwrap();
        let evidence = Evidence {
            report: Some(ReportEvidence::new(
                "s3://r/r".into(),
                "\"1\"".into(),
                scheduled_time,
                &report,
                20,
            )),
            ..Evidence::default()
        };
        let observation = Observation {
            monitor: monitor.clone(),
            scheduled_time,
            evidence,
        };
        ledger.record(
            observation,
            &MonitorRules::default(),
            &Caller::new("ingest", scheduled_time),
        );
    }
    aws.put_document(&MonitorLedger::key(schedule), serde_json::to_string(&ledger).unwrap());
}

#[tokio::test]
async fn concurrent_alerts_of_silent_monitors_start_nothing() {
    // The alert of a monitor that has recovered is old.
    for (has_violations, order) in [(true, [1, 2]), (false, [1, 2]), (false, [2, 1])] {
        let aws = aws();
        put_silent_ledger(&aws, "dq-1", true);
        put_silent_ledger(&aws, "dq-2", has_violations);
        aws.interleave();
        let alerts = order.map(|number| alert(&aws, "churn", &format!("dq-{number}")));
        let function = function();
        let handled = join_all(alerts.iter().map(|alert| function.handle(&aws, alert, alert)));
        for handled in handled.await {
            handled.unwrap();
        }
        assert_eq!(document(&aws, "churn").alerts.len(), 2);
        assert_eq!(
            (document(&aws, "churn").stage(), aws.executions().len()),
            (Stage::Holding, 0)
        );
    }
}

/// A hundred models alert within an hour. Returns their names.
async fn burst(aws: &Memory) -> Vec<String> {
    let models: Vec<String> = (0..100).map(|number| format!("m{number:03}")).collect();
    for model in &models {
        let alert = alert(aws, model, &format!("{model}-dq"));
        function().handle(aws, &alert, &format!("alert-{model}")).await.unwrap();
        aws.pass(SignedDuration::from_secs(36));
    }
    models
}

fn count(aws: &Memory, models: &[String], stage: Stage) -> usize {
    models
        .iter()
        .filter(|model| document(aws, model).stage() == stage)
        .count()
}

#[tokio::test]
async fn burst_of_a_hundred_models_is_one_common_cause() {
    let aws = aws();
    aws.put_document(
        "policy.toml",
        "[remediation]\nautomation = 'auto'\ndecide_after = '0s'\n",
    );
    let models = burst(&aws).await;
    assert_eq!(aws.executions().len(), 5);
    assert_eq!(count(&aws, &models, Stage::Holding), 95);
    for hour in 1..=4 {
        for (_, arn) in aws.executions() {
            aws.finish(&arn, ExecutionStatus::Succeeded);
        }
        aws.pass(SignedDuration::from_hours(1));
        sweep(&aws, &models).await;
        assert_eq!(aws.executions().len(), 5, "held for {hour} h");
    }
    // Of all decisions, one message is about the common cause.
    let announced = announcements(&aws).await;
    assert_eq!(announced.len(), 1, "{announced:?}");
}

/// Messages about a common cause that follow from the decisions so far.
async fn announcements(aws: &Memory) -> Vec<String> {
    let harness = Harness::with_policy("");
    harness.aws.set_time(aws.time());
    for decision in decisions(aws) {
        let event = json!({
            "version": "0", "id": "1", "detail-type": "Remediation Decided", "source": "driftwarden",
            "account": "111122223333", "time": decision["time"], "region": "us-east-1", "resources": [], "detail": decision,
        });
        harness.handle(&event.to_string()).await;
    }
    let messages = harness.aws.messages().into_iter();
    let messages = messages.filter(|(_, body)| body.contains("driftwarden fleet release"));
    messages.map(|(subject, _)| subject).collect()
}

#[tokio::test]
async fn limits_hold_after_a_burst_of_a_hundred_models() {
    let aws = aws();
    let policy = "[remediation]\nautomation = 'auto'\ndecide_after = '0s'\n[fleet]\ncommon_cause = false\n\
                  retrainings_per_day = 40\n";
    aws.put_document("policy.toml", policy);
    let models = burst(&aws).await;
    let mut per_day = std::collections::BTreeMap::<String, usize>::new();
    let mut known = 0;
    while known < 100 {
        sweep(&aws, &models).await;
        let executions = aws.executions();
        let running = executions.iter().filter(|(_, arn)| {
            let status = aws.execution_status(arn);
            status == Some(ExecutionStatus::Executing)
        });
        assert!(running.count() <= 5);
        let day = aws.time().strftime("%F").to_string();
        *per_day.entry(day).or_default() += executions.len() - known;
        known = executions.len();
        aws.pass(SignedDuration::from_hours(1));
        for (_, arn) in &executions {
            aws.finish(arn, ExecutionStatus::Succeeded);
        }
        assert!(per_day.len() < 5, "{known} started: {per_day:?}");
    }
    assert!(per_day.values().all(|started| *started <= 40), "{per_day:?}");
    let verdicts = decisions(&aws);
    let retrain = verdicts
        .iter()
        .filter(|decision| decision["verdict"] == Verdict::Retrain.as_str());
    assert_eq!(retrain.count(), 100, "each model retrains once");
}
