//! stub
#![expect(missing_docs, missing_debug_implementations, clippy::pedantic, reason = "to come")]
#[derive(Default)]
pub struct Page<'a> {
    pub title: &'a str,
    pub datasets: &'a [String],
    pub baseline: Option<&'a model_monitor::Statistics>,
    pub current: Option<&'a model_monitor::Statistics>,
    pub violations: &'a [crate::ConstraintViolation],
    pub drift: &'a [Drift],
    pub notes: &'a [String],
}
pub struct Drift;
impl From<&crate::data_quality::ColumnDrift> for Drift {
    fn from(_: &crate::data_quality::ColumnDrift) -> Self {
        Drift
    }
}
pub fn render(_: &Page<'_>) -> String {
    String::new()
}
