use super::*;
use ::promotion::Mode;
use alerting::{AlertWindow, PeriodLength};
use jiff::Timestamp;

mod analyses;
mod destinations;
mod explanations;
mod settings;

fn rejected(text: &str) -> String {
    let error = Policy::parse(text.as_bytes()).unwrap_err();
    let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
    format!("{error}{source}")
}

fn monitor(schedule: &str) -> MonitorRef<'_> {
    MonitorRef {
        schedule,
        endpoint: Some("endpoint"),
        monitor_type: Some("DataQuality"),
    }
}

fn window(policy: &Policy, schedule: &str) -> (u8, u8) {
    let window = policy.monitor(&monitor(schedule)).rules.window;
    (window.datapoints_to_alert(), window.evaluation_period())
}

#[test]
fn empty_file_has_the_defaults_and_its_own_version() {
    let policy = Policy::parse(b"").unwrap();
    let mut rules = policy.monitor(&monitor("any"));
    assert_eq!(rules.rules.policy_version, "e3b0c44298fc");
    rules.rules.policy_version = "default".into();
    assert_eq!(rules, Policy::default().monitor(&monitor("any")));
    assert_eq!(policy.model("any").cooldown, SignedDuration::from_hours(24));
    assert_eq!(Policy::default().version(), "default");
}

#[test]
fn example_policy_has_the_defaults() {
    let example = include_str!("../../../../infra/policy.toml");
    let policy = Policy::parse(example.as_bytes()).unwrap();
    let (mut rules, mut default) = (
        policy.monitor(&monitor("any")),
        Policy::default().monitor(&monitor("any")),
    );
    for rules in [&mut rules, &mut default] {
        rules.rules.policy_version.clear();
        // Monitors and maintenance windows are commented out in the example.
    }
    assert_eq!(rules, default);
    assert_eq!(policy.model("any"), Policy::default().model("any"));
    // The commented-out settings are valid, too.
    let uncommented: String = example
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_ne!(uncommented, example);
    Policy::parse(uncommented.as_bytes()).unwrap();
}

#[test]
fn monitor_table_overrides_single_settings() {
    let policy = Policy::parse(
        b"[alert]\ndatapoints_to_alert = 2\nevaluation_period = 4\n\
          [[monitor]]\nschedule = 'churn-*'\nalert = { datapoints_to_alert = 3 }\n\
          [[monitor]]\nschedule = 'Churn-DQ'\nmodel = 'churn'\nalert = { datapoints_to_alert = 2, evaluation_period = 6 }\n",
    )
    .unwrap();
    assert_eq!(window(&policy, "churn-dq"), (2, 6), "the last table");
    assert_eq!(window(&policy, "churn-mq"), (3, 4), "completed by [alert]");
    assert_eq!(window(&policy, "other"), (2, 4));
    assert_eq!(policy.monitor(&monitor("churn-dq")).model, "churn");
    assert_eq!(policy.monitor(&monitor("other")).model, "endpoint");
    assert!(policy.has_schedule("CHURN-dq") && !policy.has_schedule("churn-mq"));
}

#[test]
fn time_window_supports_months() {
    let policy = Policy::parse(
        b"[alert]\nwindow = 'time'\nperiod = '1mo'\ndatapoints_to_alert = 2\nevaluation_period = 3\n\
          treat_missing_data = 'notBreaching'\n",
    )
    .unwrap();
    let AlertWindow::Time { window, period } = policy.monitor(&monitor("any")).rules.window else {
        panic!("a window over time")
    };
    assert_eq!(period, PeriodLength::Months(1));
    assert_eq!(window.evaluation_range(), 5);
}

