//! Exit message of an analysis: `ExitMessage` of the processing job.

/// Exit message. Only its first word is a contract (developer guide, page `model-monitor-byoc-contract-outputs`). The
/// count is an addition of the built-in analyzer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitMessage {
    /// `CompletedWithViolations: Job completed successfully with 60 violations.`
    CompletedWithViolations {
        /// Number in the text, if there is one.
        count: Option<u64>,
    },
    /// `Completed: Job completed successfully with no violations.`
    Completed,
    /// Anything else.
    Other,
}

impl ExitMessage {
    /// Parses an exit message.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_start();
        let word = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        match word {
            "CompletedWithViolations" => {
                let words: Vec<&str> = text.split_whitespace().collect();
                let count = words.windows(2).find_map(|pair| match pair {
                    [count, noun] if noun.starts_with("violation") => count.parse().ok(),
                    _ => None,
                });
                Self::CompletedWithViolations { count }
            }
            "Completed" => Self::Completed,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitMessage::{self, Completed, CompletedWithViolations, Other};

    #[test]
    fn first_word_decides() {
        let cases = [
            (
                "CompletedWithViolations: Job completed successfully with 60 violations.",
                CompletedWithViolations { count: Some(60) },
            ),
            (
                "CompletedWithViolations: Job completed successfully with 1 violation.",
                CompletedWithViolations { count: Some(1) },
            ),
            (
                "CompletedWithViolations: the sentence drifts\nCompletedWithViolations: and this",
                CompletedWithViolations { count: None },
            ),
            ("Completed: Job completed successfully with no violations.", Completed),
            ("Completed", Completed),
            ("CompletedEarly: who knows", Other),
            ("", Other),
        ];
        for (text, expected) in cases {
            assert_eq!(ExitMessage::parse(text), expected, "{text}");
        }
    }
}
