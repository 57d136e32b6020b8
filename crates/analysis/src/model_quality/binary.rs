//! Binary classification: rates of the confusion matrix, and the curves over all thresholds of the score.

use super::{
    ConfusionMatrix, CurvePoints, Evaluation, ModelQualityError, Options, ProblemType, Sum, TwoClasses, Values,
    f_score, float, metrics,
    regression::finite,
    sampling::{Sampler, deviations},
    share,
};

/// Approximate number of points of a thinned curve.
const THINNED_POINTS: usize = 1_000;

pub(super) fn evaluate(
    labels: &[u32],
    predictions: &[u32],
    probabilities: Option<&[f64]>,
    classes: &TwoClasses,
    options: Options,
) -> Result<Evaluation, ModelQualityError> {
    let cells = Cells::new(labels, predictions, probabilities, classes)?;
    let rows = cells.counts.iter().sum();
    let deviations = options
        .standard_deviations
        .then(|| deviations(rows, |sampler| cells.sample(sampler).values()))
        .flatten();
    let mut matrix = ConfusionMatrix::new(vec![classes.negative().to_owned(), classes.positive().to_owned()])?;
    matrix.counts = cells.counts.to_vec();
    Ok(Evaluation {
        problem_type: ProblemType::BinaryClassification,
        rows,
        metrics: metrics(cells.values(), deviations.as_deref()),
        confusion_matrix: Some(matrix),
        curve: cells.curve(options.curve_points),
    })
}

/// Rows by cell of the confusion matrix: true negatives, false positives, false negatives, true positives. Only the
/// score of each row is kept.
#[derive(Debug, Default)]
struct Cells {
    counts: [u64; 4],
    /// Scores in descending order.
    scores: Option<[Vec<f64>; 4]>,
}

