//! Lasting troubles of AWS in memory, the record of all writes, and the planted bugs of documents.

use super::{Inner, Memory, PlantedBug, executing};
use crate::ports::Schedule;
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, ETag, Fetched, Kind};
use remediation::{ExecutionStatus, FLEET_KEY, PAUSE_KEY, StartPipelineExecution};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Time after which the planted bug [`PlantedBug::FrozenStart`] executes a start that failed.
const FROZEN_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Field that a newer release adds to documents.
pub const NEWER_FIELD: &str = "newerField";

/// A write of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// Time of the write.
    pub at: Timestamp,
    /// Key of the document.
    pub key: String,
    /// Content of the document. `None` if it was deleted.
    pub body: Option<Vec<u8>>,
    /// Whether a function wrote the document, and not the test.
    pub by_function: bool,
}

#[derive(Debug, Default)]
pub(super) struct TroubleState {
    /// Operations that fail until they are repaired, with the start of the resource and the kind of the error.
    outages: Vec<(&'static str, String, Kind)>,
    /// Refused starts of pipeline executions, by the start of the display name: kind and message of the error.
    refused: BTreeMap<String, (Kind, String)>,
    /// Number of starts that were refused.
    refusals: usize,
    /// Writes since the last call of [`Memory::take_writes`], if they are recorded.
    writes: Option<Vec<DocumentWrite>>,
    /// Function that calls AWS at present.
    actor: &'static str,
    /// Keys of the documents that were read, while writes are recorded.
    reads: Vec<String>,
    /// Starts that failed, and the time at which the planted bug executes them.
    frozen: Vec<(StartPipelineExecution, Timestamp)>,
    /// First version of each ledger in each state of its alert, for [`PlantedBug::EdgeFacts`].
    edges: BTreeMap<String, (Value, Vec<u8>)>,
    /// First epoch of each monitor, for [`PlantedBug::SameEpoch`].
    epochs: BTreeMap<String, Value>,
}

impl Memory {
    /// Lets an operation fail for all resources that begin with a text, until [`Memory::repair`].
    pub fn break_operation(&self, operation: &'static str, resource: &str, kind: Kind) {
        let mut inner = self.inner();
        inner.lasting.outages.push((operation, resource.to_owned(), kind));
    }

    /// Ends the outages of an operation.
    pub fn repair(&self, operation: &str) {
        self.inner()
            .lasting
            .outages
            .retain(|(broken, _, _)| *broken != operation);
    }

    /// Lets the starts of pipeline executions fail whose display name begins with a text, until [`Memory::allow_start`].
    pub fn refuse_start(&self, display_name: &str, kind: Kind, message: &str) {
        let refused = (kind, message.to_owned());
        self.inner().lasting.refused.insert(display_name.to_owned(), refused);
    }

    /// Ends the refusal of starts.
    pub fn allow_start(&self, display_name: &str) {
        self.inner().lasting.refused.remove(display_name);
    }

    /// Number of starts of pipeline executions that were refused so far.
    pub fn refusals(&self) -> usize {
        self.inner().lasting.refusals
    }

    /// Records all writes of documents from now on.
    pub fn record_writes(&self) {
        self.inner().lasting.writes = Some(Vec::new());
    }

    /// The writes of documents since the last call.
    pub fn take_writes(&self) -> Vec<DocumentWrite> {
        let mut inner = self.inner();
        inner.lasting.writes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Sets the function that calls AWS from now on. Some planted bugs concern one function only.
    pub fn act_as(&self, function: &'static str) {
        self.inner().lasting.actor = function;
    }

    /// Keys of the documents that were read since the last call, if writes are recorded.
    pub fn take_reads(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().lasting.reads)
    }

    /// Deletes a monitoring schedule. Its executions stay in the list, as in SageMaker.
    pub fn delete_schedule(&self, name: &str) -> Option<(Schedule, String)> {
        let mut inner = self.inner();
        let at = inner.schedules.iter().position(|(known, _)| known.name == name)?;
        Some(inner.schedules.remove(at))
    }

    /// Retries a pipeline execution after its end. It keeps its ARN.
    pub fn retry_execution(&self, arn: &str) {
        if let Some((_, _, execution)) = self.inner().runs.get_mut(arn) {
            execution.status = ExecutionStatus::Executing;
            execution.end_time = None;
        }
    }

