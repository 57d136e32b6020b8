//! Profiles compared with a naive computation on the same data, and merged profiles of shards compared with the profile
//! of the whole.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking; small counts"
)]

use analysis::{
    Class, ColumnProfile, InferredType, PartialProfile, Profile,
    data_quality::{statistics, suggest},
};
use model_monitor::{FeatureStatistics, Statistics};
use proptest::prelude::*;
use regex_lite::Regex;
use std::{collections::BTreeMap, sync::LazyLock};

/// Cell as a reader passes it on.
#[derive(Debug, Clone)]
enum Cell {
    Missing,
    Text(String),
    Integer(i64),
    Double(f64),
}

fn add(profile: &mut Profile, place: usize, cell: &Cell) {
    let column = profile.at(place).unwrap();
    match cell {
        Cell::Missing => {}
        Cell::Text(text) => assert!(column.add_text(text.as_bytes()).is_none()),
        Cell::Integer(value) => column.add_integer(*value),
        Cell::Double(value) => assert!(column.add_double(*value).is_none()),
    }
}

/// Profile of rows of cells.
fn profile<'a>(names: &[String], rows: impl IntoIterator<Item = &'a [Cell]>) -> Profile {
    let mut profile = Profile::with_columns(names.iter().map(String::as_str)).unwrap();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            add(&mut profile, at, cell);
        }
        profile.add_rows(1);
    }
    profile
}

// Deequ, `StatefulDataType`.
static FRACTIONAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(-|\+)? ?\d+((\.\d+)|((?:\.\d+)?[Ee][-+]?\d+))$").unwrap());
static INTEGRAL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(-|\+)? ?\d+$").unwrap());
static BOOLEAN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(true|false)$").unwrap());

fn class(cell: &Cell) -> Option<Class> {
    match cell {
        Cell::Missing => None,
        Cell::Integer(_) => Some(Class::Integral),
        Cell::Double(_) => Some(Class::Fractional),
        Cell::Text(text) => Some(if FRACTIONAL.is_match(text) {
            Class::Fractional
        } else if INTEGRAL.is_match(text) {
            Class::Integral
        } else if BOOLEAN.is_match(text) {
            Class::Boolean
        } else {
            Class::String
        }),
    }
}

fn number(cell: &Cell) -> Option<f64> {
    match (cell, class(cell)?) {
        (Cell::Integer(value), _) => Some(*value as f64),
        (Cell::Double(value), _) => Some(*value),
        (Cell::Text(text), Class::Integral | Class::Fractional) => Some(text.replace(' ', "").parse().unwrap()),
        _ => None,
    }
}

/// Value as files show it.
fn shown(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Missing => None,
        Cell::Text(text) => Some(text.clone()),
        Cell::Integer(value) => Some(value.to_string()),
        Cell::Double(value) => Some(format!("{value:?}")),
    }
}

fn near(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= 1e-12 * scale.max(f64::MIN_POSITIVE)
}

