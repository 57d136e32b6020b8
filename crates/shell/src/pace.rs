//! Pacing of requests to an API whose rate limit all programs of an account share, such as SageMaker's `List…` and `Describe…`.

use jiff::Timestamp;
use machine::{AwsError, Clock, Kind};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Lowest rate, in requests per second.
const MIN_RATE: f64 = 0.5;
/// Increase of the rate per second without throttling, in requests per second.
const RECOVERY: f64 = 0.02;
/// Maximum number of requests that may follow each other without a pause.
const BURST: f64 = 2.0;
/// Maximum number of attempts of a request.
const MAX_ATTEMPTS: u32 = 6;

/// A token bucket whose rate is halved when a request is throttled, and rises slowly to its maximum. Other programs of the account
/// keep their share of the limit.
#[derive(Debug)]
pub struct TokenBucket {
    max_rate: f64,
    state: Mutex<BucketState>,
}

#[derive(Debug)]
struct BucketState {
    /// Requests per second.
    rate: f64,
    /// Available tokens. Negative if requests are waiting.
    tokens: f64,
    updated_at: Option<Timestamp>,
    halved_at: Option<Timestamp>,
}

impl TokenBucket {
    /// A bucket that lets through at most `max_rate` requests per second.
    pub fn new(max_rate: f64) -> Self {
        Self {
            max_rate,
            state: Mutex::new(BucketState {
                rate: max_rate,
                tokens: BURST,
                updated_at: None,
                halved_at: None,
            }),
        }
    }

    /// Current rate, in requests per second.
    pub fn rate(&self) -> f64 {
        self.state().rate
    }

    /// Continues with the rate of an earlier process.
    pub fn set_rate(&self, rate: f64) {
        if rate.is_finite() {
            self.state().rate = rate.clamp(MIN_RATE, self.max_rate);
        }
    }

    /// Sends a request when it is its turn. A transient failure halves the rate, and the request is repeated after a pause.
    ///
    /// # Errors
    /// If the request fails for another reason, or at each attempt.
    pub async fn send<T>(
        &self,
        clock: &impl Clock,
        request: impl AsyncFn() -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let mut attempt = 0;
        loop {
            let wait = self.reserve(clock.now());
            if !wait.is_zero() {
                clock.sleep(wait).await;
            }
            attempt += 1;
            match request().await {
                Err(error) if error.kind == Kind::Transient && attempt < MAX_ATTEMPTS => {
                    self.halve(clock.now());
                    clock.sleep(Duration::from_secs(1 << (attempt - 1))).await;
                }
                result => return result,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, BucketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a token. Returns the time until it is available.
    fn reserve(&self, now: Timestamp) -> Duration {
        let mut state = self.state();
        let elapsed = state
            .updated_at
            .map_or(0.0, |updated| now.duration_since(updated).as_secs_f64().max(0.0));
        state.updated_at = state.updated_at.max(Some(now));
        state.tokens = (state.tokens + elapsed * state.rate).min(BURST) - 1.0;
        state.rate = (state.rate + elapsed * RECOVERY).min(self.max_rate);
        let wait = (-state.tokens / state.rate).max(0.0);
        Duration::try_from_secs_f64(wait).unwrap_or_default()
    }

    /// Halves the rate, at most once per second: requests in progress at the same time are throttled together.
    fn halve(&self, now: Timestamp) {
        let mut state = self.state();
        let recent = |halved: Timestamp| now.duration_since(halved).as_secs_f64() < 1.0;
        if !state.halved_at.is_some_and(recent) {
            state.rate = (state.rate / 2.0).max(MIN_RATE);
            state.tokens = state.tokens.min(0.0);
            state.halved_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use jiff::SignedDuration;

    fn clock() -> Memory {
        Memory::at("2026-11-23T03:00:00Z".parse().unwrap())
    }

    fn throttled() -> AwsError {
        AwsError {
            operation: "sagemaker:ListMonitoringExecutions",
            resource: "*".into(),
            kind: Kind::Transient,
            message: "Rate exceeded".into(),
        }
    }

    #[tokio::test]
    async fn requests_keep_rate() {
        let (clock, bucket) = (clock(), TokenBucket::new(4.0));
        let start = clock.time();
        for _ in 0..42 {
            bucket.send(&clock, async || Ok(())).await.unwrap();
        }
        let took = clock.time().duration_since(start).as_secs_f64();
        assert!((9.0..11.0).contains(&took), "{took}");
    }

    #[tokio::test]
    async fn rate_halves_and_recovers_slowly() {
        let (clock, bucket) = (clock(), TokenBucket::new(8.0));
        let failures = std::cell::Cell::new(2);
        let request = async || {
            failures.set(failures.get() - 1);
            if failures.get() >= 0 { Err(throttled()) } else { Ok(()) }
        };
        bucket.send(&clock, request).await.unwrap();
        assert!(bucket.rate() < 2.2, "{}", bucket.rate());
        clock.pass(SignedDuration::from_secs(60));
        bucket.send(&clock, async || Ok(())).await.unwrap();
        assert!((3.0..3.6).contains(&bucket.rate()), "{}", bucket.rate());
        clock.pass(SignedDuration::from_hours(1));
        bucket.send(&clock, async || Ok(())).await.unwrap();
        assert!((bucket.rate() - 8.0).abs() < 1e-9, "{}", bucket.rate());
    }

    #[tokio::test]
    async fn lasting_failures_and_rejections_are_errors() {
        let (clock, bucket) = (clock(), TokenBucket::new(8.0));
        let sent = std::cell::Cell::new(0);
        let fail = |kind| {
            let sent = &sent;
            async move || {
                sent.set(sent.get() + 1);
                Err::<(), _>(AwsError { kind, ..throttled() })
            }
        };
        bucket.send(&clock, fail(Kind::Transient)).await.unwrap_err();
        assert_eq!(sent.replace(0), 6);
        assert!(bucket.rate() >= MIN_RATE);
        bucket.send(&clock, fail(Kind::Denied)).await.unwrap_err();
        assert_eq!(sent.get(), 1);
        bucket.set_rate(f64::NAN);
        bucket.set_rate(100.0);
        assert!((bucket.rate() - 8.0).abs() < 1e-9);
    }
}
