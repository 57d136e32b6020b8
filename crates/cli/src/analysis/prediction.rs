//! The analyses of predictions, by hand: model quality, bias, feature attributions.

use super::{
    inputs::{InputArgs, read_all, read_truth},
    places::{Place, read_config},
};
use crate::{
    Streams,
    cloud::{Failure, Places, Surroundings, said},
};
use analyzer::{
    Dataset, GroundTruth, Report, Table,
    job::{AnalysisConfig, Baseline, Invoke, JobError, ModelRequest, PredictionJob},
};
use model_monitor::MonitorType;
use shell::{
    ports::{Endpoints as _, ModelEndpoint},
    stream::asking,
};
use std::sync::Arc;

/// Which analysis, and what those of predictions need beside the dataset.
#[derive(Debug, clap::Args)]
pub(super) struct PredictionArgs {
    /// Which analysis: `DataQuality`, `ModelQuality`, `ModelBias` or `ModelExplainability`. By default `baseline` is of
    /// data quality, and `analyze` of what the baseline is of.
    #[arg(long, value_name = "TYPE", value_parser = monitor_type)]
    pub monitor_type: Option<MonitorType>,
    /// The analysis configuration, Clarify's `analysis_config.json` with the keys of model quality. By default `analyze`
    /// takes what `baseline` laid beside the baseline.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Ground truth in JSON Lines: labels that belong to captured requests by their inference id. May be given several
    /// times.
    #[arg(long, value_name = "DATASET")]
    ground_truth: Vec<String>,
    /// The endpoint that Kernel SHAP asks, through SageMaker Runtime. By default `predictor.endpoint_name` of the
    /// configuration.
    #[arg(long, value_name = "NAME", conflicts_with = "endpoint_url")]
    endpoint: Option<String>,
    /// A URL that Kernel SHAP posts its requests to, without credentials: a model on this machine.
    #[arg(long, value_name = "URL", value_parser = url)]
    endpoint_url: Option<String>,
}

fn monitor_type(text: &str) -> Result<MonitorType, String> {
    MonitorType::parse(text)
        .filter(|kind| *kind != MonitorType::Custom)
        .ok_or_else(|| "expected DataQuality, ModelQuality, ModelBias or ModelExplainability".to_owned())
}

fn url(text: &str) -> Result<String, String> {
    let is_one = ["http://", "https://"].iter().any(|scheme| {
        let rest = text.strip_prefix(scheme);
        rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty())
    });
    if is_one {
        Ok(text.to_owned())
    } else {
        Err("expected http://HOST:PORT/PATH".to_owned())
    }
}

impl PredictionArgs {
    /// Which analysis a baseline is of.
    pub(super) fn type_of(&self, baseline: &Baseline) -> Result<MonitorType, Failure> {
        if let Some(kind) = self.monitor_type {
            return Ok(kind);
        }
        match baseline.monitor_types().as_slice() {
            [] => Ok(MonitorType::DataQuality),
            [kind] => Ok(*kind),
            several => {
                let names: Vec<&str> = several.iter().map(|kind| kind.as_str()).collect();
                Err(Failure::Usage(format!(
                    "the baseline is one of {}: say which by --monitor-type",
                    names.join(" and ")
                )))
            }
        }
    }

    /// Refuses what data quality has no use for.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        let given = [
            ("--config", self.config.is_some()),
            ("--ground-truth", !self.ground_truth.is_empty()),
            ("--endpoint", self.endpoint.is_some()),
            ("--endpoint-url", self.endpoint_url.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => Err(Failure::Usage(format!(
                "{name} is of no use to DataQuality: say by --monitor-type which analysis it is for"
            ))),
        }
    }

    /// Makes a baseline, or holds the dataset against one.
    pub(super) async fn report(
        &self,
        kind: MonitorType,
        input: &InputArgs,
        baseline: Option<Baseline>,
        around: &impl Surroundings,
        streams: &mut Streams<'_>,
    ) -> Result<Report, Failure> {
        let config = match (&self.config, &baseline) {
            (Some(text), _) => Some(read_config(&Place::parse(text)?, around).await?),
            (None, Some(baseline)) => baseline.config.clone(),
            (None, None) => None,
        };
        let job = PredictionJob::new(kind, config)?;
        let model = self.model(job.config(), kind)?;
        if !self.ground_truth.is_empty() && !job.uses_ground_truth() {
            return Err(Failure::Usage(format!("--ground-truth is of no use to {kind}")));
        }
        let truth = read_truth(&self.ground_truth, around, streams).await?;
        let mut options = input.options(Vec::new());
        options.capture.ground_truth.clone_from(&truth);
        job.prepare(&mut options);
        let dataset = read_all(&input.datasets, &options, around, streams, job.tables()).await?;
        match model {
            None => Ok(carry_out(&job, &dataset, truth.as_deref(), baseline.as_ref(), None)?),
            Some(model) => {
                writeln!(streams.err, "asking {model} for predictions …")?;
                asked(job, dataset, truth, baseline, &model, around).await
            }
        }
    }

    /// The model that is asked, if one is.
    fn model(&self, config: &AnalysisConfig, kind: MonitorType) -> Result<Option<ModelEndpoint>, Failure> {
        let given = match (&self.endpoint, &self.endpoint_url) {
            (Some(name), _) => Some(ModelEndpoint::Name(name.clone())),
            (None, Some(url)) => Some(ModelEndpoint::Url(url.clone())),
            (None, None) => None,
        };
        if kind != MonitorType::ModelExplainability {
            return match given {
                None => Ok(None),
                Some(_) => Err(Failure::Usage(format!("{kind} asks no endpoint"))),
            };
        }
        let named = config.predictor.endpoint_name.clone();
        let model = given.or_else(|| named.map(ModelEndpoint::Name));
        if model.is_none() && config.asks_model() {
            return Err(Failure::Usage(
                "the configuration has a `predictor` without `endpoint_name`: say by --endpoint or --endpoint-url whom to ask"
                    .to_owned(),
            ));
        }
        Ok(model)
    }
}

fn carry_out(
    job: &PredictionJob,
    dataset: &Dataset<Table>,
    truth: Option<&GroundTruth>,
    baseline: Option<&Baseline>,
    model: Option<&mut Invoke<'_>>,
) -> Result<Report, JobError> {
    match baseline {
        None => job.baseline(dataset, truth, model),
        Some(baseline) => job.analyze(dataset, truth, baseline, model),
    }
}

/// Carries the analysis out with a model that is asked.
async fn asked(
    job: PredictionJob,
    dataset: Dataset<Table>,
    truth: Option<Arc<GroundTruth>>,
    baseline: Option<Baseline>,
    model: &ModelEndpoint,
    around: &impl Surroundings,
) -> Result<Report, Failure> {
    let world = around.connect(Places::default()).await?;
    let report = asking(
        move |ask| {
            let mut invoke = |request: &ModelRequest| {
                let answer: Option<Result<Vec<u8>, String>> = ask(request.clone());
                answer.unwrap_or_else(|| Err("nobody answers any more".to_owned()))
            };
            carry_out(&job, &dataset, truth.as_deref(), baseline.as_ref(), Some(&mut invoke))
        },
        async |request: ModelRequest| {
            let ModelRequest {
                content_type,
                accept,
                body,
            } = request;
            let answer = world.invoke_endpoint(model, &content_type, &accept, body).await;
            answer.map_err(|error| said(&error))
        },
    );
    let report = report.await;
    Ok(report.ok_or_else(|| Failure::Said("the analysis was given up".to_owned()))??)
}
