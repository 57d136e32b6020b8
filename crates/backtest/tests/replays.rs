//! Compares the results of replays with simple counts.
#![expect(clippy::float_cmp, clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::DatapointState;
use backtest::{Assumptions, Execution, History, ModelReport, Recorded, cell, compare, plot, replay, total};
use jiff::Timestamp;
use proptest::prelude::*;
use remediation::Policy;

const AUTO: &str = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '0h'\nretrainings_per_day = 99\nretrainings_per_month = 999\n";

fn hour(n: usize) -> Timestamp {
    Timestamp::from_second(1_790_000_400 + i64::try_from(n).unwrap() * 3600).unwrap()
}

fn execution(schedule: &str, at: usize, sign: char) -> Execution {
    let state = match sign {
        'X' => DatapointState::Violations,
        'F' => DatapointState::Failed,
        'N' => DatapointState::NoData,
        '-' => DatapointState::Missing,
        _ => DatapointState::Clean,
    };
    Execution {
        schedule: schedule.into(),
        endpoint: Some("churn".into()),
        monitor_type: None,
        recorded: Recorded {
            scheduled_time: hour(at),
            state,
            report: None,
        },
    }
}

fn history(monitors: &[&str]) -> History {
    let mut history = History::default();
    for (number, signs) in monitors.iter().enumerate() {
        for (at, sign) in signs.chars().enumerate() {
            history.add(execution(&format!("monitor-{number}"), at, sign));
        }
    }
    history
}

fn run(history: &History, policy: &str, assumptions: &Assumptions) -> ModelReport {
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let models = history.models(&policy);
    replay(&models, &policy, assumptions).remove(0)
}

#[test]
fn drift_leads_to_alert_retraining_and_verification() {
    let policy = format!("{AUTO}[alert]\ndatapoints_to_alert = 2\nevaluation_period = 3\n");
    // The retraining ends two hours after the alert, and the drift ends one execution later.
    let report = run(
        &history(&["00XX0X000000"]),
        &policy,
        &Assumptions {
            cost: 7.0,
            ..Assumptions::default()
        },
    );
    assert_eq!((report.executions, report.violations, report.alerts), (12, 3, 1));
    assert_eq!((report.retrainings, report.incidents), (1, 1));
    assert_eq!(report.incidents_closed["Repaired"], 1);
    assert_eq!(report.alert_delay.unwrap().median_hours, 1.5);
    assert_eq!(report.cost, 7.0);
    // Drift that persists after the retraining escalates, and starts no second retraining.
    let report = run(&history(&["00XXXXXXXXXXXX"]), &policy, &Assumptions::default());
    assert_eq!((report.retrainings, report.decisions_of("Escalate")), (1, 1));
    assert_eq!(report.open, Some("Escalated"));
}

#[test]
fn monitors_of_a_model_share_an_incident() {
    let report = run(&history(&["0XX00000", "00XX0000"]), AUTO, &Assumptions::default());
    assert_eq!((report.alerts, report.incidents, report.retrainings), (2, 1, 1));
}

#[test]
fn approval_requests_are_counted_or_granted() {
    let approve = "[remediation]\ndecide_after = '0s'\nautomation = 'approve'\ncooldown = '0h'\n";
    let waiting = run(&history(&["0XXXX000"]), approve, &Assumptions::default());
    assert_eq!((waiting.waiting_for_people, waiting.retrainings), (1, 0));
    assert_eq!(waiting.incidents_closed["Recovered"], 1);
    let approved = Assumptions {
        approved: true,
        ..Assumptions::default()
    };
    let approved = run(&history(&["0XXXX000"]), approve, &approved);
    assert_eq!((approved.waiting_for_people, approved.retrainings), (1, 1));
}

