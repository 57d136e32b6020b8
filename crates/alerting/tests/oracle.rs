//! Compares ledger and rules with a naive implementation on a million random histories, event by event.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertStatus, AlertWindow, Evidence, ExecutionEvidence, ExecutionStatus, ExecutionWindow, Monitor, MonitorLedger,
    MonitorRules, PeriodLength, TimeWindow, TreatAs, TreatMissingData, Treatment,
};
use jiff::{SignedDuration, Timestamp};
use outbox::Caller;

const HISTORIES: u64 = 1_000_000;

/// Number of histories: [`HISTORIES`], or fewer if `DRIFTWARDEN_TEST_CASES` limits the cases of each test.
#[expect(clippy::disallowed_methods, reason = "a test reads its size from the environment")]
fn histories() -> u64 {
    let limit = std::env::var("DRIFTWARDEN_TEST_CASES").map_or(HISTORIES, |limit| limit.parse().unwrap());
    HISTORIES.min(limit)
}

/// Random number generator without a dependency (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }
}

fn hour(n: u64) -> Timestamp {
    Timestamp::from_second(1_790_000_400 + i64::try_from(n).unwrap() * 3600).unwrap()
}

fn evidence(kind: char) -> Evidence {
    let (status, reason) = match kind {
        '0' => (ExecutionStatus::Completed, None),
        'X' => (ExecutionStatus::CompletedWithViolations, None),
        'F' => (ExecutionStatus::Failed, Some("AlgorithmError".to_owned())),
        'N' => (ExecutionStatus::Failed, Some("Job inputs had no data".to_owned())),
        // The execution was due and never ran.
        _ => return Evidence::default(),
    };
    let execution = ExecutionEvidence {
        status,
        reason,
        last_modified: hour(0),
    };
    Evidence {
        execution: Some(execution),
        ..Evidence::default()
    }
}

/// Result of a datapoint for the window: 'X' (breaching), '0' (not breaching), or '-' (missing).
fn sign(kind: char, treatment: Treatment) -> char {
    let treated = |treat: TreatAs| match treat {
        TreatAs::Missing => '-',
        TreatAs::Breaching => 'X',
        TreatAs::NotBreaching => '0',
    };
    match kind {
        'F' => treated(treatment.failed),
        'N' => treated(treatment.no_data),
        'M' => treated(treatment.missing),
        other => other,
    }
}

/// SageMaker's rule: at least m of the last n executions with a result breach.
fn naive_executions(signs: &[char], m: usize, n: usize) -> AlertStatus {
    let slots: Vec<char> = signs.iter().copied().filter(|sign| *sign != '-').collect();
    let last = &slots[slots.len().saturating_sub(n)..];
    if last.iter().filter(|sign| **sign == 'X').count() >= m {
        AlertStatus::InAlert
    } else {
        AlertStatus::Ok
    }
}

/// CloudWatch's rule. `lived` is the number of periods since datapoints count.
fn naive_time(
    periods: &[char],
    (m, n): (usize, usize),
    lived: usize,
    treat: TreatMissingData,
    previous: AlertStatus,
) -> AlertStatus {
    let count = |signs: &[char]| signs.iter().filter(|sign| **sign == 'X').count();
    let judged = |breaching: usize| {
        if breaching >= m {
            AlertStatus::InAlert
        } else {
            AlertStatus::Ok
        }
    };
    let real: Vec<char> = periods.iter().copied().filter(|sign| *sign != '-').collect();
    if real.len() >= n {
        return judged(count(&real[real.len() - n..]));
    }
    if treat == TreatMissingData::Breaching {
        return judged(count(&real) + n.min(lived) - real.len());
    }
    if treat == TreatMissingData::NotBreaching {
        return judged(count(&real));
    }
    if real.is_empty() {
        return match treat {
            TreatMissingData::Missing => AlertStatus::InsufficientData,
            _ => previous,
        };
    }
    // The premature-alarm rule.
    let since_ok = periods.iter().rposition(|sign| *sign == '0').map_or(0, |at| at + 1);
    let newer = &periods[since_ok..];
    let old_enough = newer
        .iter()
        .position(|sign| *sign == 'X')
        .is_some_and(|at| newer.len() - at >= m);
    if real.len() < m && old_enough {
        return match treat {
            TreatMissingData::Missing => AlertStatus::InAlert,
            _ => previous,
        };
    }
    judged(count(&real))
}

fn monitor() -> Monitor {
    Monitor {
        schedule: "dq".into(),
        endpoint: None,
        model: "churn".into(),
        monitor_type: None,
    }
}

