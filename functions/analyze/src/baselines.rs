//! The baselines of a promoted model: each of its monitors gets the files of one, in a folder of its own.
//!
//! They come from the model package's `DriftCheckBaselines`, else are made of what the model was trained on. What is there is
//! never overwritten. The file that an analysis cannot do without is written last, so that a folder that has it is whole: a
//! request that is repeated finds it, and so does one whose baseline somebody else has put there.

use crate::{
    AnalyzeError, World,
    datasets::{Failed, content, read_objects},
    execution::file_in,
};
use analysis::Profile;
use analyzer::{
    Dataset, ReadOptions, Report,
    job::{ANALYSIS_CONFIG, AnalysisConfig, BASELINE_FILES, Baseline, DataQualityJob, JobError, PredictionJob},
};
use model_monitor::{MonitorType, MonitoringScheduleName, S3Uri};
use promotion::{BaselinesCreated, BaselinesRequested, MODEL_BASELINES_CREATED, MonitorBaseline, NotCreated};
use shell::ports::{FetchedObject, ListedObject};
use std::collections::BTreeMap;

/// Makes the baselines that are asked for, as far as they can be, and tells which there are.
pub(crate) async fn create(world: &impl World, request: BaselinesRequested) -> Result<BaselinesCreated, AnalyzeError> {
    let (mut baselines, mut not_created) = (Vec::new(), Vec::new());
    for monitor in &request.monitors {
        let of = Of {
            request: &request,
            monitor,
        };
        let monitoring_schedule = &monitor.monitoring_schedule;
        match of.create(world).await {
            Ok(folder) => {
                tracing::info!(%monitoring_schedule, baseline_uri = %folder, "baseline created");
                baselines.push(MonitorBaseline {
                    baseline_uri: Some(folder.to_string()),
                    ..monitor.clone()
                });
            }
            Err(Failed::ForGood(reason)) => {
                tracing::warn!(%monitoring_schedule, reason, "no baseline created");
                not_created.push(NotCreated {
                    monitoring_schedule: monitoring_schedule.clone(),
                    reason,
                });
            }
            Err(Failed::Aws(error)) => return Err(error.into()),
        }
    }
    let created = BaselinesCreated {
        version: "1".to_owned(),
        id: request.id,
        correlation_id: request.correlation_id,
        model: request.model,
        experiment_id: request.experiment_id,
        model_package_arn: request.model_package_arn,
        baselines,
        not_created,
        time: world.now(),
    };
    let detail = serde_json::to_string(&created).map_err(AnalyzeError::Baselines)?;
    world.put(MODEL_BASELINES_CREATED, detail).await?;
    Ok(created)
}

/// A file of a baseline.
struct File {
    name: String,
    body: Vec<u8>,
}

/// One monitor of a request.
struct Of<'a> {
    request: &'a BaselinesRequested,
    monitor: &'a MonitorBaseline,
}

