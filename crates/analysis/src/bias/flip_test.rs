//! The flip test: what the model would have said of d's rows, were they of a, guessed from the nearest rows of a.
//!
//! Which of several rows at the same distance count as nearest decides results on columns of small integers. So that
//! they are those that scikit-learn's `KNeighborsClassifier` takes, rows are visited in its order: through a k-d tree of
//! its shape (leaves of 30 to 60 rows, halves by the widest column), and one after the other where it takes no tree.

use super::{Column, MetricError};

/// At most so many pairs of rows are compared: 10^10, a minute or so of work at the worst.
pub const MAX_FLIP_TEST_COMPARISONS: u64 = 10_000_000_000;

/// Neighbours that vote, and with fewer than [`ENOUGH_ROWS`] rows in a.
const NEIGHBOURS: usize = 5;
const FEW_NEIGHBOURS: usize = 1;
const ENOUGH_ROWS: usize = 10;
/// Rows of a leaf of the tree, at least.
const LEAF_ROWS: usize = 30;
/// With more columns, a tree is of no use.
const MAX_TREE_COLUMNS: usize = 15;

/// The columns that tell rows apart: all but facet, label and prediction. All of them are finite numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Row by row.
    values: Vec<f64>,
    columns: usize,
}

impl Features {
    /// Features of `rows` rows from their columns.
    ///
    /// # Errors
    /// If there are none, one is not of numbers or booleans, is not finite everywhere, or has not `rows` rows.
    pub fn new<'a>(rows: usize, columns: impl IntoIterator<Item = (&'a str, &'a Column)>) -> Result<Self, MetricError> {
        let mut numbers = Vec::new();
        for (name, column) in columns {
            let column_numbers = column
                .numbers()
                .ok_or_else(|| MetricError::NonNumericFeature(name.to_owned()))?;
            if column_numbers.len() != rows {
                return Err(MetricError::Length {
                    name: name.to_owned(),
                    found: column_numbers.len(),
                    expected: rows,
                });
            }
            numbers.push((name, column_numbers));
        }
        if numbers.is_empty() {
            return Err(MetricError::NoFeatures);
        }
        for (name, column) in &numbers {
            if !column.iter().all(|value| value.is_finite()) {
                return Err(MetricError::NotFiniteFeature((*name).to_owned()));
            }
        }
        let columns = numbers.len();
        let mut values = Vec::with_capacity(rows.saturating_mul(columns));
        for row in 0..rows {
            values.extend(numbers.iter().filter_map(|(_, column)| column.get(row)));
        }
        Ok(Self { values, columns })
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }
}

