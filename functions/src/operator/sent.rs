//! Commands that another function executes: orders for experiments, and removals of datapoints. They are checked here, and sent
//! as events with the caller and the time that AWS names. No other principal may put these events.

use super::{Received, Refused, unknown_name};
use crate::remediate::RemediateClients;
use alerting::{MonitorDatapointDrop, MonitorLedger};
use events::Event;
use jiff::Timestamp;
use machine::load;
use promotion::{ExperimentCommand, ExperimentDocument, Order};
use remediation::{CommandResult, OperatorAction, OperatorAnswer};

impl Received<'_> {
    /// Sends an order for an experiment to `promote`, if it has an effect in the stage of the experiment.
    pub(super) async fn order(
        &self,
        clients: &impl RemediateClients,
        id: &str,
        model: &str,
    ) -> Result<OperatorAnswer, Refused> {
        let order = match self.command.command {
            OperatorAction::Promote => Order::Promote,
            OperatorAction::Rollback => Order::Rollback,
            OperatorAction::Resume => Order::Resume,
            _ => Order::Stop,
        };
        let document = load::<ExperimentDocument>(clients, &ExperimentDocument::key(model)).await?;
        let Some(document) = document.document() else {
            let message = format!("model `{model}` has had no experiment");
            return Err(unknown_name(clients, "experiments/", model, "UnknownExperiment", message).await?);
        };
        let open = document.experiment.as_ref();
        let open = open
            .filter(|open| open.id == id)
            .ok_or_else(|| not_open(document, id))?;
        if open.stage.after(order.cause()).is_none() {
            let stage = open.stage.as_str();
            let message = format!(
                "experiment `{id}` is in stage {stage}: `{}` has no effect",
                self.command.command.as_str()
            );
            return Err(Refused::new(409, "NoEffect", message, Some(open.sentence.clone())));
        }
        let event = Event::ExperimentCommand(Box::new(ExperimentCommand {
            model: model.to_owned(),
            experiment_id: id.to_owned(),
            order,
            by: self.caller.to_owned(),
            time: self.time,
            stage_since: Some(open.since),
            reason: self.reason(),
        }));
        self.put(clients, event).await
    }

    /// Sends the removal of a datapoint to `ingest`, if the ledger of the monitor has it.
    pub(super) async fn drop_datapoint(
        &self,
        clients: &impl RemediateClients,
        schedule: &str,
        scheduled_time: Timestamp,
    ) -> Result<OperatorAnswer, Refused> {
        let ledger = load::<MonitorLedger>(clients, &MonitorLedger::key(schedule)).await?;
        let Some(ledger) = ledger.document() else {
            let message = format!("schedule `{schedule}` has no ledger");
            return Err(unknown_name(clients, "monitors/", schedule, "UnknownMonitor", message).await?);
        };
        if ledger.datapoint(scheduled_time).is_none() {
            let mut dropped = ledger.dropped.iter();
            let hint = match dropped.find(|dropped| dropped.scheduled_time == scheduled_time) {
                Some(dropped) => Some(format!("{} dropped it at {}", dropped.by, dropped.time)),
                None => ledger
                    .datapoints
                    .front()
                    .map(|oldest| format!("the oldest datapoint of the ledger is {}", oldest.scheduled_time)),
            };
            let message = format!("schedule `{schedule}` has no datapoint {scheduled_time}");
            return Err(Refused::new(404, "UnknownDatapoint", message, hint));
        }
        let event = Event::DatapointDrop(Box::new(MonitorDatapointDrop {
            monitoring_schedule: schedule.to_owned(),
            scheduled_time,
            by: self.caller.to_owned(),
            time: self.time,
            reason: self.reason().unwrap_or_default(),
        }));
        self.put(clients, event).await
    }

    async fn put(&self, clients: &impl RemediateClients, event: Event) -> Result<OperatorAnswer, Refused> {
        clients.put(&event).await?;
        tracing::info!(
            caller = self.caller,
            by = self.command.by,
            command = self.command.command.as_str(),
            detail_type = event.detail_type(),
            "operator command sent"
        );
        Ok(self.answer(CommandResult::Sent {
            event: event.detail_type().to_owned(),
        }))
    }
}

/// The refusal of an experiment that is not open.
fn not_open(document: &ExperimentDocument, id: &str) -> Refused {
    let model = &document.model;
    let hint = Some(match &document.experiment {
        Some(open) => format!("the open experiment of model `{model}` is `{}`", open.id),
        None => format!("model `{model}` has no open experiment"),
    });
    let mut ended = document.ended.iter();
    match ended.find(|ended| ended.experiment.id == id) {
        Some(ended) => {
            let conclusion = ended.conclusion.as_str();
            let message = format!("experiment `{id}` ended at {}: {conclusion}", ended.ended_at);
            Refused::new(409, "ExperimentEnded", message, hint)
        }
        None => Refused::new(
            404,
            "UnknownExperiment",
            format!("experiment `{id}` does not exist"),
            hint,
        ),
    }
}
