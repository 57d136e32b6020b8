//! Configuration from environment variables, read once at the start. An error names the variable and what it should be.

/// A variable that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not set, or empty.
    #[error("environment variable {name} is not set: it should be {expected}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Set to what it cannot be.
    #[error("environment variable {name} is `{value}`: it should be {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The environment, behind a lookup so that tests need none.
#[derive(Debug, Clone, Copy)]
pub struct Vars<F>(pub F);

impl<F: Fn(&str) -> Option<String>> Vars<F> {
    /// The variable's value; an empty one counts as not set.
    pub fn optional(&self, name: &'static str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// The variable's value.
    ///
    /// # Errors
    /// If it is not set.
    pub fn required(&self, name: &'static str, expected: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing { name, expected })
    }

    /// The variable's value, parsed; `default` if it is not set.
    ///
    /// # Errors
    /// If it cannot be parsed.
    pub fn parsed<T: std::str::FromStr>(
        &self,
        name: &'static str,
        default: T,
        expected: &'static str,
    ) -> Result<T, ConfigError> {
        match self.optional(name) {
            None => Ok(default),
            Some(value) => value
                .trim()
                .parse()
                .map_err(|_| ConfigError::Invalid { name, value, expected }),
        }
    }

    /// The name of a bucket.
    ///
    /// # Errors
    /// If it is not set or cannot be a bucket's name.
    pub fn bucket(&self, name: &'static str) -> Result<String, ConfigError> {
        let expected = "the name of an S3 bucket, without `s3://` and without a path";
        let value = self.required(name, expected)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if (3..=63).contains(&value.len()) && value.chars().all(fits) {
            Ok(value)
        } else {
            Err(ConfigError::Invalid { name, value, expected })
        }
    }
}
