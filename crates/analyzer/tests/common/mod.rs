//! Files in a temporary folder, read and analyzed as on the command line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use analysis::{Judgments, Profile};
use analyzer::{
    Dataset, Object, Outcome, ReadError, ReadOptions, Report,
    findings::Kind,
    job::{Baseline, DataQualityJob, Thresholds},
    read,
};
use model_monitor::Statistics;
use std::path::PathBuf;
use tempfile::TempDir;

/// Files, in the order in which they were written.
pub(crate) struct Files {
    folder: TempDir,
    paths: Vec<PathBuf>,
}

/// Creates files with these contents, named `1.csv`, `2.csv`, …
pub(crate) fn files(contents: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Files {
    let mut files = Files {
        folder: TempDir::new().unwrap(),
        paths: Vec::new(),
    };
    for (content, number) in contents.into_iter().zip(1..) {
        let path = files.folder.path().join(format!("{number}.csv"));
        std::fs::write(&path, content).unwrap();
        files.paths.push(path);
    }
    files
}

/// Creates one file.
pub(crate) fn file(content: impl AsRef<[u8]>) -> Files {
    files([content.as_ref()])
}

impl Files {
    /// Files as objects that have only the file name as name.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let object = |path: &PathBuf| {
            let mut object = Object::file(path);
            object.name = path.file_name().unwrap().to_string_lossy().into_owned();
            object
        };
        self.paths.iter().map(object).collect()
    }

    pub(crate) fn try_read(&self, options: &ReadOptions) -> Result<Dataset<Profile>, ReadError> {
        read(self.objects(), options, Profile::default)
    }

    pub(crate) fn read_with(&self, options: &ReadOptions) -> Dataset<Profile> {
        self.try_read(options).unwrap()
    }

    pub(crate) fn read(&self) -> Dataset<Profile> {
        self.read_with(&ReadOptions::default())
    }

    /// Error of reading the files.
    pub(crate) fn error(&self) -> String {
        self.try_read(&ReadOptions::default()).unwrap_err().to_string()
    }

    /// Baseline of the files, with exact thresholds.
    pub(crate) fn baseline(&self) -> Baseline {
        self.baseline_with(&ReadOptions::default())
    }

    pub(crate) fn baseline_with(&self, options: &ReadOptions) -> Baseline {
        let exact = DataQualityJob {
            thresholds: Thresholds::Exact,
            ..DataQualityJob::default()
        };
        self.baseline_by(&exact, options)
    }

    pub(crate) fn baseline_by(&self, job: &DataQualityJob, options: &ReadOptions) -> Baseline {
        let report = job.baseline(&self.read_with(options)).unwrap();
        let mut baseline = Baseline::default();
        for file in report.files {
            baseline.add(file.name, file.name, &file.content).unwrap();
        }
        baseline
    }

    /// Compares the files with a baseline, whose columns are expected.
    pub(crate) fn analyze(&self, baseline: &Baseline) -> Report {
        self.analyze_by(&DataQualityJob::default(), baseline)
    }

    pub(crate) fn analyze_by(&self, job: &DataQualityJob, baseline: &Baseline) -> Report {
        let options = ReadOptions {
            expected: baseline.columns(),
            ..ReadOptions::default()
        };
        job.analyze(&self.read_with(&options), baseline).unwrap().0
    }
}

/// Violations of a report: column and check, as strings.
pub(crate) fn violations(report: &Report) -> Vec<String> {
    assert_eq!(
        report.outcome(),
        match (report.item_count, report.violations.len()) {
            (0, _) => Outcome::NoData,
            (_, 0) if report.judgments.as_ref().is_some_and(Judgments::is_void) => Outcome::NotJudged,
            (_, 0) => Outcome::Clean,
            (_, count) => Outcome::Violations(count),
        }
    );
    let violations = report.violations.iter();
    violations
        .map(|violation| format!("{} {}", violation.subject(), violation.constraint_check_type))
        .collect()
}

/// Notes of a baseline created from a dataset, or the error.
pub(crate) fn notes(dataset: &Dataset<Profile>) -> Vec<String> {
    match DataQualityJob::default().baseline(dataset) {
        Ok(report) => report.notes,
        Err(error) => vec![error.to_string()],
    }
}

/// Number of findings of each kind that occurs.
pub(crate) fn counts(dataset: &Dataset<Profile>) -> Vec<(Kind, u64)> {
    let kinds = [
        Kind::ShortRow,
        Kind::LongRow,
        Kind::StrayQuote,
        Kind::NotUtf8,
        Kind::NotFinite,
        Kind::Unreadable,
        Kind::TwoValues,
        Kind::UnknownType,
        Kind::FirstRow,
        Kind::Ambiguous,
    ];
    let counts = kinds.map(|kind| (kind, dataset.findings.count(kind)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Columns in order, each with its type and its sorted values with their counts.
pub(crate) fn shown(dataset: &Dataset<Profile>) -> Vec<String> {
    let columns = dataset.sink.columns();
    columns
        .map(|(name, column)| {
            let mut texts = column.texts();
            texts.sort();
            let texts: Vec<_> = texts.iter().map(|(text, count)| format!("{text}×{count}")).collect();
            format!("{name} {} {}", column.inferred_type().as_str(), texts.join(" "))
        })
        .collect()
}

/// `statistics.json` of a dataset.
pub(crate) fn statistics(dataset: &Dataset<Profile>) -> Statistics {
    analysis::data_quality::statistics(&dataset.sink)
}
