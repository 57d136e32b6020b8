//! Weighted least squares fit.

use super::coalitions::Coalition;

/// Fit of a linear function of membership to the values of coalitions. Only the values differ between labels.
///
/// The constraint on the sum eliminates the last feature: a coalition's row is its membership minus that of the last
/// feature, in -1, 0, 1, and the sum is subtracted from the values of coalitions with the last feature. A Cholesky
/// decomposition solves the normal equations of the other features. It needs neither pivots nor a ridge: each feature
/// alone is always among the coalitions, so that the matrix exceeds that weight times the identity.
pub(super) struct Fit<'a> {
    coalitions: &'a [(Coalition, f64)],
    /// Lower triangle of the decomposition, with one row for each feature except the last.
    factor: Vec<Vec<f64>>,
    /// Number of features except the last; `None` if there is no feature.
    free: Option<usize>,
}

impl<'a> Fit<'a> {
    /// Prepares the fit for weighted coalitions of this number of features.
    pub(super) fn new(coalitions: &'a [(Coalition, f64)], features: usize) -> Self {
        let free = features.checked_sub(1);
        let mut matrix: Vec<Vec<f64>> = (1..=free.unwrap_or(0)).map(|length| vec![0.0; length]).collect();
        for (coalition, weight) in coalitions {
            let row = differences(coalition);
            for (entry, line) in row.iter().zip(&mut matrix) {
                // Many are 0.
                if entry.abs() > 0.5 {
                    for (cell, other) in line.iter_mut().zip(&row) {
                        *cell += weight * entry * other;
                    }
                }
            }
        }
        let factor = cholesky(matrix);
        Self {
            coalitions,
            factor,
            free,
        }
    }

    /// Values of the features that best fit the gains of the coalitions over the mean prediction, with the sum `total`.
    pub(super) fn values(&self, gains: &[f64], total: f64) -> Vec<f64> {
        let Some(free) = self.free else {
            return Vec::new();
        };
        let mut right = vec![0.0; free];
        for ((coalition, weight), gain) in self.coalitions.iter().zip(gains) {
            let gain = if coalition.has(free) { gain - total } else { *gain };
            for (target, entry) in right.iter_mut().zip(differences(coalition)) {
                *target += weight * entry * gain;
            }
        }
        let mut values = solve(&self.factor, right);
        let others: f64 = values.iter().sum();
        values.push(total - others);
        values
    }
}

/// Membership of all features except the last, minus that of the last.
fn differences(coalition: &Coalition) -> Vec<f64> {
    let Some((last, others)) = coalition.members().split_last() else {
        return Vec::new();
    };
    let number = |member: &bool| f64::from(u8::from(*member));
    others.iter().map(|member| number(member) - number(last)).collect()
}

/// Cholesky's lower triangle of the lower triangle of a symmetric, positive definite matrix.
#[expect(clippy::indexing_slicing, reason = "row i of a lower triangle has i + 1 entries")]
fn cholesky(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for i in 0..matrix.len() {
        let (above, rest) = matrix.split_at_mut(i);
        let line = &mut rest[0];
        for (j, upper) in above.iter().enumerate() {
            line[j] = (line[j] - product(&line[..j], upper)) / upper[j];
        }
        line[i] = (line[i] - product(&line[..i], &line[..i])).sqrt();
    }
    matrix
}

/// Solves a system with the lower triangle of its matrix: forward, then backward substitution.
#[expect(
    clippy::indexing_slicing,
    reason = "row i of a lower triangle has i + 1 entries, and the vector as many as rows"
)]
fn solve(factor: &[Vec<f64>], mut right: Vec<f64>) -> Vec<f64> {
    for (i, line) in factor.iter().enumerate() {
        right[i] = (right[i] - product(&line[..i], &right)) / line[i];
    }
    for (i, line) in factor.iter().enumerate().rev() {
        right[i] /= line[i];
        let value = right[i];
        for (target, entry) in right.iter_mut().zip(&line[..i]) {
            *target -= entry * value;
        }
    }
    right
}

/// Inner product, up to the length of the shorter one.
fn product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}
