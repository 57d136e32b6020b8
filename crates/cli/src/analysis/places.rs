//! Folders and S3 prefixes: where baselines lie, and where reports go.

use crate::{
    Streams,
    cloud::{Failure, Places, Surroundings},
};
use analyzer::{
    ReportFile,
    job::{BASELINE_FILES, Baseline},
};
use model_monitor::S3Uri;
use shell::ports::{Datasets as _, FetchedObject, Reports as _};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A file of a baseline is at most this large.
const MAX_BASELINE_FILE: u64 = 512 << 20;

/// A folder, or a prefix in S3.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    S3(S3Uri),
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if !text.starts_with("s3://") {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let uri = S3Uri::parse(text);
        uri.map(Self::S3)
            .ok_or_else(|| Failure::Usage(format!("`{text}` is no s3:// URI")))
    }
}

/// The key of a file below a prefix.
fn key(uri: &S3Uri, name: &str) -> String {
    if uri.key.is_empty() {
        name.to_owned()
    } else {
        format!("{}/{name}", uri.key)
    }
}

/// Reads the files of a baseline, as far as there are.
pub(super) async fn read_baseline(place: &Place, around: &impl Surroundings) -> Result<Baseline, Failure> {
    let mut baseline = Baseline::default();
    let mut found = false;
    for name in BASELINE_FILES {
        let (object, bytes) = match place {
            Place::Folder(folder) => {
                let path = folder.join(name);
                let object = path.display().to_string();
                match fs::read(&path) {
                    Ok(bytes) => (object, bytes),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(Failure::Said(format!("{object} cannot be read: {error}"))),
                }
            }
            Place::S3(uri) => {
                let world = around.connect(Places::default()).await?;
                let key = key(uri, name);
                let object = format!("s3://{}/{key}", uri.bucket);
                match world.report(&uri.bucket, &key, MAX_BASELINE_FILE).await? {
                    FetchedObject::Found(found) => (object, found.body),
                    FetchedObject::Absent => continue,
                    FetchedObject::TooLarge(bytes) => {
                        return Err(Failure::Said(format!(
                            "{object} is {bytes} bytes: at most {MAX_BASELINE_FILE} are read"
                        )));
                    }
                }
            }
        };
        found = true;
        baseline
            .add(name, &object, &bytes)
            .map_err(|error| Failure::Said(error.to_string()))?;
    }
    if found {
        return Ok(baseline);
    }
    let place = match place {
        Place::Folder(folder) => folder.display().to_string(),
        Place::S3(uri) => uri.to_string(),
    };
    Err(Failure::Said(format!(
        "{place} holds no baseline, none of {}: `driftwarden baseline DATASET --output {place}` makes one",
        BASELINE_FILES.join(", ")
    )))
}

/// Writes the files of a report, and says where they are. A report of violations that an earlier run left is removed,
/// so that the folder says what this run found.
pub(super) async fn write_report(
    place: &Place,
    files: Vec<ReportFile>,
    around: &impl Surroundings,
) -> Result<Vec<String>, Failure> {
    let mut written = Vec::with_capacity(files.len());
    match place {
        Place::Folder(folder) => {
            let failed = |path: &Path, error: &io::Error| {
                Failure::Said(format!("{} cannot be written: {error}", path.display()))
            };
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            let violations = folder.join("constraint_violations.json");
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
        Place::S3(uri) => {
            let world = around.connect(Places::default()).await?;
            for file in files {
                let key = key(uri, file.name);
                world.store(&uri.bucket, &key, file.content).await?;
                written.push(format!("s3://{}/{key}", uri.bucket));
            }
        }
    }
    Ok(written)
}

/// Opens the page in the browser, with what the system has for it.
pub(super) fn open(files: &[String], streams: &mut Streams<'_>) -> Result<(), Failure> {
    let Some(page) = files
        .iter()
        .find(|file| file.ends_with("report.html") && !file.starts_with("s3://"))
    else {
        writeln!(streams.err, "note: the page is in S3: it is not opened")?;
        return Ok(());
    };
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = Command::new(opener)
        .arg(page)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if quiet.is_err() {
        writeln!(streams.err, "note: {opener} is not there to open {page}")?;
    }
    Ok(())
}
