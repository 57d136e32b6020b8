//! Limits of retrainings over all models: at a time, a day, and while many models drift for one cause.

use crate::{FleetPolicy, Reason, time::midnight};
use alerting::Severity;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cmp::Reverse;

/// Key of the [`Fleet`] in the state bucket.
pub const FLEET_KEY: &str = "fleet.json";

/// Time in which the models that want to start a retraining are counted.
const COMMON_CAUSE_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// Time for which a model keeps its turn without a new request. The sweep requests it again.
const WAITS_FOR: SignedDuration = SignedDuration::from_hours(1);
/// Smallest number of models with a common cause.
const COMMON_CAUSE_MODELS: usize = 5;
/// Maximum number of models that a reason lists.
const MAX_LISTED: usize = 20;
/// Maximum number of requests in the document. The oldest ones go first.
const MAX_REQUESTS: usize = 5000;

/// Place of a retraining that was started, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Name of the model.
    pub model: String,
    /// Sequence number of the incident within the model.
    pub incident: u64,
    /// Time of the start.
    pub since: Timestamp,
    /// Time at which the slot is free again, also if the end of the retraining is never seen.
    pub until: Timestamp,
}

/// Request of a model to start a retraining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// Name of the model.
    pub model: String,
    /// Time of the request.
    pub at: Timestamp,
    /// Highest severity of the alerts.
    #[serde(default)]
    pub severity: Severity,
    /// Check types of the alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_types: Vec<String>,
}

/// A model that waits for other models. Its turn depends on the severity, then on the time of its first request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingModel {
    /// Its first request, with the severity of the latest one.
    pub request: StartRequest,
    /// Time at which it loses its turn, unless it requests a start again.
    pub until: Timestamp,
}

impl WaitingModel {
    /// Rank among the waiting models, lowest first.
    fn rank(&self) -> (Reverse<Severity>, Timestamp) {
        (Reverse(self.request.severity), self.request.at)
    }
}

/// Drift of many models within an hour, which has one cause more likely than many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonCause {
    /// Time at which it was noticed.
    pub since: Timestamp,
    /// Models that had requested a start by then.
    pub models: Vec<String>,
    /// Check types that the alerts of all of them have in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_types: Vec<String>,
}

/// State over all models: [`FLEET_KEY`] in the state bucket. Only starts of retrainings, the sweep, and operators change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Version of the document format.
    pub version: u32,
    /// Retrainings in progress.
    #[serde(default)]
    pub slots: Vec<Slot>,
    /// Times of the starts of the last two days, oldest first.
    #[serde(default)]
    pub starts: Vec<Timestamp>,
    /// Requests of the last hour, oldest first.
    #[serde(default)]
    pub requests: Vec<StartRequest>,
    /// Models that wait for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingModel>,
    /// Number of models, as the sweep counted them ([`Fleet::count_models`]).
    #[serde(default)]
    pub models: usize,
    /// The common cause that holds all starts. `None` if there is none, or it was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_cause: Option<CommonCause>,
    /// Time at which an operator released a common cause: earlier requests no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// Fields of a newer release.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            version: 1,
            slots: Vec::new(),
            starts: Vec::new(),
            requests: Vec::new(),
            waiting: Vec::new(),
            models: 0,
            common_cause: None,
            released_at: None,
            rest: Map::new(),
        }
    }
}

