//! Tables of `docs/reference/costs.md`. The numbers are computed from list prices, from assumptions about the models, and from what the
//! functions do. Metrics of native analyses are counted in the reports of the analyses.

use super::check;
use alerting::{
    Evidence, ExecutionEvidence, ExecutionStatus, JobEvidence, JobStatus, Monitor, MonitorLedger, MonitorRules,
    Observation, ReportEvidence,
};
use analysis::Profile;
use analyzer::{
    Object, ReadOptions, Report,
    job::{AnalysisConfig, Baseline, DataQualityJob, PredictionJob, Thresholds},
    read,
};
use jiff::{SignedDuration, Timestamp};
use machine::Caller;
use model_monitor::{ConstraintCheckType, MonitorType, Quantity, Subject, Violation, ViolationReport};
use std::{collections::BTreeSet, fmt::Write as _, io::Cursor, sync::LazyLock};

// List prices of us-east-1 in US dollars, without any free tier.
const LAMBDA_REQUEST: f64 = 0.20e-6;
/// arm64.
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
const S3_GET: f64 = 0.0004e-3;
/// PUT and LIST.
const S3_PUT: f64 = 0.005e-3;
const S3_GB_MONTH: f64 = 0.023;
const METRIC_REQUEST: f64 = 0.01e-3;
/// `GetMetricData`, per metric.
const METRIC_QUERY: f64 = 0.01e-3;
/// Custom metrics per month: upper bound of each tier, and price per metric.
const METRIC_TIERS: [(f64, f64); 4] = [
    (10_000.0, 0.30),
    (250_000.0, 0.10),
    (1_000_000.0, 0.05),
    (f64::INFINITY, 0.02),
];
const EVENT: f64 = 1.0e-6;
const LOG_GB: f64 = 0.50;
const ALARM: f64 = 0.10;
const DASHBOARD: f64 = 3.00;

// Assumptions about the models.
const MONITORS: f64 = 2.0;
const EXECUTIONS: f64 = 730.0;
const WITH_VIOLATIONS: f64 = 0.02;
const CHECK_TYPES: f64 = 2.0;
const DRIFTED_FEATURES: f64 = 5.0;
const INCIDENTS: f64 = 1.0;
/// Model Monitor lists each feature that drifted.
const VIOLATIONS_PER_REPORT: u32 = 5;

// What the functions do.
const MEMORY_GB: f64 = 0.25;
const INGEST_SECONDS: f64 = 0.2;
/// The event of the job, and for one of two monitors that of a merge job or of a report.
const EVENTS_PER_EXECUTION: f64 = 1.5;
/// Policy, ledger, report.
const GETS_PER_EVENT: f64 = 3.0;
/// The ledger with its pending effects, and again when they are settled.
const PUTS_PER_EXECUTION: f64 = 2.0;
/// Report, statistics, constraints, and one more: each is an event of the bucket.
const OBJECTS_PER_REPORT: f64 = 4.0;
const SWEEPS: f64 = 30.4 * 24.0 * 4.0;
/// Duration of a sweep per monitor; eight run at the same time.
const SWEEP_SECONDS: f64 = 0.15 / 8.0;
/// Per monitor that has changed the ledger, its model, and the policy.
const GETS_PER_SWEPT_MONITOR: f64 = 3.0;
/// Twice an hour: after an execution was recorded, and when the next one is due.
const SHARE_OF_SWEPT_MONITORS: f64 = 0.5;
/// Of ledgers, baselines, and twice of models; a list has 1,000 keys.
const LISTS_PER_SWEEP: f64 = 4.0;
const KEYS_PER_LIST: f64 = 1000.0;
/// Events of remediate, promote, and notify together.
const EVENTS_PER_INCIDENT: f64 = 20.0;
const MINUTES: f64 = 30.4 * 24.0 * 60.0;
const TICK_SECONDS: f64 = 0.1;
/// Events of an incident, and of the health of monitors, that change a page.
const PAGE_CHANGES_PER_MODEL: f64 = 20.0;
/// Per rendered page: page, values, documents of the model and its experiments, two ledgers, two baselines, and four report files.
const GETS_PER_PAGE: f64 = 12.0;
const PAGE_SECONDS: f64 = 0.05;
const DASHBOARD_GB: f64 = 0.5;
/// Reading, rendering, and writing the entry of a model in the summaries and on the overview.
const SUMMARY_SECONDS: f64 = 0.0002;
/// Start, end, and report of an invocation, and one or two lines of the function.
const LOG_GB_PER_INVOCATION: f64 = 1.5e-6;
const METRICS_PER_EXPERIMENT: f64 = 10.0;

