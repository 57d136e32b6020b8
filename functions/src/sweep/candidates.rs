//! The monitors to sweep, from the lists of SageMaker, the policy, and the state bucket.

use super::{Failures, Sweep};
use crate::remediate::ListedAlarms;
use futures_util::future::join3;
use jiff::{SignedDuration, Timestamp};
use machine::{Clock, Documents, ETag, ListedDocument, update_shared};
use model_monitor::EndpointName;
use remediation::{AnalysisSchedule, FLEET_KEY, Fleet, MonitorRef, Policy, schedule_key};
use shell::ports::{MonitoringExecution, MonitoringSchedules, Schedule};
use std::collections::{BTreeMap, BTreeSet};

/// Folders of the documents in the state bucket.
const MONITORS: &str = "monitors/";
const BASELINES: &str = "baselines/";
const MODELS: &str = "models/";
/// Time range for which the executions of all schedules are listed together. It covers the usual look-back of a monitor.
const SHARED_LOOK_BACK: SignedDuration = SignedDuration::from_hours(27);
/// Maximum number of pages with executions of all schedules.
const MAX_SHARED_PAGES: usize = 1000;

/// Time after which a due execution counts as missing. Executions may start up to 20 minutes late (developer guide), and are listed
/// with a delay.
pub(super) const GRACE: SignedDuration = SignedDuration::from_mins(60);

/// Input of all monitors and models of one sweep.
pub(super) struct MonitorContext<'a> {
    pub(super) policy: &'a Policy,
    /// Whether the list of monitors is complete.
    pub(super) is_complete: bool,
    /// Entity tags of the documents of all models, by model. `None` if they could not be listed.
    pub(super) models: Option<&'a BTreeMap<String, ETag>>,
    pub(super) shared: Option<&'a SharedExecutions>,
    /// The alarms of the policy. `None` if they could not be listed.
    pub(super) alarms: Option<&'a ListedAlarms>,
    pub(super) request_id: &'a str,
}

/// A monitor to sweep: its schedule in SageMaker's list or in the policy, and its documents.
pub(super) struct Candidate {
    /// Key of the monitor in `sweep.json`.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) listed: Option<Schedule>,
    /// The `[[analysis]]` table of the policy, if SageMaker has no schedule with this name.
    pub(super) analysis: Option<AnalysisSchedule>,
    /// Entity tag of its ledger. `None` if it has none.
    pub(super) ledger: Option<ETag>,
    /// Entity tag of its baseline document, if a promotion has changed its baseline.
    pub(super) baseline: Option<ETag>,
}

/// Executions of all schedules since a time, by the key of the schedule.
pub(super) struct SharedExecutions {
    pub(super) after: Timestamp,
    pub(super) executions: BTreeMap<String, Vec<MonitoringExecution>>,
}

impl SharedExecutions {
    /// Executions of a schedule that are scheduled after a time.
    pub(super) fn since(&self, schedule: &str, after: Timestamp) -> Vec<MonitoringExecution> {
        let executions = self.executions.get(&schedule_key(schedule)).into_iter().flatten();
        executions
            .filter(|execution| execution.scheduled_time > after)
            .cloned()
            .collect()
    }
}

impl Sweep {
    /// All monitors: SageMaker's schedules, the native analyses of the policy, and the ledgers. Also returns whether all lists could
    /// be read. What is in the others is swept anyway.
    pub(super) async fn candidates(
        &self,
        clients: &(impl Documents + MonitoringSchedules),
        policy: &Policy,
        failures: &mut Failures,
    ) -> (Vec<Candidate>, bool) {
        let (schedules, ledgers, baselines) =
            join3(clients.schedules(), clients.list(MONITORS), clients.list(BASELINES)).await;
        let is_complete = schedules.is_ok() && ledgers.is_ok();
        for error in [
            schedules.as_ref().err(),
            ledgers.as_ref().err(),
            baselines.as_ref().err(),
        ]
        .into_iter()
        .flatten()
        {
            failures.add(error.operation.to_owned() + " " + &error.resource, &error.to_string());
        }
        let ledgers = by_name(ledgers.unwrap_or_default(), MONITORS);
        let baselines = by_name(baselines.unwrap_or_default(), BASELINES);
        let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
        let mut candidate = |key: String, name: &str| {
            let new = Candidate {
                key: key.clone(),
                name: name.to_owned(),
                listed: None,
                analysis: None,
                ledger: ledgers.get(&key).cloned(),
                baseline: baselines.get(&key).cloned(),
            };
            // The closure returns a reference into the map, so the entry is looked up by the caller.
            candidates.entry(key).or_insert(new);
        };
        let schedules = schedules.unwrap_or_default();
        let analyses = policy.analyses();
        for key in ledgers.keys() {
            candidate(key.clone(), key);
        }
        for analysis in &analyses {
            candidate(analysis.schedule.key(), analysis.schedule.as_str());
        }
        for schedule in &schedules {
            candidate(schedule_key(&schedule.name), &schedule.name);
        }
        for analysis in analyses {
            if let Some(candidate) = candidates.get_mut(&analysis.schedule.key()) {
                analysis.schedule.as_str().clone_into(&mut candidate.name);
                candidate.analysis = Some(analysis);
            }
        }
        for schedule in schedules {
            if let Some(candidate) = candidates.get_mut(&schedule_key(&schedule.name)) {
                schedule.name.clone_into(&mut candidate.name);
                candidate.analysis = None;
                candidate.listed = Some(schedule);
            }
        }
        (candidates.into_values().collect(), is_complete)
    }

