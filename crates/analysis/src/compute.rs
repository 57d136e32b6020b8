//! Functions for scripts: one line of JSON in, one JSON value out (`driftwarden compute …`).
//!
//! Each function takes the bytes of a line and returns the result or an error message. The command writes the result as
//! it is, and an error as `{"error": "…"}`. A number that JSON cannot represent is the string `NaN`, `Infinity`, or
//! `-Infinity`.

pub mod attribution;
pub mod bias;
pub mod drift;
pub mod model_quality;
