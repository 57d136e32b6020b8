//! The table of `docs/costs.md`: every number is computed here, from list prices and from what the functions do.

use crate::check;
use std::fmt::Write as _;

// List prices of us-east-1 in US dollars, without any free tier.
const LAMBDA_REQUEST: f64 = 0.20e-6;
/// arm64.
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
const S3_GET: f64 = 0.0004e-3;
/// PUT and LIST.
const S3_PUT: f64 = 0.005e-3;
const METRIC_REQUEST: f64 = 0.01e-3;
/// `GetMetricData`, for each metric.
const METRIC_ASKED: f64 = 0.01e-3;
/// Custom metrics a month: up to so many for so much each.
const METRICS: [(f64, f64); 4] = [
    (10_000.0, 0.30),
    (250_000.0, 0.10),
    (1_000_000.0, 0.05),
    (f64::INFINITY, 0.02),
];
const EVENT: f64 = 1.0e-6;
const LOG_GB: f64 = 0.50;
const ALARM: f64 = 0.10;
const DASHBOARD: f64 = 3.00;

// What is assumed of the models.
const MONITORS: f64 = 2.0;
const EXECUTIONS: f64 = 730.0;
const WITH_VIOLATIONS: f64 = 0.02;
const CHECK_TYPES: f64 = 2.0;
const DRIFTED_FEATURES: f64 = 5.0;
const INCIDENTS: f64 = 1.0;

// What the functions do.
const MEMORY_GB: f64 = 0.25;
const INGEST_SECONDS: f64 = 0.2;
/// The job's event, and of one in two monitors that of a merge job, or of a report.
const EVENTS_AN_EXECUTION: f64 = 1.5;
/// Policy, ledger, report.
const GETS_AN_EVENT: f64 = 3.0;
/// The ledger with what it owes, and once that is settled.
const PUTS_AN_EXECUTION: f64 = 2.0;
/// Report, statistics, constraints, and one more: each is an event of the bucket's.
const OBJECTS_A_REPORT: f64 = 4.0;
const SWEEPS: f64 = 30.4 * 24.0 * 4.0;
/// Of a sweep, for each monitor, eight at a time.
const SWEEP_SECONDS: f64 = 0.15 / 8.0;
/// Of each monitor its ledger twice, and the policy; of each model its document, and the policy.
const GETS_A_SWEPT_MONITOR: f64 = 3.0;
const GETS_A_SWEPT_MODEL: f64 = 2.0;
/// remediate, promote and notify together, and the events between.
const EVENTS_AN_INCIDENT: f64 = 20.0;
const MINUTES: f64 = 30.4 * 24.0 * 60.0;
const TICK_SECONDS: f64 = 0.1;
/// Start, end and report of an invocation, and a line or two of ours.
const LOG_GB_AN_INVOCATION: f64 = 1.5e-6;
const METRICS_OF_AN_EXPERIMENT: f64 = 10.0;

struct Line {
    what: &'static str,
    how: &'static str,
    dollars: fn(f64) -> f64,
}

fn metrics_for(count: f64) -> f64 {
    let mut from = 0.0;
    let mut dollars = 0.0;
    for (until, price) in METRICS {
        dollars += (count.min(until) - from).max(0.0) * price;
        from = until;
    }
    dollars
}

fn executions(models: f64) -> f64 {
    models * MONITORS * EXECUTIONS
}

fn custom_metrics(models: f64) -> f64 {
    models * MONITORS * (3.0 + CHECK_TYPES + DRIFTED_FEATURES * WITH_VIOLATIONS)
}

/// Invocations that depend on the number of models, and those that do not.
fn invocations(models: f64) -> f64 {
    executions(models) * EVENTS_AN_EXECUTION
        + models * INCIDENTS * EVENTS_AN_INCIDENT
        + SWEEPS
        + MINUTES
        + MINUTES / 5.0
}

fn seconds(models: f64) -> f64 {
    executions(models) * EVENTS_AN_EXECUTION * INGEST_SECONDS
        + models * INCIDENTS * EVENTS_AN_INCIDENT * INGEST_SECONDS
        + SWEEPS * models * MONITORS * SWEEP_SECONDS
        + (MINUTES + MINUTES / 5.0) * TICK_SECONDS
}

