//! Baselines of Model Monitor's schedules. A job definition cannot be changed: the schedule gets a copy of its job definition with
//! another baseline.

use super::{Aws, json::set, sagemaker::Schedules};
use machine::{AwsError, Kind};
use promotion::MonitorBaseline;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use shell::ports::MonitoringBaselines;

/// Number of characters of a job definition's name that the name of its copy keeps (API: names have at most 63 characters).
const MAX_STEM_CHARS: usize = 50;

/// Response of `DescribeMonitoringSchedule`. Members without a field are copied without a look into them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedSchedule {
    pub(crate) monitoring_schedule_config: Option<MonitoringConfig>,
    monitoring_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct MonitoringConfig {
    monitoring_type: Option<String>,
    monitoring_job_definition_name: Option<String>,
    monitoring_job_definition: Option<Map<String, Value>>,
    pub(crate) schedule_config: Option<Value>,
}

/// Kind of a job definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Definition {
    /// `MonitoringType`, with which the names of the members begin.
    monitor_type: &'static str,
    pub(crate) describe: &'static str,
    pub(crate) create: &'static str,
    /// File name of the constraints in a baseline folder.
    constraints: &'static str,
}

pub(crate) const DATA_QUALITY: Definition = Definition {
    monitor_type: "DataQuality",
    describe: "sagemaker:DescribeDataQualityJobDefinition",
    create: "sagemaker:CreateDataQualityJobDefinition",
    constraints: "constraints.json",
};

pub(crate) const MODEL_QUALITY: Definition = Definition {
    monitor_type: "ModelQuality",
    describe: "sagemaker:DescribeModelQualityJobDefinition",
    create: "sagemaker:CreateModelQualityJobDefinition",
    constraints: "constraints.json",
};

pub(crate) const MODEL_BIAS: Definition = Definition {
    monitor_type: "ModelBias",
    describe: "sagemaker:DescribeModelBiasJobDefinition",
    create: "sagemaker:CreateModelBiasJobDefinition",
    constraints: "analysis.json",
};

pub(crate) const MODEL_EXPLAINABILITY: Definition = Definition {
    monitor_type: "ModelExplainability",
    describe: "sagemaker:DescribeModelExplainabilityJobDefinition",
    create: "sagemaker:CreateModelExplainabilityJobDefinition",
    constraints: "analysis.json",
};

impl Definition {
    /// Kind of the job definition of a schedule. A schedule without a type has one of data quality.
    fn new(monitor_type: Option<&str>) -> Self {
        match monitor_type {
            Some("ModelQuality") => MODEL_QUALITY,
            Some("ModelBias") => MODEL_BIAS,
            Some("ModelExplainability") => MODEL_EXPLAINABILITY,
            _ => DATA_QUALITY,
        }
    }

    /// Name of the member with the baseline.
    pub(crate) fn baseline_config(self) -> String {
        format!("{}BaselineConfig", self.monitor_type)
    }

    /// Baseline of the job definition. Only analyses of data quality use statistics.
    fn baseline(self, baseline_uri: &str) -> Value {
        let statistics = matches!(self.monitor_type, "DataQuality").then(|| file(baseline_uri, "statistics.json"));
        json!({"ConstraintsResource": file(baseline_uri, self.constraints), "StatisticsResource": statistics})
    }

    /// Names of the members that a copy keeps.
    pub(crate) fn kept(self) -> Vec<String> {
        let own =
            ["AppSpecification", "JobInput", "JobOutputConfig"].map(|member| format!("{}{member}", self.monitor_type));
        let common = ["JobResources", "NetworkConfig", "RoleArn", "StoppingCondition"].map(ToOwned::to_owned);
        own.into_iter().chain(common).collect()
    }
}

/// A file of a baseline, as a resource of Model Monitor.
fn file(baseline_uri: &str, name: &str) -> Value {
    json!({"S3Uri": format!("{baseline_uri}/{name}")})
}

/// URI of the constraints in the baseline of a job definition.
fn constraints_uri(baseline: Option<&Value>) -> Option<&str> {
    baseline?.pointer("/ConstraintsResource/S3Uri")?.as_str()
}

/// Folder of a baseline's file.
fn folder(uri: Option<&str>) -> Option<String> {
    uri?.rsplit_once('/').map(|(folder, _)| folder.to_owned())
}

/// Name of the copy of a job definition with another baseline. The same baseline gives the same name.
fn copy_name(name: &str, baseline_uri: &str) -> String {
    let stem = name
        .rsplit_once("-dw")
        .filter(|(_, hash)| hash.len() == 8)
        .map_or(name, |(stem, _)| stem);
    let stem: String = stem.chars().take(MAX_STEM_CHARS).collect();
    let mut hash = hex::encode(Sha256::digest(baseline_uri));
    hash.truncate(8);
    format!("{}-dw{hash}", stem.trim_end_matches('-'))
}

