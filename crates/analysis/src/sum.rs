//! Sums of doubles without rounding: the same sum in any order and for any split, rounded once at the end.
//!
//! The sum is a fixed-point number as wide as the range of doubles, in chunks of 32 bits with room for carries (Neal
//! 2015, "Fast exact summation using small and large superaccumulators", the small one).

use serde::{Deserialize, Serialize};

/// Number of 32-bit chunks from 2^-1074 up, with one for carries.
const CHUNKS: usize = 67;
/// Number of values that are added before carries are propagated: each adds less than 2^53 to a chunk.
const ADDS_BEFORE_CARRY: u32 = 1 << 9;

/// Exact sum of finite doubles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactSum {
    chunks: [i64; CHUNKS],
    adds: u32,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self {
            chunks: [0; CHUNKS],
            adds: 0,
        }
    }
}

impl ExactSum {
    /// Adds a finite number; other numbers are ignored.
    pub fn add(&mut self, value: f64) {
        self.add_doubled(value, 0);
    }

    /// Adds a number doubled this number of times, at most 63, even if the result exceeds the range of doubles.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_wrap,
        reason = "an exponent has 11 bits: the chunk is at most 65, and 53 bits fit an i64"
    )]
    fn add_doubled(&mut self, value: f64, times: u32) {
        let bits = value.to_bits();
        let exponent = (bits >> 52) & 0x7ff;
        if exponent == 0x7ff {
            return;
        }
        let fraction = bits & ((1 << 52) - 1);
        // A subnormal number has the exponent of the smallest normal number, without the leading bit.
        let (mantissa, position) = match exponent {
            0 => (fraction, 0),
            _ => (fraction | (1 << 52), exponent - 1),
        };
        let position = position + u64::from(times);
        let (chunk, shift) = ((position >> 5) as usize, position & 31);
        let low = ((mantissa << shift) & 0xffff_ffff) as i64;
        let high = (mantissa >> (32 - shift)) as i64;
        // All ones for a negative number. There is no branch, because the signs of rounding errors are not predictable.
        let sign = bits.cast_signed() >> 63;
        self.chunks[chunk] += (low ^ sign) - sign;
        self.chunks[chunk + 1] += (high ^ sign) - sign;
        self.adds += 1;
        if self.adds == ADDS_BEFORE_CARRY {
            self.carry();
        }
    }

    /// Adds the square of a number. The result is exact unless the square is infinite or subnormal.
    pub fn add_square(&mut self, value: f64) {
        let (square, error) = product(value, value);
        self.add(square);
        self.add(error);
    }

    /// Adds a number this number of times.
    pub fn add_times(&mut self, value: f64, times: u64) {
        let mut left = times;
        while left > 0 {
            self.add_doubled(value, left.trailing_zeros());
            left &= left - 1;
        }
    }

    /// Adds the square of a number this number of times.
    pub fn add_square_times(&mut self, value: f64, times: u64) {
        let (square, error) = product(value, value);
        self.add_times(square, times);
        self.add_times(error, times);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (mine, theirs) in self.chunks.iter_mut().zip(other.chunks) {
            *mine += theirs;
        }
        self.carry();
    }

    /// Propagates carries: afterwards every chunk except the last is between 0 and 2^32.
    fn carry(&mut self) {
        let mut carry = 0;
        for chunk in self.chunks.iter_mut().take(CHUNKS - 1) {
            let sum = *chunk + carry;
            carry = sum >> 32;
            *chunk = sum & 0xffff_ffff;
        }
        if let Some(last) = self.chunks.last_mut() {
            *last += carry;
        }
        self.adds = 0;
    }

    /// Nearest double to the sum.
    pub fn value(&self) -> f64 {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.chunks.last().is_some_and(|last| *last < 0);
        if negative {
            for chunk in &mut sum.chunks {
                *chunk = -*chunk;
            }
            sum.carry();
        }
        let Some(top) = sum.chunks.iter().rposition(|chunk| *chunk != 0) else {
            return 0.0;
        };
        // The four highest chunks, with the lowest bit for any remainder below them, round as the whole number would.
        let mut digits: u128 = 0;
        for at in (0..4).map(|below| top.checked_sub(below)) {
            let chunk = at.and_then(|at| sum.chunks.get(at)).copied().unwrap_or(0);
            digits = (digits << 32) | u128::try_from(chunk).unwrap_or(0);
        }
        let below = sum.chunks.iter().take(top.saturating_sub(3)).any(|chunk| *chunk != 0);
        digits |= u128::from(below);
        // The lowest of the four chunks stands for 2^(32 (top - 3) - 1074).
        let scale = 32 * (i32::try_from(top).unwrap_or(0) - 3) - 1074;
        #[expect(clippy::cast_precision_loss, reason = "the one rounding")]
        let mut value = digits as f64;
        // In steps that are powers of two themselves.
        let mut left = scale;
        while left < -1000 {
            value *= 2f64.powi(-1000);
            left += 1000;
        }
        value *= 2f64.powi(left);
        if negative { -value } else { value }
    }

    /// Sum as two doubles: the nearest, and the nearest to the remainder.
    pub fn value_and_rest(&self) -> (f64, f64) {
        let value = self.value();
        let mut rest = self.clone();
        rest.add(-value);
        (value, rest.value())
    }
}

