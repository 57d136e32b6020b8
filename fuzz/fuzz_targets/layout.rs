//! Invariants tested:
//!
//! - no string causes a panic in the parsers of keys, URIs, and names;
//! - a folder that was parsed from a URI is parsed to the same value from every URI and key that it returns;
//! - a key outside of all configured prefixes is never a report.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_monitor::{MonitoringScheduleName, ReportFolder, S3Uri};

fuzz_target!(|texts: (String, String)| {
    let (text, prefix) = texts;
    let _: Option<MonitoringScheduleName> = MonitoringScheduleName::from_arn(&text);
    if let Some(uri) = S3Uri::parse(&text) {
        assert_eq!(S3Uri::parse(&uri.to_string()), Some(uri));
    }
    for prefixes in [vec![], vec![prefix.clone()]] {
        let _: Option<ReportFolder> = ReportFolder::from_key("bucket", &text, &prefixes);
        for uri in [text.clone(), format!("s3://bucket/{text}/2026/03/09/05")] {
            let Some(folder) = ReportFolder::from_uri(&uri, &prefixes) else {
                continue;
            };
            assert_eq!(
                ReportFolder::from_uri(&folder.uri().to_string(), &prefixes).as_ref(),
                Some(&folder)
            );
            for key in folder.violation_keys() {
                assert_eq!(
                    ReportFolder::from_key(&folder.bucket, &key, &prefixes).as_ref(),
                    Some(&folder)
                );
            }
            if let [prefix] = prefixes.as_slice() {
                assert!(folder.key.starts_with(prefix.trim_matches('/')));
            }
        }
    }
});
