//! Reads a dataset into a sink: its objects one after the other, each in blocks that all cores process.
//!
//! Blocks are assigned in turn to a fixed number of lanes, each with a separate sink. The lanes are merged in order. So
//! the result does not depend on the number of cores or on their speed.

mod capture;
mod csv;
mod envelope;
pub(crate) mod json;
mod parquet;

use crate::{
    findings::{Finding, Findings, Kind, MAX_REPORTED},
    object::{Lines, Object, Opened},
    sink::Sink,
    split::{Block, Blocks, Rows, SplitError},
};
use analysis::{TooManyColumns, ValueIssue};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

pub use capture::{CaptureColumns, LABEL, OutputColumns};
pub(crate) use capture::{CaptureSummary, EventMetadata, OUTPUT, Side, response_records};
pub use csv::Header;
pub(crate) use envelope::{Content, is_envelope};
pub(crate) use json::{Cell as JsonCell, Name, Record, is_manifest, is_spread_out};

/// Number of lanes: the maximum number of cores used.
const LANES: usize = 8;

/// Maximum number of columns on all lanes together, unless there is only one lane. A column with many distinct values
/// takes up to a quarter of a MiB.
const MAX_LANE_COLUMNS: usize = 4096;

/// Why a file of JSON that is not JSON Lines is not read.
pub(crate) const SPREAD_OUT: &str = "a record spans several lines: expected JSON Lines, one record per line";

/// Why a manifest is not read.
pub(crate) const MANIFEST: &str =
    "this is a manifest, which lists the files of a dataset\nhint: pass the files, or the folder that contains them";

/// How to read a dataset, where its objects do not determine it.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Whether CSV files have a header.
    pub header: Header,
    /// Delimiter of CSV files. Default: a comma.
    pub delimiter: Option<u8>,
    /// Columns of the baseline, in order: the names of columns without a name.
    pub expected: Vec<String>,
    /// Parts of captured data that become columns, and their order.
    pub capture: CaptureColumns,
}

/// Dataset that was read.
#[derive(Debug)]
pub struct Dataset<S> {
    /// Sink with the cells.
    pub sink: S,
    /// Problems of the dataset.
    pub findings: Findings,
    /// Number of objects.
    pub objects: usize,
    /// Number of captured requests that were ignored because required parts were not captured.
    pub incomplete: u64,
}

/// Reason for which a dataset is unreadable.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The object is not readable.
    #[error("failed to read {object}: {source}")]
    Io {
        /// Name of the object.
        object: String,
        /// Cause.
        source: io::Error,
    },
    /// A row of the object is invalid, and reading is not able to continue.
    #[error("{object}, row {row}: {message}")]
    Row {
        /// Name of the object.
        object: String,
        /// Row, starting at 1 and including the header.
        row: u64,
        /// Description of the problem.
        message: String,
    },
    /// The object has the wrong format.
    #[error("{object}: {message}")]
    Object {
        /// Name of the object.
        object: String,
        /// Description of the problem, and the remedy.
        message: String,
    },
}

/// State that the blocks of an object share.
struct Plan {
    /// Index of the object.
    at: usize,
    name: String,
    kind: PlanKind,
}

enum PlanKind {
    Csv { names: Vec<String>, delimiter: u8 },
    Json(json::Plan),
    Capture(capture::Plan),
    Parquet(parquet::File),
}

/// Block of an object.
struct Task {
    plan: Arc<Plan>,
    block: u64,
    payload: Payload,
}

enum Payload {
    Block(Block),
    RowGroup(parquet::RowGroup),
}

/// Finding, with its place in its block.
#[derive(Debug)]
pub(crate) struct Found {
    object: usize,
    block: u64,
    place: Place,
    kind: Kind,
    column: Option<String>,
    message: String,
}

/// Place of a finding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// The whole object.
    Object,
    Header,
    /// Row of the block, starting at 0.
    Row(u64),
}

/// Findings of a worker, and the numbers of rows of its blocks.
#[derive(Debug, Default)]
pub(crate) struct Notebook {
    object: usize,
    block: u64,
    found: Vec<Found>,
    counts: BTreeMap<Kind, u64>,
    /// Number of rows by object and block.
    rows: Vec<(usize, u64, u64)>,
    incomplete: u64,
}