/// Population standard deviation of `count` values, from their exact sum and the exact sum of their squares.
pub(crate) fn standard_deviation(count: u64, sum: &ExactSum, squares: &ExactSum) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of rows is below 2^53")]
    let n = count as f64;
    // n Σx² - (Σx)² with twice the precision of a double: the cancellation is exact.
    let (sum, sum_rest) = sum.value_and_rest();
    let (squares, squares_rest) = squares.value_and_rest();
    let mut difference = ExactSum::default();
    for (factor, value) in [
        (n, squares),
        (n, squares_rest),
        (-sum, sum),
        (-2.0 * sum, sum_rest),
        (-sum_rest, sum_rest),
    ] {
        let (product, error) = product(factor, value);
        difference.add(product);
        difference.add(error);
    }
    let variance = difference.value() / n / n;
    if variance.is_nan() {
        variance
    } else {
        variance.max(0.0).sqrt()
    }
}

/// Product and its rounding error, by Veltkamp's and Dekker's splitting. There is no fused operation, so that the
/// result is the same on every machine.
fn product(a: f64, b: f64) -> (f64, f64) {
    let split = |x: f64| {
        let shifted = x * 134_217_729.0;
        let high = shifted - (shifted - x);
        (high, x - high)
    };
    let product = a * b;
    let ((ah, al), (bh, bl)) = (split(a), split(b));
    (product, ((ah * bh - product) + ah * bl + al * bh) + al * bl)
}

impl Serialize for ExactSum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sum = self.clone();
        sum.carry();
        let chunks = sum.chunks.iter().enumerate().filter(|(_, chunk)| **chunk != 0);
        serializer.collect_seq(chunks)
    }
}

impl<'de> Deserialize<'de> for ExactSum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sum = Self::default();
        for (at, value) in Vec::<(usize, i64)>::deserialize(deserializer)? {
            match sum.chunks.get_mut(at) {
                // Only what a sum writes is accepted; more could overflow in an addition.
                Some(chunk) if value.unsigned_abs() < 1 << 52 => *chunk = value,
                _ => return Err(serde::de::Error::custom("a chunk of a sum is out of its bounds")),
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        for value in values {
            sum.add(*value);
        }
        sum
    }

    #[test]
    fn cancellation_is_exact() {
        assert_eq!(sum(&[1e300, 1.0, -1e300]).value().to_bits(), 1f64.to_bits());
        assert_eq!(sum(&[0.1; 10]).value().to_bits(), 1f64.to_bits());
        assert_eq!(
            sum(&[f64::MAX, f64::MAX, -f64::MAX]).value().to_bits(),
            f64::MAX.to_bits()
        );
        assert_eq!(sum(&[5e-324, 5e-324]).value().to_bits(), 1e-323_f64.to_bits());
        assert_eq!(sum(&[]).value().to_bits(), 0f64.to_bits());
        assert_eq!(sum(&[-2.5, 1.0]).value().to_bits(), (-1.5f64).to_bits());
    }

    #[test]
    fn sums_beyond_double_range_are_kept() {
        let mut of_three = ExactSum::default();
        of_three.add_times(f64::MAX, 3);
        assert!(of_three.value().is_infinite(), "{}", of_three.value());
        of_three.add_times(-f64::MAX, 2);
        assert_eq!(of_three.value().to_bits(), f64::MAX.to_bits());
        let mut most = ExactSum::default();
        most.add_times(-f64::MAX, u64::MAX);
        assert!(most.value() < -f64::MAX, "{}", most.value());
        most.add_times(f64::MAX, u64::MAX - 1);
        assert_eq!(most.value().to_bits(), (-f64::MAX).to_bits());
        let mut small = ExactSum::default();
        small.add_times(5e-324, 1 << 60);
        assert_eq!(small.value().to_bits(), (5e-324 * 2f64.powi(60)).to_bits());
    }

    #[test]
    fn standard_deviation_survives_cancellation() {
        let (mut sum, mut squares) = (ExactSum::default(), ExactSum::default());
        for value in [1e9, 1e9 + 1.0, 1e9 + 2.0] {
            sum.add(value);
            squares.add_square(value);
        }
        assert!((standard_deviation(3, &sum, &squares) - (2f64 / 3.0).sqrt()).abs() < 1e-15);
        let (mut sum, mut squares) = (ExactSum::default(), ExactSum::default());
        sum.add_times(0.1, 1_000_000);
        squares.add_square_times(0.1, 1_000_000);
        assert!(standard_deviation(1_000_000, &sum, &squares).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn sum_ignores_order_and_split(
            values in prop::collection::vec(prop_oneof![-1e6..1e6, any::<f64>().prop_filter("finite", |v| v.is_finite())], 0..2000),
            at in 0usize..2000,
        ) {
            let whole = sum(&values);
            let (left, right) = values.split_at(at.min(values.len()));
            let mut merged = sum(right);
            merged.merge(&sum(left));
            prop_assert_eq!(whole.value().to_bits(), merged.value().to_bits());
            let written = serde_json::to_string(&merged).unwrap();
            let read: ExactSum = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read.value().to_bits(), whole.value().to_bits());
        }

        #[test]
        fn small_sums_equal_integer_sums(values in prop::collection::vec(-1_000_000i32..1_000_000, 0..500)) {
            let expected: i64 = values.iter().map(|value| i64::from(*value)).sum();
            let found = sum(&values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let expected = expected as f64;
            prop_assert_eq!(found.value().to_bits(), (expected + 0.0).to_bits());
        }
    }
}