/// Compares the statistics of a column with its cells.
fn check(cells: &[Cell], found: &FeatureStatistics, column: &ColumnProfile) {
    let classes: Vec<Class> = cells.iter().filter_map(class).collect();
    let count = |class: Class| classes.iter().filter(|found| **found == class).count();
    for class in Class::ALL {
        assert_eq!(column.class_count(class), count(class) as u64);
    }
    // Deequ, `DataTypeHistogram.determineType`; a boolean is a String.
    let (fractional, integral) = (count(Class::Fractional), count(Class::Integral));
    let kind = if classes.is_empty() {
        "Unknown"
    } else if count(Class::String) > 0 || count(Class::Boolean) > 0 {
        "String"
    } else if fractional > 0 {
        "Fractional"
    } else {
        "Integral"
    };
    assert_eq!(found.inferred_type, kind);
    let common = match (&found.numerical_statistics, &found.string_statistics) {
        (Some(numeric), None) => &numeric.common,
        (None, Some(text)) => &text.common,
        _ => unreachable!("one of both"),
    };
    assert_eq!(
        (common.num_present, common.num_missing),
        (classes.len() as u64, (cells.len() - classes.len()) as u64)
    );
    let numbers: Vec<f64> = cells.iter().filter_map(number).collect();
    if let Some(numeric) = &found.numerical_statistics {
        assert_eq!(numbers.len(), fractional + integral);
        let n = numbers.len() as f64;
        let largest = numbers.iter().fold(0f64, |largest, value| largest.max(value.abs()));
        let mean = numbers.iter().sum::<f64>() / n;
        let variance = numbers.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        assert!(near(numeric.sum, numbers.iter().sum(), largest * n), "{numbers:?}");
        assert!(near(numeric.mean, mean, largest), "{numbers:?}");
        assert!(
            near(numeric.std_dev, variance.sqrt(), largest),
            "{} {variance} {numbers:?}",
            numeric.std_dev
        );
        let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(near(numeric.min, min, 0.0) && near(numeric.max, max, 0.0));
        let kll = &numeric.distribution.as_ref().unwrap().kll;
        assert_eq!(kll.buckets.len(), 10);
        for (bucket, at) in kll.buckets.iter().zip(0u8..) {
            let bound = |at: u8| min + (max - min) * f64::from(at) / 10.0;
            let (low, high) = (bound(at), if at == 9 { max } else { bound(at + 1) });
            assert!(
                near(bucket.lower_bound, low, 0.0) && near(bucket.upper_bound, high, 0.0),
                "{numbers:?}"
            );
            let inside = numbers
                .iter()
                .filter(|value| **value >= low && (**value < high || (at == 9 && **value <= high)));
            // Equal numbers are all in the last bucket.
            let inside = inside.count();
            assert!(
                near(bucket.count, inside as f64, 0.0),
                "{at} {} {inside} {numbers:?}",
                bucket.count
            );
        }
        let sketch = kll.sketch.as_ref().unwrap();
        let levels: Vec<_> = sketch.data.iter().flatten().map(|value| value.to_bits()).collect();
        let in_order: Vec<_> = numbers.iter().map(|value| (value + 0.0).to_bits()).collect();
        assert_eq!(
            (sketch.data.len(), levels),
            (1, in_order),
            "few numbers are the sketch, in their order"
        );
    }
    let mut counts = BTreeMap::<String, u64>::new();
    for text in cells.iter().filter_map(shown) {
        *counts.entry(text).or_default() += 1;
    }
    if let Some(text) = &found.string_statistics {
        assert!(near(text.distinct_count, counts.len() as f64, 0.0));
        let buckets = &text.distribution.as_ref().unwrap().categorical.buckets;
        let found: BTreeMap<_, _> = buckets
            .iter()
            .map(|bucket| (bucket.value.clone(), bucket.count))
            .collect();
        assert_eq!(found, counts);
        assert!(buckets.is_sorted_by_key(|bucket| (std::cmp::Reverse(bucket.count), bucket.value.clone())));
    }
}

/// Compares suggested constraints with the cells.
fn check_suggestion(cells: &[Cell], profile: &Profile, at: usize) {
    let constraints = suggest(profile);
    let found = constraints.features.as_ref().unwrap().get(at).unwrap();
    let present = cells.iter().filter(|cell| !matches!(cell, Cell::Missing)).count();
    assert!(near(
        found.completeness.unwrap(),
        present as f64 / cells.len() as f64,
        0.0
    ));
    let numeric = matches!(found.inferred_type.as_str(), "Integral" | "Fractional");
    let non_negative = cells.iter().filter_map(number).all(|value| value >= 0.0);
    assert_eq!(
        found.num_constraints.as_ref().map(|of| of.is_non_negative),
        numeric.then_some(non_negative)
    );
    let mut counts = BTreeMap::<String, u64>::new();
    for text in cells.iter().filter_map(shown) {
        *counts.entry(text).or_default() += 1;
    }
    let singles = counts.values().filter(|count| **count == 1).count();
    let closed = found.inferred_type == "String" && counts.len() <= 120 && singles * 10 <= counts.len();
    let mut domain: Vec<_> = counts.into_iter().collect();
    domain.sort_by_key(|(text, count)| (std::cmp::Reverse(*count), text.clone()));
    let domain: Vec<String> = domain.into_iter().map(|(text, _)| text).collect();
    assert_eq!(
        found.string_constraints.as_ref().and_then(|of| of.domains.clone()),
        closed.then_some(domain)
    );
}

/// Strings that are almost numbers, and numbers of all kinds.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+]? ?[0-9]{1,6}",
        r"[-+]? ?[0-9]{1,4}\.[0-9]{1,4}",
        r"-?[0-9]{1,2}(\.[0-9]{1,3})?[eE][-+]?[0-9]",
        // No digit above 1, so that no number is too large for a double or for its square.
        "[-+ .eE01]{1,5}",
        "(true|false|TRUE|NaN|inf|n/a)",
        "[a-c]",
        "\\PC{1,4}",
        "[ \t\"\u{e9}\u{1F600}]{1,2}",
    ]
}

