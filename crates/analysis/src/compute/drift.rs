//! `driftwarden compute drift`.
