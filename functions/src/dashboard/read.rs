//! Reads the state documents of models, from the state bucket or a copy of it.

use alerting::{DOCTOR_SCHEDULE, Monitor, MonitorLedger};
use futures_util::stream::{self, StreamExt as _};
use machine::{AwsError, Documents as Bucket, Fetched};
use model_dashboard::Documents;
use promotion::ExperimentDocument;
use remediation::{ModelDocument, Policy, schedule_key};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// Number of documents that are read concurrently.
const AT_ONCE: usize = 32;

/// The state documents of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelState {
    /// Name of the model.
    pub model: String,
    /// `models/{model}.json`, if it exists.
    pub document: Option<ModelDocument>,
    /// Ledgers of the model's monitors, sorted by monitor type and schedule.
    pub ledgers: Vec<MonitorLedger>,
    /// `experiments/{model}.json`, if it exists.
    pub experiments: Option<ExperimentDocument>,
    /// Documents that could not be read, one message each.
    pub notes: Vec<String>,
}

impl ModelState {
    /// The documents, as the pages need them.
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

/// Reads a document. `None` if it does not exist or cannot be parsed; the latter adds a note.
pub(crate) async fn document<T: DeserializeOwned>(
    clients: &impl Bucket,
    key: &str,
    notes: &mut Vec<String>,
) -> Result<Option<T>, AwsError> {
    match clients.read(key, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => match serde_json::from_slice(&body) {
            Ok(document) => Ok(Some(document)),
            Err(error) => {
                notes.push(format!("failed to parse `{key}` in the state bucket: {error}"));
                Ok(None)
            }
        },
    }
}

/// The part between the prefix and `.json` of all keys with the prefix.
async fn names(clients: &impl Bucket, prefix: &str) -> Result<Vec<String>, AwsError> {
    let keys = clients.keys(prefix).await?;
    let name = |key: &String| Some(key.strip_prefix(prefix)?.strip_suffix(".json")?.to_owned());
    Ok(keys.iter().filter_map(name).collect())
}

/// Lists all models in the state bucket with the schedules of their monitors, and the documents that could not be read.
///
/// # Errors
/// If a call to AWS fails.
pub async fn models(clients: &impl Bucket) -> Result<(BTreeMap<String, BTreeSet<String>>, Vec<String>), AwsError> {
    let mut models: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for prefix in ["models/", "experiments/"] {
        for name in names(clients, prefix).await? {
            models.entry(name).or_default();
        }
    }
    let schedules = schedules(clients).await?;
    let (monitors, notes) = monitors(clients, &schedules).await?;
    for (schedule, model) in monitors {
        models.entry(model).or_default().insert(schedule);
    }
    Ok((models, notes))
}

/// Lists the schedules of all ledgers in the state bucket, as they are written in keys.
async fn schedules(clients: &impl Bucket) -> Result<Vec<String>, AwsError> {
    let mut schedules = names(clients, "monitors/").await?;
    // `driftwarden doctor` writes this ledger. It belongs to no model.
    schedules.retain(|schedule| schedule != DOCTOR_SCHEDULE);
    Ok(schedules)
}

/// Reads which model each ledger belongs to, as pairs of schedule and model.
async fn monitors(
    clients: &impl Bucket,
    schedules: &[String],
) -> Result<(Vec<(String, String)>, Vec<String>), AwsError> {
    /// The part of a ledger that names the model. Datapoints are not parsed.
    #[derive(Deserialize)]
    struct LedgerHead {
        monitor: Monitor,
    }

    let read = schedules.iter().map(|schedule| async move {
        let mut notes = Vec::new();
        let head = document::<LedgerHead>(clients, &format!("monitors/{schedule}.json"), &mut notes).await;
        (schedule, head, notes)
    });
    let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
    let (mut monitors, mut notes) = (Vec::new(), Vec::new());
    while let Some((schedule, head, failed)) = read.next().await {
        notes.extend(failed);
        if let Some(head) = head? {
            monitors.push((schedule.clone(), head.monitor.model));
        }
    }
    notes.sort();
    Ok((monitors, notes))
}

/// Models and schedules of the ledgers whose schedule is not `known`: monitors that have never been rendered. Other ledgers are not
/// read.
pub(crate) async fn unassigned(
    clients: &impl Bucket,
    known: &BTreeSet<String>,
) -> Result<BTreeMap<String, BTreeSet<String>>, AwsError> {
    let mut schedules = schedules(clients).await?;
    schedules.retain(|schedule| !known.contains(schedule));
    let (monitors, _) = monitors(clients, &schedules).await?;
    let mut models: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (schedule, model) in monitors {
        models.entry(model).or_default().insert(schedule);
    }
    Ok(models)
}

/// Reads all documents of one model.
///
/// # Errors
/// If a call to AWS fails.
pub async fn model(clients: &impl Bucket, model: &str, schedules: &BTreeSet<String>) -> Result<ModelState, AwsError> {
    let mut notes = Vec::new();
    let model_document = document::<ModelDocument>(clients, &format!("models/{model}.json"), &mut notes).await?;
    let experiments = document(clients, &ExperimentDocument::key(model), &mut notes).await?;
    let mut wanted: BTreeSet<String> = schedules.iter().map(|schedule| schedule_key(schedule)).collect();
    wanted.extend(
        model_document
            .iter()
            .flat_map(|document| document.alerts.keys().cloned()),
    );
    let mut ledgers: Vec<MonitorLedger> = Vec::new();
    for schedule in &wanted {
        let ledger = document::<MonitorLedger>(clients, &format!("monitors/{schedule}.json"), &mut notes).await?;
        // The policy may have assigned the monitor to another model.
        ledgers.extend(ledger.filter(|ledger| ledger.monitor.model == model));
    }
    let order = |ledger: &MonitorLedger| (ledger.monitor.monitor_type, ledger.monitor.schedule.clone());
    ledgers.sort_by_key(order);
    Ok(ModelState {
        model: model.to_owned(),
        document: model_document,
        ledgers,
        experiments,
        notes,
    })
}