/// The flip test by smclarify's code: of d's rows, those that the model accepts though most of their 5 nearest rows of a
/// are rejected, less those that it rejects though most of theirs are accepted, by the rows of d. With fewer than 10 rows
/// in a, the nearest one alone. The distance is Euclidean, of the columns as they are.
///
/// The developer guide's page has the opposite sign; published results have this one. A published report of 2024 agrees
/// with the nearest neighbour alone even where a has 224 rows: the service may count otherwise than its open code.
///
/// # Errors
/// If d or a is empty, the columns are not of one length, or d times a exceeds [`MAX_FLIP_TEST_COMPARISONS`].
pub fn flip_test(features: &Features, facet: &[bool], predicted: &[bool]) -> Result<f64, MetricError> {
    let length = |name: &str, found| MetricError::Length {
        name: name.to_owned(),
        found,
        expected: facet.len(),
    };
    if predicted.len() != facet.len() {
        return Err(length("predicted", predicted.len()));
    }
    let rows = features.values.len() / features.columns;
    if rows != facet.len() {
        return Err(length("features", rows));
    }
    let disadvantaged = facet.iter().filter(|sensitive| **sensitive).count();
    let advantaged = facet.len() - disadvantaged;
    if disadvantaged == 0 {
        return Err(MetricError::EmptyFacet);
    }
    if advantaged == 0 {
        return Err(MetricError::EmptyComplement);
    }
    let comparisons = u64::try_from(advantaged.saturating_mul(disadvantaged)).unwrap_or(u64::MAX);
    if comparisons > MAX_FLIP_TEST_COMPARISONS {
        return Err(MetricError::TooManyRows {
            advantaged,
            disadvantaged,
        });
    }
    let all = || features.rows().zip(facet).zip(predicted);
    let (points, votes): (Vec<&[f64]>, Vec<bool>) = all()
        .filter(|((_, sensitive), _)| !**sensitive)
        .map(|((row, _), accepted)| (row, *accepted))
        .unzip();
    let neighbours = if advantaged < ENOUGH_ROWS {
        FEW_NEIGHBOURS
    } else {
        NEIGHBOURS
    };
    let index = if features.columns > MAX_TREE_COLUMNS || neighbours >= advantaged / 2 {
        Index::Scan
    } else {
        Index::Tree(Tree::new(&points))
    };
    let mut flips = 0_i64;
    for ((row, sensitive), accepted) in all() {
        if *sensitive {
            let mut nearest = Nearest::new(neighbours);
            match &index {
                Index::Scan => nearest.offer(row, points.iter().copied().enumerate()),
                Index::Tree(tree) => tree.search(0, row, &points, &mut nearest),
            }
            flips += i64::from(*accepted) - i64::from(nearest.accept(&votes));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a dataset has fewer than 2^53 rows")]
    Ok(flips as f64 / disadvantaged as f64)
}

enum Index {
    Scan,
    Tree(Tree),
}

/// The nearest rows so far: a heap by squared distance with the farthest on top. A row no nearer than the top is not
/// taken, so that of equally distant ones the first stay.
struct Nearest {
    heap: Vec<(f64, usize)>,
}

impl Nearest {
    fn new(neighbours: usize) -> Self {
        Self {
            heap: vec![(f64::INFINITY, 0); neighbours],
        }
    }

    fn farthest(&self) -> f64 {
        self.heap.first().map_or(f64::INFINITY, |(distance, _)| *distance)
    }

    fn offer<'a>(&mut self, row: &[f64], points: impl Iterator<Item = (usize, &'a [f64])>) {
        for (at, point) in points {
            let distance = row.iter().zip(point).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
            if distance < self.farthest() {
                self.replace_farthest(distance, at);
            }
        }
    }

    /// Puts a row in the place of the top and lets it sink below what is farther, towards the farther of two; at a tie
    /// the left.
    fn replace_farthest(&mut self, distance: f64, at: usize) {
        let mut hole = 0;
        loop {
            let (left, right) = (2 * hole + 1, 2 * hole + 2);
            let of = |child: usize| self.heap.get(child).copied();
            let farther = match (of(left), of(right)) {
                (Some(l), Some(r)) if r.0 > l.0 => Some((right, r)),
                (Some(l), _) => Some((left, l)),
                (None, _) => None,
            };
            match farther {
                Some((child, entry)) if entry.0 > distance => {
                    if let Some(slot) = self.heap.get_mut(hole) {
                        *slot = entry;
                    }
                    hole = child;
                }
                _ => break,
            }
        }
        if let Some(slot) = self.heap.get_mut(hole) {
            *slot = (distance, at);
        }
    }

    /// Whether most of them are accepted. There is an odd number of them.
    fn accept(&self, votes: &[bool]) -> bool {
        let accepted = |(_, at): &&(f64, usize)| votes.get(*at).copied().unwrap_or_default();
        2 * self.heap.iter().filter(accepted).count() > self.heap.len()
    }
}

/// A node of the tree: which stretch of the order is below it, and the box around its rows.
struct Node {
    rows: std::ops::Range<usize>,
    leaf: bool,
    bounds: Vec<(f64, f64)>,
}

/// A complete binary tree: the children of node i are 2i + 1 and 2i + 2.
struct Tree {
    order: Vec<usize>,
    nodes: Vec<Node>,
}

impl Tree {
    fn new(points: &[&[f64]]) -> Self {
        // Leaves have less than twice LEAF_ROWS rows, and one level is there always.
        let leaves = (points.len().saturating_sub(1) / LEAF_ROWS).max(1);
        let levels = leaves.ilog2() + 1;
        let nodes = (1_usize << levels) - 1;
        let mut tree = Self {
            order: (0..points.len()).collect(),
            nodes: Vec::with_capacity(nodes),
        };
        // A complete tree in the order of its numbers is one level after the other.
        for node in 0..nodes {
            let rows = match node.checked_sub(1).map(|above| above / 2) {
                None => 0..points.len(),
                Some(parent) => tree.half(parent, node % 2 == 1),
            };
            let leaf = 2 * node + 1 >= nodes;
            let bounds = tree.bounds(&rows, points);
            if !leaf {
                tree.split(rows.clone(), &bounds, points);
            }
            tree.nodes.push(Node { rows, leaf, bounds });
        }
        tree
    }

