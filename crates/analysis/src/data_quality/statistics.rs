//! `statistics.json` of a profile.

use crate::{
    ColumnProfile, Profile,
    kll::{C, K},
};
use model_monitor::{
    Categorical, CategoricalBucket, Common, Dataset, Distribution, FeatureStatistics, KllBucket, KllSketch,
    NumericalStatistics, Sketch, SketchParameters, Statistics, StringDistribution, StringStatistics,
};

/// Number of buckets of the histogram (developer guide: not configurable).
const BUCKETS: u32 = 10;
/// Maximum number of values of a string column that are listed, the most frequent first.
const MAX_LISTED_STRINGS: usize = 4096;
/// Maximum number of distinct numbers that are listed with their counts.
const MAX_LISTED_NUMBERS: usize = 1000;

/// Statistics of a dataset.
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
    // A column without values has no statistics except its counts, and only string columns have fields for them.
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
    // One level contains the numbers themselves.
    let listed = column.is_exact() && levels.len() > 1 && numbers.len() <= MAX_LISTED_NUMBERS;
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

/// Histogram of numbers with counts, in ascending order (Deequ, `KLLSketch`). A bucket includes its lower bound and
/// excludes its upper bound; the last one includes both.
fn buckets(numbers: &[(f64, u64)], min: f64, max: f64) -> Vec<KllBucket> {
    let bound = |at: u32| {
        let share = f64::from(at) / f64::from(BUCKETS);
        let bound = min + (max - min) * f64::from(at) / f64::from(BUCKETS);
        match at {
            0 => min,
            BUCKETS => max,
            _ if bound.is_finite() => bound,
            // The range exceeds the range of doubles.
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
    texts.truncate(MAX_LISTED_STRINGS);
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
