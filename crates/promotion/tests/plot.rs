//! Plots of experiments: every document gives a well-formed SVG and page.
#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test fails by panicking")]

use experiment::{ConfidenceSequence, Difference, Interval, Outcome, Sample};
use jiff::{SignedDuration, Timestamp};
use promotion::{
    Comparison, Conclusion, Experiment, ExperimentStage, Look,
    plot::{self, Plot},
};
use proptest::prelude::*;
use serde_json::json;

fn minute(minute: i64) -> Timestamp {
    "2026-11-23T09:40:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn experiment(looks: Vec<Look>) -> Experiment {
    let mut experiment: Experiment = serde_json::from_value(json!({
        "number": 3, "id": "churn-ab-3", "endpoint": "churn", "mode": "variants", "stage": "Testing",
        "package": {
            "arn": "arn:aws:sagemaker:us-east-1:111122223333:model-package/churn/12",
            "version": 12,
            "approval_status": "Approved",
        },
        "sentence": "Experiment churn-ab-3 of `churn` is Testing: candidate <12> & champion.",
        "opened_at": minute(-20), "since": minute(0), "started_at": minute(0), "step": 0, "token": "1a2b3c4d",
    }))
    .unwrap();
    experiment.comparison = Some(Comparison {
        metric: "accuracy".into(),
        lower_is_better: false,
        margin: Some(0.01),
        alpha: 0.0125,
    });
    experiment.looks = looks;
    experiment
}

/// Looks at proportions. Each step gives the candidate its share of 400 requests per minute.
fn looks(steps: &[(f64, i64)], accuracy: f64, every: i64) -> Vec<Look> {
    let mut rng = fastrand::Rng::with_seed(4);
    let sequence = ConfidenceSequence::new(0.0125, 20_000.0);
    let mut looks = Vec::new();
    let mut now = 0;
    for (step, (share, lasts)) in steps.iter().enumerate() {
        let (mut champion, mut candidate) = (Sample::default(), Sample::default());
        for at in 1..=*lasts {
            for _ in 0..400 {
                let to_candidate = rng.f64() < share / 100.0;
                let (sample, rate) = if to_candidate {
                    (&mut candidate, accuracy)
                } else {
                    (&mut champion, 0.85)
                };
                sample.add(f64::from(u8::from(rng.f64() < rate)));
            }
            if at % every == 0 {
                looks.push(Look {
                    time: minute(now + at),
                    step,
                    champion,
                    candidate,
                    share: Some(*share),
                    interval: Difference::between(&champion, &candidate)
                        .map(|difference| sequence.interval(&difference)),
                    outcome: Outcome::Continue,
                });
            }
        }
        now += lasts;
    }
    looks
}

fn open(experiment: &Experiment, now: i64) -> Plot<'_> {
    Plot {
        experiment,
        ended: None,
        now: minute(now),
    }
}

