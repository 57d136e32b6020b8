//! Values of single settings at their limits, and what several settings say together.

use super::*;
use ::promotion::{AllocationPolicy, Assignment, GuardrailMetric, Inconclusive, Metric};
use alerting::{MaintenanceWindow, ViolationFacts};

fn parse(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap()
}

fn is_valid(text: &str) -> bool {
    Policy::parse(text.as_bytes()).is_ok()
}

#[test]
fn executions_that_verify_are_at_most_a_hundred() {
    // A monitor remembers a hundred executions: more could never be reached.
    let verify = |executions: u32| format!("[remediation]\nverify_executions = {executions}");
    assert_eq!(parse(&verify(100)).model("any").verify_executions, 100);
    assert_eq!(
        rejected(&verify(101)),
        "[remediation] verify_executions, line 2: expected a number from 0 to 100, found `101`"
    );
}

#[test]
fn comparison_needs_at_least_one_outcome() {
    assert_eq!(
        parse("[promotion]\nminimum_sample = 1").promotion("any").minimum_sample,
        1
    );
    assert_eq!(
        rejected("[promotion]\nminimum_sample = 0"),
        "[promotion] minimum_sample, line 2: expected a number of 1 or more, found `0`"
    );
}

#[test]
fn policy_has_a_maximum_size() {
    let comment = |bytes: usize| format!("#{}", "x".repeat(bytes - 1));
    assert!(is_valid(&comment(MAX_POLICY_BYTES)));
    assert_eq!(
        rejected(&comment(MAX_POLICY_BYTES + 1)),
        "the policy has 1048577 bytes; the limit is 1048576"
    );
    assert_eq!(
        Policy::parse(b"\xff").unwrap_err().to_string(),
        "the policy is not UTF-8 text"
    );
}

#[test]
fn version_is_the_start_of_the_hash() {
    // printf 'paused = true' | sha256sum | cut -c1-12
    assert_eq!(parse("paused = true").version(), "80d1fdf15320");
}

