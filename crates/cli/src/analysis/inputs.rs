//! Datasets of a command: reads files, folders, S3 objects, and prefixes, and shows the progress.

use crate::{
    Streams,
    cloud::{AwsTargets, Environment},
    error::Failure,
};
use analyzer::{
    CaptureColumns, Dataset, GroundTruth, Header, Object, OutputColumns, ReadError, ReadOptions, Sink, read,
};
use futures_util::future::{Either, join, select};
use model_monitor::S3Uri;
use shell::{
    ports::{Datasets as _, ListedObject},
    stream::downloads,
};
use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The dataset, and how to read it.
#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// Dataset: file, folder, or s3:// object or prefix.
    #[arg(value_name = "DATASET", required = true)]
    pub datasets: Vec<String>,
    /// Whether CSV files start with a header row. auto: yes if the first row has the column names of the baseline, or
    /// has no numbers.
    #[arg(long, value_name = "HEADER", default_value = "auto", value_parser = ["auto", "present", "absent"])]
    header: String,
    /// Delimiter of CSV files; `\t` for tab.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Position of the response columns in the baseline dataset, for captured data.
    #[arg(long, value_name = "POSITION", default_value = "START", value_parser = ["START", "END"])]
    output_columns_position: String,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b'"' | b'\n' | b'\r'] => Err("a quotation mark or a line break is not a valid delimiter".to_owned()),
        [byte] => Ok(*byte),
        _ => Err("expected one ASCII character, or \\t".to_owned()),
    }
}

impl InputArgs {
    /// Options for reading the dataset. `expected` are the columns of the baseline.
    pub(super) fn options(&self, expected: Vec<String>) -> ReadOptions {
        ReadOptions {
            header: match self.header.as_str() {
                "present" => Header::Present,
                "absent" => Header::Absent,
                _ => Header::Auto,
            },
            delimiter: self.delimiter,
            expected,
            capture: CaptureColumns {
                output: match self.output_columns_position.as_str() {
                    "END" => OutputColumns::End,
                    _ => OutputColumns::Start,
                },
                ..CaptureColumns::default()
            },
        }
    }
}

/// All files below a folder, sorted by path. Hidden files are skipped.
fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error| Failure::from(format!("{}: failed to read the folder: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(failed)?;
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Files or objects of one dataset.
enum Found {
    Files(Vec<PathBuf>),
    S3(S3Uri, Vec<ListedObject>),
}

async fn find(dataset: &str, env: &impl Environment) -> Result<Found, Failure> {
    if !dataset.starts_with("s3://") {
        let path = Path::new(dataset);
        let mut files = Vec::new();
        if path.is_dir() {
            files_below(path, &mut files)?;
        } else if path.exists() {
            files.push(path.to_owned());
        } else {
            return Err(format!("{dataset}: no such file or folder").into());
        }
        return Ok(Found::Files(files));
    }
    let uri = S3Uri::parse(dataset).ok_or_else(|| super::locations::not_an_s3_uri(dataset))?;
    let clients = env.connect(AwsTargets::default()).await?;
    let mut objects = clients.objects(&uri.bucket, &uri.key).await?;
    // The object itself, or objects below it as a folder: `a/b` does not match `a/bc`.
    let folder = format!("{}/", uri.key);
    objects.retain(|object| {
        let below = uri.key.is_empty() || object.key == uri.key || object.key.starts_with(&folder);
        below && object.bytes > 0
    });
    Ok(Found::S3(uri, objects))
}

/// Reads several datasets as one, and shows the progress on a terminal.
pub(super) async fn read_all<S: Sink + 'static>(
    datasets: &[String],
    options: &ReadOptions,
    env: &impl Environment,
    streams: &mut Streams<'_>,
    sink: impl Fn() -> S + Send + Sync + 'static,
) -> Result<Dataset<S>, Failure> {
    let options = options.clone();
    with_objects(datasets, env, streams, move |objects| read(objects, &options, sink)).await
}

/// Reads ground truth. `None` without datasets.
pub(super) async fn read_truth(
    datasets: &[String],
    env: &impl Environment,
    streams: &mut Streams<'_>,
) -> Result<Option<Arc<GroundTruth>>, Failure> {
    if datasets.is_empty() {
        return Ok(None);
    }
    let truth = with_objects(datasets, env, streams, GroundTruth::read).await?;
    Ok(Some(Arc::new(truth)))
}

/// Runs work on the objects of datasets, and shows the progress on a terminal.
async fn with_objects<T: Send + 'static>(
    datasets: &[String],
    env: &impl Environment,
    streams: &mut Streams<'_>,
    work: impl FnOnce(Vec<Object>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Failure> {
    let mut found = Vec::with_capacity(datasets.len());
    for dataset in datasets {
        found.push(find(dataset, env).await?);
    }
    let clients = if found.iter().any(|found| matches!(found, Found::S3(..))) {
        Some(env.connect(AwsTargets::default()).await?)
    } else {
        None
    };
    let counter = Arc::<AtomicU64>::default();
    let mut objects = Vec::new();
    let mut transfers = Vec::new();
    for found in &found {
        match (found, &clients) {
            (Found::S3(uri, listed), Some(clients)) => {
                let (streams, transfer) = downloads(clients.as_ref(), &uri.bucket, listed);
                for (object, stream) in listed.iter().zip(streams) {
                    let name = format!("s3://{}/{}", uri.bucket, object.key);
                    objects.push(Object::stream(name, Some(object.bytes), move || Ok(Box::new(stream))));
                }
                transfers.push(transfer);
            }
            (Found::Files(files), _) => objects.extend(files.iter().map(|path| Object::file(path))),
            (Found::S3(..), None) => {}
        }
    }
    let total = objects.iter().filter_map(|object| object.bytes).sum();
    let objects: Vec<_> = objects.into_iter().map(|object| object.counted(&counter)).collect();
    let reading = tokio::task::spawn_blocking(move || work(objects));
    // Datasets are downloaded in the order in which they are read.
    let transferred = async {
        for transfer in transfers {
            transfer.await;
        }
    };
    let (read, ()) = with_progress(join(reading, transferred), &counter, total, streams).await?;
    let read = read.map_err(|error| Failure::from(format!("reading was canceled: {error}")))?;
    read.map_err(|error| error.to_string().into())
}

/// Waits for work, and shows the progress on a terminal.
async fn with_progress<T>(
    work: impl Future<Output = T>,
    counter: &AtomicU64,
    total: u64,
    streams: &mut Streams<'_>,
) -> io::Result<T> {
    if !io::stderr().is_terminal() {
        return Ok(work.await);
    }
    let mut work = pin!(work);
    loop {
        let tick = pin!(tokio::time::sleep(Duration::from_millis(200)));
        match select(work, tick).await {
            Either::Left((done, _)) => {
                write!(streams.err, "\r\x1b[K")?;
                return Ok(done);
            }
            Either::Right(((), left)) => {
                write!(streams.err, "\r{}", bar(counter.load(Ordering::Relaxed), total))?;
                streams.err.flush()?;
                work = left;
            }
        }
    }
}

/// Progress bar: `[#####-----] 52 of 104 MB`.
fn bar(read: u64, total: u64) -> String {
    const WIDTH: u64 = 30;
    let full = (read.min(total) * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let part = |sign: &str, width: u64| sign.repeat(usize::try_from(width).unwrap_or(0));
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let (done, left) = (part("#", full), part("-", WIDTH - full));
    format!("[{done}{left}] {} of {} MB", megabytes(read), megabytes(total))
}
