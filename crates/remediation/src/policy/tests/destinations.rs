//! Destinations of notifications: their form, and when a notification is sent.

use super::*;

fn is_valid(settings: &str) -> bool {
    Policy::parse(format!("[[notification]]\n{settings}\n").as_bytes()).is_ok()
}

fn route(settings: &str) -> NotificationRoute {
    routes(&format!("[[notification]]\n{settings}\n")).remove(0)
}

#[test]
fn secret_is_a_location() {
    let parameter = |text: &str| SecretReference::parse(text).map(|secret| secret.parameter());
    for (text, expected) in [
        ("ssm:/dw/key", Some("/dw/key".to_owned())),
        (
            "secretsmanager:dw/k_+=.@-1",
            Some("/aws/reference/secretsmanager/dw/k_+=.@-1".to_owned()),
        ),
        ("ssm:/a_.-1", Some("/a_.-1".to_owned())),
        ("ssm:/a+b", None),
        ("ssm:a b", None),
        ("secretsmanager:a#b", None),
        ("ssm:", None),
        ("vault:/a", None),
        ("R0123456789", None),
    ] {
        assert_eq!(parameter(text), expected, "{text}");
    }
    let of_length = |length: usize| parameter(&format!("ssm:{}", "x".repeat(length))).is_some();
    assert!(of_length(512) && !of_length(513));
    assert_eq!(SecretReference::parse("ssm:/k").unwrap().to_string(), "ssm:/k");
}

#[test]
fn destination_shows_no_secret() {
    let topic = "topic = 'arn:aws:sns:us-east-1:111122223333:drift'";
    for (settings, expected) in [
        ("to = 'sns-text'".to_owned(), "sns-text topic of the stack"),
        (
            format!("to = 'sns-json'\n{topic}"),
            "sns-json arn:aws:sns:us-east-1:111122223333:drift",
        ),
        ("to = 'chat'".to_owned(), "chat topic of the stack"),
        (
            "to = 'pagerduty'\nsecret = 'ssm:/k'".to_owned(),
            "pagerduty events.pagerduty.com (ssm:/k)",
        ),
        (
            "to = 'pagerduty'\nurl = 'https://eu.example.com/v2'\nsecret = 'ssm:/k'".to_owned(),
            "pagerduty eu.example.com (ssm:/k)",
        ),
        (
            "to = 'webhook'\nurl = 'https://example.com:8443/hunter2?q=hunter2'\nsecret = 'ssm:/k'".to_owned(),
            "webhook example.com",
        ),
    ] {
        assert_eq!(route(&settings).destination.to_string(), expected);
    }
}

#[test]
fn webhook_url_is_safe_for_secrets() {
    let valid = |url: &str| is_valid(&format!("to = 'webhook'\nurl = '{url}'\nsecret = 'ssm:/k'"));
    for url in [
        "https://example.com",
        "https://example.com:8443/a?b=c",
        "https://[2001:db8::1]/a",
        "http://localhost:9000/a",
        "http://127.0.0.1/a",
        "http://[::1]:80/a",
    ] {
        assert!(valid(url), "{url}");
    }
    for url in [
        "http://example.com",
        "http://10.0.0.1",
        "ftp://localhost",
        "https://",
        "https:///a",
        "https://:80",
        "https://user@example.com",
        "https://example.com/#a",
        "https://example.com/a b",
        "https://example.com/é",
        "example.com",
    ] {
        assert!(!valid(url), "{url}");
    }
    let of_length = |length: usize| {
        valid(&format!(
            "https://example.com/{}",
            "x".repeat(length - "https://example.com/".len())
        ))
    };
    assert!(of_length(2048) && !of_length(2049));
}

#[test]
fn error_about_url_shows_its_host_only() {
    let error = |url: &str| {
        rejected(&format!(
            "[[notification]]\nto = 'webhook'\nurl = '{url}'\nsecret = 'ssm:/k'"
        ))
    };
    let expected = "[[notification]] url, line 3: expected an `https://` URL without a user name and spaces (`http://` for \
                    localhost only);";
    assert_eq!(
        error("http://user:hunter2@[2001:db8::1]:80/hunter2?hunter2#hunter2"),
        format!("{expected} found a URL of the host `2001:db8::1`")
    );
    assert_eq!(
        error("hunter2"),
        format!("{expected} the value is not shown, because it may be a secret")
    );
}

#[test]
fn topic_is_an_arn_of_sns() {
    let valid = |topic: &str| is_valid(&format!("to = 'sns-json'\ntopic = '{topic}'"));
    assert!(valid("arn:aws:sns:us-east-1:111122223333:drift") && valid("arn:aws-cn:sns:cn-north-1:111122223333:a"));
    for topic in [
        "arn:aws:sqs:us-east-1:111122223333:drift",
        "arn:aws:sns:us-east-1:111122223333:drift:subscription",
        "arn:aws:sns::111122223333:drift",
        "arn:aws:sns:us-east-1::drift",
        "arn:aws:sns:us-east-1:111122223333:",
        "arn:aws:sns:us-east-1:111122223333:my topic",
        "drift",
    ] {
        assert!(!valid(topic), "{topic}");
    }
}

