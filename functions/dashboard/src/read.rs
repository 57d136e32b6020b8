//! The documents of models, out of the state bucket or a copy of it.

use alerting::{DOCTOR_SCHEDULE, Monitor, MonitorLedger};
use futures_util::stream::{self, StreamExt as _};
use model_dashboard::Documents;
use promotion::ExperimentDocument;
use remediation::{ModelDocument, Policy, schedule_key};
use serde::{Deserialize, de::DeserializeOwned};
use shell::{
    AwsError,
    ports::{Documents as Bucket, Fetched},
};
use std::collections::{BTreeMap, BTreeSet};

/// So many documents are read at the same time.
const AT_ONCE: usize = 32;

/// What the state bucket holds of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The model.
    pub model: String,
    /// Its document.
    pub document: Option<ModelDocument>,
    /// The ledgers of its monitors, by their schedules.
    pub ledgers: Vec<MonitorLedger>,
    /// Its experiments.
    pub experiments: Option<ExperimentDocument>,
    /// What could not be read, each in words.
    pub notes: Vec<String>,
}

impl Known {
    /// What pages are made of.
    pub fn documents<'a>(&'a self, policy: &'a Policy) -> Documents<'a> {
        Documents {
            model: &self.model,
            document: self.document.as_ref(),
            ledgers: &self.ledgers,
            experiments: self.experiments.as_ref(),
            policy,
        }
    }
}

/// A document; `None` if there is none, or none that can be read: then a note says so.
pub(crate) async fn document<T: DeserializeOwned>(
    world: &impl Bucket,
    key: &str,
    notes: &mut Vec<String>,
) -> Result<Option<T>, AwsError> {
    match world.read(key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => match serde_json::from_slice(&body) {
            Ok(document) => Ok(Some(document)),
            Err(error) => {
                notes.push(format!("{key} of the state bucket cannot be read: {error}"));
                Ok(None)
            }
        },
    }
}

/// What is between a prefix and `.json` of the keys below it.
async fn names(world: &impl Bucket, prefix: &str) -> Result<Vec<String>, AwsError> {
    let keys = world.list(prefix).await?;
    let name = |key: &String| Some(key.strip_prefix(prefix)?.strip_suffix(".json")?.to_owned());
    Ok(keys.iter().filter_map(name).collect())
}

/// Every model that the state bucket knows, with the schedules of its monitors; and what could not be read, each in words.
///
/// # Errors
/// If AWS fails.
pub async fn models(world: &impl Bucket) -> Result<(BTreeMap<String, BTreeSet<String>>, Vec<String>), AwsError> {
    /// What of a ledger says whose it is: its datapoints are left alone.
    #[derive(Deserialize)]
    struct Named {
        monitor: Monitor,
    }

    let mut models: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for prefix in ["models/", "experiments/"] {
        for name in names(world, prefix).await? {
            models.entry(name).or_default();
        }
    }
    let mut notes = Vec::new();
    let mut schedules = names(world, "monitors/").await?;
    // Made by `driftwarden doctor`: no model's.
    schedules.retain(|schedule| schedule != DOCTOR_SCHEDULE);
    let read = schedules.iter().map(|schedule| async move {
        let mut notes = Vec::new();
        let named = document::<Named>(world, &format!("monitors/{schedule}.json"), &mut notes).await;
        (schedule, named, notes)
    });
    let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
    while let Some((schedule, named, unread)) = read.next().await {
        notes.extend(unread);
        if let Some(named) = named? {
            models.entry(named.monitor.model).or_default().insert(schedule.clone());
        }
    }
    notes.sort();
    Ok((models, notes))
}

/// All of one model.
///
/// # Errors
/// If AWS fails.
pub async fn model(world: &impl Bucket, model: &str, schedules: &BTreeSet<String>) -> Result<Known, AwsError> {
    let mut notes = Vec::new();
    let found = document::<ModelDocument>(world, &format!("models/{model}.json"), &mut notes).await?;
    let experiments = document(world, &ExperimentDocument::key(model), &mut notes).await?;
    let mut wanted: BTreeSet<String> = schedules.iter().map(|schedule| schedule_key(schedule)).collect();
    wanted.extend(found.iter().flat_map(|document| document.alerts.keys().cloned()));
    let mut ledgers: Vec<MonitorLedger> = Vec::new();
    for schedule in &wanted {
        let ledger = document::<MonitorLedger>(world, &format!("monitors/{schedule}.json"), &mut notes).await?;
        // A policy may have given the monitor to another model since.
        ledgers.extend(ledger.filter(|ledger| ledger.monitor.model == model));
    }
    let order = |ledger: &MonitorLedger| (ledger.monitor.monitor_type, ledger.monitor.schedule.clone());
    ledgers.sort_by_key(order);
    Ok(Known {
        model: model.to_owned(),
        document: found,
        ledgers,
        experiments,
        notes,
    })
}