impl Notebook {
    /// Records a finding about a row of the block, starting at 0.
    pub(crate) fn note(&mut self, kind: Kind, row: u64, column: Option<&str>, message: impl FnOnce() -> String) {
        self.note_at(kind, Place::Row(row), column, message);
    }

    /// Records a finding about a place.
    pub(crate) fn note_at(&mut self, kind: Kind, place: Place, column: Option<&str>, message: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= MAX_REPORTED as u64 {
            self.found.push(Found {
                object: self.object,
                block: self.block,
                place,
                kind,
                column: column.map(ToOwned::to_owned),
                message: message(),
            });
        }
    }

    /// Records an issue of a value.
    #[cold]
    pub(crate) fn note_issue(&mut self, issue: ValueIssue, row: u64, column: &str, value: &[u8]) {
        let text = || {
            let value = value.get(..200).unwrap_or(value);
            String::from_utf8_lossy(value).chars().take(40).collect::<String>()
        };
        match issue {
            ValueIssue::NotUtf8 => self.note(Kind::NotUtf8, row, Some(column), || {
                format!("`{}` is not valid UTF-8: it counts as a string", text())
            }),
            ValueIssue::NotFinite => self.note(Kind::NotFinite, row, Some(column), || {
                format!("`{}` is not a finite number: it counts as missing", text())
            }),
        }
    }
}

/// One of the parts that are merged at the end, and the indices of an object's columns in it.
struct Lane<S> {
    number: usize,
    sink: S,
    places: Option<(usize, Vec<usize>)>,
}

/// Reason for which a worker stopped.
enum WorkerError {
    TooManyColumns(TooManyColumns),
    Object(String),
}

impl From<TooManyColumns> for WorkerError {
    fn from(error: TooManyColumns) -> Self {
        Self::TooManyColumns(error)
    }
}

struct Worker<S> {
    lanes: Vec<Lane<S>>,
    notebook: Notebook,
}

impl<S: Sink> Worker<S> {
    fn work(mut self, tasks: &Receiver<(usize, Task)>) -> (Self, Result<(), (String, WorkerError)>) {
        while let Ok((lane, task)) = tasks.recv() {
            let Some(lane) = self.lanes.iter_mut().find(|mine| mine.number == lane) else {
                continue;
            };
            self.notebook.object = task.plan.at;
            self.notebook.block = task.block;
            match read_block(lane, &task, &mut self.notebook) {
                Ok(rows) => self.notebook.rows.push((task.plan.at, task.block, rows)),
                Err(stopped) => {
                    let name = task.plan.name.clone();
                    return (self, Err((name, stopped)));
                }
            }
        }
        (self, Ok(()))
    }
}

/// Reads a block into a lane. Returns its number of rows.
fn read_block<S: Sink>(lane: &mut Lane<S>, task: &Task, notebook: &mut Notebook) -> Result<u64, WorkerError> {
    match (&task.plan.kind, &task.payload) {
        (PlanKind::Csv { names, delimiter }, Payload::Block(block)) => {
            let places = match lane.places.take() {
                Some((plan, places)) if plan == task.plan.at => places,
                _ => names
                    .iter()
                    .map(|name| lane.sink.column(name))
                    .collect::<Result<_, _>>()?,
            };
            let rows = csv::read(&mut lane.sink, names, &places, *delimiter, block, notebook);
            lane.places = Some((task.plan.at, places));
            Ok(rows)
        }
        (PlanKind::Json(plan), Payload::Block(block)) => Ok(json::read(&mut lane.sink, plan, &block.bytes, notebook)?),
        (PlanKind::Capture(plan), Payload::Block(block)) => {
            Ok(capture::read(&mut lane.sink, plan, &block.bytes, notebook)?)
        }
        (PlanKind::Parquet(file), Payload::RowGroup(group)) => parquet::read(&mut lane.sink, file, *group, notebook)
            .map_err(|error| match error {
                parquet::Failed::TooManyColumns(error) => WorkerError::TooManyColumns(error),
                parquet::Failed::File(message) => WorkerError::Object(message),
            }),
        // Plan and payload always have the same format.
        _ => Ok(0),
    }
}

