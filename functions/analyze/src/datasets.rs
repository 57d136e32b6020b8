//! Objects of S3 as datasets, labels and configurations: what analyses, and experiments, are made of.

use analyzer::{
    Dataset, Object, ReadError, ReadOptions, Sink,
    job::{AnalysisConfig, JobError},
    read,
};
use futures_util::future::join;
use jiff::Timestamp;
use model_monitor::S3Uri;
use remediation::HourlyUri;
use shell::{
    AwsError, Kind,
    ports::{Datasets, FetchedObject, ListedObject, Reports},
    stream::downloads,
};
use std::collections::{BTreeMap, BTreeSet};

/// A file of a baseline is at most this large.
const MAX_BASELINE_FILE: u64 = 256 << 20;

/// Why reading or analysing data failed: for good, or for now.
#[derive(Debug)]
pub enum Failed {
    /// The same data would fail again: people have to mend something.
    ForGood(String),
    /// AWS failed.
    Aws(AwsError),
}

impl From<AwsError> for Failed {
    fn from(error: AwsError) -> Self {
        match error.kind {
            // A role or a URI has to be mended: the execution failed, and the next one may not.
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

/// What a file of a baseline, or a configuration, holds; `None` if there is none.
///
/// # Errors
/// If it cannot be read, or is too large.
pub async fn content(world: &impl Reports, uri: &S3Uri) -> Result<Option<Vec<u8>>, Failed> {
    match world.report(&uri.bucket, &uri.key, MAX_BASELINE_FILE).await? {
        FetchedObject::Absent => Ok(None),
        FetchedObject::Found(found) => Ok(Some(found.body)),
        FetchedObject::TooLarge(bytes) => Err(Failed::ForGood(format!(
            "{uri} is {bytes} bytes: at most {MAX_BASELINE_FILE} are read"
        ))),
    }
}

/// The configuration that the policy names.
///
/// # Errors
/// If there is none, or it is no configuration.
pub async fn config(world: &impl Reports, uri: &S3Uri) -> Result<AnalysisConfig, Failed> {
    let body = content(world, uri).await?;
    let body = body.ok_or_else(|| Failed::ForGood(format!("{uri}, the `config` of the policy, does not exist")))?;
    Ok(AnalysisConfig::parse(&uri.to_string(), &body).map_err(JobError::from)?)
}

/// The objects of some hours, in the order of the hours.
pub async fn listed(
    world: &impl Datasets,
    uri: &HourlyUri,
    hours: Vec<Timestamp>,
) -> Result<Vec<ListedObject>, AwsError> {
    // A template without hours has the same folder for each.
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    for prefix in hours.into_iter().map(|hour| uri.prefix(hour)) {
        if !seen.insert(prefix.clone()) {
            continue;
        }
        for object in world.objects(&uri.bucket, &prefix).await? {
            if object.bytes > 0 {
                found.insert(object.key.clone(), object);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Reads objects of S3 as one dataset.
pub async fn read_objects<S: Sink + 'static>(
    world: &impl Datasets,
    bucket: &str,
    listed: &[ListedObject],
    options: ReadOptions,
    sink: impl Fn() -> S + Send + Sync + 'static,
) -> Result<Dataset<S>, Failed> {
    with_objects(world, bucket, listed, move |objects| read(objects, &options, sink)).await
}

/// Carries out work on objects of S3 while they are downloaded.
///
/// # Errors
/// If an object cannot be read, or the work fails.
pub async fn with_objects<T: Send + 'static>(
    world: &impl Datasets,
    bucket: &str,
    listed: &[ListedObject],
    work: impl FnOnce(Vec<Object>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Failed> {
    let (streams, transfer) = downloads(world, bucket, listed);
    let objects = listed.iter().zip(streams).map(|(object, stream)| {
        let name = format!("s3://{bucket}/{}", object.key);
        Object::stream(name, Some(object.bytes), move || Ok(Box::new(stream)))
    });
    let objects = objects.collect();
    let reading = tokio::task::spawn_blocking(move || work(objects));
    let (read, ()) = join(reading, transfer).await;
    match read {
        Err(error) => Err(Failed::ForGood(format!("reading was given up: {error}"))),
        Ok(Ok(read)) => Ok(read),
        Ok(Err(ReadError::Io { object, source })) => match source.downcast::<AwsError>() {
            Ok(error) => Err(error.into()),
            Err(error) => Err(Failed::ForGood(format!("{object} cannot be read: {error}"))),
        },
        Ok(Err(error)) => Err(Failed::ForGood(error.to_string())),
    }
}
