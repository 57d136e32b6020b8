//! Limits of retrainings over all models: at a time, a day, and while many models drift for one cause.

use crate::{FleetPolicy, Reason, time::midnight};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Key of the [`Fleet`] in the state bucket.
pub const FLEET_KEY: &str = "fleet.json";

/// Time in which the models that want to start a retraining are counted.
const COMMON_CAUSE_WITHIN: SignedDuration = SignedDuration::from_hours(1);
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
    /// Time of the first request of the incident.
    pub at: Timestamp,
}

/// Drift of many models within an hour, which has one cause more likely than many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonCause {
    /// Time at which it was noticed.
    pub since: Timestamp,
    /// Models that had requested a start by then.
    pub models: Vec<String>,
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
    pub fn record(&mut self, model: &str, policy: &FleetPolicy, now: Timestamp) -> bool {
        let oldest = now.saturating_sub(COMMON_CAUSE_WITHIN).unwrap_or(Timestamp::MIN);
        let oldest = self.released_at.map_or(oldest, |released| oldest.max(released));
        let is_recent = |request: &StartRequest| request.at > oldest;
        if self
            .requests
            .iter()
            .any(|request| request.model == model && is_recent(request))
        {
            return false;
        }
        self.requests.retain(is_recent);
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.remove(0);
        }
        self.requests.push(StartRequest {
            model: model.to_owned(),
            at: now,
        });
        let is_many = self.requests.len() > common_cause_threshold(self.models);
        if policy.common_cause && self.common_cause.is_none() && is_many {
            let models = self.requests.iter().map(|request| request.model.clone());
            self.common_cause = Some(CommonCause {
                since: now,
                models: models.collect(),
            });
        }
        true
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
        model: &str,
        incident: u64,
        until: Timestamp,
        policy: &FleetPolicy,
        now: Timestamp,
    ) -> Result<(), Reason> {
        if self.slot(model, incident).is_some() {
            return Ok(());
        }
        self.slots.retain(|slot| slot.until > now);
        self.record(model, policy, now);
        self.check(model, incident, policy, now)?;
        let two_days_ago = now
            .saturating_sub(SignedDuration::from_hours(48))
            .unwrap_or(Timestamp::MIN);
        self.starts.retain(|start| *start > two_days_ago);
        self.starts.push(now);
        self.slots.push(Slot {
            model: model.to_owned(),
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
        Ok(())
    }

    /// Frees the slot of an incident whose retraining ended or was never accepted. `started` distinguishes them: a start that
    /// AWS refused does not count toward the limit per day.
    pub fn free(&mut self, model: &str, incident: u64, started: bool) {
        let Some(slot) = self.slot(model, incident) else {
            return;
        };
        let since = slot.since;
        self.slots
            .retain(|slot| slot.model != model || slot.incident != incident);
        if let (false, Some(at)) = (started, self.starts.iter().rposition(|start| *start == since)) {
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
        fleet.take(model, 1, at(minute + 60), policy, at(minute))
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
}
