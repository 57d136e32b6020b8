//! Baselines of Model Monitor's schedules. A job definition cannot be changed: the schedule gets a copy of its job definition with
//! another baseline.

use super::{Aws, failed};
use promotion::MonitorBaseline;
use sagemaker_sdk::{
    operation::describe_monitoring_schedule::DescribeMonitoringScheduleOutput,
    types::{
        DataQualityBaselineConfig, ModelBiasBaselineConfig, ModelExplainabilityBaselineConfig,
        ModelQualityBaselineConfig, MonitoringBaselineConfig, MonitoringConstraintsResource, MonitoringScheduleConfig,
        MonitoringStatisticsResource, MonitoringType,
    },
};
use sha2::{Digest as _, Sha256};
use shell::{AwsError, Kind, ports::MonitoringBaselines};

/// Number of characters of a job definition's name that the name of its copy keeps (API: names have at most 63 characters).
const MAX_STEM_CHARS: usize = 50;

fn constraints(baseline_uri: &str, file: &str) -> MonitoringConstraintsResource {
    let uri = format!("{baseline_uri}/{file}");
    MonitoringConstraintsResource::builder().s3_uri(uri).build()
}

fn statistics(baseline_uri: &str) -> MonitoringStatisticsResource {
    let uri = format!("{baseline_uri}/statistics.json");
    MonitoringStatisticsResource::builder().s3_uri(uri).build()
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
    async fn describe_schedule(&self, schedule: &str) -> Result<DescribeMonitoringScheduleOutput, AwsError> {
        let described = self.sagemaker().describe_monitoring_schedule();
        let sent = described.monitoring_schedule_name(schedule).send().await;
        sent.map_err(|error| failed("sagemaker:DescribeMonitoringSchedule", schedule, &error))
    }

    /// URI of the constraints in a job definition.
    async fn find_constraints(&self, kind: &MonitoringType, name: &str) -> Result<Option<String>, AwsError> {
        macro_rules! constraints {
            ($describe:ident, $baseline:ident, $operation:literal) => {{
                let described = self
                    .sagemaker()
                    .$describe()
                    .job_definition_name(name)
                    .send()
                    .await;
                let described = described.map_err(|error| failed($operation, name, &error))?;
                let baseline = described.$baseline;
                baseline.and_then(|baseline| baseline.constraints_resource?.s3_uri)
            }};
        }
        Ok(match kind {
            MonitoringType::ModelQuality => constraints!(
                describe_model_quality_job_definition,
                model_quality_baseline_config,
                "sagemaker:DescribeModelQualityJobDefinition"
            ),
            MonitoringType::ModelBias => constraints!(
                describe_model_bias_job_definition,
                model_bias_baseline_config,
                "sagemaker:DescribeModelBiasJobDefinition"
            ),
            MonitoringType::ModelExplainability => constraints!(
                describe_model_explainability_job_definition,
                model_explainability_baseline_config,
                "sagemaker:DescribeModelExplainabilityJobDefinition"
            ),
            _ => constraints!(
                describe_data_quality_job_definition,
                data_quality_baseline_config,
                "sagemaker:DescribeDataQualityJobDefinition"
            ),
        })
    }

    /// Copies a job definition with another baseline, unless the copy exists, and returns its name.
    async fn copy_definition(&self, kind: &MonitoringType, name: &str, baseline_uri: &str) -> Result<String, AwsError> {
        let next = copy_name(name, baseline_uri);
        macro_rules! copy {
            (
                $describe:ident, $create:ident, $operations:expr, $config:expr,
                [$baseline:ident, $($field:ident => $set:ident),*]
            ) => {{
                let (describes, creates) = $operations;
                let known = self.sagemaker().$describe().job_definition_name(name).send().await;
                let known = known.map_err(|error| failed(describes, name, &error))?;
                let request = self.sagemaker().$create().job_definition_name(&next).$baseline($config);
                let request = request
                    $(.$set(known.$field))*
                    .set_job_resources(known.job_resources)
                    .set_network_config(known.network_config)
                    .set_role_arn(known.role_arn)
                    .set_stopping_condition(known.stopping_condition);
                let created = request.send().await;
                created.map(drop).map_err(|error| failed(creates, &next, &error))
            }};
        }
        let created = match kind {
            MonitoringType::ModelQuality => copy!(
                describe_model_quality_job_definition,
                create_model_quality_job_definition,
                ("sagemaker:DescribeModelQualityJobDefinition", "sagemaker:CreateModelQualityJobDefinition"),
                ModelQualityBaselineConfig::builder()
                    .constraints_resource(constraints(baseline_uri, "constraints.json"))
                    .build(),
                [
                    model_quality_baseline_config,
                    model_quality_app_specification => set_model_quality_app_specification,
                    model_quality_job_input => set_model_quality_job_input,
                    model_quality_job_output_config => set_model_quality_job_output_config
                ]
            ),
            MonitoringType::ModelBias => copy!(
                describe_model_bias_job_definition,
                create_model_bias_job_definition,
                ("sagemaker:DescribeModelBiasJobDefinition", "sagemaker:CreateModelBiasJobDefinition"),
                ModelBiasBaselineConfig::builder()
                    .constraints_resource(constraints(baseline_uri, "analysis.json"))
                    .build(),
                [
                    model_bias_baseline_config,
                    model_bias_app_specification => set_model_bias_app_specification,
                    model_bias_job_input => set_model_bias_job_input,
                    model_bias_job_output_config => set_model_bias_job_output_config
                ]
            ),
            MonitoringType::ModelExplainability => copy!(
                describe_model_explainability_job_definition,
                create_model_explainability_job_definition,
                (
                    "sagemaker:DescribeModelExplainabilityJobDefinition",
                    "sagemaker:CreateModelExplainabilityJobDefinition"
                ),
                ModelExplainabilityBaselineConfig::builder()
                    .constraints_resource(constraints(baseline_uri, "analysis.json"))
                    .build(),
                [
                    model_explainability_baseline_config,
                    model_explainability_app_specification => set_model_explainability_app_specification,
                    model_explainability_job_input => set_model_explainability_job_input,
                    model_explainability_job_output_config => set_model_explainability_job_output_config
                ]
            ),
            _ => copy!(
                describe_data_quality_job_definition,
                create_data_quality_job_definition,
                ("sagemaker:DescribeDataQualityJobDefinition", "sagemaker:CreateDataQualityJobDefinition"),
                DataQualityBaselineConfig::builder()
                    .constraints_resource(constraints(baseline_uri, "constraints.json"))
                    .statistics_resource(statistics(baseline_uri))
                    .build(),
                [
                    data_quality_baseline_config,
                    data_quality_app_specification => set_data_quality_app_specification,
                    data_quality_job_input => set_data_quality_job_input,
                    data_quality_job_output_config => set_data_quality_job_output_config
                ]
            ),
        };
        match created {
            // `ResourceInUse`: an earlier attempt created the copy.
            Err(error) if error.message.contains("ResourceInUse") || error.message.contains("already exists") => {
                Ok(next)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(next),
        }
    }
}

impl MonitoringBaselines for Aws {
    async fn monitors_for(&self, endpoint: &str) -> Result<Vec<MonitorBaseline>, AwsError> {
        let listed = self.sagemaker().list_monitoring_schedules().endpoint_name(endpoint);
        let mut pages = listed.into_paginator().send();
        let mut monitors = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("sagemaker:ListMonitoringSchedules", endpoint, &error))?;
            for summary in page.monitoring_schedule_summaries.into_iter().flatten() {
                let Some(name) = summary.monitoring_schedule_name else {
                    continue;
                };
                let described = self.describe_schedule(&name).await?;
                let Some(config) = described.monitoring_schedule_config else {
                    continue;
                };
                let kind = config.monitoring_type.or(described.monitoring_type);
                let kind = kind.unwrap_or(MonitoringType::DataQuality);
                let inline = config.monitoring_job_definition.and_then(|job| job.baseline_config);
                let uri = match (&config.monitoring_job_definition_name, inline) {
                    (Some(definition), _) => self.find_constraints(&kind, definition).await?,
                    (None, Some(baseline)) => baseline.constraints_resource.and_then(|resource| resource.s3_uri),
                    (None, None) => None,
                };
                monitors.push(MonitorBaseline {
                    monitoring_schedule: name,
                    monitor_type: kind.as_str().to_owned(),
                    own: false,
                    baseline_uri: folder(uri.as_deref()),
                });
            }
        }
        Ok(monitors)
    }

    async fn set_baseline(&self, schedule: &str, baseline_uri: &str) -> Result<(), AwsError> {
        let operation = "sagemaker:UpdateMonitoringSchedule";
        let described = self.describe_schedule(schedule).await?;
        let config = described.monitoring_schedule_config.ok_or_else(|| AwsError {
            operation: "sagemaker:DescribeMonitoringSchedule",
            resource: schedule.to_owned(),
            kind: Kind::Rejected,
            message: "the schedule has no configuration".to_owned(),
        })?;
        let kind = config.monitoring_type.clone().or(described.monitoring_type);
        let kind = kind.unwrap_or(MonitoringType::DataQuality);
        let changed = MonitoringScheduleConfig::builder()
            .set_schedule_config(config.schedule_config)
            .monitoring_type(kind.clone());
        let changed = match (config.monitoring_job_definition_name, config.monitoring_job_definition) {
            (Some(name), _) => {
                changed.monitoring_job_definition_name(self.copy_definition(&kind, &name, baseline_uri).await?)
            }
            (None, Some(mut job)) => {
                let baseline = MonitoringBaselineConfig::builder()
                    .constraints_resource(constraints(baseline_uri, "constraints.json"))
                    .statistics_resource(statistics(baseline_uri));
                job.baseline_config = Some(baseline.build());
                changed.monitoring_job_definition(job)
            }
            (None, None) => changed,
        };
        let request = self.sagemaker().update_monitoring_schedule();
        let request = request.monitoring_schedule_name(schedule);
        let sent = request.monitoring_schedule_config(changed.build()).send().await;
        sent.map_err(|error| failed(operation, schedule, &error))?;
        Ok(())
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
