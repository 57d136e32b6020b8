//! Clarify's bias metrics.