    fn half(&self, parent: usize, first: bool) -> std::ops::Range<usize> {
        let rows = self.nodes.get(parent).map_or(0..0, |node| node.rows.clone());
        let middle = rows.start + rows.len() / 2;
        if first { rows.start..middle } else { middle..rows.end }
    }

    fn bounds(&self, rows: &std::ops::Range<usize>, points: &[&[f64]]) -> Vec<(f64, f64)> {
        let columns = points.first().map_or(0, |point| point.len());
        let mut bounds = vec![(f64::INFINITY, f64::NEG_INFINITY); columns];
        let below = self.order.get(rows.clone()).unwrap_or_default();
        for point in below.iter().filter_map(|row| points.get(*row)) {
            for ((low, high), value) in bounds.iter_mut().zip(*point) {
                *low = low.min(*value);
                *high = high.max(*value);
            }
        }
        bounds
    }

    /// Orders the rows of a node so that the lower half comes first, by the widest column; the first of equally wide ones.
    fn split(&mut self, rows: std::ops::Range<usize>, bounds: &[(f64, f64)], points: &[&[f64]]) {
        let mut widest = (0, 0.0);
        for (column, (low, high)) in bounds.iter().enumerate() {
            if high - low > widest.1 {
                widest = (column, high - low);
            }
        }
        let value = |row: usize| {
            let value = points.get(row).and_then(|point| point.get(widest.0));
            (value.copied().unwrap_or_default(), row)
        };
        let middle = rows.len() / 2;
        if let Some(order) = self.order.get_mut(rows) {
            select(order, middle, |a, b| value(a) < value(b));
        }
    }

    /// Depth first, the nearer half first.
    fn search(&self, node: usize, row: &[f64], points: &[&[f64]], nearest: &mut Nearest) {
        let Some(found) = self.nodes.get(node) else { return };
        if found.leaf {
            let below = self.order.get(found.rows.clone()).unwrap_or_default();
            let below = below.iter().filter_map(|at| Some((*at, *points.get(*at)?)));
            return nearest.offer(row, below);
        }
        let mut halves = [2 * node + 1, 2 * node + 2].map(|half| (self.distance(half, row), half));
        if halves[0].0 > halves[1].0 {
            halves.swap(0, 1);
        }
        for (distance, half) in halves {
            if distance <= nearest.farthest() {
                self.search(half, row, points, nearest);
            }
        }
    }

    /// Squared distance of a row from a node's box.
    fn distance(&self, node: usize, row: &[f64]) -> f64 {
        let bounds = self.nodes.get(node).map_or(&[][..], |node| &node.bounds);
        let outside = |(value, (low, high)): (&f64, &(f64, f64))| (low - value).max(0.0) + (value - high).max(0.0);
        row.iter().zip(bounds).map(outside).map(|d| d * d).sum()
    }
}

/// Brings the `nth` smallest to its place, what is smaller before it. The order that this leaves on each side is that of
/// the C++ library that scikit-learn is built with: quickselect, the pivot the median of the second, the middle and the
/// last, and up to three left sorted. No two elements may be equal.
#[expect(clippy::indexing_slicing, reason = "pivots stop the scans within first..last")]
fn select(order: &mut [usize], nth: usize, less: impl Fn(usize, usize) -> bool) {
    let (mut first, mut last) = (0, order.len());
    let mut tries = 2 * last.checked_ilog2().unwrap_or_default();
    while last - first > 3 && tries > 0 {
        tries -= 1;
        let candidates = [first + 1, first + (last - first) / 2, last - 1];
        let [a, b, c] = candidates.map(|at| order[at]);
        let middle = match (less(a, b), less(b, c), less(a, c)) {
            (true, true, _) | (false, false, _) => 1,
            (true, false, true) | (false, true, false) => 2,
            (true, false, false) | (false, true, true) => 0,
        };
        order.swap(first, candidates[middle]);
        let pivot = order[first];
        let (mut low, mut high) = (first + 1, last);
        loop {
            while less(order[low], pivot) {
                low += 1;
            }
            high -= 1;
            while less(pivot, order[high]) {
                high -= 1;
            }
            if low >= high {
                break;
            }
            order.swap(low, high);
            low += 1;
        }
        if low <= nth {
            first = low;
        } else {
            last = low;
        }
    }
    // Few are left, or the pivots were bad ones.
    order[first..last].sort_unstable_by(|a, b| match less(*a, *b) {
        true => std::cmp::Ordering::Less,
        false if a == b => std::cmp::Ordering::Equal,
        false => std::cmp::Ordering::Greater,
    });
}
