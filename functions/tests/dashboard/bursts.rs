//! Many events at the same time: each leaves a mark, and one invocation renders.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use functions::{
    Error, Incomplete,
    dashboard::{Dashboard, Handled},
};
use futures_util::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use machine::Kind;
use remediation::ModelDocument;
use serde_json::{Value, json};
use shell::memory::{Fault, Memory};
use std::collections::BTreeMap;

/// AWS with models, whose pages are written.
async fn aws(models: usize) -> Memory {
    let aws = Memory::at("2026-11-29T02:00:00Z".parse().unwrap());
    aws.put_document("policy.toml", "# defaults\n");
    for number in 0..models {
        let document = serde_json::to_vec(&ModelDocument::new(model(number))).unwrap();
        aws.put_document(&format!("models/{}.json", model(number)), document);
    }
    handle(&aws, &rebuild()).await.unwrap();
    render(&aws).await.unwrap();
    aws.pass(SignedDuration::from_mins(10));
    aws
}

fn model(number: usize) -> String {
    format!("m{number:03}")
}

fn event(id: &str, source: &str, detail_type: &str, detail: &Value) -> String {
    json!({"version": "0", "id": id, "source": source, "detail-type": detail_type, "time": "2026-11-29T02:30:00Z",
           "account": "111122223333", "region": "us-east-1", "resources": [], "detail": detail})
    .to_string()
}

fn changed(id: &str, model: &str) -> String {
    event(id, "driftwarden", "Remediation Decided", &json!({"model": model}))
}

/// Tick of `DashboardRate`.
fn rebuild() -> String {
    event("tick", "aws.events", "Scheduled Event", &json!({}))
}

async fn handle_as(aws: &Memory, payload: &str, request_id: &str) -> Result<Handled, Error> {
    let deadline = aws.time() + SignedDuration::from_mins(15);
    Dashboard::new("driftwarden", Some("us-east-1"))
        .handle(aws, payload, request_id, deadline)
        .await
}

async fn handle(aws: &Memory, payload: &str) -> Result<Handled, Error> {
    handle_as(aws, payload, "event").await
}

/// Tick of every minute.
async fn render(aws: &Memory) -> Result<Handled, Error> {
    handle_as(aws, r#"{"render": "marked"}"#, "render").await
}

fn marks(aws: &Memory) -> Vec<String> {
    aws.documents()
        .into_iter()
        .filter(|key| key.starts_with("dirty/"))
        .collect()
}

/// Time at which each model was rendered.
fn rendered(aws: &Memory) -> BTreeMap<String, Timestamp> {
    let summaries: Value = serde_json::from_slice(&aws.document("dashboard/data/summaries.json").unwrap()).unwrap();
    let models = summaries.get("models").unwrap().as_array().unwrap().iter();
    let text = |summary: &Value, key: &str| summary.get(key).unwrap().as_str().unwrap().to_owned();
    models
        .map(|summary| (text(summary, "model"), text(summary, "at").parse().unwrap()))
        .collect()
}

/// Operations after the first `count`, with their numbers.
fn operations(aws: &Memory, count: usize) -> BTreeMap<&'static str, usize> {
    let mut operations = BTreeMap::new();
    for call in aws.calls().into_iter().skip(count) {
        *operations.entry(call).or_default() += 1;
    }
    operations
}

