//! Planning: number of requests and hours that a test needs.

use crate::{confidence::ConfidenceSequence, normal_quantile};
use serde::{Deserialize, Serialize};

/// Assumptions about a test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Accepted probability of a false alarm over all looks.
    pub alpha: f64,
    /// Probability of finding the effect.
    pub power: f64,
    /// Smallest difference of the means that matters.
    pub effect: f64,
    /// Known variance of the champion's values. For a proportion: rate · (1 - rate).
    pub variance: f64,
    /// Traffic shares of champion and challenger.
    pub weights: [f64; 2],
    /// Requests per hour to both variants whose outcome becomes known.
    pub requests_per_hour: f64,
}

/// Requirements of a planned test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Information about the difference (1 / its variance) that a test with a single look needs.
    pub information: f64,
    /// Number of requests to both variants that a test with a single look needs.
    pub fixed_requests: f64,
    /// Number of requests to both variants that a test with any number of looks needs for the planned power.
    pub requests: f64,
    /// Hours until that number of requests.
    pub hours: f64,
}

/// Error of an invalid plan.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A probability is not between 0 and 1.
    #[error("`{0}` must be between 0 and 1")]
    Probability(&'static str),
    /// A number is not positive.
    #[error("`{0}` must be a positive number")]
    NotPositive(&'static str),
}

impl Plan {
    /// Validates the numbers of the plan.
    fn check(&self) -> Result<(), PlanError> {
        for (name, value) in [("alpha", self.alpha), ("power", self.power)] {
            if value.is_nan() || value <= 0.0 || value >= 1.0 {
                return Err(PlanError::Probability(name));
            }
        }
        let [champion, challenger] = self.weights;
        for (name, value) in [
            ("effect", self.effect.abs()),
            ("variance", self.variance),
            ("weights", champion.min(challenger)),
            ("requestsPerHour", self.requests_per_hour),
        ] {
            if value.is_nan() || value <= 0.0 || value.is_infinite() {
                return Err(PlanError::NotPositive(name));
            }
        }
        Ok(())
    }

    /// Information that a test with a single look needs: ((z(1 - α/2) + z(power)) / effect)².
    fn information(&self) -> f64 {
        let z = normal_quantile(1.0 - self.alpha / 2.0) + normal_quantile(self.power);
        (z / self.effect).powi(2)
    }

    /// Confidence sequence of the plan, narrowest at the information of a single look.
    ///
    /// # Errors
    /// If a number of the plan is out of range.
    pub fn sequence(&self) -> Result<ConfidenceSequence, PlanError> {
        self.check()?;
        Ok(ConfidenceSequence::new(self.alpha, self.information()))
    }

    /// Estimates the required requests and hours. The challenger's variance is assumed to equal the champion's. With the
    /// planned power, a test with any number of looks has ended when effect · I - z(power) √I reaches the boundary of the
    /// sequence, where I is the information. This is an approximation: a Brownian motion with drift can cross the boundary
    /// slightly earlier.
    ///
    /// # Errors
    /// If a number of the plan is out of range.
    pub fn duration(&self) -> Result<Schedule, PlanError> {
        self.check()?;
        let information = self.information();
        let sequence = ConfidenceSequence::new(self.alpha, information);
        let z = normal_quantile(self.power);
        let crosses = |i: f64| self.effect.abs() * i - z * i.sqrt() >= i * sequence.half_width(i);
        let mut upper = information;
        while !crosses(upper) && upper.is_finite() {
            upper *= 2.0;
        }
        let mut lower = 0.0;
        for _ in 0..80 {
            let middle = f64::midpoint(lower, upper);
            if crosses(middle) {
                upper = middle;
            } else {
                lower = middle;
            }
        }
        // With N requests and weights w + v = 1, the variance of the difference is variance / N · (1/w + 1/v).
        let [champion, challenger] = self.weights;
        let total = champion + challenger;
        let per_information = self.variance * (total / champion + total / challenger);
        let requests = (upper * per_information).ceil();
        Ok(Schedule {
            information,
            fixed_requests: (information * per_information).ceil(),
            requests,
            hours: requests / self.requests_per_hour,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            alpha: 0.05,
            power: 0.8,
            effect: 0.02,
            variance: 0.09,
            weights: [0.5, 0.5],
            requests_per_hour: 1000.0,
        }
    }

    #[test]
    fn single_look_matches_textbook_sample_size() {
        // n of each = 2 (1.959964 + 0.841621)² · 0.09 / 0.02² = 3531.9 (Chow, Shao and Wang, *Sample size calculations*,
        // chapter 4).
        let schedule = plan().duration().unwrap();
        assert!((schedule.fixed_requests - 2.0 * 3532.0).abs() < 3.0, "{schedule:?}");
    }

    #[test]
    fn repeated_looks_and_uneven_splits_need_more_requests() {
        let even = plan().duration().unwrap();
        assert!(
            even.requests > 1.3 * even.fixed_requests && even.requests < 3.0 * even.fixed_requests,
            "{even:?}"
        );
        let uneven = Plan {
            weights: [0.9, 0.1],
            ..plan()
        }
        .duration()
        .unwrap();
        assert!(
            (uneven.requests / even.requests - 1.0 / 0.09 / 4.0).abs() < 0.01,
            "{uneven:?}"
        );
        assert!((uneven.hours - uneven.requests / 1000.0).abs() < 1e-9);
    }

    #[test]
    fn invalid_plans_are_rejected() {
        let error = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.duration().unwrap_err().to_string()
        };
        assert_eq!(error(|plan| plan.alpha = 0.0), "`alpha` must be between 0 and 1");
        assert_eq!(error(|plan| plan.power = f64::NAN), "`power` must be between 0 and 1");
        assert_eq!(error(|plan| plan.effect = 0.0), "`effect` must be a positive number");
        assert_eq!(
            error(|plan| plan.weights = [1.0, 0.0]),
            "`weights` must be a positive number"
        );
        assert_eq!(
            error(|plan| plan.variance = 0.0),
            "`variance` must be a positive number"
        );
    }
}
