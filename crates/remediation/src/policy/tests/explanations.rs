//! Explanations of the effective settings, places in the file, and warnings.

use super::*;

fn parse(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap()
}

/// Value and place of a setting of a model.
fn setting(text: &str, name: &str) -> Option<(String, String)> {
    let mut settings = parse(text).explain("churn", &[]).settings.into_iter();
    let setting = settings.find(|setting| setting.name == name)?;
    Some((setting.value, setting.place.unwrap_or_else(|| "default".to_owned())))
}

fn pair(value: &str, place: &str) -> (String, String) {
    (value.to_owned(), place.to_owned())
}

#[test]
fn pause_names_the_table_that_sets_it() {
    let paused = |text: &str| setting(text, "paused");
    let model = "\n[[model]]\nname = 'churn'\n";
    assert_eq!(paused(model), Some(pair("false", "default")));
    assert_eq!(
        paused(&format!("paused = false{model}")),
        Some(pair("false", "paused, line 1"))
    );
    assert_eq!(
        paused(&format!("{model}paused = true\n")),
        Some(pair("true", "[[model]] paused, line 4"))
    );
    assert_eq!(
        paused(&format!("paused = true{model}paused = false\n")),
        Some(pair("true", "paused, line 1"))
    );
    assert_eq!(
        paused(&format!("paused = false{model}paused = false\n")),
        Some(pair("false", "[[model]] paused, line 4"))
    );
}

#[test]
fn values_are_shown_as_in_the_file() {
    let text = "[retraining]\nstart = 'event'\ncost = 12.5\nparameters = ['ReportUri', 'DriftwardenModel']\n\
                [remediation]\nretrainings_per_day = 3\nfix_data_check_types = ['a', 'b']\nminimum_severity = 'critical'\n\
                [fleet]\ncommon_cause = false\n\
                [[model]]\nname = 'churn'\nmodel_card = 'card'\nrisk_rating = 'high'\n";
    for (name, value, place) in [
        ("start", "event", "[retraining] start, line 2"),
        ("cost", "12.5", "[retraining] cost, line 3"),
        (
            "parameters",
            "ReportUri, DriftwardenModel",
            "[retraining] parameters, line 4",
        ),
        ("pipeline", "the pipeline of the stack", "default"),
        ("state_machine", "none", "default"),
        ("retrainings_per_day", "3", "[remediation] retrainings_per_day, line 6"),
        (
            "fix_data_check_types",
            "a, b",
            "[remediation] fix_data_check_types, line 7",
        ),
        ("minimum_severity", "critical", "[remediation] minimum_severity, line 8"),
        ("automation", "set by the risk rating", "default"),
        ("approval_expires_after", "3d", "default"),
        ("model_card", "card", "[[model]] model_card, line 13"),
        ("risk_rating", "high", "[[model]] risk_rating, line 14"),
        ("fleet.common_cause", "false", "[fleet] common_cause, line 10"),
        ("fleet.retrainings_at_once", "5", "default"),
        ("promotion.mode", "off", "default"),
    ] {
        assert_eq!(setting(text, name), Some(pair(value, place)), "{name}");
    }
    // Without experiments, their other settings have no effect, and are not listed.
    assert_eq!(setting(text, "promotion.bake"), None);
    assert_eq!(setting("", "risk_rating"), None);
}

#[test]
fn settings_of_experiments_are_shown_if_turned_on() {
    let text = "[promotion]\nmode = 'blue-green'\ntraffic = [5.0, 50.5]\nmargin = 0.5\nmetrics_period = '5m'\nalarms = ['a', 'b']\n\
                gate = { metric = '/auc' }\nguardrails = [{ metric = 'latency_p99', margin = 0.5 }, { metric = 'errors_5xx', margin = 0.0, limit = 0.1 }]\n\
                capture = { data = 's3://b/c', ground_truth = 's3://b/g', config = 's3://b/a' }\n\
                cloudwatch = { namespace = 'N', metric_name = 'M' }\nbaselines = { output = 's3://b/o' }\n";
    for (name, value) in [
        ("mode", "blue-green"),
        ("traffic", "5, 50.5"),
        ("margin", "0.5"),
        ("metrics_period", "5m"),
        ("alarms", "a, b"),
        ("gate", "/auc"),
        ("guardrails", "latency_p99 margin 0.5; errors_5xx margin 0, limit 0.1"),
        ("capture", "s3://b/c"),
        ("cloudwatch", "N M"),
        ("baselines", "s3://b/o"),
        ("endpoint", "churn"),
        ("metric", "accuracy"),
        ("alpha", "0.05"),
        ("minimum_sample", "500"),
        ("step_lasts", "1h"),
        ("maximum_duration", "7d"),
    ] {
        let found = setting(text, &format!("promotion.{name}")).map(|(value, _)| value);
        assert_eq!(found.as_deref(), Some(value), "{name}");
    }
}