fn column() -> impl Strategy<Value = Vec<Cell>> {
    let cells = |cell: BoxedStrategy<Cell>| {
        let cell = prop_oneof![9 => cell, 1 => Just(Cell::Missing)];
        prop::collection::vec(cell, 1..40)
    };
    let of = |text: BoxedStrategy<String>| text.prop_map(Cell::Text).boxed();
    prop_oneof![
        cells(of(text().boxed())),
        cells(of("[-+]? ?[0-9]{1,3}".boxed())),
        cells(of(r"-?[0-9]{1,3}(\.[0-9]{1,2})?".boxed())),
        cells(of("[ab]".boxed())),
        cells(of("(true|false|1)".boxed())),
        cells(any::<i32>().prop_map(|value| Cell::Integer(i64::from(value))).boxed()),
        cells((-1e6..1e6).prop_map(Cell::Double).boxed()),
        cells(
            prop_oneof![
                (0i64..3).prop_map(Cell::Integer),
                of("[0-2a]".boxed()),
                Just(Cell::Double(1.5))
            ]
            .boxed()
        ),
        cells(Just(Cell::Missing).boxed()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn statistics_and_constraints_match_cells(columns in prop::collection::vec(column(), 1..4)) {
        let rows = columns.iter().map(Vec::len).max().unwrap();
        let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
        let columns: Vec<Vec<Cell>> = columns
            .into_iter()
            .map(|mut cells| {
                cells.resize(rows, Cell::Missing);
                cells
            })
            .collect();
        let rows: Vec<Vec<Cell>> =
            (0..rows).map(|row| columns.iter().map(|cells| cells.get(row).unwrap().clone()).collect()).collect();
        let profile = profile(&names, rows.iter().map(Vec::as_slice));
        let found = statistics(&profile);
        prop_assert_eq!(found.dataset.as_ref().unwrap().item_count, rows.len() as u64);
        for ((cells, name), at) in columns.iter().zip(&names).zip(0..) {
            let feature = found.features.as_ref().unwrap().get(at).unwrap();
            prop_assert_eq!(&feature.name, name);
            check(cells, feature, profile.get(name).unwrap());
            check_suggestion(cells, &profile, at);
        }
    }
}

/// Pseudorandom numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const MIXED: [&str; 11] = [
    "few", "many", "typed", "tiny", "huge", "skewed", "ids", "mixed", "flags", "nothing", "long",
];

/// Row with columns of all kinds.
fn mixed_row(random: &mut Random) -> Vec<Cell> {
    let bits = |random: &mut Random| (random.next() >> 11) as f64;
    vec![
        Cell::Text(format!("{}", random.below(50))),
        Cell::Text(format!("{:?}", bits(random) / 1e9)),
        Cell::Integer(random.next().cast_signed() >> 8),
        Cell::Double(bits(random) * 1e-300),
        Cell::Double((bits(random) - 4e15) * 1e280),
        // A few of many values are frequent.
        Cell::Text(format!(
            "v{}",
            u64::from(random.below(1 << 20).ilog2()) * random.below(700)
        )),
        Cell::Text(format!("user {}", random.next())),
        match random.below(4) {
            0 => Cell::Missing,
            1 => Cell::Integer(random.below(9000).cast_signed()),
            2 => Cell::Double(bits(random)),
            _ => Cell::Text(format!("t{}", random.below(3))),
        },
        Cell::Text(if random.below(3) == 0 { "true" } else { "false" }.to_owned()),
        Cell::Missing,
        Cell::Text(format!("{}{}", "x".repeat(300), random.below(6000))),
    ]
}

/// Results that must be bitwise equal for any split of the rows.
fn exact(profile: &Profile) -> Vec<String> {
    let columns = profile.columns();
    columns
        .map(|(name, column)| {
            let moments = column.moments();
            let bits = [moments.mean, moments.sum, moments.std_dev, moments.min, moments.max].map(f64::to_bits);
            let distinct = column.distinct_count();
            let texts = column.is_exact().then(|| column.texts());
            let numbers = column.is_exact().then(|| format!("{:?}", column.numbers()));
            let (classes, kind) = (column.classes(), column.inferred_type());
            format!("{name} {kind:?} {classes:?} {bits:?} {distinct} {texts:?} {numbers:?}")
        })
        .collect()
}

/// Largest difference between the shares of numbers up to each of some values, in the sketch and in the data.
fn rank_error(column: &ColumnProfile, numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let (mut rank, mut worst) = (0, 0f64);
    for (number, times) in column.numbers() {
        let below = numbers.partition_point(|value| *value < number);
        let up_to = numbers.partition_point(|value| *value <= number);
        let after = rank + times;
        // For equal numbers, any rank between both is right.
        let far = |rank: u64, exact: usize| (rank as f64 - exact as f64).abs() / numbers.len() as f64;
        worst = worst.max(far(rank, below)).max(far(after, up_to));
        rank = after;
    }
    assert_eq!(rank, numbers.len() as u64);
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn merged_shards_equal_whole(seed: u64, rows in 9_000usize..20_000) {
        let names = MIXED.map(ToOwned::to_owned);
        let mut random = Random(seed);
        let rows: Vec<Vec<Cell>> = (0..rows).map(|_| mixed_row(&mut random)).collect();
        let whole = profile(&names, rows.iter().map(Vec::as_slice));
        for count in [1, 7, 64] {
            // Every row goes to some shard, and the shards are merged in any order, possibly stored in between.
            let mut shards = vec![Vec::new(); count];
            for row in &rows {
                let shard = usize::try_from(random.below(count as u64)).unwrap();
                shards.get_mut(shard).unwrap().push(row.as_slice());
            }
            let mut merged = Profile::default();
            while !shards.is_empty() {
                let shard = usize::try_from(random.below(shards.len() as u64)).unwrap();
                let mut part = profile(&names, shards.swap_remove(shard));
                if random.below(2) == 0 {
                    let stored = serde_json::to_vec(&PartialProfile::from(&part)).unwrap();
                    part = serde_json::from_slice::<PartialProfile>(&stored).unwrap().try_into().unwrap();
                }
                merged.merge(&part).unwrap();
            }
            prop_assert_eq!(merged.item_count(), rows.len() as u64);
            prop_assert_eq!(exact(&merged), exact(&whole), "{} shards", count);
            for (at, name) in names.iter().enumerate() {
                let column = merged.get(name).unwrap();
                let cells: Vec<&Cell> = rows.iter().filter_map(|row| row.get(at)).collect();
                let mut numbers: Vec<f64> = cells.iter().filter_map(|cell| number(cell)).collect();
                if !numbers.is_empty() {
                    let error = rank_error(column, &mut numbers);
                    let bound = if column.is_exact() { 0.0 } else { 0.003 };
                    prop_assert!(error <= bound, "{}: {} of {} shards", name, error, count);
                }
                if matches!(column.inferred_type(), InferredType::String) {
                    let mut counts = BTreeMap::<String, u64>::new();
                    for text in cells.iter().filter(|cell| number(cell).is_none()).filter_map(|cell| shown(cell)) {
                        *counts.entry(text).or_default() += 1;
                    }
                    let texts: BTreeMap<String, u64> = column.texts().into_iter().collect();
                    let error = column.count_error();
                    prop_assert!(error <= (rows.len() / column.limit()) as u64);
                    for (text, count) in counts.iter().filter(|(text, _)| text.len() < 250) {
                        let found = texts.get(text).copied().unwrap_or(0);
                        prop_assert!(found <= *count && count - found <= error, "{}: {} {}", text, found, count);
                    }
                }
            }
        }
    }
}

#[test]
fn profile_output_is_deterministic() {
    let names = MIXED.map(ToOwned::to_owned);
    let bytes = || {
        let mut random = Random(7);
        let rows: Vec<Vec<Cell>> = (0..20_000).map(|_| mixed_row(&mut random)).collect();
        let profile = profile(&names, rows.iter().map(Vec::as_slice));
        (
            serde_json::to_vec(&statistics(&profile)).unwrap(),
            serde_json::to_vec(&suggest(&profile)).unwrap(),
        )
    };
    let once = bytes();
    assert_eq!(bytes(), once);
    let read: Statistics = serde_json::from_slice(&once.0).unwrap();
    assert_eq!(serde_json::to_vec(&read).unwrap(), once.0);
}

#[test]
fn invalid_utf8_is_reported_each_time() {
    let mut column = ColumnProfile::new(4);
    let odd = (0..100u8).filter(|at| column.add_text(&[b'k', 0xf6, b'0' + at % 10]).is_some());
    assert_eq!(odd.count(), 100, "also when there are too many to count each");
    assert_eq!(column.class_count(Class::String), 100);
    assert!(column.texts().iter().all(|(text, _)| text.starts_with("k\u{fffd}")));
}