/// `MonitorVersionDays`, in months.
const MONITOR_VERSION_MONTHS: f64 = 30.0 / 30.4;
/// `StateVersionDays`, in months.
const STATE_VERSION_MONTHS: f64 = 12.0;
/// The document of a model with an incident, and the document of its notifications.
const MODEL_BYTES: f64 = 40e3;
/// A decision with its alerts, or a record of another event.
const AUDIT_BYTES: f64 = 8e3;
/// `AuditDays`, in months.
const AUDIT_MONTHS: f64 = 120.0;

/// Bytes that an execution writes to the document of its monitor, on average: with the pending effects, and again when they are settled.
static LEDGER_BYTES: LazyLock<f64> = LazyLock::new(|| {
    let hour = |n: i64| "2026-09-21T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(n);
    let monitor = Monitor {
        schedule: "churn-data-quality".to_owned(),
        endpoint: Some("churn-endpoint".to_owned()),
        model: "churn".to_owned(),
        monitor_type: Some(MonitorType::DataQuality),
    };
    let rules = MonitorRules::default();
    let mut ledger = MonitorLedger::new(monitor.clone());
    let size = |ledger: &MonitorLedger| serde_json::to_vec(ledger).unwrap().len();
    let (mut bytes, mut executions) = (0, 0_u32);
    for at in 0..1000 {
        let observation = Observation {
            monitor: monitor.clone(),
            scheduled_time: hour(at),
            evidence: if at % 50 == 0 {
                violating(hour(at))
            } else {
                clean(hour(at))
            },
        };
        let caller = Caller::new(
            "5b1e8d2c-8f0a-4a57-9d1f-2f6a7c0b9e11",
            hour(at) + SignedDuration::from_mins(14),
        );
        ledger.record(observation, &rules, &caller);
        let pending = size(&ledger);
        let ids: Vec<String> = ledger.outbox.entries().iter().map(|entry| entry.id.clone()).collect();
        for id in ids {
            ledger.outbox.settle(&id);
        }
        // The ledger is full.
        if at >= 500 {
            bytes += pending + size(&ledger);
            executions += 1;
        }
    }
    f64::from(u32::try_from(bytes).unwrap()) / f64::from(executions)
});

fn clean(at: Timestamp) -> Evidence {
    Evidence {
        execution: Some(ExecutionEvidence {
            status: ExecutionStatus::Completed,
            reason: None,
            last_modified: at,
        }),
        ..Evidence::default()
    }
}

