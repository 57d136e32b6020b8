//! Multiclass classification: metrics per class, weighted by the share of the class in the labels.

use super::{
    Classes, ConfusionMatrix, Evaluation, ModelQualityError, Options, ProblemType, Values, f_score, metrics,
    sampling::deviations, share,
};

pub(super) fn evaluate(
    labels: &[u32],
    predictions: &[u32],
    classes: &Classes,
    options: Options,
) -> Result<Evaluation, ModelQualityError> {
    let (names, ranks) = classes.ranks();
    let width = names.len();
    let mut matrix = ConfusionMatrix::new(names)?;
    let rank = |field, row, id: u32| {
        let known = usize::try_from(id).ok().and_then(|id| ranks.get(id).copied());
        known.ok_or(ModelQualityError::UnknownClass { field, row, id })
    };
    for (row, (label, prediction)) in labels.iter().zip(predictions).enumerate() {
        let at = rank("label", row, *label)? * width + rank("prediction", row, *prediction)?;
        if let Some(count) = matrix.counts.get_mut(at) {
            *count += 1;
        }
    }
    let rows = matrix.counts.iter().sum();
    let deviations = options.standard_deviations.then(|| {
        deviations(rows, |sampler| {
            let sample: Vec<u64> = matrix.counts.iter().map(|count| sampler.count_taken(*count)).collect();
            values(&sample, width)
        })
    });
    Ok(Evaluation {
        problem_type: ProblemType::MulticlassClassification,
        rows,
        metrics: metrics(values(&matrix.counts, width), deviations.flatten().as_deref()),
        confusion_matrix: Some(matrix),
        curve: None,
    })
}

/// Metrics of a confusion matrix, by true class.
fn values(counts: &[u64], width: usize) -> Values {
    let mut labeled = vec![0_u64; width];
    let mut predicted = vec![0_u64; width];
    let mut right = vec![0_u64; width];
    for (truth, (row, labeled)) in counts.chunks(width.max(1)).zip(&mut labeled).enumerate() {
        for (answer, (count, predicted)) in row.iter().zip(&mut predicted).enumerate() {
            *labeled += count;
            *predicted += count;
            if let (true, Some(right)) = (answer == truth, right.get_mut(truth)) {
                *right = *count;
            }
        }
    }
    let rows: u64 = labeled.iter().sum();
    let accuracy = share(right.iter().sum(), rows);
    let (mut precision, mut f0_5, mut f1, mut f2) = (0.0, 0.0, 0.0, 0.0);
    for ((labeled, predicted), right) in labeled.iter().zip(&predicted).zip(&right) {
        let weight = share(*labeled, rows);
        let (p, r) = (share(*right, *predicted), share(*right, *labeled));
        precision += weight * p;
        f0_5 += weight * f_score(0.5, p, r);
        f1 += weight * f_score(1.0, p, r);
        f2 += weight * f_score(2.0, p, r);
    }
    // Constant classifier for the most frequent label: its recall is 1, its precision the share of the label.
    let constant = share(labeled.iter().copied().max().unwrap_or_default(), rows);
    let constant_f = |beta| constant * f_score(beta, constant, 1.0);
    vec![
        ("accuracy", accuracy),
        // The weighted recall equals the accuracy.
        ("weighted_recall", accuracy),
        ("weighted_precision", precision),
        ("weighted_f0_5", f0_5),
        ("weighted_f1", f1),
        ("weighted_f2", f2),
        ("accuracy_best_constant_classifier", constant),
        ("weighted_recall_best_constant_classifier", constant),
        ("weighted_precision_best_constant_classifier", constant * constant),
        ("weighted_f0_5_best_constant_classifier", constant_f(0.5)),
        ("weighted_f1_best_constant_classifier", constant_f(1.0)),
        ("weighted_f2_best_constant_classifier", constant_f(2.0)),
    ]
}