/// Reads a dataset. `sink` creates the sinks of its parts.
///
/// # Errors
/// Fails if an object is unreadable, is invalid as a whole, or has too many columns. Problems of single rows or cells
/// are findings, not errors.
pub fn read<S: Sink>(
    objects: Vec<Object>,
    options: &ReadOptions,
    sink: impl Fn() -> S,
) -> Result<Dataset<S>, ReadError> {
    let cores = thread::available_parallelism().map_or(1, usize::from).min(LANES);
    let count = objects.len();
    let mut names = Vec::with_capacity(count);
    let mut headed = BTreeSet::new();
    let mut first_rows = Notebook::default();
    let (dealt, worked) = thread::scope(|scope| {
        let (senders, workers): (Vec<_>, Vec<_>) = (0..cores)
            .map(|core| {
                let (sender, receiver) = sync_channel(2);
                let lanes = (core..LANES).step_by(cores).map(|number| Lane {
                    number,
                    sink: sink(),
                    places: None,
                });
                let worker = Worker {
                    lanes: lanes.collect(),
                    notebook: Notebook::default(),
                };
                (sender, scope.spawn(move || worker.work(&receiver)))
            })
            .unzip();
        let mut scheduler = BlockScheduler {
            options,
            senders,
            next: 0,
            before: None,
            lanes: LANES,
            column_parts: if S::BY_COLUMN { LANES } else { 1 },
            headed: BTreeSet::new(),
            notebook: Notebook::default(),
            noted: BTreeSet::new(),
        };
        let mut dealt = Ok(());
        for (at, object) in objects.into_iter().enumerate() {
            names.push(object.name.clone());
            dealt = scheduler.deal(at, object);
            if dealt.is_err() {
                break;
            }
        }
        headed = scheduler.headed;
        first_rows = scheduler.notebook;
        drop(scheduler.senders);
        let worked: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (dealt, worked)
    });
    let mut lanes = Vec::new();
    let mut notebooks = vec![first_rows];
    let mut stopped = None;
    for joined in worked {
        let Ok((done, result)) = joined else {
            return Err(ReadError::Object {
                object: names.last().cloned().unwrap_or_default(),
                message: "a reader thread panicked".to_owned(),
            });
        };
        lanes.extend(done.lanes);
        notebooks.push(done.notebook);
        stopped = stopped.or(result.err());
    }
    if let Some((object, stopped)) = stopped {
        let message = match stopped {
            WorkerError::TooManyColumns(error) => error.to_string(),
            WorkerError::Object(message) => message,
        };
        return Err(ReadError::Object { object, message });
    }
    let rows = BlockRows::new(&notebooks, headed);
    dealt.map_err(|error| error.into_read_error(&rows, &names))?;
    lanes.sort_by_key(|lane| lane.number);
    let mut lanes = lanes.into_iter();
    let mut merged = lanes.next().map_or_else(&sink, |lane| lane.sink);
    for lane in lanes {
        merged.merge(lane.sink).map_err(|error| ReadError::Object {
            object: names.last().cloned().unwrap_or_default(),
            message: error.to_string(),
        })?;
    }
    Ok(Dataset {
        sink: merged,
        incomplete: notebooks.iter().map(|notebook| notebook.incomplete).sum(),
        findings: rows.findings(notebooks, &names),
        objects: count,
    })
}

/// Reason for which scheduling stopped. Its place is known only after all blocks were counted.
enum ReadAbort {
    Known(ReadError),
    Row {
        object: usize,
        block: u64,
        row: u64,
        message: String,
    },
    /// A worker stopped and reports the reason itself.
    Stopped,
}

impl ReadAbort {
    fn into_read_error(self, rows: &BlockRows, names: &[String]) -> ReadError {
        match self {
            Self::Known(error) => error,
            Self::Row {
                object,
                block,
                row,
                message,
            } => ReadError::Row {
                object: names.get(object).cloned().unwrap_or_default(),
                row: rows.absolute(object, block, row),
                message,
            },
            Self::Stopped => ReadError::Object {
                object: names.last().cloned().unwrap_or_default(),
                message: "reading was canceled".to_owned(),
            },
        }
    }
}