/// Two tables that match one monitor, where the later one leaves out a part that the earlier one sets.
const AMBIGUOUS_WINDOWS: [&str; 8] = [
    "[alert]\ndatapoints_to_alert = 1\nevaluation_period = 2\n\
     [[monitor]]\nschedule = 'churn-*'\nalert = { datapoints_to_alert = 3, evaluation_period = 5 }\n\
     [[monitor]]\nschedule = '*-quality'\nalert = { evaluation_period = 2 }\n",
    "[[monitor]]\nmonitor_type = 'DataQuality'\nalert = { datapoints_to_alert = 5, evaluation_period = 6 }\n\
     [[monitor]]\nschedule = 'x'\nalert = { evaluation_period = 2 }\n",
    // Only the three together cannot be judged.
    "[[monitor]]\nschedule = 'a*'\nalert = { evaluation_period = 9 }\n\
     [[monitor]]\nschedule = '*b*'\nalert = { datapoints_to_alert = 5, evaluation_period = 9 }\n\
     [[monitor]]\nschedule = '*c'\nalert = { evaluation_period = 4 }\n",
    "[alert]\nwindow = 'time'\n[[monitor]]\nschedule = 'a*'\nalert = { evaluation_range = 4, evaluation_period = 2 }\n\
     [[monitor]]\nschedule = '*b'\nalert = { evaluation_period = 6 }\n",
    "[alert]\nwindow = 'time'\n[[monitor]]\nschedule = 'a*'\nalert = { period = '1d' }\n\
     [[monitor]]\nschedule = '*b'\nalert = { evaluation_period = 6 }\n",
    "[[monitor]]\nschedule = 'a*'\nalert = { window = 'time' }\n\
     [[monitor]]\nschedule = '*b'\nalert = { datapoints_to_alert = 2, evaluation_period = 6 }\n",
    "[alert]\nwindow = 'time'\n[[monitor]]\nmonitor_type = 'ModelBias'\nalert = { treat_missing_data = 'breaching' }\n\
     [[monitor]]\nschedule = 'b'\nalert = { datapoints_to_alert = 2, evaluation_period = 6 }\n",
    "[[monitor]]\nschedule = 'a'\nalert = { datapoints_to_alert = 3, evaluation_period = 5 }\n\
     [[monitor]]\nschedule = 'A'\nmonitor_type = 'DataQuality'\nalert = { evaluation_period = 9 }\n",
];

#[test]
fn windows_that_are_ambiguous_together_are_rejected() {
    let rejections: Vec<String> = AMBIGUOUS_WINDOWS
        .iter()
        .map(|text| format!("{text}=> {}\n", rejected(text)))
        .collect();
    insta::assert_snapshot!(rejections.join("\n"));
}

#[test]
fn window_comes_whole_from_the_last_table_that_matches() {
    // Both tables are complete, or say the same, or never match the same monitor.
    for (text, expected) in [
        (
            "[[monitor]]\nschedule = 'a*'\nalert = { datapoints_to_alert = 3, evaluation_period = 5 }\n\
             [[monitor]]\nschedule = '*b'\nalert = { datapoints_to_alert = 2, evaluation_period = 3 }\n",
            (2, 3),
        ),
        (
            "[alert]\ndatapoints_to_alert = 2\nevaluation_period = 4\n\
             [[monitor]]\nschedule = 'a*'\nalert = { datapoints_to_alert = 2 }\n\
             [[monitor]]\nschedule = '*b'\nalert = { evaluation_period = 6 }\n",
            (2, 6),
        ),
        (
            "[[monitor]]\nschedule = 'a*'\nmonitor_type = 'ModelBias'\nalert = { datapoints_to_alert = 3, evaluation_period = 5 }\n\
             [[monitor]]\nschedule = '*b'\nmonitor_type = 'DataQuality'\nalert = { evaluation_period = 2 }\n",
            (1, 2),
        ),
        (
            "[[monitor]]\nschedule = 'a*'\nalert = { datapoints_to_alert = 3, evaluation_period = 5 }\n\
             [[monitor]]\nschedule = 'b*'\nalert = { evaluation_period = 2 }\n\
             [[monitor]]\nschedule = '*b'\nmodel = 'churn'\n",
            (3, 5),
        ),
    ] {
        let policy = Policy::parse(text.as_bytes()).unwrap();
        assert_eq!(window(&policy, "ab"), expected, "{text}");
    }
}

