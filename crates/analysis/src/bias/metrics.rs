//! Bias metrics, and reasons for which one has no value.

use std::fmt;
use thiserror::Error;

/// Data that a metric is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Facet and label.
    PreTraining,
    /// Facet, label, and prediction.
    PostTraining,
}

impl Stage {
    /// Field of `analysis.json`.
    pub fn section(self) -> &'static str {
        match self {
            Self::PreTraining => "pre_training_bias_metrics",
            Self::PostTraining => "post_training_bias_metrics",
        }
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $description:literal of $stage:ident,)*) => {
        /// Bias metric. The order is that of a report: by stage, then by short name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$doc])* $variant,)*
        }

        impl Metric {
            /// All metrics, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Metric with a short name.
            pub fn new(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Short name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Long name, as in `analysis.json`.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $description,)*
                }
            }

            /// Stage of the metric.
            pub fn stage(self) -> Stage {
                match self {
                    $(Self::$variant => Stage::$stage,)*
                }
            }
        }
    };
}

metrics! {
    /// Share of d among the rejected minus its share among the accepted, by label, as a weighted mean over the
    /// subgroups.
    Cddl = "CDDL", "Conditional Demographic Disparity in Labels (CDDL)" of PreTraining,
    /// Difference in size between a and d, relative to both.
    Ci = "CI", "Class Imbalance (CI)" of PreTraining,
    /// Share of positive labels in a minus that in d.
    Dpl = "DPL", "Difference in Positive Proportions in Labels (DPL)" of PreTraining,
    /// Jensen-Shannon divergence between the labels of a and d, in nats.
    Js = "JS", "Jensen-Shannon Divergence (JS)" of PreTraining,
    /// Kullback-Leibler divergence of the labels of a from those of d, in nats.
    Kl = "KL", "Kullback-Liebler Divergence (KL)" of PreTraining,
    /// Largest difference between the shares of a label.
    Ks = "KS", "Kolmogorov-Smirnov Distance (KS)" of PreTraining,
    /// Euclidean norm of the differences between the shares of labels.
    Lp = "LP", "L-p Norm (LP)" of PreTraining,
    /// Half the sum of the differences between the shares of labels.
    Tvd = "TVD", "Total Variation Distance (TVD)" of PreTraining,
    /// Accuracy in a minus that in d.
    Ad = "AD", "Accuracy Difference (AD)" of PostTraining,
    /// [`Metric::Cddl`] by prediction.
    Cddpl = "CDDPL", "Conditional Demographic Disparity in Predicted Labels (CDDPL)" of PostTraining,
    /// Precision in a minus that in d.
    Dar = "DAR", "Difference in Acceptance Rates (DAR)" of PostTraining,
    /// Ratio of positive labels to positive predictions, in a minus in d.
    Dca = "DCA", "Difference in Conditional Acceptance (DCA)" of PostTraining,
    /// Ratio of negative labels to negative predictions, in d minus in a.
    Dcr = "DCR", "Difference in Conditional Rejection (DCR)" of PostTraining,
    /// Share of positive predictions in d divided by that in a: 1 without bias.
    Di = "DI", "Disparate Impact (DI)" of PostTraining,
    /// [`Metric::Dpl`] by prediction.
    Dppl = "DPPL", "Difference in Positive Proportions in Predicted Labels (DPPL)" of PostTraining,
    /// Share of correct negative predictions, in d minus in a.
    Drr = "DRR", "Difference in Rejection Rates (DRR)" of PostTraining,
    /// Net share of rows of d whose prediction would change if they belonged to a.
    Ft = "FT", "Flip Test (FT)" of PostTraining,
    /// Inequality of the benefits that predictions give to rows.
    Ge = "GE", "Generalized Entropy (GE)" of PostTraining,
    /// Recall in a minus that in d.
    Rd = "RD", "Recall Difference (RD)" of PostTraining,
    /// Specificity in d minus that in a.
    Sd = "SD", "Specificity Difference (SD)" of PostTraining,
    /// Ratio of false negatives to false positives, in d minus in a.
    Te = "TE", "Treatment Equality (TE)" of PostTraining,
}

impl Metric {
    /// Metrics of a stage, in order.
    pub fn in_stage(stage: Stage) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |metric| metric.stage() == stage)
    }

    /// Value without bias: 1 for the one ratio, otherwise 0.
    pub fn neutral(self) -> f64 {
        match self {
            Self::Di => 1.0,
            _ => 0.0,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reason for which a metric has no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetricError {
    /// d has no rows.
    #[error("facet set is empty: no row has the sensitive value or lies in the sensitive interval")]
    EmptyFacet,
    /// a has no rows.
    #[error("negated facet set is empty: every row has the sensitive value or lies in the sensitive interval")]
    EmptyComplement,
    /// There is no subgroup column. The wording is Clarify's, because readers of `analysis.json` recognize it.
    #[error("Group variable is empty or not provided")]
    NoGroup,
    /// The subgroups have mixed types.
    #[error("group variable has nulls or values of mixed types: expected values of one type")]
    MixedGroup,
    /// No label is positive.
    #[error("no positive labels in the set")]
    NoPositive,
    /// Every label is positive.
    #[error("no negative labels in the set")]
    NoNegative,
    /// No class of the label occurs in both a and d.
    #[error("no label occurs both in the facet set and outside it: the dataset may be too small")]
    NoCommonLabel,
    /// No prediction has a benefit.
    #[error("all predictions are false negatives: expected at least one other prediction")]
    OnlyFalseNegatives,
    /// There are no rows.
    #[error("the dataset is empty")]
    NoRows,
    /// The flip test needs rows, which counts do not contain.
    #[error("flip test needs the features of each row")]
    NoFeatures,
    /// A feature is not numeric, so it has no distance.
    #[error("flip test does not support non-numeric columns: `{0}`")]
    NonNumericFeature(String),
    /// A feature has values without a finite distance.
    #[error("flip test does not support nulls, NaN or infinity: column `{0}`")]
    NotFiniteFeature(String),
    /// The columns differ in length.
    #[error("`{name}` has {found} rows: expected {expected}, as the facet has")]
    Length {
        /// Name of the column.
        name: String,
        /// Number of its rows.
        found: usize,
        /// Number of the facet's rows.
        expected: usize,
    },
    /// The flip test needs more comparisons than [`super::MAX_FLIP_TEST_COMPARISONS`].
    #[error("flip test would compare {disadvantaged} rows with {advantaged} rows: analyze a sample of the dataset")]
    TooManyRows {
        /// Number of rows of a.
        advantaged: usize,
        /// Number of rows of d.
        disadvantaged: usize,
    },
}

/// Value of a metric, or the reason for which it has none.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricResult {
    /// The metric.
    pub metric: Metric,
    /// Value, which may be infinite but is never NaN.
    pub outcome: Result<f64, MetricError>,
}
