//! Compares ledger and rules with a naive implementation on a million random histories, event by event.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertStatus, AlertWindow, Evidence, ExecutionEvidence, ExecutionStatus, ExecutionWindow, Monitor, MonitorLedger,
    MonitorRules, PeriodLength, TimeWindow, TreatAs, TreatMissingData, Treatment,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use machine::Caller;
use std::collections::BTreeMap;

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

/// Start of the period that contains a time, in days (or hours) since the epoch. Computed from the calendar.
fn period_start(period: &str, time: Timestamp) -> i64 {
    let date = time.to_zoned(TimeZone::UTC).datetime();
    let day = |date: Date| TimeZone::UTC.to_timestamp(date.into()).unwrap().as_second() / 86_400;
    match period {
        "1d" => day(date.date()),
        "1w" => day(date.date()) - i64::from(date.weekday().to_monday_zero_offset()),
        "1mo" => day(date.date().first_of_month()),
        hours => {
            let length: i64 = hours.strip_suffix('h').unwrap().parse().unwrap();
            time.as_second() / 3600 / length * length
        }
    }
}

/// Start of the period before the one with this start.
fn previous_start(period: &str, start: i64) -> i64 {
    match period {
        "1d" => start - 1,
        "1w" => start - 7,
        "1mo" => period_start(period, Timestamp::from_second((start - 1) * 86_400).unwrap()),
        hours => start - hours.strip_suffix('h').unwrap().parse::<i64>().unwrap(),
    }
}

/// Windows that are longer than the datapoints in a ledger, over hourly executions of months, some of them late.
#[test]
fn long_windows_agree_with_naive_implementation() {
    let mut random = Random(0x0D12_F7A2_DE2B_2028);
    let (mut transitions, mut beyond, mut remembered) = (0, 0, 0);
    for history in 0..histories().min(80) {
        let period = random.pick(&["1d", "1w", "1mo", "6h", "12h", "36h"]);
        let most = match period {
            "1mo" => 4,
            "1w" => 9,
            "1d" => 30,
            _ => 100,
        };
        let n = 1 + random.below(most);
        let m = 1 + random.below(n);
        let (small_m, small_n) = (usize::try_from(m).unwrap(), usize::try_from(n).unwrap());
        let treat = random.pick(&[
            TreatMissingData::Missing,
            TreatMissingData::Ignore,
            TreatMissingData::Breaching,
            TreatMissingData::NotBreaching,
        ]);
        let window = TimeWindow::new(m.cast_signed(), n.cast_signed(), treat).unwrap();
        let rules = MonitorRules {
            window: AlertWindow::Time {
                window,
                period: PeriodLength::parse(period).unwrap(),
            },
            ..MonitorRules::default()
        };
        let mut ledger = MonitorLedger::new(monitor());
        let mut worst: BTreeMap<i64, char> = BTreeMap::new();
        let (mut newest, mut restarted, mut expected) = (0, None, AlertStatus::Ok);
        let mut late: Vec<(u64, char)> = Vec::new();
        let mut rare = 1 + random.below(60);
        let mut at = 0;
        while at < 24 * 150 {
            at += 1;
            if random.below(700) == 0 {
                // An outage, and other data afterwards.
                at += random.below(24 * 40);
                rare = 1 + random.below(60);
            }
            if random.below(3_000) == 0 {
                let caller = Caller {
                    id: "restart".into(),
                    now: hour(at),
                };
                assert!(ledger.restart(hour(at), &rules, &caller));
                (worst, restarted, expected) = (BTreeMap::new(), Some(at), AlertStatus::Ok);
                assert_eq!(ledger.alert.status, expected, "history {history}");
            }
            let kind = match random.below(rare) {
                0 => 'X',
                _ => random.pick(&['0', '0', '0', 'F']),
            };
            let mut due = vec![(at, kind)];
            match random.below(40) {
                0 => late.append(&mut due),
                1 => due.append(&mut late),
                _ => {}
            }
            for (time, kind) in due {
                newest = newest.max(time);
                if restarted.is_none_or(|since| time >= since) && kind != 'F' {
                    let slot = worst.entry(period_start(period, hour(time))).or_insert(kind);
                    *slot = if kind == 'X' { 'X' } else { *slot };
                }
                let oldest = ledger.datapoints.front().map(|datapoint| datapoint.scheduled_time);
                beyond += u64::from(oldest.is_some_and(|oldest| hour(time) < oldest));
                ledger.replay(hour(time), evidence(kind), &rules, hour(at));
                let mut start = period_start(period, hour(newest));
                let mut range = Vec::new();
                for _ in 0..small_n + 2 {
                    range.insert(0, worst.get(&start).copied().unwrap_or('-'));
                    start = previous_start(period, start);
                }
                let lived = restarted.map_or(usize::MAX, |since| {
                    let (mut lived, first) = (1, period_start(period, hour(since)));
                    let mut start = period_start(period, hour(newest));
                    while start > first {
                        start = previous_start(period, start);
                        lived += 1;
                    }
                    lived
                });
                let before = expected;
                expected = naive_time(&range, (small_m, small_n), lived, treat, before);
                assert_eq!(
                    ledger.alert.status, expected,
                    "history {history}: hour {time}, {range:?}, {small_m} of {small_n} {period}, {treat:?}"
                );
                transitions += u64::from(before != expected);
            }
        }
        remembered += u64::from(!ledger.past.is_empty());
    }
    assert!(
        transitions > 0 && beyond > 0 && remembered > 0,
        "{transitions} transitions, {beyond} late executions, {remembered} ledgers with earlier results"
    );
}
