//! The current invocation of a function, available everywhere in the function: its trace header and its counters.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

thread_local! {
    /// The invocation whose future is polled on this thread.
    static CURRENT: RefCell<Option<Arc<Invocation>>> = const { RefCell::new(None) };
}

/// One invocation of a function.
#[derive(Debug, Default)]
pub struct Invocation {
    trace_header: Option<String>,
    conflicts_retried: AtomicU64,
    effects_executed: AtomicU64,
}

impl Invocation {
    /// An invocation with its X-Ray trace header: `Root=…;Parent=…;Sampled=…`.
    pub fn new(trace_header: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            trace_header,
            ..Self::default()
        })
    }

    /// Runs `work` within this invocation.
    pub async fn scope<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let outer = CURRENT.replace(Some(Arc::clone(self)));
            let polled = work.as_mut().poll(context);
            CURRENT.set(outer);
            polled
        })
        .await
    }

    /// X-Ray trace ID, as in X-Ray's console: `1-…`.
    pub fn trace_id(&self) -> Option<&str> {
        let parts = self.trace_header.as_deref()?.split(';');
        parts.into_iter().find_map(|part| part.trim().strip_prefix("Root="))
    }

    /// Number of conditional writes that were retried after a conflict with another writer.
    pub fn conflicts_retried(&self) -> u64 {
        self.conflicts_retried.load(Ordering::Relaxed)
    }

    /// Number of effects from outboxes that were executed.
    pub fn effects_executed(&self) -> u64 {
        self.effects_executed.load(Ordering::Relaxed)
    }
}

/// Trace header of the current invocation. Published events carry it on.
pub fn trace_header() -> Option<String> {
    CURRENT.with_borrow(|current| current.as_ref()?.trace_header.clone())
}

/// Counts a conditional write that is retried after a conflict.
pub(crate) fn conflict_retried() {
    add(|current| &current.conflicts_retried, 1);
}

/// Counts executed effects.
pub(crate) fn effects_executed(effects: usize) {
    let effects = u64::try_from(effects).unwrap_or(u64::MAX);
    add(|current| &current.effects_executed, effects);
}

/// Adds to a counter. Outside of an invocation, as on the command line, nothing is counted.
fn add(counter: impl Fn(&Invocation) -> &AtomicU64, count: u64) {
    CURRENT.with_borrow(|current| {
        if let Some(current) = current {
            counter(current).fetch_add(count, Ordering::Relaxed);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[tokio::test]
    async fn counters_belong_to_current_invocation() {
        let (first, second) = (Invocation::new(Some(HEADER.into())), Invocation::new(None));
        first
            .scope(async {
                effects_executed(2);
                conflict_retried();
                assert_eq!(trace_header().as_deref(), Some(HEADER));
            })
            .await;
        second.scope(async { effects_executed(1) }).await;
        effects_executed(7);
        assert_eq!((first.effects_executed(), first.conflicts_retried()), (2, 1));
        assert_eq!((second.effects_executed(), second.conflicts_retried()), (1, 0));
        assert_eq!(trace_header(), None);
    }

    #[test]
    fn trace_id_is_read_from_header() {
        let trace = Invocation::new(Some(HEADER.into()));
        assert_eq!(trace.trace_id(), Some("1-5759e988-bd862e3fe1be46a994272793"));
        assert_eq!(Invocation::new(Some("Sampled=0".into())).trace_id(), None);
        assert_eq!(Invocation::new(None).trace_id(), None);
    }
}
