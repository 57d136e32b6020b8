//! p-value of the two-sample Kolmogorov-Smirnov test, as `SciPy`'s `ks_2samp` computes it with its default method.
//!
//! Up to 10,000 rows on each side it is exact: Hodges' count of lattice paths (The significance probability of the
//! Smirnov two-sample test, 1958), in Viehmann's form that carries the complement (arXiv 2102.08037). Beyond that, it
//! is the p-value of the one-sample statistic with n m / (n + m) rows, with the choice of methods of Simard and
//! L'Ecuyer (Computing the two-sided Kolmogorov-Smirnov distribution, 2011).

use super::{Rows, real};
use std::f64::consts::{LN_2, PI};

/// Maximum number of rows on each side for an exact p-value.
const EXACT_ROWS: u64 = 10_000;

/// Probability of a statistic at least as large, if sample and baseline come from one continuous distribution. Agrees
/// with `SciPy`'s `ks_2samp(sample, baseline).pvalue`. With repeated values it is an upper bound. NaN for a statistic
/// that is NaN.
pub fn ks_pvalue(statistic: f64, rows: Rows) -> f64 {
    if statistic.is_nan() {
        return f64::NAN;
    }
    let (more, less) = (rows.sample().max(rows.baseline()), rows.sample().min(rows.baseline()));
    let mut statistic = statistic.clamp(0.0, 1.0);
    if more <= EXACT_ROWS {
        let common = greatest_common_divisor(more, less);
        let multiple = more / common * less;
        // The statistic is a multiple of 1 / multiple. Only that of a sketch may be between two multiples.
        let steps = (statistic * real(multiple)).round_ties_even();
        if steps < 0.5 {
            return 1.0;
        }
        if more == less {
            let probability = outside_square(real(more), steps);
            if probability <= 1.0 {
                return probability;
            }
            // Rounding may carry the sum of a probability near 1 beyond 1. SciPy then uses the limit, and so does this
            // function.
            statistic = steps / real(multiple);
        } else {
            return outside_lines(whole(real(more)), whole(real(less)), whole(real(common)), whole(steps));
        }
    }
    let (n, m) = (real(more), real(less));
    one_sample(statistic, (n * m / (n + m)).round_ties_even())
}

fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// A small nonnegative integer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "callers pass integers from 0 to about 10^8"
)]
fn whole(number: f64) -> usize {
    number as usize
}

/// For n rows on both sides, the share of paths that reach a distance of `steps` or more from the diagonal: 2 (C(2n, n
/// - h) - C(2n, n - 2h) + ...) / C(2n, n), nested so that no binomial is computed.
fn outside_square(n: f64, steps: f64) -> f64 {
    let mut share = 0.0;
    let mut reflection = (n / steps).floor();
    while reflection >= 0.0 {
        let away = reflection * steps;
        let mut ratio = 1.0;
        let mut j = 0.0;
        while j < steps {
            ratio = (n - away - j) * ratio / (n + away + j + 1.0);
            j += 1.0;
        }
        share = ratio * (1.0 - share);
        reflection -= 1.0;
    }
    2.0 * share
}

/// Share of paths from (0, 0) to (m, n), with m the larger, that at some point (x, y) have
///
/// |x / m - y / n| >= steps / lcm(m, n).
///
/// The share for the paths to a point is the mean of the shares for its two predecessors, weighted by their
/// coordinates. It is computed antidiagonal by antidiagonal, because the cells of one do not depend on each other.
#[expect(
    clippy::indexing_slicing,
    reason = "the window lies within 0..=m, and the rows are two cells longer"
)]
fn outside_lines(m: usize, n: usize, common: usize, steps: usize) -> f64 {
    let (slope_m, slope_n) = (m / common, n / common);
    let xs: Vec<f64> = std::iter::successors(Some(0.0), |x| Some(x + 1.0))
        .take(m + 1)
        .collect();
    // Cell x is at index x + 1: on each side of the window there is one cell that is certainly outside.
    let mut before = vec![1.0_f64; m + 3];
    let mut after = before.clone();
    before[1] = 0.0;
    let mut sum = 0.0;
    for antidiagonal in 1..=m + n {
        sum += 1.0;
        // Inside are the x with |slope_n x - slope_m (antidiagonal - x)| < steps.
        let centre = slope_m * antidiagonal;
        let low = match centre.checked_sub(steps) {
            Some(outside) => outside / (slope_m + slope_n) + 1,
            None => 0,
        };
        let low = low.max(antidiagonal.saturating_sub(n));
        let high = ((centre + steps).div_ceil(slope_m + slope_n) - 1)
            .min(m)
            .min(antidiagonal);
        if low > high {
            return 1.0;
        }
        let cells = after[low + 1..high + 2].iter_mut().zip(&xs[low..=high]);
        let predecessors = before[low..=high].iter().zip(&before[low + 1..high + 2]);
        for ((cell, x), (from_left, from_below)) in cells.zip(predecessors) {
            *cell = (from_left * x + from_below * (sum - x)) / sum;
        }
        after[low] = 1.0;
        after[high + 2] = 1.0;
        std::mem::swap(&mut before, &mut after);
    }
    before[m + 1].clamp(0.0, 1.0)
}

