//! `sweep.json`: when each monitor and model was last swept, and the settings of each schedule with the times of their changes.
//!
//! The document decides the order of a sweep. A pass sweeps every item once, also over several invocations. Losing it costs no
//! result: the next sweep starts a new pass, and takes the present settings of a schedule for those of the past.

use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, Documents, ETag, Fetched, Kind, Precondition, UpdateError, parse_document};
use model_monitor::ScheduleExpression;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Key of the document in the state bucket.
pub(crate) const SWEEP_KEY: &str = "sweep.json";
/// Format version of the document.
const VERSION: u64 = 1;
/// Number of changes of a schedule's settings that are remembered.
const MAX_SETTINGS: usize = 16;
/// Time between two complete lists without a monitor after which it is gone.
const RETIRED_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Executions may start up to 20 minutes late (developer guide). If a schedule was stopped before, they never start.
const MAX_START_DELAY: SignedDuration = SignedDuration::from_mins(20);

/// Time after which an item is read again, even if nothing has changed.
const QUIET_FOR: SignedDuration = SignedDuration::from_hours(18);

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SweepDocument {
    version: u64,
    /// Rate of requests to SageMaker at the end of the last sweep, in requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<f64>,
    /// Monitors by the key of their schedule.
    #[serde(default)]
    pub(crate) monitors: Pass<MonitorState>,
    /// Models by name.
    #[serde(default)]
    pub(crate) models: Pass<ModelState>,
    /// Fields of a newer release.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for SweepDocument {
    fn default() -> Self {
        Self {
            version: VERSION,
            requests_per_second: None,
            monitors: Pass::default(),
            models: Pass::default(),
            rest: Map::new(),
        }
    }
}

/// Items of which each is swept once per pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pass<T> {
    /// Time at which the present pass began.
    #[serde(default = "beginning")]
    pub(crate) began_at: Timestamp,
    /// The items.
    #[serde(default = "BTreeMap::new")]
    pub(crate) items: BTreeMap<String, T>,
}

fn beginning() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

impl<T> Default for Pass<T> {
    fn default() -> Self {
        Self {
            began_at: beginning(),
            items: BTreeMap::new(),
        }
    }
}

/// An item of a pass.
pub(crate) trait Item {
    /// State of an item that is seen for the first time.
    fn first_seen(now: Timestamp) -> Self;
    /// Time of the last sweep, or at which the item was first seen.
    fn age_since(&self) -> Timestamp;
    /// Time of the last sweep. `None` before the first one.
    fn swept_at(&self) -> Option<Timestamp>;
    /// Whether the item is swept before others of its pass.
    fn is_urgent(&self) -> bool;
}

/// State of a monitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MonitorState {
    first_seen: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swept_at: Option<Timestamp>,
    /// Time until which a schedule of another deployment is not examined again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) foreign_until: Option<Timestamp>,
    /// Scheduled time up to which the executions of a schedule without a ledger were examined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) examined_until: Option<Timestamp>,
    /// `LastModifiedTime` of the schedule when it was last described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) described_as_of: Option<Timestamp>,
    /// Whether SageMaker has listed the schedule, or the policy has had its analysis.
    #[serde(default)]
    has_existed: bool,
    /// Time of the first complete list without the monitor. `None` while it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absent_since: Option<Timestamp>,
    /// Settings of the schedule, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settings: Vec<ScheduleSettings>,
    /// Scheduled time up to which the lists of SageMaker were compared. The ledger records it only from time to time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compared_until: Option<Timestamp>,
    /// Set if nothing was left to do for the monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quiet: Option<Quiet>,
}

/// What was true when an item was last read and nothing was left to do for it. While it is true, the item is not read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quiet {
    /// Time at which the item was read.
    pub(crate) since: Timestamp,
    /// The model of the item.
    pub(crate) model: String,
    /// Hash of all that could lead to work: entity tags, policy version, lists.
    pub(crate) fingerprint: String,
}

impl Quiet {
    /// Nothing was left to do for an item.
    pub(crate) fn new(since: Timestamp, model: &str, fingerprint: String) -> Self {
        Self {
            since,
            model: model.to_owned(),
            fingerprint,
        }
    }

    /// Whether all is as it was, so that the item need not be read again.
    pub(crate) fn holds(&self, fingerprint: &str, now: Timestamp) -> bool {
        self.fingerprint == fingerprint && now.duration_since(self.since) < QUIET_FOR
    }
}

