//! Pages of a fleet: content for each scenario, and escaping of text from documents.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Fixture, Scenario, fleet, overview};
use jiff::SignedDuration;
use model_dashboard::page_path;
use remediation::Stage;

fn find(fleet: &[Fixture], scenario: Scenario) -> &Fixture {
    fleet.iter().find(|fixture| fixture.scenario == scenario).unwrap()
}

/// A model's row of the overview.
fn row<'a>(overview: &'a str, model: &str) -> &'a str {
    let rows = overview.split("<tr data-k").skip(1);
    let mut rows = rows.map(|row| row.split("</tr>").next().unwrap());
    rows.find(|row| row.contains(&page_path(model))).unwrap()
}

/// Text without markup.
fn text(html: &str) -> String {
    html.split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
        .collect()
}

#[test]
fn repaired_model_shows_retraining_and_recovery() {
    let fleet = fleet(10);
    let repaired = find(&fleet, Scenario::Repaired);
    let summary = repaired.summary();
    assert_eq!((summary.retrainings, summary.cost), (1, Some(42.5)));
    assert_eq!(summary.retraining.unwrap().verified, Some(true));
    let page = repaired.page();
    for expected in [
        "Drift fixed",
        "cost so far 42.5",
        "total_day_minutes",
        "train.csv",
        "Repaired",
        "churn-1 closed",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
}

#[test]
fn overview_shows_every_scenario() {
    let fleet = fleet(10);
    let page = overview(&fleet);
    for fixture in &fleet {
        assert!(page.contains(&page_path(&fixture.model)), "{}", fixture.model);
    }
    let stages = [
        (Scenario::AwaitingApproval, Stage::AwaitingApproval),
        (Scenario::Escalated, Stage::Escalated),
        (Scenario::FixData, Stage::AwaitingData),
        (Scenario::Holding, Stage::Holding),
        (Scenario::Healthy, Stage::Healthy),
    ];
    for (scenario, stage) in stages {
        let summary = find(&fleet, scenario).summary();
        assert_eq!(summary.stage, stage, "{scenario:?}");
    }
    assert!(find(&fleet, Scenario::Unhealthy).summary().unhealthy());
    assert_eq!(find(&fleet, Scenario::Batch).summary().not_configured().len(), 3);
    for expected in [
        "model with an unhealthy monitor",
        "drift not fixed",
        "batch transform",
        "candidate-8",
        "Not configured: ModelQuality (1 model), ModelBias (3 models), ModelExplainability (3 models)",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    // Models that need action come first.
    let place = |scenario| page.find(&page_path(&find(&fleet, scenario).model)).unwrap();
    assert!(
        place(Scenario::Escalated) < place(Scenario::Holding) && place(Scenario::Holding) < place(Scenario::Healthy)
    );
    assert!(place(Scenario::Unhealthy) < place(Scenario::Healthy));
}

#[test]
fn paused_experiment_shows_commands() {
    let fleet = fleet(10);
    let page = find(&fleet, Scenario::Testing).page();
    assert!(page.contains("driftwarden experiment promote delivery-eta-ab-1"));
    assert!(page.contains("confidence sequence"), "the chart is missing");
}

#[test]
fn text_from_documents_is_escaped() {
    let mut fleet = fleet(1);
    let hostile = "<script>alert(1)</script>\"'&";
    let fixture = fleet.first_mut().unwrap();
    fixture.model = hostile.to_owned();
    for ledger in &mut fixture.ledgers {
        ledger.monitor.schedule = hostile.to_owned();
        ledger.monitor.endpoint = Some(hostile.to_owned());
    }
    let own = overview(&[]).matches("<script>").count();
    assert_eq!(
        overview(&fleet).matches("<script>").count(),
        own + 1,
        "the page's own script is the only one"
    );
    assert_eq!(fleet.first().unwrap().page().matches("<script>").count(), 0);
    let file = page_path(hostile);
    assert!(
        file.chars().all(|c| c.is_ascii_alphanumeric() || "~-_/.".contains(c)),
        "{file}"
    );
}

#[test]
fn overview_without_models_is_complete() {
    let page = overview(&[]);
    assert!(page.contains("No monitor has reported yet") && page.ends_with("</html>"));
}

#[test]
fn unhealthy_model_is_never_shown_as_healthy() {
    let fleet = fleet(10);
    let unhealthy = find(&fleet, Scenario::Unhealthy);
    let summary = unhealthy.summary();
    assert_eq!(summary.stage, Stage::Healthy);
    let since = summary
        .unhealthy_since()
        .unwrap()
        .strftime("%Y-%m-%d %H:%M")
        .to_string();
    let label = format!("Monitoring failed since {since} UTC");
    let overview = overview(&fleet);
    let row = row(&overview, &unhealthy.model);
    assert!(row.contains(&label) && !row.contains("Healthy"), "{row}");
    let page = unhealthy.page();
    let heading = page.split("</h1>").next().unwrap();
    assert!(heading.contains(&label) && !heading.contains("Healthy"));
    // It ranks above healthy models.
    let place = |model: &str| overview.find(&page_path(model)).unwrap();
    assert!(place(&unhealthy.model) < place(&find(&fleet, Scenario::Healthy).model));
}

#[test]
fn reason_begins_with_feature_and_ratio() {
    let fleet = fleet(10);
    let waiting = find(&fleet, Scenario::AwaitingApproval);
    let overview = overview(&fleet);
    let reason = row(&overview, &waiting.model).split("<p class=\"w\">").nth(1).unwrap();
    let reason: String = text(reason.split("</p>").next().unwrap()).chars().take(80).collect();
    assert!(
        reason.starts_with("total_day_minutes ") && reason.contains('×'),
        "{reason}"
    );
}

#[test]
fn closed_incident_is_in_past_tense() {
    let fleet = fleet(10);
    let page = find(&fleet, Scenario::Repaired).page();
    assert!(page.contains("was in alert") && !page.contains("is in alert"));
}

#[test]
fn unknowns_are_listed_once() {
    let fleet = fleet(40);
    let page = overview(&fleet);
    assert_eq!(page.matches("Not configured").count(), 1);
    assert!(page.contains("Risk rating unknown: ") && !page.contains("risk unknown"));
}

#[test]
fn log_puts_causes_before_effects() {
    let mut fleet = fleet(1);
    let fixture = fleet.first_mut().unwrap();
    let document = fixture.document.as_mut().unwrap();
    let incident = &mut document.closed.first_mut().unwrap().incident;
    let decided = incident.retrain_decided_at().unwrap();
    let mut stored = serde_json::to_value(&incident).unwrap();
    // SageMaker's clock is slow: its start is in the second before the decision.
    let started = decided - SignedDuration::from_millis(400);
    for (field, time) in [
        ("/opened_at", decided),
        ("/decision/time", decided),
        ("/execution/start_time", started),
    ] {
        *stored.pointer_mut(field).unwrap() = serde_json::to_value(time).unwrap();
    }
    *incident = serde_json::from_value(stored).unwrap();
    let page = fixture.page();
    let log = page.split("id=\"log\"").nth(1).unwrap();
    // Latest first.
    let order = ["retraining started", "decided to retrain", "opened by"];
    let places = order.map(|text| log.find(text).unwrap());
    assert!(places.is_sorted(), "{places:?}");
}