fn violating(at: Timestamp) -> Evidence {
    let violations = (0..VIOLATIONS_PER_REPORT).map(|n| Violation {
        subject: Subject::Feature(format!("customer_service_calls_{n}")),
        check_type: ConstraintCheckType::new("baseline_drift_check"),
        observed: Some(Quantity::Number(0.4172)),
        threshold: Some(Quantity::Number(0.1)),
        description: Some("Baseline drift distance: 0.4172 exceeds threshold: 0.1".to_owned()),
        extra: serde_json::Map::new(),
    });
    let report = ViolationReport {
        version: None,
        monitor_type: None,
        violations: violations.collect(),
        extra: serde_json::Map::new(),
    };
    let uri = format!(
        "s3://reports/churn-endpoint/churn-data-quality/{}/constraint_violations.json",
        at.strftime("%Y/%m/%d/%H")
    );
    Evidence {
        report: Some(ReportEvidence::new(
            uri,
            "\"8c6d3bd9b2f2f0b6a1a1b1f9a6d8e21c\"".to_owned(),
            at,
            &report,
            20,
        )),
        job: Some(JobEvidence {
            processing_job_arn:
                "arn:aws:sagemaker:us-east-1:111122223333:processing-job/data-quality-202609210000-2f3a9c5b7d1e2f4a"
                    .to_owned(),
            status: JobStatus::Completed,
            violations: Some(VIOLATIONS_PER_REPORT.into()),
            reason: Some("CompletedWithViolations: Job completed successfully with 5 violations.".to_owned()),
            ended_at: at,
        }),
        execution: None,
    }
}

struct CostLine {
    item: &'static str,
    formula: &'static str,
    dollars: fn(f64) -> f64,
}

/// Text that stands for the average number of bytes in a formula.
const LEDGER_SIZE: &str = "{ledger}";

/// Price of that number of custom metrics per month.
fn metric_price(count: f64) -> f64 {
    let mut from = 0.0;
    let mut dollars = 0.0;
    for (upper, price) in METRIC_TIERS {
        dollars += (count.min(upper) - from).max(0.0) * price;
        from = upper;
    }
    dollars
}

fn executions(models: f64) -> f64 {
    models * MONITORS * EXECUTIONS
}

fn custom_metrics(models: f64) -> f64 {
    models * MONITORS * (3.0 + CHECK_TYPES + DRIFTED_FEATURES * WITH_VIOLATIONS)
}

/// Invocations per month: those that depend on the number of models, and scheduled ones.
fn invocations(models: f64) -> f64 {
    executions(models) * EVENTS_PER_EXECUTION
        + models * INCIDENTS * EVENTS_PER_INCIDENT
        + SWEEPS
        + MINUTES
        + MINUTES / 5.0
}

fn seconds(models: f64) -> f64 {
    executions(models) * EVENTS_PER_EXECUTION * INGEST_SECONDS
        + models * INCIDENTS * EVENTS_PER_INCIDENT * INGEST_SECONDS
        + SWEEPS * models * MONITORS * SWEEP_SECONDS
        + (MINUTES + MINUTES / 5.0) * TICK_SECONDS
}

