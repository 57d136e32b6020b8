//! Pages of a fleet: what they say of each story, and that nothing that documents quote can run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Fixture, Story, fleet, overview};
use model_dashboard::page_of;
use remediation::Stage;

fn of(fleet: &[Fixture], story: Story) -> &Fixture {
    fleet.iter().find(|fixture| fixture.story == story).unwrap()
}

#[test]
fn a_model_that_was_repaired_says_so() {
    let fleet = fleet(10);
    let repaired = of(&fleet, Story::Repaired);
    let summary = repaired.summary();
    assert_eq!((summary.retrainings, summary.cost), (1, Some(42.5)));
    assert_eq!(summary.retraining.unwrap().helped, Some(true));
    let page = repaired.page();
    for said in [
        "it helped",
        "cost 42.5 so far",
        "total_day_minutes",
        "train.csv",
        "Repaired",
        "churn-1 closed",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn each_story_is_on_the_overview() {
    let fleet = fleet(10);
    let page = overview(&fleet);
    for fixture in &fleet {
        assert!(page.contains(&page_of(&fixture.model)), "{}", fixture.model);
    }
    let stages = [
        (Story::AwaitingApproval, Stage::AwaitingApproval),
        (Story::Escalated, Stage::Escalated),
        (Story::FixData, Stage::AwaitingData),
        (Story::Holding, Stage::Holding),
        (Story::Healthy, Stage::Healthy),
    ];
    for (story, stage) in stages {
        let summary = of(&fleet, story).summary();
        assert_eq!(summary.stage, stage, "{story:?}");
    }
    assert!(of(&fleet, Story::Silent).summary().unhealthy());
    assert_eq!(of(&fleet, Story::Batch).summary().not_configured().len(), 3);
    for said in [
        "silent",
        "did not help",
        "batch transform",
        "candidate-8",
        "Not configured: ModelBias",
    ] {
        assert!(page.contains(said), "{said}");
    }
    // Who needs somebody comes first.
    let place = |story| page.find(&page_of(&of(&fleet, story).model)).unwrap();
    assert!(place(Story::Escalated) < place(Story::Holding) && place(Story::Holding) < place(Story::Healthy));
}

#[test]
fn a_paused_experiment_says_what_to_do() {
    let fleet = fleet(10);
    let page = of(&fleet, Story::Testing).page();
    assert!(page.contains("driftwarden experiment promote delivery-eta-ab-1"));
    assert!(page.contains("confidence sequence"), "the picture is there");
}

#[test]
fn what_documents_quote_is_text() {
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
    let file = page_of(hostile);
    assert!(
        file.chars().all(|c| c.is_ascii_alphanumeric() || "~-_/.".contains(c)),
        "{file}"
    );
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let page = overview(&[]);
    assert!(page.contains("No monitor has reported yet") && page.ends_with("</html>"));
}