/// Pr(D >= x) of the two-sided one-sample statistic of n rows. n is an integer of at least 1.
fn one_sample(x: f64, n: f64) -> f64 {
    let t = n * x;
    if x >= 1.0 {
        return 0.0;
    }
    if t <= 0.5 {
        return 1.0;
    }
    let probability = if t <= 1.0 {
        // Ruben and Gambino: the cumulative distribution is n! / n^n (2t - 1)^n.
        1.0 - (log_factorial_share(n) + n * (2.0 * t - 1.0).ln()).exp()
    } else if t >= n - 1.0 {
        2.0 * (n * (-x).ln_1p()).exp()
    } else if t * x >= 370.0 {
        0.0
    } else if x >= 0.5 || t * x > if n <= 140.0 { 4.0 } else { 2.2 } {
        // At most one of the two one-sided events happens, except for a share below rounding.
        2.0 * one_sided(x, n)
    } else if n <= 140.0 || (n <= 100_000.0 && t * x.sqrt() <= 1.4) {
        1.0 - durbin(x, n)
    } else {
        1.0 - pelz_good(x, n)
    };
    probability.clamp(0.0, 1.0)
}

/// ln(n! / n^n).
fn log_factorial_share(n: f64) -> f64 {
    if n <= 140.0 {
        let mut sum = 0.0;
        let mut i = 1.0;
        while i <= n {
            sum += (i / n).ln();
            i += 1.0;
        }
        sum
    } else {
        (2.0 * PI * n).ln() / 2.0 - n + stirling_rest(n)
    }
}

/// ln(n!) minus Stirling's (n + 1/2) ln n - n + ln(2 pi) / 2.
fn stirling_rest(n: f64) -> f64 {
    if n < 16.0 {
        let mut factorial = 1.0;
        let mut i = 2.0;
        while i <= n {
            factorial *= i;
            i += 1.0;
        }
        return f64::ln(factorial) - (n + 0.5) * n.ln() + n - (2.0 * PI).ln() / 2.0;
    }
    let square = n * n;
    let rest = 1.0 / 1680.0 - 1.0 / (1188.0 * square);
    let rest = 1.0 / 1260.0 - rest / square;
    let rest = 1.0 / 360.0 - rest / square;
    (1.0 / 12.0 - rest / square) / n
}

/// Pr(D+ >= x) of the one-sided one-sample statistic of n rows, by Birnbaum and Tingey's sum over v of x C(n, v) (1 - x
/// - v/n)^(n - v) (x + v/n)^(v - 1). Beyond a million rows by its limit, as in `SciPy`'s `smirnov`.
///
/// Each term is computed as a binomial probability at its own mean, times the correction for x, so that no large
/// logarithms cancel.
fn one_sided(x: f64, n: f64) -> f64 {
    let t = n * x;
    if n > 1e6 {
        return (-(6.0 * t + 1.0).powi(2) / (18.0 * n)).exp();
    }
    let mut sum = (n * (-x).ln_1p()).exp();
    let of_n = stirling_rest(n);
    let mut largest = 0.0_f64;
    let mut v = 1.0;
    while n - v - t > 0.0 {
        let left = n - v;
        let stirling = of_n - stirling_rest(v) - stirling_rest(left);
        let moved = left * (-t / left).ln_1p() + v * (t / v).ln_1p();
        let term = x / (x + v / n) * (stirling + moved).exp() * (n / (2.0 * PI * v * left)).sqrt();
        sum += term;
        largest = largest.max(term);
        // The terms have one maximum.
        if term < largest && term * left < sum * 1e-18 {
            break;
        }
        v += 1.0;
    }
    sum
}

/// Pr(D < x) of the two-sided one-sample statistic of n rows: Durbin's matrix to the n-th power, as in Marsaglia,
/// Tsang, and Wang (Evaluating Kolmogorov's distribution, 2003).
fn durbin(x: f64, n: f64) -> f64 {
    let k = (n * x).ceil();
    let rest = k - n * x;
    let middle = whole(k) - 1;
    let matrix = Scaled::durbin(rest, 2 * middle + 1);
    let power = matrix.power(whole(n));
    let Some(entry) = power.rows.get(middle).and_then(|row| row.get(middle)) else {
        return 0.0;
    };
    // Times n! / n^n. Neither factor fits a double, but the product does.
    let exponent = f64::from(power.exponent) * LN_2 + log_factorial_share(n);
    (entry.ln() + exponent).exp()
}