    /// Deletes a pipeline execution: SageMaker no longer knows it.
    pub fn delete_execution(&self, arn: &str) {
        self.inner().runs.remove(arn);
    }

    /// Status of a pipeline execution. `None` if SageMaker does not know it.
    pub fn execution_status(&self, arn: &str) -> Option<ExecutionStatus> {
        self.inner().runs.get(arn).map(|(_, _, run)| run.status)
    }
}

impl Inner {
    /// Records a write of a document.
    pub(super) fn note_write(&mut self, key: &str, body: Option<&[u8]>, by_function: bool) {
        let at = self.now;
        if let Some(writes) = &mut self.lasting.writes {
            writes.push(DocumentWrite {
                at,
                key: key.to_owned(),
                body: body.map(<[u8]>::to_vec),
                by_function,
            });
        }
    }

    /// The lasting error of an operation, if any.
    pub(super) fn outage(&mut self, operation: &str, resource: &str) -> Option<Kind> {
        let mut outages = self.lasting.outages.iter();
        outages
            .find(|(broken, prefix, _)| *broken == operation && resource.starts_with(prefix.as_str()))
            .map(|(_, _, kind)| *kind)
    }

    /// The error of a refused start, if any.
    pub(super) fn refusal(&mut self, start: &StartPipelineExecution) -> Option<AwsError> {
        let refused = self.lasting.refused.iter();
        let (kind, message) = refused
            .filter(|(prefix, _)| start.display_name.starts_with(prefix.as_str()))
            .map(|(_, refused)| refused.clone())
            .next()?;
        self.lasting.refusals += 1;
        Some(AwsError {
            operation: "sagemaker:StartPipelineExecution",
            resource: start.pipeline.clone(),
            kind,
            message,
        })
    }

    /// Remembers a start that failed, for [`PlantedBug::FrozenStart`].
    pub(super) fn freeze(&mut self, start: &StartPipelineExecution) {
        let later = self.now.saturating_add(FROZEN_FOR).unwrap_or(Timestamp::MAX);
        if self.planted == Some(PlantedBug::FrozenStart) {
            self.lasting.frozen.push((start.clone(), later));
        }
    }

    /// Executes the starts that failed some time ago, as the planted bug does.
    pub(super) fn execute_frozen(&mut self) {
        let now = self.now;
        let due = self.lasting.frozen.extract_if(.., |(_, at)| *at <= now);
        let due: Vec<_> = due.map(|(start, _)| start).collect();
        for start in due {
            if self.refusal(&start).is_none() {
                self.start_pipeline(&start);
            }
        }
    }

    /// Starts a pipeline execution, unless its token is known. Returns its ARN.
    pub(super) fn start_pipeline(&mut self, start: &StartPipelineExecution) -> String {
        let dropped = self.planted == Some(PlantedBug::DropToken);
        let known = self
            .executions
            .iter()
            .find(|(by, _)| by.client_request_token == start.client_request_token && !dropped);
        if let Some((_, arn)) = known {
            return arn.clone();
        }
        let number = self.executions.len() + 1;
        let arn = format!("{}/e{number}", super::EXECUTION_PREFIX);
        self.executions.push((start.clone(), arn.clone()));
        let execution = executing(&arn, self.now);
        let run = (start.display_name.clone(), start.parameters.clone(), execution);
        self.runs.insert(arn.clone(), run);
        arn
    }

