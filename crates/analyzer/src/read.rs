//! Reads a dataset into a sink: its objects one after the other, each in blocks that all cores work on.
//!
//! Blocks go round a fixed number of lanes, each with a sink of its own, and the lanes are merged in their order: what
//! comes out does not depend on the number of cores, nor on which was faster.

mod capture;
mod csv;
mod json;
mod parquet;

use crate::{
    findings::{Finding, Findings, Kind, TOLD},
    object::{Lines, Object, Opened},
    sink::Sink,
    split::{Block, Blocks, Rows, SplitError},
};
use analysis::{Oddity, TooManyColumns};
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
pub(crate) use capture::{EventMetadata, Side, one_value_each};
pub use csv::Header;
pub(crate) use json::Record;

/// As many lanes as cores are used at most.
const LANES: usize = 8;

/// On all lanes together there are at most so many columns, but for a single lane: one with many different values takes
/// up to a quarter of a MiB.
const WIDEST: usize = 4096;

/// How a dataset is read, where its objects do not say.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Whether CSV files begin with the names of their columns.
    pub header: Header,
    /// The byte between the cells of a CSV file; by default a comma.
    pub delimiter: Option<u8>,
    /// The columns of the baseline, in their order: the names of columns that have none.
    pub expected: Vec<String>,
    /// Which parts of captured data are columns, and in which order.
    pub capture: CaptureColumns,
}

/// A dataset that was read.
#[derive(Debug)]
pub struct Dataset<S> {
    /// Its cells.
    pub sink: S,
    /// What is wrong with it.
    pub findings: Findings,
    /// How many objects it has.
    pub objects: usize,
    /// How many requests of captured data were left out, since what was wanted of them had not been captured.
    pub incomplete: u64,
}

/// Why a dataset cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The object cannot be opened or read.
    #[error("{object} cannot be read: {source}")]
    Io {
        /// The object.
        object: String,
        /// Why.
        source: io::Error,
    },
    /// The object is broken in a way that leaves no way to go on.
    #[error("{object}, row {row}: {message}")]
    Row {
        /// The object.
        object: String,
        /// The row, from 1, with the header counted.
        row: u64,
        /// What is wrong.
        message: String,
    },
    /// The object is not what it should be.
    #[error("{object}: {message}")]
    Object {
        /// The object.
        object: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// What the blocks of an object share.
struct Plan {
    /// Its place among the objects.
    at: usize,
    name: String,
    kind: PlanKind,
}

enum PlanKind {
    Csv { names: Vec<String>, delimiter: u8 },
    Json,
    Capture(capture::Plan),
    Parquet(parquet::File),
}

/// One block of one object.
struct Task {
    plan: Arc<Plan>,
    block: u64,
    payload: Payload,
}

enum Payload {
    Block(Block),
    RowGroup(parquet::RowGroup),
}

/// A finding by its place within its block.
#[derive(Debug)]
pub(crate) struct Found {
    object: usize,
    block: u64,
    place: Place,
    kind: Kind,
    column: Option<String>,
    message: String,
}

/// Where something was found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// All over the object.
    Object,
    Header,
    /// A row of the block, from 0.
    Row(u64),
}

/// What one worker found, and how many rows its blocks have.
#[derive(Debug, Default)]
pub(crate) struct Notebook {
    object: usize,
    block: u64,
    found: Vec<Found>,
    counts: BTreeMap<Kind, u64>,
    /// By object and block.
    rows: Vec<(usize, u64, u64)>,
    incomplete: u64,
}

impl Notebook {
    /// Notes something about a row of the block, from 0.
    pub(crate) fn note(&mut self, kind: Kind, row: u64, column: Option<&str>, message: impl FnOnce() -> String) {
        self.note_at(kind, Place::Row(row), column, message);
    }

