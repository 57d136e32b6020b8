//! `statistics.json` of a profile.

use crate::{
    ColumnProfile, Profile,
    kll::{C, K},
};
use model_monitor::{
    Categorical, CategoricalBucket, Common, Dataset, Distribution, FeatureStatistics, KllBucket, KllSketch,
    NumericalStatistics, Sketch, SketchParameters, Statistics, StringDistribution, StringStatistics,
};

/// Buckets of the histogram (developer guide: not configurable).
const BUCKETS: u32 = 10;
/// So many values of a string column are listed at most, the most frequent.
const LISTED_TEXTS: usize = 4096;
/// Numbers with their counts are listed for so many different ones at most.
const LISTED_NUMBERS: usize = 1000;

/// The statistics of a dataset.
pub fn statistics(profile: &Profile) -> Statistics {
    let rows = profile.item_count();
    Statistics {
        version: Some(0.0.into()),
        dataset: Some(Dataset {
            item_count: rows,
            ..Dataset::default()
        }),
        features: Some(
            profile
                .columns()
                .map(|(name, column)| feature(name, column, rows))
                .collect(),
        ),
        ..Statistics::default()
    }
}

fn feature(name: &str, column: &ColumnProfile, rows: u64) -> FeatureStatistics {
    let present = column.present();
    let common = Common {
        num_present: present,
        num_missing: rows.saturating_sub(present),
    };
    let kind = column.inferred_type();
    // A column without any value has no statistics but its counts, which only strings' have a place for.
    let numeric = kind.is_number();
    FeatureStatistics {
        name: name.to_owned(),
        inferred_type: kind.as_str().to_owned(),
        numerical_statistics: numeric.then(|| numerical(column, common)),
        string_statistics: (!numeric).then(|| string(column, common)),
        ..FeatureStatistics::default()
    }
}

fn numerical(column: &ColumnProfile, common: Common) -> NumericalStatistics {
    let moments = column.moments();
    let numbers = column.numbers();
    let sketch = column.sketch();
    let levels: Vec<Vec<f64>> = sketch.levels().map(<[f64]>::to_vec).collect();
    // One level is the numbers themselves.
    let listed = column.is_exact() && levels.len() > 1 && numbers.len() <= LISTED_NUMBERS;
    let list = || {
        let bucket = |(number, count): &(f64, u64)| CategoricalBucket {
            value: format!("{number:?}"),
            count: *count,
        };
        Categorical {
            buckets: numbers.iter().map(bucket).collect(),
        }
    };
    NumericalStatistics {
        common,
        mean: moments.mean,
        sum: moments.sum,
        std_dev: moments.std_dev,
        min: moments.min,
        max: moments.max,
        distribution: Some(Distribution {
            kll: KllSketch {
                buckets: buckets(&numbers, moments.min, moments.max),
                sketch: Some(Sketch {
                    parameters: SketchParameters { c: C, k: K },
                    data: levels,
                }),
            },
            categorical: listed.then(list),
        }),
        ..NumericalStatistics::default()
    }
}

/// The histogram of numbers with their counts, in ascending order (Deequ, `KLLSketch`): a bucket holds its lower bound
/// and not its upper one; the last holds both.
fn buckets(numbers: &[(f64, u64)], min: f64, max: f64) -> Vec<KllBucket> {
    let bound = |at: u32| {
        let share = f64::from(at) / f64::from(BUCKETS);
        let bound = min + (max - min) * f64::from(at) / f64::from(BUCKETS);
        match at {
            0 => min,
            BUCKETS => max,
            _ if bound.is_finite() => bound,
            // The range is wider than any double.
            _ => min * (1.0 - share) + max * share,
        }
    };
    let mut left = numbers.iter().peekable();
    let mut buckets = Vec::new();
    for at in 0..BUCKETS {
        let (lower_bound, upper_bound) = (bound(at), bound(at + 1));
        let last = at + 1 == BUCKETS;
        let mut count = 0;
        while let Some((_, times)) = left.next_if(|(number, _)| last || *number < upper_bound) {
            count += times;
        }
        #[expect(clippy::cast_precision_loss, reason = "the file has it as a double")]
        buckets.push(KllBucket {
            lower_bound,
            upper_bound,
            count: count as f64,
        });
    }
    buckets
}

fn string(column: &ColumnProfile, common: Common) -> StringStatistics {
    let mut texts = column.texts();
    texts.truncate(LISTED_TEXTS);
    let bucket = |(value, count)| CategoricalBucket { value, count };
    StringStatistics {
        common,
        distinct_count: column.distinct_count(),
        distribution: Some(StringDistribution {
            categorical: Categorical {
                buckets: texts.into_iter().map(bucket).collect(),
            },
        }),
        ..StringStatistics::default()
    }
}