#[test]
fn settings_belong_to_their_channel() {
    let (topic, url, secret) = (
        "topic = 'arn:aws:sns:us-east-1:111122223333:drift'",
        "url = 'https://example.com'",
        "secret = 'ssm:/k'",
    );
    for to in ["sns-text", "sns-json", "chat"] {
        assert!(is_valid(&format!("to = '{to}'\n{topic}")));
        assert_eq!(
            rejected(&format!("[[notification]]\nto = '{to}'\n{url}")),
            format!("[[notification]] url, line 3: `url` is not supported for `{to}`; remove it")
        );
        assert!(!is_valid(&format!("to = '{to}'\n{secret}")));
    }
    for to in ["pagerduty", "webhook"] {
        assert!(is_valid(&format!("to = '{to}'\n{url}\n{secret}")));
        assert!(!is_valid(&format!("to = '{to}'\n{url}\n{secret}\n{topic}")));
    }
}

#[test]
fn route_needs_models_and_kinds_that_are_not_empty() {
    assert!(is_valid("to = 'chat'\nmodels = ['churn', 'f*']\nkinds = ['alert']"));
    for settings in ["models = ['churn', ' ']", "models = ['']", "models = []", "kinds = []"] {
        assert!(!is_valid(&format!("to = 'chat'\n{settings}")), "{settings}");
    }
    let route = route("to = 'chat'\nmodels = ['churn', 'f*']\nkinds = ['health']");
    let matches = |model, kind| route.matches(model, kind, NotificationSeverity::Info);
    assert!(matches("churn", NotificationKind::Health) && matches("fraud", NotificationKind::Health));
    assert!(!matches("ltv", NotificationKind::Health) && !matches("churn", NotificationKind::Alert));
}

#[test]
fn urgent_needs_something_that_it_bypasses() {
    assert!(is_valid("to = 'chat'\nurgent = 'critical'\nquiet = ['22:00-07:00']"));
    assert!(is_valid("to = 'chat'\nurgent = 'critical'\ndigest = 'daily at 08:00'"));
    assert!(is_valid("to = 'pagerduty'\nsecret = 'ssm:/k'\nquiet = ['22:00-07:00']"));
    assert!(!is_valid("to = 'chat'\nurgent = 'info'"));
    let digest = route("to = 'chat'\nurgent = 'warning'\ndigest = 'daily at 08:00'");
    let now = at("2026-11-26T07:59:59Z");
    let until = [
        NotificationSeverity::Info,
        NotificationSeverity::Warning,
        NotificationSeverity::Critical,
    ]
    .map(|severity| digest.held_until(severity, now));
    assert_eq!(until, [Some(at("2026-11-26T08:00:00Z")), None, None]);
}

#[test]
fn quiet_hours_start_on_their_weekdays() {
    let until = |quiet: &str, time: &str| {
        let route = route(&format!("to = 'chat'\nquiet = [{quiet}]"));
        route
            .held_until(NotificationSeverity::Info, at(time))
            .map(|until| until.to_string())
    };
    // November 27, 2026 is a Friday.
    let night = "'Fri 22:00-07:00'";
    assert_eq!(
        until(night, "2026-11-27T22:00:00Z").as_deref(),
        Some("2026-11-28T07:00:00Z")
    );
    assert_eq!(
        until(night, "2026-11-28T06:59:59Z").as_deref(),
        Some("2026-11-28T07:00:00Z")
    );
    assert_eq!(until(night, "2026-11-27T06:00:00Z"), None);
    assert_eq!(until(night, "2026-11-28T22:00:00Z"), None);
    let monday = "'Mon 00:00-24:00'";
    assert_eq!(
        until(monday, "2026-11-30T00:00:00Z").as_deref(),
        Some("2026-12-01T00:00:00Z")
    );
    assert_eq!(until(monday, "2026-11-29T23:59:59Z"), None);
    let noon = "'Thu 12:00-13:00'";
    assert_eq!(
        until(noon, "2026-11-26T12:59:59Z").as_deref(),
        Some("2026-11-26T13:00:00Z")
    );
    assert_eq!(until(noon, "2026-11-26T11:59:59Z"), None);
    // Ranges that follow one another are one, up to a week.
    let week = "'Mon-Sat 00:00-24:00', 'Sun 00:00-23:00'";
    assert_eq!(
        until(week, "2026-11-30T00:00:00Z").as_deref(),
        Some("2026-12-06T23:00:00Z")
    );
    assert_eq!(
        until("'00:00-24:00'", "2026-11-30T00:00:00Z").as_deref(),
        Some("2026-12-01T00:00:00Z")
    );
}

#[test]
fn digest_may_be_at_midnight() {
    let next = |text, time| DailyAt::parse(text).map(|daily| daily.next_after(at(time)).to_string());
    assert_eq!(
        next("daily at 00:00", "2026-11-26T00:00:00Z").as_deref(),
        Some("2026-11-27T00:00:00Z")
    );
    assert_eq!(
        next("daily at 00:00", "2026-11-25T23:59:59Z").as_deref(),
        Some("2026-11-26T00:00:00Z")
    );
    assert_eq!(
        next(" daily at 23:59 ", "2026-11-26T00:00:00Z").as_deref(),
        Some("2026-11-26T23:59:00Z")
    );
    for text in ["daily at 24:00", "daily at 8", "daily 08:00", "08:00"] {
        assert_eq!(DailyAt::parse(text), None, "{text}");
    }
}

#[test]
fn channels_are_named_in_errors_as_in_the_file() {
    for to in ["pagerduty", "webhook"] {
        let error = rejected(&format!("[[notification]]\nto = '{to}'\nurl = 'https://example.com'"));
        assert!(error.contains(&format!("`{to}` requires `secret`")), "{error}");
    }
}