#[test]
fn durations_have_five_units_and_a_maximum() {
    let seconds = |text| duration(text).map(|duration| duration.as_secs());
    for (text, expected) in [
        ("10s", Some(10)),
        ("30m", Some(1800)),
        ("24h", Some(86_400)),
        (" 7 d ", Some(7 * 86_400)),
        ("2w", Some(14 * 86_400)),
        ("0s", Some(0)),
        ("86400s", Some(86_400)),
        ("86401s", None),
        ("5270400m", Some(3660 * 86_400)),
        ("5270401m", None),
        ("87840h", Some(3660 * 86_400)),
        ("87841h", None),
        ("3660d", Some(3660 * 86_400)),
        ("3661d", None),
        ("522w", Some(3654 * 86_400)),
        ("523w", None),
        ("9223372036854775807w", None),
        ("-1h", None),
        ("1y", None),
        ("h", None),
        ("10", None),
        ("", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn names_follow_the_rule_of_sagemaker() {
    for (name, expected) in [
        ("a", true),
        ("A-1", true),
        ("a--b", true),
        (&"x".repeat(63), true),
        (&"x".repeat(64), false),
        ("", false),
        ("-a", false),
        ("a-", false),
        ("a_b", false),
        ("é", false),
    ] {
        assert_eq!(is_name(name), expected, "{name}");
        assert_eq!(is_valid(&format!("[[model]]\nname = '{name}'")), expected, "{name}");
        assert_eq!(
            is_valid(&format!("[promotion]\nendpoint = '{name}'")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn numbers_are_valid_up_to_their_limits() {
    for (setting, valid, invalid) in [
        ("[remediation]\nclose_after", &["0", "100"][..], &["-1", "101"][..]),
        (
            "[remediation]\nretrainings_per_day",
            &["0", "4294967295"],
            &["-1", "4294967296"],
        ),
        ("[fleet]\nretrainings_at_once", &["1", "1000"], &["0", "1001"]),
        ("[fleet]\nretrainings_per_day", &["1", "10000"], &["0", "10001"]),
        ("[alert]\nunhealthy_after", &["0", "100"], &["-1", "101"]),
        ("[retraining]\ncost", &["0.0", "12.5"], &["-0.1", "inf", "nan"]),
        (
            "[[violation]]\nminimum_exceedance",
            &["0.0", "9.5"],
            &["-0.1", "inf", "nan"],
        ),
        ("[promotion]\nalpha", &["0.001", "0.999"], &["0.0", "1.0", "nan"]),
        ("[promotion]\neffect", &["0.001", "5.0"], &["0.0", "-1.0", "inf"]),
        ("[promotion]\nmargin", &["0.001"], &["0.0"]),
        (
            "[promotion]\nmetrics_period",
            &["'10s'", "'20s'", "'30s'", "'1m'", "'60s'", "'1h'"],
            &["'0s'", "'0m'", "'40s'", "'90s'", "'61m'", "'2h'"],
        ),
        ("[remediation]\ndata_within", &["'1m'", "'60s'"], &["'59s'", "'0s'"]),
        ("[remediation]\ndecide_after", &["'0s'", "'59m'"], &["'60m'", "'1h'"]),
        (
            "[promotion]\ntraffic",
            &["[0.1, 99.9]", "[5.0]"],
            &["[]", "[0.0]", "[100.0]", "[5.0, 5.0]", "[inf]"],
        ),
        (
            "[alert]\nwindow = 'time'\nevaluation_range",
            &["1", "200"],
            &["0", "201"],
        ),
    ] {
        for (values, expected) in [(valid, true), (invalid, false)] {
            for value in values {
                let text = format!("{setting} = {value}");
                assert_eq!(is_valid(&text), expected, "{text}");
            }
        }
    }
}

#[test]
fn experiment_has_at_most_fifty_steps() {
    let steps = |count: u8| {
        let shares: Vec<String> = (1..=count).map(|share| format!("{share}.0")).collect();
        is_valid(&format!("[promotion]\ntraffic = [{}]", shares.join(", ")))
    };
    assert!(steps(50) && !steps(51));
}

#[test]
fn default_durations_are_shown_as_in_the_example() {
    let shown = [0, 1, 24, 48, 49, 72, 168].map(|hours| Length::from_hours(hours).text);
    assert_eq!(shown, ["0s", "1h", "24h", "48h", "49h", "3d", "7d"]);
}

#[test]
fn names_of_enums_are_as_in_the_file() {
    use NotificationKind as Kind;
    fn name(value: impl serde::Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }
    for automation in [
        Automation::Observe,
        Automation::Suggest,
        Automation::Approve,
        Automation::Auto,
    ] {
        assert_eq!(automation.as_str(), name(automation));
    }
    for rating in [
        RiskRating::Low,
        RiskRating::Medium,
        RiskRating::High,
        RiskRating::Unknown,
    ] {
        assert_eq!(rating.as_str(), name(rating));
        assert_eq!(RiskRating::parse(&format!(" {} ", name(rating).to_uppercase())), rating);
    }
    for start in [StartKind::Pipeline, StartKind::StateMachine, StartKind::Event] {
        assert_eq!(start.as_str(), name(start));
    }
    let severities = [
        NotificationSeverity::Info,
        NotificationSeverity::Warning,
        NotificationSeverity::Critical,
    ];
    for severity in severities {
        assert_eq!(severity.as_str(), name(severity));
    }
    for kind in [
        Kind::Alert,
        Kind::Health,
        Kind::Decision,
        Kind::Retraining,
        Kind::Incident,
        Kind::Experiment,
        Kind::Baseline,
    ] {
        assert_eq!(kind.as_str(), name(kind));
    }
}

#[test]
fn pause_of_all_models_comes_before_pause_of_one() {
    let paused = |text: &str| parse(text).model("churn").paused;
    let model = |paused: bool| format!("[[model]]\nname = 'churn'\npaused = {paused}");
    assert_eq!(
        paused(&format!("paused = true\n{}", model(true))),
        Some(Paused::Globally)
    );
    assert_eq!(
        paused(&format!("paused = true\n{}", model(false))),
        Some(Paused::Globally)
    );
    assert_eq!(paused(&format!("paused = false\n{}", model(true))), Some(Paused::Model));
    assert_eq!(paused(&model(true)), Some(Paused::Model));
    assert_eq!(paused(&model(false)), None);
    assert_eq!(paused("paused = false"), None);
    assert_eq!(parse(&model(true)).model("fraud").paused, None);
}

#[test]
fn alarm_is_found_by_its_pattern() {
    let policy = parse(
        "[[alarm]]\nname = 'churn-latency'\nmodel = 'churn'\nseverity = 'critical'\n\
         [[alarm]]\nname = 'churn-*'\nmodel = 'other'\n",
    );
    let alarm = |name| policy.alarm(name).map(|alarm| (alarm.model, alarm.severity));
    assert_eq!(alarm("churn-latency"), Some(("churn".into(), Severity::Critical)));
    assert_eq!(alarm("churn-errors"), Some(("other".into(), Severity::Warning)));
    assert_eq!(alarm("fraud-latency"), None);
    assert_eq!(policy.count_monitors_and_alarms(), (0, 2));
}

#[test]
fn models_are_listed_once_in_the_order_of_tables() {
    let policy = parse(
        "[[monitor]]\nschedule = 'a'\nmodel = 'fraud'\n[[monitor]]\nschedule = 'b'\nmodel = 'churn'\n\
         [[monitor]]\nschedule = 'c'\nmodel = 'fraud'\n[[model]]\nname = 'ltv'\n[[model]]\nname = 'churn'\n",
    );
    assert_eq!(policy.models(), ["ltv", "churn", "fraud"]);
    assert_eq!(policy.count_monitors_and_alarms(), (3, 0));
}

#[test]
fn schedule_with_a_star_is_not_a_name() {
    let policy = parse("[[monitor]]\nschedule = 'churn-*'\n[[monitor]]\nmonitor_type = 'ModelBias'\n");
    assert!(!policy.has_schedule("churn-*") && !policy.has_schedule("churn-dq") && !policy.has_schedule("*"));
}

#[test]
fn monitor_table_may_be_limited_to_a_type() {
    let policy = parse(
        "[[monitor]]\nschedule = 'a*'\nmonitor_type = 'ModelBias'\nmodel = 'bias'\nalert = { unhealthy_after = 7 }\n",
    );
    let model = |schedule, monitor_type| {
        let monitor = MonitorRef {
            schedule,
            endpoint: None,
            monitor_type,
        };
        let MonitorPolicy { model, rules } = policy.monitor(&monitor);
        (model, rules.unhealthy_after)
    };
    assert_eq!(model("AB", Some("ModelBias")), ("bias".into(), 7));
    assert_eq!(model("ab", Some("DataQuality")), ("ab".into(), 3));
    assert_eq!(model("ab", None), ("ab".into(), 3));
    assert_eq!(model("b", Some("ModelBias")), ("b".into(), 3));
}

#[test]
fn treatments_are_separate_settings() {
    let rules = parse("[alert]\nno_data = 'breaching'\nfailed = 'notBreaching'\nfollow_monitoring_alert = true\n");
    let rules = rules.monitor(&monitor("any")).rules;
    assert_eq!(
        (rules.treatment.no_data, rules.treatment.failed, rules.treatment.missing),
        (
            alerting::TreatAs::Breaching,
            alerting::TreatAs::NotBreaching,
            alerting::TreatAs::Missing
        )
    );
    assert!(rules.follow_monitoring_alert);
}

#[test]
fn violation_rules_apply_to_their_monitors_only() {
    let policy = parse(
        "[[violation]]\nmodel = 'churn'\nschedule = 'Churn-*'\nmonitor_type = 'DataQuality'\nfeature = 'age'\nseverity = 'critical'\n\
         [[violation]]\nmodel = 'fraud'\ncounts = false\n",
    );
    let count = |endpoint, schedule, monitor_type| {
        let monitor = MonitorRef {
            schedule,
            endpoint,
            monitor_type,
        };
        policy.monitor(&monitor).rules.violations.len()
    };
    let quality = Some("DataQuality");
    assert_eq!(count(Some("churn"), "churn-dq", quality), 1);
    assert_eq!(count(Some("churn"), "other", quality), 0);
    assert_eq!(count(Some("churn"), "churn-dq", Some("ModelBias")), 0);
    assert_eq!(count(Some("ltv"), "churn-dq", quality), 0);
    assert_eq!(count(Some("fraud"), "any", None), 1);
    let churn = MonitorRef {
        endpoint: Some("churn"),
        ..monitor("churn-dq")
    };
    let facts = |feature| ViolationFacts {
        check_type: "baseline_drift_check",
        feature: Some(feature),
        metric: None,
        facet: None,
        exceedance: Some(0.0),
    };
    let rules = policy.monitor(&churn).rules;
    assert_eq!(rules.severity_of(&facts("age")), Some(Severity::Critical));
    assert_eq!(rules.severity_of(&facts("income")), Some(Severity::Warning));
}

#[test]
fn maintenance_windows_apply_to_their_monitors_only() {
    let policy = parse(
        "[[maintenance]]\nmodel = 'churn'\nschedule = 'Churn-*'\nstart = '2026-12-24T18:00:00Z'\nend = '2026-12-24T18:00:01Z'\n\
         [[maintenance]]\nmodel = 'fraud'\nevery = 'Sun 23:59'\nlasts = '7d'\n",
    );
    let windows = |endpoint, schedule| {
        let monitor = MonitorRef {
            schedule,
            endpoint: Some(endpoint),
            monitor_type: None,
        };
        policy.monitor(&monitor).rules.maintenance
    };
    let once = MaintenanceWindow::Once {
        start: at("2026-12-24T18:00:00Z"),
        end: at("2026-12-24T18:00:01Z"),
    };
    let weekly = MaintenanceWindow::Weekly {
        start_minute: 7 * 24 * 60 - 1,
        minutes: 7 * 24 * 60,
    };
    assert_eq!(windows("churn", "churn-dq"), [once]);
    assert_eq!(windows("churn", "other"), []);
    assert_eq!(windows("ltv", "churn-dq"), []);
    assert_eq!(windows("fraud", "any"), [weekly]);
}

#[test]
fn maintenance_window_lasts_from_a_minute_to_a_week() {
    let weekly = |lasts: &str| is_valid(&format!("[[maintenance]]\nevery = 'Mon 00:00'\nlasts = '{lasts}'"));
    assert!(weekly("1m") && weekly("60s") && weekly("7d") && weekly("10080m"));
    assert!(!weekly("59s") && !weekly("0m") && !weekly("10081m") && !weekly("8d"));
    let once = |end: &str| {
        is_valid(&format!(
            "[[maintenance]]\nstart = '2026-12-24T18:00:00Z'\nend = '{end}'"
        ))
    };
    assert!(once("2026-12-24T18:00:01Z") && !once("2026-12-24T18:00:00Z") && !once("soon"));
}

#[test]
fn times_of_day_have_two_digits_for_minutes() {
    let quiet = |text: &str| QuietHours::parse(text).is_some();
    for text in [
        "0:00-24:00",
        "23:59-00:00",
        "Mon 9:30-10:00",
        "Mon-Fri,Sun 09:30-10:00",
        "Fri-Mon 22:00-07:00",
    ] {
        assert!(quiet(text), "{text}");
    }
    for text in [
        "24:00-01:00",
        "10:00-10:00",
        "10:00-24:01",
        "10:60-11:00",
        "1:0-2:00",
        "001:00-02:00",
        "+1:00-02:00",
        "1:+0-02:00",
        "10-11",
        "Mon-Foo 22:00-23:00",
        "Mon 22:00",
        "",
    ] {
        assert!(!quiet(text), "{text}");
    }
}

#[test]
fn window_of_backtest_replaces_all_others() {
    let policy = parse(
        "[alert]\nfollow_monitoring_alert = true\n\
         [[monitor]]\nschedule = 'a'\nalert = { datapoints_to_alert = 2, evaluation_period = 9, follow_monitoring_alert = true }\n\
         [[monitor]]\nschedule = 'b'\nalert = { unhealthy_after = 5 }\n",
    );
    let changed = policy.with_window(3, 4);
    for schedule in ["a", "b", "c"] {
        assert_eq!(window(&changed, schedule), (3, 4), "{schedule}");
        assert!(!changed.monitor(&monitor(schedule)).rules.follow_monitoring_alert);
    }
    assert_eq!(changed.monitor(&monitor("b")).rules.unhealthy_after, 5);
    // A window that is not valid changes nothing.
    assert_eq!(policy.with_window(5, 4), policy);
    assert_eq!(policy.with_window(0, 4), policy);
}

#[test]
fn time_window_is_completed_by_the_table_for_all() {
    let policy = parse(
        "[alert]\nwindow = 'time'\nperiod = '1d'\nevaluation_range = 9\ntreat_missing_data = 'breaching'\n\
         [[monitor]]\nschedule = 'a'\nalert = { evaluation_period = 3, datapoints_to_alert = 2 }\n\
         [[monitor]]\nschedule = 'b'\nalert = { window = 'executions' }\n",
    );
    let AlertWindow::Time {
        window: over_time,
        period,
    } = policy.monitor(&monitor("a")).rules.window
    else {
        panic!("a window over time")
    };
    assert_eq!(period, PeriodLength::Minutes(24 * 60));
    assert_eq!((over_time.evaluation_range(), over_time.evaluation_periods()), (9, 3));
    assert_eq!(over_time.treat_missing_data(), alerting::TreatMissingData::Breaching);
    let executions = policy.monitor(&monitor("b")).rules.window;
    assert!(matches!(executions, AlertWindow::Executions(_)));
}

#[test]
fn parameters_are_names_or_templates() {
    let parameters = |text: &str| {
        parse(&format!("[retraining]\nparameters = {text}"))
            .model("any")
            .retraining
            .parameters
    };
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, template)| ((*name).to_owned(), (*template).to_owned()))
            .collect()
    };
    assert_eq!(
        parameters("['ReportUri', 'DriftwardenModel']"),
        pairs(&[("ReportUri", "{report_uri}"), ("DriftwardenModel", "{model}")])
    );
    assert_eq!(parameters("[]"), pairs(&[]));
    assert_eq!(
        parameters("{ Model-1_a = '{model} of {endpoint}{monitor_type}', Fixed = 'x}' }"),
        pairs(&[("Model-1_a", "{model} of {endpoint}{monitor_type}"), ("Fixed", "x}")])
    );
    assert_eq!(
        parse("").model("any").retraining.parameters,
        pairs(&PIPELINE_PARAMETERS)
    );
    let valid =
        |name: &str, template: &str| is_valid(&format!("[retraining]\nparameters = {{ \"{name}\" = \"{template}\" }}"));
    assert!(valid(&"x".repeat(256), "") && !valid(&"x".repeat(257), "") && !valid("", ""));
    assert!(!valid("a b", "") && !valid("a", "{model") && !valid("a", "{}") && !valid("a", "{model} {Model}"));
}

#[test]
fn state_machine_needs_its_arn() {
    let start = |text: &str| is_valid(&format!("[retraining]\nstart = {text}"));
    assert!(start(
        "'state-machine'\nstate_machine = 'arn:aws:states:us-east-1:111122223333:stateMachine:retrain'"
    ));
    assert!(!start("'state-machine'\nstate_machine = 'retrain'") && !start("'state-machine'"));
    // The setting is not used otherwise.
    assert!(start("'pipeline'\nstate_machine = 'retrain'") && start("'event'"));
    // The same for a single model.
    let model = "[[model]]\nname = 'churn'\nretraining = { start = 'state-machine' }\n";
    assert_eq!(
        rejected(model),
        "state_machine: expected the ARN of a state machine, because `start` is `state-machine`, found ``"
    );
}

#[test]
fn promotion_settings_are_converted() {
    let policy = parse(
        "[promotion]\nmode = 'shadow'\nmetric = 'absolute_error'\nmargin = 0.5\nminimum_sample = 7\nassignment = 'target-variant'\n\
         allocation = 'thompson'\ninconclusive = 'roll-back'\nunapproved = true\nalarms = ['a', 'b']\n\
         gate = { metric = '/auc', lower_is_better = true, worse_by = 0.1 }\n\
         guardrails = [{ metric = 'errors_5xx', margin = 0.02, limit = 0.5 }]\n\
         capture = { data = 's3://b/c', ground_truth = 's3://b/g', config = 's3://b/a' }\n\
         cloudwatch = { namespace = 'N', metric_name = 'M', proportion = false }\n\
         baselines = { output = 's3://b/o', training_data = 's3://b/t' }\n",
    );
    let promotion = policy.promotion("any");
    assert_eq!(
        (promotion.mode, promotion.metric),
        (Mode::Shadow, Metric::AbsoluteError)
    );
    assert_eq!((promotion.margin, promotion.minimum_sample), (Some(0.5), 7));
    assert_eq!(
        (promotion.assignment, promotion.allocation),
        (Assignment::TargetVariant, AllocationPolicy::Thompson)
    );
    assert_eq!(
        (promotion.inconclusive, promotion.unapproved),
        (Inconclusive::RollBack, true)
    );
    let gate = promotion.gate.unwrap();
    assert_eq!(
        (gate.metric.as_str(), gate.lower_is_better, gate.worse_by.to_string()),
        ("/auc", true, "0.1".into())
    );
    let guardrail = promotion.guardrails.first().unwrap();
    assert_eq!(
        (guardrail.metric, guardrail.limit, promotion.guardrails.len()),
        (GuardrailMetric::Errors5xx, Some(0.5), 1)
    );
    assert_eq!(promotion.capture.unwrap().ground_truth, "s3://b/g");
    let cloudwatch = promotion.cloudwatch.unwrap();
    assert_eq!((cloudwatch.metric_name.as_str(), cloudwatch.proportion), ("M", false));
    assert_eq!(promotion.baselines.unwrap().training_data.as_deref(), Some("s3://b/t"));
    let metric = |name: &str| {
        parse(&format!("[promotion]\nmetric = '{name}'\nlower_is_better = true"))
            .promotion("any")
            .metric
    };
    assert_eq!(
        [metric("accuracy"), metric("squared_error")],
        [Metric::Accuracy, Metric::SquaredError]
    );
    let custom = Metric::Custom {
        name: "churned".into(),
        lower_is_better: true,
    };
    assert_eq!(metric("churned"), custom);
    assert!(!is_valid("[promotion]\nmetric = ''"));
}

#[test]
fn comparison_needs_capture_or_a_custom_metric() {
    let capture = "capture = { data = 's3://b/c', ground_truth = 's3://b/g', config = 's3://b/a' }\n";
    let valid = |text: &str| is_valid(&format!("[promotion]\n{text}\n"));
    for mode in ["variants", "shadow"] {
        assert!(!valid(&format!("mode = '{mode}'")));
        assert!(valid(&format!("mode = '{mode}'\n{capture}")));
        assert!(valid(&format!("mode = '{mode}'\nmetric = 'purchases'")));
    }
    for mode in ["off", "blue-green"] {
        assert!(valid(&format!("mode = '{mode}'")));
    }
    assert!(valid("allocation = 'thompson'\nassignment = 'target-variant'"));
    assert!(valid("allocation = 'steps'\nassignment = 'weights'"));
}

#[test]
fn names_in_cloudwatch_are_ascii() {
    let valid = |name: &str| {
        is_valid(&format!(
            "[promotion]\ncloudwatch = {{ namespace = 'N', metric_name = '{name}' }}"
        ))
    };
    assert!(valid(&"x".repeat(255)) && !valid(&"x".repeat(256)));
    assert!(!valid("") && !valid(" ") && !valid("é"));
}

#[test]
fn only_models_with_experiments_are_promoted() {
    let policy = parse(
        "[promotion]\nmode = 'blue-green'\n[[model]]\nname = 'churn'\n[[model]]\nname = 'fraud'\npromotion = { mode = 'off' }\n",
    );
    let promoted: Vec<String> = policy.promoted_models().into_iter().map(|(model, _)| model).collect();
    assert_eq!(promoted, ["churn"]);
}

#[test]
fn tables_for_the_same_schedule_need_another_type() {
    assert!(is_valid(
        "[[monitor]]\nschedule = 'a'\n[[monitor]]\nschedule = 'a'\nmonitor_type = 'ModelBias'\n"
    ));
    assert_eq!(
        rejected("[[monitor]]\n[[monitor]]\nschedule = '*'"),
        "[[monitor]], line 2: `*` has more than one table"
    );
}

/// Any two or three overlapping tables, in any order, before and after the mutes.
#[test]
fn overlapping_tables_drop_no_mute() {
    const TABLES: [&str; 6] = [
        "[[monitor]]\nschedule = 'a*'\nalert = { datapoints_to_alert = 3, evaluation_period = 5 }\n",
        "[[monitor]]\nschedule = '*b'\nalert = { datapoints_to_alert = 2, evaluation_period = 3 }\n",
        "[[monitor]]\nschedule = 'ab'\nmodel = 'churn'\n",
        "[[monitor]]\nschedule = 'a*b'\nalert = { unhealthy_after = 7 }\n",
        "[[monitor]]\nmonitor_type = 'DataQuality'\nalert = { unhealthy_after = 5 }\n",
        "[[monitor]]\nalert = { evaluation_period = 4, datapoints_to_alert = 4 }\n",
    ];
    const MUTES: &str = "[[violation]]\nfeature = 'id*'\ncounts = false\n\
                         [[violation]]\nschedule = 'a*'\ncheck_type = 'completeness_check'\ncounts = false\n\
                         [[violation]]\nfeature = '*'\nseverity = 'critical'\n";
    let is_muted = |policy: &Policy, feature: &str, check_type: &str| {
        let violation = ViolationFacts {
            check_type,
            feature: Some(feature),
            metric: None,
            facet: None,
            exceedance: Some(1.0),
        };
        policy.monitor(&monitor("ab")).rules.severity_of(&violation).is_none()
    };
    let mut valid = 0;
    for tables in TABLES.iter().flat_map(|first| TABLES.map(|second| [*first, second])) {
        for third in TABLES {
            let [first, second] = tables;
            for text in [
                format!("{MUTES}{first}{second}{third}"),
                format!("{first}{second}{MUTES}{third}"),
                format!("{first}{second}{third}{MUTES}"),
            ] {
                // The same pattern twice, and ambiguous windows, are not valid.
                let Ok(policy) = Policy::parse(text.as_bytes()) else {
                    continue;
                };
                valid += 1;
                assert!(is_muted(&policy, "id_card", "baseline_drift_check"), "{text}");
                assert!(is_muted(&policy, "age", "completeness_check"), "{text}");
                assert!(!is_muted(&policy, "age", "baseline_drift_check"), "{text}");
            }
        }
    }
    assert!(valid > 100, "{valid} policies");
}
