//! Drift that returns, and pipeline executions that are retried.

use super::{
    now::{DAY, HOUR},
    *,
};

/// A monitor with an hourly execution. Its alert window is the last execution.
struct Hourly {
    scenario: Scenario,
    transition: u64,
    in_alert: bool,
    /// Seconds of the judged executions, newest first.
    judged: Vec<i64>,
    clean: usize,
}

impl Hourly {
    fn with_policy(policy: &str) -> Self {
        Self {
            scenario: Scenario::with_policy(policy),
            transition: 0,
            in_alert: false,
            judged: Vec::new(),
            clean: 0,
        }
    }

    /// Judges the execution of an hour, and lets the sweep of the hour pass.
    fn judge(&mut self, hour: i64, drifts: bool) {
        let second = hour * HOUR + 600;
        self.judged.insert(0, hour * HOUR);
        self.judged.truncate(48);
        self.clean = if drifts { 0 } else { self.clean + 1 };
        if drifts != self.in_alert {
            self.in_alert = drifts;
            self.transition += 1;
            let status = if drifts { AlertStatus::InAlert } else { AlertStatus::Ok };
            let Input::Alert(mut change) = alert("dq", self.transition, status) else {
                panic!("an alert")
            };
            change.time = at(second);
            self.scenario.levels.insert("dq".into(), level(&change, &[]));
            self.update_level();
            self.scenario.apply_at(second, Input::Alert(change));
        }
        if self.transition > 0 {
            self.update_level();
            self.scenario.apply_at(second + 900, tick());
        }
        if self.scenario.stage() == Stage::Retraining {
            let incident = self.scenario.document.incidents;
            let succeeded = execution(incident, ExecutionStatus::Succeeded);
            self.scenario.apply_at(second + 1800, succeeded);
        }
    }

    fn update_level(&mut self) {
        let known = self.scenario.levels.get_mut("dq").unwrap();
        *known = level(&known.alert, &self.judged);
        known.interval = Some(SignedDuration::from_hours(1));
        known.judged_since_transition = self.clean;
    }
}

#[test]
fn drift_every_other_hour_is_few_incidents() {
    // The default policy decides, except that it needs no approval and waits for no other alerts.
    let mut hourly = Hourly::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'auto'\n");
    for hour in 0..14 * 24 {
        hourly.judge(hour, hour % 2 == 0);
    }
    let document = &hourly.scenario.document;
    assert!(hourly.transition > 300, "{} transitions", hourly.transition);
    assert!(document.incidents < 20, "{} incidents", document.incidents);
    let starts = hourly.scenario.starts().len();
    assert!(starts <= 14, "{starts} retrainings");
    let decisions = document.incident.iter().map(|open| open.decisions);
    let decisions: u64 = decisions
        .chain(document.closed.iter().map(|closed| closed.incident.decisions))
        .sum();
    assert!(decisions < 60, "{decisions} decisions");
}

#[test]
fn drift_each_saturday_is_an_incident_each() {
    let mut hourly = Hourly::with_policy("[remediation]\ndecide_after = '0s'\nautomation = 'suggest'\n");
    let weeks = 6;
    for hour in 0..weeks * 7 * 24 {
        hourly.judge(hour, (5 * 24..6 * 24).contains(&(hour % (7 * 24))));
    }
    let document = &hourly.scenario.document;
    assert_eq!(document.incidents, u64::try_from(weeks).unwrap());
    assert_eq!(document.stage(), Stage::Healthy);
    assert!(document.closed.iter().all(|closed| closed.incident.returns == 0));
}

#[test]
fn execution_retried_after_the_incident_closed_is_ignored() {
    let run = |status, end: Option<i64>, second| Input::PipelineExecution {
        incident: 1,
        execution: PipelineExecution {
            arn: EXECUTION.into(),
            status,
            start_time: Some(at(5)),
            end_time: end.map(at),
        },
        at: at(second),
    };
    let mut scenario = Scenario::after([in_alert("dq", 1)]);
    scenario.apply_at(100, run(ExecutionStatus::Failed, Some(100), 100));
    let accept = resolution(1, Some(InAlertChoice::Accept));
    assert_eq!(scenario.apply_at(200, accept), Stage::Healthy);
    let published = |scenario: &Scenario| {
        let entries = scenario.document.outbox.entries().iter();
        entries.map(|entry| entry.id.clone()).collect::<Vec<_>>()
    };
    let (closed, events) = (scenario.document.closed.clone(), published(&scenario));
    for retried in [
        run(ExecutionStatus::Executing, None, DAY),
        run(ExecutionStatus::Succeeded, Some(DAY + 100), DAY + 100),
    ] {
        assert_eq!(scenario.apply_at(DAY + 200, retried), Stage::Healthy);
    }
    assert_eq!(
        (scenario.document.closed.clone(), published(&scenario)),
        (closed, events)
    );
}