/// Checks that elements close in order, attributes are quoted, and special characters are escaped.
fn assert_well_formed(text: &str) {
    assert!(
        !text.contains("NaN") && !text.contains("\"inf") && !text.contains("\"-inf"),
        "{text}"
    );
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let words = &rest[..at];
        assert!(!words.contains('>') || open.last() == Some(&"style"), "{words}");
        for entity in words.split('&').skip(1) {
            assert!(
                ["lt;", "gt;", "amp;", "quot;"]
                    .iter()
                    .any(|known| entity.starts_with(known)),
                "{entity}"
            );
        }
        assert!(words.chars().all(|c| c == '\n' || !c.is_control()));
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!tag.contains('&'), "{tag}");
        let name = tag.split([' ', '/', '\n']).next().unwrap();
        let void = tag.ends_with('/') || tag == "!doctype html" || name == "meta";
        if !void {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Checks that all coordinates are within the image, or just outside of it.
fn assert_within_image(svg: &str) {
    for name in ["x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height"] {
        for value in svg.split(&format!(" {name}=\"")).skip(1) {
            let value: f64 = value.split('"').next().unwrap().parse().unwrap();
            assert!((-200.0..1200.0).contains(&value), "{name}={value}");
        }
    }
    for points in svg.split("points=\"").skip(1) {
        for number in points.split('"').next().unwrap().split([' ', ',']) {
            let value: f64 = number.parse().unwrap();
            assert!((-200.0..1200.0).contains(&value), "{value}");
        }
    }
}

fn check(plot: &Plot<'_>) -> String {
    let svg = plot::svg(plot);
    assert_well_formed(&svg);
    assert_within_image(&svg);
    assert_well_formed(&plot::html(plot));
    svg
}

/// The SVG without its style sheet, which does not depend on the data.
fn without_style(svg: &str) -> String {
    let (head, rest) = svg.split_once("<style>").unwrap();
    let (_, rest) = rest.split_once("</style>").unwrap();
    format!("{head}{rest}")
}

#[test]
fn steps_looks_margin_and_outcome_are_drawn() {
    let mut looks = looks(&[(5.0, 60), (25.0, 60)], 0.87, 20);
    looks.last_mut().unwrap().outcome = Outcome::Promote;
    let mut experiment = experiment(looks);
    experiment.stage = ExperimentStage::Ended;
    let plot = Plot {
        ended: Some((Conclusion::Promoted, minute(150))),
        ..open(&experiment, 0)
    };
    insta::assert_snapshot!(without_style(&check(&plot)));
    let page = plot::html(&plot);
    let (_, table) = page.split_once("</figure>").unwrap();
    insta::assert_snapshot!(table);
}

#[test]
fn experiments_without_intervals_are_drawn() {
    let none = experiment(Vec::new());
    assert!(check(&open(&none, 5)).contains("no comparison yet"));
    // The clock is behind.
    check(&open(&none, -500));
    let mut one = experiment(looks(&[(5.0, 10)], 0.85, 10));
    assert!(check(&open(&one, 10)).contains("class=\"look\""));
    one.comparison = None;
    one.started_at = None;
    check(&open(&one, 10));
    for look in &mut one.looks {
        look.interval = None;
        look.outcome = Outcome::Invalid;
    }
    assert!(check(&open(&one, 10)).contains("too few outcomes for an interval"));
}

#[test]
fn steps_and_resumed_tests_have_separate_bands() {
    let experiment = experiment(looks(&[(5.0, 30), (10.0, 30), (50.0, 30)], 0.85, 10));
    assert_eq!(check(&open(&experiment, 95)).matches("<polygon").count(), 3);
    let mut resumed = experiment.clone();
    for look in &mut resumed.looks {
        look.step = 0;
    }
    assert_eq!(
        check(&open(&resumed, 95)).matches("<polygon").count(),
        3,
        "fewer outcomes than before start another band"
    );
}

#[test]
fn margin_is_above_zero_if_lower_is_better() {
    let mut experiment = experiment(looks(&[(50.0, 40)], 0.85, 4));
    let margin = |experiment: &Experiment| {
        let svg = check(&open(experiment, 40));
        let (_, rest) = svg.split_once("class=\"margin\" x1=\"78.0\" y1=\"").unwrap();
        rest.split('"').next().unwrap().parse::<f64>().unwrap()
    };
    let below = margin(&experiment);
    experiment.comparison.as_mut().unwrap().lower_is_better = true;
    assert!(margin(&experiment) < below);
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1.0..1.0_f64,
        prop::num::f64::ANY,
        Just(0.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(f64::NAN),
        Just(f64::NEG_INFINITY)
    ]
}

fn any_look() -> impl Strategy<Value = Look> {
    let outcome = prop_oneof![
        Just(Outcome::Promote),
        Just(Outcome::RollBack),
        Just(Outcome::Continue),
        Just(Outcome::Inconclusive),
        Just(Outcome::Invalid)
    ];
    let interval = prop::option::of((any_value(), any_value(), any_value()));
    let share = prop::option::of(any_value());
    (
        -10_i64..100_000_000,
        0_usize..4,
        0_u64..500,
        any_value(),
        interval,
        share,
        outcome,
    )
        .prop_map(|(at, step, count, sum, interval, share, outcome)| Look {
            time: minute(at),
            step,
            champion: Sample::proportion(count / 2, count),
            candidate: Sample {
                count,
                sum,
                sum_of_squares: sum,
            },
            share,
            interval: interval.map(|(low, estimate, high)| Interval { low, estimate, high }),
            outcome,
        })
}

proptest! {
    #[test]
    fn any_document_is_drawn(
        looks in prop::collection::vec(any_look(), 0..20),
        margin in prop::option::of(any_value()),
        id in "\\PC*",
        word in any::<String>(),
        now in -1000_i64..1_000_000_000,
        stage in 0_usize..9,
        ended: bool,
    ) {
        let mut experiment = experiment(looks);
        experiment.id = id;
        experiment.sentence.clone_from(&word);
        experiment.stage = ExperimentStage::ALL[stage];
        let comparison = experiment.comparison.as_mut().unwrap();
        comparison.margin = margin;
        comparison.metric = word.replace("NaN", "").replace("inf", "");
        experiment.sentence = comparison.metric.clone();
        let plot = Plot { ended: ended.then(|| (Conclusion::Invalid, minute(now))), ..open(&experiment, now) };
        check(&plot);
    }
}
