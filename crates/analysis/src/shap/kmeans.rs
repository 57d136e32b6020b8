//! A baseline of few rows for many: cluster centers.

use crate::random::Random;

/// Maximum number of clusters, as in Clarify.
pub const MAX_CLUSTERS: usize = 12;

/// Maximum number of iterations.
const ITERATIONS: usize = 100;

/// Reason for which there are no clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KmeansError {
    /// The number of clusters is 0, or larger than Clarify's maximum.
    #[error("the number of clusters is {0}: expected 1 to {MAX_CLUSTERS}")]
    Clusters(usize),
    /// There are no rows.
    #[error("there are no rows to cluster: expected at least one")]
    NoRows,
    /// A row differs in length from the first one.
    #[error("row {row} has {found} features: expected {expected}")]
    RowLength {
        /// Row, starting at 0.
        row: usize,
        /// Number of its features.
        found: usize,
        /// Number of features of the first row.
        expected: usize,
    },
    /// A value is not finite, so it has no distance.
    #[error("row {row} has a value that is not a finite number: fill in missing values")]
    NotFinite {
        /// Row, starting at 0.
        row: usize,
    },
}

/// Centers of up to 12 clusters of the rows, as a baseline: Lloyd's algorithm with k-means++ starts from the seed.
/// Distances are Euclidean, with each feature in units of its standard deviation, so that units do not matter. A center
/// is the mean of its rows, in the original units. Rows with fewer distinct values than clusters give fewer centers.
///
/// # Errors
/// Fails if the number of clusters is not from 1 to 12, there are no rows, or they differ in length or contain values
/// that are not finite.
pub fn kmeans(rows: &[Vec<f64>], clusters: usize, seed: u64) -> Result<Vec<Vec<f64>>, KmeansError> {
    if !(1..=MAX_CLUSTERS).contains(&clusters) {
        return Err(KmeansError::Clusters(clusters));
    }
    let expected = rows.first().ok_or(KmeansError::NoRows)?.len();
    for (place, row) in rows.iter().enumerate() {
        if row.len() != expected {
            let (row, found) = (place, row.len());
            return Err(KmeansError::RowLength { row, found, expected });
        }
        if row.iter().any(|value| !value.is_finite()) {
            return Err(KmeansError::NotFinite { row: place });
        }
    }
    let scales = scales(rows);
    let mut centres = starts(rows, clusters, &scales, &mut Random::new(seed));
    let mut assigned: Vec<usize> = Vec::new();
    for _ in 0..ITERATIONS {
        let nearest: Vec<usize> = rows.iter().map(|row| nearest(row, &centres, &scales).0).collect();
        if nearest == assigned {
            break;
        }
        for (cluster, centre) in centres.iter_mut().enumerate() {
            let members = rows.iter().zip(&nearest).filter(|(_, of)| **of == cluster);
            // A center without rows stays where it is.
            if let Some(mean) = mean(members.map(|(row, _)| row)) {
                *centre = mean;
            }
        }
        assigned = nearest;
    }
    Ok(centres)
}

/// Mean of rows, feature by feature.
fn mean<'a>(rows: impl Iterator<Item = &'a Vec<f64>>) -> Option<Vec<f64>> {
    let mut count = 0.0;
    let mut mean: Option<Vec<f64>> = None;
    for row in rows {
        count += 1.0;
        let mean = mean.get_or_insert_with(|| vec![0.0; row.len()]);
        for (mean, value) in mean.iter_mut().zip(row) {
            // In two steps, because the difference of two doubles can overflow.
            *mean += value / count - *mean / count;
        }
    }
    mean
}

/// Half the standard deviation of each feature; 0 if all values are equal.
fn scales(rows: &[Vec<f64>]) -> Vec<f64> {
    let mean = mean(rows.iter()).unwrap_or_default();
    let count: f64 = rows.iter().map(|_| 1.0).sum();
    let deviation = |(feature, mean): (usize, &f64)| {
        let values = rows.iter().filter_map(|row| row.get(feature));
        // Halves do not overflow, and in units of the largest value, neither do squares.
        let deviations: Vec<f64> = values.map(|value| (value / 2.0 - mean / 2.0).abs()).collect();
        let most = deviations.iter().copied().fold(0.0, f64::max);
        if most <= 0.0 {
            return 0.0;
        }
        let squares: f64 = deviations.iter().map(|value| (value / most).powi(2)).sum();
        most * (squares / count).sqrt()
    };
    mean.iter().enumerate().map(deviation).collect()
}

/// Squared distance of two rows, with each feature in standard deviations.
fn distance(one: &[f64], other: &[f64], scales: &[f64]) -> f64 {
    let pairs = one.iter().zip(other).zip(scales).filter(|(_, scale)| **scale > 0.0);
    pairs
        .map(|((one, other), scale)| ((one / 2.0 - other / 2.0) / scale).powi(2))
        .sum()
}

/// Nearest center, and its distance.
fn nearest(row: &[f64], centres: &[Vec<f64>], scales: &[f64]) -> (usize, f64) {
    let distances = centres.iter().map(|centre| distance(row, centre, scales)).enumerate();
    distances
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
        .unwrap_or((0, 0.0))
}

/// Start rows: the first at random, each next one with a probability proportional to the squared distance from the
/// earlier ones.
fn starts(rows: &[Vec<f64>], clusters: usize, scales: &[f64], random: &mut Random) -> Vec<Vec<f64>> {
    let mut centres: Vec<Vec<f64>> = rows.get(random.below(rows.len())).cloned().into_iter().collect();
    while centres.len() < clusters {
        let distances: Vec<f64> = rows.iter().map(|row| nearest(row, &centres, scales).1).collect();
        let total: f64 = distances.iter().sum();
        let mut at = random.unit() * total;
        let chosen = rows.iter().zip(&distances).filter(|(_, distance)| **distance > 0.0);
        let mut last = None;
        for (row, distance) in chosen {
            last = Some(row);
            at -= distance;
            if at < 0.0 {
                break;
            }
        }
        // If every row is a center, there are no more.
        let Some(row) = last else { break };
        centres.push(row.clone());
    }
    centres
}
