//! Folders and S3 prefixes of baselines, configurations, and reports.

use crate::{
    Streams,
    cloud::{AwsTargets, Environment},
    error::{Failure, Message},
};
use analyzer::{
    ReportFile,
    job::{AnalysisConfig, BASELINE_FILES, Baseline, JobError},
};
use model_monitor::S3Uri;
use shell::ports::{Datasets as _, FetchedObject, Reports as _};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Maximum size of a baseline file or a configuration in bytes.
const MAX_BASELINE_FILE: u64 = 512 << 20;

/// A local file or folder, or an object or prefix in S3.
#[derive(Debug, Clone)]
pub(super) enum Location {
    Local(PathBuf),
    S3(S3Uri),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::S3(uri) => uri.fmt(f),
        }
    }
}

impl Location {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if !text.starts_with("s3://") {
            return Ok(Self::Local(PathBuf::from(text)));
        }
        let uri = S3Uri::parse(text);
        uri.map(Self::S3).ok_or_else(|| not_an_s3_uri(text))
    }

    /// A file in the folder.
    fn file(&self, name: &str) -> Self {
        match self {
            Self::Local(folder) => Self::Local(folder.join(name)),
            Self::S3(S3Uri { bucket, key }) => Self::S3(S3Uri {
                bucket: bucket.clone(),
                key: if key.is_empty() {
                    name.to_owned()
                } else {
                    format!("{key}/{name}")
                },
            }),
        }
    }

    /// Content of the file. `None` if it does not exist.
    async fn content(&self, env: &impl Environment) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Local(path) => match fs::read(path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{self}: failed to read: {error}").into()),
            },
            Self::S3(S3Uri { bucket, key }) => {
                let clients = env.connect(AwsTargets::default()).await?;
                match clients.report(bucket, key, MAX_BASELINE_FILE).await? {
                    FetchedObject::Found(found) => Ok(Some(found.body)),
                    FetchedObject::Absent => Ok(None),
                    FetchedObject::TooLarge(bytes) => Err(format!(
                        "{self}: the file has {bytes} bytes; the limit is {MAX_BASELINE_FILE} bytes"
                    )
                    .into()),
                }
            }
        }
    }
}

/// The error for an invalid S3 URI.
pub(super) fn not_an_s3_uri(text: &str) -> Failure {
    Failure::usage(format!("`{text}` is not a valid S3 URI"), "pass s3://BUCKET/PREFIX")
}

/// Reads the files of a baseline that exist.
pub(super) async fn read_baseline(location: &Location, env: &impl Environment) -> Result<Baseline, Failure> {
    let mut baseline = Baseline::default();
    let mut found = false;
    for name in BASELINE_FILES {
        let file = location.file(name);
        let Some(bytes) = file.content(env).await? else {
            continue;
        };
        found = true;
        baseline.add(name, &file.to_string(), &bytes)?;
    }
    if found {
        return Ok(baseline);
    }
    Err(Failure::failed(
        format!("{location}: no baseline; expected one of {}", BASELINE_FILES.join(", ")),
        format!("create one: driftwarden baseline DATASET --output {location}"),
    ))
}

/// Reads the configuration of an analysis.
pub(super) async fn read_config(location: &Location, env: &impl Environment) -> Result<AnalysisConfig, Failure> {
    let object = location.to_string();
    let bytes = location.content(env).await?;
    let bytes = bytes.ok_or_else(|| Message::from(format!("{object}: no such file")))?;
    Ok(AnalysisConfig::parse(&object, &bytes).map_err(JobError::from)?)
}

/// Writes the files of a report, and returns their paths. A violation report of an earlier run is deleted, or replaced by
/// `violations` in S3, so that the folder contains only results of this run.
pub(super) async fn write_report(
    location: &Location,
    mut files: Vec<ReportFile>,
    violations: ReportFile,
    env: &impl Environment,
) -> Result<Vec<String>, Failure> {
    let mut written = Vec::with_capacity(files.len());
    match location {
        Location::Local(folder) => {
            let failed =
                |path: &Path, error: &io::Error| Failure::from(format!("{}: failed to write: {error}", path.display()));
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            let violations = folder.join(violations.name);
            match fs::remove_file(&violations) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&violations, &error)),
                _ => {}
            }
            for file in files {
                let path = folder.join(file.name);
                fs::write(&path, file.content).map_err(|error| failed(&path, &error))?;
                written.push(path.display().to_string());
            }
        }
        Location::S3(_) => {
            let clients = env.connect(AwsTargets::default()).await?;
            if let Location::S3(S3Uri { bucket, key }) = location.file(violations.name)
                && files.iter().all(|file| file.name != violations.name)
                && clients.report(&bucket, &key, 0).await? != FetchedObject::Absent
            {
                files.push(violations);
            }
            for file in files {
                let target = location.file(file.name);
                if let Location::S3(S3Uri { bucket, key }) = &target {
                    clients.store(bucket, key, file.content).await?;
                }
                written.push(target.to_string());
            }
        }
    }
    Ok(written)
}

/// Opens the page among the files of a report.
pub(super) fn open(files: &[String], streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(page) = files
        .iter()
        .find(|file| file.ends_with("report.html") && !file.starts_with("s3://"))
    else {
        writeln!(
            streams.err,
            "note: the page was written to S3 and cannot be opened from there"
        )?;
        return Ok(());
    };
    open_page(Path::new(page), streams)
}

/// Opens a page with the system's default browser.
pub(crate) fn open_page(page: &Path, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opened = Command::new(program)
        .arg(page)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if opened.is_err() {
        writeln!(
            streams.err,
            "note: {program} is not installed; open {} yourself",
            page.display()
        )?;
    }
    Ok(())
}
