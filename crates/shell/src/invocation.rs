//! What is known of the invocation under way, wherever in a function it is asked for: by whom it is traced, and what it has
//! done so far.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

tokio::task_local! {
    static CURRENT: Arc<Invocation>;
}

/// One invocation of a function.
#[derive(Debug, Default)]
pub struct Invocation {
    trace_header: Option<String>,
    conflicts_retried: AtomicU64,
    effects_carried_out: AtomicU64,
}

impl Invocation {
    /// An invocation with the X-Ray tracing header that Lambda gave it (`Root=…;Parent=…;Sampled=…`).
    pub fn new(trace_header: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            trace_header,
            ..Self::default()
        })
    }

    /// Does something within this invocation.
    pub async fn scope<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        CURRENT.scope(Arc::clone(self), work).await
    }

    /// The X-Ray trace that the header names, as X-Ray's console has it: `1-…`.
    pub fn trace_id(&self) -> Option<&str> {
        let parts = self.trace_header.as_deref()?.split(';');
        parts.into_iter().find_map(|part| part.trim().strip_prefix("Root="))
    }

    /// How many conditional writes were lost against another writer and tried again.
    pub fn conflicts_retried(&self) -> u64 {
        self.conflicts_retried.load(Ordering::Relaxed)
    }

    /// How many effects that documents owed were carried out.
    pub fn effects_carried_out(&self) -> u64 {
        self.effects_carried_out.load(Ordering::Relaxed)
    }
}

/// The tracing header of the invocation under way, which what it puts on the bus carries on.
pub fn trace_header() -> Option<String> {
    let header = CURRENT.try_with(|current| current.trace_header.clone());
    header.ok().flatten()
}

/// Notes that a conditional write was lost and is tried again.
pub(crate) fn conflict_retried() {
    add(|current| &current.conflicts_retried, 1);
}

/// Notes that effects were carried out.
pub(crate) fn carried_out(effects: usize) {
    let effects = u64::try_from(effects).unwrap_or(u64::MAX);
    add(|current| &current.effects_carried_out, effects);
}

/// Outside of an invocation, as in the command line, nothing is counted.
fn add(counter: impl Fn(&Invocation) -> &AtomicU64, count: u64) {
    if let Ok(current) = CURRENT.try_with(Arc::clone) {
        counter(&current).fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[tokio::test]
    async fn what_is_done_counts_for_the_invocation_that_does_it() {
        let (first, second) = (Invocation::new(Some(HEADER.into())), Invocation::new(None));
        first
            .scope(async {
                carried_out(2);
                conflict_retried();
                assert_eq!(trace_header().as_deref(), Some(HEADER));
            })
            .await;
        second.scope(async { carried_out(1) }).await;
        carried_out(7);
        assert_eq!((first.effects_carried_out(), first.conflicts_retried()), (2, 1));
        assert_eq!((second.effects_carried_out(), second.conflicts_retried()), (1, 0));
        assert_eq!(trace_header(), None);
    }

    #[test]
    fn the_trace_is_named_as_x_ray_names_it() {
        let trace = Invocation::new(Some(HEADER.into()));
        assert_eq!(trace.trace_id(), Some("1-5759e988-bd862e3fe1be46a994272793"));
        assert_eq!(Invocation::new(Some("Sampled=0".into())).trace_id(), None);
        assert_eq!(Invocation::new(None).trace_id(), None);
    }
}
