//! S3 objects as datasets, labels, and configurations, for analyses and experiments.

use analyzer::{
    Dataset, Object, ReadError, ReadOptions, Sink,
    job::{AnalysisConfig, JobError},
    read,
};
use futures_util::future::join;
use jiff::Timestamp;
use machine::{AwsError, Kind};
use model_monitor::S3Uri;
use remediation::HourlyUri;
use shell::{
    ports::{Datasets, FetchedObject, ListedObject, Reports},
    stream::downloads,
};
use std::collections::{BTreeMap, BTreeSet};

/// Size limit of a baseline file.
const MAX_BASELINE_BYTES: u64 = 256 << 20;

/// Why data could not be read or analyzed.
#[derive(Debug)]
pub enum Failed {
    /// The same data would fail again: someone has to fix the data, the policy, or a permission.
    ForGood(String),
    /// A call to AWS failed. A retry may succeed.
    Aws(AwsError),
}

impl From<AwsError> for Failed {
    fn from(error: AwsError) -> Self {
        match error.kind {
            // A role or a URI has to be fixed. This execution has failed; a later one may succeed.
            Kind::Denied | Kind::NotFound | Kind::Rejected => Self::ForGood(error.to_string()),
            Kind::Transient | Kind::Conflict => Self::Aws(error),
        }
    }
}

impl From<JobError> for Failed {
    fn from(error: JobError) -> Self {
        Self::ForGood(error.to_string())
    }
}

/// Reads a baseline file or a configuration. `None` if it does not exist.
///
/// # Errors
/// If the file cannot be read, or is too large.
pub async fn content(clients: &impl Reports, uri: &S3Uri) -> Result<Option<Vec<u8>>, Failed> {
    match clients.report(&uri.bucket, &uri.key, MAX_BASELINE_BYTES).await? {
        FetchedObject::Absent => Ok(None),
        FetchedObject::Found(found) => Ok(Some(found.body)),
        FetchedObject::TooLarge(bytes) => Err(Failed::ForGood(format!(
            "{uri} has {bytes} bytes: the limit is {MAX_BASELINE_BYTES}"
        ))),
    }
}

/// Reads the analysis configuration that the policy names.
///
/// # Errors
/// If it does not exist, or is invalid.
pub async fn config(clients: &impl Reports, uri: &S3Uri) -> Result<AnalysisConfig, Failed> {
    let body = content(clients, uri).await?;
    let body = body.ok_or_else(|| {
        Failed::ForGood(format!(
            "the analysis configuration {uri} (`config` in the policy) does not exist"
        ))
    })?;
    Ok(AnalysisConfig::parse(&uri.to_string(), &body).map_err(JobError::from)?)
}

/// Lists the objects of some hours, in the order of their keys.
pub async fn listed(
    clients: &impl Datasets,
    uri: &HourlyUri,
    hours: Vec<Timestamp>,
) -> Result<Vec<ListedObject>, AwsError> {
    // A template without hours has the same folder for all of them.
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    for prefix in hours.into_iter().map(|hour| uri.prefix(hour)) {
        if !seen.insert(prefix.clone()) {
            continue;
        }
        for object in clients.objects(&uri.bucket, &prefix).await? {
            if object.bytes > 0 {
                found.insert(object.key.clone(), object);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Reads S3 objects as one dataset.
pub async fn read_objects<S: Sink + 'static>(
    clients: &impl Datasets,
    bucket: &str,
    listed: &[ListedObject],
    options: ReadOptions,
    sink: impl Fn() -> S + Send + Sync + 'static,
) -> Result<Dataset<S>, Failed> {
    with_objects(clients, bucket, listed, move |objects| read(objects, &options, sink)).await
}

/// Runs `work` on S3 objects while they are downloaded.
///
/// # Errors
/// If an object cannot be read, or the work fails.
pub async fn with_objects<T: Send + 'static>(
    clients: &impl Datasets,
    bucket: &str,
    listed: &[ListedObject],
    work: impl FnOnce(Vec<Object>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Failed> {
    let (streams, transfer) = downloads(clients, bucket, listed);
    let objects = listed.iter().zip(streams).map(|(object, stream)| {
        let name = format!("s3://{bucket}/{}", object.key);
        Object::stream(name, Some(object.bytes), move || Ok(Box::new(stream)))
    });
    let objects = objects.collect();
    let reading = tokio::task::spawn_blocking(move || work(objects));
    let (read, ()) = join(reading, transfer).await;
    match read {
        Err(error) => Err(Failed::ForGood(format!("reading was canceled: {error}"))),
        Ok(Ok(read)) => Ok(read),
        Ok(Err(ReadError::Io { object, source })) => match source.downcast::<AwsError>() {
            Ok(error) => Err(error.into()),
            Err(error) => Err(Failed::ForGood(format!("failed to read {object}: {error}"))),
        },
        Ok(Err(error)) => Err(Failed::ForGood(error.to_string())),
    }
}
