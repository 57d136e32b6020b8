//! Datasets that are too large for one invocation. A state machine (`infra/analysis.asl.json`) maps over the objects: each becomes
//! a partial profile, in any order. Then the partial profiles are merged into one profile and its report.

use crate::Error;
use crate::analyze::{
    AnalyzeClients,
    datasets::{Failed, read_objects},
    execution::{Execution, ExecutionRecord, baseline},
};
use analysis::{PartialProfile, Profile};
use analyzer::{Dataset, findings::Findings};
use jiff::Timestamp;
use machine::{Kind, Precondition, UpdateError};
use serde::{Deserialize, Serialize};
use shell::ports::ListedObject;
use tracing::Instrument as _;

/// Prefix of partial profiles in the state bucket. A lifecycle rule deletes them.
const PARTIALS: &str = "partials/";
/// Size limit of a partial profile.
const MAX_PARTIAL_BYTES: u64 = 512 << 20;

/// Request `profile`: profiles one object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProfileRequest {
    /// Name of the state machine's execution.
    pub run: String,
    /// Bucket of the object.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Name of the monitoring schedule.
    pub schedule: String,
}

/// A partial profile that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRecord {
    /// Key of the partial profile in the state bucket.
    pub partial: String,
    /// Number of rows of the object.
    pub item_count: u64,
}

/// Request `merge`: merges the partial profiles of one execution of the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MergeRequest {
    /// Name of the state machine's execution.
    pub run: String,
    /// Name of the monitoring schedule.
    pub schedule: String,
    /// Scheduled time of the monitoring execution.
    pub scheduled_time: Timestamp,
}

/// A partial profile, with notes about its object.
#[derive(Serialize, Deserialize)]
struct Partial {
    object: String,
    profile: PartialProfile,
    notes: Vec<String>,
}

/// Creates the partial profile of an object.
pub(crate) async fn profile(
    clients: &impl AnalyzeClients,
    execution: &Execution<'_>,
    request: &ProfileRequest,
) -> Result<ProfileRecord, Error> {
    if let Some(reason) = execution.partial_profile_error() {
        return Err(Error::Data(reason));
    }
    let found = clients.objects(&request.bucket, &request.key).await?;
    let uri = format!("s3://{}/{}", request.bucket, request.key);
    let listed: Vec<ListedObject> = found.into_iter().filter(|object| object.key == request.key).collect();
    if listed.is_empty() {
        return Err(Error::Data(format!("{uri} does not exist")));
    }
    let baseline_uri = execution.baseline_uri(clients).await?;
    let read = async {
        // Objects without column names have those of the baseline.
        let options = execution.options(baseline(clients, &baseline_uri).await?.columns());
        read_objects(clients, &request.bucket, &listed, options, Profile::default).await
    };
    let dataset: Dataset<Profile> = match read.await {
        Ok(dataset) => dataset,
        Err(Failed::Aws(error)) => return Err(error.into()),
        Err(Failed::ForGood(reason)) => return Err(Error::Data(reason)),
    };
    let partial = Partial {
        profile: PartialProfile::from(&dataset.sink),
        notes: dataset.findings.lines(),
        object: uri,
    };
    // The same object and execution give the same key: the retry of a branch overwrites nothing.
    let name = analysis::stable_hash(partial.object.as_bytes());
    let key = format!("{PARTIALS}{}/{name:016x}.json", request.run);
    let body = serde_json::to_vec(&partial).map_err(|source| UpdateError::Unreadable {
        key: key.clone(),
        source,
    })?;
    match clients.write(&key, body, &Precondition::Absent).await {
        Err(error) if error.kind != Kind::Conflict => Err(error.into()),
        _ => Ok(ProfileRecord {
            partial: key,
            item_count: dataset.sink.item_count(),
        }),
    }
}

/// Merges the partial profiles of a state machine's execution into the report of a monitoring execution.
pub(crate) async fn merge(
    clients: &impl AnalyzeClients,
    execution: &Execution<'_>,
    request: &MergeRequest,
) -> Result<ExecutionRecord, Error> {
    let prefix = format!("{PARTIALS}{}/", request.run);
    let mut merged = Profile::default();
    let mut notes = Vec::new();
    let keys = clients.keys(&prefix).await?;
    for key in &keys {
        let partial = match clients.read(key, None).await? {
            machine::Fetched::Found(body, _) if body.len() as u64 <= MAX_PARTIAL_BYTES => {
                serde_json::from_slice::<Partial>(&body).map_err(|source| UpdateError::Unreadable {
                    key: key.clone(),
                    source,
                })?
            }
            _ => {
                return Err(Error::Data(format!(
                    "the partial profile `{key}` no longer exists or is too large"
                )));
            }
        };
        let invalid = |error: String| Error::Data(format!("`{key}`: {error}"));
        let profile = Profile::try_from(partial.profile).map_err(|error| invalid(error.to_string()))?;
        merged.merge(&profile).map_err(|error| invalid(error.to_string()))?;
        notes.extend(partial.notes);
    }
    let baseline_uri = execution.baseline_uri(clients).await?;
    let report = match baseline(clients, &baseline_uri).await {
        Err(error) => Err(error),
        Ok(_) if keys.is_empty() => Ok(None),
        Ok(baseline) => {
            let dataset = Dataset {
                sink: merged,
                findings: Findings::default(),
                objects: keys.len(),
                incomplete: 0,
            };
            let report = execution.data_quality().analyze(&dataset, &baseline);
            report.map_err(Failed::from).map(|(mut report, _)| {
                notes.append(&mut report.notes);
                report.notes = notes;
                Some(report)
            })
        }
    };
    execution.conclude(clients, report).instrument(execution.span()).await
}
