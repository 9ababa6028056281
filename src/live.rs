//! A value that may change while the node runs: every holder reads the newest.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// A value that all its clones share. Reading takes no lock, so it may be done for every frame.
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The current value, for a short use. To keep it, use [`Live::current`].
    pub fn get(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        self.0.load()
    }

    /// The current value, to be kept.
    pub fn current(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value for all clones.
    pub fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Default> Default for Live<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_of_a_live_value_read_the_newest() {
        let live = Live::new(1);
        let elsewhere = live.clone();
        live.replace(2);
        assert_eq!((**elsewhere.get(), *elsewhere.current()), (2, 2));
    }
}
