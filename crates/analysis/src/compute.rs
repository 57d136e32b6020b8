//! The pure functions as scripts call them: one line of JSON in, one JSON value out (`driftwarden compute …`).
//!
//! Each function here takes the bytes of a line and gives the answer, or says why there is none; the command writes the
//! one as it is and the other as `{"error": "…"}`. A number that JSON cannot hold is the text `NaN`, `Infinity` or
//! `-Infinity`.

pub mod attribution;
pub mod bias;
pub mod drift;
pub mod model_quality;
