//! Counts and logs each panic once, with its source location but without its message, which may quote a
//! client.

use std::panic::{self, PanicHookInfo};

use super::metrics::METRICS;

/// From now on, counts each panic of this process and logs one line about it.
pub fn watch_panics() {
    panic::set_hook(Box::new(panicked));
}

fn panicked(panic: &PanicHookInfo<'_>) {
    METRICS.node.panics.inc();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    tracing::error!(place, thread, why = why(panic), "panicked; the task has ended");
    super::log::flush_panic();
}

/// Only a literal message: one formatted at run time may quote a client.
fn why(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("see the place")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;

    /// The part of the panic's message that is logged.
    fn words(panic: impl FnOnce() + panic::UnwindSafe) -> &'static str {
        static ONE: Mutex<()> = Mutex::new(());
        static WORDS: Mutex<&str> = Mutex::new("");
        let _one = ONE.lock().unwrap();
        let (before, me) = (METRICS.node.panics.get(), thread::current().id());
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            panicked(panic);
            // Other tests may panic meanwhile.
            if thread::current().id() == me {
                *WORDS.lock().unwrap() = why(panic);
            }
        }));
        let caught = panic::catch_unwind(panic);
        panic::set_hook(usual);
        assert!(caught.is_err() && METRICS.node.panics.get() > before);
        *WORDS.lock().unwrap()
    }

    #[test]
    fn each_panic_is_counted_and_none_quotes_a_client() {
        let client = String::from("évil");
        assert_eq!(words(|| panic!("a broken invariant")), "a broken invariant");
        assert_eq!(words(|| panic!("{client}")), "see the place");
        // The standard library's message quotes the text that was sliced within a character.
        assert_eq!(words(|| drop(client[1..].to_owned())), "see the place");
    }
}
