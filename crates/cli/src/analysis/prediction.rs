//! The analyses of predictions from the command line: model quality, bias, feature attributions.

use super::{
    inputs::{InputArgs, read_all, read_truth},
    locations::{Location, read_config},
};
use crate::{
    Streams,
    cloud::{AwsTargets, Environment},
    error::{Failure, Message},
};
use analyzer::{
    Dataset, GroundTruth, Report, Table,
    job::{AnalysisConfig, Baseline, Invoke, JobError, ModelRequest, PredictionJob, Thresholds},
};
use model_monitor::MonitorType;
use shell::{
    ports::{Endpoints as _, ModelEndpoint},
    stream::run_blocking,
};
use std::sync::Arc;

/// The type of analysis, and the inputs of analyses of predictions.
#[derive(Debug, clap::Args)]
pub(super) struct PredictionArgs {
    /// Monitor type: `DataQuality`, `ModelQuality`, `ModelBias`, or `ModelExplainability`
    /// [default: `DataQuality` for `baseline`, the type of the baseline for `analyze`].
    #[arg(long, value_name = "TYPE", value_parser = monitor_type)]
    pub monitor_type: Option<MonitorType>,
    /// Analysis configuration: Clarify's `analysis_config.json` with additional keys for model quality
    /// [default: for `analyze`, the configuration in the baseline folder].
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Ground truth in JSON Lines: labels that are matched with captured requests by inference ID. Repeatable.
    #[arg(long, value_name = "DATASET")]
    ground_truth: Vec<String>,
    /// Endpoint that Kernel SHAP invokes through SageMaker Runtime [default: `predictor.endpoint_name` of the configuration].
    #[arg(long, value_name = "NAME", conflicts_with = "endpoint_url")]
    endpoint: Option<String>,
    /// URL that Kernel SHAP sends its requests to, without credentials, for example a model on this machine.
    #[arg(long, value_name = "URL", value_parser = url)]
    endpoint_url: Option<String>,
}

/// What an analysis is for.
pub(super) enum Against {
    /// A baseline with these thresholds.
    Thresholds(Thresholds),
    /// A comparison with this baseline.
    Baseline(Box<Baseline>),
}

fn monitor_type(text: &str) -> Result<MonitorType, String> {
    MonitorType::parse(text)
        .filter(|kind| *kind != MonitorType::Custom)
        .ok_or_else(|| "expected DataQuality, ModelQuality, ModelBias, or ModelExplainability".to_owned())
}

fn url(text: &str) -> Result<String, String> {
    let is_valid = ["http://", "https://"].iter().any(|scheme| {
        let rest = text.strip_prefix(scheme);
        rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty())
    });
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("expected http://HOST:PORT/PATH".to_owned())
    }
}

impl PredictionArgs {
    /// The monitor type of an analysis against a baseline.
    pub(super) fn type_for(&self, baseline: &Baseline) -> Result<MonitorType, Failure> {
        if let Some(kind) = self.monitor_type {
            return Ok(kind);
        }
        match baseline.monitor_types().as_slice() {
            [] => Ok(MonitorType::DataQuality),
            [kind] => Ok(*kind),
            several => {
                let names: Vec<&str> = several.iter().map(|kind| kind.as_str()).collect();
                Err(Failure::usage(
                    format!("the baseline has files for {}", names.join(" and ")),
                    "pass one of them with --monitor-type",
                ))
            }
        }
    }

