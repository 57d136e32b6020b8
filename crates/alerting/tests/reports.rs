//! From a violation report to the datapoint, the policy's rules, and the event.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use alerting::{
    AlertStateChange, AlertWindow, Datapoint, DatapointState, Evidence, ExecutionWindow, JobEvidence, JobStatus,
    Monitor, MonitorLedger, MonitorRules, Pattern, Period, REPORTED_VIOLATIONS, ReportEvidence, SUMMARIZED_VIOLATIONS,
    Severity, ViolationFacts, ViolationRule, ViolationSummary,
};
use jiff::Timestamp;
use model_monitor::{ConstraintCheckType, Quantity, Subject, Violation, ViolationReport};
use std::collections::BTreeMap;

const TIME: Timestamp = Timestamp::constant(1_790_000_400, 0);

fn feature(name: &str) -> Subject {
    Subject::Feature(name.into())
}

fn violation(subject: Subject, check_type: &str, observed: f64, threshold: f64) -> Violation {
    Violation {
        subject,
        check_type: ConstraintCheckType::new(check_type),
        observed: Some(Quantity::Number(observed)),
        threshold: Some(Quantity::Number(threshold)),
        description: None,
        extra: serde_json::Map::new(),
    }
}

fn drift(name: &str, observed: f64, threshold: f64) -> Violation {
    violation(feature(name), "baseline_drift_check", observed, threshold)
}

fn evidence_with(violations: Vec<Violation>, top: usize) -> ReportEvidence {
    let report = ViolationReport {
        version: None,
        monitor_type: None,
        violations,
        extra: serde_json::Map::new(),
    };
    ReportEvidence::new("s3://reports/churn.json".into(), "\"1\"".into(), TIME, &report, top)
}

fn evidence(violations: Vec<Violation>) -> ReportEvidence {
    evidence_with(violations, REPORTED_VIOLATIONS)
}

fn datapoint(report: ReportEvidence) -> Datapoint {
    Datapoint {
        scheduled_time: TIME,
        evidence: Evidence {
            report: Some(report),
            ..Evidence::default()
        },
    }
}

fn rules(violations: Vec<ViolationRule>) -> MonitorRules {
    MonitorRules {
        violations,
        ..MonitorRules::default()
    }
}

/// A rule that counts what matches, as critical.
fn critical() -> ViolationRule {
    ViolationRule {
        severity: Severity::Critical,
        counts: true,
        ..ViolationRule::default()
    }
}

/// A rule that ignores what matches.
fn ignored() -> ViolationRule {
    ViolationRule::default()
}

fn exceedances(report: &ReportEvidence) -> Vec<Option<f64>> {
    let top = report
        .top
        .iter()
        .map(|violation| ViolationFacts::from(violation).exceedance);
    top.chain(report.rest.iter().map(|brief| brief.exceedance)).collect()
}

/// The event of a monitor whose first execution has this report.
fn event(report: ReportEvidence, rules: &MonitorRules) -> AlertStateChange {
    let mut ledger = MonitorLedger::new(Monitor {
        schedule: "Churn-DQ".into(),
        endpoint: Some("churn".into()),
        model: "churn".into(),
        monitor_type: None,
    });
    let evidence = datapoint(report).evidence;
    *ledger.replay(TIME, evidence, rules, TIME).unwrap()
}

#[test]
fn violations_are_ranked_by_distance_relative_to_threshold() {
    let report = evidence(vec![
        drift("twice", 0.2, 0.1),
        drift("six_times", 3.0, 0.5),
        drift("half", 0.5, 1.0),
        drift("quarter_below", -3.0, -4.0),
    ]);
    let names: Vec<&str> = report.top.iter().map(|violation| violation.subject.as_str()).collect();
    assert_eq!(names, ["six_times", "twice", "half", "quarter_below"]);
    assert_eq!(exceedances(&report), [Some(5.0), Some(1.0), Some(0.5), Some(0.25)]);
}

#[test]
fn distance_is_absolute_if_threshold_is_zero() {
    let report = evidence(vec![drift("bias", -0.3, 0.0)]);
    assert_eq!(exceedances(&report), [Some(0.3)]);
}

