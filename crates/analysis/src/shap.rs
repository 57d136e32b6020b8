//! Kernel SHAP.