    /// Rejects options that data quality does not support.
    pub(super) fn reject_options(&self) -> Result<(), Failure> {
        let given = [
            ("--config", self.config.is_some()),
            ("--ground-truth", !self.ground_truth.is_empty()),
            ("--endpoint", self.endpoint.is_some()),
            ("--endpoint-url", self.endpoint_url.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => Err(Failure::usage(
                format!("{name} is not supported for DataQuality"),
                "pass another monitor type: --monitor-type ModelQuality, ModelBias, or ModelExplainability",
            )),
        }
    }

    /// Creates a baseline, or compares the dataset with one.
    pub(super) async fn report(
        &self,
        kind: MonitorType,
        input: &InputArgs,
        against: Against,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<Report, Failure> {
        let config = match (&self.config, &against) {
            (Some(text), _) => Some(read_config(&Location::parse(text)?, env).await?),
            (None, Against::Baseline(baseline)) => baseline.config.clone(),
            (None, Against::Thresholds(_)) => None,
        };
        let job = PredictionJob::new(kind, config)?;
        let model = self.model(job.config(), kind)?;
        if !self.ground_truth.is_empty() && !job.uses_ground_truth() {
            return Err(Failure::usage(
                format!("--ground-truth is not supported for {kind}"),
                "remove --ground-truth",
            ));
        }
        let truth = read_truth(&self.ground_truth, env, streams).await?;
        let mut options = input.options(Vec::new());
        options.capture.ground_truth.clone_from(&truth);
        job.prepare(&mut options);
        let dataset = read_all(&input.datasets, &options, env, streams, job.tables()).await?;
        match model {
            None => Ok(run_job(&job, &dataset, truth.as_deref(), &against, None)?),
            Some(model) => {
                writeln!(streams.err, "getting predictions from {model} …")?;
                run_with_model(job, dataset, truth, against, &model, env).await
            }
        }
    }

    /// The model to invoke, if any.
    fn model(&self, config: &AnalysisConfig, kind: MonitorType) -> Result<Option<ModelEndpoint>, Failure> {
        let given = match (&self.endpoint, &self.endpoint_url) {
            (Some(name), _) => Some(ModelEndpoint::Name(name.clone())),
            (None, Some(url)) => Some(ModelEndpoint::Url(url.clone())),
            (None, None) => None,
        };
        if kind != MonitorType::ModelExplainability {
            return match given {
                None => Ok(None),
                Some(_) => Err(Failure::usage(
                    format!("--endpoint is not supported for {kind}"),
                    "remove --endpoint or --endpoint-url",
                )),
            };
        }
        let named = config.predictor.endpoint_name.clone();
        let model = given.or_else(|| named.map(ModelEndpoint::Name));
        if model.is_none() && config.calls_model() {
            return Err(Failure::usage(
                "the `predictor` of the configuration has no `endpoint_name`",
                "pass --endpoint NAME or --endpoint-url URL",
            ));
        }
        Ok(model)
    }
}

fn run_job(
    job: &PredictionJob,
    dataset: &Dataset<Table>,
    truth: Option<&GroundTruth>,
    against: &Against,
    model: Option<&mut Invoke<'_>>,
) -> Result<Report, JobError> {
    match against {
        Against::Thresholds(thresholds) => job.baseline(dataset, truth, model, *thresholds),
        Against::Baseline(baseline) => job.analyze(dataset, truth, baseline, model),
    }
}

/// Runs the analysis with predictions of a model.
async fn run_with_model(
    job: PredictionJob,
    dataset: Dataset<Table>,
    truth: Option<Arc<GroundTruth>>,
    against: Against,
    model: &ModelEndpoint,
    env: &impl Environment,
) -> Result<Report, Failure> {
    let clients = env.connect(AwsTargets::default()).await?;
    let report = run_blocking(
        move |ask| {
            let mut invoke = |request: &ModelRequest| {
                let answer: Option<Result<Vec<u8>, String>> = ask(request.clone());
                answer.unwrap_or_else(|| Err("the endpoint stopped responding".to_owned()))
            };
            run_job(&job, &dataset, truth.as_deref(), &against, Some(&mut invoke))
        },
        async |request: ModelRequest| {
            let ModelRequest {
                content_type,
                accept,
                body,
            } = request;
            let answer = clients.invoke_endpoint(model, &content_type, &accept, body).await;
            answer.map_err(|error| Message::from(&error).to_string())
        },
    );
    let report = report.await;
    Ok(report.ok_or_else(|| Message::from("the analysis was canceled".to_owned()))??)
}
