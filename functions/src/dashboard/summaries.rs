//! The stored summaries of all models, from which the overview is rendered. They are one object: the overview needs all of them,
//! and only the invocation that renders writes them.

use crate::Error;
use crate::dashboard::{bytes, json};
use machine::{Documents, ETag, Kind, Precondition};
use model_dashboard::Summary;
use remediation::schedule_key;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Key of the summaries in the state bucket.
const SUMMARIES: &str = "dashboard/data/summaries.json";

/// The stored summaries of all models.
#[derive(Debug)]
pub(crate) struct Summaries {
    /// Summaries by model.
    pub models: BTreeMap<String, Summary>,
    /// Documents that could not be read at the latest rebuild, one message each.
    pub notes: Vec<String>,
    /// Whether there are summaries in a format that this version reads. Otherwise all models have to be rendered.
    pub is_complete: bool,
    etag: Option<ETag>,
}

/// Content of [`SUMMARIES`].
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    #[serde(default)]
    notes: Vec<String>,
    models: Vec<Summary>,
}

impl Summaries {
    /// Reads the summaries of all models.
    pub(crate) async fn read(clients: &impl Documents) -> Result<Self, Error> {
        let (body, etag) = bytes(clients, SUMMARIES).await?;
        let content = body.and_then(|body| serde_json::from_slice::<Content>(&body).ok());
        let is_complete = content.is_some();
        let (models, notes) = content.map_or_else(Default::default, |content| (content.models, content.notes));
        let by_model = |summary: Summary| (summary.model.clone(), summary);
        Ok(Self {
            models: models.into_iter().map(by_model).collect(),
            notes,
            is_complete,
            etag,
        })
    }

    /// Schedules of all monitors, as they are written in keys.
    pub(crate) fn schedules(&self) -> BTreeSet<String> {
        let monitors = self.models.values().flat_map(|summary| &summary.monitors);
        monitors.map(|monitor| schedule_key(&monitor.schedule)).collect()
    }

    /// Writes the summaries. `false` if another invocation has written them.
    pub(crate) async fn write(&mut self, clients: &impl Documents) -> Result<bool, Error> {
        let content = Content {
            version: 1,
            notes: self.notes.clone(),
            models: self.models.values().cloned().collect(),
        };
        let precondition = self.etag.take().map_or(Precondition::Absent, Precondition::Unchanged);
        match clients.write(SUMMARIES, json(&content), &precondition).await {
            Ok(etag) => {
                self.etag = Some(etag);
                self.is_complete = true;
                Ok(true)
            }
            Err(error) if error.kind == Kind::Conflict => Ok(false),
            Err(error) => Err(Error::Aws(error)),
        }
    }
}