/// Assigns the blocks of objects to the lanes.
struct BlockScheduler<'a> {
    options: &'a ReadOptions,
    senders: Vec<SyncSender<(usize, Task)>>,
    /// Lane of the next block.
    next: usize,
    /// Number of lanes in use: fewer if there are many columns.
    lanes: usize,
    /// First rows of the earlier CSV files.
    before: Option<csv::EarlierFiles>,
    /// Number of parts that the columns of a row group are split into.
    column_parts: usize,
    /// Objects with a header, known once their first block was scheduled.
    headed: BTreeSet<usize>,
    /// Findings about first rows.
    notebook: Notebook,
    /// Notes about readings that were made.
    noted: BTreeSet<String>,
}

impl BlockScheduler<'_> {
    fn deal(&mut self, at: usize, object: Object) -> Result<(), ReadAbort> {
        let name = object.name.clone();
        let io = |source| {
            ReadAbort::Known(ReadError::Io {
                object: name.clone(),
                source,
            })
        };
        let of_object = |message| {
            ReadAbort::Known(ReadError::Object {
                object: name.clone(),
                message,
            })
        };
        match object.open().map_err(io)? {
            Opened::Empty => Ok(()),
            Opened::Parquet(file) => {
                let file = parquet::File::open(file).map_err(of_object)?;
                let groups = file.row_groups();
                let plan = Arc::new(Plan {
                    at,
                    name: name.clone(),
                    kind: PlanKind::Parquet(file),
                });
                let step = self.column_parts;
                for group in 0..groups {
                    for first in 0..step {
                        let block = (group * step + first) as u64;
                        self.send(
                            &plan,
                            block,
                            Payload::RowGroup(parquet::RowGroup { group, first, step }),
                        )?;
                    }
                }
                Ok(())
            }
            Opened::Lines(lines, begun, reader) => {
                let delimiter = self.options.delimiter.unwrap_or(b',');
                let rows = match lines {
                    Lines::Csv => Rows::Csv { delimiter },
                    Lines::Json => Rows::Lines,
                };
                let mut blocks = Blocks::new(rows, begun, reader);
                let mut plan: Option<Arc<Plan>> = None;
                let mut number = 0;
                loop {
                    let block = match blocks.next() {
                        Ok(Some(block)) => block,
                        Ok(None) => return Ok(()),
                        Err(SplitError::Io(error)) => return Err(io(error)),
                        Err(error @ (SplitError::OpenQuote { rows } | SplitError::LongRow { rows })) => {
                            return Err(ReadAbort::Row {
                                object: at,
                                block: number,
                                row: rows,
                                message: error.to_string(),
                            });
                        }
                    };
                    let (made, block) = if let Some(plan) = plan.take() {
                        (plan, block)
                    } else {
                        let (kind, block) = self.plan(at, lines, delimiter, block).map_err(of_object)?;
                        let name = name.clone();
                        (Arc::new(Plan { at, name, kind }), block)
                    };
                    self.send(&made, number, Payload::Block(block))?;
                    plan = Some(made);
                    number += 1;
                }
            }
        }
    }

    /// Determines how to read an object from its first block. Returns the block without its header.
    fn plan(&mut self, at: usize, lines: Lines, delimiter: u8, block: Block) -> Result<(PlanKind, Block), String> {
        match lines {
            Lines::Json if is_manifest(&block.bytes) => Err(MANIFEST.to_owned()),
            Lines::Json if is_spread_out(&block.bytes) => Err(SPREAD_OUT.to_owned()),
            Lines::Json if capture::is_capture(&block.bytes) => {
                let expected = match self.options.capture.request.as_slice() {
                    [] => &self.options.expected,
                    request => request,
                };
                self.narrow(expected.len());
                let plan = capture::Plan::new(&self.options.capture, expected, &block.bytes)?;
                // Once for all objects that are read alike.
                if let Some(note) = plan.note.clone().filter(|note| self.noted.insert(note.clone())) {
                    self.notebook.object = at;
                    self.notebook.note_at(Kind::Ambiguous, Place::Object, None, || note);
                }
                Ok((PlanKind::Capture(plan), block))
            }
            Lines::Json => {
                self.narrow(json::width(&block.bytes));
                let plan = json::Plan::new(&self.options.expected, &self.options.capture, &block.bytes);
                Ok((PlanKind::Json(plan), block))
            }
            Lines::Csv => {
                let begun = csv::begin(&block, delimiter, self.options, self.before.as_ref())?;
                self.narrow(begun.names.len());
                self.notebook.object = at;
                let place = if begun.header { Place::Header } else { Place::Row(0) };
                for (kind, column, message) in &begun.notes {
                    self.notebook
                        .note_at(*kind, place, column.as_deref(), || message.clone());
                }
                if begun.header {
                    self.headed.insert(at);
                }
                let block = begun.rest(block);
                let names = begun.names;
                self.before = Some(csv::EarlierFiles {
                    header: begun.header,
                    names: names.clone(),
                });
                Ok((PlanKind::Csv { names, delimiter }, block))
            }
        }
    }

    /// Reduces the number of lanes if each would take much memory.
    fn narrow(&mut self, columns: usize) {
        let lanes = (MAX_LANE_COLUMNS / columns.max(1)).clamp(1, LANES);
        self.lanes = self.lanes.min(lanes);
    }

    fn send(&mut self, plan: &Arc<Plan>, block: u64, payload: Payload) -> Result<(), ReadAbort> {
        let lane = match &payload {
            Payload::Block(_) => self.next % self.lanes,
            // The parts of a row group have different columns, so more lanes take no additional memory.
            Payload::RowGroup(_) => self.next,
        };
        self.next = (lane + 1) % LANES;
        let task = Task {
            plan: Arc::clone(plan),
            block,
            payload,
        };
        let core = lane % self.senders.len().max(1);
        let sent = self.senders.get(core).map(|sender| sender.send((lane, task)));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(ReadAbort::Stopped),
        }
    }
}