    /// Notes something about a place.
    pub(crate) fn note_at(&mut self, kind: Kind, place: Place, column: Option<&str>, message: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= TOLD as u64 {
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

    /// Notes what is odd about a value.
    #[cold]
    pub(crate) fn odd(&mut self, oddity: Oddity, row: u64, column: &str, value: &[u8]) {
        let text = || {
            let value = value.get(..200).unwrap_or(value);
            String::from_utf8_lossy(value).chars().take(40).collect::<String>()
        };
        match oddity {
            Oddity::NotUtf8 => self.note(Kind::NotUtf8, row, Some(column), || {
                format!("`{}` is not UTF-8: it counts as a text", text())
            }),
            Oddity::NotFinite => self.note(Kind::NotFinite, row, Some(column), || {
                format!("`{}` is not a finite number: it counts as missing", text())
            }),
        }
    }
}

/// One of the parts that are merged in the end, and the places of an object's columns in it.
struct Lane<S> {
    number: usize,
    sink: S,
    places: Option<(usize, Vec<usize>)>,
}

/// Why a worker stopped.
enum Stopped {
    TooManyColumns(TooManyColumns),
    Object(String),
}

impl From<TooManyColumns> for Stopped {
    fn from(error: TooManyColumns) -> Self {
        Self::TooManyColumns(error)
    }
}

struct Worker<S> {
    lanes: Vec<Lane<S>>,
    notebook: Notebook,
}

impl<S: Sink> Worker<S> {
    fn work(mut self, tasks: &Receiver<(usize, Task)>) -> (Self, Result<(), (String, Stopped)>) {
        while let Ok((lane, task)) = tasks.recv() {
            let Some(lane) = self.lanes.iter_mut().find(|mine| mine.number == lane) else {
                continue;
            };
            self.notebook.object = task.plan.at;
            self.notebook.block = task.block;
            match carry_out(lane, &task, &mut self.notebook) {
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

/// Reads a block into a lane, and says how many rows it has.
fn carry_out<S: Sink>(lane: &mut Lane<S>, task: &Task, notebook: &mut Notebook) -> Result<u64, Stopped> {
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
        (PlanKind::Json, Payload::Block(block)) => Ok(json::read(&mut lane.sink, &block.bytes, notebook)?),
        (PlanKind::Capture(plan), Payload::Block(block)) => {
            Ok(capture::read(&mut lane.sink, plan, &block.bytes, notebook)?)
        }
        (PlanKind::Parquet(file), Payload::RowGroup(group)) => parquet::read(&mut lane.sink, file, *group, notebook)
            .map_err(|error| match error {
                parquet::Failed::TooManyColumns(error) => Stopped::TooManyColumns(error),
                parquet::Failed::File(message) => Stopped::Object(message),
            }),
        // No plan has the other's payload.
        _ => Ok(0),
    }
}

/// Reads a dataset. The sinks that its parts go to are made by `sink`.
///
/// # Errors
/// If an object cannot be opened or read, is broken, or has too many columns. What is wrong with single rows or cells is
/// no error but among the findings.
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
        let mut dealer = Dealer {
            options,
            senders,
            next: 0,
            before: None,
            lanes: LANES,
            column_parts: if S::BY_COLUMN { LANES } else { 1 },
            headed: BTreeSet::new(),
            notebook: Notebook::default(),
        };
        let mut dealt = Ok(());
        for (at, object) in objects.into_iter().enumerate() {
            names.push(object.name.clone());
            dealt = dealer.deal(at, object);
            if dealt.is_err() {
                break;
            }
        }
        headed = dealer.headed;
        first_rows = dealer.notebook;
        drop(dealer.senders);
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
                message: "a thread that read it died".to_owned(),
            });
        };
        lanes.extend(done.lanes);
        notebooks.push(done.notebook);
        stopped = stopped.or(result.err());
    }
    if let Some((object, stopped)) = stopped {
        let message = match stopped {
            Stopped::TooManyColumns(error) => error.to_string(),
            Stopped::Object(message) => message,
        };
        return Err(ReadError::Object { object, message });
    }
    let rows = Rowed::of(&notebooks, headed);
    dealt.map_err(|error| error.placed(&rows, &names))?;
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

/// Why dealing stopped, at a place that is known when all blocks have been counted.
enum Undealt {
    Known(ReadError),
    Row {
        object: usize,
        block: u64,
        row: u64,
        message: String,
    },
    /// A worker stopped, and says why itself.
    Stopped,
}

impl Undealt {
    fn placed(self, rows: &Rowed, names: &[String]) -> ReadError {
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
                message: "reading it was given up".to_owned(),
            },
        }
    }
}