impl Aws {
    pub(crate) async fn describe_schedule(&self, schedule: &str) -> Result<DescribedSchedule, AwsError> {
        let input = json!({"MonitoringScheduleName": schedule});
        self.sagemaker("sagemaker:DescribeMonitoringSchedule", schedule, input)
            .await
    }

    async fn describe_definition(&self, kind: Definition, name: &str) -> Result<Map<String, Value>, AwsError> {
        self.sagemaker(kind.describe, name, json!({"JobDefinitionName": name}))
            .await
    }

    /// Copies a job definition with another baseline, unless the copy exists, and returns its name.
    async fn copy_definition(&self, kind: Definition, name: &str, baseline_uri: &str) -> Result<String, AwsError> {
        let next = copy_name(name, baseline_uri);
        let mut definition = self.describe_definition(kind, name).await?;
        let mut input = json!({"JobDefinitionName": next, kind.baseline_config(): kind.baseline(baseline_uri)});
        for member in kind.kept() {
            let value = definition.remove(&member).unwrap_or_default();
            set(&mut input, &member, value);
        }
        match self.sagemaker::<Value>(kind.create, &next, input).await {
            // `ResourceInUse`: an earlier attempt created the copy.
            Err(error) if error.message.contains("ResourceInUse") || error.message.contains("already exists") => {
                Ok(next)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(next),
        }
    }
}

impl MonitoringBaselines for Aws {
    async fn monitors_for(&self, endpoint: &str) -> Result<Vec<MonitorBaseline>, AwsError> {
        let input = json!({"EndpointName": endpoint});
        let pages = self
            .sagemaker_pages("sagemaker:ListMonitoringSchedules", endpoint, input)
            .await?;
        let summaries = pages
            .into_iter()
            .flat_map(|page: Schedules| page.monitoring_schedule_summaries.into_iter().flatten());
        let mut monitors = Vec::new();
        for name in summaries.filter_map(|summary| summary.monitoring_schedule_name) {
            let described = self.describe_schedule(&name).await?;
            let Some(config) = described.monitoring_schedule_config else {
                continue;
            };
            let kind = Definition::new(config.monitoring_type.or(described.monitoring_type).as_deref());
            let uri = match (config.monitoring_job_definition_name, config.monitoring_job_definition) {
                (Some(definition), _) => {
                    let definition = self.describe_definition(kind, &definition).await?;
                    folder(constraints_uri(definition.get(&kind.baseline_config())))
                }
                (None, Some(job)) => folder(constraints_uri(job.get("BaselineConfig"))),
                (None, None) => None,
            };
            monitors.push(MonitorBaseline {
                monitoring_schedule: name,
                monitor_type: kind.monitor_type.to_owned(),
                own: false,
                baseline_uri: uri,
            });
        }
        Ok(monitors)
    }

    async fn set_baseline(&self, schedule: &str, baseline_uri: &str) -> Result<(), AwsError> {
        let described = self.describe_schedule(schedule).await?;
        let config = described.monitoring_schedule_config.ok_or_else(|| AwsError {
            operation: "sagemaker:DescribeMonitoringSchedule",
            resource: schedule.to_owned(),
            kind: Kind::Rejected,
            message: "the schedule has no configuration".to_owned(),
        })?;
        let kind = Definition::new(config.monitoring_type.or(described.monitoring_type).as_deref());
        let mut changed = json!({"MonitoringType": kind.monitor_type, "ScheduleConfig": config.schedule_config});
        match (config.monitoring_job_definition_name, config.monitoring_job_definition) {
            (Some(name), _) => {
                let copy = self.copy_definition(kind, &name, baseline_uri).await?;
                set(&mut changed, "MonitoringJobDefinitionName", copy);
            }
            (None, Some(mut job)) => {
                let baseline = DATA_QUALITY.baseline(baseline_uri);
                job.insert("BaselineConfig".to_owned(), baseline);
                set(&mut changed, "MonitoringJobDefinition", job);
            }
            (None, None) => {}
        }
        let input = json!({"MonitoringScheduleName": schedule, "MonitoringScheduleConfig": changed});
        let operation = "sagemaker:UpdateMonitoringSchedule";
        self.sagemaker::<Value>(operation, schedule, input).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_name_depends_on_baseline_and_does_not_grow() {
        let first = copy_name("churn-data-quality", "s3://b/1");
        assert!(first.starts_with("churn-data-quality-dw"), "{first}");
        let second = copy_name(&first, "s3://b/2");
        assert_eq!(second.len(), first.len());
        assert_ne!(second, first);
        assert_eq!(copy_name(&second, "s3://b/1"), first);
        assert!(copy_name(&"x".repeat(63), "s3://b/1").len() <= 63);
    }
}
