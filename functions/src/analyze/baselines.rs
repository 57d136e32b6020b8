//! Creates the baselines of a promoted model: the files of a baseline for each of its monitors, in separate folders.
//!
//! A baseline comes from the model package's `DriftCheckBaselines`, or else is created from the training data. Existing files are
//! never overwritten. The file that every analysis requires is written last, so a folder with this file is complete. A repeated
//! request finds it, and so does the first request if another process has created the baseline.

use crate::Error;
use crate::analyze::{
    AnalyzeClients,
    datasets::{Failed, content, read_objects},
    execution::file_in,
};
use analysis::Profile;
use analyzer::{
    Dataset, ReadOptions, Report,
    job::{
        ANALYSIS_CONFIG, AnalysisConfig, BASELINE_FILES, Baseline, DataQualityJob, JobError, PredictionJob, TOLERANCE,
        Thresholds,
    },
};
use events::Event;
use model_monitor::{MonitorType, MonitoringScheduleName, S3Uri};
use promotion::{BaselineFailure, BaselinesCreated, BaselinesRequested, MonitorBaseline};
use shell::ports::{FetchedObject, ListedObject};
use std::collections::BTreeMap;

/// Creates the requested baselines where possible, and publishes the result.
pub(crate) async fn create(
    clients: &impl AnalyzeClients,
    request: BaselinesRequested,
) -> Result<BaselinesCreated, Error> {
    let (mut baselines, mut not_created) = (Vec::new(), Vec::new());
    for monitor in &request.monitors {
        let baseline = NewBaseline {
            request: &request,
            monitor,
        };
        let monitoring_schedule = &monitor.monitoring_schedule;
        match baseline.create(clients).await {
            Ok(folder) => {
                tracing::info!(%monitoring_schedule, baseline_uri = %folder, "baseline created");
                baselines.push(MonitorBaseline {
                    baseline_uri: Some(folder.to_string()),
                    ..monitor.clone()
                });
            }
            Err(Failed::ForGood(reason)) => {
                tracing::warn!(%monitoring_schedule, reason, "baseline not created");
                not_created.push(BaselineFailure {
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
        time: clients.now(),
    };
    clients.put(&Event::BaselinesCreated(Box::new(created.clone()))).await?;
    Ok(created)
}

/// A file of a baseline.
struct File {
    name: String,
    body: Vec<u8>,
}

/// The baseline of one monitor in a request.
struct NewBaseline<'a> {
    request: &'a BaselinesRequested,
    monitor: &'a MonitorBaseline,
}

impl NewBaseline<'_> {
    /// Creates the baseline unless it exists, and returns its folder.
    async fn create(&self, clients: &impl AnalyzeClients) -> Result<S3Uri, Failed> {
        let kind = self.kind()?;
        let folder = self.folder()?;
        let required = self.required_files(kind);
        for name in required {
            let at = file_in(&folder, name);
            if clients.report(&at.bucket, &at.key, 0).await? != FetchedObject::Absent {
                return Ok(folder);
            }
        }
        let mut files = self.files(clients, kind).await?;
        files.sort_by_key(|file| required.contains(&file.name.as_str()));
        for file in files {
            let at = file_in(&folder, &file.name);
            if !clients.store_new(&at.bucket, &at.key, file.body).await? {
                tracing::info!(object = %at, "baseline file exists and is kept");
            }
        }
        Ok(folder)
    }

    fn kind(&self) -> Result<MonitorType, Failed> {
        let name = &self.monitor.monitor_type;
        let kind = MonitorType::parse(name).filter(|kind| *kind != MonitorType::Custom);
        kind.ok_or_else(|| Failed::ForGood(format!("baselines are not supported for monitors of type `{name}`")))
    }

    fn folder(&self) -> Result<S3Uri, Failed> {
        let schedule = &self.monitor.monitoring_schedule;
        if MonitoringScheduleName::new(schedule).is_none() {
            return Err(Failed::ForGood(format!(
                "`{schedule}` is not a valid name of a monitoring schedule"
            )));
        }
        Ok(file_in(&uri(&self.request.output_uri)?, schedule))
    }

    /// Files of which an analysis requires one.
    fn required_files(&self, kind: MonitorType) -> &'static [&'static str] {
        match kind {
            MonitorType::ModelBias | MonitorType::ModelExplainability if self.monitor.own => &["analysis.json"],
            // The job definition of the schedule sets the name.
            MonitorType::ModelBias | MonitorType::ModelExplainability => &["analysis.json", "constraints.json"],
            _ => &["constraints.json"],
        }
    }

    async fn files(&self, clients: &impl AnalyzeClients, kind: MonitorType) -> Result<Vec<File>, Failed> {
        let required = self.required_files(kind);
        let given = self.request.drift_check_baselines.get(kind.as_str());
        let is_complete = |given: &&BTreeMap<String, String>| required.iter().any(|name| given.contains_key(*name));
        if let Some(given) = given.filter(is_complete) {
            return self.copy(clients, kind, given).await;
        }
        let missing = match given {
            None => format!("the model package has no drift check baseline for {kind}"),
            Some(_) => format!(
                "the model package's drift check baseline for {kind} has no {}",
                required.join(" or ")
            ),
        };
        let error = |why: &str| Failed::ForGood(format!("{missing}, and {why}"));
        let uses_training_data = match kind {
            MonitorType::DataQuality => true,
            MonitorType::ModelQuality | MonitorType::ModelBias => self.monitor.own,
            _ => false,
        };
        if !uses_training_data {
            return Err(error(
                "baselines of this monitor are not created from training data: register the model package with a drift check baseline",
            ));
        }
        let Some(data) = &self.request.training_data_uri else {
            return Err(error(
                "the policy names no training data: register the model package with a drift check baseline, or set \
                 `training_data` in `baselines` of its promotion",
            ));
        };
        let data = uri(data)?;
        let previous = self.previous(clients).await?;
        let report = if kind == MonitorType::DataQuality {
            self.data_quality(clients, &previous, &data).await?
        } else {
            let Some((object, body)) = self.previous_file(clients, ANALYSIS_CONFIG).await? else {
                return Err(error(
                    "the monitor's previous baseline has no analysis_config.json, which describes the columns of the training \
                     data: register the model package with a drift check baseline, or add that file to the previous baseline",
                ));
            };
            let config = AnalysisConfig::parse(&object.to_string(), &body).map_err(JobError::from)?;
            predictions(clients, kind, config, previous.thresholds(), &data).await?
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

    /// Copies the drift check baseline of the model package. For native analyses, also copies the analysis configuration.
    async fn copy(
        &self,
        clients: &impl AnalyzeClients,
        kind: MonitorType,
        given: &BTreeMap<String, String>,
    ) -> Result<Vec<File>, Failed> {
        let mut files = Vec::with_capacity(given.len() + 1);
        for (name, at) in given {
            let at = uri(at)?;
            if name.is_empty() || name.contains('/') {
                return Err(Failed::ForGood(format!(
                    "`{name}` is not a valid name of a baseline file"
                )));
            }
            let body = content(clients, &at).await?;
            let body = body.ok_or_else(|| {
                Failed::ForGood(format!(
                    "{at}, a file of the model package's drift check baseline, does not exist"
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
                "the model package's drift check baseline for {kind} is not a baseline for {kind}"
            )));
        }
        if kind != MonitorType::DataQuality
            && baseline.config.is_none()
            && let Some((_, body)) = self.previous_file(clients, ANALYSIS_CONFIG).await?
        {
            files.push(File {
                name: ANALYSIS_CONFIG.to_owned(),
                body,
            });
        }
        Ok(files)
    }

    /// Reads a file of the monitor's previous baseline, with its URI.
    async fn previous_file(
        &self,
        clients: &impl AnalyzeClients,
        name: &str,
    ) -> Result<Option<(S3Uri, Vec<u8>)>, Failed> {
        let Some(folder) = &self.monitor.baseline_uri else {
            return Ok(None);
        };
        let at = file_in(&uri(folder)?, name);
        Ok(content(clients, &at).await?.map(|body| (at, body)))
    }

    /// Reads the thresholds of the monitor's previous baseline.
    async fn previous(&self, clients: &impl AnalyzeClients) -> Result<Baseline, Failed> {
        let mut previous = Baseline::default();
        for name in ["constraints.json", "analysis.json", TOLERANCE] {
            if let Some((object, body)) = self.previous_file(clients, name).await? {
                previous.add(name, &object.to_string(), &body)?;
            }
        }
        Ok(previous)
    }

    async fn data_quality(
        &self,
        clients: &impl AnalyzeClients,
        previous: &Baseline,
        data: &S3Uri,
    ) -> Result<Report, Failed> {
        let columns = previous.columns();
        let options = ReadOptions {
            expected: columns.clone(),
            ..ReadOptions::default()
        };
        let objects = objects(clients, data).await?;
        let dataset: Dataset<Profile> =
            read_objects(clients, &data.bucket, &objects, options, Profile::default).await?;
        // Columns without names have those of the previous baseline, by position, if there are not more of them.
        let found: Vec<&str> = dataset.sink.columns().map(|(name, _)| name).collect();
        let extra_column = format!("_c{}", columns.len());
        if !columns.is_empty() && !columns.contains(&extra_column) && found.contains(&extra_column.as_str()) {
            return Err(unsuitable(
                data,
                &format!(
                    "it has no header and {} columns, but the previous baseline has {}, so the columns cannot be identified: \
                     add a header",
                    found.len(),
                    columns.len()
                ),
            ));
        }
        let job = DataQualityJob {
            thresholds: previous.thresholds(),
            ..DataQualityJob::default()
        };
        let report = job.next_baseline(&dataset, previous);
        report.map_err(|error| unsuitable(data, &error.to_string()))
    }
}

/// Creates the baseline for an analysis of predictions.
async fn predictions(
    clients: &impl AnalyzeClients,
    kind: MonitorType,
    config: AnalysisConfig,
    thresholds: Thresholds,
    data: &S3Uri,
) -> Result<Report, Failed> {
    let job = PredictionJob::new(kind, Some(config))?;
    let mut options = ReadOptions::default();
    job.prepare(&mut options);
    let objects = objects(clients, data).await?;
    let dataset = read_objects(clients, &data.bucket, &objects, options, job.tables()).await?;
    let report = job.baseline(&dataset, None, None, thresholds);
    report.map_err(|error| {
        let help = "register the model package with a drift check baseline, or set training data that contains the \
                    predictions of the model";
        unsuitable(data, &format!("{error}; {help}"))
    })
}

/// Lists the objects of a dataset: the object with this key, or all objects in the folder.
async fn objects(clients: &impl AnalyzeClients, data: &S3Uri) -> Result<Vec<ListedObject>, Failed> {
    let mut objects = clients.objects(&data.bucket, &data.key).await?;
    let folder = format!("{}/", data.key);
    objects.retain(|object| {
        let is_in_folder = data.key.is_empty() || object.key == data.key || object.key.starts_with(&folder);
        is_in_folder && object.bytes > 0
    });
    if objects.is_empty() {
        return Err(Failed::ForGood(format!(
            "the training data {data} (`training_data` in the policy) does not exist or is empty"
        )));
    }
    Ok(objects)
}

fn unsuitable(data: &S3Uri, why: &str) -> Failed {
    Failed::ForGood(format!("failed to create a baseline from {data}: {why}"))
}

fn uri(text: &str) -> Result<S3Uri, Failed> {
    S3Uri::parse(text).ok_or_else(|| Failed::ForGood(format!("`{text}` is not an s3:// URI")))
}
