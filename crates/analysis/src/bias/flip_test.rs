//! Flip test: the predictions that the rows of d would get if they belonged to a, estimated from the nearest rows of a.
//!
//! The choice among rows at the same distance decides results on columns of small integers. To choose as scikit-learn's
//! `KNeighborsClassifier`, rows are visited in its order: through a k-d tree of the same shape (leaves of 30 to 60
//! rows, halves by the widest column), and sequentially where it uses no tree.

use super::{Column, MetricError};

/// Maximum number of row comparisons: 10^10, about a minute of work at most.
pub const MAX_FLIP_TEST_COMPARISONS: u64 = 10_000_000_000;

/// Number of neighbors that vote, and the same with fewer than [`ENOUGH_ROWS`] rows in a.
const NEIGHBORS: usize = 5;
const FEW_NEIGHBORS: usize = 1;
const ENOUGH_ROWS: usize = 10;
/// Minimum number of rows of a leaf of the tree.
const LEAF_ROWS: usize = 30;
/// Maximum number of columns for which a tree helps.
const MAX_TREE_COLUMNS: usize = 15;

/// Columns that rows are compared by: all except facet, label, and prediction. All values are finite numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Values, row by row.
    values: Vec<f64>,
    columns: usize,
}

impl Features {
    /// Creates the features of `rows` rows from their columns.
    ///
    /// # Errors
    /// Fails if there are no columns, or if one is not numeric or boolean, is not finite everywhere, or does not have
    /// `rows` rows.
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

/// Flip test as in smclarify's code: the number of rows of d that are accepted although most of their 5 nearest rows of
/// a are rejected, minus the number of rejected rows whose nearest rows are mostly accepted, divided by the number of
/// rows of d. With fewer than 10 rows in a, only the nearest row votes. The distance is Euclidean, on the columns as
/// they are.
///
/// The developer guide's page has the opposite sign; published results have this one. A published report of 2024 agrees
/// with the nearest neighbor alone although a has 224 rows: the service may compute the test differently from its
/// open-source code.
///
/// # Errors
/// Fails if d or a is empty, the columns differ in length, or d times a exceeds [`MAX_FLIP_TEST_COMPARISONS`].
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
    let neighbors = if advantaged < ENOUGH_ROWS {
        FEW_NEIGHBORS
    } else {
        NEIGHBORS
    };
    let index = if features.columns > MAX_TREE_COLUMNS || neighbors >= advantaged / 2 {
        Index::Scan
    } else {
        Index::Tree(Tree::new(&points))
    };
    let mut flips = 0_i64;
    for ((row, sensitive), accepted) in all() {
        if *sensitive {
            let mut nearest = Nearest::new(neighbors);
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

/// Nearest rows so far: a heap by squared distance with the farthest on top. A row that is not nearer than the top is
/// rejected, so the first of equally distant rows stays.
struct Nearest {
    heap: Vec<(f64, usize)>,
}

impl Nearest {
    fn new(neighbors: usize) -> Self {
        Self {
            heap: vec![(f64::INFINITY, 0); neighbors],
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

    /// Replaces the top with a row and lets it sink below farther ones, toward the farther child, or the left one if
    /// they are equal.
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

    /// Whether most of them are accepted. Their number is odd.
    fn accept(&self, votes: &[bool]) -> bool {
        let accepted = |(_, at): &&(f64, usize)| votes.get(*at).copied().unwrap_or_default();
        2 * self.heap.iter().filter(accepted).count() > self.heap.len()
    }
}

/// Node of the tree: its range of rows, and their bounding box.
struct Node {
    rows: std::ops::Range<usize>,
    leaf: bool,
    bounds: Vec<(f64, f64)>,
}

/// Complete binary tree: the children of node i are 2i + 1 and 2i + 2.
struct Tree {
    order: Vec<usize>,
    nodes: Vec<Node>,
}

impl Tree {
    fn new(points: &[&[f64]]) -> Self {
        // Leaves have fewer than twice LEAF_ROWS rows, and there is at least one level.
        let leaves = (points.len().saturating_sub(1) / LEAF_ROWS).max(1);
        let levels = leaves.ilog2() + 1;
        let nodes = (1_usize << levels) - 1;
        let mut tree = Self {
            order: (0..points.len()).collect(),
            nodes: Vec::with_capacity(nodes),
        };
        // In a complete tree, the numbers of the nodes run level by level.
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

    /// Sorts the rows of a node so that the lower half comes first, by the widest column, or the first of equally wide
    /// ones.
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

    /// Squared distance of a row from the box of a node.
    fn distance(&self, node: usize, row: &[f64]) -> f64 {
        let bounds = self.nodes.get(node).map_or(&[][..], |node| &node.bounds);
        let outside = |(value, (low, high)): (&f64, &(f64, f64))| (low - value).max(0.0) + (value - high).max(0.0);
        row.iter().zip(bounds).map(outside).map(|d| d * d).sum()
    }
}

/// Moves the `nth` smallest element to its place, with smaller ones before it. The remaining order is that of the C++
/// library that scikit-learn is built with: quickselect with the median of the second, the middle, and the last element
/// as pivot; up to three elements are sorted. No two elements may be equal.
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
    // Few elements are left, or the pivots were bad.
    order[first..last].sort_unstable_by(|a, b| match less(*a, *b) {
        true => std::cmp::Ordering::Less,
        false if a == b => std::cmp::Ordering::Equal,
        false => std::cmp::Ordering::Greater,
    });
}
