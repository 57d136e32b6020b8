//! Invariants of any bytes that are read as a dataset; shared with the fuzz targets.

use analysis::{
    Profile,
    data_quality::{Options, statistics},
};
use analyzer::{
    Cell, Dataset, Object, ReadError, ReadOptions, Table,
    findings::Kind,
    job::{Baseline, DataQualityJob, Thresholds},
    read,
};
use std::io::Cursor;

fn objects(contents: &[Vec<u8>]) -> Vec<Object> {
    let object = |bytes: &Vec<u8>| {
        let bytes = bytes.clone();
        Object::stream("dataset", None, move || Ok(Box::new(Cursor::new(bytes))))
    };
    contents.iter().map(object).collect()
}

/// Profile of the dataset, or the error, which is a valid result.
pub(crate) fn profile(contents: &[Vec<u8>], options: &ReadOptions) -> Result<Dataset<Profile>, ReadError> {
    let dataset = read(objects(contents), options, Profile::default);
    if let Err(error) = &dataset {
        let text = error.to_string();
        assert!(text.contains("dataset") && !text.contains("panicked"), "{text}");
    }
    dataset
}

/// Reads the bytes in every possible way, and checks:
///
/// - nothing panics;
/// - a profile and a table of the same bytes have the same rows, columns, and values;
/// - messages are short;
/// - a dataset does not violate the baseline that it creates, unless a baseline is stricter than its own data.
pub(crate) fn check(contents: &[Vec<u8>], options: &ReadOptions) {
    let table = read(objects(contents), options, || Table::with_columns(None));
    let dataset = match (profile(contents, options), &table) {
        (Ok(dataset), Ok(_)) => dataset,
        (Err(profile), Err(table)) => {
            // If several columns of a Parquet file are corrupt, the error may name any of them.
            let of_column = |error: &ReadError| error.to_string().starts_with("dataset: column `");
            assert!(of_column(&profile) && of_column(table) || profile.to_string() == table.to_string());
            return;
        }
        (profile, table) => {
            let (profile, table) = (profile.err(), table.as_ref().err());
            panic!("only one of the two readers failed: {profile:?}, {table:?}")
        }
    };
    let (profile, table) = (&dataset.sink, &table.as_ref().unwrap().sink);
    assert_eq!(profile.item_count(), table.rows() as u64);
    assert_eq!(profile.columns().len(), table.names().len());
    for (name, column) in profile.columns() {
        let cells = table.get(name).unwrap().cells();
        assert_eq!(cells.len() as u64, profile.item_count());
        let present = cells.iter().filter(|cell| !matches!(cell, Cell::Missing)).count();
        assert_eq!(column.present(), present as u64, "{name}");
        assert!(column.present() + column.not_finite() <= profile.item_count(), "{name}");
    }
    let lines = dataset.findings.lines();
    assert!(lines.len() <= 9 * 6 && lines.iter().all(|line| line.len() < 100_000));
    let again = read(objects(contents), options, Profile::default).unwrap();
    assert_eq!(again.findings.lines(), lines);
    assert_eq!(
        serde_json::to_vec(&statistics(&again.sink)).unwrap(),
        serde_json::to_vec(&statistics(profile)).unwrap()
    );
    for thresholds in [Thresholds::Exact, Thresholds::default()] {
        let job = DataQualityJob {
            options: Options {
                lenient_types: true,
                ..Options::default()
            },
            thresholds,
        };
        let Ok(report) = job.baseline(&dataset) else {
            assert!(profile.item_count() == 0 || profile.columns().len() == 0);
            return;
        };
        let mut baseline = Baseline::default();
        for file in &report.files {
            baseline.add(file.name, file.name, &file.content).unwrap();
        }
        let (report, _) = job.analyze(&dataset, &baseline).unwrap();
        let expected = usize::from(dataset.findings.count(Kind::LongRow) > 0);
        assert_eq!(report.violations.len(), expected, "{:?}", report.violations);
    }
}
