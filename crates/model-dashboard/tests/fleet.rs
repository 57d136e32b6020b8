//! Pages of a fleet: content for each scenario, and escaping of text from documents.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use alerting::{AlertStatus, DatapointState, HealthStatus};
use common::{Fixture, Scenario, fleet, now, overview, overview_of, overview_with_policy};
use jiff::SignedDuration;
use machine::{Failures, GivenUp};
use model_dashboard::{ExperimentSummary, Summary, page_path};
use promotion::{Conclusion, ExperimentStage};
use remediation::{Outcome, Policy, RiskRating, Stage};
use std::sync::LazyLock;

/// One model of each scenario. It is played once, because that takes a second.
static FLEET: LazyLock<Vec<Fixture>> = LazyLock::new(|| fleet(10));

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
    let fleet = &*FLEET;
    let repaired = find(fleet, Scenario::Repaired);
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
    let fleet = &*FLEET;
    let page = overview(fleet);
    for fixture in fleet {
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
        let summary = find(fleet, scenario).summary();
        assert_eq!(summary.stage, stage, "{scenario:?}");
    }
    assert!(find(fleet, Scenario::Unhealthy).summary().unhealthy());
    assert_eq!(find(fleet, Scenario::Batch).summary().not_configured().len(), 3);
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
    let place = |scenario| page.find(&page_path(&find(fleet, scenario).model)).unwrap();
    assert!(
        place(Scenario::Escalated) < place(Scenario::Holding) && place(Scenario::Holding) < place(Scenario::Healthy)
    );
    assert!(place(Scenario::Unhealthy) < place(Scenario::Healthy));
}

#[test]
fn paused_experiment_shows_commands() {
    let fleet = &*FLEET;
    let page = find(fleet, Scenario::Testing).page();
    assert!(page.contains("driftwarden experiment promote delivery-eta-ab-1"));
    assert!(page.contains("confidence sequence"), "the chart is missing");
}

#[test]
fn pages_say_that_no_policy_was_published() {
    let mut fleet = fleet(1);
    let fixture = fleet.first_mut().unwrap();
    let policy = fixture.policy.version().to_owned();
    assert!(text(&fixture.page()).contains(&format!("policy version {policy}. All times")));
    fixture.policy = Policy::default();
    let page = text(&fixture.page());
    assert!(
        page.contains("UTC, default settings: no policy was published yet. All times"),
        "{page}"
    );
    let version = fixture.policy.version();
    let page = text(&overview_with_policy(&[], version));
    assert!(
        page.contains("UTC, default settings: no policy was published yet. All times"),
        "{page}"
    );
    assert!(!page.contains("policy version"), "{page}");
}

#[test]
fn effects_that_were_given_up_are_on_the_page() {
    let mut fleet = fleet(1);
    let fixture = fleet.first_mut().unwrap();
    assert!(!fixture.page().contains("given up"));
    let given_up = |id: &str, hours: i64| GivenUp {
        id: id.to_owned(),
        at: now() - SignedDuration::from_hours(hours),
        failures: Failures {
            attempts: 28,
            since: now() - SignedDuration::from_hours(hours + 24),
            last: format!("{id} <failed>"),
        },
    };
    fixture.document.as_mut().unwrap().given_up = vec![given_up("decision/churn-1/1", 3)];
    fixture.ledgers.first_mut().unwrap().given_up = vec![given_up("alert/churn-dq/1", 2)];
    let page = fixture.page();
    let place = |expected: &str| page.find(expected).unwrap_or_else(|| panic!("{expected}: {page}"));
    assert!(place("alert/churn-dq/1") < place("decision/churn-1/1"), "latest first");
    place("alert/churn-dq/1 &lt;failed&gt;");
    place("2026-11-29 00:12");
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
    let fleet = &*FLEET;
    let unhealthy = find(fleet, Scenario::Unhealthy);
    let summary = unhealthy.summary();
    assert_eq!(summary.stage, Stage::Healthy);
    let since = summary
        .unhealthy_since()
        .unwrap()
        .strftime("%Y-%m-%d %H:%M")
        .to_string();
    let label = format!("Monitoring failed since {since} UTC");
    let overview = overview(fleet);
    let row = row(&overview, &unhealthy.model);
    assert!(row.contains(&label) && !row.contains("Healthy"), "{row}");
    let page = unhealthy.page();
    let heading = page.split("</h1>").next().unwrap();
    assert!(heading.contains(&label) && !heading.contains("Healthy"));
    // It ranks above healthy models.
    let place = |model: &str| overview.find(&page_path(model)).unwrap();
    assert!(place(&unhealthy.model) < place(&find(fleet, Scenario::Healthy).model));
}

