//! The audit trail: decisions, commands of operators, and experiments, each written once to `audit/` in the state bucket. It outlives
//! the versions of the documents.

use events::Event;
use futures_util::future::join;
use machine::{AwsError, Documents, Kind, Precondition};
use shell::ports::EventBus;

/// Publishes an event, and writes its detail to `audit/{model}/{incident or experiment}/{event ID}.json`. A retry writes nothing,
/// because the object exists.
pub(crate) async fn publish(clients: &(impl Documents + EventBus), event: &Event) -> Result<(), AwsError> {
    let write = async {
        let Some(key) = key(event) else { return Ok(()) };
        let detail = event.detail().map_err(|error| AwsError {
            operation: "s3:PutObject",
            resource: key.clone(),
            kind: Kind::Rejected,
            message: error.to_string(),
        })?;
        match clients.write(&key, detail.into_bytes(), &Precondition::Absent).await {
            Err(error) if error.kind != Kind::Conflict => Err(error),
            _ => Ok(()),
        }
    };
    let (published, written) = join(clients.put(event), write).await;
    published.and(written)
}

/// Key of the record of an event. `None` if the event is not part of the audit trail.
fn key(event: &Event) -> Option<String> {
    let (model, about, id) = match event {
        Event::RemediationDecided(decided) => (&decided.model, decided.incident_id.as_str(), &decided.id),
        Event::RetrainingStatusChange(change) => (&change.model, change.incident_id.as_str(), &change.id),
        Event::IncidentClosed(closed) => (&closed.model, closed.incident_id.as_str(), &closed.id),
        Event::ExperimentStateChange(change) => (&change.model, change.experiment_id.as_str(), &change.id),
        Event::CommandAccepted(accepted) => {
            let about = accepted.incident_id.as_deref().unwrap_or("model");
            (&accepted.model, about, &accepted.id)
        }
        _ => return None,
    };
    Some(format!("audit/{model}/{about}/{id}.json"))
}
