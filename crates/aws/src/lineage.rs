//! SageMaker's lineage and batch transform jobs, for the dashboard.

use super::{Aws, failed, seconds};
use model_dashboard::{LineageArtifact, LineageAssociation, TransformJob};
use sagemaker_sdk::types::{Direction, SortBy, SortOrder};
use shell::{
    AwsError, Kind,
    ports::{Lineage, TransformJobs},
};
use std::collections::BTreeMap;

/// Depth of a lineage query: data, training job, model, model package, endpoint, and the entities between them (API,
/// `QueryLineage`: at most 10).
const MAX_DEPTH: i32 = 6;
/// Maximum number of entities that are described, with one request each.
const MAX_ENTITIES: usize = 24;

impl TransformJobs for Aws {
    async fn latest_transform_job(&self, name_contains: &str) -> Result<Option<TransformJob>, AwsError> {
        let listed = self
            .sagemaker()
            .list_transform_jobs()
            .name_contains(name_contains)
            .sort_by(SortBy::CreationTime)
            .sort_order(SortOrder::Descending)
            .max_results(1)
            .send()
            .await
            .map_err(|error| failed("sagemaker:ListTransformJobs", name_contains, &error))?;
        let newest = listed.transform_job_summaries.unwrap_or_default().into_iter().next();
        Ok(newest.map(|job| TransformJob {
            name: job.transform_job_name.unwrap_or_default(),
            status: job
                .transform_job_status
                .map_or_else(String::new, |status| status.to_string()),
            created: seconds(job.creation_time.map_or(0, |time| time.secs())),
            ended: job.transform_end_time.map(|time| seconds(time.secs())),
            failure_reason: job.failure_reason,
        }))
    }
}

impl Lineage for Aws {
    async fn lineage(&self, arn: &str) -> Result<(Vec<LineageArtifact>, Vec<LineageAssociation>), AwsError> {
        let starts = self.find_entities(arn).await?;
        if starts.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let result = self
            .sagemaker()
            .query_lineage()
            .set_start_arns(Some(starts))
            .direction(Direction::Ascendants)
            .include_edges(true)
            .max_depth(MAX_DEPTH)
            .send()
            .await;
        let answer = match result.map_err(|error| failed("sagemaker:QueryLineage", arn, &error)) {
            Ok(answer) => answer,
            Err(error) if error.kind == Kind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(error),
        };
        let mut artifacts = BTreeMap::new();
        for vertex in answer.vertices() {
            let (Some(arn), true) = (vertex.arn(), artifacts.len() < MAX_ENTITIES) else {
                continue;
            };
            // The ARN of a vertex is that of the lineage entity. Its description contains the source.
            let Some(source) = self.find_source(arn).await? else {
                continue;
            };
            let artifact = LineageArtifact {
                arn: arn.to_owned(),
                kind: vertex.r#type().unwrap_or_default().to_owned(),
                source,
            };
            artifacts.insert(arn.to_owned(), artifact);
        }
        let associations = answer.edges().iter().filter_map(|edge| {
            Some(LineageAssociation {
                source: edge.source_arn()?.to_owned(),
                destination: edge.destination_arn()?.to_owned(),
                kind: edge.association_type().map_or_else(String::new, ToString::to_string),
            })
        });
        Ok((artifacts.into_values().collect(), associations.collect()))
    }
}

impl Aws {
    /// Finds the lineage entities (artifacts and contexts) for the resource with this ARN.
    async fn find_entities(&self, arn: &str) -> Result<Vec<String>, AwsError> {
        let artifacts = self.sagemaker().list_artifacts().source_uri(arn).send().await;
        let artifacts = artifacts.map_err(|error| failed("sagemaker:ListArtifacts", arn, &error))?;
        let contexts = self.sagemaker().list_contexts().source_uri(arn).send().await;
        let contexts = contexts.map_err(|error| failed("sagemaker:ListContexts", arn, &error))?;
        let artifacts = artifacts.artifact_summaries.unwrap_or_default().into_iter();
        let contexts = contexts.context_summaries.unwrap_or_default().into_iter();
        let found = artifacts.filter_map(|artifact| artifact.artifact_arn);
        Ok(found
            .chain(contexts.filter_map(|context| context.context_arn))
            .collect())
    }

    /// Source URI of a lineage entity. `None` if the entity was deleted, or its kind has no source.
    async fn find_source(&self, arn: &str) -> Result<Option<String>, AwsError> {
        let (kind, name) = {
            let resource = arn.rsplit(':').next().unwrap_or_default();
            resource.split_once('/').unwrap_or((resource, ""))
        };
        let found = match kind {
            "artifact" => {
                let described = self.sagemaker().describe_artifact().artifact_arn(arn).send().await;
                described
                    .map_err(|error| failed("sagemaker:DescribeArtifact", arn, &error))
                    .map(|described| described.source.and_then(|source| source.source_uri))
            }
            "context" => {
                let described = self.sagemaker().describe_context().context_name(name).send().await;
                described
                    .map_err(|error| failed("sagemaker:DescribeContext", arn, &error))
                    .map(|described| described.source.and_then(|source| source.source_uri))
            }
            // A trial component stands for a step of a pipeline execution. Its job has the same name.
            "experiment-trial-component" => return Ok(Some(arn.to_owned())),
            _ => return Ok(None),
        };
        match found {
            Ok(source) => Ok(source),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
