//! The function under test, configured by the variables of a test.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use functions::ingest::{Config, Ingest};
use functions::remediate::Remediate;
use functions::sweep::Sweep;
use remediation::{PipelineStart, Settings};
use shell::config::Vars;

/// The function `ingest` with these variables, in addition to the required ones.
pub(crate) fn ingest(more: &[(&str, &str)]) -> Ingest {
    let vars = Vars(|name: &str| {
        let required = [("STATE_BUCKET", "driftwarden-state"), ("EVENT_BUS_NAME", "driftwarden")];
        let mut all = required.iter().chain(more);
        all.find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    });
    Ingest::new(Config::from_vars(&vars).unwrap())
}

/// The function `sweep` with these variables.
pub(crate) fn function(more: &[(&str, &str)], any_bucket: bool) -> Sweep {
    let settings = Settings {
        pipeline: "retraining".into(),
        pipeline_start: PipelineStart::Remediate,
    };
    Sweep::new(ingest(more), Remediate::new(settings), any_bucket)
}