const LINES: [CostLine; 14] = [
    CostLine {
        item: "custom metrics",
        formula: "models × 2 × (3 + 2 check types + 5 features × 2%) metrics; tiers of $0.30, $0.10, $0.05",
        dollars: |models| metric_price(custom_metrics(models)),
    },
    CostLine {
        item: "PutMetricData",
        formula: "1 request per execution × $0.01 per 1,000",
        dollars: |models| executions(models) * METRIC_REQUEST,
    },
    CostLine {
        item: "Lambda, requests",
        formula: "1.5 per execution, 20 per incident, sweeps (2,918), ticks of promote (43,776) and analyze (8,755), × $0.20 per million",
        dollars: |models| invocations(models) * LAMBDA_REQUEST,
    },
    CostLine {
        item: "Lambda, duration",
        formula: "0.2 s per event, 0.019 s per monitor and sweep, 0.1 s per tick, × 0.25 GB × $0.0000133334",
        dollars: |models| seconds(models) * MEMORY_GB * LAMBDA_GB_SECOND,
    },
    CostLine {
        item: "S3, reads",
        formula: "3 per event; 3 per monitor in half of 2,918 sweeps; × $0.0004 per 1,000",
        dollars: |models| {
            let swept = SWEEPS * SHARE_OF_SWEPT_MONITORS * models * MONITORS * GETS_PER_SWEPT_MONITOR;
            (executions(models) * EVENTS_PER_EXECUTION * GETS_PER_EVENT + swept) * S3_GET
        },
    },
    CostLine {
        item: "S3, writes and lists",
        formula: "2 per execution, 40 per incident; one list per minute (promote) and four per sweep, each of 1,000 keys; × $0.005 per 1,000",
        dollars: |models| {
            let writes = executions(models) * PUTS_PER_EXECUTION + models * INCIDENTS * EVENTS_PER_INCIDENT * 2.0;
            let lists = SWEEPS * LISTS_PER_SWEEP * (models / KEYS_PER_LIST).max(1.0);
            (writes + MINUTES + lists) * S3_PUT
        },
    },
    CostLine {
        item: "S3, storage",
        formula: "{ledger} per execution, kept for 30 days (MonitorVersionDays); per incident 40 versions of 40 kB for a year (StateVersionDays) and 20 records of 8 kB for ten years (AuditDays), as after that time; × $0.023 per GB",
        dollars: |models| {
            let monitors = executions(models) * *LEDGER_BYTES * MONITOR_VERSION_MONTHS;
            let events = models * INCIDENTS * EVENTS_PER_INCIDENT;
            let of_models = events * (2.0 * MODEL_BYTES * STATE_VERSION_MONTHS + AUDIT_BYTES * AUDIT_MONTHS);
            (monitors + of_models) / 1e9 * S3_GB_MONTH
        },
    },
    CostLine {
        item: "EventBridge",
        formula: "4 objects per execution (events of S3 are billed), 20 per incident, × $1.00 per million; SageMaker's events are free",
        dollars: |models| (executions(models) * OBJECTS_PER_REPORT + models * INCIDENTS * EVENTS_PER_INCIDENT) * EVENT,
    },
    CostLine {
        item: "logs",
        formula: "1.5 kB per invocation × $0.50 per GB",
        dollars: |models| invocations(models) * LOG_GB_PER_INVOCATION * LOG_GB,
    },
    CostLine {
        item: "alarms",
        formula: "17 × $0.10",
        dollars: |_| 17.0 * ALARM,
    },
    CostLine {
        item: "CloudWatch dashboard",
        formula: "1 × $3.00",
        dollars: |_| DASHBOARD,
    },
    CostLine {
        item: "metrics of the functions",
        formula: "7 functions that run every hour × (5 + 4 outcomes) × $0.30; FunctionMetrics=off: none",
        dollars: |_| 63.0 * 0.30,
    },
    CostLine {
        item: "dashboard pages, hourly",
        formula: "per hour and model: 8 metric queries, 12 reads, 2 writes, 0.05 s × 0.5 GB; by DashboardRate",
        dollars: |models| {
            let rebuilt = GETS_PER_PAGE * S3_GET + 2.0 * S3_PUT + PAGE_SECONDS * DASHBOARD_GB * LAMBDA_GB_SECOND;
            models * EXECUTIONS * (8.0 * METRIC_QUERY + rebuilt)
        },
    },
    CostLine {
        item: "dashboard pages, events",
        formula: "every minute: 1 invocation of 0.1 s, 1 list; per event (20 per model): 1 invocation, 1 mark, 1 page; per minute with events: 10 more requests, 0.2 ms per model",
        dollars: |models| {
            let changes = models * PAGE_CHANGES_PER_MODEL;
            let busy = MINUTES.min(changes);
            let second = DASHBOARD_GB * LAMBDA_GB_SECOND;
            let invocation = LAMBDA_REQUEST + LOG_GB_PER_INVOCATION * LOG_GB + TICK_SECONDS * second;
            let idle = MINUTES * (invocation + S3_PUT);
            let page = GETS_PER_PAGE * S3_GET + S3_PUT + PAGE_SECONDS * second;
            // Two more lists; the claim, its release, the summaries, and the overview are written. All but the release are read
            // before, and the policy is.
            let overview = (2.0 + 4.0) * S3_PUT + 4.0 * S3_GET + models * SUMMARY_SECONDS * second;
            idle + changes * (invocation + S3_PUT + page) + busy * overview
        },
    },
];