/// A square matrix times 2^exponent.
#[derive(Clone)]
struct Scaled {
    rows: Vec<Vec<f64>>,
    exponent: i32,
}

impl Scaled {
    /// Durbin's matrix of size m = 2k - 1 for a statistic of k - rest steps of 1/n.
    #[expect(
        clippy::indexing_slicing,
        reason = "all indices are below the size, which is at least 1"
    )]
    fn durbin(rest: f64, size: usize) -> Self {
        let mut inverse_factorials = Vec::with_capacity(size + 1);
        let mut inverse = 1.0;
        let mut j = 0.0;
        for _ in 0..=size {
            inverse_factorials.push(inverse);
            j += 1.0;
            inverse /= j;
        }
        let mut rows = vec![vec![0.0; size]; size];
        let mut power = 1.0;
        for i in 0..size {
            for j in 0..size.min(i + 2) {
                rows[i][j] = inverse_factorials[i + 1 - j];
            }
            power *= rest;
            rows[i][0] -= power * inverse_factorials[i + 1];
        }
        // The last row is the first column reversed.
        for i in 0..size {
            rows[size - 1][size - 1 - i] = rows[i][0];
        }
        // The corner loses rest^m twice and gains (2 rest - 1)^m if that is positive.
        let mut corner = 1.0 - 2.0 * power;
        if rest > 0.5 {
            let mut gained = 1.0;
            for _ in 0..size {
                gained *= 2.0 * rest - 1.0;
            }
            corner += gained;
        }
        rows[size - 1][0] = corner * inverse_factorials[size];
        Self { rows, exponent: 0 }
    }

    fn times(&self, other: &Self) -> Self {
        let mut rows = vec![vec![0.0; self.rows.len()]; self.rows.len()];
        for (row, left) in rows.iter_mut().zip(&self.rows) {
            for (factor, right) in left.iter().zip(&other.rows) {
                for (entry, value) in row.iter_mut().zip(right) {
                    *entry += factor * value;
                }
            }
        }
        let mut exponent = self.exponent + other.exponent;
        let largest = rows
            .iter()
            .flatten()
            .fold(0.0, |most: f64, entry| most.max(entry.abs()));
        if largest > 2.0_f64.powi(128) {
            rows.iter_mut().flatten().for_each(|entry| *entry *= 2.0_f64.powi(-128));
            exponent += 128;
        }
        Self { rows, exponent }
    }

    /// The matrix to a power of at least 1.
    fn power(&self, mut power: usize) -> Self {
        let mut square = self.clone();
        let mut result: Option<Self> = None;
        while power > 0 {
            if power % 2 == 1 {
                result = Some(result.map_or_else(|| square.clone(), |result| result.times(&square)));
            }
            power /= 2;
            if power > 0 {
                square = square.times(&square);
            }
        }
        result.unwrap_or(square)
    }
}

/// Pr(D < x) of the two-sided one-sample statistic of n rows for large n: Kolmogorov's limit with three corrections by
/// Pelz and Good (Approximating the lower tail-areas of the Kolmogorov-Smirnov one-sample statistic, 1976).
fn pelz_good(x: f64, n: f64) -> f64 {
    let z = n.sqrt() * x;
    let (z2, z4) = (z * z, z.powi(4));
    let (z6, z8) = (z2 * z4, z4 * z4);
    let (mut first, mut second, mut third, mut fourth) = (0.0, 0.0, 0.0, 0.0);
    let mut k = 0.0;
    // z is below 1.5 here, so twenty terms are more than enough.
    while k < 20.0 {
        // The terms of k and of -1 - k are equal.
        let odd = (PI * (k + 0.5)).powi(2);
        let decay = 2.0 * (-odd / (2.0 * z2)).exp();
        first += decay;
        second += (odd - z2) * decay;
        third += (6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * odd + (1.0 - 2.0 * z2) * odd * odd) * decay;
        fourth +=
            ((5.0 - 30.0 * z2) * odd.powi(3) + (212.0 * z4 - 60.0 * z2) * odd * odd + (135.0 * z4 - 96.0 * z6) * odd
                - 30.0 * z6
                - 90.0 * z8)
                * decay;
        // The terms of k and of -k are equal.
        let even = (PI * k).powi(2);
        let decay = 2.0 * (-even / (2.0 * z2)).exp();
        third -= 2.0 * z4 * even * decay;
        fourth += 30.0 * z4 * (3.0 * even * z2 - even * even) * decay;
        k += 1.0;
    }
    let corrections =
        second / (6.0 * z4 * n.sqrt()) + third / (72.0 * z6 * z * n) + fourth / (6480.0 * z8 * z2 * n * n.sqrt());
    (PI / 2.0).sqrt() * (first / z + corrections)
}
