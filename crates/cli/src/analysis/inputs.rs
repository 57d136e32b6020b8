//! The datasets of a command: files, folders, S3 objects and prefixes, read with the progress told.

use crate::{
    Streams,
    cloud::{Failure, Places, Surroundings},
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

/// A dataset and how it is read.
#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// What to analyse.
    #[arg(value_name = "DATASET", required = true)]
    pub datasets: Vec<String>,
    /// Whether CSV files begin with the names of their columns: auto, present, absent. By default they do if the first
    /// row holds names of the baseline, or no number.
    #[arg(long, value_name = "WORD", default_value = "auto", value_parser = ["auto", "present", "absent"])]
    header: String,
    /// The character between the cells of CSV files; `\t` for a tabulator.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Where the columns of the response stand in the baseline dataset, for captured data: START, END.
    #[arg(long, value_name = "WORD", default_value = "START", value_parser = ["START", "END"])]
    output_columns_position: String,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b'"' | b'\n' | b'\r'] => Err("a quote or a line end cannot separate cells".to_owned()),
        [byte] => Ok(*byte),
        _ => Err("expected one ASCII character, or \\t".to_owned()),
    }
}

impl InputArgs {
    /// How to read the dataset, given the columns of its baseline.
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

/// Every file below a folder, in the order of their paths; hidden ones are left out.
fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error| Failure::Said(format!("{} cannot be read: {error}", folder.display()));
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

/// One of the datasets, found.
enum Found {
    Files(Vec<PathBuf>),
    S3(S3Uri, Vec<ListedObject>),
}

async fn find(dataset: &str, around: &impl Surroundings) -> Result<Found, Failure> {
    if !dataset.starts_with("s3://") {
        let path = Path::new(dataset);
        let mut files = Vec::new();
        if path.is_dir() {
            files_below(path, &mut files)?;
        } else if path.exists() {
            files.push(path.to_owned());
        } else {
            return Err(Failure::Said(format!("{dataset} does not exist")));
        }
        return Ok(Found::Files(files));
    }
    let uri = S3Uri::parse(dataset).ok_or_else(|| Failure::Usage(format!("`{dataset}` is no s3:// URI")))?;
    let world = around.connect(Places::default()).await?;
    let mut objects = world.objects(&uri.bucket, &uri.key).await?;
    // A key, or what lies below it as a folder: `a/b` is not the prefix of `a/bc`.
    let folder = format!("{}/", uri.key);
    objects.retain(|object| {
        let below = uri.key.is_empty() || object.key == uri.key || object.key.starts_with(&folder);
        below && object.bytes > 0
    });
    Ok(Found::S3(uri, objects))
}

/// Reads datasets as one, and shows on a terminal how far it is.
pub(super) async fn read_all<S: Sink + 'static>(
    datasets: &[String],
    options: &ReadOptions,
    around: &impl Surroundings,
    streams: &mut Streams<'_>,
    sink: impl Fn() -> S + Send + Sync + 'static,
) -> Result<Dataset<S>, Failure> {
    let options = options.clone();
    opened(datasets, around, streams, move |objects| read(objects, &options, sink)).await
}

/// Reads ground truth; `None` if nothing names it.
pub(super) async fn read_truth(
    datasets: &[String],
    around: &impl Surroundings,
    streams: &mut Streams<'_>,
) -> Result<Option<Arc<GroundTruth>>, Failure> {
    if datasets.is_empty() {
        return Ok(None);
    }
    let truth = opened(datasets, around, streams, GroundTruth::read).await?;
    Ok(Some(Arc::new(truth)))
}

/// Carries out work on the objects of datasets, and shows on a terminal how much of them was read.
async fn opened<T: Send + 'static>(
    datasets: &[String],
    around: &impl Surroundings,
    streams: &mut Streams<'_>,
    work: impl FnOnce(Vec<Object>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Failure> {
    let mut found = Vec::with_capacity(datasets.len());
    for dataset in datasets {
        found.push(find(dataset, around).await?);
    }
    let world = if found.iter().any(|found| matches!(found, Found::S3(..))) {
        Some(around.connect(Places::default()).await?)
    } else {
        None
    };
    let counter = Arc::<AtomicU64>::default();
    let mut objects = Vec::new();
    let mut transfers = Vec::new();
    for found in &found {
        match (found, &world) {
            (Found::S3(uri, listed), Some(world)) => {
                let (streams, transfer) = downloads(world.as_ref(), &uri.bucket, listed);
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
    // The datasets are read in their order: so are they downloaded.
    let transferred = async {
        for transfer in transfers {
            transfer.await;
        }
    };
    let (read, ()) = watched(join(reading, transferred), &counter, total, streams).await?;
    let read = read.map_err(|error| Failure::Said(format!("reading was given up: {error}")))?;
    read.map_err(|error| Failure::Said(error.to_string()))
}

/// Waits for work, and shows on a terminal how much has been read.
async fn watched<T>(
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

/// How much has been read: `[#####-----] 52 of 104 MB`.
fn bar(read: u64, total: u64) -> String {
    const WIDTH: u64 = 30;
    let full = (read.min(total) * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let part = |sign: &str, width: u64| sign.repeat(usize::try_from(width).unwrap_or(0));
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let (done, left) = (part("#", full), part("-", WIDTH - full));
    format!("[{done}{left}] {} of {} MB", megabytes(read), megabytes(total))
}