#[test]
fn reason_begins_with_feature_and_ratio() {
    let fleet = &*FLEET;
    let waiting = find(fleet, Scenario::AwaitingApproval);
    let overview = overview(fleet);
    let reason = row(&overview, &waiting.model).split("<p class=\"w\">").nth(1).unwrap();
    let reason: String = text(reason.split("</p>").next().unwrap()).chars().take(80).collect();
    assert!(
        reason.starts_with("total_day_minutes ") && reason.contains('×'),
        "{reason}"
    );
}

#[test]
fn closed_incident_is_in_past_tense() {
    let fleet = &*FLEET;
    let page = find(fleet, Scenario::Repaired).page();
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

/// A healthy model, and the experiment of another one.
static HEALTHY: LazyLock<(Summary, ExperimentSummary)> = LazyLock::new(|| {
    let experiment = find(&FLEET, Scenario::Testing).summary().experiment;
    (find(&FLEET, Scenario::Healthy).summary(), experiment.unwrap())
});

/// A healthy model with this name and stage, without an experiment.
fn model(name: &str, stage: Stage) -> Summary {
    Summary {
        model: name.to_owned(),
        stage,
        experiment: None,
        ..HEALTHY.0.clone()
    }
}

/// A healthy model with an experiment in this stage.
fn tested(name: &str, stage: ExperimentStage) -> Summary {
    let experiment = ExperimentSummary {
        stage,
        ..HEALTHY.1.clone()
    };
    Summary {
        experiment: Some(experiment),
        ..model(name, Stage::Healthy)
    }
}

#[test]
fn operator_acts_in_stages_that_wait() {
    let waits = [Stage::AwaitingApproval, Stage::AwaitingData, Stage::Escalated];
    for stage in Stage::ALL {
        assert_eq!(model("a", stage).needs_action(), waits.contains(&stage), "{stage:?}");
    }
    let waits = [ExperimentStage::Paused, ExperimentStage::AwaitingApproval];
    for stage in ExperimentStage::ALL {
        assert_eq!(tested("a", stage).needs_action(), waits.contains(&stage), "{stage:?}");
    }
}

#[test]
fn overview_orders_models_by_attention() {
    let mut alert = model("g", Stage::Healthy);
    alert.monitors.last_mut().unwrap().status = AlertStatus::InAlert;
    let mut unhealthy = model("f", Stage::Holding);
    unhealthy.monitors.last_mut().unwrap().health = HealthStatus::Unhealthy;
    let expected = [
        tested("h", ExperimentStage::Paused),
        model("i", Stage::Escalated),
        alert,
        unhealthy,
        model("e", Stage::Retraining),
        tested("d", ExperimentStage::Testing),
        tested("b", ExperimentStage::Ended),
        model("c", Stage::Healthy),
    ];
    let mut models = expected.clone();
    models.reverse();
    let page = overview_of(&models);
    let places = expected
        .each_ref()
        .map(|model| page.find(&page_path(&model.model)).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    let header = text(page.split("</header>").next().unwrap());
    for count in [
        "2models that need action",
        "1model in alert",
        "1model with an unhealthy monitor",
        "2open experiments",
    ] {
        assert!(
            header.replace(' ', "").contains(&count.replace(' ', "")),
            "{count}: {header}"
        );
    }
}

#[test]
fn monitor_of_unknown_type_may_be_of_any_type() {
    let mut summary = model("a", Stage::Healthy);
    assert_eq!(summary.not_configured(), [""; 0]);
    summary.monitors.truncate(1);
    assert_eq!(
        summary.not_configured(),
        ["ModelQuality", "ModelBias", "ModelExplainability"]
    );
    summary.monitors.first_mut().unwrap().monitor_type = None;
    assert_eq!(summary.not_configured(), [""; 0]);
    summary.monitors.clear();
    assert_eq!(summary.not_configured().len(), 4);
    // A model without monitors is not listed as incomplete.
    summary.risk_rating = RiskRating::Low;
    assert!(!overview_of(&[summary]).contains("Not configured"));
}

#[test]
fn decision_is_in_the_tense_of_its_incident() {
    let fleet = &*FLEET;
    let decision = |scenario| find(fleet, scenario).summary().decision.unwrap();
    let open = decision(Scenario::AwaitingApproval);
    assert!(open.sentence.contains("are in alert"), "{}", open.sentence);
    let closed = decision(Scenario::Repaired);
    assert!(closed.sentence.contains("was in alert"), "{}", closed.sentence);
    assert_eq!(closed.incident_id, "churn-1");
}

#[test]
fn retraining_helped_if_drift_ended() {
    let mut fleet = fleet(1);
    let fixture = fleet.first_mut().unwrap();
    let mut verified = |outcome, stage: Stage| {
        let closed = fixture.document.as_mut().unwrap().closed.first_mut().unwrap();
        closed.outcome = outcome;
        let mut incident = serde_json::to_value(&closed.incident).unwrap();
        *incident.get_mut("stage").unwrap() = stage.as_str().into();
        closed.incident = serde_json::from_value(incident).unwrap();
        fixture.summary().retraining.unwrap().verified
    };
    assert_eq!(verified(Outcome::Repaired, Stage::Verifying), Some(true));
    assert_eq!(verified(Outcome::Resolved, Stage::Escalated), Some(false));
    assert_eq!(verified(Outcome::Resolved, Stage::Holding), None);
    assert_eq!(verified(Outcome::Recovered, Stage::Escalated), None);
}

#[test]
fn executions_have_letters_of_their_states() {
    let fleet = &*FLEET;
    for fixture in fleet {
        for (monitor, ledger) in fixture.summary().monitors.iter().zip(&fixture.ledgers) {
            let latest = ledger.datapoints.iter().rev().take(48);
            let states = latest.map(|datapoint| match datapoint.state() {
                DatapointState::Clean => 'C',
                DatapointState::Violations => 'V',
                DatapointState::NoData => 'N',
                DatapointState::Failed => 'F',
                DatapointState::Missing => 'M',
            });
            assert_eq!(
                monitor.states.chars().rev().collect::<Vec<_>>(),
                states.collect::<Vec<_>>()
            );
            assert_eq!(
                monitor.latest,
                ledger.datapoints.back().map(|datapoint| datapoint.scheduled_time)
            );
        }
    }
}

#[test]
fn monitor_is_unhealthy_since_first_execution_without_result() {
    let fleet = &*FLEET;
    let fixture = find(fleet, Scenario::Unhealthy);
    let since = fixture.summary().unhealthy_since().unwrap();
    let ledger = fixture
        .ledgers
        .iter()
        .find(|ledger| ledger.health.status == HealthStatus::Unhealthy)
        .unwrap();
    let has_result = |state| matches!(state, DatapointState::Clean | DatapointState::Violations);
    let mut before = ledger
        .datapoints
        .iter()
        .filter(|datapoint| datapoint.scheduled_time < since)
        .rev();
    assert!(has_result(before.next().unwrap().state()));
    let mut later = ledger
        .datapoints
        .iter()
        .filter(|datapoint| datapoint.scheduled_time >= since);
    assert!(!later.any(|datapoint| has_result(datapoint.state())) && since < now());
}

#[test]
fn ended_experiment_shows_its_conclusion() {
    let fleet = &*FLEET;
    let promoted = find(fleet, Scenario::Promoted).summary().experiment.unwrap();
    assert_eq!(
        (promoted.stage, promoted.conclusion),
        (ExperimentStage::Ended, Some(Conclusion::Promoted))
    );
    let open = find(fleet, Scenario::Testing).summary().experiment.unwrap();
    assert_eq!(open.conclusion, None);
}