impl Fleet {
    /// Records that a model is about to start a retraining, or would if the fleet allowed it. Many such models within an hour
    /// have a common cause. Returns whether something changed.
    pub fn record(&mut self, request: &StartRequest, policy: &FleetPolicy) -> bool {
        let now = request.at;
        let oldest = now.saturating_sub(COMMON_CAUSE_WITHIN).unwrap_or(Timestamp::MIN);
        let oldest = self.released_at.map_or(oldest, |released| oldest.max(released));
        let is_recent = |request: &StartRequest| request.at > oldest;
        let mut requests = self.requests.iter();
        if requests.any(|known| known.model == request.model && is_recent(known)) {
            return false;
        }
        self.requests.retain(is_recent);
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.remove(0);
        }
        self.requests.push(request.clone());
        let is_many = self.requests.len() > common_cause_threshold(self.models);
        if policy.common_cause && self.common_cause.is_none() && is_many {
            let requests = self.requests.iter();
            let is_common = |check_type: &&String| {
                let mut requests = requests.clone();
                requests.all(|request| request.check_types.contains(check_type))
            };
            self.common_cause = Some(CommonCause {
                since: now,
                models: requests.clone().map(|request| request.model.clone()).collect(),
                check_types: request.check_types.iter().filter(is_common).cloned().collect(),
            });
        }
        true
    }

    /// Records that a model waits for others. It keeps its turn as long as it requests a start every hour.
    pub fn wait(&mut self, request: &StartRequest, policy: &FleetPolicy) {
        let now = request.at;
        self.record(request, policy);
        self.waiting.retain(|waiting| waiting.until > now);
        let until = now.saturating_add(WAITS_FOR).unwrap_or(Timestamp::MAX);
        let mut waiting = self.waiting.iter_mut();
        if let Some(known) = waiting.find(|waiting| waiting.request.model == request.model) {
            known.request.severity = request.severity;
            // Not at each request, so that few changes are written.
            if known.until.duration_since(now) < WAITS_FOR / 2 {
                known.until = until;
            }
        } else if self.waiting.len() < MAX_REQUESTS {
            self.waiting.push(WaitingModel {
                request: request.clone(),
                until,
            });
        }
    }

    /// Records the number of models. It is kept unless it changes the number of models with a common cause, so that few changes
    /// are written.
    pub fn count_models(&mut self, models: usize) {
        if common_cause_threshold(models) != common_cause_threshold(self.models) {
            self.models = models;
        }
    }

    /// Takes a slot for a retraining that is about to start. An incident that has a slot keeps it.
    ///
    /// # Errors
    /// The reason why the start has to wait.
    pub fn take(
        &mut self,
        request: &StartRequest,
        incident: u64,
        until: Timestamp,
        policy: &FleetPolicy,
    ) -> Result<(), Reason> {
        let (model, now) = (&request.model, request.at);
        if self.slot(model, incident).is_some() {
            return Ok(());
        }
        self.slots.retain(|slot| slot.until > now);
        self.record(request, policy);
        self.check(model, incident, policy, now)?;
        let two_days_ago = now
            .saturating_sub(SignedDuration::from_hours(48))
            .unwrap_or(Timestamp::MIN);
        self.starts.retain(|start| *start > two_days_ago);
        self.starts.push(now);
        self.waiting.retain(|waiting| waiting.request.model != *model);
        self.slots.push(Slot {
            model: model.clone(),
            incident,
            since: now,
            until,
        });
        Ok(())
    }

    /// Whether a model may start a retraining now. Changes nothing.
    ///
    /// # Errors
    /// The reason why the start has to wait.
    pub fn check(&self, model: &str, incident: u64, policy: &FleetPolicy, now: Timestamp) -> Result<(), Reason> {
        if self.slot(model, incident).is_some() {
            return Ok(());
        }
        if let Some(cause) = self.common_cause.as_ref().filter(|_| policy.common_cause) {
            return Err(Reason::CommonCause {
                since: cause.since,
                count: cause.models.len(),
                models: cause
                    .models
                    .iter()
                    .skip(cause.models.len().saturating_sub(MAX_LISTED))
                    .cloned()
                    .collect(),
                check_types: cause.check_types.clone(),
            });
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let running = count(self.slots.iter().filter(|slot| slot.until > now).count());
        if running >= policy.retrainings_at_once {
            return Err(Reason::FleetAtOnce {
                retrainings: running,
                limit: policy.retrainings_at_once,
            });
        }
        let today = TimeZone::UTC.to_datetime(now).date();
        let began = midnight(today);
        let started = count(self.starts.iter().filter(|start| **start >= began).count());
        if started >= policy.retrainings_per_day {
            return Err(Reason::FleetPerDay {
                retrainings: started,
                limit: policy.retrainings_per_day,
                until: today.tomorrow().map_or(Timestamp::MAX, midnight),
            });
        }
        let left = (policy.retrainings_at_once - running).min(policy.retrainings_per_day - started);
        let ahead = count(self.ahead(model, now));
        if ahead >= left {
            return Err(Reason::FleetTurn { models: ahead });
        }
        Ok(())
    }

    /// Number of waiting models whose turn comes before that of a model.
    fn ahead(&self, model: &str, now: Timestamp) -> usize {
        let own = self.waiting.iter().find(|waiting| waiting.request.model == model);
        let others = self.waiting.iter().filter(|waiting| waiting.request.model != model);
        others
            .filter(|waiting| waiting.until > now && own.is_none_or(|own| waiting.rank() < own.rank()))
            .count()
    }

    /// Frees the slot of an incident whose retraining ended or was never accepted. `started` distinguishes them: a start that
    /// AWS refused does not count toward the limit per day.
    pub fn free(&mut self, model: &str, incident: u64, started: bool) {
        if let Some(slot) = self.slot(model, incident).cloned() {
            self.free_slot(&slot, started);
        }
    }

    /// As [`Self::free`], unless the incident has taken another slot since.
    pub fn free_slot(&mut self, slot: &Slot, started: bool) {
        let before = self.slots.len();
        self.slots.retain(|known| known != slot);
        let is_freed = self.slots.len() < before;
        let start = self.starts.iter().rposition(|start| *start == slot.since);
        if let (true, false, Some(at)) = (is_freed, started, start) {
            self.starts.remove(at);
        }
    }

    /// Ends the hold of a common cause. The requests so far no longer count. Returns false if there is no common cause.
    pub fn release(&mut self, now: Timestamp) -> bool {
        self.released_at = Some(now);
        self.common_cause.take().is_some()
    }

    fn slot(&self, model: &str, incident: u64) -> Option<&Slot> {
        let mut slots = self.slots.iter();
        slots.find(|slot| slot.model == model && slot.incident == incident)
    }
}

