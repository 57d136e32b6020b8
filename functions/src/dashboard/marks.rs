//! Marks of what has to be rendered, and the claim of the one invocation that renders.
//!
//! Events do not render. Each leaves a mark: an empty object whose key has the time, the event, and the model. Many events at the
//! same time therefore cost one small write each and never conflict. Every minute, one invocation renders what is marked and
//! deletes the marks that it had listed before. A mark that arrives during rendering has another key, and stays.

use crate::Error;
use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use machine::{Clock, Documents, ETag, Fetched, Kind, Precondition};
use serde::{Deserialize, Serialize};
use shell::ports::Marks as DeleteMarks;
use std::collections::BTreeMap;

/// Prefix of the marks in the state bucket.
pub(crate) const MARKS: &str = "dirty/";
/// Document of the invocation that renders.
const WRITER: &str = "dashboard/data/writer.json";
/// Number of marks that are deleted concurrently.
const DELETIONS_AT_ONCE: usize = 32;
/// Maximum duration of an invocation (Lambda's quota).
const MAX_DURATION: SignedDuration = SignedDuration::from_mins(15);

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    key: String,
    /// Time at which the mark was left.
    pub since: Timestamp,
}

/// What has to be rendered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// Marks of each model, oldest first.
    pub models: BTreeMap<String, Vec<Mark>>,
    /// Marks of all models, oldest first.
    pub all: Vec<Mark>,
}

impl Marks {
    /// Lists the marks.
    pub(crate) async fn list(clients: &impl Documents) -> Result<Self, Error> {
        let mut marks = Self::default();
        // Keys are listed in order, and begin with the time.
        for key in clients.keys(MARKS).await.map_err(Error::Aws)? {
            let Some((since, model)) = parse(&key) else {
                tracing::warn!(key, "mark ignored: its key has another format");
                continue;
            };
            let model = model.map(str::to_owned);
            let mark = Mark { key, since };
            match model {
                Some(model) => marks.models.entry(model).or_default().push(mark),
                None => marks.all.push(mark),
            }
        }
        Ok(marks)
    }

    /// Whether nothing has to be rendered.
    pub(crate) fn is_empty(&self) -> bool {
        self.models.is_empty() && self.all.is_empty()
    }

    /// Models that have to be rendered; first the one that has been marked longest.
    pub(crate) fn longest_first(&self) -> Vec<String> {
        let mut models: Vec<_> = self.models.iter().collect();
        models.sort_by_key(|(_, marks)| marks.first().map(|mark| mark.since));
        models.into_iter().map(|(model, _)| model.clone()).collect()
    }
}

/// Time and model of a mark. The model is `None` for a mark of all models.
fn parse(key: &str) -> Option<(Timestamp, Option<&str>)> {
    let mut parts = key.strip_prefix(MARKS)?.splitn(3, '/');
    let since = parts.next()?.parse().ok()?;
    parts.next()?;
    Some((since, parts.next()))
}

/// Leaves a mark for a model, or for all models (`None`).
pub(crate) async fn leave(
    clients: &(impl Documents + Clock),
    event_id: &str,
    model: Option<&str>,
) -> Result<(), Error> {
    let id: String = event_id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let model = model.map(|model| format!("/{model}")).unwrap_or_default();
    let key = format!("{MARKS}{:.3}/{id}{model}", clients.now());
    match clients.write(&key, Vec::new(), &Precondition::Absent).await {
        Ok(_) => Ok(()),
        // A repeated delivery of the event.
        Err(error) if error.kind == Kind::Conflict => Ok(()),
        Err(error) => Err(Error::Aws(error)),
    }
}

/// Deletes marks.
pub(crate) async fn delete(clients: &impl DeleteMarks, marks: impl IntoIterator<Item = Mark>) -> Result<(), Error> {
    let deletions = marks
        .into_iter()
        .map(|mark| async move { clients.delete_mark(&mark.key).await });
    let mut deletions = stream::iter(deletions).buffer_unordered(DELETIONS_AT_ONCE);
    while let Some(deleted) = deletions.next().await {
        deleted.map_err(Error::Aws)?;
    }
    Ok(())
}

/// Claim of the invocation that renders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Writer {
    /// Lambda request ID of the invocation. Lambda's retries have the same ID.
    by: String,
    /// Time of the claim.
    since: Timestamp,
    /// Time at which the claim ends: the invocation has ended by then.
    until: Timestamp,
}

/// Claim held by this invocation.
#[derive(Debug)]
pub(crate) struct WriterClaim {
    writer: Writer,
    etag: ETag,
}

impl WriterClaim {
    /// Claims the rendering. `None` if another invocation renders.
    pub(crate) async fn take(
        clients: &(impl Documents + Clock),
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Option<Self>, Error> {
        let now = clients.now();
        let fetched = clients.read(WRITER, None).await.map_err(Error::Aws)?;
        let precondition = match fetched {
            Fetched::Found(body, etag) => {
                // A claim that cannot be parsed, for example of a later version, has no end. It is replaced.
                let other = serde_json::from_slice::<Writer>(&body).ok();
                if other.is_some_and(|other| other.by != request_id && other.until > now) {
                    return Ok(None);
                }
                Precondition::Unchanged(etag)
            }
            Fetched::Absent | Fetched::Unchanged => Precondition::Absent,
        };
        let writer = Writer {
            by: request_id.to_owned(),
            since: now,
            until: deadline.min(now.saturating_add(MAX_DURATION).unwrap_or(Timestamp::MAX)),
        };
        match write(clients, &writer, &precondition).await {
            Ok(etag) => Ok(Some(Self { writer, etag })),
            Err(error) if error.kind == Kind::Conflict => Ok(None),
            Err(error) => Err(Error::Aws(error)),
        }
    }

    /// Ends the claim. If that fails, it ends with the time limit of the invocation.
    pub(crate) async fn release(self, clients: &(impl Documents + Clock)) {
        let Self { mut writer, etag } = self;
        writer.until = clients.now();
        if let Err(error) = write(clients, &writer, &Precondition::Unchanged(etag)).await {
            tracing::warn!(error = %error, "failed to release the claim of the pages");
        }
    }
}

async fn write(
    clients: &impl Documents,
    writer: &Writer,
    precondition: &Precondition,
) -> Result<ETag, machine::AwsError> {
    let body = serde_json::to_vec(writer).unwrap_or_default();
    clients.write(WRITER, body, precondition).await
}
