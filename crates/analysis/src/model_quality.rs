//! Model quality: predictions against ground truth.