/// Number of models up to which drift within an hour has no common cause. In a large fleet, more models drift independently.
fn common_cause_threshold(models: usize) -> usize {
    COMMON_CAUSE_MODELS.max(models / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: FleetPolicy = FleetPolicy {
        retrainings_at_once: 2,
        retrainings_per_day: 3,
        common_cause: true,
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_795_392_000 + minute * 60).unwrap()
    }

    fn request(fleet: &mut Fleet, model: &str, policy: &FleetPolicy, minute: i64) -> Result<(), Reason> {
        fleet.take(&wish(model, minute), 1, at(minute + 60), policy)
    }

    fn wish(model: &str, minute: i64) -> StartRequest {
        StartRequest {
            model: model.to_owned(),
            at: at(minute),
            severity: Severity::Warning,
            check_types: vec!["baseline_drift_check".to_owned(), format!("of {model}")],
        }
    }

    #[test]
    fn waiting_models_start_by_severity_and_age() {
        let mut fleet = Fleet::default();
        let policy = FleetPolicy {
            retrainings_at_once: 1,
            retrainings_per_day: 100,
            common_cause: false,
        };
        assert_eq!(request(&mut fleet, "a", &policy, 0), Ok(()));
        let wait = |fleet: &mut Fleet, model: &str, severity, minute| {
            let wish = StartRequest {
                severity,
                ..wish(model, minute)
            };
            fleet.wait(&wish, &policy);
        };
        wait(&mut fleet, "late", Severity::Warning, 3);
        wait(&mut fleet, "early", Severity::Warning, 1);
        wait(&mut fleet, "critical", Severity::Critical, 5);
        fleet.free("a", 1, true);
        let turn = |models| Err(Reason::FleetTurn { models });
        assert_eq!(request(&mut fleet, "new", &policy, 6), turn(3));
        assert_eq!(request(&mut fleet, "late", &policy, 6), turn(2));
        assert_eq!(request(&mut fleet, "early", &policy, 6), turn(1));
        assert_eq!(request(&mut fleet, "critical", &policy, 6), Ok(()));
        fleet.free("critical", 1, true);
        // It waits no more, and a request of an hour ago is forgotten.
        assert_eq!(request(&mut fleet, "late", &policy, 60), turn(1));
        assert_eq!(request(&mut fleet, "late", &policy, 61), Ok(()));
        assert_eq!(
            fleet.check("early", 1, &policy, at(61)),
            Err(Reason::FleetAtOnce {
                retrainings: 1,
                limit: 1
            })
        );
        // Who asks again keeps the age of the first request, and takes the severity of the latest.
        wait(&mut fleet, "x", Severity::Warning, 62);
        wait(&mut fleet, "y", Severity::Warning, 63);
        wait(&mut fleet, "x", Severity::Warning, 110);
        wait(&mut fleet, "y", Severity::Critical, 111);
        fleet.free("late", 1, true);
        assert_eq!(request(&mut fleet, "x", &policy, 169), turn(1));
        assert_eq!(request(&mut fleet, "y", &policy, 169), Ok(()));
        assert_eq!(fleet.waiting.len(), 1);
        // With two places left, the second in turn may start.
        let two = FleetPolicy {
            retrainings_at_once: 3,
            ..policy
        };
        assert_eq!(request(&mut fleet, "new", &two, 169), Ok(()));
    }

    #[test]
    fn limit_at_once_holds_until_a_slot_is_free() {
        let mut fleet = Fleet::default();
        assert_eq!(request(&mut fleet, "a", &POLICY, 0), Ok(()));
        assert_eq!(request(&mut fleet, "b", &POLICY, 1), Ok(()));
        assert_eq!(request(&mut fleet, "a", &POLICY, 2), Ok(()), "it has its slot");
        let full = Reason::FleetAtOnce {
            retrainings: 2,
            limit: 2,
        };
        assert_eq!(request(&mut fleet, "c", &POLICY, 3), Err(full));
        fleet.free("a", 1, true);
        assert_eq!(request(&mut fleet, "c", &POLICY, 4), Ok(()));
        fleet.free("d", 1, true);
        assert_eq!(fleet.slots.len(), 2);
        // Slots of which no end was seen are free after their time. The limit of the day holds.
        let used_up = |result| {
            matches!(
                result,
                Err(Reason::FleetPerDay {
                    retrainings: 3,
                    limit: 3,
                    ..
                })
            )
        };
        assert!(used_up(request(&mut fleet, "d", &POLICY, 70)));
        assert_eq!(request(&mut fleet, "d", &POLICY, 24 * 60), Ok(()));
    }

    #[test]
    fn refused_start_does_not_count_toward_the_day() {
        let mut fleet = Fleet::default();
        for minute in 0..10 {
            assert_eq!(request(&mut fleet, "a", &POLICY, minute), Ok(()));
            fleet.free("a", 1, false);
        }
        assert!(fleet.starts.is_empty());
    }

    #[test]
    fn common_cause_holds_all_models_until_it_is_released() {
        let policy = FleetPolicy {
            retrainings_at_once: 100,
            retrainings_per_day: 100,
            common_cause: true,
        };
        let mut fleet = Fleet::default();
        for number in 0..5 {
            assert_eq!(request(&mut fleet, &format!("m{number}"), &policy, number), Ok(()));
        }
        let held = |result| matches!(result, Err(Reason::CommonCause { count: 6, .. }));
        assert!(held(request(&mut fleet, "m5", &policy, 59)));
        assert!(
            held(request(&mut fleet, "m6", &policy, 600)),
            "it does not end automatically"
        );
        assert!(fleet.release(at(601)));
        assert_eq!(request(&mut fleet, "m6", &policy, 602), Ok(()));
        assert!(!fleet.release(at(603)));
        // Requests that are more than an hour apart have no common cause.
        let mut fleet = Fleet::default();
        for number in 0..50 {
            assert_eq!(request(&mut fleet, &format!("m{number}"), &policy, number * 13), Ok(()));
        }
        // In a large fleet, more models have to drift.
        let mut fleet = Fleet {
            models: 200,
            ..Fleet::default()
        };
        for number in 0..20 {
            assert_eq!(request(&mut fleet, &format!("m{number}"), &policy, 0), Ok(()));
        }
        assert!(request(&mut fleet, "m20", &policy, 0).is_err());
        let off = FleetPolicy {
            common_cause: false,
            ..policy
        };
        assert_eq!(request(&mut fleet, "m21", &off, 0), Ok(()));
    }

    const UNLIMITED: FleetPolicy = FleetPolicy {
        retrainings_at_once: 10_000,
        retrainings_per_day: 10_000,
        common_cause: true,
    };

    fn named(count: i64) -> impl Iterator<Item = (i64, String)> {
        (0..count).map(|number| (number, format!("m{number}")))
    }

    #[test]
    fn slot_is_free_at_its_end() {
        let mut fleet = Fleet::default();
        assert_eq!(request(&mut fleet, "a", &POLICY, 0), Ok(()));
        assert_eq!(request(&mut fleet, "b", &POLICY, 1), Ok(()));
        let check = |fleet: &Fleet, minute| fleet.check("c", 1, &POLICY, at(minute));
        assert!(check(&fleet, 59).is_err());
        assert_eq!(check(&fleet, 60), Ok(()));
        // The slot of another incident of the same model is another one.
        assert!(fleet.check("a", 2, &POLICY, at(59)).is_err());
        assert_eq!(fleet.check("a", 1, &POLICY, at(59)), Ok(()));
        // A check changes nothing; a start removes slots that have ended.
        assert_eq!(fleet.slots.len(), 2);
        assert_eq!(request(&mut fleet, "c", &POLICY, 60), Ok(()));
        let models: Vec<&str> = fleet.slots.iter().map(|slot| slot.model.as_str()).collect();
        assert_eq!(models, ["b", "c"]);
    }

    #[test]
    fn limit_per_day_counts_starts_since_midnight() {
        let midnight: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let mut fleet = Fleet {
            starts: [-3600, -1, 0, 0]
                .map(|second| midnight + SignedDuration::from_secs(second))
                .to_vec(),
            ..Fleet::default()
        };
        let noon = midnight + SignedDuration::from_hours(12);
        let check = |fleet: &Fleet, limit| {
            let policy = FleetPolicy {
                retrainings_per_day: limit,
                ..POLICY
            };
            fleet.check("a", 1, &policy, noon)
        };
        let reached = Reason::FleetPerDay {
            retrainings: 2,
            limit: 2,
            until: midnight + SignedDuration::from_hours(24),
        };
        assert_eq!(check(&fleet, 2), Err(reached));
        assert_eq!(check(&fleet, 3), Ok(()));
        // Starts are kept for two days.
        fleet.starts = vec![
            noon - SignedDuration::from_hours(48),
            noon - SignedDuration::from_secs(48 * 3600 - 1),
        ];
        assert_eq!(
            fleet.take(
                &StartRequest {
                    at: noon,
                    ..wish("a", 0)
                },
                1,
                noon,
                &POLICY
            ),
            Ok(())
        );
        assert_eq!(fleet.starts, [noon - SignedDuration::from_secs(48 * 3600 - 1), noon]);
    }

    #[test]
    fn end_frees_only_the_slot_of_its_incident() {
        let mut fleet = Fleet::default();
        for (model, incident, minute) in [("a", 1, 0), ("a", 2, 1), ("b", 1, 2)] {
            let until = at(minute + 60);
            assert_eq!(fleet.take(&wish(model, minute), incident, until, &UNLIMITED), Ok(()));
        }
        // Only a start that AWS refused is forgotten.
        fleet.free("a", 1, true);
        assert_eq!(fleet.starts, [at(0), at(1), at(2)]);
        let slots = |fleet: &Fleet| -> Vec<(String, u64)> {
            fleet
                .slots
                .iter()
                .map(|slot| (slot.model.clone(), slot.incident))
                .collect()
        };
        assert_eq!(slots(&fleet), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        fleet.free("b", 1, false);
        assert_eq!(fleet.starts, [at(0), at(1)]);
        assert_eq!(slots(&fleet), [("a".to_owned(), 2)]);
        fleet.free("a", 3, false);
        assert_eq!((fleet.starts.len(), fleet.slots.len()), (2, 1));
    }

    #[test]
    fn model_is_counted_once_an_hour() {
        let mut fleet = Fleet::default();
        assert!(fleet.record(&wish("a", 0), &UNLIMITED));
        assert!(!fleet.record(&wish("a", 59), &UNLIMITED));
        assert!(fleet.record(&wish("b", 59), &UNLIMITED));
        assert_eq!(fleet.requests.len(), 2);
        // After an hour, it counts again, and the old request no longer does.
        assert!(fleet.record(&wish("a", 60), &UNLIMITED));
        let requests: Vec<_> = fleet
            .requests
            .iter()
            .map(|request| (request.model.as_str(), request.at))
            .collect();
        assert_eq!(requests, [("b", at(59)), ("a", at(60))]);
        // A release starts the count again.
        assert!(!fleet.release(at(60)));
        assert!(fleet.record(&wish("a", 61), &UNLIMITED));
        assert_eq!(fleet.requests.len(), 1);
    }

    #[test]
    fn common_cause_names_models_that_made_the_number() {
        let mut fleet = Fleet::default();
        for (number, model) in named(5) {
            fleet.record(&wish(&model, number), &UNLIMITED);
            assert_eq!(fleet.common_cause, None);
        }
        fleet.record(&wish("last", 30), &UNLIMITED);
        let cause = CommonCause {
            since: at(30),
            models: ["m0", "m1", "m2", "m3", "m4", "last"].map(String::from).to_vec(),
            check_types: vec!["baseline_drift_check".to_owned()],
        };
        assert_eq!(fleet.common_cause.as_ref(), Some(&cause));
        // Later requests do not change it.
        fleet.record(&wish("later", 31), &UNLIMITED);
        assert_eq!(fleet.common_cause, Some(cause));
        // The policy may turn the hold off.
        let off = FleetPolicy {
            common_cause: false,
            ..UNLIMITED
        };
        assert!(fleet.check("a", 1, &UNLIMITED, at(32)).is_err());
        assert_eq!(fleet.check("a", 1, &off, at(32)), Ok(()));
        let mut fleet = Fleet::default();
        for (number, model) in named(10) {
            fleet.record(&wish(&model, number), &off);
        }
        assert_eq!(fleet.common_cause, None);
    }

    #[test]
    fn reason_lists_the_latest_twenty_models() {
        let mut fleet = Fleet {
            models: 240,
            ..Fleet::default()
        };
        for (_, model) in named(25) {
            fleet.record(&wish(&model, 0), &UNLIMITED);
        }
        let reason = fleet.check("a", 1, &UNLIMITED, at(1)).unwrap_err();
        let models = (5..25).map(|number| format!("m{number}")).collect();
        let expected = Reason::CommonCause {
            since: at(0),
            count: 25,
            models,
            check_types: vec!["baseline_drift_check".to_owned()],
        };
        assert_eq!(reason, expected);
    }

    #[test]
    fn number_of_models_is_kept_until_it_changes_the_limit() {
        let mut fleet = Fleet::default();
        let kept = [50, 59, 60, 69, 75, 0, 3].map(|models| {
            fleet.count_models(models);
            fleet.models
        });
        assert_eq!(kept, [0, 0, 60, 60, 75, 0, 0]);
    }

    #[test]
    fn number_of_requests_is_bounded() {
        let requests = named(4_999).map(|(_, model)| wish(&model, 0));
        let mut fleet = Fleet {
            requests: requests.collect(),
            ..Fleet::default()
        };
        fleet.record(&wish("last", 1), &UNLIMITED);
        assert_eq!(
            (fleet.requests.len(), fleet.requests[0].model.as_str()),
            (MAX_REQUESTS, "m0")
        );
        fleet.record(&wish("one-more", 1), &UNLIMITED);
        assert_eq!(
            (fleet.requests.len(), fleet.requests[0].model.as_str()),
            (MAX_REQUESTS, "m1")
        );
    }
}
