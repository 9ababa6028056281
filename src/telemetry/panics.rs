//! A panic is counted and logged once, wherever it happens: by where, and never by what a client
//! sent, which may stand in its message.

use std::panic::{self, PanicHookInfo};

use super::metrics::METRICS;

/// From here on each panic of this process is counted and one line of the log.
pub fn watch_panics() {
    panic::set_hook(Box::new(panicked));
}

fn panicked(panic: &PanicHookInfo<'_>) {
    METRICS.node.panics.inc();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    tracing::error!(place, thread, why = why(panic), "panicked; what it was doing has ended");
    super::log::flush_panic();
}

/// Words of this program alone: what is put together while it runs may quote a client.
fn why(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("see the place")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;

    /// The only words of its message that are logged.
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
    fn each_is_counted_and_none_quotes_a_client() {
        let client = String::from("évil");
        assert_eq!(words(|| panic!("a broken invariant")), "a broken invariant");
        assert_eq!(words(|| panic!("{client}")), "see the place");
        // The standard library quotes the text that was cut within a character.
        assert_eq!(words(|| drop(client[1..].to_owned())), "see the place");
    }
}