#[test]
fn ledger_agrees_with_naive_implementation() {
    let mut random = Random(0x0D12_F7A2_DE2B_2026);
    let mut transitions = 0;
    let histories = histories();
    for history in 0..histories {
        let n = 1 + random.below(8);
        let m = 1 + random.below(n);
        let (small_m, small_n) = (usize::try_from(m).unwrap(), usize::try_from(n).unwrap());
        let (m, n) = (i64::try_from(m).unwrap(), i64::try_from(n).unwrap());
        let treats = [TreatAs::Missing, TreatAs::Breaching, TreatAs::NotBreaching];
        let treatment = Treatment {
            no_data: random.pick(&treats),
            failed: random.pick(&treats),
            missing: random.pick(&treats),
        };
        let treat = random.pick(&[
            TreatMissingData::Missing,
            TreatMissingData::Ignore,
            TreatMissingData::Breaching,
            TreatMissingData::NotBreaching,
        ]);
        let over_time = random.below(2) == 0;
        let window = if over_time {
            AlertWindow::Time {
                window: TimeWindow::new(m, n, treat).unwrap(),
                period: PeriodLength::Minutes(60),
            }
        } else {
            AlertWindow::Executions(ExecutionWindow::new(m, n).unwrap())
        };
        let rules = MonitorRules {
            window,
            treatment,
            ..MonitorRules::default()
        };
        let mut ledger = MonitorLedger::new(monitor());
        let mut signs: Vec<char> = Vec::new();
        let mut expected = AlertStatus::Ok;
        for at in 0..=random.below(14) {
            // 'g' is a gap: an hour without evidence.
            let kind = random.pick(&['0', '0', 'X', 'X', 'X', 'F', 'N', 'M', 'g']);
            if kind == 'g' {
                signs.push('-');
                continue;
            }
            signs.push(sign(kind, treatment));
            let change = ledger.replay(hour(at), evidence(kind), &rules, hour(at));
            let before = expected;
            expected = if over_time {
                let mut range = vec!['-'; small_n + 2];
                range.extend(&signs);
                let range = &range[range.len() - (small_n + 2)..];
                naive_time(range, (small_m, small_n), usize::MAX, treat, before)
            } else {
                naive_executions(&signs, small_m, small_n)
            };
            assert_eq!(
                ledger.alert.status, expected,
                "history {history}: {signs:?}, {small_m} of {small_n}, {treat:?}, over time: {over_time}"
            );
            assert_eq!(
                change.is_some(),
                before != expected,
                "history {history}: one event per transition"
            );
            transitions += u64::from(change.is_some());
        }
    }
    assert!(
        transitions > histories / 2,
        "{transitions} transitions: too few for a test"
    );
}

/// After a restart in time, the ledger behaves like that of a new monitor.
#[test]
fn restarted_ledger_agrees_with_naive_implementation() {
    let mut random = Random(0x0D12_F7A2_DE2B_2027);
    let mut ended = 0;
    let histories = histories();
    for history in 0..histories / 10 {
        let n = 1 + random.below(8);
        let m = 1 + random.below(n);
        let (small_m, small_n) = (usize::try_from(m).unwrap(), usize::try_from(n).unwrap());
        let (m, n) = (i64::try_from(m).unwrap(), i64::try_from(n).unwrap());
        let treat = random.pick(&[
            TreatMissingData::Missing,
            TreatMissingData::Ignore,
            TreatMissingData::Breaching,
            TreatMissingData::NotBreaching,
        ]);
        let over_time = random.below(2) == 0;
        let window = if over_time {
            AlertWindow::Time {
                window: TimeWindow::new(m, n, treat).unwrap(),
                period: PeriodLength::Minutes(60),
            }
        } else {
            AlertWindow::Executions(ExecutionWindow::new(m, n).unwrap())
        };
        let rules = MonitorRules {
            window,
            ..MonitorRules::default()
        };
        let mut ledger = MonitorLedger::new(monitor());
        let mut signs: Vec<char> = Vec::new();
        let mut expected = AlertStatus::Ok;
        let mut restarted = false;
        for at in 0..=random.below(20) {
            if random.below(8) == 0 {
                let caller = Caller {
                    id: "restart".into(),
                    now: hour(at),
                    lease: SignedDuration::from_secs(120),
                };
                let was = ledger.alert.status;
                assert!(ledger.restart(hour(at), &rules, &caller));
                ended += u64::from(was == AlertStatus::InAlert);
                (signs, expected, restarted) = (Vec::new(), AlertStatus::Ok, true);
                assert_eq!(ledger.alert.status, expected, "history {history}");
            }
            let kind = random.pick(&['0', '0', 'X', 'X', 'X', 'F', 'g']);
            if kind == 'g' {
                signs.push('-');
                continue;
            }
            signs.push(sign(kind, Treatment::default()));
            ledger.replay(hour(at), evidence(kind), &rules, hour(at));
            expected = if over_time {
                let mut range = vec!['-'; small_n + 2];
                range.extend(&signs);
                let range = &range[range.len() - (small_n + 2)..];
                let lived = if restarted { signs.len() } else { usize::MAX };
                naive_time(range, (small_m, small_n), lived, treat, expected)
            } else {
                naive_executions(&signs, small_m, small_n)
            };
            assert_eq!(
                ledger.alert.status, expected,
                "history {history}: {signs:?}, {small_m} of {small_n}, {treat:?}, over time: {over_time}"
            );
        }
    }
    assert!(ended > histories / 100, "{ended} alerts ended by a restart");
}
