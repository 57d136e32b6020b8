//! Carrying out what a model's experiments owe, each so that a second time does no more than the first.

use crate::World;
use promotion::{
    BaselineDocument, Carried, EXPERIMENT_STATE_CHANGE, EndpointStatus, ExperimentEffect, MODEL_BASELINES_REQUESTED,
    MONITOR_BASELINE_CHANGE, MonitorBaselineChange,
};
use serde::Serialize;
use shell::{
    AwsError, Kind,
    ports::{ETag, Fetched, NewEndpointConfig, Precondition},
};

/// How often a document that others write as well is tried.
const ATTEMPTS: u32 = 20;

/// Carries out one effect.
///
/// # Errors
/// If AWS fails for now: the effect stays owed. What SageMaker refuses for good is told to the document instead.
pub(crate) async fn carry_out(world: &impl World, effect: &ExperimentEffect) -> Result<Carried, AwsError> {
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
                like: like.clone(),
                variant_name: variant_name.clone(),
                weights: weights.clone(),
                shadow: *shadow,
            };
            refused_or(world.create_endpoint_config(&config).await, Carried::Done)
        }
        ExperimentEffect::UpdateEndpoint {
            endpoint,
            from,
            to,
            blue_green,
        } => {
            let Some(seen) = world.endpoint(endpoint).await? else {
                return Ok(Carried::Overtaken);
            };
            if seen.config == *to && seen.status == EndpointStatus::InService {
                return Ok(Carried::Done);
            }
            if seen.pending.as_ref() == Some(to) {
                // An attempt whose answer was lost.
                return Ok(Carried::Accepted(world.now()));
            }
            if seen.config != *from || seen.status != EndpointStatus::InService {
                return Ok(Carried::Overtaken);
            }
            let sent = world.update_endpoint(endpoint, to, blue_green.as_ref()).await;
            refused_or(sent, Carried::Accepted(world.now()))
        }
        ExperimentEffect::UpdateWeights {
            endpoint,
            config,
            weights,
        } => {
            let seen = world.endpoint(endpoint).await?;
            let fits = |seen: &promotion::Endpoint| seen.config == *config && seen.status == EndpointStatus::InService;
            if !seen.as_ref().is_some_and(fits) {
                return Ok(Carried::Overtaken);
            }
            refused_or(world.update_weights(endpoint, weights).await, Carried::Done)
        }
        ExperimentEffect::DeleteEndpointConfig { name } => {
            refused_or(world.delete_endpoint_config(name).await, Carried::Done)
        }
        ExperimentEffect::DeleteModel { name } => refused_or(world.delete_model(name).await, Carried::Done),
        ExperimentEffect::PutStateChange(change) => put(world, EXPERIMENT_STATE_CHANGE, change).await,
        ExperimentEffect::RequestBaselines(request) => put(world, MODEL_BASELINES_REQUESTED, request).await,
        ExperimentEffect::SetBaseline { own, change } => set_baseline(world, *own, change).await,
    }
}

/// What SageMaker will not do is no error to be tried again: the document hears of it, and decides.
fn refused_or(sent: Result<(), AwsError>, carried: Carried) -> Result<Carried, AwsError> {
    match sent {
        Ok(()) => Ok(carried),
        // Somebody was faster: the next look says what there is.
        Err(error) if error.message.contains("in-progress") || error.kind == Kind::Conflict => Ok(Carried::Overtaken),
        Err(error) if matches!(error.kind, Kind::Rejected | Kind::Denied | Kind::NotFound) => {
            tracing::warn!(error = %error, "refused");
            Ok(Carried::Refused(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

async fn put(world: &impl World, detail_type: &str, detail: &impl Serialize) -> Result<Carried, AwsError> {
    let detail = serde_json::to_string(detail).map_err(|error| unwritable(&error))?;
    world.put(detail_type, detail).await?;
    Ok(Carried::Done)
}

fn unwritable(error: &serde_json::Error) -> AwsError {
    AwsError {
        operation: "events:PutEvents",
        resource: "detail".into(),
        kind: Kind::Rejected,
        message: error.to_string(),
    }
}

/// Notes which baseline holds, unless a later change does; points Model Monitor's schedule at what holds; tells of it.
async fn set_baseline(world: &impl World, own: bool, change: &MonitorBaselineChange) -> Result<Carried, AwsError> {
    let holds = note(world, change).await?;
    if !own {
        let pointed = world
            .hold_against(&change.monitoring_schedule, &holds.baseline_uri)
            .await;
        if let Carried::Refused(why) = refused_or(pointed, Carried::Done)? {
            // People are told by the log, and see it in SageMaker; the window begins anew all the same.
            tracing::error!(
                monitoring_schedule = %change.monitoring_schedule, baseline = %holds.baseline_uri, why = %why,
                "the schedule could not be held against another baseline"
            );
        }
    }
    put(world, MONITOR_BASELINE_CHANGE, change).await
}

/// Writes a change into the monitor's document, unless a later one is there, and returns the one that holds.
async fn note(world: &impl World, change: &MonitorBaselineChange) -> Result<MonitorBaselineChange, AwsError> {
    let key = BaselineDocument::key(&change.monitoring_schedule);
    let mut lost = None;
    for _ in 0..ATTEMPTS {
        let (known, precondition) = match world.read(&key, None).await? {
            Fetched::Found(body, etag) => (known(&key, &body)?, Precondition::Unchanged(etag)),
            Fetched::Absent | Fetched::Unchanged => (None, Precondition::Absent),
        };
        if let Some(known) = known.filter(|known| known.time >= change.time) {
            return Ok(known);
        }
        let document = BaselineDocument {
            version: 1,
            change: change.clone(),
        };
        let body = serde_json::to_vec(&document).map_err(|error| unwritable(&error))?;
        let written: Result<ETag, AwsError> = world.write(&key, body, &precondition).await;
        match written {
            Ok(_) => return Ok(change.clone()),
            Err(error) if error.kind == Kind::Conflict => lost = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(lost.map_or_else(
        || unwritable(&serde::de::Error::custom("never tried")),
        |error| AwsError {
            kind: Kind::Transient,
            ..error
        },
    ))
}

fn known(key: &str, body: &[u8]) -> Result<Option<MonitorBaselineChange>, AwsError> {
    let read: Result<BaselineDocument, _> = serde_json::from_slice(body);
    let read = read.map_err(|error| AwsError {
        operation: "s3:GetObject",
        resource: key.to_owned(),
        kind: Kind::Rejected,
        message: format!("it is no document of a baseline: {error}"),
    })?;
    Ok(Some(read.change))
}