#[test]
fn violations_without_numbers_come_last_in_report_order() {
    let unknown = |name: &str, observed: Option<Quantity>, threshold: Option<Quantity>| Violation {
        observed,
        threshold,
        ..drift(name, 0.0, 0.0)
    };
    let number = || Some(Quantity::Number(1.0));
    let report = evidence(vec![
        unknown("no_threshold", number(), None),
        unknown("no_value", None, number()),
        unknown("text", Some(Quantity::Text("Integral".into())), number()),
        unknown("not_a_number", Some(Quantity::Number(f64::NAN)), number()),
        drift("at_threshold", 0.1, 0.1),
    ]);
    let names: Vec<&str> = report.top.iter().map(|violation| violation.subject.as_str()).collect();
    assert_eq!(
        names,
        ["at_threshold", "no_threshold", "no_value", "text", "not_a_number"]
    );
    assert_eq!(exceedances(&report), [Some(0.0), None, None, None, None]);
}

#[test]
fn large_reports_are_kept_in_three_tiers() {
    let number = |at: usize| f64::from(u32::try_from(at).unwrap());
    let violations = (0..250).map(|at| drift(&format!("f{at}"), 1000.0 - number(at), 1.0));
    let report = evidence(violations.collect());
    assert_eq!(report.violations, 250);
    assert_eq!((report.top.len(), report.rest.len()), (20, 180));
    assert_eq!((REPORTED_VIOLATIONS, SUMMARIZED_VIOLATIONS), (20, 180));
    assert_eq!(report.top.last().unwrap().subject, "f19");
    assert_eq!(report.rest.first().unwrap().feature.as_deref(), Some("f20"));
    assert_eq!(report.rest.last().unwrap().feature.as_deref(), Some("f199"));
    // All features beyond the first 20, also those that are only counted.
    let beyond: f64 = (20..250).map(|at| 1000.0 - number(at)).sum();
    assert_eq!(report.other_drift, Some(beyond));
}