impl Of<'_> {
    /// Makes the baseline, unless it is there; its folder.
    async fn create(&self, world: &impl World) -> Result<S3Uri, Failed> {
        let kind = self.kind()?;
        let folder = self.folder()?;
        let last = self.last(kind);
        for name in last {
            let at = file_in(&folder, name);
            if world.report(&at.bucket, &at.key, 0).await? != FetchedObject::Absent {
                return Ok(folder);
            }
        }
        let mut files = self.files(world, kind).await?;
        files.sort_by_key(|file| last.contains(&file.name.as_str()));
        for file in files {
            let at = file_in(&folder, &file.name);
            if !world.store_new(&at.bucket, &at.key, file.body).await? {
                tracing::info!(object = %at, "it is there already, and stays as it is");
            }
        }
        Ok(folder)
    }

    fn kind(&self) -> Result<MonitorType, Failed> {
        let name = &self.monitor.monitor_type;
        let kind = MonitorType::parse(name).filter(|kind| *kind != MonitorType::Custom);
        kind.ok_or_else(|| Failed::ForGood(format!("of monitors of type `{name}` no baselines are known")))
    }

    fn folder(&self) -> Result<S3Uri, Failed> {
        let schedule = &self.monitor.monitoring_schedule;
        if MonitoringScheduleName::new(schedule).is_none() {
            return Err(Failed::ForGood(format!(
                "`{schedule}` is no name of a monitoring schedule"
            )));
        }
        Ok(file_in(&uri(&self.request.output_uri)?, schedule))
    }

    /// The files of which an analysis needs one.
    fn last(&self, kind: MonitorType) -> &'static [&'static str] {
        match kind {
            MonitorType::ModelBias | MonitorType::ModelExplainability if self.monitor.own => &["analysis.json"],
            // The name is whatever the schedule's job definition says.
            MonitorType::ModelBias | MonitorType::ModelExplainability => &["analysis.json", "constraints.json"],
            _ => &["constraints.json"],
        }
    }

    async fn files(&self, world: &impl World, kind: MonitorType) -> Result<Vec<File>, Failed> {
        let last = self.last(kind);
        let given = self.request.drift_check_baselines.get(kind.as_str());
        let complete = |given: &&BTreeMap<String, String>| last.iter().any(|name| given.contains_key(*name));
        if let Some(given) = given.filter(complete) {
            return self.copied(world, kind, given).await;
        }
        let lacks = match given {
            None => format!("the model package has no drift check baseline of {kind}"),
            Some(_) => format!(
                "the drift check baseline of {kind} that the model package has lacks {}",
                last.join(" or ")
            ),
        };
        let none = |why: &str| Failed::ForGood(format!("{lacks}, and {why}"));
        let made_of_data = match kind {
            MonitorType::DataQuality => true,
            MonitorType::ModelQuality | MonitorType::ModelBias => self.monitor.own,
            _ => false,
        };
        if !made_of_data {
            return Err(none(
                "none is made of training data for this monitor: register the model package with one",
            ));
        }
        let Some(data) = &self.request.training_data_uri else {
            return Err(none(
                "the policy names no training data: register the model package with one, or set `training_data` of its \
                 promotion's `baselines`",
            ));
        };
        let data = uri(data)?;
        let report = if kind == MonitorType::DataQuality {
            self.data_quality(world, &data).await?
        } else {
            let Some((object, body)) = self.before(world, ANALYSIS_CONFIG).await? else {
                return Err(none(
                    "the baseline that the monitor had has no analysis_config.json, which would say which columns of the \
                     training data are what: register the model package with one, or put that file beside the baseline",
                ));
            };
            let config = AnalysisConfig::parse(&object.to_string(), &body).map_err(JobError::from)?;
            predictions(world, kind, config, &data).await?
        };
        for note in &report.notes {
            tracing::warn!(monitoring_schedule = %self.monitor.monitoring_schedule, "{note}");
        }
        let files = report.all_files().into_iter().map(|file| File {
            name: file.name.to_owned(),
            body: file.content,
        });
        Ok(files.collect())
    }

    /// The drift check baseline of the model package, with the configuration that our own analyses look for beside it.
    async fn copied(
        &self,
        world: &impl World,
        kind: MonitorType,
        given: &BTreeMap<String, String>,
    ) -> Result<Vec<File>, Failed> {
        let mut files = Vec::with_capacity(given.len() + 1);
        for (name, at) in given {
            let at = uri(at)?;
            if name.is_empty() || name.contains('/') {
                return Err(Failed::ForGood(format!("`{name}` is no name of a file of a baseline")));
            }
            let body = content(world, &at).await?;
            let body = body.ok_or_else(|| {
                Failed::ForGood(format!(
                    "{at}, a drift check baseline of the model package, does not exist"
                ))
            })?;
            files.push(File {
                name: name.clone(),
                body,
            });
        }
        if !self.monitor.own {
            return Ok(files);
        }
        let mut baseline = Baseline::default();
        for File { name, body } in &files {
            if BASELINE_FILES.contains(&name.as_str()) {
                let object = given.get(name).map_or(name.as_str(), String::as_str);
                baseline.add(name, object, body)?;
            }
        }
        if !baseline.monitor_types().contains(&kind) {
            return Err(Failed::ForGood(format!(
                "what the model package has as drift check baseline of {kind} is none of {kind}"
            )));
        }
        if kind != MonitorType::DataQuality
            && baseline.config.is_none()
            && let Some((_, body)) = self.before(world, ANALYSIS_CONFIG).await?
        {
            files.push(File {
                name: ANALYSIS_CONFIG.to_owned(),
                body,
            });
        }
        Ok(files)
    }

    /// A file of the baseline that the monitor had, and where it lies.
    async fn before(&self, world: &impl World, name: &str) -> Result<Option<(S3Uri, Vec<u8>)>, Failed> {
        let Some(folder) = &self.monitor.baseline_uri else {
            return Ok(None);
        };
        let at = file_in(&uri(folder)?, name);
        Ok(content(world, &at).await?.map(|body| (at, body)))
    }

    async fn data_quality(&self, world: &impl World, data: &S3Uri) -> Result<Report, Failed> {
        let mut before = Baseline::default();
        let name = "constraints.json";
        if let Some((object, body)) = self.before(world, name).await? {
            before.add(name, &object.to_string(), &body)?;
        }
        let columns = before.columns();
        let options = ReadOptions {
            expected: columns.clone(),
            ..ReadOptions::default()
        };
        let objects = objects(world, data).await?;
        let dataset: Dataset<Profile> = read_objects(world, &data.bucket, &objects, options, Profile::default).await?;
        // Columns without names have those of the baseline before, by their places, as long as there are as many.
        let found: Vec<&str> = dataset.sink.columns().map(|(name, _)| name).collect();
        let beyond = format!("_c{}", columns.len());
        if !columns.is_empty() && !columns.contains(&beyond) && found.contains(&beyond.as_str()) {
            return Err(unfit(
                data,
                &format!(
                    "it has no header and {} columns, where the baseline before has {}, so that they cannot be told apart: \
                     write one with a header",
                    found.len(),
                    columns.len()
                ),
            ));
        }
        let report = DataQualityJob::default().next_baseline(&dataset, before.constraints.as_ref());
        report.map_err(|error| unfit(data, &error.to_string()))
    }
}

