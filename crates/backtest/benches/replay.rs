//! Replays ten million datapoints on one core. Prints one JSON object with the number of datapoints, the time in
//! seconds, and the results. `benches/backtest/run.py` compares it with a naive implementation.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time and prints the result"
)]

use alerting::DatapointState;
use backtest::{Assumptions, Execution, History, ModelReport, Recorded, replay};
use jiff::Timestamp;
use remediation::Policy;
use std::time::Instant;

const MODELS: u64 = 100;
const MONITORS: u64 = 4;
const POLICY: &str = "[alert]\ndatapoints_to_alert = 3\nevaluation_period = 5\n\
    [remediation]\nautomation = 'auto'\ncooldown = '24h'\nretrainings_per_day = 1\nretrainings_per_month = 8\n";

fn history(datapoints: u64) -> History {
    let mut history = History::default();
    let mut random: u64 = 0x2026_1123;
    for model in 0..MODELS {
        for monitor in 0..MONITORS {
            let mut drifting = 0;
            for hour in 0..datapoints / (MODELS * MONITORS) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // About every two weeks, the data drifts for 36 hours. In addition, 2% of the executions have
                // violations by chance.
                if random.is_multiple_of(336) {
                    drifting = 36;
                }
                drifting = i32::max(drifting - 1, 0);
                let violates = drifting > 0 || (random >> 20).is_multiple_of(50);
                let state = if violates {
                    DatapointState::Violations
                } else {
                    DatapointState::Clean
                };
                let second = 1_600_000_000 / 3600 * 3600 + i64::try_from(hour).unwrap_or_default() * 3600;
                history.add(Execution {
                    schedule: format!("monitor-{model}-{monitor}"),
                    endpoint: Some(format!("model-{model}")),
                    monitor_type: None,
                    recorded: Recorded {
                        scheduled_time: Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH),
                        state,
                        report: None,
                    },
                });
            }
        }
    }
    history
}

fn main() {
    let datapoints = 10_000_000;
    let history = history(datapoints);
    let policy = Policy::parse(POLICY.as_bytes()).unwrap_or_default();
    let models = history.models(&policy);
    let began = Instant::now();
    let reports = replay(&models, &policy, &Assumptions::default());
    let seconds = began.elapsed().as_secs_f64();
    let sum = |count: fn(&ModelReport) -> usize| reports.iter().map(count).sum::<usize>();
    println!(
        "{{\"datapoints\": {}, \"seconds\": {seconds:.3}, \"nanoseconds_a_datapoint\": {:.0}, \"alerts\": {}, \"retrainings\": {}}}",
        sum(|report| report.executions),
        seconds * 1e9 / datapoints as f64,
        sum(|report| report.alerts),
        sum(|report| report.retrainings)
    );
}