/// Dollars with two decimals and thousands separators.
fn dollars(amount: f64) -> String {
    let cents = format!("{amount:.2}");
    let (whole, cents) = cents.split_once('.').unwrap();
    let whole: u64 = whole.parse().unwrap();
    format!("{}.{cents}", text::integer(whole))
}

/// A dataset of `numeric` numeric columns and `categorical` string columns. `shift` moves the values.
fn rows(numeric: usize, categorical: usize, shift: usize) -> String {
    let numbers = (0..numeric).map(|column| format!("n{column}"));
    let strings = (0..categorical).map(|column| format!("s{column}"));
    let mut csv = numbers.chain(strings).collect::<Vec<_>>().join(",");
    for row in 0..200 {
        let value = (row * 79 + shift) % 200;
        let numbers = (0..numeric).map(|_| format!("{value}.5"));
        let letter = char::from(b'a' + u8::try_from(value % 4).unwrap());
        let strings = (0..categorical).map(|_| letter.to_string());
        write!(csv, "\n{}", numbers.chain(strings).collect::<Vec<_>>().join(",")).unwrap();
    }
    csv
}

fn object(csv: String) -> Vec<Object> {
    vec![Object::stream("rows.csv", None, move || Ok(Box::new(Cursor::new(csv))))]
}

fn baseline(report: &Report) -> Baseline {
    let mut baseline = Baseline::default();
    for file in report.all_files() {
        baseline.add(file.name, file.name, &file.content).unwrap();
    }
    baseline
}

/// Number of custom metrics that the analysis publishes for one monitoring schedule.
fn metric_count(report: &Report) -> usize {
    let metrics = report.metrics.iter();
    metrics
        .map(|metric| (&metric.name, &metric.dimensions))
        .collect::<BTreeSet<_>>()
        .len()
}

fn data_quality_metrics(numeric: usize, categorical: usize) -> usize {
    let dataset = |shift| {
        read(
            object(rows(numeric, categorical, shift)),
            &ReadOptions::default(),
            Profile::default,
        )
        .unwrap()
    };
    let job = DataQualityJob::default();
    let before = job.baseline(&dataset(0)).unwrap();
    let (report, _) = job.analyze(&dataset(50), &baseline(&before)).unwrap();
    metric_count(&report)
}

fn prediction_metrics(monitor_type: MonitorType, config: &str, csv: &str) -> usize {
    let config = AnalysisConfig::parse("analysis_config.json", config.as_bytes()).unwrap();
    let job = PredictionJob::new(monitor_type, Some(config)).unwrap();
    let mut options = ReadOptions::default();
    job.prepare(&mut options);
    let dataset = || read(object(csv.to_owned()), &options, job.tables()).unwrap();
    let before = job.baseline(&dataset(), None, None, Thresholds::default()).unwrap();
    let report = job.analyze(&dataset(), None, &baseline(&before), None).unwrap();
    metric_count(&report)
}

/// Rows of a label, a prediction, its probability, and a facet.
fn predictions(label: impl Fn(usize) -> String) -> String {
    let mut csv = "truth,prediction,score,sex".to_owned();
    for row in 0..400 {
        let sex = if row % 3 == 0 { "f" } else { "m" };
        let score = row % 13;
        write!(csv, "\n{},{},0.{score:02},{sex}", label(row * 7 % 12), label(score)).unwrap();
    }
    csv
}

#[test]
fn native_analyses_publish_the_documented_number_of_metrics() {
    assert_eq!(
        data_quality_metrics(1, 0),
        7,
        "docs/how-to/reduce-costs.md says 7 metrics per numeric column"
    );
    assert_eq!(
        data_quality_metrics(0, 1),
        5,
        "docs/how-to/reduce-costs.md says 5 metrics per other column"
    );
}