/// The baseline of an analysis of predictions.
async fn predictions(
    world: &impl World,
    kind: MonitorType,
    config: AnalysisConfig,
    data: &S3Uri,
) -> Result<Report, Failed> {
    let job = PredictionJob::new(kind, Some(config))?;
    let mut options = ReadOptions::default();
    job.prepare(&mut options);
    let objects = objects(world, data).await?;
    let dataset = read_objects(world, &data.bucket, &objects, options, job.tables()).await?;
    let report = job.baseline(&dataset, None, None);
    report.map_err(|error| {
        let help = "register the model package with a drift check baseline, or name training data that has what the model \
                    predicted";
        unfit(data, &format!("{error}; {help}"))
    })
}

/// The objects of a dataset: the one of that key, or those below it as a folder.
async fn objects(world: &impl World, data: &S3Uri) -> Result<Vec<ListedObject>, Failed> {
    let mut objects = world.objects(&data.bucket, &data.key).await?;
    let folder = format!("{}/", data.key);
    objects.retain(|object| {
        let below = data.key.is_empty() || object.key == data.key || object.key.starts_with(&folder);
        below && object.bytes > 0
    });
    if objects.is_empty() {
        return Err(Failed::ForGood(format!(
            "{data}, the training data, does not exist, or is empty: `training_data` in the policy says where it lies"
        )));
    }
    Ok(objects)
}

fn unfit(data: &S3Uri, why: &str) -> Failed {
    Failed::ForGood(format!("no baseline can be made of {data}: {why}"))
}

fn uri(text: &str) -> Result<S3Uri, Failed> {
    S3Uri::parse(text).ok_or_else(|| Failed::ForGood(format!("`{text}` is no s3:// URI")))
}
