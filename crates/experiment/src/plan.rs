//! Before the start: how many requests a test will need, and how long that takes.

use crate::{confidence::ConfidenceSequence, normal_quantile};
use serde::{Deserialize, Serialize};

/// What is planned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The probability of a false alarm that is accepted, over all looks together.
    pub alpha: f64,
    /// The probability with which an effect is to be found.
    pub power: f64,
    /// The smallest difference of the means worth finding.
    pub effect: f64,
    /// The variance of the champion's values, as known from before: rate · (1 - rate) of a proportion.
    pub variance: f64,
    /// The champion's share of the traffic, and the challenger's.
    pub weights: [f64; 2],
    /// How many requests an hour both get together whose outcome is known.
    pub requests_per_hour: f64,
}

/// What a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// So much must be known of the difference (1 / its variance) for a test with a single look.
    pub information: f64,
    /// So many requests that single look needs, of all variants.
    pub fixed_requests: f64,
    /// So many a test needs that is looked at any time, for the planned power.
    pub requests: f64,
    /// That in hours.
    pub hours: f64,
}

/// Why a plan cannot be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A probability is not between 0 and 1.
    #[error("`{0}` must lie between 0 and 1")]
    Probability(&'static str),
    /// A number is not positive.
    #[error("`{0}` must be a positive number")]
    NotPositive(&'static str),
}

impl Plan {
    /// Checks the plan's numbers.
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

    /// The information that a test with a single look needs: ((z(1 - α/2) + z(power)) / effect)².
    fn information(&self) -> f64 {
        let z = normal_quantile(1.0 - self.alpha / 2.0) + normal_quantile(self.power);
        (z / self.effect).powi(2)
    }

    /// The confidence sequence of the plan, narrowest where a single look would be.
    ///
    /// # Errors
    /// If a number of the plan cannot be.
    pub fn sequence(&self) -> Result<ConfidenceSequence, PlanError> {
        self.check()?;
        Ok(ConfidenceSequence::new(self.alpha, self.information()))
    }

    /// How long it takes. The challenger is taken to vary as the champion does. With the planned power the test that is looked at
    /// any time is over when effect · I - z(power) √I reaches the boundary of the sequence, I being the information: an
    /// approximation, since a drifting Brownian motion may cross a little earlier.
    ///
    /// # Errors
    /// If a number of the plan cannot be.
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
        // The variance of the difference of N requests is variance / N · (1/w + 1/v), the weights summing up to 1.
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
    fn a_single_look_needs_what_the_textbook_says() {
        // n of each = 2 (1.959964 + 0.841621)² · 0.09 / 0.02² = 3531.9 (Chow, Shao and Wang, «Sample size calculations», chapter 4).
        let schedule = plan().duration().unwrap();
        assert!((schedule.fixed_requests - 2.0 * 3532.0).abs() < 3.0, "{schedule:?}");
    }

    #[test]
    fn looking_at_any_time_costs_and_an_uneven_split_too() {
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
    fn what_cannot_be_planned_is_told() {
        let wrong = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.duration().unwrap_err().to_string()
        };
        assert_eq!(wrong(|plan| plan.alpha = 0.0), "`alpha` must lie between 0 and 1");
        assert_eq!(wrong(|plan| plan.power = f64::NAN), "`power` must lie between 0 and 1");
        assert_eq!(wrong(|plan| plan.effect = 0.0), "`effect` must be a positive number");
        assert_eq!(
            wrong(|plan| plan.weights = [1.0, 0.0]),
            "`weights` must be a positive number"
        );
        assert_eq!(
            wrong(|plan| plan.variance = 0.0),
            "`variance` must be a positive number"
        );
    }
}
