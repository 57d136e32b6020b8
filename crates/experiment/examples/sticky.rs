//! Sticky assignment with Thompson sampling: `cargo run -p driftwarden-experiment --example sticky`.
//!
//! Each hour, Thompson sampling computes the shares from the outcomes so far. The key of a user determines the variant, whose
//! name is passed as `TargetVariant` of `InvokeEndpoint`. When the challenger grows, users move to it, and few move back.

use experiment::{Allocation, Sample};
use std::io::{self, Write as _};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const USERS: usize = 10_000;
/// True accuracy of the variants in percent, which the test does not know.
const RATES: [(&str, u64); 2] = [("challenger", 86), ("champion", 83)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    let mut samples = [Sample::default(); 2];
    let mut before = vec![String::new(); USERS];
    writeln!(
        out,
        "hour  challenger share  accuracy: challenger  champion  users that moved"
    )?;
    for hour in 1..=12 {
        let shares = Allocation::thompson(&samples, 0.05);
        let weights: Vec<(&str, f64)> = RATES.iter().map(|(name, _)| *name).zip(shares).collect();
        // The same seed and order as in the previous hour keep users on their variant.
        let allocation = Allocation::new(&weights, 7)?;
        let mut moved = 0;
        for (user, before) in before.iter_mut().enumerate() {
            let variant = allocation.variant(&format!("user-{user}"));
            moved += u32::from(hour > 1 && variant != before.as_str());
            variant.clone_into(before);
            // One user in 20 sends a request in this hour.
            let chance = xxh3_64_with_seed(format!("{user}/{hour}").as_bytes(), 1);
            for ((name, rate), sample) in RATES.iter().zip(&mut samples) {
                if variant == *name && chance.is_multiple_of(20) {
                    sample.add(f64::from(u8::from(chance / 20 % 100 < *rate)));
                }
            }
        }
        let share = weights.first().map_or(0.0, |(_, share)| 100.0 * share);
        let [challenger, champion] = samples.map(|sample| 100.0 * sample.mean());
        writeln!(
            out,
            "{hour:4}  {share:15.1}%  {challenger:19.1}%  {champion:7.1}%  {moved:16}"
        )?;
    }
    Ok(())
}
