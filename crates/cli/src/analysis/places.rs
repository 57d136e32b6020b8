//! Folders and S3 prefixes: where baselines and configurations lie, and where reports go.

use crate::{
    Streams,
    cloud::{Failure, Places, Surroundings},
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

/// A file of a baseline, or a configuration, is at most this large.
const MAX_BASELINE_FILE: u64 = 512 << 20;

/// A file or folder, or an object or prefix in S3.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Local(PathBuf),
    S3(S3Uri),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::S3(uri) => uri.fmt(f),
        }
    }
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if !text.starts_with("s3://") {
            return Ok(Self::Local(PathBuf::from(text)));
        }
        let uri = S3Uri::parse(text);
        uri.map(Self::S3)
            .ok_or_else(|| Failure::Usage(format!("`{text}` is no s3:// URI")))
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

    /// What the file holds; `None` if there is none.
    async fn content(&self, around: &impl Surroundings) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Local(path) => match fs::read(path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Failure::Said(format!("{self} cannot be read: {error}"))),
            },
            Self::S3(S3Uri { bucket, key }) => {
                let world = around.connect(Places::default()).await?;
                match world.report(bucket, key, MAX_BASELINE_FILE).await? {
                    FetchedObject::Found(found) => Ok(Some(found.body)),
                    FetchedObject::Absent => Ok(None),
                    FetchedObject::TooLarge(bytes) => Err(Failure::Said(format!(
                        "{self} is {bytes} bytes: at most {MAX_BASELINE_FILE} are read"
                    ))),
                }
            }
        }
    }
}

/// Reads the files of a baseline, as far as there are.
pub(super) async fn read_baseline(place: &Place, around: &impl Surroundings) -> Result<Baseline, Failure> {
    let mut baseline = Baseline::default();
    let mut found = false;
    for name in BASELINE_FILES {
        let file = place.file(name);
        let Some(bytes) = file.content(around).await? else {
            continue;
        };
        found = true;
        baseline.add(name, &file.to_string(), &bytes)?;
    }
    if found {
        return Ok(baseline);
    }
    Err(Failure::Said(format!(
        "{place} holds no baseline, none of {}: `driftwarden baseline DATASET --output {place}` makes one",
        BASELINE_FILES.join(", ")
    )))
}

/// Reads the configuration of an analysis.
pub(super) async fn read_config(place: &Place, around: &impl Surroundings) -> Result<AnalysisConfig, Failure> {
    let object = place.to_string();
    let bytes = place.content(around).await?;
    let bytes = bytes.ok_or_else(|| Failure::Said(format!("{object} does not exist")))?;
    Ok(AnalysisConfig::parse(&object, &bytes).map_err(JobError::from)?)
}

/// Writes the files of a report, and says where they are. A report of violations that an earlier run left is removed, or in
/// S3 replaced by `violations`, so that the folder says what this run found.
pub(super) async fn write_report(
    place: &Place,
    mut files: Vec<ReportFile>,
    violations: ReportFile,
    around: &impl Surroundings,
) -> Result<Vec<String>, Failure> {
    let mut written = Vec::with_capacity(files.len());
    match place {
        Place::Local(folder) => {
            let failed = |path: &Path, error: &io::Error| {
                Failure::Said(format!("{} cannot be written: {error}", path.display()))
            };
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
        Place::S3(_) => {
            let world = around.connect(Places::default()).await?;
            if let Place::S3(S3Uri { bucket, key }) = place.file(violations.name)
                && files.iter().all(|file| file.name != violations.name)
                && world.report(&bucket, &key, 0).await? != FetchedObject::Absent
            {
                files.push(violations);
            }
            for file in files {
                let at = place.file(file.name);
                if let Place::S3(S3Uri { bucket, key }) = &at {
                    world.store(bucket, key, file.content).await?;
                }
                written.push(at.to_string());
            }
        }
    }
    Ok(written)
}

/// Opens the page among some files.
pub(super) fn open(files: &[String], streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(page) = files
        .iter()
        .find(|file| file.ends_with("report.html") && !file.starts_with("s3://"))
    else {
        writeln!(streams.err, "note: the page is in S3: it is not opened")?;
        return Ok(());
    };
    open_page(Path::new(page), streams)
}

/// Opens a page in the browser, with what the system has for it.
pub(crate) fn open_page(page: &Path, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = Command::new(opener)
        .arg(page)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if quiet.is_err() {
        writeln!(streams.err, "note: {opener} is not there to open {}", page.display())?;
    }
    Ok(())
}
