//! Monitoring schedules of native analyses.

use super::*;
use crate::{AnalysisSchedule, HourlyUri};
use model_monitor::MonitorType;

const ANALYSIS: &str = "[[analysis]]\nschedule = 'churn-dq'\nendpoint = 'churn'\ndata = 's3://captured/churn/AllTraffic'\n\
    baseline = 's3://b/baseline'\noutput = 's3://reports/out'\n";

fn analysis(settings: &str) -> AnalysisSchedule {
    let policy = Policy::parse(format!("{ANALYSIS}{settings}\n").as_bytes()).unwrap();
    policy.analyses().into_iter().next().unwrap()
}

fn mins(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[test]
fn analysis_has_defaults() {
    let analysis = analysis("");
    assert_eq!(
        (analysis.schedule.as_str(), analysis.monitor_type),
        ("churn-dq", MonitorType::DataQuality)
    );
    assert_eq!(
        analysis.endpoint.as_ref().map(model_monitor::EndpointName::as_str),
        Some("churn")
    );
    assert_eq!((analysis.delay, analysis.end_time_offset), (mins(10), mins(0)));
    assert_eq!(
        (analysis.start_time_offset, analysis.ground_truth.as_ref()),
        (None, None)
    );
    assert_eq!((analysis.config.as_ref(), analysis.false_discovery_rate), (None, None));
    assert!(analysis.output_columns_first && !analysis.lenient_types);
    assert_eq!(analysis.expression.to_cron().as_deref(), Some("cron(0 0/1 ? * * *)"));
}

#[test]
fn settings_of_analysis_are_converted() {
    let analysis = analysis(
        "monitor_type = 'ModelQuality'\nexpression = 'rate(6 hours)'\ndelay = '0m'\nground_truth = 's3://labels/%Y-%m-%d/%H'\n\
         start_time_offset = '26h'\nend_time_offset = '2h'\noutput_columns_position = 'END'\nlenient_types = true\n\
         false_discovery_rate = 0.05\nconfig = 's3://b/analysis_config.json'",
    );
    assert_eq!(analysis.monitor_type, MonitorType::ModelQuality);
    assert_eq!(analysis.expression.to_cron().as_deref(), Some("cron(0 0/6 ? * * *)"));
    assert_eq!(
        (analysis.delay, analysis.start_time_offset),
        (mins(0), Some(mins(26 * 60)))
    );
    assert!(!analysis.output_columns_first && analysis.lenient_types);
    assert_eq!(analysis.false_discovery_rate, Some(0.05));
    assert_eq!(analysis.config.unwrap().key, "analysis_config.json");
    let labels = analysis.ground_truth.unwrap();
    assert_eq!(
        (labels.bucket.as_str(), labels.prefix(at("2026-11-03T04:00:00Z"))),
        ("labels", "2026-11-03/04/".into())
    );
}

#[test]
fn data_has_a_folder_for_each_hour() {
    let prefix = |text: &str| HourlyUri::parse(text).map(|uri| uri.prefix(at("2026-11-03T04:05:06Z")));
    for (text, expected) in [
        ("s3://b", Some("2026/11/03/04/")),
        ("s3://b/", Some("2026/11/03/04/")),
        ("s3://b/data", Some("data/2026/11/03/04/")),
        ("s3://b/data/", Some("data/2026/11/03/04/")),
        ("s3://b/data/%Y%m%d", Some("data/20261103/")),
        ("s3://b/%H", Some("04/")),
        ("s3://b/%", None),
        ("s3://b/%Z", None),
        ("s3://b/%s", None),
        ("s3://b/%é", None),
        ("https://b/data", None),
    ] {
        assert_eq!(prefix(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn window_of_analysis_ends_at_its_scheduled_time() {
    let hours = |settings: &str, time: &str| -> Vec<String> {
        let hours = analysis(settings).hours(at(time)).into_iter();
        hours.map(|hour| hour.strftime("%d %H").to_string()).collect()
    };
    // Hourly: the hour before.
    assert_eq!(hours("", "2026-11-03T04:00:00Z"), ["03 03"]);
    // Since the previous execution, also over midnight.
    let every_six = "expression = 'cron(0 2/6 ? * * *)'";
    assert_eq!(
        hours(every_six, "2026-11-03T08:00:00Z"),
        ["03 02", "03 03", "03 04", "03 05", "03 06", "03 07"]
    );
    assert_eq!(hours(every_six, "2026-11-03T02:00:00Z").len(), 6);
    let daily = hours("expression = 'cron(0 5 ? * * *)'", "2026-11-03T05:00:00Z");
    assert_eq!((daily.len(), daily.first().map(String::as_str)), (24, Some("02 05")));
    // The offsets move both ends.
    assert_eq!(hours("end_time_offset = '2h'", "2026-11-03T04:00:00Z"), ["03 01"]);
    let both = "start_time_offset = '3h'\nend_time_offset = '1h'";
    assert_eq!(hours(both, "2026-11-03T01:00:00Z"), ["02 22", "02 23"]);
    assert_eq!(
        hours(
            "start_time_offset = '1h'\nend_time_offset = '1h'",
            "2026-11-03T01:00:00Z"
        ),
        [""; 0]
    );
}

#[test]
fn report_is_written_in_the_layout_of_model_monitor() {
    let prefix = |text: &str| {
        let policy = Policy::parse(text.as_bytes()).unwrap();
        policy.analyses()[0].report_prefix(at("2026-11-03T04:00:00Z"))
    };
    assert_eq!(prefix(ANALYSIS), "out/churn/churn-dq/2026/11/03/04/");
    let batch = ANALYSIS.replace("endpoint = 'churn'\n", "");
    assert_eq!(prefix(&batch), "out/churn-dq/2026/11/03/04/");
    assert_eq!(
        prefix(&ANALYSIS.replace("reports/out", "reports")),
        "churn/churn-dq/2026/11/03/04/"
    );
}

#[test]
fn invalid_analysis_is_rejected_with_its_line() {
    let rejections: Vec<String> = [
        ("schedule = 'churn-dq'", "schedule = 'churn_dq'"),
        ("endpoint = 'churn'", "endpoint = '-'"),
        ("data = 's3://captured/churn/AllTraffic'", "data = 's3://captured/%Q'"),
        ("data = 's3://captured/churn/AllTraffic'", "data = 'captured'"),
        ("baseline = 's3://b/baseline'", "baseline = 'b'"),
        ("output = 's3://reports/out'", "output = 'out'"),
        ("", "monitor_type = 'Custom'"),
        ("", "expression = 'NOW'"),
        ("", "expression = 'rate(5 minutes)'"),
        ("", "delay = '-1m'"),
        ("", "start_time_offset = 'yesterday'"),
        ("", "end_time_offset = '1y'"),
        ("", "output_columns_position = 'start'"),
        ("", "false_discovery_rate = 0.0"),
        ("", "false_discovery_rate = 1.0"),
        ("", "false_discovery_rate = nan"),
        ("", "ground_truth = 'labels'"),
        ("", "config = 'here'"),
    ]
    .iter()
    .map(|(from, to)| {
        let text = if from.is_empty() {
            format!("{ANALYSIS}{to}\n")
        } else {
            ANALYSIS.replace(from, to)
        };
        format!("{to}\n=> {}\n", rejected(&text))
    })
    .collect();
    insta::assert_snapshot!(rejections.join("\n"));
}

#[test]
fn schedule_has_one_analysis() {
    let twice = format!("{ANALYSIS}{}", ANALYSIS.replace("churn-dq", "CHURN-dq"));
    assert_eq!(
        rejected(&twice),
        "[[analysis]], line 7: `CHURN-dq` has more than one table"
    );
    let two = format!("{ANALYSIS}{}", ANALYSIS.replace("churn-dq", "churn-mq"));
    assert_eq!(Policy::parse(two.as_bytes()).unwrap().analyses().len(), 2);
}
