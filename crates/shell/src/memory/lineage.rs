//! Lineage and batch transform jobs in memory.

use super::Memory;
use crate::ports::{Lineage, TransformJobs};
use machine::AwsError;
use model_dashboard::{LineageArtifact, LineageAssociation, TransformJob};
use std::collections::BTreeMap;

/// Lineage and jobs that tests have added.
#[derive(Debug, Default)]
pub(super) struct LineageState {
    jobs: Vec<TransformJob>,
    lineage: BTreeMap<String, (Vec<LineageArtifact>, Vec<LineageAssociation>)>,
}

impl Memory {
    /// Adds a batch transform job.
    pub fn put_transform_job(&self, job: TransformJob) {
        self.inner().lineage.jobs.push(job);
    }

    /// Sets the lineage of a model package or an endpoint.
    pub fn put_lineage(&self, arn: &str, artifacts: Vec<LineageArtifact>, associations: Vec<LineageAssociation>) {
        let lineage = (artifacts, associations);
        self.inner().lineage.lineage.insert(arn.to_owned(), lineage);
    }
}

impl TransformJobs for Memory {
    async fn latest_transform_job(&self, name_contains: &str) -> Result<Option<TransformJob>, AwsError> {
        self.call("sagemaker:ListTransformJobs", name_contains, |inner| {
            let jobs = inner.lineage.jobs.iter();
            let matching = jobs.filter(|job| job.name.contains(name_contains));
            Ok(matching.max_by_key(|job| job.created).cloned())
        })
        .await
    }
}

impl Lineage for Memory {
    async fn lineage(&self, arn: &str) -> Result<(Vec<LineageArtifact>, Vec<LineageAssociation>), AwsError> {
        self.call("sagemaker:QueryLineage", arn, |inner| {
            Ok(inner.lineage.lineage.get(arn).cloned().unwrap_or_default())
        })
        .await
    }
}