#[test]
fn detail_limit_stays_between_setting_and_maximum() {
    let violations = |count: i32| {
        (0..count)
            .map(|at| drift(&format!("f{at}"), 2.0, 1.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(evidence_with(violations(30), 3).top.len(), 3);
    assert_eq!(evidence_with(violations(30), 100).top.len(), REPORTED_VIOLATIONS);
    assert_eq!(evidence_with(violations(3), 3).other_drift, None);
}

#[test]
fn summed_drift_ignores_infinite_values() {
    let report = evidence_with(
        vec![
            drift("worst", f64::INFINITY, 1.0),
            drift("infinite", f64::INFINITY, 2.0),
            drift("finite", 1.5, 1.0),
        ],
        1,
    );
    assert_eq!(report.other_drift, Some(1.5));
    // JSON has no infinity: a summary has the largest number instead.
    assert_eq!(exceedances(&report), [Some(f64::INFINITY), Some(f64::MAX), Some(0.5)]);
}

#[test]
fn check_types_beyond_sixteen_are_counted_together() {
    let mut violations: Vec<Violation> = (0..18)
        .map(|at| violation(feature("f"), &format!("custom_{at:02}"), 2.0, 1.0))
        .collect();
    violations.push(violation(feature("g"), "custom_03", 2.0, 1.0));
    let counts = evidence(violations).by_check_type;
    assert_eq!(counts.len(), 17);
    assert_eq!((counts["custom_03"], counts["custom_15"]), (2, 1));
    assert_eq!(counts["other"], 2);
}

#[test]
fn long_names_and_descriptions_are_cut() {
    let long = |chars: usize| "ä".repeat(chars);
    let cut = |chars: usize| format!("{}…", "ä".repeat(chars));
    let report = evidence(vec![
        Violation {
            description: Some(format!("  {}  ", long(301))),
            observed: Some(Quantity::Text(long(257))),
            ..violation(feature(&long(257)), &long(257), 1.0, 1.0)
        },
        Violation {
            description: Some(long(300)),
            ..violation(feature(&long(256)), &long(256), 1.0, 1.0)
        },
    ]);
    let [fits, too_long] = report.top.as_slice() else {
        unreachable!("two violations")
    };
    assert_eq!(too_long.subject, cut(256));
    assert_eq!(too_long.constraint_check_type, cut(256));
    assert_eq!(too_long.dimensions, BTreeMap::from([("Feature".into(), cut(256))]));
    assert_eq!(too_long.description, Some(cut(300)));
    assert_eq!(too_long.observed, Some(Quantity::Text(cut(256))));
    assert_eq!(too_long.threshold, Some(Quantity::Number(1.0)));
    assert_eq!((&fits.subject, &fits.description), (&long(256), &Some(long(300))));
    assert_eq!(fits.observed, Some(Quantity::Number(1.0)));
    assert_eq!(report.by_check_type, BTreeMap::from([(cut(256), 1), (long(256), 1)]));
}

fn subjects() -> [Subject; 5] {
    [
        feature("age"),
        Subject::Metric("auc".into()),
        Subject::Facet {
            facet: "gender".into(),
            value: "F".into(),
            metric: "DPL".into(),
        },
        Subject::Label {
            label: "label0".into(),
            metric: "shap".into(),
        },
        Subject::Unknown,
    ]
}

#[test]
fn subjects_become_cloudwatch_dimensions() {
    let report = evidence(subjects().map(|subject| violation(subject, "c", 2.0, 1.0)).into());
    let dimensions: Vec<String> = report
        .top
        .iter()
        .map(|violation| format!("{}: {:?}", violation.subject, violation.dimensions))
        .collect();
    assert_eq!(
        dimensions,
        [
            r#"age: {"Feature": "age"}"#,
            r#"auc: {"MetricName": "auc"}"#,
            r#"gender=F DPL: {"Facet": "gender", "FacetValue": "F", "MetricName": "DPL"}"#,
            r#"label0: {"Label": "label0", "MetricName": "shap"}"#,
            ": {}",
        ]
    );
}

#[test]
fn violations_of_report_have_a_maximum_size() {
    // Each control character takes six bytes of JSON.
    let long = |name: &str| "\u{1}".repeat(300) + name;
    let subject = |name: &str| Subject::Facet {
        facet: long(name),
        value: long(name),
        metric: long(name),
    };
    let mut violations = vec![violation(subject("a"), &long("c"), 9.0, 1.0); 2];
    violations.extend((0..240).map(|at| drift(&format!("customer_service_calls_number_{at:03}"), 2.0, 1.0)));
    for top in [2, 10] {
        let report = evidence_with(violations.clone(), top);
        assert_eq!(report.top.len(), top);
        assert!(
            report.rest.len() < SUMMARIZED_VIOLATIONS,
            "{} summaries",
            report.rest.len()
        );
        let [top, rest] = [serde_json::to_string(&report.top), serde_json::to_string(&report.rest)].map(Result::unwrap);
        let size = top.len() + rest.len() - "[][]".len();
        assert!((31_880..=32_000).contains(&size), "{size} bytes");
    }
}

#[test]
fn violations_in_exit_message_only_count_as_warnings() {
    let mut datapoint = datapoint(evidence(Vec::new()));
    datapoint.evidence.job = Some(JobEvidence {
        processing_job_arn: "arn:aws:sagemaker:us-east-1:111122223333:processing-job/1".into(),
        status: JobStatus::Completed,
        violations: Some(9),
        reason: None,
        ended_at: TIME,
    });
    // No rule can match violations that are not listed.
    for rules in [rules(vec![ignored()]), rules(vec![critical()]), rules(Vec::new())] {
        assert_eq!(rules.severity(&datapoint), Some(Severity::Warning));
        assert_eq!(rules.judge(&datapoint), Period::Breaching);
    }
}

#[test]
fn details_and_summaries_give_rules_the_same_facts() {
    let violations = || subjects().map(|subject| violation(subject, "c", 3.0, 1.0)).to_vec();
    let (detailed, brief) = (evidence(violations()), evidence_with(violations(), 0));
    let detailed: Vec<ViolationFacts<'_>> = detailed.top.iter().map(ViolationFacts::from).collect();
    let brief: Vec<ViolationFacts<'_>> = brief.rest.iter().map(ViolationSummary::facts).collect();
    assert_eq!(detailed, brief);
    let facts = |feature, metric, facet| ViolationFacts {
        check_type: "c",
        feature,
        metric,
        facet,
        exceedance: Some(2.0),
    };
    assert_eq!(
        brief,
        [
            facts(Some("age"), None, None),
            facts(None, Some("auc"), None),
            facts(None, Some("DPL"), Some("gender")),
            facts(None, Some("shap"), None),
            facts(None, None, None),
        ]
    );
}

#[test]
fn values_are_described_with_threshold_if_known() {
    let described = |observed: Option<f64>, threshold: Option<f64>| {
        let report = evidence(vec![Violation {
            observed: observed.map(Quantity::Number),
            threshold: threshold.map(Quantity::Number),
            ..drift("f", 0.0, 0.0)
        }]);
        report.top.first().unwrap().values()
    };
    assert_eq!(described(Some(0.27), Some(0.1)).unwrap(), "0.27 (threshold 0.1)");
    assert_eq!(described(Some(0.27), None).unwrap(), "0.27");
    assert_eq!(described(None, Some(0.1)), None);
}

#[test]
fn small_exceedance_does_not_breach() {
    let minimum = |minimum_exceedance| {
        rules(vec![ViolationRule {
            minimum_exceedance,
            ..critical()
        }])
    };
    // 50% beyond its threshold.
    let datapoint = datapoint(evidence(vec![drift("age", 0.75, 0.5)]));
    assert_eq!(minimum(0.5).judge(&datapoint), Period::Breaching);
    assert_eq!(minimum(0.51).judge(&datapoint), Period::NotBreaching);
    assert_eq!(minimum(0.5).severity(&datapoint), Some(Severity::Critical));
    assert_eq!(minimum(0.51).severity(&datapoint), None);
}

#[test]
fn unknown_exceedance_breaches_despite_minimum() {
    let rules = rules(vec![ViolationRule {
        minimum_exceedance: f64::MAX,
        ..critical()
    }]);
    let violation = Violation {
        observed: None,
        ..drift("age", 0.0, 0.1)
    };
    assert_eq!(rules.judge(&datapoint(evidence(vec![violation]))), Period::Breaching);
}

#[test]
fn rule_applies_if_all_its_patterns_match() {
    let pattern = |text: &str| Some(Pattern::new(text));
    let facts = ViolationFacts {
        check_type: "bias_drift_check",
        feature: None,
        metric: Some("DPL"),
        facet: Some("gender"),
        exceedance: None,
    };
    let severity = |rule: ViolationRule| rules(vec![rule]).severity_of(&facts);
    let matching = ViolationRule {
        check_type: pattern("bias_*"),
        metric: pattern("DPL"),
        facet: pattern("gen*"),
        ..critical()
    };
    assert_eq!(severity(matching.clone()), Some(Severity::Critical));
    for other in [
        ViolationRule {
            check_type: pattern("baseline_*"),
            ..matching.clone()
        },
        ViolationRule {
            feature: pattern("*"),
            ..matching.clone()
        },
        ViolationRule {
            metric: pattern("CI"),
            ..matching.clone()
        },
        ViolationRule {
            facet: pattern("age"),
            ..matching.clone()
        },
    ] {
        assert_eq!(severity(other), Some(Severity::Warning), "no rule: a warning");
    }
    assert_eq!(pattern("gen*").unwrap().as_str(), "gen*");
}

#[test]
fn first_matching_rule_decides() {
    let age = |rule: ViolationRule| ViolationRule {
        feature: Some(Pattern::new("age")),
        ..rule
    };
    let datapoint = datapoint(evidence(vec![drift("age", 2.0, 1.0)]));
    let severity = |violations| rules(violations).severity(&datapoint);
    assert_eq!(severity(vec![age(ignored()), critical()]), None);
    assert_eq!(severity(vec![critical(), age(ignored())]), Some(Severity::Critical));
}

#[test]
fn datapoint_has_severity_from_worst_violation() {
    let age = |rule: ViolationRule| ViolationRule {
        feature: Some(Pattern::new("age")),
        ..rule
    };
    let with_rules = |violation: &str, rule: ViolationRule| {
        let names = ["age", violation];
        let violations = names.map(|name| drift(name, 2.0, 1.0)).to_vec();
        // Of one the details are kept, of the other a summary.
        rules(vec![rule]).severity(&datapoint(evidence_with(violations, 1)))
    };
    assert_eq!(with_rules("income", age(critical())), Some(Severity::Critical));
    assert_eq!(with_rules("income", age(ignored())), Some(Severity::Warning));
    assert_eq!(with_rules("age", age(ignored())), None);
    assert_eq!(with_rules("age", critical()), Some(Severity::Critical));
}

#[test]
fn severity_is_warning_without_rules() {
    let datapoint = datapoint(evidence(vec![drift("age", 2.0, 1.0)]));
    assert_eq!(rules(Vec::new()).severity(&datapoint), Some(Severity::Warning));
}

#[test]
fn clean_datapoint_has_no_severity() {
    let datapoint = datapoint(evidence(Vec::new()));
    assert_eq!(datapoint.state(), DatapointState::Clean);
    assert_eq!(rules(Vec::new()).severity(&datapoint), None);
    assert_eq!(rules(vec![critical()]).severity(&datapoint), None);
}

#[test]
fn violations_beyond_summaries_count_as_warnings() {
    let violations = |count: usize| (0..count).map(|_| drift("age", 2.0, 1.0)).collect::<Vec<_>>();
    let severity = |count| rules(vec![ignored()]).severity(&datapoint(evidence(violations(count))));
    assert_eq!(severity(REPORTED_VIOLATIONS + SUMMARIZED_VIOLATIONS), None);
    assert_eq!(
        severity(REPORTED_VIOLATIONS + SUMMARIZED_VIOLATIONS + 1),
        Some(Severity::Warning)
    );
}

#[test]
fn event_lists_counted_violations_and_their_check_types() {
    let report = || {
        evidence_with(
            vec![
                violation(feature("age"), "completeness_check", 4.0, 1.0),
                drift("age", 3.0, 1.0),
                violation(feature("income"), "data_type_check", 2.0, 1.0),
            ],
            2,
        )
    };
    let ignore_completeness = rules(vec![
        ViolationRule {
            check_type: Some(Pattern::new("completeness_*")),
            ..ignored()
        },
        critical(),
    ]);
    let change = event(report(), &ignore_completeness);
    let listed: Vec<&str> = change
        .violations
        .iter()
        .map(|violation| violation.constraint_check_type.as_str())
        .collect();
    assert_eq!(listed, ["baseline_drift_check"]);
    assert_eq!(change.check_types, ["baseline_drift_check", "data_type_check"]);
    assert_eq!(change.severity, Some(Severity::Critical));
    assert_eq!(change.report_uri.as_deref(), Some("s3://reports/churn.json"));
    let change = event(report(), &MonitorRules::default());
    assert_eq!(change.violations.len(), 2);
    assert_eq!(
        change.check_types,
        ["baseline_drift_check", "completeness_check", "data_type_check"]
    );
    assert_eq!(change.severity, Some(Severity::Warning));
}

#[test]
fn event_counts_window_and_datapoints() {
    let rules = MonitorRules {
        window: AlertWindow::Executions(ExecutionWindow::new(1, 3).unwrap()),
        policy_version: "0123456789ab".into(),
        ..MonitorRules::default()
    };
    let change = event(evidence(vec![drift("age", 3.0, 1.0)]), &rules);
    assert_eq!((change.datapoints_to_alert, change.evaluation_period), (1, 3));
    assert_eq!((change.breaching, change.transition), (1, 1));
    assert_eq!((change.id.as_str(), change.version.as_str()), ("alert-churn-dq-1", "1"));
    assert_eq!(change.policy_version, "0123456789ab");
    let [datapoint] = change.datapoints.as_slice() else {
        unreachable!("one datapoint")
    };
    assert_eq!(
        (datapoint.state, datapoint.violations, datapoint.report_uri.as_deref()),
        (DatapointState::Violations, Some(1), Some("s3://reports/churn.json"))
    );
}

#[test]
fn event_reports_latest_breaching_execution() {
    let rules = MonitorRules {
        window: AlertWindow::Executions(ExecutionWindow::new(1, 2).unwrap()),
        ..rules(vec![
            ViolationRule {
                feature: Some(Pattern::new("ignored")),
                ..ignored()
            },
            critical(),
        ])
    };
    let mut ledger = MonitorLedger::new(Monitor {
        schedule: "churn-dq".into(),
        endpoint: None,
        model: "churn".into(),
        monitor_type: None,
    });
    let evidence = |name: &str| {
        let report = ReportEvidence {
            uri: format!("s3://reports/{name}.json"),
            ..evidence(vec![drift(name, 2.0, 1.0)])
        };
        datapoint(report).evidence
    };
    let hour = jiff::SignedDuration::from_hours(1);
    // The later execution has violations that do not count.
    assert!(ledger.replay(TIME + hour, evidence("ignored"), &rules, TIME).is_none());
    let change = ledger.replay(TIME, evidence("age"), &rules, TIME).unwrap();
    assert_eq!(change.report_uri.as_deref(), Some("s3://reports/age.json"));
    assert_eq!((change.breaching, change.datapoints.len()), (1, 2));
    assert_eq!(change.severity, Some(Severity::Critical));
}

#[test]
fn ratio_needs_value_above_positive_threshold() {
    let ratio = |observed: f64, threshold: f64| {
        let violation = alerting::ReportedViolation {
            subject: "age".to_owned(),
            dimensions: BTreeMap::new(),
            constraint_check_type: "baseline_drift_check".to_owned(),
            observed: Some(Quantity::Number(observed)),
            threshold: Some(Quantity::Number(threshold)),
            description: None,
        };
        violation.threshold_ratio().map(text::ratio)
    };
    assert_eq!(ratio(0.4172, 0.1).as_deref(), Some("4.2×"));
    assert_eq!(ratio(5.0, 0.1).as_deref(), Some("50×"));
    assert_eq!(ratio(0.05, 0.1), None);
    assert_eq!(ratio(0.1, 0.1), None);
    assert_eq!(ratio(0.5, 0.0), None);
    assert_eq!(ratio(f64::INFINITY, 0.1), None);
}
