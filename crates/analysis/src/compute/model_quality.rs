//! `driftwarden compute model-quality`.