    /// What a function reads, with the planted bugs.
    pub(super) fn fetch(&mut self, key: &str, known: Option<&ETag>) -> Fetched {
        if self.lasting.writes.is_some() {
            self.lasting.reads.push(key.to_owned());
        }
        let found = self.documents.get(key);
        let hides = match self.planted {
            Some(PlantedBug::IgnorePause) => key == PAUSE_KEY,
            Some(PlantedBug::NoRotation) => key == "sweep.json",
            _ => false,
        };
        match (found, self.planted) {
            _ if hides => Fetched::Absent,
            (None, Some(PlantedBug::FailOpen)) if key == "policy.toml" => {
                Fetched::Found(b"# Defaults\n".to_vec(), ETag("\"absent\"".to_owned()))
            }
            (None, _) => Fetched::Absent,
            (Some((_, etag)), _) if Some(etag) == known => Fetched::Unchanged,
            (Some((_, etag)), Some(PlantedBug::EdgeFacts)) if self.lasting.actor == "remediate" => {
                let etag = etag.clone();
                let edge = self.lasting.edges.get(key).map(|(_, body)| body.clone());
                let body = edge.or_else(|| self.documents.get(key).map(|(body, _)| body.clone()));
                Fetched::Found(body.unwrap_or_default(), etag)
            }
            (Some((body, etag)), Some(PlantedBug::StaleApproval)) if key.starts_with("models/") => {
                Fetched::Found(without_fingerprints(body), etag.clone())
            }
            (Some((body, etag)), _) => Fetched::Found(body.clone(), etag.clone()),
        }
    }

    /// What is stored when a function writes a document, with the planted bugs. `None` if the write has no effect.
    pub(super) fn stored(&mut self, key: &str, body: Vec<u8>) -> Option<Vec<u8>> {
        match self.planted {
            Some(PlantedBug::SkipOutbox) => Some(super::without_outbox(body)),
            Some(PlantedBug::SkipFleet) if key == FLEET_KEY => None,
            Some(PlantedBug::NoRotation) if key == "sweep.json" => None,
            Some(PlantedBug::DropUnknown) => Some(changed(body, |document| {
                document.remove(NEWER_FIELD);
            })),
            Some(PlantedBug::EdgeFacts) if key.starts_with("monitors/") => {
                self.note_edge(key, &body);
                Some(body)
            }
            Some(PlantedBug::SameEpoch) if key.starts_with("monitors/") => {
                let epochs = &mut self.lasting.epochs;
                Some(changed(body, |ledger| {
                    if let Some(epoch) = ledger.get_mut("epoch") {
                        epoch.clone_from(epochs.entry(key.to_owned()).or_insert_with(|| epoch.clone()));
                    }
                }))
            }
            _ => Some(body),
        }
    }

    /// Keeps the first version of a ledger in each state of its alert.
    fn note_edge(&mut self, key: &str, body: &[u8]) {
        let ledger: Value = serde_json::from_slice(body).unwrap_or_default();
        let alert = json!([ledger.get("epoch"), ledger.get("alert")]);
        let edge = self.lasting.edges.get(key);
        if edge.is_none_or(|(known, _)| *known != alert) {
            self.lasting.edges.insert(key.to_owned(), (alert, body.to_vec()));
        }
    }

    /// What is published, with the planted bug [`PlantedBug::SameEpoch`].
    pub(super) fn published(&mut self, detail: String) -> String {
        if self.planted != Some(PlantedBug::SameEpoch) {
            return detail;
        }
        let epochs = &self.lasting.epochs;
        let changed = changed(detail.into_bytes(), |event| {
            let schedule = event
                .get("monitoringSchedule")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let first = epochs.get(&format!("monitors/{}.json", schedule.to_lowercase()));
            let second = |time: &Value| Some(time.as_str()?.parse::<Timestamp>().ok()?.as_second().to_string());
            let epoch = event.get("epoch").cloned().unwrap_or_default();
            if let (Some(first), Some(id)) = (first, event.get("id").and_then(Value::as_str))
                && let (Some(new), Some(old)) = (second(&epoch), second(first))
            {
                let id = id.replace(&new, &old);
                event.insert("epoch".into(), first.clone());
                event.insert("id".into(), id.into());
            }
        });
        String::from_utf8(changed).unwrap_or_default()
    }
}

/// A JSON document after a change.
fn changed(body: Vec<u8>, change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let Ok(Value::Object(mut document)) = serde_json::from_slice(&body) else {
        return body;
    };
    change(&mut document);
    serde_json::to_vec(&document).unwrap_or(body)
}

/// The document of a model as of a release that does not bind approvals to a decision.
fn without_fingerprints(body: &[u8]) -> Vec<u8> {
    changed(body.to_vec(), |document| {
        if let Some(Value::Object(incident)) = document.get_mut("incident") {
            incident.remove("approval_fingerprint");
            if let Some(Value::Object(approval)) = incident.get_mut("approval") {
                approval.remove("fingerprint");
            }
        }
    })
}