/// Each setting of the monitors of a model, as `SCHEDULE SETTING VALUE`.
fn monitor_settings(text: &str, monitors: &[MonitorRef<'_>], name: &str) -> Vec<String> {
    let monitors = parse(text).explain("churn", monitors).monitors.into_iter();
    let each = monitors.flat_map(|(schedule, settings)| {
        let named = settings.into_iter().filter(|setting| setting.name == name);
        named
            .map(|setting| format!("{schedule} {}", setting.value))
            .collect::<Vec<_>>()
    });
    each.collect()
}

#[test]
fn violation_rules_are_described() {
    let text = "[[monitor]]\nschedule = 'dq'\nmodel = 'churn'\n\
                [[violation]]\ncheck_type = 'a*'\nfeature = 'b'\nmetric = 'c'\nfacet = 'd'\ncounts = false\n\
                [[violation]]\nfeature = 'b'\nminimum_exceedance = 0.5\nseverity = 'critical'\n\
                [[violation]]\nminimum_exceedance = 0.0\n";
    assert_eq!(
        monitor_settings(text, &[], "violation"),
        [
            "dq check_type a*, feature b, metric c, facet d: ignored",
            "dq feature b: critical if at least 0.5 beyond the threshold, as a fraction of it",
            "dq all: warning",
        ]
    );
}

#[test]
fn parts_of_a_time_window_are_shown_for_time_windows_only() {
    let text = "[[monitor]]\nschedule = 'dq'\nmodel = 'churn'\nalert = { window = 'time' }\n\
                [[monitor]]\nschedule = 'mq'\nmodel = 'churn'\n";
    assert_eq!(monitor_settings(text, &[], "window"), ["dq time", "mq executions"]);
    assert_eq!(monitor_settings(text, &[], "period"), ["dq 1h"]);
    assert_eq!(monitor_settings(text, &[], "evaluation_range"), ["dq 3"]);
    assert_eq!(monitor_settings(text, &[], "unhealthy_after"), ["dq 3", "mq 3"]);
}

#[test]
fn monitors_of_other_models_are_not_explained() {
    let text = "[[monitor]]\nschedule = 'dq'\nmodel = 'churn'\n[[monitor]]\nschedule = 'other'\nmodel = 'fraud'\n\
                [[monitor]]\nschedule = 'any-*'\nmodel = 'churn'\n";
    let known = [
        MonitorRef {
            schedule: "any-1",
            endpoint: None,
            monitor_type: Some("DataQuality"),
        },
        MonitorRef {
            schedule: "DQ",
            endpoint: None,
            monitor_type: None,
        },
        MonitorRef {
            schedule: "mq",
            endpoint: Some("churn"),
            monitor_type: Some("ModelQuality"),
        },
        MonitorRef {
            schedule: "mq",
            endpoint: Some("fraud"),
            monitor_type: Some("ModelQuality"),
        },
    ];
    assert_eq!(
        monitor_settings(text, &known, "model"),
        ["any-1 churn", "DQ churn", "mq churn"]
    );
    assert_eq!(
        monitor_settings(text, &known, "monitor_type"),
        ["any-1 DataQuality", "mq ModelQuality"]
    );
    assert_eq!(monitor_settings(text, &[], "model"), ["dq churn"]);
}

#[test]
fn maintenance_windows_are_described() {
    let text = "[[monitor]]\nschedule = 'dq'\nmodel = 'churn'\n\
                [[maintenance]]\nstart = '2026-12-24T18:00:00Z'\nend = '2026-12-25T18:00:00Z'\n\
                [[maintenance]]\nevery = 'Sat 22:00'\nlasts = '6h'\n";
    assert_eq!(
        monitor_settings(text, &[], "maintenance"),
        [
            "dq from 2026-12-24T18:00:00Z to 2026-12-25T18:00:00Z",
            "dq every Sat 22:00 for 6h",
        ]
    );
}

#[test]
fn places_are_shown_as_toml() {
    let text = "paused = true\n[alert]\nunhealthy_after = 2\n\n[[model]]\nname = 'a'\n[[model]]\nname = 'b'\n\
                [model.remediation]\ncooldown = '1h'\n";
    let policy = parse(text);
    for (path, place) in [
        ("paused", "paused, line 1"),
        ("alert", "alert, line 2"),
        ("alert.unhealthy_after", "[alert] unhealthy_after, line 3"),
        ("model.0", "[[model]], line 5"),
        ("model.1.name", "[[model]] name, line 8"),
        (
            "model.1.remediation.cooldown",
            "[[model]] remediation.cooldown, line 10",
        ),
        // Of a setting that is not in the file, the place is that of its table.
        ("model.0.remediation.cooldown", "[[model]] remediation.cooldown, line 5"),
        ("alert.period", "[alert] period, line 2"),
        ("fleet.retrainings", "[fleet] retrainings"),
    ] {
        assert_eq!(policy.place(path), place, "{path}");
    }
}

#[test]
fn errors_of_the_parser_are_in_terms_of_toml() {
    for (text, error) in [
        (
            "[alert]\nunhealthy_after = 1.5",
            "[alert] unhealthy_after, line 2: expected a whole number, found floating point `1.5`",
        ),
        (
            "[alert]\nfollow_monitoring_alert = 'yes'",
            "[alert] follow_monitoring_alert, line 2: expected true or false, found string \"yes\"",
        ),
        (
            "[promotion]\nalpha = 'low'",
            "[promotion] alpha, line 2: expected a number, found string \"low\"",
        ),
        ("model = 3", "model, line 1: expected a list, found integer `3`"),
        ("[alert]\nwindow = []", "[alert] window, line 2: expected a string"),
        (
            "[remediation]\nfix_data_check_types = ['a', 3]",
            "[remediation] fix_data_check_types, line 2: expected a string, found integer `3`",
        ),
        (
            "[remediation]\ncooldown = { hours = 3 }",
            "[remediation] cooldown, line 2: expected a string, found a table",
        ),
        (
            "[[model]]\nname = 'a'\n[model.remediation]\n\ncooldwon = '1h'",
            "[[model]] remediation.cooldwon, line 5: unknown field `cooldwon`, expected one of `automation`, `cooldown`, \
             `retrainings_per_day`, `retrainings_per_month`, `approval_expires_after`, `approval_valid_for`, \
             `verify_executions`, `decide_after`, `decide_within`, `start_within`, `retraining_within`, \
             `verify_within`, `data_within`, `reopen_within`, `close_after`, `minimum_severity`, `fix_data_check_types`\ndid you mean `cooldown`?",
        ),
        (
            "[fleet]\nxyz = 1",
            "[fleet] xyz, line 2: unknown field `xyz`, expected one of `retrainings_at_once`, `retrainings_per_day`, \
             `common_cause`",
        ),
        ("a = 1\nb = = 2", "line 2, column 5: extra `=`, expected nothing"),
    ] {
        assert_eq!(rejected(text), error, "{text}");
    }
}

#[test]
fn nearest_key_differs_in_a_third_of_its_characters() {
    let hint = |key: &str| rejected(&format!("[fleet]\n{key} = 1")).contains("did you mean `common_cause`?");
    // `common_cause` has 12 characters: up to 5 may differ.
    assert!(hint("xxxxxn_cause") && !hint("xxxxxx_cause"));
    // Only of an unknown key.
    assert!(!rejected("[alert]\nwindow = 3").contains("did you mean"));
}

fn warnings(text: &str) -> Vec<String> {
    let warnings = parse(text).warnings().into_iter();
    warnings
        .map(|warning| format!("{}: {}", warning.place, warning.message))
        .collect()
}

#[test]
fn chat_services_need_another_channel() {
    let webhook = |url: &str| {
        let text = format!("[[notification]]\nto = 'webhook'\nurl = '{url}'\nsecret = 'ssm:/k'\n");
        warnings(&text)
    };
    for (url, service) in [
        ("https://hooks.slack.com/services/x", "Slack"),
        ("https://example.webhook.office.com/x", "Microsoft Teams"),
        ("https://discord.com/api/webhooks/x", "Discord"),
    ] {
        let [warning] = &webhook(url)[..] else {
            panic!("one warning about {url}")
        };
        assert!(
            warning.starts_with(&format!("[[notification]] url, line 3: {service} rejects")),
            "{warning}"
        );
    }
    assert_eq!(webhook("https://example.com/hooks.slack.com"), [""; 0]);
    // Another channel with such a URL.
    let pagerduty = "[[notification]]\nto = 'pagerduty'\nurl = 'https://discord.com/x'\nsecret = 'ssm:/k'\n";
    assert_eq!(warnings(pagerduty), [""; 0]);
}

const CHURN: &str = "[[model]]\nname = 'churn'\n[model.promotion]\n";

fn promotion_warnings(settings: &str) -> Vec<String> {
    let place = |warning: String| warning.split(": ").next().unwrap_or_default().to_owned();
    warnings(&format!("{CHURN}{settings}")).into_iter().map(place).collect()
}

#[test]
fn settings_without_effect_in_blue_green_are_warned_about() {
    let warned = |settings: &str| promotion_warnings(&format!("mode = 'blue-green'\n{settings}"));
    let alarms = "alarms = ['errors']\n";
    assert_eq!(warned(alarms), [""; 0]);
    assert_eq!(warned(""), ["[[model]] promotion.mode, line 4"]);
    assert_eq!(
        warned(&format!("{alarms}step_lasts = '61m'")),
        ["[[model]] promotion.step_lasts, line 6"]
    );
    assert_eq!(warned(&format!("{alarms}step_lasts = '1h'")), [""; 0]);
    assert_eq!(
        warned(&format!("{alarms}traffic = [5.0, 10.0]")),
        ["[[model]] promotion.traffic, line 6"]
    );
    assert_eq!(warned(&format!("{alarms}traffic = [5.0]")), [""; 0]);
    let longer = promotion_warnings("mode = 'variants'\nmetric = 'purchases'\nstep_lasts = '2h'");
    assert_eq!(longer, [""; 0]);
}

#[test]
fn steps_that_take_too_long_are_warned_about() {
    let warned = |settings: &str| promotion_warnings(&format!("mode = 'variants'\nmetric = 'purchases'\n{settings}"));
    let place = "[[model]] promotion.step_lasts, line 6";
    // Four steps by default, and seven days.
    assert_eq!(warned("step_lasts = '42h'"), [""; 0]);
    assert_eq!(warned("step_lasts = '43h'"), [place]);
    assert_eq!(warned("step_lasts = '43h'\ntraffic = [5.0]"), [""; 0]);
    // Shadow variants have no steps.
    assert_eq!(
        promotion_warnings("mode = 'shadow'\nmetric = 'purchases'\nstep_lasts = '43h'"),
        [""; 0]
    );
    let message = warnings(&format!(
        "{CHURN}mode = 'variants'\nmetric = 'purchases'\nstep_lasts = '43h'\n"
    ))
    .remove(0);
    assert!(
        message.contains("4 steps of 1 d 19 h take longer than the experiment may last (7 d)"),
        "{message}"
    );
}

#[test]
fn analysis_of_one_variant_is_warned_about() {
    let warned = |data: &str, endpoint: &str, capture: &str| {
        let text = format!(
            "{CHURN}mode = 'variants'\nmetric = 'purchases'\n{capture}\n[[analysis]]\nschedule = 'churn-dq'\nendpoint = '{endpoint}'\n\
             data = '{data}'\nbaseline = 's3://b/b'\noutput = 's3://b/o'\n"
        );
        !warnings(&text).is_empty()
    };
    assert!(warned("s3://captured/churn/AllTraffic", "churn", ""));
    assert!(warned("s3://captured/churn/AllTraffic/%Y/%m/%d/%H", "churn", ""));
    assert!(!warned("s3://captured/churn", "churn", ""));
    assert!(!warned("s3://captured/churn/a/b", "churn", ""));
    assert!(!warned("s3://captured/churn/AllTraffic", "fraud", ""));
    let capture = "capture = { data = 's3://other/place/', ground_truth = 's3://b/g', config = 's3://b/a' }";
    assert!(warned("s3://other/place/AllTraffic", "churn", capture));
    assert!(!warned("s3://other/place", "churn", capture));
    assert!(!warned("s3://other/places", "churn", capture));
    // Without experiments, nothing changes the variant.
    let off = "[[model]]\nname = 'churn'\n[[analysis]]\nschedule = 'churn-dq'\nendpoint = 'churn'\n\
               data = 's3://captured/churn/AllTraffic'\nbaseline = 's3://b/b'\noutput = 's3://b/o'\n";
    assert_eq!(warnings(off), [""; 0]);
}

#[test]
fn tables_without_monitors_are_warned_about() {
    let policy = Policy::parse(
        br#"
[[model]]
name = "churm"
[[model]]
name = "spend"
[[monitor]]
schedule = "chrun-quality"
model = "churn"
[[monitor]]
schedule = "CHURN-*"
model = "churn"
[[monitor]]
monitor_type = "ModelBias"
[[violation]]
model = "churn"
feature = "age"
[[violation]]
schedule = "other-*"
counts = false
[[alarm]]
name = "spend-latency"
model = "spend"
"#,
    )
    .unwrap();
    let monitor = |schedule: &str, model: &str| alerting::Monitor {
        schedule: schedule.to_owned(),
        endpoint: None,
        model: model.to_owned(),
        monitor_type: Some(model_monitor::MonitorType::DataQuality),
    };
    let monitors = [monitor("churn-quality", "churn"), monitor("churn-drift", "old")];
    let warnings = policy.warnings_about(&monitors);
    let warnings: Vec<(&str, &str)> = warnings
        .iter()
        .map(|warning| (&*warning.place, &*warning.message))
        .collect();
    insta::assert_debug_snapshot!(warnings);
    // Before the first report, nothing is known.
    assert_eq!(policy.warnings_about(&[]), []);
}
