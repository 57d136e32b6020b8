//! Reads histories: report folders, on disk or in S3, and JSON Lines.

use crate::{
    Streams,
    cloud::{Environment, connect},
    error::Failure,
    terminal::{progress, progress_ended},
};
use alerting::{DatapointState, ReportEvidence};
use backtest::{Execution, History, Recorded};
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use machine::{Documents as _, Fetched};
use model_monitor::{Limits, ReportFolder, VIOLATION_FILE_NAMES, ViolationReport};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

/// Maximum size of a report in bytes.
const MAX_REPORT_BYTES: u64 = 64 << 20;
/// Maximum size of a line in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Maximum number of unreadable inputs that are listed. The rest are counted.
const MAX_REPORTED: usize = 20;
/// Number of violations kept per report, as in ingest.
const VIOLATIONS_KEPT: usize = 20;
/// Number of objects that are read at the same time.
const CONCURRENT_READS: usize = 16;
/// Files that show that an execution ended, with or without violations.
const OTHER_FILES: [&str; 2] = ["statistics.json", "constraints.json"];

/// One line of JSON Lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    schedule: String,
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    monitor_type: Option<String>,
    scheduled_time: Timestamp,
    state: DatapointState,
    #[serde(default)]
    violations: Option<u64>,
    #[serde(default)]
    check_types: Vec<String>,
}

impl Line {
    fn execution(self) -> Execution {
        let report = (self.state == DatapointState::Violations && !self.check_types.is_empty()).then(|| {
            let violations = self.violations.unwrap_or(self.check_types.len() as u64);
            Box::new(ReportEvidence {
                uri: String::new(),
                etag: String::new(),
                last_modified: self.scheduled_time,
                violations,
                by_check_type: self
                    .check_types
                    .iter()
                    .map(|check_type| (check_type.clone(), 1))
                    .collect(),
                top: Vec::new(),
                rest: Vec::new(),
                other_drift: None,
                sequencer: None,
                judged: None,
            })
        });
        Execution {
            schedule: self.schedule,
            endpoint: self.endpoint,
            monitor_type: self.monitor_type,
            recorded: Recorded {
                scheduled_time: self.scheduled_time,
                state: self.state,
                report,
            },
        }
    }
}

/// Reads histories, and counts the inputs that failed to parse.
pub(super) struct Reader {
    history: History,
    from_reports: History,
    prefixes: Vec<String>,
    gaps: DatapointState,
    skipped: usize,
    read: usize,
}

impl Reader {
    pub(super) fn new(prefixes: Vec<String>, gaps: &str) -> Self {
        Self {
            history: History::default(),
            from_reports: History::default(),
            prefixes,
            gaps: if gaps == "missing" {
                DatapointState::Missing
            } else {
                DatapointState::Clean
            },
            skipped: 0,
            read: 0,
        }
    }

    pub(super) async fn read(
        &mut self,
        name: &str,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        if let Some(location) = name.strip_prefix("s3://") {
            return self.bucket(location, env, streams).await;
        }
        if name == "-" {
            let mut lines = BufReader::new(&mut *streams.input);
            return self.lines("-", &mut lines, streams.err).map_err(Failure::Output);
        }
        let path = Path::new(name);
        if path.is_dir() {
            let mut files = Vec::new();
            walk(path, &mut files).map_err(|error| format!("{name}: failed to read: {error}"))?;
            for file in &files {
                let relative = file.strip_prefix(path).unwrap_or(file);
                let key = relative.to_string_lossy().replace('\\', "/");
                if is_json_lines(&key) {
                    self.file(&file.to_string_lossy(), streams)?;
                } else {
                    let read = || fs::read(file).map_err(|error| error.to_string());
                    let large = fs::metadata(file).is_ok_and(|of| of.len() > MAX_REPORT_BYTES);
                    self.object(&file.to_string_lossy(), &key, large, read, streams.err)?;
                }
            }
            return Ok(());
        }
        self.file(name, streams)
    }

    fn file(&mut self, name: &str, streams: &mut Streams<'_>) -> Result<(), Failure> {
        let file = File::open(name).map_err(|error| format!("{name}: failed to read: {error}"))?;
        self.lines(name, &mut BufReader::new(file), streams.err)
            .map_err(Failure::Output)
    }

