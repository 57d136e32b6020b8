//! `driftwarden compute bias`.