#[test]
fn cooldown_ends_between_executions() {
    let policy = "[remediation]\ndecide_after = '0s'\nautomation = 'auto'\ncooldown = '5h'\nretrainings_per_day = 9\nreopen_within = '0m'\nclose_after = 1\n";
    // The second drift starts during the cooldown after the first retraining, and lasts longer than the cooldown.
    let report = run(&history(&["X000XXXXXX00000"]), policy, &Assumptions::default());
    assert_eq!((report.incidents, report.retrainings), (2, 2));
    assert_eq!(report.decisions_of("Hold"), 1);
}

#[test]
fn gaps_are_filled_at_the_most_common_interval() {
    let mut history = History::default();
    for at in [0, 1, 2, 6, 7] {
        history.add(execution("monitor-0", at, 'X'));
    }
    history.fill_gaps(DatapointState::Clean);
    assert_eq!(history.len(), 8);
    let report = run(&history, AUTO, &Assumptions::default());
    assert_eq!((report.alerts, report.violations), (2, 5));
}

#[test]
fn sweep_replays_and_draws_each_window() {
    let history = history(&["00XX0X0XXX000XX0X00XXXXX000"]);
    let policy = Policy::parse(AUTO.as_bytes()).unwrap();
    let windows = (1..=4).flat_map(|n| (1..=n.min(3)).map(move |m| (m, n)));
    let cells: Vec<_> = windows
        .map(|(m, n)| cell(&history, &policy, m, n, &Assumptions::default()))
        .collect();
    assert_eq!(cells.len(), 9);
    for cell in &cells {
        let text = format!(
            "{AUTO}[alert]\ndatapoints_to_alert = {}\nevaluation_period = {}\n",
            cell.datapoints_to_alert, cell.evaluation_period
        );
        let report = run(&history, &text, &Assumptions::default());
        assert_eq!(
            (cell.total.alerts, cell.total.retrainings),
            (report.alerts, report.retrainings),
            "{text}"
        );
    }
    insta::assert_snapshot!("plot", plot::svg(&cells));
    let page = plot::html(&cells, "A summary with <signs> & such.");
    assert!(page.contains("&lt;signs&gt; &amp; such"));
    assert!(
        !page.contains("<script") && !page.contains("src=") && !page.contains("@import"),
        "the page loads nothing"
    );
    assert_eq!(page.matches("<tr>").count(), 10);
}

#[test]
fn two_policies_are_compared_by_model() {
    let history = history(&["00XX0X0XXX000"]);
    let strict = [run(&history, AUTO, &Assumptions::default())];
    let lenient = format!("{AUTO}[alert]\ndatapoints_to_alert = 3\nevaluation_period = 3\n");
    let lenient = [run(&history, &lenient, &Assumptions::default())];
    let both = compare(&strict, &lenient);
    let [comparison] = &both[..] else { panic!("one model") };
    assert!(comparison.policy.as_ref().unwrap().alerts > comparison.against.as_ref().unwrap().alerts);
    let policy = Policy::parse(AUTO.as_bytes()).unwrap();
    let sum = total(&strict, &history, &policy);
    assert_eq!(sum.alerts, strict[0].alerts);
    assert!(sum.retrainings_per_model_and_month > 1.0);
}

proptest! {
    /// For any history, an alert is raised whenever a naive count reaches M.
    #[test]
    fn alerts_match_a_naive_count(signs in "[0X0XFN-]{0,80}", m in 1..5_usize, more in 0..5_usize) {
        let n = m + more;
        let policy = format!("{AUTO}[alert]\ndatapoints_to_alert = {m}\nevaluation_period = {n}\n");
        let mut slots: Vec<bool> = Vec::new();
        let (mut alerts, mut in_alert) = (0, false);
        for sign in signs.chars().filter(|sign| matches!(sign, '0' | 'X')) {
            slots.push(sign == 'X');
            let count = slots.iter().rev().take(n).filter(|breaching| **breaching).count();
            alerts += usize::from(count >= m && !in_alert);
            in_alert = count >= m;
        }
        let history = history(&[&signs]);
        if !history.is_empty() {
            let report = run(&history, &policy, &Assumptions::default());
            prop_assert_eq!(report.alerts, alerts);
            prop_assert!(report.retrainings as u64 <= report.incidents);
        }
    }
}
