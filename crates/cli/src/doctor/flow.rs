//! Whether events flow: a report of our own, and the datapoint that comes of it.

use super::{
    Patient,
    finding::{Finding, quoted},
};
use crate::{
    cloud::{World, ledger},
    terminal::progress,
};
use alerting::{DOCTOR_SCHEDULE, MonitorLedger};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;
use std::time::Duration;

const CHECK: &str = "event flow";
/// So often is looked for the datapoint.
const LOOK: Duration = Duration::from_millis(500);

impl<W: World> Patient<W> {
    /// Writes a report, waits for its datapoint, and removes the report.
    pub(super) async fn flow(&self, wait: SignedDuration) -> Finding {
        let (Some(bucket), Some(_)) = (&self.report_bucket, &self.state_bucket) else {
            return Finding::skipped(CHECK, "the report bucket and the state bucket have to be known")
                .mend("driftwarden doctor --stack NAME");
        };
        let world = self.world.as_ref();
        let began = world.now();
        let hour = Timestamp::from_second(began.as_second().div_euclid(3600) * 3600).unwrap_or(began);
        let before = match ledger(world, DOCTOR_SCHEDULE).await {
            Ok(ledger) => ledger.as_ref().and_then(|ledger| etag_of(ledger, hour)),
            Err(error) => return Finding::broken(CHECK, error).mend(self.forget()),
        };
        let prefix = if self.report_prefix.is_empty() {
            String::new()
        } else {
            format!("{}/", self.report_prefix)
        };
        // As of an endpoint of the same name, so that the folder is one with or without a prefix.
        let folder = TimeZone::UTC.to_datetime(hour).strftime("%Y/%m/%d/%H");
        let key = format!("{prefix}{DOCTOR_SCHEDULE}/{DOCTOR_SCHEDULE}/{folder}/constraint_violations.json");
        // With the time, so that each report is another object than the last one of the hour.
        let report = json!({"violations": [], "written_by": "driftwarden doctor", "written_at": began}).to_string();
        if let Err(error) = world.store(bucket, &key, report.into_bytes()).await {
            return Finding::unseen(CHECK, &error);
        }
        let found = self.wait_for(hour, before.as_deref(), began, wait).await;
        match world.remove(bucket, &key).await {
            Ok(()) => found,
            Err(error) => {
                let uri = format!("s3://{bucket}/{key}");
                Finding::unseen(CHECK, &error).mend(format!("aws s3 rm {}", quoted(&uri)))
            }
        }
    }

    async fn wait_for(&self, hour: Timestamp, before: Option<&str>, began: Timestamp, wait: SignedDuration) -> Finding {
        let world = self.world.as_ref();
        let mut recorded = None;
        loop {
            world.sleep(LOOK).await;
            let took = world.now().duration_since(began);
            progress(&format!("waiting for the datapoint of a report, {}", seconds(took)));
            let ledger = match ledger(world, DOCTOR_SCHEDULE).await {
                Ok(ledger) => ledger,
                Err(error) => return Finding::broken(CHECK, error).mend(self.forget()),
            };
            let ledger = ledger.filter(|ledger| etag_of(ledger, hour).is_some_and(|etag| Some(&*etag) != before));
            let owes = ledger.as_ref().map(|ledger| !ledger.outbox.entries().is_empty());
            if owes.is_some() {
                recorded = recorded.or(Some(took));
            }
            match (owes, recorded) {
                (Some(false), Some(recorded)) => {
                    return Finding::ok(
                        CHECK,
                        format!("a report became a datapoint within {}", seconds(recorded)),
                    );
                }
                _ if took < wait => {}
                (Some(true), Some(recorded)) => {
                    let seen = format!(
                        "a report became a datapoint within {}, and after {} its metrics are not published yet",
                        seconds(recorded),
                        seconds(took)
                    );
                    return Finding::broken(CHECK, seen).mend(self.logs("ingest"));
                }
                _ => {
                    let seen = format!(
                        "a report in the report bucket has not become a datapoint within {}: S3, EventBridge or ingest lost \
                         it, or is slow (--wait)",
                        seconds(took)
                    );
                    return Finding::broken(CHECK, seen).mend(self.logs("ingest"));
                }
            }
        }
    }

    /// How the ledger of the doctor's own schedule is removed.
    fn forget(&self) -> String {
        let bucket = self.state_bucket.as_deref().unwrap_or_default();
        format!(
            "aws s3 rm {}",
            quoted(&format!("s3://{bucket}/monitors/{DOCTOR_SCHEDULE}.json"))
        )
    }
}

/// The entity tag of the report that the datapoint of an hour is of.
fn etag_of(ledger: &MonitorLedger, hour: Timestamp) -> Option<String> {
    let mut datapoints = ledger.datapoints.iter();
    let datapoint = datapoints.find(|datapoint| datapoint.scheduled_time == hour)?;
    datapoint.evidence.report.as_ref().map(|report| report.etag.clone())
}

/// A duration as people wait: `2.5 s`.
fn seconds(duration: SignedDuration) -> String {
    format!("{}.{} s", duration.as_secs(), duration.subsec_millis().abs() / 100)
}
