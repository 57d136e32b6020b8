//! Checks the event flow: writes a report, and waits for its datapoint.

use super::{
    CheckedDeployment,
    finding::{Finding, quoted},
};
use crate::{
    cloud::{Clients, ledger},
    terminal::progress,
};
use alerting::{DOCTOR_SCHEDULE, MonitorLedger};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;
use std::time::Duration;

const CHECK: &str = "event flow";
/// Time between two checks for the datapoint.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl<W: Clients> CheckedDeployment<W> {
    /// Writes a report, waits for its datapoint, and removes the report.
    pub(super) async fn flow(&self, wait: SignedDuration) -> Finding {
        let (Some(bucket), Some(_)) = (&self.report_bucket, &self.state_bucket) else {
            return Finding::skipped(CHECK, "the report bucket or the state bucket is not known")
                .with_remedy("driftwarden doctor --stack NAME");
        };
        let clients = self.clients.as_ref();
        let began = clients.now();
        let hour = Timestamp::from_second(began.as_second().div_euclid(3600) * 3600).unwrap_or(began);
        let before = match ledger(clients, DOCTOR_SCHEDULE).await {
            Ok(ledger) => ledger.as_ref().and_then(|ledger| report_etag(ledger, hour)),
            Err(error) => return Finding::broken(CHECK, error.to_string()).with_remedy(self.remove_ledger_command()),
        };
        let prefix = if self.report_prefix.is_empty() {
            String::new()
        } else {
            format!("{}/", self.report_prefix)
        };
        // With an endpoint of the same name, so that the folder is valid with or without a prefix.
        let folder = TimeZone::UTC.to_datetime(hour).strftime("%Y/%m/%d/%H");
        let key = format!("{prefix}{DOCTOR_SCHEDULE}/{DOCTOR_SCHEDULE}/{folder}/constraint_violations.json");
        // The time makes each report a new object within the hour.
        let report = json!({"violations": [], "written_by": "driftwarden doctor", "written_at": began}).to_string();
        if let Err(error) = clients.store(bucket, &key, report.into_bytes()).await {
            return Finding::unknown(CHECK, &error);
        }
        let found = self.wait_for(hour, before.as_deref(), began, wait).await;
        match clients.remove(bucket, &key).await {
            Ok(()) => found,
            Err(error) => {
                let uri = format!("s3://{bucket}/{key}");
                Finding::unknown(CHECK, &error).with_remedy(format!("aws s3 rm {}", quoted(&uri)))
            }
        }
    }

    async fn wait_for(&self, hour: Timestamp, before: Option<&str>, began: Timestamp, wait: SignedDuration) -> Finding {
        let clients = self.clients.as_ref();
        let mut recorded = None;
        loop {
            clients.sleep(POLL_INTERVAL).await;
            let took = clients.now().duration_since(began);
            progress(&format!("waiting for the datapoint of a report, {}", seconds(took)));
            let ledger = match ledger(clients, DOCTOR_SCHEDULE).await {
                Ok(ledger) => ledger,
                Err(error) => {
                    return Finding::broken(CHECK, error.to_string()).with_remedy(self.remove_ledger_command());
                }
            };
            let ledger = ledger.filter(|ledger| report_etag(ledger, hour).is_some_and(|etag| Some(&*etag) != before));
            let pending = ledger.as_ref().map(|ledger| !ledger.outbox.entries().is_empty());
            if pending.is_some() {
                recorded = recorded.or(Some(took));
            }
            match (pending, recorded) {
                (Some(false), Some(recorded)) => {
                    return Finding::ok(
                        CHECK,
                        format!("a report became a datapoint within {}", seconds(recorded)),
                    );
                }
                _ if took < wait => {}
                (Some(true), Some(recorded)) => {
                    let seen = format!(
                        "a report became a datapoint within {}, but its metrics are not published after {}",
                        seconds(recorded),
                        seconds(took)
                    );
                    return Finding::broken(CHECK, seen).with_remedy(self.logs("ingest"));
                }
                _ => {
                    let seen = format!(
                        "a report in the report bucket has not become a datapoint within {}: S3, EventBridge, or ingest lost \
                         it or is slow (--wait sets the time)",
                        seconds(took)
                    );
                    return Finding::broken(CHECK, seen).with_remedy(self.logs("ingest"));
                }
            }
        }
    }

    /// Command that deletes the ledger of the doctor's schedule.
    fn remove_ledger_command(&self) -> String {
        let bucket = self.state_bucket.as_deref().unwrap_or_default();
        format!(
            "aws s3 rm {}",
            quoted(&format!("s3://{bucket}/monitors/{DOCTOR_SCHEDULE}.json"))
        )
    }
}

/// Entity tag of the report behind the datapoint of an hour.
fn report_etag(ledger: &MonitorLedger, hour: Timestamp) -> Option<String> {
    let mut datapoints = ledger.datapoints.iter();
    let datapoint = datapoints.find(|datapoint| datapoint.scheduled_time == hour)?;
    datapoint.evidence.report.as_ref().map(|report| report.etag.clone())
}

/// A duration in seconds: `2.5 s`.
fn seconds(duration: SignedDuration) -> String {
    format!("{}.{} s", duration.as_secs(), duration.subsec_millis().abs() / 100)
}