    fn lines(&mut self, name: &str, lines: &mut dyn BufRead, err: &mut dyn io::Write) -> io::Result<()> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            match io::Read::take(&mut *lines, MAX_LINE_BYTES as u64).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return self.skip(err, &format!("{name}:{number}: {error}")),
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Line>(&line) {
                Ok(line) => self.history.add(line.execution()),
                Err(error) => self.skip(err, &format!("{name}:{number}: {error}"))?,
            }
            self.read += 1;
            self.progress();
        }
        Ok(())
    }

    async fn bucket(
        &mut self,
        location: &str,
        env: &impl Environment,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
        let clients = connect(env, Some(bucket.to_owned())).await?;
        let keys = clients.keys(prefix).await?;
        let clients = clients.as_ref();
        let mut objects = stream::iter(keys.iter().map(async |key| {
            let wanted = file_name(key).is_some_and(|file| VIOLATION_FILE_NAMES.contains(&file)) || is_json_lines(key);
            let body = if wanted {
                Some(clients.read(key, None).await)
            } else {
                None
            };
            (key, body)
        }))
        .buffered(CONCURRENT_READS);
        while let Some((key, body)) = objects.next().await {
            let name = format!("s3://{bucket}/{key}");
            let body = match body {
                None => Ok(Vec::new()),
                Some(Ok(Fetched::Found(body, _))) => Ok(body),
                Some(Ok(_)) => Err("the object no longer exists".to_owned()),
                Some(Err(error)) => Err(error.to_string()),
            };
            if is_json_lines(key) {
                match body {
                    Ok(body) => self.lines(&name, &mut body.as_slice(), streams.err)?,
                    Err(error) => self.skip(streams.err, &format!("{name}: {error}"))?,
                }
            } else {
                self.object(&name, key, false, || body, streams.err)?;
            }
        }
        Ok(())
    }

    /// One object of a report folder: a violation report, or another file of an execution that ended.
    fn object(
        &mut self,
        name: &str,
        key: &str,
        too_large: bool,
        read: impl FnOnce() -> Result<Vec<u8>, String>,
        err: &mut dyn io::Write,
    ) -> io::Result<()> {
        let Some(file) = file_name(key) else {
            return Ok(());
        };
        let is_report = VIOLATION_FILE_NAMES.contains(&file);
        if !is_report && !OTHER_FILES.contains(&file) {
            return Ok(());
        }
        let Some((folder, _)) = key.rsplit_once('/') else {
            return Ok(());
        };
        let Some(folder) = ReportFolder::from_uri(&format!("s3://history/{folder}"), &self.prefixes) else {
            return Ok(());
        };
        self.read += 1;
        self.progress();
        let execution = |state, report, monitor_type| Execution {
            schedule: folder.schedule.as_str().to_owned(),
            endpoint: folder.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned()),
            monitor_type,
            recorded: Recorded {
                scheduled_time: folder.scheduled_time,
                state,
                report,
            },
        };
        if !is_report {
            // A violation report has precedence over the other files, in any order.
            let known = self
                .from_reports
                .contains(folder.schedule.as_str(), folder.scheduled_time);
            if !known {
                self.from_reports.add(execution(DatapointState::Clean, None, None));
            }
            return Ok(());
        }
        // An unreadable report is never clean: it counts as a failed execution.
        if too_large {
            self.from_reports.add(execution(DatapointState::Failed, None, None));
            return self.skip(
                err,
                &format!("{name}: the report exceeds the limit of {MAX_REPORT_BYTES} bytes"),
            );
        }
        let limits = Limits {
            max_bytes: usize::try_from(MAX_REPORT_BYTES).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        let body = match read() {
            Ok(body) => body,
            Err(error) => {
                self.from_reports.add(execution(DatapointState::Failed, None, None));
                return self.skip(err, &format!("{name}: {error}"));
            }
        };
        match ViolationReport::parse(name, &body, &limits) {
            Ok(report) => {
                let monitor_type = report.monitor_type.map(|kind| kind.to_string());
                let time = folder.scheduled_time;
                let evidence = ReportEvidence::new(name.to_owned(), String::new(), time, &report, VIOLATIONS_KEPT);
                let state = if evidence.violations > 0 {
                    DatapointState::Violations
                } else {
                    DatapointState::Clean
                };
                let report = (evidence.violations > 0).then(|| Box::new(evidence));
                self.from_reports.add(execution(state, report, monitor_type));
                Ok(())
            }
            Err(error) => {
                self.from_reports.add(execution(DatapointState::Failed, None, None));
                self.skip(err, &machine::chain(&error))
            }
        }
    }

    fn skip(&mut self, err: &mut dyn io::Write, what: &str) -> io::Result<()> {
        self.skipped += 1;
        if self.skipped <= MAX_REPORTED {
            writeln!(err, "warning: skipped {}", crate::table::plain(what))?;
        }
        Ok(())
    }

    fn progress(&self) {
        if self.read.is_multiple_of(100) {
            progress(&format!("{} executions read", self.read));
        }
    }

    /// The history, and whether inputs failed to parse.
    pub(super) fn finish(self, streams: &mut Streams<'_>) -> Result<(History, bool), Failure> {
        progress_ended();
        if self.skipped > MAX_REPORTED {
            writeln!(streams.err, "warning: skipped {} more", self.skipped - MAX_REPORTED)?;
        }
        let mut history = self.history;
        let mut from_reports = self.from_reports;
        // Model Monitor writes a report only for violations: hours without one are clean unless --gaps says otherwise.
        from_reports.fill_gaps(self.gaps);
        history.append(from_reports);
        Ok((history, self.skipped > 0))
    }
}

fn is_json_lines(key: &str) -> bool {
    Path::new(key)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"))
}

fn file_name(key: &str) -> Option<&str> {
    key.rsplit('/').next()
}

/// All files below a folder, sorted.
fn walk(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> io::Result<()> {
    let mut entries: BTreeMap<std::ffi::OsString, std::path::PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.insert(entry.file_name(), entry.path());
    }
    for path in entries.into_values() {
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
