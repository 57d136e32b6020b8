//! Datasets that are larger than one invocation: each object becomes a partial profile, in a branch of its own; then the
//! partial profiles become one, and its report. Order does not matter: a state machine maps over the objects
//! (`infra/analysis.asl.json`).

use crate::{
    AnalyzeError, World,
    datasets::{Failed, read_objects},
    execution::{Executed, Execution, baseline},
};
use analysis::{PartialProfile, Profile};
use analyzer::{Dataset, findings::Findings};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shell::{
    Kind,
    ports::{ListedObject, Precondition},
};
use tracing::Instrument as _;

/// Where partial profiles lie in the state bucket, until its lifecycle rule removes them.
const PARTIALS: &str = "partials/";
/// A partial profile is at most this large.
const MAX_PARTIAL: u64 = 512 << 20;

/// `profile`: one object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProfileRequest {
    /// The run that it belongs to: the state machine's execution.
    pub run: String,
    /// The bucket of the object.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The monitoring schedule.
    pub schedule: String,
}

/// A partial profile that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profiled {
    /// Where it lies in the state bucket.
    pub partial: String,
    /// How many rows the object has.
    pub item_count: u64,
}

/// `merge`: the partial profiles of a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MergeRequest {
    /// The run.
    pub run: String,
    /// The monitoring schedule.
    pub schedule: String,
    /// The hour that the execution was due.
    pub scheduled_time: Timestamp,
}

/// A partial profile, with what is wrong with the object.
#[derive(Serialize, Deserialize)]
struct Partial {
    object: String,
    profile: PartialProfile,
    notes: Vec<String>,
}

/// Makes the partial profile of an object.
pub(crate) async fn profile(
    world: &impl World,
    execution: &Execution<'_>,
    request: &ProfileRequest,
) -> Result<Profiled, AnalyzeError> {
    if let Some(reason) = execution.not_in_parts() {
        return Err(AnalyzeError::Data(reason));
    }
    let found = world.objects(&request.bucket, &request.key).await?;
    let uri = format!("s3://{}/{}", request.bucket, request.key);
    let listed: Vec<ListedObject> = found.into_iter().filter(|object| object.key == request.key).collect();
    if listed.is_empty() {
        return Err(AnalyzeError::Data(format!("{uri} does not exist (any more)")));
    }
    let baseline_uri = execution.baseline_uri(world).await?;
    let read = async {
        // Objects that do not name their columns have those of the baseline.
        let options = execution.options(baseline(world, &baseline_uri).await?.columns());
        read_objects(world, &request.bucket, &listed, options, Profile::default).await
    };
    let dataset: Dataset<Profile> = match read.await {
        Ok(dataset) => dataset,
        Err(Failed::Aws(error)) => return Err(error.into()),
        Err(Failed::ForGood(reason)) => return Err(AnalyzeError::Data(reason)),
    };
    let partial = Partial {
        profile: PartialProfile::from(&dataset.sink),
        notes: dataset.findings.lines(),
        object: uri,
    };
    // The same object of the same run has the same place: a branch that is tried again overwrites nothing.
    let name = analysis::stable_hash(partial.object.as_bytes());
    let key = format!("{PARTIALS}{}/{name:016x}.json", request.run);
    let body = serde_json::to_vec(&partial).map_err(|source| AnalyzeError::Document {
        key: key.clone(),
        source,
    })?;
    match world.write(&key, body, &Precondition::Absent).await {
        Err(error) if error.kind != Kind::Conflict => Err(error.into()),
        _ => Ok(Profiled {
            partial: key,
            item_count: dataset.sink.item_count(),
        }),
    }
}

/// Merges the partial profiles of a run into the report of an execution.
pub(crate) async fn merge(
    world: &impl World,
    execution: &Execution<'_>,
    request: &MergeRequest,
) -> Result<Executed, AnalyzeError> {
    let prefix = format!("{PARTIALS}{}/", request.run);
    let mut merged = Profile::default();
    let mut notes = Vec::new();
    let keys = world.list(&prefix).await?;
    for key in &keys {
        let partial = match world.read(key, None).await? {
            shell::ports::Fetched::Found(body, _) if body.len() as u64 <= MAX_PARTIAL => {
                serde_json::from_slice::<Partial>(&body).map_err(|source| AnalyzeError::Document {
                    key: key.clone(),
                    source,
                })?
            }
            _ => {
                return Err(AnalyzeError::Data(format!(
                    "the partial profile `{key}` is gone, or too large"
                )));
            }
        };
        let unreadable = |error: String| AnalyzeError::Data(format!("`{key}`: {error}"));
        let profile = Profile::try_from(partial.profile).map_err(|error| unreadable(error.to_string()))?;
        merged.merge(&profile).map_err(|error| unreadable(error.to_string()))?;
        notes.extend(partial.notes);
    }
    let baseline_uri = execution.baseline_uri(world).await?;
    let report = match baseline(world, &baseline_uri).await {
        Err(failed) => Err(failed),
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
    execution.conclude(world, report).instrument(execution.about()).await
}