impl Cells {
    #[expect(
        clippy::indexing_slicing,
        reason = "a cell is one of four, and the columns are of one length"
    )]
    fn new(
        labels: &[u32],
        predictions: &[u32],
        probabilities: Option<&[f64]>,
        classes: &TwoClasses,
    ) -> Result<Self, ModelQualityError> {
        let mut cells = Self {
            scores: probabilities.map(|_| Default::default()),
            ..Self::default()
        };
        for (row, (label, prediction)) in labels.iter().zip(predictions).enumerate() {
            let truth = classes.is_positive("label", row, *label)?;
            let answer = classes.is_positive("prediction", row, *prediction)?;
            let cell = usize::from(truth) * 2 + usize::from(answer);
            cells.counts[cell] += 1;
            if let (Some(scores), Some(probabilities)) = (&mut cells.scores, probabilities) {
                finite("probability", row, probabilities[row])?;
                // Adding 0 turns -0 into 0.
                scores[cell].push(probabilities[row] + 0.0);
            }
        }
        for scores in cells.scores.iter_mut().flatten() {
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
        }
        Ok(cells)
    }

    /// Rows that the sampler selects.
    fn sample(&self, sampler: &mut Sampler) -> Self {
        match &self.scores {
            None => Self {
                counts: self.counts.map(|count| sampler.count_taken(count)),
                scores: None,
            },
            Some(scores) => {
                let scores = scores
                    .each_ref()
                    .map(|scores| scores.iter().copied().filter(|_| sampler.takes()).collect::<Vec<_>>());
                Self {
                    counts: scores
                        .each_ref()
                        .map(|scores| u64::try_from(scores.len()).unwrap_or(u64::MAX)),
                    scores: Some(scores),
                }
            }
        }
    }

    fn values(&self) -> Values {
        let [tn, fp, fneg, tp] = self.counts;
        let (negatives, positives) = (tn + fp, fneg + tp);
        let rows = negatives + positives;
        let (precision, recall) = (share(tp, tp + fp), share(tp, positives));
        let false_positive_rate = share(fp, negatives);
        // Complements to 1, as in the guide's example, unless the denominator is 0.
        let rest = |rate: f64, of: u64| if of == 0 { 0.0 } else { 1.0 - rate };
        // Constant classifier: its share of the labels, and its recall.
        let (constant, constant_recall) = if positives > negatives {
            (share(positives, rows), 1.0)
        } else {
            (share(negatives, rows), 0.0)
        };
        let constant_precision = constant * constant_recall;
        let constant_f = |beta| f_score(beta, constant_precision, constant_recall);
        let mut values = vec![
            ("recall", recall),
            ("precision", precision),
            ("accuracy", share(tn + tp, rows)),
            ("true_positive_rate", recall),
            ("true_negative_rate", rest(false_positive_rate, negatives)),
            ("false_positive_rate", false_positive_rate),
            ("false_negative_rate", rest(recall, positives)),
            ("f0_5", f_score(0.5, precision, recall)),
            ("f1", f_score(1.0, precision, recall)),
            ("f2", f_score(2.0, precision, recall)),
            ("recall_best_constant_classifier", constant_recall),
            ("precision_best_constant_classifier", constant_precision),
            ("accuracy_best_constant_classifier", constant),
            ("f0_5_best_constant_classifier", constant_f(0.5)),
            ("f1_best_constant_classifier", constant_f(1.0)),
            ("f2_best_constant_classifier", constant_f(2.0)),
        ];
        if let Some((auc, au_prc)) = self.areas() {
            values.extend([("auc", auc), ("au_prc", au_prc)]);
        }
        values
    }

    /// Visits the distinct scores from the highest: the numbers of positives and negatives with this score or a higher
    /// one.
    fn walk(scores: &[Vec<f64>; 4], mut visit: impl FnMut(u64, u64)) {
        let mut rest = scores.each_ref().map(Vec::as_slice);
        let (mut positives, mut negatives) = (0, 0);
        loop {
            let highest = rest.iter().filter_map(|scores| scores.first().copied());
            let Some(score) = highest.reduce(f64::max) else { return };
            for (cell, scores) in rest.iter_mut().enumerate() {
                while let [first, lower @ ..] = *scores
                    && *first >= score
                {
                    *scores = lower;
                    if cell < 2 {
                        negatives += 1;
                    } else {
                        positives += 1;
                    }
                }
            }
            visit(positives, negatives);
        }
    }

    /// Areas under the two curves, by trapezoids between all points.
    fn areas(&self) -> Option<(f64, f64)> {
        let scores = self.scores.as_ref()?;
        let [tn, fp, fneg, tp] = self.counts;
        let (negatives, positives) = (tn + fp, fneg + tp);
        // Rank statistic in integers: twice the number of ordered pairs, where a tie counts half.
        let mut twice_in_order = 0_u128;
        let mut precision_recall = Sum::default();
        let mut before = (0, 0);
        let mut precision_before = None;
        Self::walk(scores, |tp, fp| {
            twice_in_order += u128::from(fp - before.1) * u128::from(tp + before.0);
            let precision = share(tp, tp + fp);
            let mean = f64::midpoint(precision, precision_before.unwrap_or(precision));
            precision_recall.add(share(tp - before.0, positives) * mean);
            before = (tp, fp);
            precision_before = Some(precision);
        });
        let pairs = u128::from(positives) * u128::from(negatives);
        #[expect(clippy::cast_precision_loss, reason = "a quotient has a double's digits only")]
        let auc = if pairs == 0 {
            f64::NAN
        } else {
            twice_in_order as f64 / (2 * pairs) as f64
        };
        Some((auc, precision_recall.value()))
    }

    fn curve(&self, points: CurvePoints) -> Option<Curve> {
        let scores = self.scores.as_ref()?;
        let group = match points {
            CurvePoints::None => return None,
            CurvePoints::All => 1,
            CurvePoints::Thinned => {
                let mut distinct = 0_usize;
                Self::walk(scores, |_, _| distinct += 1);
                (distinct / THINNED_POINTS).max(1)
            }
        };
        let [tn, fp, fneg, tp] = self.counts;
        let (positives, negatives) = (fneg + tp, tn + fp);
        let mut points = Vec::new();
        let mut seen = 0_usize;
        Self::walk(scores, |tp, fp| {
            seen += 1;
            // Last point of each group, and the very last point.
            if seen.is_multiple_of(group) || tp + fp == positives + negatives {
                points.push((tp, fp));
            }
        });
        Some(Curve {
            points,
            positives,
            negatives,
        })
    }
}

/// Receiver operating characteristic and precision-recall curve: the rates for every threshold of the score, in
/// descending order.
///
/// The form is that of Spark's `BinaryClassificationMetrics`. The first curve begins at (0, 0) and ends at (1, 1), both
/// always added. The second begins at recall 0 with the precision of the highest score, not with 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// True and false positives at each threshold.
    points: Vec<(u64, u64)>,
    positives: u64,
    negatives: u64,
}

impl Curve {
    /// Share of the negatives with this score or a higher one: x of the first curve.
    pub fn false_positive_rates(&self) -> impl Iterator<Item = f64> {
        let rates = self.points.iter().map(|(_, fp)| share(*fp, self.negatives));
        std::iter::once(0.0).chain(rates).chain([1.0])
    }

    /// Share of the positives with this score or a higher one: y of the first curve.
    pub fn true_positive_rates(&self) -> impl Iterator<Item = f64> {
        let rates = self.points.iter().map(|(tp, _)| share(*tp, self.positives));
        std::iter::once(0.0).chain(rates).chain([1.0])
    }

    /// Share of positives among the rows with this score or a higher one: y of the second curve.
    pub fn precisions(&self) -> impl Iterator<Item = f64> {
        // A point has at least one row.
        let precisions = || self.points.iter().map(|(tp, fp)| float(*tp) / float(tp + fp));
        precisions().take(1).chain(precisions())
    }

    /// True positive rates again: x of the second curve.
    pub fn recalls(&self) -> impl Iterator<Item = f64> {
        let recalls = self.points.iter().map(|(tp, _)| share(*tp, self.positives));
        std::iter::once(0.0).chain(recalls)
    }
}
