use futures_util::task::AtomicWaker;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// The connections of each container.
#[derive(Clone, Debug, Default)]
pub struct Attached(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    next: AtomicU64,
    containers: Mutex<BTreeMap<String, HashMap<u64, Arc<Order>>>>,
}

/// A connection's place in the table, for as long as it lives.
#[derive(Debug)]
pub struct Counted {
    attached: Attached,
    container: String,
    number: u64,
    order: Arc<Order>,
}

/// Whether a connection is to leave. Asked with each piece of data, so it must cost next to nothing.
#[derive(Debug, Default)]
struct Order {
    is_given: AtomicBool,
    waker: AtomicWaker,
}

impl Attached {
    pub fn count(&self, container: &str) -> Counted {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let order = Arc::new(Order::default());
        self.lock().entry(container.to_owned()).or_default().insert(number, order.clone());
        Counted { attached: self.clone(), container: container.to_owned(), number, order }
    }

    /// Tells all connections of a container to leave it.
    pub fn leave(&self, container: &str) {
        let table = self.lock();
        table.get(container).into_iter().flat_map(HashMap::values).for_each(|order| order.give());
    }

    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.lock().iter().map(|(container, all)| (container.clone(), all.len())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, HashMap<u64, Arc<Order>>>> {
        self.0.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Tells this one to leave.
    pub fn leave(&self) {
        self.order.give();
    }

    /// Returns when it is to leave.
    pub async fn is_to_leave(&self) {
        poll_fn(|context| {
            if !self.order.is_given.load(Ordering::Acquire) {
                self.order.waker.register(context.waker());
            }
            // Asked again: the order may have come in between.
            if self.order.is_given.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Order {
    fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut table = self.attached.lock();
        if let Some(all) = table.get_mut(&self.container) {
            all.remove(&self.number);
            if all.is_empty() {
                table.remove(&self.container);
            }
        }
    }
}