/// Settings of a schedule in a time range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScheduleSettings {
    /// Start of the time range.
    since: Timestamp,
    /// Time at which a sweep last found these settings.
    seen_at: Timestamp,
    /// Schedule expression. `None` while the schedule is stopped, and for one that runs once.
    expression: Option<String>,
}

/// State of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelState {
    first_seen: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swept_at: Option<Timestamp>,
    /// Whether the model had an open incident or pending effects at the last sweep.
    #[serde(default)]
    pub(crate) is_open: bool,
    /// Set if nothing was left to do for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quiet: Option<Quiet>,
}

impl MonitorState {
    /// Records whether the monitor exists. Returns whether it has retired. A list that is not complete retires nothing, and a
    /// monitor that was never listed, because other tools write its reports, only falls silent.
    pub(crate) fn observe_existence(&mut self, exists: bool, is_complete: bool, now: Timestamp) -> bool {
        if exists {
            self.has_existed = true;
            self.absent_since = None;
            return false;
        }
        if !self.has_existed || !is_complete {
            return false;
        }
        let since = *self.absent_since.get_or_insert(now);
        now.duration_since(since) >= RETIRED_AFTER
    }
}

impl Item for MonitorState {
    fn first_seen(now: Timestamp) -> Self {
        Self {
            first_seen: now,
            swept_at: None,
            foreign_until: None,
            examined_until: None,
            described_as_of: None,
            has_existed: false,
            absent_since: None,
            settings: Vec::new(),
            compared_until: None,
            quiet: None,
        }
    }

    fn age_since(&self) -> Timestamp {
        self.swept_at.unwrap_or(self.first_seen)
    }

    fn swept_at(&self) -> Option<Timestamp> {
        self.swept_at
    }

    fn is_urgent(&self) -> bool {
        false
    }
}

impl Item for ModelState {
    fn first_seen(now: Timestamp) -> Self {
        Self {
            first_seen: now,
            swept_at: None,
            is_open: false,
            quiet: None,
        }
    }

    fn age_since(&self) -> Timestamp {
        self.swept_at.unwrap_or(self.first_seen)
    }

    fn swept_at(&self) -> Option<Timestamp> {
        self.swept_at
    }

    fn is_urgent(&self) -> bool {
        self.is_open || self.swept_at.is_none()
    }
}

impl<T: Item> Pass<T> {
    /// Adds new items, removes those that are gone if the list is complete, and begins a new pass if the last one is complete.
    pub(crate) fn update(&mut self, present: impl Iterator<Item = String>, is_complete: bool, now: Timestamp) {
        let present: BTreeSet<String> = present.collect();
        if is_complete {
            self.items.retain(|key, _| present.contains(key));
        }
        for key in present {
            self.items.entry(key).or_insert_with(|| T::first_seen(now));
        }
        if self.items.values().all(|item| item.swept_at() >= Some(self.began_at)) {
            self.began_at = now;
        }
    }

    /// Rank of an item in a sweep, lowest first: those that the pass has not swept yet, of these the urgent ones, and then the one
    /// that was not swept for the longest time.
    pub(crate) fn rank(&self, key: &str, is_urgent: bool) -> (bool, bool, Option<Timestamp>) {
        let Some(item) = self.items.get(key) else {
            return (false, !is_urgent, None);
        };
        let is_swept = item.swept_at() >= Some(self.began_at);
        (is_swept, !(is_urgent || item.is_urgent()), item.swept_at())
    }

    /// Time since the item was swept that was not swept for the longest time.
    pub(crate) fn age(&self, now: Timestamp) -> SignedDuration {
        let ages = self.items.values().map(|item| now.duration_since(item.age_since()));
        ages.max().unwrap_or_default().max(SignedDuration::ZERO)
    }
}

impl MonitorState {
    /// Whether the expression of a schedule has to be read: the schedule was changed, started, or never read.
    pub(crate) fn needs_expression(&self, last_modified: Timestamp) -> bool {
        let latest = self.settings.last();
        latest.is_none_or(|latest| latest.expression.is_none()) || self.described_as_of != Some(last_modified)
    }

    /// Expression of the schedule at the last sweep.
    pub(crate) fn expression(&self) -> Option<&str> {
        self.settings.last()?.expression.as_deref()
    }

