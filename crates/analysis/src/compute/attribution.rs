//! `driftwarden compute attribution`.