    /// Lists the latest executions of all schedules together. `None` if that fails: then the executions of each schedule are listed.
    pub(super) async fn shared_executions(
        &self,
        clients: &(impl MonitoringSchedules + Clock),
        candidates: &[Candidate],
    ) -> Option<SharedExecutions> {
        if !candidates.iter().any(|candidate| candidate.listed.is_some()) {
            return None;
        }
        let after = clients.now().saturating_sub(SHARED_LOOK_BACK).unwrap_or(Timestamp::MIN);
        let mut shared = SharedExecutions {
            after,
            executions: BTreeMap::new(),
        };
        let mut next: Option<String> = None;
        for _ in 0..MAX_SHARED_PAGES {
            let page = match clients.executions_of_all(after, next.as_deref()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error = %error, "failed to list the executions of all schedules: each schedule is listed");
                    return None;
                }
            };
            for (schedule, execution) in page.executions {
                let executions = shared.executions.entry(schedule_key(&schedule)).or_default();
                executions.push(execution);
            }
            next = page.next;
            if next.is_none() {
                return Some(shared);
            }
        }
        tracing::warn!("too many executions of all schedules: each schedule is listed");
        None
    }
}

/// Records the number of models in `fleet.json`. If that fails, the next sweep does it.
pub(super) async fn count_models(clients: &(impl Documents + Clock), policy: &Policy, candidates: &[Candidate]) {
    let models: BTreeSet<String> = candidates
        .iter()
        // Other schedules may belong to other deployments.
        .filter(|candidate| candidate.ledger.is_some() || candidate.analysis.is_some())
        .map(|candidate| {
            let listed = candidate
                .listed
                .as_ref()
                .and_then(|schedule| schedule.endpoint.as_deref());
            let analyzed = candidate
                .analysis
                .as_ref()
                .and_then(|analysis| analysis.endpoint.as_ref());
            let monitor = MonitorRef {
                schedule: &candidate.name,
                endpoint: listed.or(analyzed.map(EndpointName::as_str)),
                monitor_type: None,
            };
            policy.monitor(&monitor).model
        })
        .collect();
    let count = |fleet: &mut Fleet| fleet.count_models(models.len());
    if let Err(error) = update_shared(clients, FLEET_KEY, count).await {
        tracing::warn!(error = %error, "failed to record the number of models");
    }
}

/// Entity tags of the documents of all models. `None` if they cannot be listed.
pub(super) async fn list_models(clients: &impl Documents, failures: &mut Failures) -> Option<BTreeMap<String, ETag>> {
    match clients.list(MODELS).await {
        Ok(listed) => Some(by_name(listed, MODELS)),
        Err(error) => {
            failures.add(format!("s3:ListBucket {MODELS}"), &error.to_string());
            None
        }
    }
}

/// Entity tags of the documents in a folder, by the name of what they are about.
fn by_name(listed: Vec<ListedDocument>, folder: &str) -> BTreeMap<String, ETag> {
    let name = |key: &str| Some(key.strip_prefix(folder)?.strip_suffix(".json")?.to_owned());
    let listed = listed.into_iter();
    listed
        .filter_map(|document| Some((name(&document.key)?, document.etag)))
        .collect()
}