    /// Records the present settings. `expression` is `None` while the schedule is stopped. `since` is the time from which the first
    /// known settings count, and `last_modified` the latest time at which other settings changed to these.
    pub(crate) fn observe(
        &mut self,
        expression: Option<&str>,
        since: Timestamp,
        last_modified: Timestamp,
        now: Timestamp,
    ) {
        let since = match self.settings.last_mut() {
            Some(latest) if latest.expression.as_deref() == expression => {
                latest.seen_at = latest.seen_at.max(now);
                return;
            }
            Some(latest) => last_modified.max(latest.seen_at).min(now),
            None => since,
        };
        self.settings.push(ScheduleSettings {
            since,
            seen_at: now,
            expression: expression.map(ToOwned::to_owned),
        });
        let excess = self.settings.len().saturating_sub(MAX_SETTINGS);
        self.settings.drain(..excess);
    }

    /// Records that the settings are as they were at the last sweep.
    pub(crate) fn observe_no_change(&mut self, now: Timestamp) {
        if let Some(latest) = self.settings.last_mut() {
            latest.seen_at = latest.seen_at.max(now);
        }
    }

    /// Full hours after `after`, up to and including `until`, at which executions were due by the settings of that time.
    pub(crate) fn due(&self, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let mut due = Vec::new();
        for (at, settings) in self.settings.iter().enumerate() {
            let expression = settings.expression.as_deref().and_then(ScheduleExpression::parse);
            let Some(expression) = expression else {
                continue;
            };
            let until = if at + 1 < self.settings.len() {
                // Changed after this time: an execution that was due shortly before it may never have started.
                until.min(
                    settings
                        .seen_at
                        .saturating_sub(MAX_START_DELAY)
                        .unwrap_or(Timestamp::MIN),
                )
            } else {
                until
            };
            // An execution is due at the start of the range, too.
            let before = settings
                .since
                .saturating_sub(SignedDuration::from_secs(1))
                .unwrap_or(Timestamp::MIN);
            due.extend(expression.due(after.max(before), until));
        }
        due
    }
}

/// The document as loaded.
pub(crate) struct LoadedState {
    pub(crate) document: SweepDocument,
    /// Condition of the next write. `None` for a document of a newer release, which is not written.
    precondition: Option<Precondition>,
}

impl LoadedState {
    /// State that could not be read, and is not written.
    pub(crate) fn unknown() -> Self {
        Self {
            document: SweepDocument::default(),
            precondition: None,
        }
    }

    /// Loads the document. One that cannot be parsed is replaced.
    pub(crate) async fn load(clients: &impl Documents) -> Result<Self, AwsError> {
        let (document, precondition) = match clients.read(SWEEP_KEY, None).await? {
            Fetched::Absent | Fetched::Unchanged => (SweepDocument::default(), Some(Precondition::Absent)),
            Fetched::Found(body, etag) => match parse_document(SWEEP_KEY, &body, VERSION) {
                Ok(document) => (document, Some(Precondition::Unchanged(etag))),
                Err(error @ UpdateError::Newer { .. }) => {
                    tracing::warn!(error = %error, "the order of this sweep is not recorded");
                    (SweepDocument::default(), None)
                }
                Err(error) => {
                    tracing::warn!(error = %machine::chain(&error), "the order of earlier sweeps is unknown: a new pass begins");
                    (SweepDocument::default(), Some(Precondition::Unchanged(etag)))
                }
            },
        };
        Ok(Self { document, precondition })
    }

    /// Writes the document. If it fails, or another sweep was faster, this is only logged: the next sweep repeats some items.
    pub(crate) async fn store(&mut self, clients: &impl Documents) {
        let Some(precondition) = &self.precondition else {
            return;
        };
        let body = serde_json::to_vec(&self.document).map_err(|error| AwsError {
            operation: "s3:PutObject",
            resource: SWEEP_KEY.to_owned(),
            kind: Kind::Rejected,
            message: error.to_string(),
        });
        let written: Result<ETag, AwsError> = match body {
            Ok(body) => clients.write(SWEEP_KEY, body, precondition).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(etag) => self.precondition = Some(Precondition::Unchanged(etag)),
            Err(error) => {
                tracing::warn!(error = %error, "failed to record the order of this sweep");
                self.precondition = None;
            }
        }
    }
}
