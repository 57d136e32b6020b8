//! Coalitions that the model predicts, and their weights.

use crate::random::Random;
use std::collections::{HashMap, hash_map::Entry};

/// A set of features, by index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Coalition(Vec<bool>);

impl Coalition {
    pub(super) fn none(features: usize) -> Self {
        Self(vec![false; features])
    }

    fn from_members(features: usize, members: &[usize]) -> Self {
        let mut coalition = Self::none(features);
        for member in members {
            if let Some(place) = coalition.0.get_mut(*member) {
                *place = true;
            }
        }
        coalition
    }

    pub(super) fn has(&self, feature: usize) -> bool {
        self.0.get(feature).copied().unwrap_or(false)
    }

    pub(super) fn members(&self) -> &[bool] {
        &self.0
    }

    fn complement(&self) -> Self {
        Self(self.0.iter().map(|member| !member).collect())
    }
}

/// Number of coalitions except the empty and the full one: 2^features - 2, or the maximum that fits.
pub(super) fn count(features: usize) -> usize {
    let shift = u32::try_from(features).unwrap_or(u32::MAX);
    1_usize.checked_shl(shift).unwrap_or(usize::MAX).saturating_sub(2)
}

/// Coalitions to predict, with weights.
///
/// All of them, if there are not more than `samples`. Otherwise: first complete sizes from both ends (small coalitions
/// and their complements), as long as the samples that a size gets by its weight are enough, and always each feature
/// alone. Then sizes are sampled by weight, and members at random, always together with the complement, until the
/// samples are used up. A coalition that is sampled several times gets a multiple of the weight. All sampled coalitions
/// together have the weight of the sizes that are not complete. A single sample can remain unused.
pub(super) fn draw(features: usize, samples: usize, seed: u64) -> Vec<(Coalition, f64)> {
    if features < 2 {
        return Vec::new();
    }
    let all = samples >= count(features);
    let sizes = sizes(features);
    let mut drawn = Vec::with_capacity(samples);
    let mut left = samples;
    let mut next = 0;
    let mut remaining: f64 = sizes.iter().map(|size| size.weight).sum();
    while let Some(size) = sizes.get(next) {
        let whole = size.coalitions.filter(|coalitions| {
            // Both are small compared with 2^53.
            let fair = real(left) * (size.weight / remaining) >= real(*coalitions) * (1.0 - 1e-8);
            *coalitions <= left && (all || next == 0 || fair)
        });
        let Some(coalitions) = whole else { break };
        let weight = size.weight / real(coalitions);
        each_of_size(features, size.members, |coalition| {
            if size.paired {
                drawn.push((coalition.complement(), weight));
            }
            drawn.push((coalition, weight));
        });
        left -= coalitions;
        remaining -= size.weight;
        next += 1;
    }
    let open = sizes.get(next..).unwrap_or_default();
    let fixed = drawn.len();
    let remaining: f64 = open.iter().map(|size| size.weight).sum();
    let mut random = Random::new(seed);
    let mut places: HashMap<Coalition, usize> = HashMap::new();
    let mut attempts = 0;
    // If few coalitions are left that were not sampled yet, most attempts give none.
    while left >= 2 && !open.is_empty() && attempts < 4 * samples {
        attempts += 1;
        let mut at = random.unit() * remaining;
        let size = open.iter().find(|size| {
            at -= size.weight;
            at < 0.0
        });
        let Some(size) = size.or(open.last()) else { break };
        let coalition = Coalition::from_members(features, &some(features, size.members, &mut random));
        for coalition in [coalition.complement(), coalition] {
            match places.entry(coalition) {
                Entry::Occupied(place) => {
                    if let Some((_, weight)) = drawn.get_mut(*place.get()) {
                        *weight += 1.0;
                    }
                }
                Entry::Vacant(place) => {
                    drawn.push((place.key().clone(), 1.0));
                    place.insert(drawn.len() - 1);
                    left -= 1;
                }
            }
        }
    }
    let random_part = drawn.get_mut(fixed..).unwrap_or_default();
    let total: f64 = random_part.iter().map(|(_, weight)| *weight).sum();
    for (_, weight) in random_part {
        *weight *= remaining / total;
    }
    drawn
}

/// Coalitions of a size, together with their complements.
struct Size {
    /// Number of members: at most half of all features.
    members: usize,
    /// Whether the complements have another size.
    paired: bool,
    /// Number of coalitions including complements; `None` if there are more than the maximum.
    coalitions: Option<usize>,
    /// Their total weight.
    weight: f64,
}

