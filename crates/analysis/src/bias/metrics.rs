//! Which metrics there are, and why one may have no value.

use std::fmt;
use thiserror::Error;

/// What a metric is computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Facet and label.
    PreTraining,
    /// Also what the model predicted.
    PostTraining,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $description:literal of $stage:ident,)*) => {
        /// A bias metric. The order is that of the stages, and of the short names in each: the order of a report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$doc])* $variant,)*
        }

        impl Metric {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The metric of that short name.
            pub fn new(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its short name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its long name, as `analysis.json` has it.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $description,)*
                }
            }

            /// What it is computed on.
            pub fn stage(self) -> Stage {
                match self {
                    $(Self::$variant => Stage::$stage,)*
                }
            }
        }
    };
}

metrics! {
    /// How much more often d is among the rejected than among the accepted, by label, mean over the subgroups.
    Cddl = "CDDL", "Conditional Demographic Disparity in Labels (CDDL)" of PreTraining,
    /// How much larger a is than d.
    Ci = "CI", "Class Imbalance (CI)" of PreTraining,
    /// Share of positive labels in a less that in d.
    Dpl = "DPL", "Difference in Positive Proportions in Labels (DPL)" of PreTraining,
    /// Jensen-Shannon divergence of the labels of a and d, in nats.
    Js = "JS", "Jensen-Shannon Divergence (JS)" of PreTraining,
    /// Kullback-Leibler divergence of the labels of a from those of d, in nats.
    Kl = "KL", "Kullback-Liebler Divergence (KL)" of PreTraining,
    /// Largest difference of the shares of a label.
    Ks = "KS", "Kolmogorov-Smirnov Distance (KS)" of PreTraining,
    /// Euclidean norm of the differences of the shares of labels.
    Lp = "LP", "L-p Norm (LP)" of PreTraining,
    /// Half the sum of the differences of the shares of labels.
    Tvd = "TVD", "Total Variation Distance (TVD)" of PreTraining,
    /// Accuracy in a less that in d.
    Ad = "AD", "Accuracy Difference (AD)" of PostTraining,
    /// [`Metric::Cddl`] by prediction.
    Cddpl = "CDDPL", "Conditional Demographic Disparity in Predicted Labels (CDDPL)" of PostTraining,
    /// Precision in a less that in d.
    Dar = "DAR", "Difference in Acceptance Rates (DAR)" of PostTraining,
    /// Positive labels by positive predictions, in a less in d.
    Dca = "DCA", "Difference in Conditional Acceptance (DCA)" of PostTraining,
    /// Negative labels by negative predictions, in d less in a.
    Dcr = "DCR", "Difference in Conditional Rejection (DCR)" of PostTraining,
    /// Share of positive predictions in d by that in a: 1 where there is no bias.
    Di = "DI", "Disparate Impact (DI)" of PostTraining,
    /// [`Metric::Dpl`] by prediction.
    Dppl = "DPPL", "Difference in Positive Proportions in Predicted Labels (DPPL)" of PostTraining,
    /// Share of negative predictions that are right, in d less in a.
    Drr = "DRR", "Difference in Rejection Rates (DRR)" of PostTraining,
    /// What the model would have said of d's rows, were they of a.
    Ft = "FT", "Flip Test (FT)" of PostTraining,
    /// Inequality of the benefit that predictions are to their rows.
    Ge = "GE", "Generalized Entropy (GE)" of PostTraining,
    /// Recall in a less that in d.
    Rd = "RD", "Recall Difference (RD)" of PostTraining,
    /// Specificity in d less that in a.
    Sd = "SD", "Specificity Difference (SD)" of PostTraining,
    /// False negatives by false positives, in d less in a.
    Te = "TE", "Treatment Equality (TE)" of PostTraining,
}

impl Metric {
    /// The metrics of a stage, in order.
    pub fn of(stage: Stage) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |metric| metric.stage() == stage)
    }

    /// What it is where there is no bias: 1 for the one ratio, else 0.
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

/// Why a metric has no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetricError {
    /// d has no rows.
    #[error("facet set is empty: no row has the sensitive value or lies in the sensitive interval")]
    EmptyFacet,
    /// a has no rows.
    #[error("negated facet set is empty: every row has the sensitive value or lies in the sensitive interval")]
    EmptyComplement,
    /// There is no subgroup column. Clarify's own words, by which readers of `analysis.json` know it.
    #[error("Group variable is empty or not provided")]
    NoGroup,
    /// The subgroups are not of one type.
    #[error("group variable has nulls, or values of types that cannot be ordered: give values of one type")]
    MixedGroup,
    /// Nothing is positive.
    #[error("no positive labels in the set")]
    NoPositive,
    /// Everything is positive.
    #[error("no negative labels in the set")]
    NoNegative,
    /// No class of the label is in both a and d.
    #[error("no label occurs both in the facet set and outside it: the dataset may be too small")]
    NoCommonLabel,
    /// No prediction is a benefit to anybody.
    #[error("all predictions are false negatives: at least one must be another")]
    OnlyFalseNegatives,
    /// There are no rows.
    #[error("the dataset is empty")]
    NoRows,
    /// The flip test needs rows, of which counts know nothing.
    #[error("flip test needs the features of each row")]
    NoFeatures,
    /// A feature has no distance.
    #[error("flip test does not support non-numeric columns: `{0}`")]
    NonNumericFeature(String),
    /// A feature has no finite distance.
    #[error("flip test does not support nulls, NaN or infinity: column `{0}`")]
    NotFiniteFeature(String),
    /// The columns are not of one length.
    #[error("`{name}` has {found} rows where the facet has {expected}")]
    Length {
        /// Which column.
        name: String,
        /// Its rows.
        found: usize,
        /// The facet's rows.
        expected: usize,
    },
    /// More comparisons of rows than [`super::MAX_FLIP_TEST_COMPARISONS`].
    #[error("flip test would compare {disadvantaged} rows with {advantaged}: sample the dataset")]
    TooManyRows {
        /// Rows of a.
        advantaged: usize,
        /// Rows of d.
        disadvantaged: usize,
    },
}

/// A metric's value, or why it has none.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricResult {
    /// The metric.
    pub metric: Metric,
    /// Its value, which may be infinite but is never NaN.
    pub outcome: Result<f64, MetricError>,
}
