//! Feature attribution drift: nDCG of the live against the baseline's global SHAP values.
