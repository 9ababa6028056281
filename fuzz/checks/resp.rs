//! Messages of Redis on a subscribed connection: wherever the bytes are cut, the parser either reads the first
//! part like the whole, or waits for more.

use tidegate::broker::resp::{InvalidResp, RespMessage, next};

/// The first byte chooses where to cut; the rest is what Redis said.
pub fn check(bytes: &[u8]) {
    let [cut, stream @ ..] = bytes else { return };
    let mut rest = stream;
    loop {
        let said = next(rest);
        for cut in [1, usize::from(*cut), rest.len() / 2, rest.len().saturating_sub(1)] {
            if let Some(beginning) = rest.get(..cut) {
                agrees(next(beginning), &said, cut);
            }
        }
        let Ok(Some((said, taken))) = said else { return };
        assert!((1..=rest.len()).contains(&taken), "{said:?} takes {taken} of {}", rest.len());
        rest = &rest[taken..];
    }
}

type Outcome<'a> = Result<Option<(RespMessage<'a>, usize)>, InvalidResp>;

/// What was understood, or found broken, of a beginning stays so, whatever follows.
fn agrees(beginning: Outcome<'_>, whole: &Outcome<'_>, cut: usize) {
    match beginning {
        Ok(None) => {
            let taken = whole.as_ref().ok().and_then(|said| said.as_ref()).map(|said| said.1);
            assert!(taken.is_none_or(|taken| taken > cut), "it was whole after {taken:?}");
        }
        known => assert_eq!(&known, whole, "cut at {cut}"),
    }
}