/// Deals the blocks of objects out to the lanes.
struct Dealer<'a> {
    options: &'a ReadOptions,
    senders: Vec<SyncSender<(usize, Task)>>,
    /// The lane of the next block.
    next: usize,
    /// How many lanes the blocks go round: fewer if there are many columns.
    lanes: usize,
    /// How the CSV files before began.
    before: Option<csv::Before>,
    /// Into how many parts the columns of a row group are dealt.
    column_parts: usize,
    /// The objects that begin with a header, once their first block was dealt.
    headed: BTreeSet<usize>,
    /// What is wrong with first rows.
    notebook: Notebook,
}

impl Dealer<'_> {
    fn deal(&mut self, at: usize, object: Object) -> Result<(), Undealt> {
        let name = object.name.clone();
        let io = |source| {
            Undealt::Known(ReadError::Io {
                object: name.clone(),
                source,
            })
        };
        let of_object = |message| {
            Undealt::Known(ReadError::Object {
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
                            return Err(Undealt::Row {
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

    /// How an object is read, from its first block; and the block without its header.
    fn plan(&mut self, at: usize, lines: Lines, delimiter: u8, block: Block) -> Result<(PlanKind, Block), String> {
        match lines {
            Lines::Json if json::is_spread_out(&block.bytes) => {
                Err("a record of it takes several lines: write JSON Lines, one record a line".to_owned())
            }
            Lines::Json if capture::is_capture(&block.bytes) => {
                self.narrow(self.options.expected.len());
                let plan = capture::Plan::new(&self.options.capture, &self.options.expected, &block.bytes);
                Ok((PlanKind::Capture(plan), block))
            }
            Lines::Json => {
                self.narrow(json::width(&block.bytes));
                Ok((PlanKind::Json, block))
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
                self.before = Some(csv::Before {
                    header: begun.header,
                    names: names.clone(),
                });
                Ok((PlanKind::Csv { names, delimiter }, block))
            }
        }
    }

    /// Leaves lanes out where each would take much memory.
    fn narrow(&mut self, columns: usize) {
        let lanes = (WIDEST / columns.max(1)).clamp(1, LANES);
        self.lanes = self.lanes.min(lanes);
    }

    fn send(&mut self, plan: &Arc<Plan>, block: u64, payload: Payload) -> Result<(), Undealt> {
        let lane = match &payload {
            Payload::Block(_) => self.next % self.lanes,
            // The parts of a row group have different columns, and so take no more memory on many lanes.
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
            _ => Err(Undealt::Stopped),
        }
    }
}

/// How many rows come before each block.
struct Rowed {
    /// By object and block.
    rows: BTreeMap<(usize, u64), u64>,
    headed: BTreeSet<usize>,
}

impl Rowed {
    fn of(notebooks: &[Notebook], headed: BTreeSet<usize>) -> Self {
        let rows = notebooks.iter().flat_map(|notebook| &notebook.rows);
        Self {
            rows: rows.map(|(object, block, rows)| ((*object, *block), *rows)).collect(),
            headed,
        }
    }

    /// The number of a row of a block, from 1, with the header counted. Empty lines are no rows.
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
        // In a block as they were found, all by one worker: which of them are told depends on nothing else.
        found.sort_by_key(|found| (found.kind, found.object, found.block));
        for found in found {
            let Some(count) = counts.get_mut(&found.kind) else {
                continue;
            };
            if findings.wants(found.kind) {
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