#[test]
fn name_common_to_two_patterns_is_found() {
    for (a, b, expected) in [
        ("churn-*", "*-quality", Some("churn-quality")),
        ("churn-*", "churn-data-*", Some("churn-data-any")),
        ("churn-*", "*", Some("churn-any")),
        ("*", "*-quality", Some("any-quality")),
        ("*", "*", Some("any")),
        ("a*b*c", "*x*", Some("abxc")),
        ("churn", "ch*", Some("churn")),
        ("churn", "churn", Some("churn")),
        ("churn", "fraud", None),
        ("churn-*", "fraud-*", None),
        ("*-dq", "*-mq", None),
        ("churn-*", "churn", None),
    ] {
        assert_eq!(monitors::common_name(a, b).as_deref(), expected, "{a} {b}");
        assert_eq!(monitors::common_name(b, a).is_some(), expected.is_some(), "{b} {a}");
    }
}

#[test]
fn new_window_may_exceed_the_evaluation_range() {
    let text = "[alert]\nwindow = 'time'\nevaluation_range = 3\n";
    let policy = Policy::parse(text.as_bytes()).unwrap().with_window(4, 6);
    assert_eq!(window(&policy, "any"), (4, 6));
}

#[test]
fn automation_level_follows_risk_rating_if_not_set() {
    let policy = Policy::default().model("any");
    assert_eq!(policy.automation(RiskRating::Low), Automation::Auto);
    assert_eq!(policy.automation(RiskRating::Medium), Automation::Approve);
    assert_eq!(policy.automation(RiskRating::High), Automation::Suggest);
    assert_eq!(policy.automation(RiskRating::parse("other")), Automation::Suggest);
    let explicit = Policy::parse(b"[remediation]\nautomation = 'observe'").unwrap();
    assert_eq!(explicit.model("any").automation(RiskRating::Low), Automation::Observe);
}

#[test]
fn deadlines_of_stages_have_defaults_and_can_be_set_per_model() {
    let hours = SignedDuration::from_hours;
    let policy = Policy::parse(
        b"[remediation]\nretraining_within = '12h'\nreopen_within = '0s'\n\
          [[model]]\nname = 'churn'\nremediation = { decide_after = '5m', verify_within = '6h', data_within = '2d', close_after = 6 }\n",
    )
    .unwrap();
    let default = Policy::default().model("any");
    let minutes = SignedDuration::from_mins;
    assert_eq!((default.decide_after, default.decide_within), (minutes(10), hours(1)));
    let hasty = Policy::parse(b"[remediation]\ndecide_within = '10m'\n").unwrap();
    assert_eq!(
        hasty.model("any").decide_after,
        hours(0),
        "it is less than `decide_within`"
    );
    assert_eq!((default.start_within, default.retraining_within), (hours(1), hours(48)));
    assert_eq!((default.data_within, default.reopen_within), (hours(7 * 24), hours(24)));
    assert_eq!(default.close_after, 0);
    let churn = policy.model("churn");
    assert_eq!(churn.decide_after, minutes(5));
    assert_eq!((churn.retraining_within, churn.reopen_within), (hours(12), hours(0)));
    assert_eq!((churn.data_within, churn.close_after), (hours(48), 6));
    assert_eq!((churn.verify_within, default.verify_within), (Some(hours(6)), None));
    assert_eq!(policy.model("fraud").data_within, hours(7 * 24));
}

#[test]
fn fleet_limits_have_defaults() {
    let default = FleetPolicy {
        retrainings_at_once: 5,
        retrainings_per_day: 20,
        common_cause: true,
    };
    assert_eq!(Policy::default().fleet(), default);
    let policy = Policy::parse(b"[fleet]\nretrainings_at_once = 2\ncommon_cause = false\n").unwrap();
    let set = FleetPolicy {
        retrainings_at_once: 2,
        common_cause: false,
        ..default
    };
    assert_eq!(policy.fleet(), set);
}

