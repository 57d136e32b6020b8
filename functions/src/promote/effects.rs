//! Executes the effects of experiments. Executing an effect twice has the same result as executing it once.

use crate::{audit, promote::PromoteClients};
use events::Event;
use machine::{AwsError, ETag, Fetched, Kind, Precondition, parse_document};
use promotion::{BaselineDocument, EffectOutcome, EndpointStatus, ExperimentEffect, MonitorBaselineChange};
use shell::ports::NewEndpointConfig;

/// Maximum number of attempts to write a document that other invocations also write.
const MAX_WRITE_ATTEMPTS: u32 = 20;

/// Executes one effect.
///
/// # Errors
/// If AWS fails temporarily: the effect stays pending. A permanent rejection by SageMaker is an outcome, not an error.
pub(crate) async fn execute(aws: &impl PromoteClients, effect: &ExperimentEffect) -> Result<EffectOutcome, AwsError> {
    match effect {
        ExperimentEffect::CreateEndpointConfig {
            base,
            name,
            model_name,
            model_package_arn,
            like,
            variant_name,
            weights,
            shadow,
        } => {
            let config = NewEndpointConfig {
                base: base.clone(),
                name: name.clone(),
                model_name: model_name.clone(),
                model_package_arn: model_package_arn.clone(),
                template_variant: like.clone(),
                variant_name: variant_name.clone(),
                weights: weights.clone(),
                shadow: *shadow,
            };
            outcome_or_error(aws.create_endpoint_config(&config).await, EffectOutcome::Done)
        }
        ExperimentEffect::UpdateEndpoint {
            endpoint,
            from,
            to,
            blue_green,
        } => {
            let Some(seen) = aws.endpoint(endpoint).await? else {
                return Ok(EffectOutcome::Stale);
            };
            if seen.config == *to && seen.status == EndpointStatus::InService {
                return Ok(EffectOutcome::Done);
            }
            if seen.pending.as_ref() == Some(to) {
                // An earlier attempt was accepted, and its response was lost.
                return Ok(EffectOutcome::Accepted(aws.now()));
            }
            if seen.config != *from || seen.status != EndpointStatus::InService {
                return Ok(EffectOutcome::Stale);
            }
            let sent = aws.update_endpoint(endpoint, to, blue_green.as_ref()).await;
            outcome_or_error(sent, EffectOutcome::Accepted(aws.now()))
        }
        ExperimentEffect::UpdateWeights {
            endpoint,
            config,
            weights,
        } => {
            let seen = aws.endpoint(endpoint).await?;
            let fits = |seen: &promotion::Endpoint| seen.config == *config && seen.status == EndpointStatus::InService;
            if !seen.as_ref().is_some_and(fits) {
                return Ok(EffectOutcome::Stale);
            }
            outcome_or_error(aws.update_weights(endpoint, weights).await, EffectOutcome::Done)
        }
        ExperimentEffect::DeleteEndpointConfig { name } => {
            outcome_or_error(aws.delete_endpoint_config(name).await, EffectOutcome::Done)
        }
        ExperimentEffect::DeleteModel { name } => outcome_or_error(aws.delete_model(name).await, EffectOutcome::Done),
        ExperimentEffect::PutStateChange(change) => publish(aws, Event::ExperimentStateChange(change.clone())).await,
        ExperimentEffect::RequestBaselines(request) => publish(aws, Event::BaselinesRequested(request.clone())).await,
        ExperimentEffect::SetBaseline { own, change } => set_baseline(aws, *own, change).await,
    }
}

/// Turns permanent rejections into outcomes. The experiment document decides what follows.
fn outcome_or_error(sent: Result<(), AwsError>, success: EffectOutcome) -> Result<EffectOutcome, AwsError> {
    match sent {
        Ok(()) => Ok(success),
        // Another update came first. The next step observes the endpoint again.
        Err(error) if error.message.contains("in-progress") || error.kind == Kind::Conflict => Ok(EffectOutcome::Stale),
        Err(error) if matches!(error.kind, Kind::Rejected | Kind::Denied | Kind::NotFound) => {
            tracing::warn!(error = %error, "request rejected by SageMaker");
            Ok(EffectOutcome::Rejected(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

async fn publish(aws: &impl PromoteClients, event: Event) -> Result<EffectOutcome, AwsError> {
    audit::publish(aws, &event).await?;
    Ok(EffectOutcome::Done)
}

fn unwritable(error: &serde_json::Error) -> AwsError {
    AwsError {
        operation: "events:PutEvents",
        resource: "detail".into(),
        kind: Kind::Rejected,
        message: error.to_string(),
    }
}

/// Records the change unless a later one is recorded, updates Model Monitor's schedule to the latest baseline, and publishes
/// the change.
async fn set_baseline(
    aws: &impl PromoteClients,
    own: bool,
    change: &MonitorBaselineChange,
) -> Result<EffectOutcome, AwsError> {
    let latest = record_change(aws, change).await?;
    if !own {
        let updated = aws
            .set_baseline(&change.monitoring_schedule, &latest.baseline_uri)
            .await;
        if let EffectOutcome::Rejected(why) = outcome_or_error(updated, EffectOutcome::Done)? {
            // The error is in the log, and the schedule in SageMaker shows it. The alert window restarts anyway.
            tracing::error!(
                monitoring_schedule = %change.monitoring_schedule, baseline = %latest.baseline_uri, why = %why,
                "SageMaker rejected the baseline change of the schedule"
            );
        }
    }
    publish(aws, Event::BaselineChange(Box::new(change.clone()))).await
}

/// Writes a change to the monitor's baseline document, unless a later one is recorded. Returns the latest change.
async fn record_change(
    aws: &impl PromoteClients,
    change: &MonitorBaselineChange,
) -> Result<MonitorBaselineChange, AwsError> {
    let key = BaselineDocument::key(&change.monitoring_schedule);
    let mut lost = None;
    for _ in 0..MAX_WRITE_ATTEMPTS {
        let (known, precondition) = match aws.read(&key, None).await? {
            Fetched::Found(body, etag) => (Some(parse_baseline(&key, &body)?), Precondition::Unchanged(etag)),
            Fetched::Absent | Fetched::Unchanged => (None, Precondition::Absent),
        };
        let document = match known {
            Some(known) if known.change.time >= change.time => return Ok(known.change),
            Some(mut known) => {
                known.change = change.clone();
                known
            }
            None => BaselineDocument::new(change.clone()),
        };
        let body = serde_json::to_vec(&document).map_err(|error| unwritable(&error))?;
        let written: Result<ETag, AwsError> = aws.write(&key, body, &precondition).await;
        match written {
            Ok(_) => return Ok(change.clone()),
            Err(error) if error.kind == Kind::Conflict => lost = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(lost.map_or_else(
        || unwritable(&serde::de::Error::custom("no attempt was made")),
        |error| AwsError {
            kind: Kind::Transient,
            ..error
        },
    ))
}

fn parse_baseline(key: &str, body: &[u8]) -> Result<BaselineDocument, AwsError> {
    parse_document(key, body, BaselineDocument::VERSION).map_err(|error| AwsError {
        operation: "s3:GetObject",
        resource: key.to_owned(),
        kind: Kind::Rejected,
        message: machine::chain(&error),
    })
}