/// Number of rows before each block.
struct BlockRows {
    /// By object and block.
    rows: BTreeMap<(usize, u64), u64>,
    headed: BTreeSet<usize>,
}

impl BlockRows {
    fn new(notebooks: &[Notebook], headed: BTreeSet<usize>) -> Self {
        let rows = notebooks.iter().flat_map(|notebook| &notebook.rows);
        Self {
            rows: rows.map(|(object, block, rows)| ((*object, *block), *rows)).collect(),
            headed,
        }
    }

    /// Row number of a row in a block, starting at 1 and including the header. Empty lines do not count.
    fn absolute(&self, object: usize, block: u64, row: u64) -> u64 {
        let before: u64 = self
            .rows
            .range((object, 0)..(object, block))
            .map(|(_, rows)| rows)
            .sum();
        before + row + 1 + u64::from(self.headed.contains(&object))
    }

    fn findings(&self, notebooks: Vec<Notebook>, names: &[String]) -> Findings {
        let mut findings = Findings::default();
        let mut found: Vec<Found> = Vec::new();
        let mut counts = BTreeMap::<Kind, u64>::new();
        for notebook in notebooks {
            found.extend(notebook.found);
            for (kind, count) in notebook.counts {
                *counts.entry(kind).or_default() += count;
            }
        }
        // Within a block, the order of discovery: one worker read it. So the reported findings depend on nothing else.
        found.sort_by_key(|found| (found.kind, found.object, found.block));
        for found in found {
            let Some(count) = counts.get_mut(&found.kind) else {
                continue;
            };
            if findings.has_room_for(found.kind) {
                *count -= 1;
                findings.add(Finding {
                    kind: found.kind,
                    object: names.get(found.object).cloned().unwrap_or_default(),
                    row: match found.place {
                        Place::Object => 0,
                        Place::Header => 1,
                        Place::Row(row) => self.absolute(found.object, found.block, row),
                    },
                    column: found.column,
                    message: found.message,
                });
            }
        }
        for (kind, count) in counts {
            if count > 0 {
                findings.count_only(kind, count);
            }
        }
        findings
    }
}