#[test]
fn explanation_names_the_line_of_each_setting() {
    let policy = Policy::parse(
        b"paused = false\n[alert]\ndatapoints_to_alert = 2\nevaluation_period = 4\n\n\
          [[monitor]]\nschedule = 'churn-dq'\nmodel = 'churn'\n[monitor.alert]\nevaluation_period = 6\n\n\
          [[model]]\nname = 'churn'\nremediation = { automation = 'auto', cooldown = '2h' }\n\
          [[violation]]\nfeature = 'id*'\ncounts = false\n\
          [[maintenance]]\nevery = 'Sat 22:00'\nlasts = '6h'\n",
    )
    .unwrap();
    let explained = policy.explain("churn", &[]);
    let mut text = String::new();
    let sections = [("churn".to_owned(), explained.settings)]
        .into_iter()
        .chain(explained.monitors);
    for (section, settings) in sections {
        for Setting { name, value, place } in settings {
            let place = place.unwrap_or_else(|| "default".to_owned());
            text.extend([format!("{section}: {name} = {value} ({place})\n")]);
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn invalid_policy_is_rejected_with_its_line() {
    let rejections: Vec<String> = [
        "[alert]\ndatapoint_to_alert = 2",
        "[[monitor]]\nschedule = 'a'\nalert.datapoints_to_alert = 2",
        "[[monitor]]\nschedule = 'a'\n[[monitor]]\nschedule = 'A'",
        "[[monitor]]\nschedule = 'a'\nmodel = 'my model'",
        "[retraining]\nparameters = ['Epochs']",
        "[retraining]\nparameters = { Epochs = '{epochs}' }",
        "[retraining]\nparameters = 3",
        "[retraining]\nparameters = { Epochs = 20 }",
        "alert = 3",
        "[alert]\ndatapoints_to_alert = 'two'",
        "[remediation]\nautomation = 3",
        "[[alarm]]\nname = 'a'",
        "[[violation]]\nmonitor_type = 'Quality'",
        "[alert",
        "[remediation]\nautomation = 'automatic'",
        "[remediation]\ncooldown = 'a day'",
        "[[model]]\nname = 'a'\nremediation.retrainings_per_day = -1",
        "[alert]\nwindow = 'time'\nperiod = '1y'",
        "[alert]\nwindow = 'time'\nevaluation_range = 500",
        "[alert]\nevaluation_period = 101",
        "[[maintenance]]\nstart = '2026-12-24T18:00:00Z'",
        "[[maintenance]]\nevery = 'Someday 10:00'\nlasts = '1h'",
        "[[maintenance]]\nevery = 'Monkey 22:00'\nlasts = '1h'",
        "[[maintenance]]\nevery = 'Sat 24:00'\nlasts = '1h'",
        "[[maintenance]]\nstart = '2026-12-24T18:00:00Z'\nend = '2026-12-24T17:00:00Z'",
        "[[violation]]\nminimum_exceedance = -0.5",
        "[[violations]]\nfeature = 'a'",
        "[retraining]\nstart = 'state-machine'",
        "[[alarm]]\nname = 'a'\nmodel = ''",
        "[[model]]\nname = 'a'\n[[model]]\nname = 'a'",
        "[[monitor]]\nmonitor_type = 'Quality'",
        "[remediation]\nretraining_within = '10s'",
        "[remediation]\ndecide_after = '1h'",
        "[[model]]\nname = 'a'\nremediation.decide_within = '5m'\n[remediation]\ndecide_after = '10m'",
        "[remediation]\nclose_after = 101",
        "[fleet]\nretrainings_at_once = 0",
        "[fleet]\nretrainings = 1",
    ]
    .iter()
    .map(|text| format!("{text}\n=> {}\n", rejected(text)))
    .collect();
    insta::assert_snapshot!(rejections.join("\n"));
}

#[test]
fn model_table_overrides_promotion_settings() {
    let policy = Policy::parse(
        b"[promotion]\nstep_lasts = '30m'\n[[model]]\nname = 'churn'\npromotion = { mode = 'variants', metric = 'purchases', \
          lower_is_better = true, traffic = [10.0, 50.0], metrics_period = '10s' }\n[[model]]\nname = 'fraud'\n",
    )
    .unwrap();
    let churn = policy.promotion("churn");
    assert_eq!((churn.mode, churn.endpoint.as_str()), (Mode::Variants, "churn"));
    assert_eq!(churn.step_lasts, SignedDuration::from_mins(30));
    assert_eq!(churn.metrics_period, SignedDuration::from_secs(10));
    assert!(churn.metric.lower_is_better() && churn.guardrails.len() == 2 && churn.margin.is_none());
    let promoted: Vec<String> = policy.promoted_models().into_iter().map(|(model, _)| model).collect();
    assert_eq!(promoted, ["churn"]);
}

#[test]
fn invalid_promotion_settings_are_rejected() {
    for (settings, expected) in [
        ("mode = 'variants'", "`variants` requires `capture`"),
        ("traffic = [50.0, 10.0]", "percentages in ascending order"),
        ("traffic = [100.0]", "percentages in ascending order"),
        ("alpha = 1.0", "a probability between 0 and 1"),
        ("effect = 0.0", "a number above 0"),
        ("margin = -0.1", "a number above 0"),
        ("metrics_period = '7s'", "whole minutes"),
        ("allocation = 'thompson'", "requires assignment = \"target-variant\""),
        ("gate = { metric = 'auc' }", "a JSON pointer"),
        (
            "guardrails = [{ metric = 'latency_p99', margin = -1.0 }]",
            "a number of 0 or more",
        ),
        (
            "guardrails = [{ metric = 'errors_5xx', margin = 0.1 }, { metric = 'errors_5xx', margin = 0.2 }]",
            "each metric at most once",
        ),
        (
            "capture = { data = 'here', ground_truth = 's3://b/l', config = 's3://b/c' }",
            "an s3:// URI",
        ),
        ("baselines = { output = 'here' }", "an s3:// URI"),
        ("endpoint = '-'", "letters, digits, and hyphens"),
    ] {
        let error = Policy::parse(format!("[promotion]\n{settings}\n").as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{settings}: {error}");
        assert!(
            error.contains("[promotion]") && error.contains("line 2"),
            "{settings}: {error}"
        );
    }
}

fn routes(text: &str) -> Vec<NotificationRoute> {
    Policy::parse(text.as_bytes()).unwrap().notifications()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

#[test]
fn default_route_sends_all_notifications_to_the_topic() {
    assert_eq!(routes("paused = true"), [NotificationRoute::default()]);
    let route = NotificationRoute::default();
    assert!(route.matches("any", NotificationKind::Baseline, NotificationSeverity::Info));
    assert_eq!(
        route.held_until(NotificationSeverity::Info, at("2026-11-28T03:00:00Z")),
        None
    );
}

#[test]
fn route_filters_by_model_severity_and_subject() {
    let text = "[[notification]]\nto = 'pagerduty'\nsecret = 'secretsmanager:dw/pd'\nseverity = 'critical'\nmodels = ['churn-*']\n\
                kinds = ['decision', 'alert']\n[[notification]]\nto = 'webhook'\nurl = 'http://localhost:80/x'\nsecret = 'ssm:/k'\n";
    let [pagerduty, webhook] = &routes(text)[..] else {
        panic!("two routes")
    };
    let Destination::PagerDuty { url, routing_key } = &pagerduty.destination else {
        panic!("a PagerDuty route")
    };
    assert_eq!(url, "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(routing_key.parameter(), "/aws/reference/secretsmanager/dw/pd");
    assert!(pagerduty.matches("churn-1", NotificationKind::Alert, NotificationSeverity::Critical));
    assert!(!pagerduty.matches("churn-1", NotificationKind::Alert, NotificationSeverity::Warning));
    assert!(!pagerduty.matches("churn-1", NotificationKind::Health, NotificationSeverity::Critical));
    assert!(!pagerduty.matches("fraud", NotificationKind::Alert, NotificationSeverity::Critical));
    assert!(webhook.matches("fraud", NotificationKind::Health, NotificationSeverity::Info));
}

#[test]
fn quiet_hours_start_and_end_on_the_minute() {
    let text =
        "[[notification]]\nto = 'sns-text'\nquiet = ['22:00-07:00', 'Sat-Sun 00:00-24:00']\nurgent = 'critical'\n";
    let route = &routes(text)[0];
    let until = |time| route.held_until(NotificationSeverity::Warning, at(time));
    // This is a Thursday.
    assert_eq!(until("2026-11-26T21:59:59Z"), None);
    assert_eq!(until("2026-11-26T22:00:00Z"), Some(at("2026-11-27T07:00:00Z")));
    assert_eq!(until("2026-11-27T06:59:59Z"), Some(at("2026-11-27T07:00:00Z")));
    assert_eq!(until("2026-11-27T07:00:00Z"), None);
    // Adjacent ranges over the weekend are one.
    assert_eq!(until("2026-11-27T23:00:00Z"), Some(at("2026-11-30T07:00:00Z")));
    assert_eq!(until("2026-11-29T12:00:00Z"), Some(at("2026-11-30T07:00:00Z")));
    let urgent = route.held_until(NotificationSeverity::Critical, at("2026-11-26T22:00:00Z"));
    assert_eq!(urgent, None);
    // If the quiet hours never end, notifications are sent once a day.
    let always = &routes("[[notification]]\nto = 'sns-text'\nquiet = ['00:00-24:00']\n")[0];
    let until = always.held_until(NotificationSeverity::Warning, at("2026-11-26T12:00:00Z"));
    assert_eq!(until, Some(at("2026-11-27T00:00:00Z")));
}

#[test]
fn digest_is_sent_at_its_time() {
    let route = &routes("[[notification]]\nto = 'sns-text'\ndigest = 'daily at 08:00'\n")[0];
    let until = |time| route.held_until(NotificationSeverity::Critical, at(time));
    assert_eq!(until("2026-11-26T07:59:59Z"), Some(at("2026-11-26T08:00:00Z")));
    assert_eq!(until("2026-11-26T08:00:00Z"), Some(at("2026-11-27T08:00:00Z")));
}

#[test]
fn invalid_notification_is_rejected_with_its_line() {
    let rejections: Vec<String> = [
        "to = 'email'",
        "to = 'webhook'",
        "to = 'webhook'\nurl = 'https://example.com'",
        "to = 'webhook'\nurl = 'http://example.com'\nsecret = 'ssm:/k'",
        "to = 'webhook'\nurl = 'http://localhost.example.com'\nsecret = 'ssm:/k'",
        "to = 'webhook'\nurl = 'http://localhost@example.com'\nsecret = 'ssm:/k'",
        "to = 'webhook'\nurl = 'https://user:hunter2@hooks.example.com/hunter2'\nsecret = 'ssm:/k'",
        "to = 'webhook'\nurl = 'hunter2'\nsecret = 'ssm:/k'",
        "to = 'webhook'\nurl = 'https://hooks.example.com/hunter2\nsecret = 'ssm:/k'",
        "to = 'pagerduty'",
        "to = 'pagerduty'\nsecret = 'R0123456789'",
        "to = 'sns-text'\nsecret = 'ssm:/k'",
        "to = 'sns-text'\ntopic = 'my-topic'",
        "to = 'chat'\nmodels = []",
        "to = 'chat'\nkinds = ['alarm']",
        "to = 'chat'\nquiet = ['22:00-25:00']",
        "to = 'chat'\nquiet = ['Foo 22:00-23:00']",
        "to = 'chat'\nquiet = ['22:00-07:00']\ndigest = 'daily at 08:00'",
        "to = 'chat'\ndigest = '08:00'",
        "to = 'pagerduty'\nsecret = 'ssm:/k'\ndigest = 'daily at 08:00'",
        "to = 'chat'\nurgent = 'critical'",
        "to = 'chat'\nquite = ['22:00-07:00']",
    ]
    .iter()
    .map(|text| {
        let text = format!("[[notification]]\n{text}");
        format!("{text}\n=> {}\n", rejected(&text))
    })
    .collect();
    insta::assert_snapshot!(rejections.join("\n"));
}

#[test]
fn secret_in_a_url_is_not_shown() {
    let url = "https://hooks.example.com/services/hunter2";
    let text = format!("[[notification]]\nto = 'webhook'\nurl = '{url}'\nsecret = 'ssm:/k'\n");
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let explained = format!("{:?}", policy.explain("churn", &[]));
    assert!(
        explained.contains("webhook hooks.example.com") && !explained.contains("hunter2"),
        "{explained}"
    );
    // An error anywhere in the file does not show the line.
    for broken in [
        format!("{text}quiet = 3\n"),
        text.replace("2'\n", "2\n"),
        text.replace("https", "http"),
    ] {
        let error = rejected(&broken);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn maintenance_and_quiet_hours_read_days_alike() {
    for (day, is_day) in [
        ("Mon", true),
        ("monday", true),
        ("SUNDAY", true),
        ("Monkey", false),
        ("Mond", false),
        ("Mo", false),
    ] {
        assert_eq!(
            QuietHours::parse(&format!("{day} 22:00-23:00")).is_some(),
            is_day,
            "{day}"
        );
        let weekly = format!("[[maintenance]]\nevery = '{day} 22:00'\nlasts = '1h'\n");
        assert_eq!(Policy::parse(weekly.as_bytes()).is_ok(), is_day, "{day}");
    }
}

#[test]
fn explanation_has_one_entry_for_each_type_of_a_schedule() {
    let text = "[[monitor]]\nschedule = 'dq'\nmodel = 'churn'\n\
                [[monitor]]\nschedule = 'dq'\nmonitor_type = 'DataQuality'\nalert = { evaluation_period = 2 }\n\
                [[monitor]]\nschedule = 'DQ'\nmonitor_type = 'ModelBias'\nalert = { evaluation_period = 3 }\n";
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let periods = |monitors: &[MonitorRef<'_>]| -> Vec<(String, String)> {
        let explained = policy.explain("churn", monitors).monitors.into_iter();
        let value = |settings: &[Setting], name| {
            let mut found = settings.iter().filter(|setting| setting.name == name);
            found.next().map(|setting| setting.value.clone()).unwrap_or_default()
        };
        let each =
            explained.map(|(_, settings)| (value(&settings, "monitor_type"), value(&settings, "evaluation_period")));
        each.collect()
    };
    let both = [("DataQuality".into(), "2".into()), ("ModelBias".into(), "3".into())];
    assert_eq!(periods(&[]), both);
    // A monitor that has reported has one type.
    let known = MonitorRef {
        monitor_type: Some("ModelBias"),
        ..monitor("dq")
    };
    assert_eq!(periods(&[known]), both[1..]);
}

#[test]
fn settings_of_a_model_with_any_name_are_found() {
    // A name that no SageMaker resource can have.
    let policy = Policy::default();
    assert_eq!(policy.promotion("a_b").endpoint, "a_b");
    assert_eq!(policy.model("a_b").model_card, "a_b");
}

#[test]
fn explanation_lists_the_notification_routes_of_a_model() {
    let text =
        "[[notification]]\nto = 'chat'\nmodels = ['fraud']\n[[notification]]\nto = 'sns-text'\nseverity = 'warning'\n";
    let explained = Policy::parse(text.as_bytes()).unwrap().explain("churn", &[]);
    let listed: Vec<_> = explained
        .settings
        .iter()
        .filter(|setting| setting.name == "notification")
        .collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0].value,
        "sns-text topic of the stack, severity warning and above"
    );
    assert_eq!(listed[0].place.as_deref(), Some("[[notification]], line 4"));
}
