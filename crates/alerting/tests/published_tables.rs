//! CloudWatch's published tables of missing data, row by row, and a naive implementation of the same rules.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{AlarmState, Period, TimeWindow, TreatMissingData};
use proptest::prelude::*;

fn periods(text: &str) -> Vec<Period> {
    text.split_whitespace()
        .map(|sign| match sign {
            "X" => Period::Breaching,
            "0" => Period::NotBreaching,
            _ => Period::Missing,
        })
        .collect()
}

const TREATMENTS: [TreatMissingData; 4] = [
    TreatMissingData::Missing,
    TreatMissingData::Ignore,
    TreatMissingData::Breaching,
    TreatMissingData::NotBreaching,
];

/// The states with `missing`, `ignore`, `breaching`, and `notBreaching`. `kept` stands for the previous state.
fn row(m: i64, text: &str) -> [&'static str; 4] {
    TREATMENTS.map(|treatment| {
        let window = TimeWindow::new(m, 3, treatment).unwrap();
        let states = [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData];
        let after = states.map(|before| window.evaluate(&periods(text), before));
        match after {
            [AlarmState::Ok, AlarmState::Ok, AlarmState::Ok] => "OK",
            [AlarmState::Alarm, AlarmState::Alarm, AlarmState::Alarm] => "ALARM",
            [
                AlarmState::InsufficientData,
                AlarmState::InsufficientData,
                AlarmState::InsufficientData,
            ] => "INSUFFICIENT_DATA",
            after if after == states => "kept",
            _ => "depends",
        }
    })
}

#[test]
fn three_datapoints_to_alarm_of_three() {
    assert_eq!(row(3, "0 - X - X"), ["OK", "OK", "OK", "OK"]);
    assert_eq!(row(3, "0 - - - -"), ["OK", "OK", "OK", "OK"]);
    assert_eq!(row(3, "- - - - -"), ["INSUFFICIENT_DATA", "kept", "ALARM", "OK"]);
    assert_eq!(row(3, "0 X X - X"), ["ALARM", "ALARM", "ALARM", "ALARM"]);
    assert_eq!(row(3, "- - X - -"), ["ALARM", "kept", "ALARM", "OK"]);
}

#[test]
fn two_datapoints_to_alarm_of_three() {
    assert_eq!(row(2, "0 - X - X"), ["ALARM", "ALARM", "ALARM", "ALARM"]);
    assert_eq!(row(2, "0 0 X 0 X"), ["ALARM", "ALARM", "ALARM", "ALARM"]);
    assert_eq!(row(2, "0 - X - -"), ["OK", "OK", "ALARM", "OK"]);
    assert_eq!(row(2, "- - - - 0"), ["OK", "OK", "ALARM", "OK"]);
    assert_eq!(row(2, "- - - X -"), ["ALARM", "kept", "ALARM", "OK"]);
}

#[test]
fn single_recent_datapoint_is_not_a_premature_alarm() {
    assert_eq!(row(3, "- - - - X")[0], "OK");
    assert_eq!(row(3, "- - - X -")[0], "OK");
}

#[test]
fn periods_before_the_evaluation_range_do_not_count() {
    assert_eq!(row(3, "X X X - - - - -"), row(3, "- - - - -"));
    let wide = TimeWindow::new(3, 3, TreatMissingData::Missing)
        .unwrap()
        .with_evaluation_range(8);
    assert_eq!(
        wide.evaluate(&periods("X X X - - - - -"), AlarmState::Ok),
        AlarmState::Alarm
    );
}

/// The rules in their simplest form.
fn naive(periods: &[Period], m: usize, n: usize, treatment: TreatMissingData, previous: AlarmState) -> AlarmState {
    let range = &periods[periods.len().saturating_sub(n + 2)..];
    let mut real: Vec<Period> = range
        .iter()
        .copied()
        .filter(|period| *period != Period::Missing)
        .collect();
    if real.is_empty() {
        return match treatment {
            TreatMissingData::Missing => AlarmState::InsufficientData,
            TreatMissingData::Ignore => previous,
            TreatMissingData::Breaching => AlarmState::Alarm,
            TreatMissingData::NotBreaching => AlarmState::Ok,
        };
    }
    if real.len() < n {
        let filler = match treatment {
            TreatMissingData::Breaching => Some(Period::Breaching),
            TreatMissingData::NotBreaching => Some(Period::NotBreaching),
            _ => None,
        };
        if let Some(filler) = filler {
            real.resize(n, filler);
        } else if real.len() < m {
            for (at, period) in range.iter().enumerate() {
                let newer_are_quiet = range[at..].iter().all(|newer| *newer != Period::NotBreaching);
                if *period == Period::Breaching && newer_are_quiet && range.len() - at >= m {
                    return if treatment == TreatMissingData::Ignore {
                        previous
                    } else {
                        AlarmState::Alarm
                    };
                }
            }
        }
    }
    let judged = &real[real.len().saturating_sub(n)..];
    let breaching = judged.iter().filter(|period| **period == Period::Breaching).count();
    if breaching >= m {
        AlarmState::Alarm
    } else {
        AlarmState::Ok
    }
}

/// Number of cases: 20,000, or fewer if `DRIFTWARDEN_TEST_CASES` limits the cases of each test.
#[expect(clippy::disallowed_methods, reason = "a test reads its size from the environment")]
fn cases() -> u32 {
    let limit = std::env::var("DRIFTWARDEN_TEST_CASES").map_or(u32::MAX, |limit| limit.parse().unwrap());
    limit.min(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn time_window_agrees_with_naive_implementation(
        signs in proptest::collection::vec(0..3_u8, 0..14), m in 1..6_usize, more in 0..5_usize, treatment in 0..4_usize,
        previous in 0..3_usize,
    ) {
        let periods: Vec<Period> = signs.iter().map(|sign| match sign {
            0 => Period::NotBreaching, 1 => Period::Breaching, _ => Period::Missing,
        }).collect();
        let (n, treatment) = (m + more, TREATMENTS[treatment]);
        let previous = [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData][previous];
        let window = TimeWindow::new(i64::try_from(m).unwrap(), i64::try_from(n).unwrap(), treatment).unwrap();
        prop_assert_eq!(window.evaluate(&periods, previous), naive(&periods, m, n, treatment, previous));
    }
}