fn sizes(features: usize) -> Vec<Size> {
    let mut sizes: Vec<Size> = (1..=features / 2)
        .map(|members| {
            let paired = 2 * members != features;
            let weight = real(features - 1) / (real(members) * real(features - members));
            Size {
                members,
                paired,
                coalitions: binomial(features, members).map(|count| if paired { 2 * count } else { count }),
                weight: if paired { 2.0 * weight } else { weight },
            }
        })
        .collect();
    let total: f64 = sizes.iter().map(|size| size.weight).sum();
    for size in &mut sizes {
        size.weight /= total;
    }
    sizes
}

/// C(n, k), if it is at most 2^32.
fn binomial(n: usize, k: usize) -> Option<usize> {
    let mut value = 1_u64;
    for i in 0..k {
        value = value * u64::try_from(n - i).ok()? / u64::try_from(i + 1).ok()?;
        if value > 1 << 32 {
            return None;
        }
    }
    usize::try_from(value).ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of features and coalitions are small against 2^53"
)]
fn real(count: usize) -> f64 {
    count as f64
}

/// Visits each coalition of a size, in lexical order.
fn each_of_size(features: usize, size: usize, mut visit: impl FnMut(Coalition)) {
    let mut members: Vec<usize> = (0..size).collect();
    loop {
        visit(Coalition::from_members(features, &members));
        // The last member that can move up does, and those after it follow directly.
        let movable = |(place, member): &(usize, &usize)| **member < features - size + place;
        let Some((place, member)) = members.iter().enumerate().rev().find(movable) else {
            return;
        };
        let first = member + 1;
        for (member, value) in members.iter_mut().skip(place).zip(first..) {
            *member = value;
        }
    }
}

/// Random subset of the features, uniform (Floyd's algorithm).
fn some(features: usize, size: usize, random: &mut Random) -> Vec<usize> {
    let mut members = Vec::with_capacity(size);
    for last in features - size..features {
        let member = random.below(last + 1);
        members.push(if members.contains(&member) { last } else { member });
    }
    members
}

#[cfg(test)]
mod tests {
    use super::{count, draw};
    use std::collections::BTreeSet;

    #[test]
    fn all_coalitions_are_used_if_they_fit() {
        for features in 2..9 {
            let drawn = draw(features, count(features), 0);
            let distinct: BTreeSet<&[bool]> = drawn.iter().map(|(coalition, _)| coalition.members()).collect();
            assert_eq!((drawn.len(), distinct.len()), (count(features), count(features)));
            let total: f64 = drawn.iter().map(|(_, weight)| weight).sum();
            assert!((total - 1.0).abs() < 1e-12);
            // The weights equal the kernel's, except for a common factor.
            let kernel = |size: usize| {
                let of_size = drawn
                    .iter()
                    .find(|(coalition, _)| coalition.members().iter().filter(|m| **m).count() == size);
                of_size.unwrap().1
            };
            for size in 1..features {
                let exact = |size: usize| {
                    let binomial = super::binomial(features, size).unwrap();
                    1.0 / super::real(binomial * size * (features - size))
                };
                assert!((kernel(size) / kernel(1) - exact(size) / exact(1)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn sampled_coalitions_are_paired_and_bounded() {
        for (features, samples) in [(8, 16), (8, 101), (12, 300), (20, 2_088), (100, 200), (300, 2_648)] {
            let drawn = draw(features, samples, 5);
            assert!(
                drawn.len() <= samples && drawn.len() >= samples.min(2 * features),
                "{}",
                drawn.len()
            );
            let distinct: BTreeSet<&[bool]> = drawn.iter().map(|(coalition, _)| coalition.members()).collect();
            assert_eq!(drawn.len(), distinct.len());
            for (coalition, _) in &drawn {
                assert!(distinct.contains(coalition.complement().members()));
            }
            for feature in 0..features {
                assert!(drawn.iter().any(|(coalition, _)| {
                    coalition.has(feature) && coalition.members().iter().filter(|member| **member).count() == 1
                }));
            }
            if samples > 2 * features {
                let total: f64 = drawn.iter().map(|(_, weight)| weight).sum();
                assert!((total - 1.0).abs() < 1e-9, "{total}");
            }
            assert!(drawn.iter().all(|(_, weight)| *weight > 0.0));
        }
    }

    #[test]
    fn same_seed_gives_same_coalitions() {
        assert_eq!(draw(30, 500, 1), draw(30, 500, 1));
        assert_ne!(draw(30, 500, 1), draw(30, 500, 2));
    }
}