/// Rendering in each event, as before, took 53,004 requests here, and 24 of the 32 events failed.
#[tokio::test(flavor = "current_thread")]
async fn burst_renders_each_page_once_and_fails_nothing() {
    let aws = aws(200).await;
    let before = aws.call_count();
    aws.interleave();
    let events: Vec<String> = (0..32)
        .map(|number| changed(&format!("e{number}"), &model(number * 5)))
        .collect();
    for handled in join_all(events.iter().map(|event| handle(&aws, event))).await {
        assert_eq!(handled.unwrap(), Handled::Marked);
    }
    assert_eq!(operations(&aws, before), BTreeMap::from([("s3:PutObject", 32)]));
    // Two ticks overlap.
    let other = handle_as(&aws, r#"{"render": "marked"}"#, "other");
    let (first, other) = join(render(&aws), other).await;
    let handled = [first.unwrap(), other.unwrap()];
    assert!(
        handled.contains(&Handled::Rendered { models: 32, left: 0 }),
        "{handled:?}"
    );
    assert!(
        handled.iter().any(|handled| matches!(handled, Handled::Ignored { .. })),
        "{handled:?}"
    );
    assert!(marks(&aws).is_empty());
    let counts = operations(&aws, before);
    // Marks; pages; the claim, its release, and the one that was lost; summaries, overview.
    assert_eq!(counts.get("s3:PutObject"), Some(&(32 + 32 + 3 + 2)), "{counts:?}");
    let total: usize = counts.values().sum();
    assert!(total < 500, "{counts:?}");
    let reads = counts.get("s3:GetObject").unwrap() + counts.get("s3:ListBucket").unwrap();
    assert!(reads < 32 * 8 + 20, "{counts:?}");
    let now = aws.time();
    let current = rendered(&aws).values().filter(|at| **at == now).count();
    assert_eq!(current, 32);
}

#[tokio::test(flavor = "current_thread")]
async fn many_events_of_one_model_render_once() {
    let aws = aws(3).await;
    let events: Vec<String> = (0..50).map(|number| changed(&format!("e{number}"), "m001")).collect();
    join_all(events.iter().map(|event| handle(&aws, event))).await;
    let before = aws.call_count();
    assert_eq!(render(&aws).await.unwrap(), Handled::Rendered { models: 1, left: 0 });
    assert!(marks(&aws).is_empty());
    assert!(aws.call_count() - before < 80);
}

#[tokio::test(flavor = "current_thread")]
async fn mark_left_during_rendering_survives() {
    let aws = aws(3).await;
    handle(&aws, &changed("e1", "m001")).await.unwrap();
    aws.interleave();
    // The event arrives after the marks were listed, and before the page is written.
    let during = async {
        let listed = aws.call_count() + 6;
        while aws.call_count() < listed {
            tokio::task::yield_now().await;
        }
        handle(&aws, &changed("e2", "m001")).await
    };
    let (rendered, marked) = join(render(&aws), during).await;
    assert_eq!(rendered.unwrap(), Handled::Rendered { models: 1, left: 0 });
    assert_eq!(marked.unwrap(), Handled::Marked);
    assert_eq!(marks(&aws).len(), 1);
    assert_eq!(render(&aws).await.unwrap(), Handled::Rendered { models: 1, left: 0 });
}

#[tokio::test(flavor = "current_thread")]
async fn repeated_event_leaves_one_mark() {
    let aws = aws(1).await;
    for _ in 0..2 {
        assert_eq!(handle(&aws, &changed("e1", "m000")).await.unwrap(), Handled::Marked);
    }
    assert_eq!(marks(&aws), ["dirty/2026-11-29T02:10:00.000Z/e1/m000"]);
}

/// Invariant R10 of the simulator: events, ticks, and faults in any order.
#[tokio::test(flavor = "current_thread")]
async fn last_page_shows_last_state() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let aws = aws(4).await;
        aws.record_writes();
        let mut changed_at = BTreeMap::new();
        for step in 0..60 {
            aws.pass(SignedDuration::from_secs(random.i64(1..90)));
            if random.u8(0..4) == 0 {
                let operations = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"];
                let fault = [Fault::Before(Kind::Transient), Fault::After][random.usize(0..2)];
                aws.fail(operations[random.usize(0..4)], fault);
            }
            if random.bool() {
                let name = model(random.usize(0..4));
                changed_at.insert(name.clone(), aws.time());
                let event = changed(&format!("e{step}"), &name);
                // Lambda repeats a failed invocation.
                while handle(&aws, &event).await.is_err() {}
            } else {
                let marked = marks(&aws).len();
                aws.take_writes();
                let _failed = render(&aws).await;
                let is_page = |write: &shell::memory::DocumentWrite| write.key.starts_with("dashboard/models/");
                let pages = aws.take_writes().into_iter().filter(is_page).count();
                assert!(pages <= marked, "seed {seed}: {pages} pages for {marked} marks");
            }
        }
        // The claim of an invocation that failed expires.
        for _ in 0..3 {
            aws.pass(SignedDuration::from_mins(20));
            let _failed = render(&aws).await;
        }
        assert!(marks(&aws).is_empty(), "seed {seed}");
        let rendered = rendered(&aws);
        for (model, at) in changed_at {
            assert!(
                rendered.get(&model) >= Some(&at),
                "seed {seed}: {model} changed at {at}"
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn idle_tick_lists_once() {
    let aws = aws(3).await;
    let before = aws.call_count();
    assert_eq!(render(&aws).await.unwrap(), Handled::Rendered { models: 0, left: 0 });
    assert_eq!(operations(&aws, before), BTreeMap::from([("s3:ListBucket", 1)]));
}

#[tokio::test(flavor = "current_thread")]
async fn claim_ends_with_time_limit_of_its_invocation() {
    let aws = aws(1).await;
    handle(&aws, &changed("e1", "m000")).await.unwrap();
    aws.interleave();
    // Lambda stops the invocation after it has claimed the rendering.
    tokio::select! {
        biased;
        () = async {
            let claimed = aws.call_count() + 4;
            while aws.call_count() < claimed {
                tokio::task::yield_now().await;
            }
        } => {}
        handled = handle_as(&aws, r#"{"render": "marked"}"#, "stopped") => panic!("not stopped: {handled:?}"),
    }
    assert!(matches!(render(&aws).await.unwrap(), Handled::Ignored { .. }));
    aws.pass(SignedDuration::from_mins(15));
    assert_eq!(render(&aws).await.unwrap(), Handled::Rendered { models: 1, left: 0 });
}

#[tokio::test(flavor = "current_thread")]
async fn lost_conditional_write_is_no_failure() {
    // Claim, page, summaries, overview, release.
    for write in 0..5 {
        let aws = aws(2).await;
        handle(&aws, &changed("e1", "m001")).await.unwrap();
        for _ in 0..write {
            aws.fail("s3:PutObject", Fault::Skipped);
        }
        aws.fail("s3:PutObject", Fault::Before(Kind::Conflict));
        assert!(render(&aws).await.is_ok(), "write {write}");
        aws.pass(SignedDuration::from_mins(20));
        render(&aws).await.unwrap();
        assert!(marks(&aws).is_empty(), "write {write}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn failing_page_delays_no_other_and_is_given_up() {
    let aws = aws(3).await;
    handle(&aws, &changed("e1", "m000")).await.unwrap();
    aws.pass(SignedDuration::from_secs(1));
    handle(&aws, &changed("e2", "m001")).await.unwrap();
    // The longest marked page is rendered first.
    let failing = || aws.fail("s3:GetObject", Fault::Skipped);
    // Writer, policy, and summaries are read before.
    (0..3).for_each(|_| failing());
    aws.fail("s3:GetObject", Fault::Before(Kind::Denied));
    assert_eq!(render(&aws).await.unwrap(), Handled::Rendered { models: 1, left: 1 });
    assert_eq!(marks(&aws).len(), 1);
    aws.pass(SignedDuration::from_mins(10));
    (0..3).for_each(|_| failing());
    aws.fail("s3:GetObject", Fault::Before(Kind::Denied));
    assert!(matches!(
        render(&aws).await,
        Err(Error::Incomplete {
            what: Incomplete::Dashboard,
            failed: 1,
            ..
        })
    ));
    assert!(marks(&aws).is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn rebuild_continues_where_time_ended() {
    let aws = aws(100).await;
    handle(&aws, &rebuild()).await.unwrap();
    aws.pass(SignedDuration::from_secs(1));
    // The invocation has time for its first round only.
    let dashboard = Dashboard::new("driftwarden", None);
    let deadline = aws.time() + SignedDuration::from_secs(20);
    let handled = dashboard
        .handle(&aws, r#"{"render": "marked"}"#, "r1", deadline)
        .await
        .unwrap();
    assert_eq!(handled, Handled::Rendered { models: 0, left: 60 });
    assert_eq!(marks(&aws).len(), 1);
    let before = aws.time();
    assert_eq!(render(&aws).await.unwrap(), Handled::Rendered { models: 100, left: 0 });
    assert!(marks(&aws).is_empty());
    assert!(rendered(&aws).values().all(|at| *at >= before));
}

#[tokio::test(flavor = "current_thread")]
async fn rebuild_begins_with_oldest_page() {
    let aws = aws(100).await;
    for number in [7, 3] {
        handle(&aws, &changed("e1", &model(number))).await.unwrap();
        render(&aws).await.unwrap();
        aws.pass(SignedDuration::from_mins(1));
    }
    handle(&aws, &rebuild()).await.unwrap();
    handle(&aws, &changed("e2", "m042")).await.unwrap();
    let before = aws.call_count();
    aws.record_writes();
    render(&aws).await.unwrap();
    let pages: Vec<String> = aws.take_writes().into_iter().map(|write| write.key).collect();
    let pages: Vec<&String> = pages.iter().filter(|key| key.contains("/models/")).collect();
    // Marked models come first. The pages of models 7 and 3 are the newest, in this order. Eight are rendered at the same time.
    let place = |number: usize| pages.iter().position(|key| key.contains(&model(number))).unwrap();
    assert_eq!(pages.len(), 100);
    assert_eq!(place(42), 0);
    assert!(place(7) >= 90 && place(3) >= 90, "{} {}", place(7), place(3));
    // The overview is written for the marked model, and at the end.
    let writes = operations(&aws, before).get("s3:PutObject").copied();
    assert_eq!(
        writes,
        Some(100 + 2 + 2 + 2),
        "pages, summaries, overviews, claim and release"
    );
    assert!(marks(&aws).is_empty());
}