const LINES: [Line; 12] = [
    Line {
        what: "custom metrics",
        how: "models × 2 × (3 + 2 check types + 5 features × 2 %) metrics; tiers of $0.30, $0.10, $0.05",
        dollars: |models| metrics_for(custom_metrics(models)),
    },
    Line {
        what: "PutMetricData",
        how: "1 request an execution × $0.01 a thousand",
        dollars: |models| executions(models) * METRIC_REQUEST,
    },
    Line {
        what: "Lambda, requests",
        how: "1.5 an execution, 20 an incident, sweeps (2,918), ticks of promote (43,776) and of analyze (8,755), × $0.20 a million",
        dollars: |models| invocations(models) * LAMBDA_REQUEST,
    },
    Line {
        what: "Lambda, duration",
        how: "0.2 s an event, 0.019 s a monitor and sweep, 0.1 s a tick, × 0.25 GB × $0.0000133334",
        dollars: |models| seconds(models) * MEMORY_GB * LAMBDA_GB_SECOND,
    },
    Line {
        what: "S3, reads",
        how: "3 an event; 3 a monitor and 2 a model in each of 2,918 sweeps; × $0.0004 a thousand",
        dollars: |models| {
            let swept = SWEEPS * models * (MONITORS * GETS_A_SWEPT_MONITOR + GETS_A_SWEPT_MODEL);
            (executions(models) * EVENTS_AN_EXECUTION * GETS_AN_EVENT + swept) * S3_GET
        },
    },
    Line {
        what: "S3, writes and lists",
        how: "2 an execution, 40 an incident; a list a minute (promote) and three a sweep; × $0.005 a thousand",
        dollars: |models| {
            let writes = executions(models) * PUTS_AN_EXECUTION + models * INCIDENTS * EVENTS_AN_INCIDENT * 2.0;
            (writes + MINUTES + SWEEPS * 3.0) * S3_PUT
        },
    },
    Line {
        what: "EventBridge",
        how: "4 objects an execution (S3's events are paid for), 20 an incident, × $1.00 a million; SageMaker's are free",
        dollars: |models| (executions(models) * OBJECTS_A_REPORT + models * INCIDENTS * EVENTS_AN_INCIDENT) * EVENT,
    },
    Line {
        what: "logs",
        how: "1.5 kB an invocation × $0.50 a GB",
        dollars: |models| invocations(models) * LOG_GB_AN_INVOCATION * LOG_GB,
    },
    Line {
        what: "alarms",
        how: "15 × $0.10",
        dollars: |_| 15.0 * ALARM,
    },
    Line {
        what: "CloudWatch dashboard",
        how: "1 × $3.00",
        dollars: |_| DASHBOARD,
    },
    Line {
        what: "metrics of the functions",
        how: "7 functions × (5 + 4 outcomes) × $0.30; FunctionMetrics=off: none",
        dollars: |_| 63.0 * 0.30,
    },
    Line {
        what: "pages of the dashboard",
        how: "each hour and model: 8 metrics asked, 12 reads, 2 writes, 0.05 s × 0.5 GB; by DashboardRate",
        dollars: |models| {
            let page = 8.0 * METRIC_ASKED + 12.0 * S3_GET + 2.0 * S3_PUT + 0.05 * 0.5 * LAMBDA_GB_SECOND;
            models * EXECUTIONS * page
        },
    },
];

/// Dollars as people read them.
fn dollars(amount: f64) -> String {
    let cents = format!("{amount:.2}");
    let (whole, cents) = cents.split_once('.').unwrap();
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{cents}")
}

#[test]
fn the_table_of_costs_is_computed() {
    let sizes = [5.0, 100.0, 1_000.0, 5_000.0];
    let mut page =
        "| dollars a month | 5 models | 100 | 1,000 | 5,000 | how |\n| --- | ---: | ---: | ---: | ---: | --- |\n"
            .to_owned();
    for line in &LINES {
        let amounts: Vec<String> = sizes.iter().map(|models| dollars((line.dollars)(*models))).collect();
        writeln!(page, "| {} | {} | {} |", line.what, amounts.join(" | "), line.how).unwrap();
    }
    let sum = |models: f64| LINES.iter().map(|line| (line.dollars)(models)).sum::<f64>();
    let sums: Vec<String> = sizes
        .iter()
        .map(|models| format!("**{}**", dollars(sum(*models))))
        .collect();
    let each: Vec<String> = sizes.iter().map(|models| dollars(sum(*models) / models)).collect();
    writeln!(page, "| **together** | {} | |", sums.join(" | ")).unwrap();
    writeln!(page, "| a model | {} | |", each.join(" | ")).unwrap();
    writeln!(
        page,
        "\nBeside it, while an experiment is open: 10 metrics × 43,776 minutes × $0.01 a thousand = ${} a month for GetMetricData.",
        dollars(METRICS_OF_AN_EXPERIMENT * MINUTES * METRIC_ASKED)
    )
    .unwrap();
    check("docs/costs.md", &page);
}
