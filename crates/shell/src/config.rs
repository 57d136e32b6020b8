//! Configuration from environment variables, read once at startup. Errors name the variable and the expected value.

/// A missing or invalid environment variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set or empty.
    #[error("environment variable `{name}` is not set: expected {expected}")]
    Missing {
        /// Name of the variable.
        name: &'static str,
        /// Description of the expected value.
        expected: &'static str,
    },
    /// The variable has an invalid value.
    #[error("environment variable `{name}` has the invalid value `{value}`: expected {expected}")]
    Invalid {
        /// Name of the variable.
        name: &'static str,
        /// The invalid value.
        value: String,
        /// Description of the expected value.
        expected: &'static str,
    },
}

/// The environment, as a lookup function, so that tests do not need environment variables.
#[derive(Debug, Clone, Copy)]
pub struct Vars<F>(pub F);

impl<F: Fn(&str) -> Option<String>> Vars<F> {
    /// Value of a variable. An empty value counts as not set.
    pub fn optional(&self, name: &'static str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// Value of a required variable.
    ///
    /// # Errors
    /// If the variable is not set.
    pub fn required(&self, name: &'static str, expected: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing { name, expected })
    }

    /// Parsed value of a variable, or `default` if it is not set.
    ///
    /// # Errors
    /// If the value cannot be parsed.
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

    /// Name of a bucket from a required variable.
    ///
    /// # Errors
    /// If the variable is not set, or the value is not a valid bucket name.
    pub fn bucket(&self, name: &'static str) -> Result<String, ConfigError> {
        let expected = "the name of an S3 bucket, without `s3://` and without a path";
        let value = self.required(name, expected)?;
        let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if (3..=63).contains(&value.len()) && value.chars().all(is_valid) {
            Ok(value)
        } else {
            Err(ConfigError::Invalid { name, value, expected })
        }
    }
}
