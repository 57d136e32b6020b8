//! Writes a synthetic history as JSON Lines to standard output:
//! `cargo run --release -p driftwarden-backtest --example history [YEARS [MODELS]]`.
//!
//! Executions are hourly. Default: 3 years of 20 models. Each model drifts at random times, for hours or days. Between
//! these times, some executions have violations by chance, fail, or have no data.

use jiff::{SignedDuration, Timestamp};
use std::io::{self, BufWriter, Write as _};

/// Random number generator with a fixed seed, so that the history is always the same (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<i64>().unwrap_or(1));
    let (years, models) = (numbers.next().unwrap_or(3), numbers.next().unwrap_or(20));
    let begin: Timestamp = "2023-11-23T00:00:00Z".parse().map_err(io::Error::other)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for model in 1..=models {
        let mut random = Random(0x2026_1123 + u64::try_from(model).unwrap_or_default());
        // Models differ in the frequency of drift and of violations by chance.
        let (apart, noise) = (300 + random.below(2500), 20 + random.below(200));
        let mut drifts: i64 = 0;
        for hour in 0..years * 365 * 24 {
            let time = begin
                .saturating_add(SignedDuration::from_hours(hour))
                .unwrap_or(Timestamp::MAX);
            drifts -= 1;
            if drifts <= 0 && random.below(apart) == 0 {
                drifts = i64::try_from(4 + random.below(10) * random.below(12)).unwrap_or_default();
            }
            let state = match random.below(400) {
                0 => "Failed",
                1 => "NoData",
                // Not every execution during drift has violations.
                _ if drifts > 0 && random.below(10) > 0 => "Violations",
                _ if random.below(noise) == 0 => "Violations",
                _ => "Clean",
            };
            writeln!(
                out,
                r#"{{"schedule":"model-{model:02}-data-quality","endpoint":"model-{model:02}","scheduled_time":"{time}","state":"{state}"}}"#
            )?;
        }
    }
    out.flush()
}