/// Rows of the table of native analyses: what is analyzed, and its number of metrics.
fn native_analyses() -> Vec<(&'static str, usize)> {
    let binary = r#"{"problem_type": "BinaryClassification", "probability_attribute": "score",
        "probability_threshold_attribute": 0.06, "ground_truth_attribute": "truth"}"#;
    let regression =
        r#"{"problem_type": "Regression", "inference_attribute": "prediction", "ground_truth_attribute": "truth"}"#;
    let bias = r#"{"label": "truth", "label_values_or_threshold": [1], "predicted_label": "prediction",
        "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}]}"#;
    let classes = predictions(|value| (value % 2).to_string());
    let numbers = predictions(|value| format!("{value}.5"));
    vec![
        (
            "data quality, 8 numeric and 7 other columns",
            data_quality_metrics(8, 7),
        ),
        ("data quality, 50 numeric columns", data_quality_metrics(50, 0)),
        ("data quality, 200 numeric columns", data_quality_metrics(200, 0)),
        (
            "model quality, binary classification",
            prediction_metrics(MonitorType::ModelQuality, binary, &classes),
        ),
        (
            "model quality, regression",
            prediction_metrics(MonitorType::ModelQuality, regression, &numbers),
        ),
        (
            "bias, one facet with one value",
            prediction_metrics(MonitorType::ModelBias, bias, &classes),
        ),
        (
            "feature attributions, 15 columns",
            prediction_metrics(
                MonitorType::ModelExplainability,
                r#"{"methods": {"shap": {"agg_method": "mean_abs"}}}"#,
                &rows(15, 0, 0),
            ),
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "counts of metrics are small")]
fn native_table() -> String {
    let sizes = [1.0, 40.0, 1_000.0];
    let mut page = "## Native analyses\n\n\
        Custom metrics of one hourly schedule per model, in addition to the table above. Values in report files are not billed. \
        `emit_metrics` in constraints.json turns the metrics of data quality and model quality off.\n\n\
        | $ per month, one schedule per model | metrics per schedule | 1 model | 40 | 1,000 |\n| --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (analysis, metrics) in native_analyses() {
        let amounts = sizes.map(|models| dollars(metric_price(models * metrics as f64)));
        let count = text::integer(metrics as u64);
        writeln!(page, "| {analysis} | {count} | {} |", amounts.join(" | ")).unwrap();
    }
    page + "\nPrices are those of each row alone. The tiers apply to all metrics of the account, so further metrics cost less. A daily schedule costs \
        about 1/24. Driftwarden's own metrics of these schedules are in the table above.\n"
}

#[test]
fn cost_tables_are_computed() {
    let sizes = [5.0, 100.0, 1_000.0, 5_000.0];
    let mut page = "## All models\n\n\
        | $ per month | 5 models | 100 | 1,000 | 5,000 | formula |\n| --- | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    for line in &LINES {
        let amounts: Vec<String> = sizes.iter().map(|models| dollars((line.dollars)(*models))).collect();
        let formula = line
            .formula
            .replace(LEDGER_SIZE, &format!("{:.0} kB", *LEDGER_BYTES / 1e3));
        writeln!(page, "| {} | {} | {formula} |", line.item, amounts.join(" | ")).unwrap();
    }
    let sum = |models: f64| LINES.iter().map(|line| (line.dollars)(models)).sum::<f64>();
    let sums: Vec<String> = sizes
        .iter()
        .map(|models| format!("**{}**", dollars(sum(*models))))
        .collect();
    let each: Vec<String> = sizes.iter().map(|models| dollars(sum(*models) / models)).collect();
    writeln!(page, "| **total** | {} | |", sums.join(" | ")).unwrap();
    writeln!(page, "| per model | {} | |", each.join(" | ")).unwrap();
    writeln!(
        page,
        "\nWhile an experiment is open, in addition: 10 metrics × 43,776 minutes × $0.01 per 1,000 = ${} per month for GetMetricData.\n",
        dollars(METRICS_PER_EXPERIMENT * MINUTES * METRIC_QUERY)
    )
    .unwrap();
    page += &native_table();
    check("docs/reference/costs.md", &page);
}
